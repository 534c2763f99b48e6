//! The number that a rule judges, as it went: made of its series again, for the chart beside an alert.

use std::collections::BTreeMap;

use maud::{Markup, html};
use muster_alert::rule::{Formula, Plan};
use muster_alert::{Alert, Rule, RuleKind};
use muster_base::id::ResourceId;
use muster_samples::{MatchOp, Matcher, NAME_LABEL};

use super::reading::with_unit;
use crate::app::series::{RangeQuery, RangeSeries};
use crate::http::HttpState;
use crate::http::error::Problem;
use crate::http::page::chart::{self, Line};
use crate::http::page::format;

/// How much is shown before an alert began.
const BEFORE_MS: i64 = 3 * 3_600_000;
/// How much is shown after it was over.
const AFTER_MS: i64 = 3_600_000;
/// Most that is shown.
const SPAN_MAX_MS: i64 = 7 * 86_400_000;
/// Points of the chart.
const POINTS: i64 = 300;
/// No series is collected more often than that by default, ms.
const STEP_MIN_MS: i64 = 15_000;

/// How a number went.
#[derive(Debug, Default)]
pub(super) struct Figures {
    points: Vec<(i64, f64)>,
    bounds: Vec<f64>,
    start_ms: i64,
    end_ms: i64,
    step_ms: i64,
    unit: String,
}

/// Reads how the number of an alert went around it. What only the controller knows has no series, and so no chart.
pub(super) async fn load(
    state: &HttpState,
    alert: &Alert,
    rule: &Rule,
    now_ms: i64,
) -> Result<Figures, Problem> {
    let (Some(resource), false) = (alert.resource, rule.plan.is_fact) else {
        return Ok(Figures::default());
    };
    let end_ms = alert
        .ended_ms
        .map_or(now_ms, |ended_ms| (ended_ms + AFTER_MS).min(now_ms));
    let start_ms = (alert.started_ms - BEFORE_MS).clamp(end_ms - SPAN_MAX_MS, end_ms - BEFORE_MS);
    let step_ms = ((end_ms - start_ms) / POINTS).max(STEP_MIN_MS);
    let names: Vec<&str> = rule.plan.metrics().collect();
    let Ok(of_names) = Matcher::new(NAME_LABEL, MatchOp::Re, names.join("|")) else {
        return Ok(Figures::default());
    };
    let mut matchers = vec![of_names];
    matchers.extend(alert.server.map(|id| Matcher::equal("server_id", id.to_string())));
    let query = RangeQuery {
        matchers,
        resource: Some(ResourceId(resource)),
        start_ms,
        end_ms,
        step_ms: Some(step_ms),
    };
    let names = state.app.server_names().await?;
    let range = state.series.range(names, query).await?;
    let points = number_of(&rule.plan, alert, &range.series);
    let bounds = match rule.kind {
        RuleKind::Growth | RuleKind::Absence => Vec::new(),
        RuleKind::Threshold | RuleKind::Forecast => {
            let lower = rule.levels.lower.map(|(_, bound)| bound);
            lower.into_iter().chain(rule.levels.critical).collect()
        }
    };
    Ok(Figures {
        // What was never measured is not shown as an empty half.
        start_ms: chart::start_ms(&points, end_ms, end_ms - start_ms),
        points,
        bounds,
        end_ms,
        step_ms,
        unit: rule.plan.unit.clone(),
    })
}

/// The series of each part of the formula.
fn parts<'a>(plan: &Plan, alert: &Alert, series: &'a [RangeSeries]) -> [Vec<&'a RangeSeries>; 2] {
    let mut parts = [Vec::new(), Vec::new()];
    for one in series {
        let has = |name: &String, value: &String| {
            one.labels
                .iter()
                .any(|(known, given)| known == name && given == value)
        };
        // Another part of the formula need not have all labels that the alert was judged with.
        let is_same = |name: &String, value: &String| {
            has(name, value) || !one.labels.iter().any(|(known, _)| known == name)
        };
        let pattern = plan.patterns.iter().find(|pattern| {
            *pattern.metric == *one.name && pattern.labels.iter().all(|(name, value)| has(name, value))
        });
        if let Some(pattern) = pattern
            && alert.labels.iter().all(|(name, value)| is_same(name, value))
            && let Some(part) = parts.get_mut(pattern.role)
        {
            part.push(one);
        }
    }
    parts
}

