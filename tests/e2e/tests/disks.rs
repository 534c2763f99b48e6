//! Disks through a whole agent and controller: what the kernel calls them does not matter.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use muster_e2e::{Api, World, eventually};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(90);
/// Serial number, identity as the kernel has it, sectors, and the place on the bus.
const DISKS: [(&str, &str, &str, &str); 2] = [
    (
        "SER-ONE",
        "naa.5000c500a1b2c3d4",
        "3907029168",
        "ata1/host0/target0:0:0/0:0:0:0",
    ),
    (
        "SER-TWO",
        "naa.5000c500deadbeef",
        "1953525168",
        "ata2/host1/target1:0:0/1:0:0:0",
    ),
];

/// Makes the server below `root` one whose disks have these names and temperatures, in the order of [`DISKS`]; all of it
/// at one moment, as the kernel would.
fn write(root: &Path, disks: [(&str, i64); 2]) -> Result<()> {
    std::fs::create_dir_all(root)?;
    let version = disks.map(|(name, celsius)| format!("{name}-{celsius}")).join("-");
    if !root.join(&version).is_dir() {
        fill(&root.join(&version), disks)?;
    }
    for folder in ["sys", "muster", "proc"] {
        if !root.join(folder).is_symlink() {
            symlink(Path::new("now").join(folder), root.join(folder))?;
        }
    }
    symlink(version, root.join("next"))?;
    Ok(std::fs::rename(root.join("next"), root.join("now"))?)
}

fn fill(root: &Path, disks: [(&str, i64); 2]) -> Result<()> {
    let put = |path: &str, text: &str| -> Result<()> {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().context("a file stands in a folder")?)?;
        Ok(std::fs::write(path, text)?)
    };
    put("proc/sys/kernel/hostname", "store\n")?;
    let mut counters = String::new();
    let mut devices = Vec::new();
    for ((serial, wwid, sectors, place), (name, celsius)) in DISKS.into_iter().zip(disks) {
        let folder = format!("sys/devices/pci0000:00/0000:00:1f.2/{place}/block/{name}");
        for (attribute, value) in [
            ("device/wwid", wwid),
            ("device/model", "WDC WD20EFRX"),
            ("size", sectors),
            ("queue/rotational", "1"),
        ] {
            put(&format!("{folder}/{attribute}"), &format!("{value}\n"))?;
        }
        std::fs::create_dir_all(root.join("sys/block"))?;
        let target = format!("../devices/pci0000:00/0000:00:1f.2/{place}/block/{name}");
        symlink(target, root.join("sys/block").join(name))?;
        let minor = if name == "sda" { 0 } else { 16 };
        counters += &format!("   8 {minor} {name} {celsius} 0 8 1 2 0 16 3 0 4 5 0 0 0 0 0 0\n");
        devices.push(json!({"name": format!("/dev/{name}"), "info_name": format!("/dev/{name}"), "type": "sat", "protocol": "ATA"}));
        let naa = u64::from_str_radix(wwid.trim_start_matches("naa."), 16)?;
        let report = json!({
            "json_format_version": [1, 0],
            "smartctl": {"version": [7, 3], "exit_status": 0},
            "device": {"name": format!("/dev/{name}"), "type": "sat", "protocol": "ATA"},
            "model_name": "WDC WD20EFRX", "serial_number": serial,
            "wwn": {"naa": naa >> 60, "oui": (naa >> 36) & 0xff_ffff, "id": naa & 0xf_ffff_ffff},
            "user_capacity": {"blocks": sectors.parse::<u64>()?, "bytes": sectors.parse::<u64>()? * 512},
            "logical_block_size": 512, "physical_block_size": 4096, "rotation_rate": 5400,
            "smart_support": {"available": true, "enabled": true}, "smart_status": {"passed": true},
            "temperature": {"current": celsius}, "power_on_time": {"hours": 1000},
        });
        put(&format!("muster/run/smartctl/{name}"), &report.to_string())?;
    }
    put("proc/diskstats", &counters)?;
    let scan = json!({"smartctl": {"version": [7, 3], "exit_status": 0}, "devices": devices});
    put("muster/run/smartctl/scan", &scan.to_string())
}

