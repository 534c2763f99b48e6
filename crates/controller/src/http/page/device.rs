//! A disk: its health and what that rests on, its temperature, all that is known, and its SMART tables.

use maud::{Markup, html};
use muster_model::{Attribute, Health};
use smartmontools_parse::trend::WearOut;

use super::chart::{Line, start_ms};
use super::load::{DAY_MS, DevicePage, number, text, whole};
use super::{attributes, format, layout, resource, smart};
use crate::app::resources::ResourceView;

/// Temperatures farther apart than this are not joined: a bit more than two of the usual half hours.
const GAP_MS: i64 = 4_500_000;

/// Draws a disk.
pub(super) fn draw(view: &DevicePage) -> Markup {
    let device = &view.device;
    let raw = text(device, "smart_data_raw");
    html! {
        p class="crumbs" {
            a href="/" { "Servers" } " / " a href={ "/servers/" (device.server) } { (view.hostname) }
        }
        (head(view))
        (verdict(device))
        (decisions(view))
        (vitals(device))
        (temperature(view, &view.temperature, DAY_MS, GAP_MS))
        (temperature(view, &view.trend.celsius, attributes::SPAN_MS, DAY_MS))
        (wear(view))
        (resource::impact(&view.impact))
        (attributes::draw(&view.attributes, view.now_ms))
        (facts(device))
        @if let Some(raw) = &raw { (smart::draw(raw)) }
    }
}

fn head(view: &DevicePage) -> Markup {
    let device = &view.device;
    html! {
        div class="head" {
            h1 { (device.name) }
            (layout::health(device.health))
            @if let Some(gone_ms) = device.gone_ms {
                span class="tag bad" { "gone since " (format::time(gone_ms)) }
            }
            div class="sub" {
                @if let Some(model) = text(device, "model") { span { (model) } }
                @if let Some(serial) = text(device, "serial_number") { span class="mono" { (serial) } }
                @if let Some(size) = number(device, "size_bytes") { span { (format::capacity(size)) } }
                @if let Some(checked) = text(device, "last_checked").and_then(|at| at.parse::<jiff::Timestamp>().ok()) {
                    span { "read " (format::ago(checked.as_millisecond(), view.now_ms)) }
                }
            }
        }
    }
}

fn verdict(device: &ResourceView) -> Markup {
    let sentence = match device.health {
        Health::Healthy => "Nothing wrong was found.",
        Health::Unknown => "Too little is known to judge this disk.",
        Health::Warning => "Works, but someone should look.",
        Health::Critical => "Works badly or is about to fail.",
        Health::Failed => "Does not do its work any more, or says of itself that it fails.",
    };
    html! {
        section class={ "card notice " (layout::health_class(device.health)) } {
            strong { (sentence) }
            @if !device.health_reasons.is_empty() {
                ul { @for reason in &device.health_reasons { li { (reason) } } }
            }
        }
    }
}

/// What people decided about the disk.
fn decisions(view: &DevicePage) -> Markup {
    let judgement = &view.judgement;
    html! {
        @if !judgement.is_empty() {
            section class="card" {
                ul {
                    @if let Some(accepted) = &judgement.baseline {
                        li {
                            "Its damage was accepted by " (accepted.by) " on " (format::time(accepted.at_ms))
                            "; only what came on top counts"
                            @if let Some(note) = &accepted.note { ": " q { (note) } }
                        }
                    }
                    @if let Some(decided) = &judgement.overrides {
                        li { "It has rules of its own, made by " (decided.by) " on " (format::time(decided.at_ms)) }
                    }
                }
            }
        }
    }
}

/// How the disk wears, and when it will be worn out.
fn wear(view: &DevicePage) -> Markup {
    /// Points farther apart than this are not joined.
    const WEAR_GAP_MS: i64 = 3 * DAY_MS;
    let points = &view.trend.wear;
    let start_ms = start_ms(points, view.now_ms, 400 * DAY_MS);
    let high = points.iter().map(|point| point.1).fold(10.0, f64::max);
    let sentence = match view.trend.wear_out {
        WearOut::At {
            at_ms,
            percent_per_year,
            span_days,
        } => format!(
            "worn out about {}, at {percent_per_year:.1} % a year ({span_days:.0} days of history)",
            format::time(at_ms).chars().take(10).collect::<String>()
        ),
        WearOut::NotInSight { percent_per_year, .. } => {
            format!("not worn out within fifty years, at {percent_per_year:.1} % a year")
        }
        WearOut::Reached => "all of what it is rated for is used".to_owned(),
        WearOut::CannotTell { reason } => format!("when it is worn out cannot be told: {reason}"),
    };
    html! {
        @if 1 < points.len() {
            @let high = (high / 10.0).ceil() * 10.0;
            @let line = Line { points, start_ms, end_ms: view.now_ms, low: 0.0, high, gap_ms: WEAR_GAP_MS };
            section class="card" {
                header { h2 { "Endurance used over time" } span class="soft" { (sentence) } }
                div class="plot" {
                    div class="scale" {
                        @for step in 0..3 { span { (format!("{:.0} %", high - high / 2.0 * f64::from(step))) } }
                    }
                    (line.chart("Endurance used"))
                    div class="times" {
                        @for end in [start_ms, view.now_ms] {
                            span { (format::day(end)) }
                        }
                    }
                }
            }
        }
    }
}

