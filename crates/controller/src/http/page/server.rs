//! A server: what it is, how it does, its disks and filesystems, and what could not be read of it.

use maud::{Markup, html};
use muster_model::RunOutcome;

use super::chart::{Line, meter, start_ms};
use super::load::{ServerPage, id, number, text, used_share, whole};
use super::vitals::HOUR_MS;
use super::{alerts, containers, format, layout, map, pools};
use crate::app::collectors::CollectorView;
use crate::app::resources::{ResourceView, counts_as_disk};

/// Samples farther apart than this are not joined in the small charts: five of the usual intervals.
const GAP_MS: i64 = 75_000;

/// Draws a server; with buttons if whoever looks may press them.
pub(super) fn draw(view: &ServerPage, may_act: bool) -> Markup {
    let place = format!("/servers/{}", view.server.id);
    html! {
        p class="crumbs" { a href="/" { "Servers" } }
        (head(view))
        (alerts::section(&view.alerts, view.now_ms, may_act.then_some(place.as_str())))
        (vitals(view))
        (containers::draw(&view.containers, &view.taken))
        (pools::draw(&view.topology))
        (devices(&view.devices))
        (filesystems(&view.filesystems))
        (map::draw(&view.topology))
        (facts(view))
        (collectors(view))
        (errors(view))
        (gaps(view))
    }
}

fn head(view: &ServerPage) -> Markup {
    let server = &view.server;
    let fact = |name: &str| view.facts.as_ref().and_then(|facts| text(facts, name));
    html! {
        div class="head" {
            h1 { (server.hostname) }
            (layout::status(server.status))
            @for tag in &server.tags { span class="tag" { (tag) } }
            div class="sub" {
                @if let Some(os) = fact("os") { span { (os) } }
                @if let Some(kernel) = fact("kernel") { span { "Linux " (kernel) } }
                @if let Some(uptime) = uptime(view) { span { "up " (uptime) } }
                @match server.last_seen_ms {
                    Some(seen_ms) => {
                        span title=(format::time(seen_ms)) { "last seen " (format::ago(seen_ms, view.now_ms)) }
                    }
                    None => { span { "never seen" } }
                }
            }
        }
        @if let Some(description) = &server.description { p class="soft wrap" { (description) } }
        @if let Some(error) = &server.last_error { section class="card notice warn" { (error) } }
    }
}

fn uptime(view: &ServerPage) -> Option<String> {
    let boot = text(view.facts.as_ref()?, "boot_time")?;
    let boot_ms = boot.parse::<jiff::Timestamp>().ok()?.as_millisecond();
    // A server that is silent is not known to be up any longer than it was heard.
    let until_ms = view.server.last_seen_ms?.min(view.now_ms);
    #[expect(clippy::cast_precision_loss, reason = "shown to the minute")]
    let seconds = (until_ms - boot_ms) as f64 / 1_000.0;
    Some(format::duration(seconds))
}

fn vitals(view: &ServerPage) -> Markup {
    let vitals = &view.vitals;
    let last = |points: &[(i64, f64)]| points.last().map(|point| point.1);
    let cpus = view.facts.as_ref().and_then(|facts| whole(facts, "cpu_count"));
    let load_top = vitals.load.iter().map(|point| point.1).fold(1.0, f64::max);
    let start_ms = start_ms(&vitals.load, view.now_ms, HOUR_MS);
    #[expect(clippy::cast_precision_loss, reason = "shown to the minute")]
    let since = format!(
        "last {}",
        format::duration((view.now_ms - start_ms) as f64 / 1_000.0)
    );
    let line = |points, high| Line {
        points,
        start_ms,
        end_ms: view.now_ms,
        low: 0.0,
        high,
        gap_ms: GAP_MS,
    };
    html! {
        div class="tiles" {
            section class="card tile" {
                h2 { "CPU" }
                div class="big" { (last(&vitals.cpu).map_or("–".to_owned(), format::percent)) }
                div class="note" { @if let Some(cpus) = cpus { "of " (cpus) " CPUs, " } (since) }
                (line(&vitals.cpu, 1.0).sparkline("CPU in use"))
            }
            section class="card tile" {
                h2 { "Load" }
                div class="big" { (last(&vitals.load).map_or("–".to_owned(), |load| format!("{load:.2}"))) }
                div class="note" { "1 minute average, " (since) }
                (line(&vitals.load, load_top * 1.1).sparkline("Load"))
            }
            section class="card tile" {
                h2 { "Memory" }
                div class="big" { (last(&vitals.memory).map_or("–".to_owned(), format::percent)) }
                div class="note" {
                    @if let Some(bytes) = vitals.memory_bytes { "of " (format::bytes(bytes)) ", " } (since)
                }
                (line(&vitals.memory, 1.0).sparkline("Memory in use"))
            }
        }
    }
}

