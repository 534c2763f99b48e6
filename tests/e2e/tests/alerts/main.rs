//! Alerts through whole processes: from what an agent reads to what people are told.

mod channels;
mod crashes;
mod guard;
mod loss;
mod mail;
mod outside;

use anyhow::{Context as _, Result, ensure};
use muster_e2e::{Api, World};
use serde_json::{Value, json};

/// Channels of these tests are on this machine, which Muster does not reach unless told so.
const ALLOW_LOOPBACK: &str = "[notify]\nallow_addresses = [\"127.0.0.0/8\", \"::1\"]\n";
const RULES: &str = "/api/infrastructure/alert-rules";
const ALERTS: &str = "/api/infrastructure/alerts";
/// The rule about servers that are not heard.
const OFFLINE: &str = "Server is not heard";
/// A signing key in Base64.
const SIGNING_KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A controller with these settings and channels on this machine.
async fn world_with(settings: &str) -> Result<World> {
    let mut world = World::prepare()?;
    world.settings = format!("{ALLOW_LOOPBACK}{settings}");
    world.start_controller().await?;
    Ok(world)
}

/// Makes something; gives it as it was made.
async fn make(api: &Api, path: &str, body: Value) -> Result<Value> {
    let (status, text) = api.ask("POST", path, Some(body)).await?;
    ensure!(status == 201, "POST {path}: {status} {text}");
    Ok(serde_json::from_str(&text)?)
}

/// A webhook with that name to this address.
async fn webhook(api: &Api, name: &str, url: &str) -> Result<i64> {
    let channel = json!({
        "name": name, "kind": "webhook", "settings": {"allow_unencrypted": true},
        "secrets": {"url": url, "signing_key": SIGNING_KEY}, "options": {"per_minute": 600},
    });
    let made = make(api, "/api/channels", channel).await?;
    made["id"].as_i64().context("id")
}

/// All alerts of the rule about servers that are not heard, also those that are over.
async fn losses(api: &Api) -> Result<Vec<Value>> {
    let mut alerts = api.all_items(&format!("{ALERTS}?limit=1000")).await?;
    alerts.retain(|alert| alert["rule_name"] == OFFLINE);
    Ok(alerts)
}

/// The time of an answer, Unix ms.
fn time_ms(value: &Value) -> Result<i64> {
    let text = value.as_str().with_context(|| value.to_string())?;
    Ok(text.parse::<jiff::Timestamp>()?.as_millisecond())
}
