//! What a container took over a span of time: CPU, memory, network, blocks.

use std::collections::BTreeMap;

use maud::{Markup, html};
use muster_samples::{MatchOp, Matcher, NAME_LABEL};

use crate::app::resources::ResourceView;
use crate::app::series::{RangeQuery, RangeSeries};
use crate::http::HttpState;
use crate::http::error::Problem;
use crate::http::page::chart::{Line, start_ms};
use crate::http::page::format;
use crate::http::page::load::{DAY_MS, number};

const HOUR_MS: i64 = 3_600_000;
/// Spans that can be chosen: the word of the address, ms, and the words for people.
pub(super) const SPANS: [(&str, i64, &str); 5] = [
    ("1h", HOUR_MS, "1 hour"),
    ("6h", 6 * HOUR_MS, "6 hours"),
    ("24h", DAY_MS, "1 day"),
    ("7d", 7 * DAY_MS, "1 week"),
    ("30d", 30 * DAY_MS, "1 month"),
];
/// Points of a chart.
const POINTS: i64 = 240;
/// No container is looked at more often by default, ms.
const STEP_MIN_MS: i64 = 15_000;
/// Up to this span samples are taken as they are: at regular steps, one that came a little late would count twice.
const AS_THEY_ARE_MS: i64 = 6 * HOUR_MS;
/// Samples farther apart than this are not joined, ms.
const GAP_MS: i64 = 300_000;

/// What the charts are made of: the metric, the title, what its numbers are.
const CHARTS: [(&str, &str, Kind); 6] = [
    ("container_cpu_usage_seconds_total", "CPU", Kind::Cpus),
    ("container_memory_working_set_bytes", "Memory", Kind::Bytes),
    (
        "container_network_receive_bytes_total",
        "Network, received",
        Kind::BytesPerSecond,
    ),
    (
        "container_network_transmit_bytes_total",
        "Network, sent",
        Kind::BytesPerSecond,
    ),
    (
        "container_fs_reads_bytes_total",
        "Blocks, read",
        Kind::BytesPerSecond,
    ),
    (
        "container_fs_writes_bytes_total",
        "Blocks, written",
        Kind::BytesPerSecond,
    ),
];

/// What numbers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A counter of seconds of CPU.
    Cpus,
    /// Bytes as they are.
    Bytes,
    /// A counter of bytes.
    BytesPerSecond,
}

impl Kind {
    fn shown(self, value: f64) -> String {
        match self {
            Self::Cpus => format!("{value:.2} CPUs"),
            Self::Bytes => format::bytes(value),
            Self::BytesPerSecond => format!("{}/s", format::bytes(value)),
        }
    }

    /// Never a frame so narrow that nothing looks like much.
    const fn least(self) -> f64 {
        match self {
            Self::Cpus => 0.01,
            Self::Bytes | Self::BytesPerSecond => 1_024.0,
        }
    }
}

/// What a container took.
#[derive(Debug)]
pub(super) struct Charts {
    span: &'static str,
    span_ms: i64,
    /// Points of each of [`CHARTS`].
    points: Vec<Vec<(i64, f64)>>,
    step_ms: i64,
    memory_limit: Option<f64>,
    now_ms: i64,
}

impl Charts {
    /// Reads what a container took over a span; over an hour if what is asked for is none.
    pub(super) async fn of(
        state: &HttpState,
        container: &ResourceView,
        span: &str,
        now_ms: i64,
    ) -> Result<Self, Problem> {
        let known = SPANS.iter().find(|(word, ..)| *word == span);
        let (span, span_ms, _) = known.copied().unwrap_or(SPANS[0]);
        let step_ms = (span_ms / POINTS).max(STEP_MIN_MS);
        let names: Vec<&str> = CHARTS.iter().map(|(metric, ..)| *metric).collect();
        let of_names = Matcher::new(NAME_LABEL, MatchOp::Re, names.join("|"))
            .expect("names joined by | are an expression");
        let query = RangeQuery {
            matchers: vec![
                of_names,
                Matcher::equal("server_id", container.server.to_string()),
            ],
            resource: Some(container.id),
            start_ms: now_ms - span_ms,
            end_ms: now_ms,
            step_ms: (AS_THEY_ARE_MS < span_ms).then_some(step_ms),
        };
        let range = state.series.range(state.app.server_names().await?, query).await?;
        let points = CHARTS
            .iter()
            .map(|(metric, _, kind)| points_of(&range.series, metric, *kind, step_ms));
        Ok(Self {
            span,
            span_ms,
            points: points.collect(),
            step_ms,
            memory_limit: number(container, "memory_limit_bytes").filter(|limit| 0.0 < *limit),
            now_ms,
        })
    }

    /// Draws them; `address` is the page's.
    pub(super) fn draw(&self, address: &str) -> Markup {
        let firsts = self.points.iter().filter_map(|points| points.first().copied());
        let first = firsts.min_by_key(|point| point.0);
        let start_ms = start_ms(first.as_slice(), self.now_ms, self.span_ms);
        html! {
            section class="card" {
                header {
                    h2 { "What it takes" }
                    nav class="spans" aria-label="Span of time" {
                        @for (word, _, words) in SPANS {
                            @if word == self.span { a href={ (address) "?span=" (word) } aria-current="true" { (words) } }
                            @else { a href={ (address) "?span=" (word) } { (words) } }
                        }
                    }
                }
                @if first.is_none() { p class="empty" { "Nothing was measured in this time." } }
                @else {
                    div class="charts" {
                        @for ((_, title, kind), points) in CHARTS.iter().zip(&self.points) {
                            (self.chart(title, *kind, points, start_ms))
                        }
                    }
                }
            }
        }
    }

