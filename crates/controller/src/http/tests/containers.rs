//! Containers and their updates over the API, with a registry and agents that say what is wanted.

pub(super) mod updates;

use axum::http::StatusCode;
use muster_base::id::ServerId;
use muster_model::{Attribute, CommandState, Inventory, Resource, ResourceKey, ResourceKind};
use serde_json::{Value, json};

use super::harness::{NOW, TestApp};

const OLD: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

pub(super) fn runtime() -> Resource {
    let mut runtime = Resource::new(
        ResourceKind::Runtime,
        ResourceKey::new("runtime:docker"),
        "docker",
    );
    runtime
        .set("runtime_type", Some("docker"))
        .set("root_dir", Some("/var/lib/docker"))
        .set("endpoint", Some("/run/docker.sock"));
    runtime
}

pub(super) fn container(name: &str, image: &str, depends_on: &[&str]) -> Resource {
    let key = ResourceKey::new(format!("container:docker:{name}"));
    let mut container = Resource::new(ResourceKind::Container, key, name);
    container
        .set("runtime", Some("runtime:docker"))
        .set("runtime_type", Some("docker"))
        .set("image", Some(image))
        .set("image_id", Some("sha256:aa"))
        .set("container_id", Some("c0ffee"))
        .set("current_digest", Some(OLD))
        .set("platform", Some("linux/amd64"))
        .set("status", Some("running"))
        .set("owner", Some("none"));
    let depends_on = depends_on.iter().map(|name| (*name).to_owned()).collect();
    container
        .attributes
        .insert("depends_on".to_owned(), Attribute::List(depends_on));
    container
}

/// A server that is heard of, with a runtime and these containers.
pub(super) async fn furnish(app: &TestApp, name: &str, containers: Vec<Resource>) -> ServerId {
    let server = app.server(name).await;
    // The positions of reports rise over all servers.
    app.report(server, server.0, |report| {
        report.resources = vec![runtime()];
        report.resources.extend(containers);
        let keys = report
            .resources
            .iter()
            .map(|resource| resource.key.clone())
            .collect();
        report.inventories = vec![Inventory {
            collector: "containers".to_owned(),
            observed_ms: NOW - 1_000,
            keys,
            links: Vec::new(),
        }];
    })
    .await;
    app.state.app.presence().connected(server, NOW);
    server
}

pub(super) async fn id_of(app: &TestApp, name: &str) -> i64 {
    let list = app.get("/api/containers").await.json();
    let items = list["items"].as_array().unwrap();
    let found = items.iter().find(|item| item["name"] == name);
    found.unwrap_or_else(|| panic!("{name} in {list}"))["id"]
        .as_i64()
        .unwrap()
}

pub(super) async fn tick(app: &TestApp) {
    app.state.updates.tick().await.unwrap();
}

/// So many servers with a container each, of which there is something new.
pub(super) async fn offered(app: &TestApp, count: usize) {
    for n in 1..=count {
        let container = container(&format!("web{n}"), "nginx:1.27", &[]);
        furnish(app, &format!("s{n}"), vec![container]).await;
    }
    app.fakes.registry.offers("nginx:1.27", "nginx:1.27", 'a');
    app.state.updates.refresh().await.unwrap();
}

/// Every agent says how what it was told ended, and that is noticed.
pub(super) async fn end(app: &TestApp, state: CommandState, words: &str, result: &Value) {
    app.fakes.agents.end_all(state, "", words, result);
    tick(app).await;
}

