//! Pages for Prometheus, the list of them, bulk changes, health, and the reference page.

use axum::http::StatusCode;
use muster_model::{Inventory, Labels, Resource, ResourceKey, ResourceKind};
use serde_json::{Value, json};

use super::harness::{Answer, NOW, TestApp};
use crate::app::auth::Role;

#[tokio::test]
async fn each_family_of_a_server_is_a_page_without_labels_of_the_list_and_without_times() {
    let app = TestApp::start().await;
    let (web, disk) = app.furnished("web").await;
    let labels = Labels::of(&[("device", "sda"), ("job", "own")]);
    app.put(
        web,
        disk,
        "smartctl_device_temperature",
        &labels,
        &[(NOW - 15_000, 31.0)],
    );
    app.put(
        web,
        web.resource(),
        "node_load1",
        &Labels::default(),
        &[(NOW - 15_000, 0.5)],
    );
    app.put(
        web,
        web.resource(),
        "node_old",
        &Labels::default(),
        &[(NOW - 3_600_000, 0.5)],
    );
    let node = app.get(&format!("/metrics/servers/{web}/node")).await;
    assert_eq!(
        node.header("content-type"),
        "text/plain; version=0.0.4; charset=utf-8"
    );
    assert!(node.text().ends_with("\nnode_load1 0.5\n"), "{}", node.text());
    assert!(!node.text().contains("node_old"), "what is stale is left out");
    let smart = app.get(&format!("/metrics/servers/{web}/smartctl/{disk}")).await;
    let line = r#"smartctl_device_temperature{device="sda",job="own"} 31"#;
    assert!(
        smart.text().lines().any(|found| found == line),
        "{}",
        smart.text()
    );
    let other = app.get(&format!("/metrics/servers/{web}/node/{disk}")).await;
    assert_eq!((other.status, other.text()), (StatusCode::OK, ""));
}

#[tokio::test]
async fn a_page_that_cannot_be_is_refused_and_a_silent_server_is_down() {
    let app = TestApp::start().await;
    let (web, disk) = app.furnished("web").await;
    let other = app.server("other").await;
    for (path, status, code) in [
        (format!("/metrics/servers/{web}/nodes"), 404, "not_found"),
        (format!("/metrics/servers/{web}/node/999"), 404, "not_found"),
        (
            format!("/metrics/servers/{other}/smartctl/{disk}"),
            404,
            "not_found",
        ),
        ("/metrics/servers/999/node".to_owned(), 404, "server_not_found"),
        ("/metrics/servers/x/node".to_owned(), 404, "server_not_found"),
        (
            format!("/metrics/servers/{other}/node"),
            503,
            "server_not_reporting",
        ),
    ] {
        let answer = app.get(&path).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code().as_str()),
            (status, code),
            "{path}"
        );
    }
}

/// The list of targets, as a Prometheus with this token asks for it.
async fn discovered(app: &TestApp, token: &str, uri: &str) -> Answer {
    let mut request = app.as_bearer("GET", uri, token);
    let host = "muster:8480".parse().unwrap();
    request.headers_mut().insert("host", host);
    app.send(request).await
}

