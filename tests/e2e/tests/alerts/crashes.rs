//! What becomes of alerts when the controller is killed while it judges, writes or tells.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use muster_e2e::sink::Sink;
use muster_e2e::{Api, Fleet, World, eventually, is_full};
use serde_json::{Value, json};

use super::{ALERTS, RULES, make, webhook, world_with};

const PATIENCE: Duration = Duration::from_secs(180);
/// Ticks of the simulated agent between two alerts; it has four a second.
const TICKS_PER_ALERT: u32 = 4;

/// What the sink was told of each rule, and by which ids.
fn told(sink: &Sink) -> Result<BTreeMap<String, Vec<String>>> {
    let mut told: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for asked in sink.asked() {
        let body = asked.json()?;
        if body["type"] == "alert.acknowledged" {
            continue;
        }
        ensure!(body["type"] == "alert.firing", "{body}");
        let rule = body["data"]["notification"]["rule"]["name"]
            .as_str()
            .context("rule")?;
        let id = asked.header("webhook-id").to_owned();
        told.entry(rule.to_owned()).or_default().push(id);
    }
    Ok(told)
}

/// Rules that fire one after the other, as the tick of the agent passes their bounds.
async fn make_rules(api: &Api, alerts: u32) -> Result<()> {
    for number in 1..=alerts {
        let rule = json!({"name": format!("tick {number:03}"), "metric_name": "muster_sim_value", "condition": "gt",
            "threshold": number * TICKS_PER_ALERT, "severity": "warning"});
        make(api, RULES, rule).await?;
    }
    Ok(())
}

async fn open_alerts(api: &Api) -> Result<Vec<Value>> {
    let mut alerts = api.items(&format!("{ALERTS}?limit=1000")).await?;
    alerts.retain(|alert| {
        alert["rule_name"]
            .as_str()
            .is_some_and(|name| name.starts_with("tick "))
    });
    Ok(alerts)
}

/// Kills the controller at a moment between a report that fires and the answer to what is told of it, and starts it.
async fn kill_somewhere(world: &mut World, sink: &Sink, round: usize) -> Result<()> {
    if round.is_multiple_of(3) {
        // At any moment: judging, writing, waiting.
        tokio::time::sleep(Duration::from_millis(fastrand::u64(..1_500))).await;
    } else {
        // Told, and not yet known to be told: the sink answers a while after it was asked.
        let mut count = sink.count();
        count.mark_unchanged();
        let news = tokio::time::timeout(Duration::from_secs(5), count.changed()).await;
        if news.is_ok() && round % 3 == 1 {
            // The answer is under way, or being written down.
            tokio::time::sleep(Duration::from_millis(fastrand::u64(180..280))).await;
        }
    }
    world.kill_controller()?;
    world.start_controller().await
}

/// D14: every alert is told at least once, and for each crash at most twice; what is open or acknowledged stays so.
#[tokio::test(flavor = "multi_thread")]
async fn a_controller_killed_while_it_judges_and_tells_loses_no_alert_and_doubles_few() -> Result<()> {
    let kills = if is_full() { 60 } else { 4 };
    let mut world = world_with("").await?;
    let sink = Sink::start().await?;
    sink.answer_after(Duration::from_millis(200));
    let api = world.api().await?;
    webhook(&api, "pager", &sink.url("/hook")).await?;
    let alerts = 3 * u32::try_from(kills)?;
    make_rules(&api, alerts).await?;
    let sim = world.start_fleet(&Fleet::new("sim", 1), &["--interval", "0.25s", "--series", "1"])?;
    let began = Instant::now();
    eventually(PATIENCE, async || {
        ensure!(!told(&sink)?.is_empty(), "nothing is told yet");
        Ok(())
    })
    .await
    .with_context(|| sim.printed())?;
    let first = open_alerts(&api).await?;
    let first = first.last().context("an alert")?["id"].clone();
    let note = json!({"note": "known"});
    let (status, text) = api
        .ask("POST", &format!("{ALERTS}/{first}/acknowledge"), Some(note))
        .await?;
    ensure!(status.is_success(), "{status} {text}");
    for round in 0..kills {
        kill_somewhere(&mut world, &sink, round).await?;
    }
    let api = world.api().await?;
    let wanted = usize::try_from(alerts)?;
    eventually(
        PATIENCE + Duration::from_secs(u64::from(alerts) * 3),
        async || {
            let told = told(&sink)?;
            ensure!(
                told.len() == wanted,
                "{} of {wanted} alerts were told",
                told.len()
            );
            let waiting = api.items("/api/deliveries?state=waiting&limit=1000").await?;
            ensure!(waiting.is_empty(), "{waiting:?}");
            Ok(())
        },
    )
    .await?;
    let told = told(&sink)?;
    let sent: usize = told.values().map(Vec::len).sum();
    let most = told.values().map(Vec::len).max().unwrap_or(0);
    println!(
        "{kills} kills in {:.0} s: {wanted} alerts told {sent} times, one of them {most} times",
        began.elapsed().as_secs_f64()
    );
    // Each crash doubles what was under way to the one channel, and nothing else.
    ensure!(sent <= wanted + kills, "{told:?}");
    for (rule, ids) in &told {
        ensure!(
            ids.iter().all(|id| *id == ids[0]),
            "{rule}: {ids:?} are not the same news"
        );
    }
    all_are_there(&api, wanted, &first).await
}

/// Every alert is open, and the acknowledged one acknowledged.
async fn all_are_there(api: &Api, wanted: usize, first: &Value) -> Result<()> {
    let open = open_alerts(api).await?;
    ensure!(
        open.len() == wanted,
        "{} of {wanted} alerts are there",
        open.len()
    );
    for alert in &open {
        let expected = if alert["id"] == *first {
            "acknowledged"
        } else {
            "active"
        };
        ensure!(alert["status"] == expected, "{alert}");
    }
    Ok(())
}
