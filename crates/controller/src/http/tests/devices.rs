//! Disks across the fleet: filters, the verdict, and what people decide about it.

use axum::http::StatusCode;
use muster_base::id::{ResourceId, ServerId};
use muster_model::{Health, Inventory, Labels, Resource, ResourceKey, ResourceKind};
use serde_json::{Value, json};

use super::harness::{NOW, TestApp};
use crate::app::auth::Role;

const DEVICES: &str = "/api/infrastructure/devices";
const DAY: i64 = 86_400_000;

/// A disk as an agent tells of it: judged by the same function, without what people decided.
struct Disk<'a> {
    key: &'a str,
    name: &'a str,
    model: &'a str,
    serial: &'a str,
    pending: u64,
    passed: bool,
    celsius: i64,
}

const SDA: Disk<'_> = Disk {
    key: "device:wwn:a",
    name: "sda",
    model: "WDC WD20EFRX-68EUZN0",
    serial: "WD-100%_A",
    pending: 0,
    passed: true,
    celsius: 31,
};

impl Disk<'_> {
    fn resource(&self) -> Resource {
        let raw = json!({
            "smartctl": {"version": [7, 3], "exit_status": 0},
            "device": {"name": format!("/dev/{}", self.name), "type": "sat", "protocol": "ATA"},
            "model_name": self.model, "serial_number": self.serial, "rotation_rate": 5400,
            "smart_support": {"available": true, "enabled": true}, "smart_status": {"passed": self.passed},
            "temperature": {"current": self.celsius},
            "ata_smart_attributes": {"table": [
                {"id": 197, "name": "Current_Pending_Sector", "value": 200, "worst": 200, "thresh": 0, "when_failed": "",
                 "flags": {"prefailure": false}, "raw": {"value": self.pending, "string": self.pending.to_string()}},
            ]},
        })
        .to_string();
        let report = smartmontools_parse::parse(&raw).report;
        let verdict = smartmontools_parse::verdict(&report, None);
        let mut disk = Resource::new(ResourceKind::Device, ResourceKey::new(self.key), self.name);
        disk.health = Health::from_word(verdict.health.as_str());
        disk.health_reasons = verdict.reasons.into_iter().map(|reason| reason.text).collect();
        disk.set("device_type", Some(report.device_type().as_str()))
            .set("model", Some(self.model))
            .set("serial_number", Some(self.serial))
            .set("smartctl_exit_status", Some(0_i64))
            .set("smart_data_raw", Some(raw));
        disk
    }
}