/// The number in order of time.
fn number_of(plan: &Plan, alert: &Alert, series: &[RangeSeries]) -> Vec<(i64, f64)> {
    let [first, second] = parts(plan, alert, series);
    let at = |part: &[&RangeSeries], change: &dyn Fn(i64, f64) -> f64| {
        let mut by_time: BTreeMap<i64, Vec<f64>> = BTreeMap::new();
        for (time_ms, value) in part.iter().flat_map(|one| &one.points) {
            by_time
                .entry(*time_ms)
                .or_default()
                .push(change(*time_ms, *value));
        }
        by_time
    };
    let most = |values: &[f64]| values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let plain = |_: i64, value: f64| value;
    #[expect(clippy::cast_precision_loss, reason = "a pixel is far coarser")]
    let age = |time_ms: i64, since: f64| time_ms as f64 / 1_000.0 - since;
    let of_both = |join: &dyn Fn(&[f64], &[f64]) -> f64| {
        let (first, second) = (at(&first, &plain), at(&second, &plain));
        first
            .iter()
            .filter_map(|(time_ms, values)| Some((*time_ms, join(values, second.get(time_ms)?))))
            .collect()
    };
    let of_one = |values: BTreeMap<i64, Vec<f64>>, join: &dyn Fn(&[f64]) -> f64| {
        values
            .into_iter()
            .map(|(time_ms, values)| (time_ms, join(&values)))
            .collect()
    };
    let mut points: Vec<(i64, f64)> = match plan.formula {
        Formula::Value(divisor) => of_one(at(&first, &plain), &|values| most(values) / divisor),
        Formula::Rate => of_one(rates(&first), &most),
        Formula::Age => of_one(at(&first, &age), &most),
        Formula::PercentUsed => of_both(&|left, whole| 100.0 * (1.0 - most(left) / most(whole))),
        Formula::PercentBusy => of_one(rates(&first), &|idle| {
            #[expect(clippy::cast_precision_loss, reason = "a number of CPUs")]
            let mean = idle.iter().sum::<f64>() / idle.len() as f64;
            100.0 * (1.0 - mean)
        }),
        #[expect(clippy::cast_precision_loss, reason = "a number of CPUs")]
        Formula::PerCount => of_both(&|values, counted| most(values) / counted.len() as f64),
        Formula::OldestOf => {
            let mut all = at(&first, &plain);
            for (time_ms, mut values) in at(&second, &age) {
                all.entry(time_ms).or_default().append(&mut values);
            }
            of_one(all, &most)
        }
    };
    points.retain(|(_, value)| value.is_finite());
    points
}

/// By how much each counter grew in a second, between neighbours; one that began anew leaves a hole.
fn rates(part: &[&RangeSeries]) -> BTreeMap<i64, Vec<f64>> {
    let mut by_time: BTreeMap<i64, Vec<f64>> = BTreeMap::new();
    for pair in part.iter().flat_map(|one| one.points.windows(2)) {
        let ((before_ms, before), (time_ms, value)) = (pair[0], pair[1]);
        if before <= value && before_ms < time_ms {
            #[expect(clippy::cast_precision_loss, reason = "a pixel is far coarser")]
            let seconds = (time_ms - before_ms) as f64 / 1_000.0;
            by_time
                .entry(time_ms)
                .or_default()
                .push((value - before) / seconds);
        }
    }
    by_time
}

/// Draws it; nothing if nothing is stored.
pub(super) fn draw(figures: &Figures, alert: &Alert) -> Markup {
    let values = || {
        let bounds = figures.bounds.iter().copied();
        figures.points.iter().map(|point| point.1).chain(bounds)
    };
    let (low, high) = frame(
        values().fold(f64::INFINITY, f64::min),
        values().fold(f64::NEG_INFINITY, f64::max),
    );
    html! {
        @if 1 < figures.points.len() {
            @let line = Line {
                points: &figures.points,
                start_ms: figures.start_ms,
                end_ms: figures.end_ms,
                low,
                high,
                gap_ms: (figures.step_ms * 3).max(900_000),
            };
            @let since = (figures.start_ms < alert.started_ms).then_some(alert.started_ms);
            section class="card" {
                header {
                    h2 { (alert.metric) }
                    span class="soft" {
                        @if !figures.bounds.is_empty() { "dashed: the bound" }
                        @if since.is_some() { " · upright: where the alert begins" }
                    }
                }
                div class="plot" {
                    div class="scale" {
                        @for step in 0..4 {
                            span { (with_unit(&figures.unit, rounded(high - (high - low) / 3.0 * f64::from(step), high - low))) }
                        }
                    }
                    (line.judged(&alert.metric, &figures.bounds, since))
                    div class="times" {
                        @for quarter in 0..=4_i64 {
                            @let at_ms = figures.start_ms + (figures.end_ms - figures.start_ms) / 4 * quarter;
                            @let is_long = 86_400_000 < figures.end_ms - figures.start_ms;
                            span { @if is_long { (format::day(at_ms)) } @else { (format::clock(at_ms)) } }
                        }
                    }
                }
            }
        }
    }
}

