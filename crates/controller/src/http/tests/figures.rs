//! What the controller knows of containers, from what agents tell to series and alerts.

use axum::http::StatusCode;
use muster_base::id::ServerId;
use muster_model::{Health, Inventory, Resource};
use serde_json::json;

use super::containers::{container, furnish, id_of, runtime};
use super::harness::{NOW, TestApp};
use crate::app::auth::Role;

/// From now on the server has these containers and no others.
async fn has(app: &TestApp, server: ServerId, position: i64, observed_ms: i64, containers: Vec<Resource>) {
    app.report(server, position, |report| {
        let mut runtime = runtime();
        runtime
            .set("status", Some("answers"))
            .set("containers_total", Some(containers.len() as u64));
        report.resources = vec![runtime];
        report.resources.extend(containers);
        let keys = report.resources.iter().map(|resource| resource.key.clone());
        report.inventories = vec![Inventory {
            collector: "containers".to_owned(),
            observed_ms,
            keys: keys.collect(),
            links: Vec::new(),
        }];
    })
    .await;
}

/// What is said of containers that are gone, by name.
async fn missing(app: &TestApp) -> Vec<(String, Option<f64>)> {
    let figures = app.state.updates.refresh().await.unwrap();
    let missing = figures
        .into_iter()
        .filter(|figure| figure.metric.name == "muster_container_missing");
    missing
        .map(|figure| (figure.labels.get("name").unwrap().to_owned(), figure.value))
        .collect()
}

#[tokio::test]
async fn what_is_meant_to_be_gone_is_not_missing_until_it_comes_back_and_goes_again() {
    let app = TestApp::start().await;
    let kept = || {
        let mut web = container("web", "nginx:1.27", &[]);
        web.set("restart_policy", Some("always"));
        web
    };
    let server = app.server("one").await;
    app.state.app.presence().connected(server, NOW);
    has(&app, server, 10, NOW - 3_600_000, vec![kept()]).await;
    let web = id_of(&app, "web").await;
    let path = format!("/api/containers/{web}/forget");
    let there = app.call("POST", &path).await;
    assert_eq!(there.status, StatusCode::CONFLICT, "{}", there.text());
    has(&app, server, 11, NOW - 1_800_000, vec![]).await;
    assert_eq!(missing(&app).await, [("web".to_owned(), Some(1.0))]);
    let listed = app.get("/api/containers/missing").await.json();
    assert_eq!(
        (&listed["items"][0]["id"], &listed["items"][0]["forgotten_by"]),
        (&json!(web), &json!(null)),
        "{listed}"
    );
    let viewer = app.token_of(Role::Viewer).await;
    let refused = app.send(app.as_bearer("POST", &path, &viewer)).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    let page = app.browse(&format!("/resources/{web}")).await;
    assert!(page.text().contains("It is meant to be gone"), "{}", page.text());
    let said = app.call("POST", &path).await;
    assert_eq!(said.status, StatusCode::OK, "{}", said.text());
    assert!(missing(&app).await.is_empty(), "the series ends");
    let listed = app.get("/api/containers/missing").await.json();
    assert!(listed["items"][0]["forgotten_at"].is_string(), "{listed}");
    let page = app.browse(&format!("/resources/{web}")).await;
    assert!(page.text().contains("said so at"), "{}", page.text());
    let audit = app.get("/api/audit?limit=100").await;
    assert!(audit.text().contains("container.forget"), "{}", audit.text());
    has(&app, server, 12, NOW - 1_500_000, vec![kept()]).await;
    assert_eq!(missing(&app).await, [("web".to_owned(), Some(0.0))]);
    has(&app, server, 13, NOW - 1_200_000, vec![]).await;
    assert_eq!(
        missing(&app).await,
        [("web".to_owned(), Some(1.0))],
        "it went again"
    );
}

#[tokio::test]
async fn a_container_that_becomes_unhealthy_has_one_notice_and_silence_ends_nothing() {
    let app = TestApp::start().await;
    let server = furnish(&app, "one", vec![]).await;
    let ill = || {
        let mut ill = container("web", "nginx:1.27", &[]);
        ill.health = Some(Health::Critical);
        ill.health_reasons = vec!["its health check fails".to_owned()];
        ill
    };
    has(&app, server, 10, NOW - 900, vec![ill()]).await;
    let look = || app.state.updates.look_at_health();
    let first = look().await.unwrap();
    assert_eq!((first.unhealthy, first.notices), (1, 1));
    assert_eq!(look().await.unwrap().notices, 0, "it is said once");
    // Its engine is silent: nobody knows, which is not well.
    app.report(server, 11, |report| {
        let mut runtime = runtime();
        runtime.set("status", Some("silent"));
        report.resources = vec![runtime];
    })
    .await;
    let silent = look().await.unwrap();
    assert_eq!((silent.unknown, silent.notices), (1, 0));
    let mut well = ill();
    well.health = Some(Health::Healthy);
    well.health_reasons.clear();
    has(&app, server, 12, NOW - 800, vec![well]).await;
    let last = look().await.unwrap();
    assert_eq!((last.healthy, last.notices), (1, 1));
    let notices = app.get("/api/containers/notifications").await.json();
    let kinds: Vec<&str> = notices["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|notice| notice["notification_type"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["healthy", "unhealthy"]);
    assert_eq!(notices["items"][1]["message"], "its health check fails");
    assert!(app.fakes.agents.told().is_empty());
}
