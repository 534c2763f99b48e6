//! What every figure may be, whether it is, and if not why and what would help.

use super::Figures;
use super::loads::MANY_SAMPLES;

/// A figure beside its budget.
pub(super) struct Line {
    pub(super) what: &'static str,
    pub(super) figure: String,
    pub(super) budget: &'static str,
    /// By how much it is over the budget: 0.1 is a tenth. `None`: it is met.
    pub(super) over: Option<f64>,
    /// Why it is missed where it usually is, and what would help.
    pub(super) why: &'static str,
}

const WHY_DISK_RATIO: &str = "The mixture has almost as much chance in it as the bytes we take (\"bytes of chance a \
    sample\" below), and nothing that gives every bit back can go below that; VictoriaMetrics rounds floats to some 15 \
    digits (\"floats that VictoriaMetrics gives back as they were\"), which saves it bytes here. The budget is below \
    the chance of this mixture, so only giving up bits of floats would reach it, and that every bit comes back is \
    promised. Of what is left, the index is the largest part.";
const WHY_INGEST: &str = "Most of it is TLS, protobuf and HTTP/2 of small reports, and the intake's log. Larger group \
    commits and decoding into columns without a copy would help.";
const WHY_MILLION: &str = "Samples of up to half an hour are in memory, some three and a half bytes each, beside the \
    index of series and what each agent's stream needs. Names and labels of series held once would help.";
const WHY_AGENT: &str = "The agent's own program, TLS and the async runtime are most of it; what is resident grows \
    with the number of resources. Fewer runtime threads and a smaller allocator arena would help.";
const WHY_SAME: &str = "The agent also compresses, encrypts and sends what it collects, and watches what is not \
    acknowledged, which a scrape does not have to. Most of what is left is code that runs once in a collection, from \
    memory and not from the processor's caches.";
const WHY_READ: &str = "Decoding is most of it; several threads would help, as it is one now.";
const WHY_WIRE: &str = "Each report decodes alone, since reports may come in any order and from before a restart: a \
    tick's values are sent whole and not as differences from the tick before. Setting the values' bytes apart by place \
    before they are compressed, or reports of two ticks, would help.";
const WHY_RESTART: &str = "What is not sealed yet is appended again from the intake, by one thread; decoding reports on \
    all cores, or keeping a copy of what is in memory at an orderly stop, would help.";
const WHY_OTHER: &str = "See the figures below.";

/// Everything that has a budget and was measured.
pub(super) fn lines(figures: &Figures) -> Vec<Line> {
    let mut lines = store(figures);
    lines.extend(processes(figures));
    lines.extend(agent(figures));
    lines.extend(judging(figures));
    lines
}

fn judging(figures: &Figures) -> Option<Line> {
    let what = "judging a report of 400 samples, with 10,000 resources and 200 rules";
    let took_us = figures.judging("report_us")?;
    Some(at_most(
        what,
        took_us / 1_000.0,
        " ms",
        (1.0, "≤ 1 ms"),
        WHY_OTHER,
    ))
}

