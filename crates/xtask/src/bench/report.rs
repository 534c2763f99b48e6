//! The figures as a document.

use std::fmt::Write as _;

use super::Measured;

const HEAD: &str = "<!-- Made by `make bench`; run that instead of editing. -->

# Benchmarks

Repeat with `make bench`: it builds releases, starts a controller and simulated agents as processes of their own on
loopback, and writes this file. Everything is real: mutual TLS, a commit with fsync before each acknowledgement, both
consumers. The simulator shares the machine's cores with the controller. Its values (the tick's number) compress better
than those of real servers, so bytes here are a lower bound; the benches of the sample store use mixed data and say
what a sealed sample takes. The comparison with peers follows.

";

/// The whole document.
pub(super) fn document(machine: &[(&str, String)], measured: &[Measured], criterion: &[String]) -> String {
    let mut text = HEAD.to_owned();
    text.push_str("## Machine\n\n| | |\n|---|---|\n");
    for (name, value) in machine {
        line(&mut text, &[name, value]);
    }
    text.push_str("\n## Whole processes\n");
    for one in measured {
        load(&mut text, one);
    }
    if !criterion.is_empty() {
        text.push_str(
            "\n## Sample store alone\n\n`cargo bench --package muster-samples --bench ingest`\n\n```text\n",
        );
        for line in criterion {
            writeln!(text, "{line}").expect("writing to a string cannot fail");
        }
        text.push_str("```\n");
    }
    text
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn load(text: &mut String, one: &Measured) {
    let (load, summary) = (one.load, &one.summary);
    let samples = summary.acked.max(1) as f64;
    let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
    let per_sample = |bytes: u64| format!("{:.2} bytes a sample", bytes as f64 / samples);
    writeln!(
        text,
        "\n### {}: {} agents, {} series each, every {}, for {}\n\n| | |\n|---|---|",
        load.name, load.agents, load.series, load.interval, load.duration
    )
    .expect("writing to a string cannot fail");
    let rate = if one.cpu_s > 0.0 {
        samples / one.cpu_s / 1e6
    } else {
        f64::NAN
    };
    line(
        text,
        &[
            "samples acknowledged",
            &format!("{} of {}", summary.acked, summary.produced),
        ],
    );
    line(
        text,
        &[
            "processor time of the controller, connecting included",
            &format!("{:.2} s", one.cpu_s),
        ],
    );
    line(
        text,
        &["samples per second and core", &format!("{rate:.2} million")],
    );
    line(
        text,
        &[
            "acknowledged after",
            &format!("p50 {} ms, p99 {} ms", summary.ack_p50_ms, summary.ack_p99_ms),
        ],
    );
    line(text, &["reconnects", &summary.reconnects.to_string()]);
    line(
        text,
        &[
            "through loopback, both ways, TLS and headers included",
            &per_sample(one.loopback_bytes),
        ],
    );
    line(
        text,
        &[
            "intake on disk after an orderly stop",
            &per_sample(one.intake_bytes),
        ],
    );
    line(
        text,
        &["peak memory of the controller", &mib(one.memory_peak_bytes)],
    );
}

fn line(text: &mut String, cells: &[&str]) {
    writeln!(text, "| {} |", cells.join(" | ")).expect("writing to a string cannot fail");
}
