//! The audit log of a whole controller: written while it runs, checked from outside, damaged on disk.

use std::fs;
use std::process::Output;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use muster_e2e::{Api, World, is_full, run_to_end};
use reqwest::StatusCode;
use serde_json::{Value, json};

fn verify(world: &World) -> Result<(Output, String)> {
    let data = world.data().to_string_lossy().into_owned();
    let output = run_to_end("muster-controller", &["audit", "verify", "--data-dir", &data])?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok((output, said))
}

/// S27
#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_was_changed_on_disk_is_named() -> Result<()> {
    let mut world = World::start().await?;
    let api = world.api().await?;
    let body = json!({"hostname": "a-name-to-be-forged"});
    let (status, answer) = api.ask("POST", "/api/infrastructure/servers", Some(body)).await?;
    ensure!(status == StatusCode::CREATED, "{answer}");
    let body = json!({"username": "auditor-of-note", "password": "a long password", "role": "viewer"});
    let (status, answer) = api.ask("POST", "/api/users", Some(body)).await?;
    ensure!(status == StatusCode::CREATED, "{answer}");
    let entries = api.items("/api/audit").await?;
    ensure!(
        entries.iter().any(|entry| entry["action"] == "server.create"),
        "{entries:?}"
    );

    let (output, said) = verify(&world)?;
    ensure!(output.status.success(), "while it runs: {said}");
    world.stop_controller()?;
    let (output, said) = verify(&world)?;
    ensure!(
        output.status.success() && said.contains("intact: "),
        "after it ended: {said}"
    );
    ensure!(
        world.data().join("audit-anchor").exists(),
        "the end of the log is anchored when the controller ends"
    );

    // This stands in the detail of one entry, and maybe in what the database left behind when it moved it.
    let forged = replace(&world, b"username=auditor-of-note", b"username=somebody-else-xx")?;
    ensure!(0 < forged, "nothing was changed");
    let (output, said) = verify(&world)?;
    ensure!(output.status.code() == Some(1), "{said}");
    ensure!(said.contains("was changed") && said.contains("DAMAGED"), "{said}");
    Ok(())
}

/// S27
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_changed_without_an_entry_wherever_the_controller_is_killed() -> Result<()> {
    let rounds = if is_full() { 100 } else { 6 };
    let mut world = World::start().await?;
    // A session outlives the controller.
    let api = Arc::new(world.api().await?);
    for round in 0..rounds {
        let clients: Vec<_> = (0..4)
            .map(|client| tokio::spawn(change(Arc::clone(&api), round, client)))
            .collect();
        let token = world.token_file(1);
        ensure!(token.is_ok(), "a token made by the command line: {token:?}");
        tokio::time::sleep(Duration::from_millis(fastrand::u64(20..400))).await;
        world.kill_controller()?;
        for client in clients {
            client.await?;
        }
        world.start_controller().await?;
    }
    let servers = all(&api, "/api/infrastructure/servers?limit=1000").await?;
    let is_ours = |server: &&Value| {
        let name = server["hostname"].as_str();
        name.is_some_and(|name| name.starts_with(CHANGED))
    };
    let made = servers.iter().filter(is_ours).count();
    let told = all(&api, "/api/audit?limit=1000&action=server.create").await?;
    let told = told.iter().filter(|entry| entry["outcome"] == "allowed").count();
    let interrupted = all(&api, "/api/audit?limit=1000&action=audit.interrupted").await?;
    for entry in &interrupted {
        let detail = entry["detail"].as_str().unwrap_or_default();
        ensure!(
            entry["outcome"] == "unknown"
                && detail.starts_with("intended by user")
                && detail.ends_with("outcome unknown"),
            "{entry}"
        );
    }
    ensure!(0 < made, "nothing was changed");
    ensure!(told <= made, "{told} entries tell of {made} servers");
    let of_servers = interrupted.iter().filter(|entry| {
        entry["target"]
            .as_str()
            .is_some_and(|target| target.starts_with("server.create "))
    });
    let interrupted = of_servers.count();
    ensure!(
        made <= told + interrupted,
        "{made} servers were made, {told} entries say so and {interrupted} may have been"
    );
    let (output, said) = verify(&world)?;
    ensure!(output.status.success(), "{said}");
    let left = fs::read_dir(world.data().join("audit-begun"))?.count();
    ensure!(
        left == 0,
        "{left} changes are under way though nobody asks for any"
    );
    println!(
        "S27: {rounds} kills: {made} changes, {told} told when they were done, {interrupted} told by the next start"
    );
    Ok(())
}

const CHANGED: &str = "changed-";

/// Makes servers until nobody answers any more.
async fn change(api: Arc<Api>, round: u32, client: u32) {
    for number in 0.. {
        let body = json!({"hostname": format!("{CHANGED}{round}-{client}-{number}")});
        let Ok(_) = api.ask("POST", "/api/infrastructure/servers", Some(body)).await else {
            return;
        };
    }
}

/// A list's items, of all its pages.
async fn all(api: &Api, path: &str) -> Result<Vec<Value>> {
    let (mut items, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = api.get(&format!("{path}{cursor}")).await?;
        items.extend(page["items"].as_array().into_iter().flatten().cloned());
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(items),
        }
    }
}

/// Replaces a text in the state database's file by one of the same length; returns in how many places.
fn replace(world: &World, text: &[u8], by: &[u8]) -> Result<usize> {
    let text_len = text.len();
    let path = world.data().join("state.db");
    let mut bytes = fs::read(&path)?;
    let places: Vec<usize> = bytes
        .windows(text_len)
        .enumerate()
        .filter(|(_, window)| *window == text)
        .map(|(at, _)| at)
        .collect();
    for at in &places {
        bytes[*at..at + text_len].copy_from_slice(&by[..text_len]);
    }
    fs::write(&path, bytes)?;
    Ok(places.len())
}