#[tokio::test]
async fn the_list_names_every_page_and_a_token_for_metrics_alone_reads_both() {
    let app = TestApp::start().await;
    let (web, disk) = app.furnished("web").await;
    let silent = app.server("silent").await;
    app.put(
        web,
        disk,
        "smartctl_devices",
        &Labels::default(),
        &[(NOW - 15_000, 1.0)],
    );
    let made = json!({"name": "prometheus", "scopes": ["metrics"]});
    let made = app.with_json("POST", "/api/tokens", &made).await.json();
    let token = made["token"].as_str().unwrap();
    let list = discovered(&app, token, "/api/prometheus/sd").await.json();
    let paths: Vec<&str> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|group| group["labels"]["__metrics_path__"].as_str().unwrap())
        .collect();
    let expected = [
        format!("/metrics/servers/{web}/node"),
        format!("/metrics/servers/{web}/smartctl"),
        format!("/metrics/servers/{silent}/node"),
    ];
    assert_eq!(paths, expected);
    assert_eq!(list[1]["targets"], json!(["muster:8480"]));
    assert_eq!(list[1]["labels"]["instance"], "web");
    assert_eq!(list[1]["labels"]["job"], "smartctl");
    for path in &expected[..2] {
        let page = app.send(app.as_bearer("GET", path, token)).await;
        assert_eq!(page.status, StatusCode::OK, "{path}");
    }
    // By resource: the same series, each on the page of what it belongs to.
    let list = discovered(&app, token, "/api/prometheus/sd?per=resource")
        .await
        .json();
    let by_resource: Vec<&Value> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|group| &group["labels"])
        .filter(|labels| labels["job"] == "smartctl")
        .collect();
    assert!(!by_resource.is_empty());
    for labels in by_resource {
        let path = labels["__metrics_path__"].as_str().unwrap();
        let resource = labels["resource_id"].as_str().unwrap();
        assert_eq!(path, format!("/metrics/servers/{web}/smartctl/{resource}"));
        let page = app.send(app.as_bearer("GET", path, token)).await;
        assert_eq!(page.status, StatusCode::OK, "{path}");
        assert!(page.text().contains("smartctl_"), "{path}");
    }
    // What the kernel does not show any more is not asked for.
    app.report(web, 2, |report| {
        report.inventories = vec![Inventory {
            collector: "block".to_owned(),
            observed_ms: NOW,
            keys: Vec::new(),
            links: Vec::new(),
        }];
    })
    .await;
    let list = discovered(&app, token, "/api/prometheus/sd?per=resource").await;
    assert!(!list.text().contains("smartctl"), "{}", list.text());
    let odd = discovered(&app, token, "/api/prometheus/sd?per=moon").await;
    assert_eq!(odd.code(), "invalid_parameter");
    let servers = app
        .send(app.as_bearer("GET", "/api/infrastructure/servers", token))
        .await;
    assert_eq!(servers.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn servers_are_switched_all_together_or_not_at_all() {
    const ON: &str = "/api/infrastructure/servers/bulk-enable";
    const OFF: &str = "/api/infrastructure/servers/bulk-disable";
    let app = TestApp::start().await;
    let (one, two) = (app.server("one").await.0, app.server("two").await.0);
    let monitored = async |id: i64| {
        let path = format!("/api/infrastructure/servers/{id}");
        app.get(&path).await.json()["monitoring_enabled"]
            .as_bool()
            .unwrap()
    };
    let mut told = app.state.app.cadences();
    let off = app.with_json("POST", OFF, &json!([two, one, two])).await;
    assert_eq!(off.json(), json!({"disabled": 2, "server_ids": [one, two]}));
    assert!(!monitored(one).await && !monitored(two).await);
    for id in [one, two] {
        let (server, cadence) = told.recv().await.unwrap();
        assert_eq!((server.0, cadence.heartbeat_only), (id, true), "agents are told");
    }
    let refused = app.with_json("POST", ON, &json!([one, 999])).await;
    assert_eq!(refused.code(), "server_not_found");
    assert!(!monitored(one).await, "nothing is done if not all can be");
    for body in [
        json!([]),
        json!({}),
        json!(["1"]),
        json!((1..1_500).collect::<Vec<_>>()),
    ] {
        let answer = app.with_json("POST", ON, &body).await;
        assert_eq!(answer.code(), "invalid_body", "{body}");
    }
    let on = app.with_json("POST", ON, &json!([one, two])).await;
    assert_eq!(on.json(), json!({"enabled": 2, "server_ids": [one, two]}));
    assert!(monitored(one).await && monitored(two).await);
}

#[tokio::test]
async fn detailed_health_is_never_better_than_what_is_known() {
    const PATH: &str = "/api/infrastructure/health/detailed";
    let app = TestApp::start().await;
    app.ready.send_replace(crate::http::Readiness::Ready);
    let healthy = app.get(PATH).await.json();
    assert_eq!(
        (healthy["status"].as_str(), healthy["database"].as_str()),
        (Some("healthy"), Some("healthy"))
    );
    let (server, _) = app.furnished("web").await;
    // Memory as a disk is listed, and nobody waits for its health.
    app.report(server, 2, |report| {
        let key = ResourceKey::new("device:path:virtual/zram0");
        report.resources = vec![Resource::new(ResourceKind::Device, key, "zram0")];
    })
    .await;
    let devices = format!("/api/infrastructure/servers/{server}/storage/devices");
    let listed = app.get(&devices).await.json();
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(2), "{listed}");
    let disks = async |query: &str| {
        let list = app.get(&format!("/api/infrastructure/devices{query}")).await;
        list.json()["total"].clone()
    };
    assert_eq!(
        (disks("").await, disks("?virtual=true").await),
        (json!(1), json!(2))
    );
    assert_eq!(disks("?virtual=false").await, 1);
    let page = app.browse(&format!("/servers/{server}")).await;
    assert!(page.text().contains("Not counted as disks: "), "{}", page.text());
    let degraded = app.get(PATH).await.json();
    assert_eq!(degraded["status"], "degraded", "{degraded}");
    assert_eq!(
        degraded["infrastructure"]["storage"]["devices"]["by_health"],
        json!({"warning": 1})
    );
    assert!(
        degraded["reasons"].to_string().contains("1 devices are warning"),
        "{degraded}"
    );
    app.ready
        .send_replace(crate::http::Readiness::NotReady("replaying".to_owned()));
    let starting = app.get(PATH).await.json();
    assert_eq!(starting["database"], "unhealthy");
}

#[tokio::test]
async fn the_reference_page_has_every_operation_and_needs_nothing_from_elsewhere() {
    let app = TestApp::start().await;
    let page = app.browse("/api/docs").await;
    assert_eq!(page.status, StatusCode::OK);
    let document = app.get("/api/openapi.json").await.json();
    let mut operations = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for operation in item.as_object().unwrap().values() {
            operations += 1;
            let id = operation["operationId"].as_str().unwrap();
            assert!(page.text().contains(&format!("id=\"{id}\"")), "{path} {id}");
        }
    }
    for name in document["components"]["schemas"].as_object().unwrap().keys() {
        assert!(page.text().contains(&format!("id=\"schema-{name}\"")), "{name}");
    }
    let outside = ["src=\"http", "href=\"http", "<script", "@import", "url(http"];
    assert!(outside.iter().all(|text| !page.text().contains(text)));
    println!("{operations} operations in {} bytes", page.text().len());
    let viewer = app.token_of(Role::Viewer).await;
    let seen = app.send(app.as_bearer("GET", "/api/docs", &viewer)).await;
    assert_eq!(seen.status, StatusCode::OK);
    let stranger = app.send(app.bare("GET", "/api/docs")).await;
    assert_eq!(stranger.header("location"), "/login");
}