/// A frame with some room around the values.
fn frame(low: f64, high: f64) -> (f64, f64) {
    let span = high - low;
    if !span.is_finite() || span <= 0.0 {
        let room = (high.abs() * 0.1).max(1.0);
        return (low - room, high + room);
    }
    let floor = low - span * 0.1;
    // A number that is never below zero has no scale below it.
    let floor = if 0.0 <= low { floor.max(0.0) } else { floor };
    (floor, high + span * 0.1)
}

/// A number of a scale: as many digits as tell its lines apart.
fn rounded(value: f64, span: f64) -> f64 {
    let digits = (2.0 - span.abs().max(f64::MIN_POSITIVE).log10().floor()).clamp(0.0, 12.0);
    let factor = 10_f64.powf(digits);
    (value * factor).round() / factor
}

#[cfg(test)]
mod tests {
    use muster_base::id::ServerId;

    use super::super::reading::tests::alert;
    use super::*;

    fn series(name: &str, labels: &[(&str, &str)], points: &[(i64, f64)]) -> RangeSeries {
        RangeSeries {
            name: name.into(),
            labels: labels
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            resource: ResourceId(9),
            server: ServerId(3),
            points: points.to_vec(),
        }
    }

    fn points(metric: &str, series: &[RangeSeries]) -> Vec<(i64, f64)> {
        let mut alert = alert(metric, None, None);
        alert.labels.clear();
        number_of(&Plan::of(metric).unwrap(), &alert, series)
    }

    #[test]
    fn numbers_are_made_of_their_series_as_the_rule_makes_them() {
        let left = series(
            "node_filesystem_files_free",
            &[("device", "a")],
            &[(0, 10.0), (60_000, 5.0)],
        );
        let whole = series(
            "node_filesystem_files",
            &[("device", "a")],
            &[(0, 100.0), (60_000, 100.0)],
        );
        assert_eq!(
            points("inodes_percent", &[left, whole]),
            [(0, 90.0), (60_000, 95.0)]
        );
        let load = series("node_load5", &[], &[(0, 6.0)]);
        let cpus = ["0", "1"].map(|cpu| {
            series(
                "node_cpu_seconds_total",
                &[("cpu", cpu), ("mode", "idle")],
                &[(0, 1.0)],
            )
        });
        let [one, two] = cpus;
        let user = series(
            "node_cpu_seconds_total",
            &[("cpu", "0"), ("mode", "user")],
            &[(0, 1.0)],
        );
        assert_eq!(points("load_per_cpu", &[load, one, two, user]), [(0, 3.0)]);
        let ends = series("muster_zfs_pool_scan_end_seconds", &[], &[(100_000, 40.0)]);
        assert_eq!(points("scrub_age_seconds", &[ends]), [(100_000, 60.0)]);
        assert!(points("node_load1", &[]).is_empty());
    }

    #[test]
    fn another_series_of_the_same_metric_is_not_drawn() {
        let mut alert = alert("node_systemd_unit_state", None, None);
        alert.labels = [("name".to_owned(), "cron.service".to_owned())].into();
        let of = |unit: &str, value| series("node_systemd_unit_state", &[("name", unit)], &[(0, value)]);
        let all = [of("cron.service", 1.0), of("ssh.service", 7.0)];
        let plan = Plan::of("node_systemd_unit_state").unwrap();
        assert_eq!(number_of(&plan, &alert, &all), [(0, 1.0)]);
    }

    #[test]
    fn a_counter_that_begins_anew_leaves_a_hole() {
        let counter = series("x", &[], &[(0, 0.0), (1_000, 5.0), (2_000, 1.0), (3_000, 2.0)]);
        let rates = rates(&[&counter]);
        assert_eq!(rates.keys().copied().collect::<Vec<_>>(), [1_000, 3_000]);
    }

    #[test]
    fn frames_leave_room_and_do_not_go_below_nothing() {
        assert_eq!(frame(0.0, 100.0), (0.0, 110.0));
        assert_eq!(frame(5.0, 5.0), (4.0, 6.0));
        assert_eq!(rounded(63.333_333, 20.0), 63.3);
    }
}