/// A controller, and the folder below which an agent that is enrolled sees the first of the servers.
async fn start() -> Result<(World, PathBuf)> {
    let world = World::start().await?;
    let root = world.dir().join("root");
    write(&root, [("sda", 31), ("sdb", 44)])?;
    let below = ["--root", root.to_str().context("path")?];
    let enrolled = world.enroll_with("agent", &world.token_file(1)?, &below)?;
    ensure!(enrolled.status.success(), "{enrolled:?}");
    // It is named as what lies below the folder.
    world.api().await?.server("store").await?;
    Ok((world, root))
}

/// The disks by serial number: id, name and temperature.
async fn disks(api: &Api, server: &Value) -> Result<BTreeMap<String, (i64, String, i64)>> {
    let path = format!("/api/infrastructure/servers/{}/storage/devices", server["id"]);
    let devices = api.items(&path).await?;
    devices
        .iter()
        .map(|device| {
            let text = |field: &str| {
                device[field]
                    .as_str()
                    .map(str::to_owned)
                    .with_context(|| device.to_string())
            };
            let number = |field: &str| device[field].as_i64().with_context(|| device.to_string());
            ensure!(device["gone_at"].is_null(), "{device}");
            Ok((
                text("serial_number")?,
                (
                    number("id")?,
                    text("device_name")?,
                    number("temperature_celsius")?,
                ),
            ))
        })
        .collect()
}

/// Waits until both disks are known by these names and temperatures; gives their ids.
async fn known(api: &Api, expected: [(&str, i64); 2]) -> Result<[i64; 2]> {
    let mut ids = [0; 2];
    eventually(PATIENCE, async || {
        let server = api.server("store").await?;
        let found = disks(api, &server).await?;
        ensure!(found.len() == 2, "{found:?}");
        for (((serial, ..), (name, celsius)), id) in DISKS.iter().zip(expected).zip(&mut ids) {
            let (found_id, found_name, found_celsius) = found.get(*serial).context("serial")?;
            ensure!(
                (found_name.as_str(), *found_celsius) == (name, celsius),
                "{found:?}"
            );
            *id = *found_id;
        }
        Ok(())
    })
    .await?;
    Ok(ids)
}

/// Rows of a metric on the exported page: their `device` and `serial_number` labels, and value.
fn rows<'a>(page: &'a str, metric: &str) -> Vec<(&'a str, &'a str, f64)> {
    let label = |line: &'a str, name: &str| {
        let begin = line.find(&format!("{name}=\""))? + name.len() + 2;
        let rest = &line[begin..];
        Some(&rest[..rest.find('"')?])
    };
    page.lines()
        .filter(|line| line.starts_with(&format!("{metric}{{")))
        .filter_map(|line| {
            let value = line.rsplit(' ').next()?.parse().ok()?;
            Some((
                label(line, "device")?,
                label(line, "serial_number").unwrap_or_default(),
                value,
            ))
        })
        .collect()
}

/// Nothing is there twice, and every row is about the disk that has its name now.
async fn exported(api: &Api, names: [&str; 2], celsius: [f64; 2]) -> Result<()> {
    eventually(PATIENCE, async || {
        let server = api.server("store").await?;
        let (status, page) = api
            .ask(
                "GET",
                &format!("/metrics/servers/{}/smartctl", server["id"]),
                None,
            )
            .await?;
        ensure!(status == 200, "{status} {page}");
        let mut described = rows(&page, "smartctl_device");
        described.sort_unstable_by(|left, right| left.1.cmp(right.1));
        let described: Vec<(&str, &str)> = described.iter().map(|row| (row.0, row.1)).collect();
        ensure!(
            described == [(names[0], DISKS[0].0), (names[1], DISKS[1].0)],
            "{described:?}"
        );
        for (name, celsius) in names.iter().zip(celsius) {
            let temperatures: Vec<f64> = rows(&page, "smartctl_device_temperature")
                .into_iter()
                .filter(|row| row.0 == *name)
                .map(|row| row.2)
                .collect();
            ensure!(temperatures == [celsius], "{name}: {temperatures:?}\n{page}");
        }
        // By node's name too: what was counted belongs to the disk.
        let (_, page) = api
            .ask("GET", &format!("/metrics/servers/{}/node", server["id"]), None)
            .await?;
        let mut counted = rows(&page, "node_disk_reads_completed_total");
        counted.sort_unstable_by(|left, right| left.0.cmp(right.0));
        let counted: Vec<&str> = counted.iter().map(|row| row.0).collect();
        ensure!(counted == ["sda", "sdb"], "{counted:?}");
        Ok(())
    })
    .await
}

