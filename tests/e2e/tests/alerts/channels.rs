//! From a disk that goes bad to every channel there is.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use muster_e2e::sink::{Asked, Sink};
use muster_e2e::{Api, World, eventually};
use ring::hmac;
use serde_json::{Value, json};

use super::mail::{Kept, MailServer, PASSWORD, USER};
use super::{ALERTS, SIGNING_KEY, make, time_ms, world_with};

const PATIENCE: Duration = Duration::from_secs(90);
/// Told within this after the report came is the goal, ms.
const GOAL_MS: i64 = 2_000;
/// What the test allows a machine on which much else runs, ms.
const ALLOWED_MS: i64 = 20_000;
const RULE: &str = "Disk is failing";
const SERIAL: &str = "SER-ONE";

/// Where each channel but mail is told, by the path at the sink; and whether it begins and ends what is told.
const PATHS: [(&str, &str); 9] = [
    ("webhook", "/hook"),
    ("slack", "/services/T0/B0/x"),
    ("discord", "/api/webhooks/1/x"),
    ("telegram", "/bot123:canary/sendMessage"),
    ("ntfy", "/ntfy/"),
    ("gotify", "/message"),
    ("pushover", "/1/messages.json"),
    ("pagerduty", "/v2/enqueue"),
    ("alertmanager", "/am/api/v2/alerts"),
];

/// A server with a disk that passes its own test, or does not.
fn write(root: &Path, passed: bool) -> Result<()> {
    let put = |path: &str, text: &str| -> Result<()> {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().context("a file stands in a folder")?)?;
        // At one moment, as whoever reads it sees one or the other.
        let next = path.with_extension("next");
        std::fs::write(&next, text)?;
        Ok(std::fs::rename(next, path)?)
    };
    let place = "devices/pci0000:00/0000:00:1f.2/ata1/host0/target0:0:0/0:0:0:0/block/sda";
    if !root.join("sys/block/sda").exists() {
        put("proc/sys/kernel/hostname", "store\n")?;
        put(
            "proc/diskstats",
            "   8 0 sda 9 0 8 1 2 0 16 3 0 4 5 0 0 0 0 0 0\n",
        )?;
        for (attribute, value) in [
            ("device/wwid", "naa.5000c500a1b2c3d4"),
            ("device/model", "WDC WD20EFRX"),
            ("size", "3907029168"),
            ("queue/rotational", "1"),
        ] {
            put(&format!("sys/{place}/{attribute}"), &format!("{value}\n"))?;
        }
        std::fs::create_dir_all(root.join("sys/block"))?;
        symlink(format!("../{place}"), root.join("sys/block/sda"))?;
        let scan = json!({"smartctl": {"version": [7, 3], "exit_status": 0},
            "devices": [{"name": "/dev/sda", "info_name": "/dev/sda", "type": "sat", "protocol": "ATA"}]});
        put("muster/run/smartctl/scan", &scan.to_string())?;
    }
    let status = if passed { 0 } else { 8 };
    let naa: u64 = 0x5000_c500_a1b2_c3d4;
    let report = json!({
        "json_format_version": [1, 0], "smartctl": {"version": [7, 3], "exit_status": status},
        "device": {"name": "/dev/sda", "type": "sat", "protocol": "ATA"},
        "model_name": "WDC WD20EFRX", "serial_number": SERIAL,
        "wwn": {"naa": naa >> 60, "oui": (naa >> 36) & 0xff_ffff, "id": naa & 0xf_ffff_ffff},
        "user_capacity": {"blocks": 3_907_029_168_u64, "bytes": 3_907_029_168_u64 * 512},
        "logical_block_size": 512, "physical_block_size": 4096, "rotation_rate": 5400,
        "smart_support": {"available": true, "enabled": true}, "smart_status": {"passed": passed},
        "temperature": {"current": 31}, "power_on_time": {"hours": 1000},
        // Without values a disk's own word that it is well is not believed.
        "ata_smart_attributes": {"table": [{"id": 5, "name": "Reallocated_Sector_Ct", "value": 200, "worst": 200,
            "thresh": 140, "when_failed": "", "raw": {"value": 0, "string": "0"}}]},
    });
    put("muster/run/smartctl/sda.rc", &format!("{status}\n"))?;
    put("muster/run/smartctl/sda", &report.to_string())
}

