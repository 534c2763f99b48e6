//! Debian's `prometheus-node-exporter` beside the agent: the same names, labels and values, but for what
//! `docs/node-exporter.md` lists.

#![expect(clippy::print_stdout, reason = "figures of a test are printed")]

mod dashboard;
mod exporter;
mod page;
mod prometheus;
mod tree;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use exporter::{agent_page, exporter_page};
use muster_e2e::{World, eventually};
use page::{Page, With};
use prometheus::Prometheus;
use serde_json::json;

/// Names and ends (`go_*`) of the document's table.
fn listed_differences() -> Vec<String> {
    const DOCUMENT: &str = include_str!("../../../../docs/node-exporter.md");
    DOCUMENT
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` |"))
        .map(|(name, _)| name.to_owned())
        .collect()
}

fn is_listed(differences: &[String], name: &str) -> bool {
    differences.iter().any(|listed| match listed.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => listed == name,
    })
}

/// What theirs has and ours lacks: names, and labels of names both have.
fn missing(theirs: &Page, ours: &Page) -> BTreeSet<String> {
    let differences = listed_differences();
    let mut missing = BTreeSet::new();
    for name in theirs.names().filter(|name| !is_listed(&differences, name)) {
        let Some(labels) = ours.label_names(name) else {
            missing.insert(name.to_owned());
            continue;
        };
        for label in theirs.label_names(name).unwrap_or_default().difference(&labels) {
            missing.insert(format!("{name}{{{label}}}"));
        }
    }
    missing
}

/// What does not change by itself on a machine that is used: what things are, how large, and how many there may be.
fn is_slow(name: &str) -> bool {
    const ENDS: [&str; 9] = [
        "_info",
        "_limit",
        "_maximum",
        "_mtu_bytes",
        "_size_bits",
        "_size_bytes",
        "_speed_bytes",
        "Total_bytes",
        "_Total",
    ];
    const NAMES: [&str; 18] = [
        "node_filesystem_device_error",
        "node_filesystem_files",
        "node_filesystem_readonly",
        "node_memory_CommitLimit_bytes",
        "node_memory_Hugepagesize_bytes",
        "node_network_address_assign_type",
        "node_network_device_id",
        "node_network_iface_id",
        "node_network_iface_link",
        "node_network_iface_link_mode",
        "node_network_name_assign_type",
        "node_network_net_dev_group",
        "node_network_protocol_type",
        "node_network_transmit_queue_length",
        "node_os_version",
        "node_selinux_enabled",
        "node_time_zone_offset_seconds",
        "node_timex_tick_seconds",
    ];
    ENDS.iter().any(|end| name.ends_with(end)) || NAMES.contains(&name)
}

/// The exporter is asked before and after the agent: what it says both times stood still between, whatever other
/// programs do to the machine.
#[tokio::test]
async fn every_name_label_and_slow_value_of_the_exporter_is_the_agents_too() -> Result<()> {
    let before = exporter_page(None).await?;
    let ours = agent_page(None)?;
    let after = exporter_page(None).await?;
    let missing = missing(&before, &ours);
    // Others mount and unmount below the folder of what is temporary while this runs.
    let temporary = std::env::temp_dir();
    let mine = |page: &Page| {
        page.without_devices("zram")
            .without("mountpoint", &temporary.to_string_lossy())
    };
    let differences = listed_differences();
    let is_compared = |name: &&str| {
        let is_own = name.starts_with("process_") || name.starts_with("node_scrape_");
        !is_own && !is_listed(&differences, name)
    };
    let (slow, fast): (Vec<&str>, Vec<&str>) =
        before.names().filter(is_compared).partition(|name| is_slow(name));
    let root = Path::new("no root");
    let values = ours.compare(&mine(&before.unchanged_in(&after)), &slow, root, With::Values);
    let labels = ours.compare(&mine(&before.still_in(&after)), &fast, root, With::Labels);
    println!(
        "{} names of the exporter, {} of the agent, {} missing; {} slow values are equal, {} differ; {} other series \
         are there, {} are not",
        before.names().count(),
        ours.names().count(),
        missing.len(),
        values.equal,
        values.different.len(),
        labels.equal,
        labels.different.len()
    );
    ensure!(missing.is_empty(), "missing: {missing:#?}");
    ensure!(values.different.is_empty(), "different: {:#?}", values.different);
    ensure!(labels.different.is_empty(), "not there: {:#?}", labels.different);
    ensure!(
        20 < values.equal && 100 < labels.equal,
        "hardly anything was compared"
    );
    Ok(())
}

/// Over a folder both read the same bytes, so that every value is slow, but for what is asked of the system itself.
async fn same_over(root: &Path) -> Result<()> {
    let theirs = exporter_page(Some(root)).await?;
    let ours = agent_page(Some(root))?;
    let mut missing = missing(&theirs, &ours);
    missing.retain(|name| !is_of_the_system(name));
    let differences = listed_differences();
    let is_compared = |name: &&str| !is_of_the_system(name) && !is_listed(&differences, name);
    let names: Vec<&str> = theirs.names().filter(is_compared).collect();
    // Names of datasets are cut at a space by the exporter.
    let theirs = theirs.without("dataset", "dozer/with");
    // Later versions of the exporter leave compressed memory out, and so does the agent.
    let compared = ours.compare(&theirs.without_devices("zram"), &names, root, With::Values);
    println!(
        "{} names of the exporter, {} series compared, {} differ, {} missing",
        theirs.names().count(),
        compared.equal + compared.different.len(),
        compared.different.len(),
        missing.len()
    );
    ensure!(
        missing.is_empty() && compared.different.is_empty(),
        "missing: {missing:#?}, different: {:#?}",
        compared.different
    );
    ensure!(100 < compared.equal, "hardly anything was compared");
    Ok(())
}

/// What the exporter asks of the running system even when it reads a folder, where the agent reads only the folder.
fn is_of_the_system(name: &str) -> bool {
    let starts = [
        "node_timex_",
        "node_time_",
        "node_uname_info",
        "node_selinux_",
        "node_filesystem_",
        "node_scrape_",
        "node_textfile_",
        "process_",
        "go_",
        "promhttp_",
        "node_exporter_",
    ];
    starts.iter().any(|start| name.starts_with(start))
}

#[tokio::test]
async fn over_hardware_that_is_not_here_names_labels_and_values_are_the_same() -> Result<()> {
    let folder = tempfile::tempdir()?;
    tree::write_hardware(folder.path())?;
    same_over(folder.path()).await
}

#[tokio::test]
async fn over_a_recorded_guest_with_every_kind_of_storage_names_labels_and_values_are_the_same() -> Result<()>
{
    let folder = tempfile::tempdir()?;
    tree::write_guest(folder.path())?;
    same_over(folder.path()).await
}

#[tokio::test]
async fn over_a_copy_of_this_machine_names_labels_and_values_are_the_same() -> Result<()> {
    let folder = tempfile::tempdir()?;
    tree::copy_machine(folder.path())?;
    same_over(folder.path()).await
}

/// This machine has what is asked of the system, the folder the hardware: together nothing may be without its series.
#[test]
fn every_expression_of_dashboard_1860_finds_its_series() -> Result<()> {
    let folder = tempfile::tempdir()?;
    tree::write_hardware(folder.path())?;
    let pages = [agent_page(None)?, agent_page(Some(folder.path()))?];
    let asked: Vec<&str> = dashboard::ASKED.split_ascii_whitespace().collect();
    let empty: Vec<&&str> = asked
        .iter()
        .filter(|series| !pages.iter().any(|page| page.has(series)))
        .collect();
    println!(
        "{} series are asked for, {} are not there",
        asked.len(),
        empty.len()
    );
    ensure!(empty.is_empty(), "not there: {empty:?}");
    Ok(())
}

/// Two servers: this machine, and the hardware that it lacks. What Prometheus has of them must be enough for every panel
/// and every way in which panels put series together, for one of the two.
#[tokio::test(flavor = "multi_thread")]
async fn a_stock_prometheus_evaluates_every_expression_of_dashboard_1860() -> Result<()> {
    const LIMIT: Duration = Duration::from_secs(120);
    let folder = tempfile::tempdir()?;
    tree::write_hardware(folder.path())?;
    let root = folder.path().to_str().context("path")?;
    let world = World::start().await?;
    let api = world.api().await?;
    let mut agents = Vec::new();
    for (name, more) in [("machine", [].as_slice()), ("hardware", &["--root", root])] {
        let token = world.token_file(1)?;
        let enrolled = world.enroll(name, &token)?;
        ensure!(enrolled.status.success(), "{enrolled:?}");
        agents.push(world.start_agent(name, more)?);
        // Both enrolled from one machine, and dashboards tell servers apart by their names.
        let servers = api.items("/api/infrastructure/servers").await?;
        let newest = servers.iter().filter_map(|server| server["id"].as_i64()).max();
        let path = format!("/api/infrastructure/servers/{}", newest.context("server")?);
        let (status, text) = api.ask("PATCH", &path, Some(json!({"hostname": name}))).await?;
        ensure!(status.is_success(), "{status} {text}");
    }
    let prometheus = Prometheus::start(&world).await?;
    let instances = eventually(LIMIT, async || {
        let jobs = prometheus.label_values("node_uname_info", "job").await?;
        ensure!(jobs.contains("node"), "{jobs:?}");
        let instances = prometheus.label_values("node_uname_info", "instance").await?;
        ensure!(instances.len() == 2, "{instances:?}");
        Ok(instances)
    })
    .await?;
    let nodenames = prometheus.label_values("node_uname_info", "nodename").await?;
    ensure!(nodenames.len() == 2, "{nodenames:?}");

    let expressions: Vec<String> = dashboard::panels()
        .chain(dashboard::PUT_TOGETHER.iter().map(|text| (*text).to_owned()))
        .collect();
    let mut empty: Vec<&String> = expressions.iter().collect();
    // A rate needs two scrapes, and a collector its first run.
    let done = eventually(LIMIT, async || {
        let mut still = Vec::new();
        for expression in &empty {
            let mut count = 0;
            for instance in &instances {
                let of = format!("instance=\"{instance}\",job=\"node\"");
                count += prometheus.count(&expression.replace("$of", &of)).await?;
            }
            if count == 0 {
                still.push(*expression);
            }
        }
        empty = still;
        ensure!(empty.is_empty(), "without a series: {empty:#?}");
        Ok(())
    })
    .await;
    println!(
        "{} expressions, {} without a series",
        expressions.len(),
        empty.len()
    );
    done
}

#[test]
fn what_systemd_a_power_supply_and_a_graphics_processor_say_is_told() -> Result<()> {
    let folder = tempfile::tempdir()?;
    tree::write_hardware(folder.path())?;
    let page = agent_page(Some(folder.path()))?;
    for (series, value) in [
        ("node_systemd_units{state=failed}", 1.0),
        ("node_systemd_units{state=active}", 4.0),
        (
            "node_systemd_unit_state{name=broken.service,state=failed,type=simple}",
            1.0,
        ),
        (
            "node_systemd_unit_state{name=ssh.service,state=failed,type=notify}",
            0.0,
        ),
        ("node_systemd_service_restart_total{name=broken.service}", 5.0),
        (
            "node_systemd_socket_accepted_connections_total{name=cups.socket}",
            7.0,
        ),
        (
            "node_systemd_timer_last_trigger_seconds{name=apt-daily.timer}",
            1_700_003_600.0,
        ),
        (
            "node_systemd_unit_start_time_seconds{name=ssh.service}",
            1_700_000_100.0,
        ),
        ("node_systemd_system_running", 0.0),
        ("node_systemd_version{version=252.36-1~deb12u1}", 252.0),
        ("muster_ups_battery_charge_ratio{ups=eaton}", 1.0),
        ("muster_ups_load_ratio{ups=eaton}", 0.17),
        ("muster_ups_status{ups=eaton,status=OL}", 1.0),
        ("muster_ups_status{ups=eaton,status=OB}", 0.0),
        ("node_drm_gpu_busy_percent{card=card0}", 4.0),
        ("node_drm_memory_vram_used_bytes{card=card0}", 1_490_378_752.0),
        ("muster_process_resident_bytes{name=systemd}", 2507.0 * 4096.0),
    ] {
        ensure!(
            page.value(series) == Some(value),
            "{series}: {:?}",
            page.value(series)
        );
    }
    ensure!(!page.has("node_systemd_unit_state{name=boot.mount}"));
    ensure!(!page.has("node_systemd_unit_start_time_seconds{name=broken.service}"));
    Ok(())
}