    fn chart(&self, title: &str, kind: Kind, points: &[(i64, f64)], start_ms: i64) -> Markup {
        let limit = self.memory_limit.filter(|_| kind == Kind::Bytes);
        let most = points.iter().map(|point| point.1).fold(kind.least(), f64::max);
        // A limit far above is not in the picture.
        let bounds: Vec<f64> = limit.into_iter().filter(|limit| *limit < most * 4.0).collect();
        let high = bounds.iter().copied().fold(most, f64::max) * 1.1;
        let line = Line {
            points,
            start_ms,
            end_ms: self.now_ms,
            low: 0.0,
            high,
            gap_ms: gap_ms(self.step_ms),
        };
        html! {
            div {
                h3 {
                    (title) " "
                    span class="soft" {
                        @match points.last() {
                            Some(point) => { (kind.shown(point.1)) @if let Some(limit) = limit { " of " (format::bytes(limit)) } }
                            None => { "not measured" }
                        }
                    }
                }
                @if !points.is_empty() {
                    div class="plot" {
                        div class="scale" { @for part in [1.0, 0.5, 0.0] { span { (kind.shown(high * part)) } } }
                        (line.judged(title, &bounds, None))
                        div class="times" {
                            @for end in [start_ms, self.now_ms] {
                                span { @if self.span_ms <= DAY_MS { (format::clock(end)) } @else { (format::day(end)) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// How far points may be apart that are joined.
fn gap_ms(step_ms: i64) -> i64 {
    (step_ms * 2).max(GAP_MS)
}

/// The sum over all series of a metric: of what they are, or of how fast they grow.
fn points_of(series: &[RangeSeries], metric: &str, kind: Kind, step_ms: i64) -> Vec<(i64, f64)> {
    let mut sums: BTreeMap<i64, f64> = BTreeMap::new();
    for one in series.iter().filter(|one| &*one.name == metric) {
        let thin = thinned(&one.points, step_ms / 2);
        let points = match kind {
            Kind::Bytes => thin,
            Kind::Cpus | Kind::BytesPerSecond => rates(&thin, gap_ms(step_ms)),
        };
        for (time_ms, value) in points.into_iter().filter(|point| point.1.is_finite()) {
            *sums.entry(time_ms).or_default() += value;
        }
    }
    sums.into_iter().collect()
}

/// No more points than can be seen: of those that are closer than this, the first.
fn thinned(points: &[(i64, f64)], apart_ms: i64) -> Vec<(i64, f64)> {
    let mut kept: Vec<(i64, f64)> = Vec::new();
    for point in points {
        if kept.last().is_none_or(|last| apart_ms <= point.0 - last.0) {
            kept.push(*point);
        }
    }
    kept
}

/// How much a counter grew a second between neighbouring points; nothing across a hole, or where it began anew.
fn rates(points: &[(i64, f64)], gap_ms: i64) -> Vec<(i64, f64)> {
    let is_joined = |pair: &&[(i64, f64)]| {
        let apart_ms = pair[1].0 - pair[0].0;
        (1..=gap_ms).contains(&apart_ms) && pair[0].1 <= pair[1].1
    };
    let pairs = points.windows(2).filter(is_joined);
    pairs
        .map(|pair| {
            #[expect(clippy::cast_precision_loss, reason = "milliseconds between two points")]
            let seconds = (pair[1].0 - pair[0].0) as f64 / 1_000.0;
            (pair[1].0, (pair[1].1 - pair[0].1) / seconds)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use muster_base::id::{ResourceId, ServerId};

    use super::*;

    fn series(name: &str, points: &[(i64, f64)]) -> RangeSeries {
        RangeSeries {
            name: name.into(),
            labels: Vec::new(),
            resource: ResourceId(1),
            server: ServerId(1),
            points: points.to_vec(),
        }
    }

    #[test]
    fn a_counter_that_begins_anew_or_was_not_seen_leaves_a_hole() {
        let points = [
            (0, 0.0),
            (15_000, 30.0),
            (30_000, 5.0),
            (45_000, 20.0),
            (600_000, 900.0),
        ];
        assert_eq!(rates(&points, gap_ms(15_000)), [(15_000, 2.0), (45_000, 1.0)]);
    }

    #[test]
    fn interfaces_are_added_up() {
        let metric = "container_network_receive_bytes_total";
        let both = [
            series(metric, &[(0, 0.0), (15_000, 30.0)]),
            series(metric, &[(0, 5.0), (15_000, 20.0)]),
            series("container_cpu_usage_seconds_total", &[(0, 0.0), (15_000, 15.0)]),
        ];
        assert_eq!(
            points_of(&both, metric, Kind::BytesPerSecond, 15_000),
            [(15_000, 3.0)]
        );
    }
}