fn devices(devices: &[ResourceView]) -> Markup {
    let (mut devices, others): (Vec<_>, Vec<_>) =
        devices.iter().partition(|device| counts_as_disk(&device.name));
    devices.sort_by_key(|device| layout::urgency(device.health));
    html! {
        section class="card" {
            header { h2 { "Disks" } span class="soft" { (devices.len()) } }
            @if devices.is_empty() { p class="empty" { "No disks were seen." } }
            @else {
                div class="scroll" {
                    table class="stack" {
                        thead {
                            tr {
                                th { "Disk" }
                                th { "Health" }
                                th class="num" { "Size" }
                                th { "Type" }
                                th class="num" { "Temperature" }
                                th class="num" { "Powered on" }
                                th class="num" { "Wear" }
                            }
                        }
                        tbody { @for device in devices { (device_line(device)) } }
                    }
                }
            }
            @if !others.is_empty() {
                p class="soft pad" {
                    "Not counted as disks: "
                    @for (place, device) in others.iter().enumerate() {
                        @if 0 < place { ", " }
                        a href={ "/devices/" (id(device)) } { (device.name) }
                    }
                }
            }
        }
    }
}

fn device_line(device: &ResourceView) -> Markup {
    let dash = || "–".to_owned();
    html! {
        tr {
            td {
                a class="name" href={ "/devices/" (id(device)) } { (device.name) }
                @if let Some(model) = text(device, "model") { div class="under" { (model) } }
            }
            td {
                (layout::health(device.health))
                @if let Some(reason) = device.health_reasons.first() { div class="under" { (reason) } }
            }
            td class="num" data-label="Size" { (number(device, "size_bytes").map_or_else(dash, format::capacity)) }
            td data-label="Type" { (text(device, "device_type").unwrap_or_else(dash)) }
            td class="num" data-label="Temperature" {
                (number(device, "temperature_celsius").map_or_else(dash, |celsius| format!("{celsius:.0} °C")))
            }
            td class="num" data-label="Powered on" {
                (number(device, "power_on_hours").map_or_else(dash, |hours| format::duration(hours * 3_600.0)))
            }
            td class="num" data-label="Wear" {
                (number(device, "wear_level_percent").map_or_else(dash, |percent| format!("{percent:.0} %")))
            }
        }
    }
}

fn filesystems(filesystems: &[ResourceView]) -> Markup {
    html! {
        section class="card" {
            header { h2 { "Filesystems" } span class="soft" { (filesystems.len()) } }
            @if filesystems.is_empty() { p class="empty" { "No filesystems were seen." } }
            @else {
                div class="scroll" {
                    table class="stack" {
                        thead {
                            tr {
                                th { "Mounted at" }
                                th { "Used" }
                                th class="num" { "Available" }
                                th class="num" { "Size" }
                                th class="num hide-narrow" { "Inodes used" }
                            }
                        }
                        tbody { @for filesystem in filesystems { (filesystem_line(filesystem)) } }
                    }
                }
            }
        }
    }
}

fn filesystem_line(filesystem: &ResourceView) -> Markup {
    let dash = || "–".to_owned();
    let inodes = number(filesystem, "inodes_total")
        .zip(number(filesystem, "inodes_free"))
        .filter(|(total, _)| 0.0 < *total)
        .map(|(total, free)| (total - free) / total);
    let under = [text(filesystem, "fs_type"), text(filesystem, "source")];
    let under: Vec<String> = under.into_iter().flatten().collect();
    let is_read_only = filesystem.attributes.get("readonly") == Some(&true.into());
    html! {
        tr {
            td {
                span class="name" { (text(filesystem, "mountpoint").unwrap_or_else(|| filesystem.name.clone())) }
                @if is_read_only { " " span class="tag" { "read-only" } }
                div class="under" { (under.join(" · ")) }
                @for reason in &filesystem.health_reasons { div class="under" { (reason) } }
            }
            td data-label="Used" {
                @match used_share(filesystem) {
                    Some(share) => { (format::percent(share)) (meter(share)) }
                    None => { span class="soft" { "–" } }
                }
            }
            td class="num" data-label="Available" { (number(filesystem, "available_bytes").map_or_else(dash, format::bytes)) }
            td class="num" data-label="Size" { (number(filesystem, "size_bytes").map_or_else(dash, format::bytes)) }
            td class="num hide-narrow" { (inodes.map_or_else(dash, format::percent)) }
        }
    }
}