#[tokio::test]
async fn containers_are_listed_and_what_is_not_known_is_not_up_to_date() {
    let app = TestApp::start().await;
    furnish(
        &app,
        "one",
        vec![
            container("web", "nginx:1.27", &[]),
            container("odd", "odd:1", &[]),
        ],
    )
    .await;
    app.fakes.registry.offers("nginx:1.27", "nginx:1.27", 'a');
    let all = app.get("/api/containers").await.json();
    assert_eq!(all["total"], 2);
    let available = |word: &str| format!("/api/containers?update_available={word}");
    for (word, names) in [("true", vec!["web"]), ("false", vec![])] {
        let list = app.get(&available(word)).await.json();
        let found: Vec<&str> = list["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["name"].as_str().unwrap())
            .collect();
        assert_eq!(found, names);
    }
    let odd = id_of(&app, "odd").await;
    let shown = app.get(&format!("/api/containers/{odd}")).await.json();
    assert_eq!(shown["update_available"], Value::Null);
    let why = app.get(&format!("/api/containers/{odd}/explain")).await.json();
    assert_eq!(why["decision"], "unknown");
    let hosts = app.get("/api/containers/hosts").await.json();
    let host = hosts["items"][0]["id"].as_i64().unwrap();
    let stats = app
        .get(&format!("/api/containers/hosts/{host}/stats"))
        .await
        .json();
    assert_eq!(
        (
            &stats["total_containers"],
            &stats["updates_available"],
            &stats["unknown"]
        ),
        (&json!(2), &json!(1), &json!(1))
    );
    let page = app.get("/api/containers?limit=1").await.json();
    let next = page["next"].as_str().unwrap();
    let rest = app
        .get(&format!("/api/containers?limit=1&cursor={next}"))
        .await
        .json();
    assert_eq!(
        (rest["items"].as_array().unwrap().len(), &rest["next"]),
        (1, &Value::Null)
    );
}

#[tokio::test]
async fn literal_parts_of_paths_never_lose_to_numbers() {
    let app = TestApp::start().await;
    for path in [
        "updates",
        "updates/history",
        "policies",
        "windows",
        "notifications",
        "rollouts",
        "hosts",
        "freeze",
        "bad-digests",
    ] {
        let answer = app.get(&format!("/api/containers/{path}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text());
    }
    for path in ["backups", "security/summary", "recommendations/1"] {
        assert_eq!(
            app.get(&format!("/api/containers/{path}")).await.status,
            StatusCode::NOT_FOUND,
            "{path}"
        );
    }
    let refused = app
        .with_json(
            "POST",
            "/api/containers/hosts",
            &json!({"connection_type": "tcp"}),
        )
        .await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(refused.text().contains("install an agent"));
}

#[tokio::test]
async fn policies_and_windows_are_made_changed_and_deleted_and_name_what_is_wrong() {
    let app = TestApp::start().await;
    let nights = json!({"name": "nights", "from": "22:00", "to": "06:00", "timezone": "Europe/Berlin"});
    let window = app
        .with_json("POST", "/api/containers/windows", &nights)
        .await
        .json();
    let policy = json!({"name": "p", "mode": "scheduled", "maintenance_window_id": window["id"]});
    let made = app.with_json("POST", "/api/containers/policies", &policy).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
    let path = format!("/api/containers/policies/{}", made.json()["id"]);
    let window_path = format!("/api/containers/windows/{}", window["id"]);
    assert_eq!(
        app.call("DELETE", &window_path).await.status,
        StatusCode::CONFLICT
    );
    let changed = json!({"name": "p", "mode": "manual", "limit": "patch"});
    assert_eq!(
        app.with_json("PUT", &path, &changed).await.json()["limit"],
        "patch"
    );
    for (body, field) in [
        (
            json!({"name": "p", "mode": "scheduled", "maintenance_window_id": 99}),
            "maintenance_window_id",
        ),
        (
            json!({"name": "p", "notification_channels": [99]}),
            "notification_channels",
        ),
        (json!({"name": ""}), "name"),
    ] {
        let refused = app.with_json("POST", "/api/containers/policies", &body).await;
        assert_eq!(
            (refused.status, &refused.json()["parameter"]),
            (StatusCode::UNPROCESSABLE_ENTITY, &json!(field))
        );
    }
    assert_eq!(app.call("DELETE", &path).await.status, StatusCode::NO_CONTENT);
    assert_eq!(
        app.call("DELETE", &window_path).await.status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(app.get(&path).await.status, StatusCode::NOT_FOUND);
}
