//! What channels do not reach, asked for over the API.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use muster_e2e::sink::Sink;
use muster_e2e::{Api, World, eventually};
use serde_json::{Value, json};

use super::webhook;

const PATIENCE: Duration = Duration::from_secs(60);

/// What becomes of a test that is sent through a new channel to this address.
async fn try_out(api: &Api, name: &str, url: &str) -> Result<Value> {
    let id = webhook(api, name, url).await?;
    let (status, text) = api.ask("POST", &format!("/api/channels/{id}/test"), None).await?;
    // Whoever tries a channel is told at once why it does not work.
    ensure!(status == 502, "{url}: {status} {text}");
    eventually(PATIENCE, async || {
        let deliveries = api.items(&format!("/api/deliveries?channel_id={id}")).await?;
        let [delivery] = deliveries.as_slice() else {
            anyhow::bail!("{deliveries:?}")
        };
        ensure!(delivery["state"] != "waiting", "{delivery}");
        Ok(delivery.clone())
    })
    .await
}

/// S23
#[tokio::test(flavor = "multi_thread")]
async fn a_channel_to_this_machine_or_a_clouds_metadata_is_refused_and_nothing_is_connected_to() -> Result<()>
{
    let world = World::start().await?;
    let api = world.api().await?;
    let sink = Sink::start().await?;
    let port = sink.address.port();
    let hosts = [
        "127.0.0.1",
        "127.1.2.3",
        "localhost",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "0.0.0.0",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::7f00:1]",
        "169.254.169.254",
        "[::ffff:169.254.169.254]",
        "[fe80::1]",
        "[fd00:ec2::254]",
        "100.100.100.200",
        "224.0.0.1",
        "255.255.255.255",
    ];
    for host in hosts {
        let delivery = try_out(&api, host, &format!("http://{host}:{port}/latest/meta-data")).await?;
        let answer = delivery["answer"].as_str().context("answer")?;
        ensure!(delivery["state"] == "dead", "{host}: {delivery}");
        ensure!(answer.contains("allow_addresses"), "{host}: {answer}");
    }
    ensure!(sink.connections() == 0, "{:?}", sink.asked());
    println!(
        "{} ways to name what is not to be reached, 0 connections",
        hosts.len()
    );
    Ok(())
}

/// S23
#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_be_reached_cannot_send_a_channel_elsewhere() -> Result<()> {
    let mut world = World::prepare()?;
    "[notify]\nallow_addresses = [\"127.0.0.2\"]\n".clone_into(&mut world.settings);
    world.start_controller().await?;
    let api = world.api().await?;
    let inner = Sink::start().await?;
    let allowed = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
    let redirecting = Sink::start_on(allowed, Some(inner.url("/secret"))).await?;
    let delivery = try_out(&api, "redirecting", &redirecting.url("/hook")).await?;
    ensure!(delivery["state"] == "dead", "{delivery}");
    ensure!(redirecting.connections() == 1, "{:?}", redirecting.asked());
    ensure!(inner.connections() == 0, "{:?}", inner.asked());
    let mail = json!({"name": "mail", "kind": "email", "settings": {"host": "127.0.0.1", "port": inner.address.port(),
        "encryption": "none", "allow_unencrypted": true, "from": "a@example.org", "to": ["b@example.org"]}});
    let made = super::make(&api, "/api/channels", mail).await?;
    let (status, text) = api
        .ask("POST", &format!("/api/channels/{}/test", made["id"]), None)
        .await?;
    ensure!(
        status == 502 && text.contains("allow_addresses"),
        "{status} {text}"
    );
    ensure!(inner.connections() == 0, "{text}");
    Ok(())
}