fn facts(view: &ServerPage) -> Markup {
    let fact = |name: &str| view.facts.as_ref().and_then(|facts| text(facts, name));
    let machine: Vec<String> = [fact("machine_vendor"), fact("machine_model")]
        .into_iter()
        .flatten()
        .collect();
    let server = &view.server;
    html! {
        section class="card" {
            header { h2 { "About" } }
            dl class="facts" {
                (layout::fact("Operating system", fact("os")))
                (layout::fact("Kernel", fact("kernel")))
                (layout::fact("Architecture", fact("architecture")))
                (layout::fact("CPU", fact("cpu_model")))
                (layout::fact("Machine", (!machine.is_empty()).then(|| machine.join(" "))))
                (layout::fact("Booted", fact("boot_time").as_deref().map(format::time_of)))
                (layout::fact("Name it gives itself", fact("hostname")))
                (layout::fact("Address", server.ip_address.clone()))
                (layout::fact("Agent", server.agent_version.clone()))
                (layout::fact("Enrolled as", server.agent_id.map(|id| id.to_string())))
                (layout::fact("Known since", Some(format::time(server.created_ms))))
                (layout::fact("Id", Some(server.id.to_string())))
            }
        }
    }
}

fn collectors(view: &ServerPage) -> Markup {
    html! {
        section class="card" {
            header { h2 { "Collectors" } span class="soft" { (view.collectors.len()) } }
            @if view.collectors.is_empty() { p class="empty" { "Nothing was collected yet." } }
            @else {
                div class="scroll" {
                    table {
                        thead { tr { th { "Collector" } th { "Last run" } th class="num" { "Took" } th { "When" } } }
                        tbody {
                            @for collector in &view.collectors {
                                tr {
                                    td { span class="name" { (collector.collector) } }
                                    td {
                                        span class={ "pill " (outcome_class(collector)) } { (outcome_word(collector)) }
                                        @if !collector.message.is_empty() { div class="under" { (collector.message) } }
                                    }
                                    td class="num" { (collector.duration_ms) " ms" }
                                    td class="nowrap" title=(format::time(collector.started_ms)) {
                                        (format::ago(collector.started_ms, view.now_ms))
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn outcome_word(collector: &CollectorView) -> String {
    if collector.outcome == RunOutcome::Facts.as_str() {
        "collected".to_owned()
    } else {
        format::words(&collector.outcome)
    }
}

fn outcome_class(collector: &CollectorView) -> &'static str {
    if collector.outcome == RunOutcome::Absent.as_str() {
        "dim"
    } else if collector.failures == 0 {
        "good"
    } else {
        "bad"
    }
}

fn errors(view: &ServerPage) -> Markup {
    html! {
        @if !view.errors.is_empty() {
            section class="card" {
                header { h2 { "Could not be collected" } span class="soft" { (view.errors_total) } }
                div class="scroll" {
                    table {
                        thead { tr { th { "What" } th { "Collector" } th class="num" { "Times" } th { "Last" } } }
                        tbody {
                            @for error in &view.errors {
                                tr {
                                    td class="wrap" {
                                        (error.error_message) div class="under" { (format::words(&error.error_type)) }
                                    }
                                    td { (error.service_name) }
                                    td class="num" { (error.count) }
                                    td class="nowrap" title=(format::time(error.occurred_ms)) {
                                        (format::ago(error.occurred_ms, view.now_ms))
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn gaps(view: &ServerPage) -> Markup {
    let samples: u64 = view.gaps.iter().filter_map(|gap| gap.sample_count).sum();
    html! {
        @if let Some(latest) = view.gaps.first() {
            section class="card notice warn" {
                (view.gaps.len()) " gaps in what was delivered, with " (samples) " samples known to be lost; the latest "
                (format::ago(latest.noted_ms, view.now_ms)) ": " (format::words(&latest.reason))
            }
        }
    }
}