async fn report(app: &TestApp, server: ServerId, position: i64, disks: &[Disk<'_>]) {
    let resources: Vec<Resource> = disks.iter().map(Disk::resource).collect();
    app.report(server, position, |report| {
        // A later observation replaces an earlier one.
        report.observed_ms = NOW - 100_000 + position;
        report.inventories = vec![Inventory {
            collector: "smart".to_owned(),
            observed_ms: report.observed_ms,
            keys: resources.iter().map(|resource| resource.key.clone()).collect(),
            links: Vec::new(),
        }];
        report.resources = resources;
    })
    .await;
}

async fn id_of(app: &TestApp, serial: &str) -> ResourceId {
    let found = app.get(&format!("{DEVICES}?serial={serial}")).await.json();
    assert_eq!(found["total"], 1, "{serial}: {found}");
    ResourceId(found["items"][0]["id"].as_i64().unwrap())
}

async fn shown(app: &TestApp, id: ResourceId) -> (String, Vec<String>) {
    let device = app
        .get(&format!("/api/infrastructure/storage/devices/{id}"))
        .await
        .json();
    let reasons = device["health_reasons"].as_array().unwrap().iter();
    let reasons = reasons
        .map(|reason| reason.as_str().unwrap().to_owned())
        .collect();
    assert_eq!(device["health"], device["smart_status"]);
    (device["health"].as_str().unwrap().to_owned(), reasons)
}

#[tokio::test]
async fn disks_are_found_across_the_fleet_by_each_filter_and_all_together() {
    let app = TestApp::start().await;
    let (web, db) = (app.server("web").await, app.server("db").await);
    report(
        &app,
        web,
        1,
        &[
            SDA,
            Disk {
                key: "device:wwn:b",
                name: "sdb",
                serial: "ST-2",
                model: "ST4000",
                pending: 3,
                ..SDA
            },
        ],
    )
    .await;
    report(
        &app,
        db,
        2,
        &[Disk {
            serial: "ST-3",
            model: "ST4000",
            passed: false,
            ..SDA
        }],
    )
    .await;
    for (query, serials) in [
        ("", vec!["WD-100%_A", "ST-2", "ST-3"]),
        ("?health=warning", vec!["ST-2"]),
        ("?health=failed", vec!["ST-3"]),
        ("?server=web", vec!["WD-100%_A", "ST-2"]),
        ("?server=nowhere", vec![]),
        ("?model=st4", vec!["ST-2", "ST-3"]),
        ("?serial=st-", vec!["ST-2", "ST-3"]),
        ("?type=hdd", vec!["WD-100%_A", "ST-2", "ST-3"]),
        ("?type=ssd", vec![]),
        // Letters that mean something in patterns mean themselves.
        ("?serial=0%25_", vec!["WD-100%_A"]),
        ("?serial=%25", vec!["WD-100%_A"]),
        (
            "?model=st4&server=db&health=failed&type=hdd&serial=3",
            vec!["ST-3"],
        ),
    ] {
        let found = app.get(&format!("{DEVICES}{query}")).await.json();
        let items = found["items"]
            .as_array()
            .unwrap_or_else(|| panic!("{query}: {found}"));
        let found: Vec<&str> = items
            .iter()
            .map(|item| item["serial_number"].as_str().unwrap())
            .collect();
        assert_eq!(found, serials, "{query}");
    }
    let by_id = app.get(&format!("{DEVICES}?server_id={db}&limit=1")).await.json();
    assert_eq!(
        (by_id["total"].clone(), by_id["next"].clone()),
        (json!(1), Value::Null)
    );
}

#[tokio::test]
async fn a_wrong_filter_of_disks_is_named() {
    let app = TestApp::start().await;
    for (query, parameter) in [
        ("health=good", "health"),
        ("type=tape", "type"),
        ("serial=", "serial"),
        ("limit=0", "limit"),
    ] {
        let refused = app.get(&format!("{DEVICES}?{query}")).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{query}");
        assert_eq!(refused.json()["parameter"], parameter);
    }
}

#[tokio::test]
async fn accepted_damage_is_a_note_whatever_the_agent_says_and_its_growth_is_not() {
    let app = TestApp::start().await;
    let server = app.server("web").await;
    report(&app, server, 1, &[Disk { pending: 8, ..SDA }]).await;
    let id = id_of(&app, "WD-").await;
    assert_eq!(shown(&app, id).await.0, "warning");
    let accepted = app
        .with_json(
            "POST",
            &format!("{DEVICES}/{id}/baseline"),
            &json!({"note": "moved on purpose"}),
        )
        .await;
    assert_eq!(accepted.status, StatusCode::OK, "{}", accepted.text());
    assert_eq!(accepted.json()["baseline"]["counts"]["pending"], 8);
    assert_eq!(accepted.json()["baseline"]["acknowledged_by"], "admin");
    assert_eq!(accepted.json()["attributes"][0]["accepted"], 8);
    assert_eq!(shown(&app, id).await.0, "healthy");
    // The agent knows nothing of it and says warning again: what is shown stays.
    report(
        &app,
        server,
        2,
        &[Disk {
            pending: 8,
            celsius: 33,
            ..SDA
        }],
    )
    .await;
    let (health, reasons) = shown(&app, id).await;
    assert_eq!(health, "healthy", "{reasons:?}");
    assert!(
        reasons.iter().any(|reason| reason.contains("accepted")),
        "{reasons:?}"
    );
    let page = app.browse(&format!("/devices/{id}")).await;
    assert!(
        page.text().contains("accepted by admin") && page.text().contains("moved on purpose"),
        "{}",
        page.text()
    );
    report(&app, server, 3, &[Disk { pending: 9, ..SDA }]).await;
    let (health, reasons) = shown(&app, id).await;
    assert_eq!(health, "warning");
    assert!(reasons[0].contains("1 more than accepted"), "{reasons:?}");
    let forgotten = app
        .call("DELETE", &format!("{DEVICES}/{id}/baseline"))
        .await
        .json();
    assert_eq!(
        (forgotten["baseline"].clone(), forgotten["health"].clone()),
        (Value::Null, json!("warning"))
    );
    assert!(!shown(&app, id).await.1[0].contains("accepted"));
    let audit = app.get("/api/audit?action=device.acknowledge").await.json();
    let entry = audit["items"]
        .as_array()
        .and_then(|items| items.first())
        .cloned()
        .unwrap_or_default();
    assert_eq!(entry["actor"], "admin", "{audit}");
    assert!(
        entry["detail"]
            .as_str()
            .is_some_and(|detail| detail.contains("\"pending\":8")),
        "{entry}"
    );
}

#[tokio::test]
async fn overrides_change_what_is_shown_and_are_taken_away_again() {
    let app = TestApp::start().await;
    let server = app.server("web").await;
    report(
        &app,
        server,
        1,
        &[Disk {
            pending: 8,
            celsius: 45,
            ..SDA
        }],
    )
    .await;
    let id = id_of(&app, "WD-").await;
    let uri = format!("{DEVICES}/{id}/overrides");
    for (overrides, health) in [
        (json!({"attributes": {"197": {"warning": 20}}}), "healthy"),
        (
            json!({"attributes": {"197": {"warning": 2, "critical": 5}}}),
            "critical",
        ),
        (json!({"ignore": ["pending_sectors"]}), "healthy"),
        (
            json!({"ignore": ["pending_sectors"], "temperature_warning": 45}),
            "warning",
        ),
        (json!({}), "warning"),
    ] {
        let set = app.with_json("PUT", &uri, &overrides).await;
        assert_eq!(
            (set.status, set.json()["health"].clone()),
            (StatusCode::OK, json!(health)),
            "{overrides}"
        );
        assert_eq!(shown(&app, id).await.0, health, "{overrides}");
        report(
            &app,
            server,
            10,
            &[Disk {
                pending: 8,
                celsius: 45,
                ..SDA
            }],
        )
        .await;
        assert_eq!(shown(&app, id).await.0, health, "{overrides}");
    }
    let left = app.get(&format!("{DEVICES}/{id}/verdict")).await.json();
    assert_eq!(left["overrides"], Value::Null);
    for wrong in [
        json!({"attributes": {"197": {}}}),
        json!({"ignore": ["DROP TABLE"]}),
        json!({"attributes": {"300": {"ignore": true}}}),
        json!({"forgive": true}),
        json!([]),
    ] {
        let refused = app.with_json("PUT", &uri, &wrong).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{wrong}");
    }
}

#[tokio::test]
async fn nothing_anybody_decides_makes_a_failing_disk_healthy() {
    let app = TestApp::start().await;
    let server = app.server("web").await;
    report(
        &app,
        server,
        1,
        &[Disk {
            passed: false,
            pending: 8,
            ..SDA
        }],
    )
    .await;
    let id = id_of(&app, "WD-").await;
    let verdict = app.get(&format!("{DEVICES}/{id}/verdict")).await.json();
    let codes: Vec<Value> = verdict["reasons"]
        .as_array()
        .unwrap()
        .iter()
        .map(|reason| reason["code"].clone())
        .collect();
    assert!(codes.contains(&json!("smart_status_failed")), "{codes:?}");
    app.call("POST", &format!("{DEVICES}/{id}/baseline")).await;
    let all = json!({"ignore": codes, "attributes": {"197": {"ignore": true}}, "temperature_warning": 99});
    let set = app
        .with_json("PUT", &format!("{DEVICES}/{id}/overrides"), &all)
        .await;
    assert_eq!(set.json()["health"], "failed", "{}", set.text());
    report(&app, server, 2, &[Disk { passed: false, ..SDA }]).await;
    assert_eq!(shown(&app, id).await.0, "failed");
    // And once it is silent, nobody knows: what was accepted says nothing of a disk that does not answer.
    app.report(server, 3, |report| {
        let mut silent = Resource::new(ResourceKind::Device, ResourceKey::new(SDA.key), "sda");
        silent.health = Some(Health::Unknown);
        silent.health_reasons = vec!["its SMART data could not be read".to_owned()];
        report.observed_ms = NOW - 50_000;
        report.resources = vec![silent];
    })
    .await;
    assert_eq!(shown(&app, id).await.0, "unknown");
}

#[tokio::test]
async fn a_disk_without_smart_data_has_nothing_to_accept() {
    let app = TestApp::start().await;
    let (server, _) = app.furnished("web").await;
    app.report(server, 2, |report| {
        report.resources = vec![Resource::new(
            ResourceKind::Device,
            ResourceKey::new("device:x"),
            "vda",
        )];
    })
    .await;
    let all = app.get(DEVICES).await.json();
    let items = all["items"].as_array().unwrap();
    let id = items.iter().find(|item| item["device_name"] == "vda").unwrap()["id"].clone();
    let refused = app.call("POST", &format!("{DEVICES}/{id}/baseline")).await;
    assert_eq!(
        (refused.status, refused.json()["parameter"].clone()),
        (StatusCode::UNPROCESSABLE_ENTITY, json!("id"))
    );
    let verdict = app.get(&format!("{DEVICES}/{id}/verdict")).await;
    assert_eq!(
        (verdict.status, verdict.json()["health"].clone()),
        (StatusCode::OK, json!("unknown"))
    );
    for uri in ["/77/verdict".to_owned(), format!("/{server}/verdict")] {
        assert_eq!(
            app.get(&format!("{DEVICES}{uri}")).await.code(),
            "device_not_found",
            "{uri}"
        );
    }
    let malformed = app.as_bearer("POST", &format!("{DEVICES}/{id}/baseline"), &app.login().await);
    let (mut parts, _) = malformed.into_parts();
    parts
        .headers
        .insert("content-type", "application/json".parse().unwrap());
    let request = axum::http::Request::from_parts(parts, axum::body::Body::from("{"));
    assert_eq!(app.send(request).await.code(), "malformed_json");
}

#[tokio::test]
async fn whoever_may_only_look_decides_nothing() {
    let app = TestApp::start().await;
    let server = app.server("web").await;
    report(&app, server, 1, &[Disk { pending: 8, ..SDA }]).await;
    let id = id_of(&app, "WD-").await;
    let viewer = app.token_of(Role::Viewer).await;
    let refused = app
        .send(app.as_bearer("POST", &format!("{DEVICES}/{id}/baseline"), &viewer))
        .await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert_eq!(shown(&app, id).await.0, "warning");
    let operator = app.token_of(Role::Operator).await;
    let taken = app
        .send(app.as_bearer("POST", &format!("{DEVICES}/{id}/baseline"), &operator))
        .await;
    assert_eq!(
        (taken.status, taken.json()["baseline"]["acknowledged_by"].clone()),
        (StatusCode::OK, json!("operator"))
    );
}

#[tokio::test]
async fn the_verdict_says_how_a_disk_wears_whatever_it_was_called() {
    let app = TestApp::start().await;
    let server = app.server("web").await;
    report(&app, server, 1, &[SDA]).await;
    let id = id_of(&app, "WD-").await;
    let unknown = app.get(&format!("{DEVICES}/{id}/verdict")).await.json();
    assert_eq!(unknown["wear"]["outcome"], "cannot_tell");
    assert_eq!(unknown["wear"]["reason"], "there is no history of its wear");
    // One percent every half day, read a minute before each noon and midnight, under two kernel names.
    let half = DAY / 2;
    let last = NOW - NOW.rem_euclid(half);
    #[expect(clippy::cast_precision_loss, reason = "a few half days")]
    let point = |number: i64| (last - (11 - number) * half - 60_000, 10.0 + number as f64);
    for (name, numbers) in [("sda", 0..6), ("sdb", 6..12)] {
        let rows: Vec<(i64, f64)> = numbers.map(point).collect();
        let labels = Labels::of(&[("device", name)]);
        app.put(server, id, "muster_device_wear_used_percent", &labels, &rows);
    }
    let told = app.get(&format!("{DEVICES}/{id}/verdict")).await.json();
    println!("wear: {}", told["wear"]);
    assert_eq!(told["wear"]["used_percent"], 21.0, "{told}");
    assert_eq!(
        told["wear"]["reason"], "the history of its wear spans less than two weeks",
        "{told}"
    );
    let page = app.browse(&format!("/devices/{id}")).await;
    for part in ["Endurance used over time", "spans less than two weeks"] {
        assert!(page.text().contains(part), "{part}");
    }
    let labels = Labels::of(&[("device", "sdb")]);
    app.put(
        server,
        id,
        "muster_device_wear_used_percent",
        &labels,
        &[(NOW - 10_000, 100.0)],
    );
    let told = app.get(&format!("{DEVICES}/{id}/verdict")).await.json();
    assert_eq!(told["wear"]["outcome"], "reached", "{told}");
}

#[tokio::test]
async fn the_history_of_an_attribute_is_one_question() {
    let app = TestApp::start().await;
    let server = app.server("web").await;
    report(&app, server, 1, &[SDA]).await;
    let id = id_of(&app, "WD-").await;
    for kind in ["raw", "value"] {
        let labels = Labels::of(&[
            ("attribute_id", "197"),
            ("attribute_value_type", kind),
            ("device", "sda"),
        ]);
        app.put(
            server,
            id,
            "smartctl_device_attribute",
            &labels,
            &[(NOW - 60_000, 8.0)],
        );
    }
    let query = "metric=smartctl_device_attribute&match=%7Battribute_id%3D%22197%22,attribute_value_type%3D%22raw%22%7D";
    let history = app
        .get(&format!(
            "/api/infrastructure/metrics/range?{query}&resource_id={id}"
        ))
        .await
        .json();
    assert_eq!(history["series"].as_array().map(Vec::len), Some(1), "{history}");
    assert_eq!(history["series"][0]["points"], json!([[NOW - 60_000, 8.0]]));
}