fn vitals(device: &ResourceView) -> Markup {
    let tile = |title: &str, value: Option<String>, note: &str| {
        html! {
            @if let Some(value) = value {
                section class="card tile" {
                    h2 { (title) }
                    div class="big" { (value) }
                    div class="note" { (note) }
                }
            }
        }
    };
    let hours = number(device, "power_on_hours");
    html! {
        div class="tiles" {
            (tile("Temperature", number(device, "temperature_celsius").map(|celsius| format!("{celsius:.0} °C")), "when last read"))
            (tile("Powered on", hours.map(|hours| format::duration(hours * 3_600.0)),
                &whole(device, "power_on_hours").map(|hours| format!("{} hours", format::grouped(hours))).unwrap_or_default()))
            (tile("Endurance used", number(device, "wear_level_percent").map(|percent| format!("{percent:.0} %")), "as the disk says"))
            (tile("Written", number(device, "total_bytes_written").map(format::capacity), "in its life"))
            (tile("Reallocated", whole(device, "reallocated_sectors").map(format::grouped), "sectors"))
            (tile("Pending", whole(device, "pending_sectors").map(format::grouped), "sectors"))
        }
    }
}

/// One chart over at most `most_ms`; none over a longer time than the readings span by much.
fn temperature(view: &DevicePage, points: &[(i64, f64)], most_ms: i64, gap_ms: i64) -> Markup {
    let values = || {
        points
            .iter()
            .map(|point| point.1)
            .filter(|value| value.is_finite())
    };
    let start_ms = start_ms(points, view.now_ms, most_ms);
    let span_ms = view.now_ms - start_ms;
    #[expect(clippy::cast_precision_loss, reason = "shown to the minute")]
    let since = format!("last {}", format::duration(span_ms as f64 / 1_000.0));
    let low = values().fold(f64::INFINITY, f64::min);
    let high = values().fold(f64::NEG_INFINITY, f64::max);
    // A month's chart of a day would be the day's chart again.
    let is_worth_it = most_ms <= DAY_MS || DAY_MS < span_ms;
    html! {
        @if low <= high && 1 < points.len() && is_worth_it {
            // Room around the line, and never a frame so narrow that one degree looks like a fire.
            @let low = ((low - 3.0) / 5.0).floor() * 5.0;
            @let high = (((high + 3.0) / 5.0).ceil() * 5.0).max(low + 15.0);
            @let line = Line {
                points,
                start_ms,
                end_ms: view.now_ms,
                low,
                high,
                gap_ms,
            };
            section class="card" {
                header { h2 { "Temperature" } span class="soft" { (since) ", UTC" } }
                div class="plot" {
                    div class="scale" {
                        @for step in 0..4 {
                            span { (format!("{:.0} °C", high - (high - low) / 3.0 * f64::from(step))) }
                        }
                    }
                    (line.chart("Temperature"))
                    div class="times" {
                        @for quarter in 0..=4_i64 {
                            @let at_ms = start_ms + span_ms / 4 * quarter;
                            span { @if span_ms <= DAY_MS { (format::clock(at_ms)) } @else { (format::day(at_ms)) } }
                        }
                    }
                }
            }
        }
    }
}

fn facts(device: &ResourceView) -> Markup {
    html! {
        section class="card" {
            header { h2 { "Everything known" } }
            dl class="facts" {
                (layout::fact("Key", Some(device.key.clone())))
                @for (name, attribute) in &device.attributes {
                    @if !name.ends_with("_raw") && name != "device_name" { (layout::fact(&format::words(name), Some(shown(name, attribute)))) }
                }
                (layout::fact("First seen", Some(format::time(device.first_seen_ms))))
            }
        }
    }
}

fn shown(name: &str, attribute: &Attribute) -> String {
    match attribute {
        Attribute::Bool(true) => "yes".to_owned(),
        Attribute::Bool(false) => "no".to_owned(),
        Attribute::Int(number) if name.ends_with("_bytes") || name.starts_with("total_bytes") => {
            #[expect(
                clippy::cast_precision_loss,
                reason = "shown with three digits, and exactly beside that"
            )]
            let short = format::capacity(*number as f64);
            format!("{short} ({} bytes)", format::grouped(*number))
        }
        Attribute::Int(number) => format::grouped(*number),
        Attribute::Float(number) => number.to_string(),
        Attribute::Text(text) if name == "last_checked" => format::time_of(text),
        Attribute::Text(text) => text.clone(),
        Attribute::List(texts) => texts.join(", "),
    }
}