fn at_most(
    what: &'static str,
    value: f64,
    unit: &str,
    (limit, budget): (f64, &'static str),
    why: &'static str,
) -> Line {
    Line {
        what,
        figure: format!("{value:.3}{unit}"),
        budget,
        over: (limit < value).then(|| value / limit - 1.0),
        why,
    }
}

fn at_least(
    what: &'static str,
    value: f64,
    unit: &str,
    (limit, budget): (f64, &'static str),
    why: &'static str,
) -> Line {
    Line {
        what,
        figure: format!("{value:.2}{unit}"),
        budget,
        over: (value < limit).then(|| limit / value - 1.0),
        why,
    }
}

fn store(figures: &Figures) -> Vec<Line> {
    let mut lines = Vec::new();
    let get = |name: &str| figures.store(name);
    let ratio = |ours: &str, peers: &str| Some(get(ours)? / get(peers)?);
    if let Some(bytes) = get("bytes_per_sample") {
        lines.push(at_most(
            "samples on disk, compacted, with the index",
            bytes,
            " bytes",
            (1.3, "≤ 1.3"),
            WHY_OTHER,
        ));
    }
    if let Some(ratio) = ratio("bytes_per_sample", "peer_bytes_per_sample") {
        let what = "the same, of what VictoriaMetrics takes after its merge";
        lines.push(at_most(what, ratio, " times", (0.8, "≤ 0.8"), WHY_DISK_RATIO));
    }
    let month = [
        "month_counter_median_ms",
        "month_gauge_median_ms",
        "month_float_median_ms",
    ];
    if let Some(longest) = month.iter().filter_map(|name| get(name)).reduce(f64::max) {
        let what = "1 series x 30 days as measured, the slowest of counter, gauge and float";
        lines.push(at_most(what, longest, " ms", (20.0, "≤ 20 ms"), WHY_READ));
    }
    let hours = [
        "hour_median_ms",
        "hour_in_memory_median_ms",
        "hour_sealed_median_ms",
    ];
    if let Some(longest) = hours.iter().filter_map(|name| get(name)).reduce(f64::max) {
        let what = "1,000 series x 1 h, the slowest of in memory, sealed and compacted";
        lines.push(at_most(what, longest, " ms", (30.0, "≤ 30 ms"), WHY_READ));
        if let Some(peer) = get("peer_hour_json_median_ms") {
            let what = "the same, of VictoriaMetrics' export as JSON";
            lines.push(at_most(what, longest / peer, " times", (1.0, "≤ 1.0"), WHY_READ));
        }
    }
    let ingest = figures.loads.iter().find(|one| one.load.name == MANY_SAMPLES);
    if let Some(ingest) = ingest {
        let ours = ingest.million_per_s_core();
        let what = "ingest through mTLS, durable, per second and core";
        lines.push(at_least(what, ours, " million", (2.0, "≥ 2 million"), WHY_INGEST));
        if let Some(peers) = get("peer_ingest_million_per_s_core") {
            let what = "the same, of VictoriaMetrics' remote write, a request for each server and tick";
            lines.push(at_least(what, ours / peers, " times", (4.0, "≥ 4"), WHY_INGEST));
        }
    }
    lines
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn processes(figures: &Figures) -> Vec<Line> {
    let mib = |bytes: f64| bytes / f64::from(1 << 20);
    let what = "wire, both ways, TLS and headers included";
    let mut lines = vec![at_most(
        what,
        figures.wire_bytes_per_sample,
        " bytes a sample",
        (6.0, "≤ 6"),
        WHY_WIRE,
    )];
    if let Some(million) = &figures.million {
        let what = "1 M active series: peak memory with a whole window of samples";
        let memory = mib(million.memory_peak_bytes as f64);
        lines.push(at_most(what, memory, " MiB", (1536.0, "≤ 1.5 GiB"), WHY_MILLION));
        let (accepts, answers) = (million.accepts.as_secs_f64(), million.answers.as_secs_f64());
        lines.push(at_most(
            "1 M active series: accepts after a restart",
            accepts,
            " s",
            (2.0, "≤ 2 s"),
            WHY_OTHER,
        ));
        lines.push(at_most(
            "1 M active series: answers after a restart",
            answers,
            " s",
            (20.0, "≤ 20 s"),
            WHY_RESTART,
        ));
    }
    let idle = mib(figures.idle_bytes as f64);
    lines.push(at_most(
        "controller with 10 servers",
        idle,
        " MiB",
        (60.0, "≤ 60 MiB"),
        WHY_OTHER,
    ));
    lines
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn agent(figures: &Figures) -> Vec<Line> {
    let mib = |bytes: f64| bytes / f64::from(1 << 20);
    let mut lines = Vec::new();
    if let Some(agent) = &figures.agent {
        let pss = agent.pss_bytes as f64;
        lines.push(at_most(
            "agent: memory (PSS, all processes)",
            mib(pss),
            " MiB",
            (15.0, "≤ 15 MiB"),
            WHY_AGENT,
        ));
        if let Some(peer) = &agent.node_exporter {
            let what = "the same, of node_exporter's RSS";
            lines.push(at_most(
                what,
                pss / peer.rss_bytes as f64,
                " times",
                (1.0, "≤ 1.0"),
                WHY_AGENT,
            ));
        }
        if let Some(peer) = &agent.node_exporter {
            lines.push(at_most(
                "agent: processor time of a collection of the same, of a scrape of node_exporter",
                agent.same_collection.as_secs_f64() / peer.scrape.as_secs_f64(),
                " times",
                (0.5, "≤ 0.5"),
                WHY_SAME,
            ));
        }
        let cpu = agent.cpu_share * 100.0;
        lines.push(at_most(
            "agent: processor time at default intervals",
            cpu,
            " % of a core",
            (0.3, "≤ 0.3 %"),
            WHY_OTHER,
        ));
        let size = mib(agent.program_bytes as f64);
        lines.push(at_most(
            "agent: size of the stripped program",
            size,
            " MiB",
            (16.0, "≤ 16 MiB"),
            WHY_OTHER,
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missed_budget_says_by_how_much() {
        let met = at_most("x", 1.3, "", (1.3, "≤ 1.3"), "");
        let missed = at_most("x", 2.6, "", (1.3, "≤ 1.3"), "");
        assert_eq!((met.over, missed.over), (None, Some(1.0)));
        let met = at_least("x", 2.0, "", (2.0, "≥ 2"), "");
        let missed = at_least("x", 1.0, "", (2.0, "≥ 2"), "");
        assert_eq!((met.over, missed.over), (None, Some(1.0)));
    }

    #[test]
    fn what_was_not_measured_has_no_line() {
        let mut figures = Figures::default();
        let of_processes = lines(&figures).len();
        figures.store.insert("bytes_per_sample".to_owned(), 1.0.into());
        assert_eq!(lines(&figures).len(), of_processes + 1);
        figures
            .store
            .insert("peer_bytes_per_sample".to_owned(), 1.2.into());
        let lines = lines(&figures);
        assert!(
            lines
                .iter()
                .any(|line| line.figure == "0.833 times" && line.over.is_some())
        );
    }
}
