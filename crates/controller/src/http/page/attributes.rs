//! How a disk's own figures went over the last month, a small chart for each: SMART attributes, NVMe and SCSI counters.

use maud::{Markup, html};

use super::chart::{Line, start_ms};
use super::format;
use crate::http::devices::history::AttributeHistory;

const DAY_MS: i64 = 86_400_000;
/// What is shown at most.
pub(super) const SPAN_MS: i64 = 30 * DAY_MS;
/// Points farther apart than this are not joined.
const GAP_MS: i64 = DAY_MS;

/// Draws those of which there is more than one reading: first those that changed.
pub(super) fn draw(attributes: &[AttributeHistory], now_ms: i64) -> Markup {
    let mut shown: Vec<&AttributeHistory> = attributes.iter().filter(|one| 1 < one.points.len()).collect();
    shown.sort_by_key(|one| !has_changed(one));
    html! {
        @if !shown.is_empty() {
            section class="card" {
                header { h2 { "Over the last month" } span class="soft" { "raw values, one every six hours; those that changed first" } }
                div class="sparks" {
                    @for attribute in shown { (spark(attribute, now_ms)) }
                }
            }
        }
    }
}

fn spark(attribute: &AttributeHistory, now_ms: i64) -> Markup {
    let values = || {
        attribute
            .points
            .iter()
            .map(|point| point.1)
            .filter(|value| value.is_finite())
    };
    let low = values().fold(f64::INFINITY, f64::min);
    let high = values().fold(f64::NEG_INFINITY, f64::max);
    // A line that does not change lies in the middle.
    let (low, high) = if low < high {
        (low, high)
    } else {
        (low - 1.0, high + 1.0)
    };
    let line = Line {
        points: &attribute.points,
        start_ms: start_ms(&attribute.points, now_ms, SPAN_MS),
        end_ms: now_ms,
        low,
        high,
        gap_ms: GAP_MS,
    };
    let first = attribute.points.first().map_or(0.0, |point| point.1);
    let last = attribute.points.last().map_or(0.0, |point| point.1);
    html! {
        div {
            div class="soft" { (format::words(&attribute.name)) }
            div {
                strong { (number(last)) }
                @if has_changed(attribute) { " " span class="soft" { (change(last - first)) } }
            }
            (line.sparkline(&attribute.name))
        }
    }
}

fn has_changed(attribute: &AttributeHistory) -> bool {
    attribute
        .points
        .windows(2)
        .any(|pair| pair[0].1.to_bits() != pair[1].1.to_bits())
}

fn change(by: f64) -> String {
    if 0.0 < by {
        format!("+{}", number(by))
    } else if by < 0.0 {
        format!("−{}", number(-by))
    } else {
        "back where it was".to_owned()
    }
}

fn number(value: f64) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "checked to be small and whole")]
    if value.fract() == 0.0 && value.abs() < 1e15 {
        format::grouped(value as i64)
    } else {
        format!("{value:.3}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(name: &str, values: &[f64]) -> AttributeHistory {
        let times = (0_i64..).map(|day| day * DAY_MS);
        AttributeHistory {
            name: name.to_owned(),
            points: times.zip(values.iter().copied()).collect(),
        }
    }

    #[test]
    fn what_changed_comes_first_and_says_by_how_much() {
        let all = [
            history("5 Reallocated_Sector_Ct", &[0.0, 0.0, 0.0]),
            history("197 Current_Pending_Sector", &[0.0, 8.0, 3.0]),
            history("198 once", &[7.0]),
            history("<b>", &[2.0, 1.0]),
        ];
        let drawn = draw(&all, 3 * DAY_MS).into_string();
        let place = |text: &str| drawn.find(text).unwrap_or_else(|| panic!("{text} in {drawn}"));
        assert!(place("197 Current Pending Sector") < place("5 Reallocated Sector Ct"));
        assert!(place("+3") < place("−1"));
        assert!(!drawn.contains("198 once") && !drawn.contains("<b>") && !drawn.contains("style="));
        assert!(draw(&[], 0).into_string().is_empty());
    }
}
