//! The figures as a document.

use std::fmt::Write as _;
use std::time::Duration;

use super::Figures;
use super::budgets;
use super::loads::Measured;

const HEAD: &str = "<!-- Made by `make bench`; run that instead of editing. -->

# Benchmarks

Repeat with `make bench`: it builds releases, starts a controller, simulated agents and the agent of this machine as
processes of their own on loopback, and writes this file. Everything is real: mutual TLS, a commit with fsync before
each acknowledgement, both consumers. The simulator shares the machine's cores with the controller. Samples are the
seeded mixture of `crates/mix`, the same for us and for the peer. VictoriaMetrics (Debian's package) gets them by remote
write into its own data on loopback, Prometheus's node exporter runs beside the agent, all in this run.

";

/// The whole document.
pub(super) fn document(machine: &[(&str, String)], figures: &Figures) -> String {
    let mut text = HEAD.to_owned();
    text.push_str("## Machine\n\n| | |\n|---|---|\n");
    for (name, value) in machine {
        line(&mut text, &[name, value]);
    }
    budgets(&mut text, figures);
    text.push_str("\n## Whole processes\n");
    for one in &figures.loads {
        load(&mut text, one);
    }
    million(&mut text, figures);
    agent(&mut text, figures);
    judging(&mut text, figures);
    store(&mut text, figures);
    text
}

fn budgets(text: &mut String, figures: &Figures) {
    text.push_str("\n## Budgets\n\n| what | figure | budget | |\n|---|---|---|---|\n");
    let lines = budgets::lines(figures);
    for one in &lines {
        let verdict = match one.over {
            None => "met".to_owned(),
            Some(over) => format!("**missed** by {:.1} %", over * 100.0),
        };
        line(text, &[one.what, &one.figure, one.budget, &verdict]);
    }
    if figures.store("peer_bytes_per_sample").is_none() {
        text.push_str(
            "\nWithout VictoriaMetrics there are no ratios: `apt-get install victoria-metrics`, and run this again.\n",
        );
    }
    for one in lines.iter().filter(|one| one.over.is_some()) {
        writeln!(
            text,
            "\n**{}**, {} for {}: {}",
            one.what, one.figure, one.budget, one.why
        )
        .expect("writing to a string cannot fail");
    }
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn load(text: &mut String, one: &Measured) {
    let (load, summary) = (one.load, &one.summary);
    let samples = summary.acked.max(1) as f64;
    let per_sample = |bytes: u64| format!("{:.2} bytes a sample", bytes as f64 / samples);
    head(
        text,
        &format!(
            "{}: {} agents, {} series each, every {}, for {}",
            load.name, load.agents, load.series, load.interval, load.duration
        ),
    );
    let rows = [
        (
            "samples acknowledged",
            format!("{} of {}", summary.acked, summary.produced),
        ),
        (
            "processor time of the controller until all is in the store, connecting included",
            format!("{:.2} s", one.cpu_s),
        ),
        (
            "samples per second and core",
            format!("{:.2} million", one.million_per_s_core()),
        ),
        (
            "acknowledged after",
            format!("p50 {} ms, p99 {} ms", summary.ack_p50_ms, summary.ack_p99_ms),
        ),
        ("reconnects", summary.reconnects.to_string()),
        (
            "through loopback, both ways, connecting, TLS and headers included",
            per_sample(one.loopback_bytes),
        ),
        (
            "intake on disk after an orderly stop",
            per_sample(one.intake_bytes),
        ),
        ("peak memory of the controller", mib(one.memory_peak_bytes)),
    ];
    rows.iter().for_each(|(name, value)| line(text, &[name, value]));
}

fn million(text: &mut String, figures: &Figures) {
    let Some(one) = &figures.million else { return };
    head(
        text,
        "a million active series: 2,000 agents, 500 series each, every 15 s, with half an hour undelivered at the start",
    );
    let rows = [
        ("samples acknowledged", one.samples.to_string()),
        ("series", format!("{:.0}", one.series)),
        ("peak memory of the controller", mib(one.memory_peak_bytes)),
        (
            "samples in memory for each series then",
            format!("{:.1}", one.samples_per_series),
        ),
        (
            "bytes of each sample in memory",
            format!("{:.2}", one.head_bytes / (one.series * one.samples_per_series)),
        ),
        (
            "accepts agents after a restart",
            format!("{:.2} s", one.accepts.as_secs_f64()),
        ),
        (
            "queries are complete after a restart",
            format!("{:.2} s", one.answers.as_secs_f64()),
        ),
    ];
    rows.iter().for_each(|(name, value)| line(text, &[name, value]));
}

fn agent(text: &mut String, figures: &Figures) {
    let Some(one) = &figures.agent else { return };
    head(
        text,
        "the agent of this machine, all collectors at their defaults",
    );
    let share = |share: f64| format!("{:.3} % of a core", share * 100.0);
    let mut rows = vec![
        ("memory, PSS summed over its processes", mib(one.pss_bytes)),
        ("processor time", share(one.cpu_share)),
        ("size of the stripped program", mib(one.program_bytes)),
    ];
    if let Some(peer) = &one.node_exporter {
        rows.push(("node_exporter: RSS", mib(peer.rss_bytes)));
        rows.push(("node_exporter: PSS", mib(peer.pss_bytes)));
        let ms = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1_000.0);
        rows.push((
            "processor time of a collection of what node_exporter collects by default, with its delivery",
            ms(one.same_collection),
        ));
        rows.push((
            "node_exporter: processor time of a scrape, as often and at the same time",
            ms(peer.scrape),
        ));
    }
    rows.iter().for_each(|(name, value)| line(text, &[name, value]));
    text.push_str(
        "\nThis machine has few disks and no containers; with many of both the agent takes more.\n",
    );
}

fn judging(text: &mut String, figures: &Figures) {
    let Some(took_us) = figures.judging("report_us") else {
        return;
    };
    text.push_str("\n## Judging\n");
    head(
        text,
        "100 servers of 100 disks with 4 series each, 200 rules, a report for each server",
    );
    line(text, &["a report, mean", &format!("{took_us:.0} µs")]);
    let rows = [
        ("a report, the slowest", "report_worst_us", 1.0, "µs"),
        ("numbers judged in a report", "verdicts", 1.0, ""),
        ("memory for all of it", "bytes", f64::from(1 << 20), "MiB"),
        ("alerts open at the end", "alerts", 1.0, ""),
    ];
    for (what, name, unit, word) in rows {
        if let Some(value) = figures.judging(name) {
            line(text, &[what, &format!("{:.0} {word}", value / unit)]);
        }
    }
}

fn store(text: &mut String, figures: &Figures) {
    if figures.store.is_empty() {
        return;
    }
    text.push_str("\n## Sample store beside VictoriaMetrics\n");
    head(
        text,
        "20 servers of 500 series for a day; 100 series for 30 days; each read 21 times",
    );
    for (name, what, unit) in STORE {
        if let Some(value) = figures.store(name) {
            line(text, &[what, &format!("{value:.3} {unit}")]);
        }
    }
    text.push_str(
        "\nOur reads are those of the store in its process; VictoriaMetrics' come through its HTTP server: as JSON, which is how\n\
         raw samples are asked of it, and in its own form, which is the nearest to what our store hands over.\n\
         \n## Sample store alone\n\n`cargo bench --package muster-samples --bench ingest`\n\n```text\n",
    );
    for line in &figures.criterion {
        writeln!(text, "{line}").expect("writing to a string cannot fail");
    }
    text.push_str("```\n");
}

/// Figures of the comparison: name, what it is, unit.
const STORE: &[(&str, &str, &str)] = &[
    (
        "chance_bytes_per_sample",
        "bytes of chance a sample: no exact form takes less",
        "bytes",
    ),
    (
        "bytes_per_sample",
        "ours on disk, compacted, with the index",
        "bytes a sample",
    ),
    ("index_bytes_per_sample", "of that the index", "bytes a sample"),
    (
        "five_minutes_bytes_per_sample",
        "beside it roll-ups to 5 minutes",
        "bytes a sample",
    ),
    (
        "hour_bytes_per_sample",
        "beside it roll-ups to an hour",
        "bytes a sample",
    ),
    (
        "peer_bytes_per_sample",
        "VictoriaMetrics after its merge",
        "bytes a sample",
    ),
    (
        "peer_floats_exact_share",
        "floats that VictoriaMetrics gives back as they were (ours: all)",
        "of 1",
    ),
    (
        "append_and_seal_million_per_s_core",
        "ours: append and seal, without the wire",
        "million/s/core",
    ),
    (
        "compact_million_per_s_core",
        "ours: compact and roll up",
        "million/s/core",
    ),
    (
        "peer_ingest_million_per_s_core",
        "VictoriaMetrics: remote write, a request for each server and tick",
        "million/s/core",
    ),
    (
        "hour_median_ms",
        "1,000 series x 1 h of a compacted day: median",
        "ms",
    ),
    ("hour_best_ms", "best", "ms"),
    (
        "hour_sealed_median_ms",
        "the same of an hour that was sealed and not compacted",
        "ms",
    ),
    ("hour_in_memory_median_ms", "the same in memory", "ms"),
    (
        "peer_hour_json_median_ms",
        "VictoriaMetrics: export as JSON, median",
        "ms",
    ),
    ("peer_hour_json_best_ms", "best", "ms"),
    (
        "peer_hour_native_median_ms",
        "VictoriaMetrics: export in its own form, median",
        "ms",
    ),
    ("peer_hour_native_best_ms", "best", "ms"),
    (
        "month_counter_median_ms",
        "1 series x 30 days: counter, median",
        "ms",
    ),
    ("month_gauge_median_ms", "gauge in pages", "ms"),
    ("month_float_median_ms", "float", "ms"),
    (
        "peer_month_counter_json_median_ms",
        "VictoriaMetrics: export as JSON, counter, median",
        "ms",
    ),
    ("peer_month_gauge_json_median_ms", "gauge in pages", "ms"),
    ("peer_month_float_json_median_ms", "float", "ms"),
];

fn head(text: &mut String, title: &str) {
    writeln!(text, "\n### {title}\n\n| | |\n|---|---|").expect("writing to a string cannot fail");
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

fn line(text: &mut String, cells: &[&str]) {
    writeln!(text, "| {} |", cells.join(" | ")).expect("writing to a string cannot fail");
}
