//! What the controller knows of containers, from what agents tell to series and alerts.

use muster_base::id::ServerId;
use muster_model::{Health, Inventory, Resource};

use super::containers::{container, furnish, runtime};
use super::harness::{NOW, TestApp};

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