/// Makes one channel of each kind.
async fn make_channels(api: &Api, sink: &Sink, mail: &MailServer) -> Result<()> {
    let url = |path: &str| sink.url(path);
    let plain = json!({"allow_unencrypted": true});
    let with = |more: Value| {
        let mut settings = plain.clone();
        for (name, value) in more.as_object().into_iter().flatten() {
            settings[name] = value.clone();
        }
        settings
    };
    let mail_settings = json!({"host": "localhost", "port": mail.port, "encryption": "starttls", "ca": mail.authority,
        "from": "Muster <muster@example.org>", "to": ["admin@example.org"], "username": USER});
    for (kind, settings, secrets) in [
        ("email", mail_settings, json!({"password": PASSWORD})),
        (
            "webhook",
            plain.clone(),
            json!({"url": url("/hook"), "signing_key": SIGNING_KEY}),
        ),
        ("slack", plain.clone(), json!({"url": url("/services/T0/B0/x")})),
        ("discord", plain.clone(), json!({"url": url("/api/webhooks/1/x")})),
        (
            "telegram",
            with(json!({"chat_id": -5, "api": url("")})),
            json!({"bot_token": "123:canary"}),
        ),
        (
            "ntfy",
            with(json!({"server": url("/ntfy/"), "topic": "home"})),
            json!({"token": "tk_canary"}),
        ),
        (
            "gotify",
            with(json!({"url": url("")})),
            json!({"token": "Acanary"}),
        ),
        (
            "pushover",
            with(json!({"url": url("/1/messages.json")})),
            json!({"token": "a", "user_key": "u"}),
        ),
        (
            "pagerduty",
            with(json!({"url": url("/v2/enqueue")})),
            json!({"routing_key": "canary-key"}),
        ),
        ("alertmanager", with(json!({"url": url("/am")})), json!({})),
    ] {
        let channel = json!({"name": kind, "kind": kind, "settings": settings, "secrets": secrets});
        make(api, "/api/channels", channel).await.context(kind)?;
    }
    Ok(())
}

/// Has the agent look at its disks now.
async fn collect(api: &Api) -> Result<()> {
    let id = api.server("store").await?["id"].clone();
    let path = format!("/api/infrastructure/servers/{id}/collect");
    let (status, text) = api.ask("POST", &path, None).await?;
    ensure!(status == 200 || status == 202, "{status} {text}");
    Ok(())
}

/// Waits until every channel was told so often; gives when each was told the last time.
async fn told(sink: &Sink, mail: &MailServer, times: usize) -> Result<Vec<(&'static str, i64)>> {
    eventually(PATIENCE, async || {
        let mut last = Vec::new();
        let kept = mail.mail()?;
        ensure!(kept.len() == times, "email was told {} times", kept.len());
        last.push(("email", kept.last().context("mail")?.at_ms));
        for (kind, path) in PATHS {
            let asked = sink.asked_at(path);
            ensure!(asked.len() == times, "{kind} was told {} times", asked.len());
            last.push((kind, asked.last().context("asked")?.at_ms));
        }
        Ok(last)
    })
    .await
}

/// Prints how long after the report each channel was told; the slowest of them, ms.
#[expect(clippy::print_stdout, reason = "figures of a test are printed")]
fn judge(what: &str, report_ms: i64, told: &[(&str, i64)]) -> Result<i64> {
    let after: Vec<(&str, i64)> = told.iter().map(|(kind, at)| (*kind, at - report_ms)).collect();
    let slowest = after.iter().map(|(_, ms)| *ms).max().context("channels")?;
    println!("{what}: told after {slowest} ms at the latest, goal {GOAL_MS} ms: {after:?}");
    ensure!(slowest <= ALLOWED_MS, "{what}: {after:?}");
    Ok(slowest)
}

/// The signature of a webhook, as the receiver checks it.
fn check_signature(asked: &Asked) -> Result<()> {
    let key = STANDARD.decode(SIGNING_KEY.trim_start_matches("whsec_"))?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
    let (id, at) = (asked.header("webhook-id"), asked.header("webhook-timestamp"));
    let signature = asked.header("webhook-signature");
    let signature = STANDARD.decode(signature.strip_prefix("v1,").context("v1")?)?;
    let signed = [format!("{id}.{at}.").as_bytes(), &asked.body].concat();
    ensure!(
        hmac::verify(&key, &signed, &signature).is_ok(),
        "the signature is wrong"
    );
    Ok(())
}

