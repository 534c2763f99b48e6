//! History and federation over HTTP.

use axum::http::StatusCode;
use muster_base::id::ServerId;
use muster_model::{Labels, STALE_NAN};

use super::harness::{NOW, TestApp};

const RANGE: &str = "/api/infrastructure/metrics/range";

async fn loaded() -> (TestApp, ServerId, ServerId) {
    let app = TestApp::start().await;
    let web = app.server("web").await;
    let db = app.server("db").await;
    let none = Labels::default();
    for (server, value) in [(web, 1.0), (db, 2.0)] {
        let rows = [(NOW - 30_000, value), (NOW - 15_000, value + 0.5)];
        app.put(server, server.resource(), "node_load1", &none, &rows);
    }
    let device = Labels::of(&[("device", "sda\"\\\n")]);
    app.put(
        web,
        web.resource(),
        "smartctl_device_temperature",
        &device,
        &[(NOW - 15_000, 31.0)],
    );
    let odd = [
        (NOW - 40_000, f64::NAN),
        (NOW - 30_000, f64::INFINITY),
        (NOW - 20_000, STALE_NAN),
    ];
    app.put(web, web.resource(), "muster_odd", &none, &odd);
    (app, web, db)
}

#[tokio::test]
async fn samples_come_as_they_are_without_a_step() {
    let (app, ..) = loaded().await;
    insta::assert_json_snapshot!(
        "samples",
        app.get(&format!("{RANGE}?metric=node_load1")).await.shown()
    );
    insta::assert_json_snapshot!(
        "odd_values",
        app.get(&format!("{RANGE}?metric=muster_odd")).await.shown()
    );
}

#[tokio::test]
async fn joined_labels_select_and_a_step_gives_points() {
    let (app, _, db) = loaded().await;
    let start = (NOW - 30_000) / 1_000;
    let end = NOW / 1_000;
    let query = format!("{RANGE}?match=node_load1%7Binstance%3D%22db%22%7D&start={start}&end={end}&step=10");
    let range = app.get(&query).await.json();
    assert_eq!(range["series"].as_array().unwrap().len(), 1);
    assert_eq!(range["series"][0]["labels"]["server_id"], db.to_string());
    let points: Vec<f64> = range["series"][0]["points"]
        .as_array()
        .unwrap()
        .iter()
        .map(|point| point[1].as_f64().unwrap())
        .collect();
    assert_eq!(points, [2.0, 2.0, 2.5, 2.5]);
    let by_resource = app
        .get(&format!("{RANGE}?metric=node_load1&resource_id={db}"))
        .await
        .json();
    assert_eq!(by_resource["series"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_wrong_range_parameter_is_named() {
    let (app, ..) = loaded().await;
    for (query, parameter) in [
        ("", "metric"),
        ("metric=m&start=x", "start"),
        ("metric=m&step=-1", "step"),
        ("match=%7B", "match"),
        ("metric=m&from=1", "from"),
    ] {
        let answer = app.get(&format!("{RANGE}?{query}")).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{query}");
        assert_eq!(answer.json()["parameter"], parameter, "{query}");
    }
}

#[tokio::test]
async fn federation_writes_the_latest_values_with_joined_labels() {
    let (app, ..) = loaded().await;
    let all = app.get("/federate").await;
    assert_eq!(
        all.header("content-type"),
        "text/plain; version=0.0.4; charset=utf-8"
    );
    insta::assert_snapshot!("federate", all.text());
}

#[tokio::test]
async fn federation_serves_what_any_selector_takes() {
    let (app, ..) = loaded().await;
    let lines = async |query: &str| {
        let answer = app.get(&format!("/federate?{query}")).await;
        answer
            .text()
            .lines()
            .filter(|line| !line.starts_with('#'))
            .count()
    };
    assert_eq!(lines("match[]=node_load1").await, 2);
    assert_eq!(lines("match[]=%7Bjob%3D%22smartctl%22%7D").await, 1);
    assert_eq!(
        lines("match[]=node_load1&match[]=%7Binstance%3D%22web%22%7D").await,
        3
    );
    assert_eq!(lines("match[]=nothing").await, 0);
    let wrong = app.get("/federate?match[]=%7B").await;
    assert_eq!(
        (wrong.status, wrong.json()["parameter"].clone()),
        (StatusCode::UNPROCESSABLE_ENTITY, "match[]".into())
    );
}

#[tokio::test]
async fn a_renamed_server_is_a_new_instance_at_once() {
    let (app, web, _) = loaded().await;
    let uri = format!("/api/infrastructure/servers/{web}");
    app.with_json("PATCH", &uri, &serde_json::json!({"hostname": "front"}))
        .await;
    let text = app.get("/federate?match[]=node_load1").await;
    assert!(text.text().contains("instance=\"front\"") && !text.text().contains("instance=\"web\""));
}

#[tokio::test]
async fn a_deleted_servers_series_are_served_no_more() {
    let (app, web, _) = loaded().await;
    app.call("DELETE", &format!("/api/infrastructure/servers/{web}"))
        .await;
    let text = app.get("/federate").await;
    assert!(!text.text().contains("instance=\"web\""));
    let range = app.get(&format!("{RANGE}?metric=node_load1")).await.json();
    assert_eq!(range["series"].as_array().unwrap().len(), 1);
}