/// The history of a disk is its own, under whatever name.
async fn history(api: &Api, id: i64, expected: &[f64]) -> Result<()> {
    let path = format!(
        "/api/infrastructure/metrics/range?metric=smartctl_device_temperature&resource_id={id}&start=0&end=4102444800"
    );
    let body = api.get(&path).await?;
    let mut points: Vec<(i64, f64)> = Vec::new();
    for series in body["series"].as_array().context("series")? {
        ensure!(series["resource_id"] == id, "{series}");
        for point in series["points"].as_array().context("points")? {
            points.push((
                point[0].as_i64().context("time")?,
                point[1].as_f64().context("value")?,
            ));
        }
    }
    points.sort_unstable_by_key(|point| point.0);
    let mut history: Vec<f64> = points.iter().map(|point| point.1).collect();
    history.dedup();
    ensure!(history == expected, "disk {id}: {points:?}, not {expected:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_disks_that_swap_their_names_keep_identity_history_and_one_row_each() -> Result<()> {
    let (world, root) = start().await?;
    let api = world.api().await?;
    let folder = root.to_str().context("path")?.to_owned();
    let mut ids = None;
    let mut seen: [Vec<f64>; 2] = [Vec::new(), Vec::new()];
    for (names, celsius) in [
        (["sda", "sdb"], [31, 44]),
        (["sdb", "sda"], [32, 45]),
        // And back again: what was there before is not taken for now.
        (["sda", "sdb"], [33, 46]),
    ] {
        write(&root, [(names[0], celsius[0]), (names[1], celsius[1])])?;
        let mut agent = world.start_agent("agent", &["--root", &folder])?;
        let found = known(&api, [(names[0], celsius[0]), (names[1], celsius[1])])
            .await
            .with_context(|| agent.printed())?;
        ensure!(*ids.get_or_insert(found) == found, "{ids:?} {found:?}");
        let values = celsius.map(|celsius| celsius as f64);
        exported(&api, names, values).await?;
        for (history, value) in seen.iter_mut().zip(values) {
            history.push(value);
        }
        for (id, expected) in found.iter().zip(&seen) {
            history(&api, *id, expected).await?;
        }
        ensure!(
            agent.stop(Duration::from_secs(60))?.success(),
            "{}",
            agent.printed()
        );
    }
    println!("two disks, three names each, one row of smartctl_device each at any time");
    Ok(())
}

/// The kernel's list is looked at every five seconds here, SMART every half an hour: that it is told of the swap, and not
/// its turn, brings the new names.
#[tokio::test(flavor = "multi_thread")]
async fn two_disks_that_swap_their_names_under_a_running_agent_are_looked_at_again_at_once() -> Result<()> {
    let (world, root) = start().await?;
    let settings = world.dir().join("agent.toml");
    std::fs::write(&settings, "[collect.intervals]\nblock = \"5s\"\n")?;
    let api = world.api().await?;
    let (folder, settings) = (root.to_str().context("path")?, settings.to_str().context("path")?);
    let mut agent = world.start_agent("agent", &["--root", folder, "--config", settings])?;
    let ids = known(&api, [("sda", 31), ("sdb", 44)])
        .await
        .with_context(|| agent.printed())?;
    exported(&api, ["sda", "sdb"], [31.0, 44.0]).await?;
    let began = std::time::Instant::now();
    write(&root, [("sdb", 32), ("sda", 45)])?;
    let swapped = known(&api, [("sdb", 32), ("sda", 45)])
        .await
        .with_context(|| agent.printed())?;
    ensure!(swapped == ids, "{ids:?} {swapped:?}");
    exported(&api, ["sdb", "sda"], [32.0, 45.0]).await?;
    println!(
        "told by the new names after {:.1} s",
        began.elapsed().as_secs_f64()
    );
    for (id, expected) in ids.iter().zip([[31.0, 32.0], [44.0, 45.0]]) {
        history(&api, *id, &expected).await?;
    }
    ensure!(
        agent.stop(Duration::from_secs(60))?.success(),
        "{}",
        agent.printed()
    );
    Ok(())
}