/// What programs read of each message: that it begins, or is over.
fn check_formats(sink: &Sink, mail: &[Kept]) -> Result<()> {
    let at = |path: &str| -> Result<(Value, Value)> {
        let asked = sink.asked_at(path);
        Ok((asked[0].json()?, asked[1].json()?))
    };
    for asked in sink.asked_at("/hook") {
        check_signature(&asked)?;
    }
    let (begins, ends) = at("/hook")?;
    ensure!(
        begins["type"] == "alert.firing" && ends["type"] == "alert.resolved",
        "{begins} {ends}"
    );
    let (begins, ends) = at("/v2/enqueue")?;
    ensure!(
        begins["event_action"] == "trigger" && ends["event_action"] == "resolve",
        "{begins} {ends}"
    );
    ensure!(begins["dedup_key"] == ends["dedup_key"], "{begins} {ends}");
    let (begins, ends) = at("/am/")?;
    ensure!(begins[0]["labels"]["alertname"] == RULE, "{begins}");
    ensure!(begins[0]["labels"] == ends[0]["labels"], "{begins} {ends}");
    let text =
        |body: &Value, pointer: &str| body.pointer(pointer).map(ToString::to_string).unwrap_or_default();
    for (path, pointer) in [
        ("/services/", "/text"),
        ("/api/webhooks/", "/embeds/0/title"),
        ("/bot", "/text"),
        ("/ntfy/", "/title"),
        ("/message", "/title"),
        ("/1/messages", "/title"),
    ] {
        let (begins, ends) = at(path)?;
        let (begins, ends) = (text(&begins, pointer), text(&ends, pointer));
        ensure!(
            begins.contains("CRITICAL") && begins.contains(RULE),
            "{path}: {begins}"
        );
        ensure!(ends.contains("RESOLVED") && ends.contains(RULE), "{path}: {ends}");
        let words = |title: &str, word: &str| title.to_uppercase().matches(word).count();
        if pointer.ends_with("title") {
            ensure!(words(&begins, "CRITICAL") == 1, "{path} says it twice: {begins}");
            ensure!(words(&ends, "RESOLVED") == 1, "{path} says it twice: {ends}");
        }
    }
    let [begins, ends] = mail else {
        anyhow::bail!("{} mails", mail.len())
    };
    ensure!(
        begins.text.contains("CRITICAL") && begins.text.contains(RULE),
        "{}",
        begins.text
    );
    ensure!(ends.text.contains("RESOLVED"), "{}", ends.text);
    Ok(())
}

/// The one alert of the rule.
async fn alert(api: &Api) -> Result<Value> {
    let mut alerts = api.items(&format!("{ALERTS}?limit=1000")).await?;
    alerts.retain(|alert| alert["rule_name"] == RULE);
    ensure!(alerts.len() == 1, "{alerts:?}");
    alerts.pop().context("alert")
}

/// A disk that says that it fails is told of through every channel, once, within 2 s of the report's arrival (an alert's
/// time is when its report came); and so is that it is well again. The goal is printed, ten times it is allowed.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_goes_bad_is_told_through_every_channel_once_and_so_is_its_recovery() -> Result<()> {
    let world: World = world_with("").await?;
    let sink = Sink::start().await?;
    let mail = MailServer::start(&world.dir().join("mail")).await?;
    let root = world.dir().join("root");
    write(&root, true)?;
    let folder = root.to_str().context("path")?;
    let enrolled = world.enroll_with("agent", &world.token_file(1)?, &["--root", folder])?;
    ensure!(enrolled.status.success(), "{enrolled:?}");
    let api = world.api().await?;
    make_channels(&api, &sink, &mail).await?;
    let mut agent = world.start_agent("agent", &["--root", folder])?;
    eventually(PATIENCE, async || {
        let path = format!(
            "/api/infrastructure/servers/{}/storage/devices",
            api.server("store").await?["id"]
        );
        let devices = api.items(&path).await?;
        ensure!(
            devices.len() == 1 && devices[0]["serial_number"] == SERIAL,
            "{devices:?}"
        );
        Ok(())
    })
    .await
    .with_context(|| agent.printed())?;
    ensure!(
        sink.connections() == 0,
        "a disk that is well is no news: {:?}",
        sink.asked()
    );

    write(&root, false)?;
    collect(&api).await?;
    let told_bad = told(&sink, &mail, 1).await.with_context(|| agent.printed())?;
    let opened = alert(&api).await?;
    ensure!(
        opened["status"] == "active" && opened["severity"] == "critical",
        "{opened}"
    );
    judge("it fails", time_ms(&opened["triggered_at"])?, &told_bad)?;

    write(&root, true)?;
    collect(&api).await?;
    let told_good = told(&sink, &mail, 2).await.with_context(|| agent.printed())?;
    let ended = alert(&api).await?;
    ensure!(
        ended["status"] == "resolved" && ended["resolution"] == "cleared",
        "{ended}"
    );
    judge("it is well again", time_ms(&ended["resolved_at"])?, &told_good)?;

    check_formats(&sink, &mail.mail()?)?;
    // That it was taken is written down a little later.
    eventually(PATIENCE, async || {
        let deliveries = api.items("/api/deliveries?limit=1000").await?;
        ensure!(deliveries.len() == 2 * 10, "{} deliveries", deliveries.len());
        let unsent = deliveries
            .iter()
            .find(|delivery| delivery["state"] != "sent" || delivery["attempts"] != 1);
        ensure!(unsent.is_none(), "{unsent:?}");
        Ok(())
    })
    .await?;
    ensure!(
        told(&sink, &mail, 2).await?.len() == 10,
        "something was told twice"
    );
    ensure!(
        agent.stop(Duration::from_secs(60))?.success(),
        "{}",
        agent.printed()
    );
    Ok(())
}
