//! The audit log of a whole controller: written while it runs, checked from outside, damaged on disk.

use std::fs;
use std::process::Output;

use anyhow::{Result, ensure};
use muster_e2e::{World, run_to_end};
use reqwest::StatusCode;
use serde_json::json;

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
