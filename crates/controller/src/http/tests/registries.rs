//! Registries and checks of images as a client sees them.

use axum::http::StatusCode;
use serde_json::json;

use super::harness::TestApp;
use crate::app::auth::Role;

const PATH: &str = "/api/containers/registries";

#[tokio::test]
async fn a_registry_is_made_shown_changed_and_removed_and_its_password_is_never_shown() {
    let app = TestApp::start().await;
    let new = json!({
        "name": "lab", "registry_url": "registry.example.org:5000", "username": "puller",
        "password": "canary-password", "email": "ops@example.org", "description": "ours",
    });
    let made = app.with_json("POST", PATH, &new).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
    let uri = format!("{PATH}/{}", made.json()["id"]);
    assert_eq!(made.header("location"), uri);
    let shown = app.get(&uri).await;
    assert_eq!(shown.json(), made.json());
    for (field, value) in [
        ("host", json!("registry.example.org:5000")),
        ("registry_url", json!("https://registry.example.org:5000")),
        ("password_set", json!(true)),
        ("validation_status", json!("unknown")),
        ("enabled", json!(true)),
        ("allow_http", json!(false)),
    ] {
        assert_eq!(shown.json()[field], value, "{field}");
    }
    let list = app.get(PATH).await;
    assert_eq!(list.json()["total"], 1);
    let change = json!({"name": "lab two", "enabled": false, "password": "canary-second"});
    let changed = app.with_json("PUT", &uri, &change).await;
    assert_eq!(changed.status, StatusCode::OK, "{}", changed.text());
    assert_eq!(changed.json()["name"], "lab two");
    assert_eq!(changed.json()["username"], "puller");
    let refused = app.call("POST", &format!("{uri}/validate")).await;
    assert_eq!(refused.code(), "registry_disabled");
    for answer in [&made, &shown, &list, &changed, &refused] {
        assert!(!answer.text().contains("canary"), "{}", answer.text());
    }
    let moved = json!({"registry_url": "https://other.example.org"});
    let refused = app.with_json("PUT", &uri, &moved).await;
    assert_eq!(
        (refused.code().as_str(), &refused.json()["parameter"]),
        ("invalid_body", &json!("password"))
    );
    assert_eq!(app.call("DELETE", &uri).await.status, StatusCode::NO_CONTENT);
    assert_eq!(app.call("DELETE", &uri).await.code(), "registry_not_found");
    assert_eq!(app.get(&uri).await.code(), "registry_not_found");
    let audit = app.get("/api/audit?limit=1000").await;
    assert!(
        audit.text().contains("lab two (registry.example.org:5000)"),
        "{}",
        audit.text()
    );
    assert!(!audit.text().contains("canary"));
}

#[tokio::test]
async fn what_is_wrong_with_a_registry_is_told_and_nothing_is_stored() {
    let app = TestApp::start().await;
    for (field, value) in [
        ("name", json!(" ")),
        ("registry_url", json!("http://registry.example.org")),
        ("registry_url", json!("https://registry.example.org/path")),
        ("registry_url", json!("https://user:pw@registry.example.org")),
        ("username", json!("a:b")),
        ("password", json!("line\nbreak")),
    ] {
        let mut body = json!({
            "name": "lab", "registry_url": "registry.example.org", "username": "puller", "password": "x",
        });
        body[field] = value;
        let answer = app.with_json("POST", PATH, &body).await;
        assert_eq!(
            answer.status,
            StatusCode::UNPROCESSABLE_ENTITY,
            "{field}: {}",
            answer.text()
        );
        assert_eq!(answer.json()["parameter"], field, "{}", answer.text());
    }
    assert_eq!(app.get(PATH).await.json()["total"], 0);
    let hub = json!({"name": "hub", "registry_url": "docker.io"});
    assert_eq!(
        app.with_json("POST", PATH, &hub).await.status,
        StatusCode::CREATED
    );
    let twin = json!({"name": "hub two", "registry_url": "https://index.docker.io/v1/"});
    assert_eq!(app.with_json("POST", PATH, &twin).await.code(), "registry_taken");
}

#[tokio::test]
async fn literal_paths_are_not_taken_for_ids_and_a_registry_that_cannot_be_reached_is_unknown() {
    let app = TestApp::start().await;
    let images = app.get("/api/containers/images").await;
    assert_eq!(images.status, StatusCode::OK, "{}", images.text());
    assert_eq!(
        images.json(),
        json!({"items": [], "total": 0, "next": null, "rate_limits": {}})
    );
    assert_eq!(
        app.get("/api/containers/images?cursor=x").await.code(),
        "invalid_parameter"
    );
    let new = json!({
        "name": "here", "registry_url": "http://127.0.0.1:1", "allow_http": true, "username": "u", "password": "p",
    });
    let made = app.with_json("POST", PATH, &new).await.json();
    let tried = app.call("POST", &format!("{PATH}/{}/validate", made["id"])).await;
    assert_eq!(tried.status, StatusCode::OK, "{}", tried.text());
    assert_eq!(tried.json()["validation_status"], "unknown");
    let why = tried.json()["validation_error"].as_str().unwrap().to_owned();
    assert!(why.contains("loopback"), "{why}");
    let viewer = app.token_of(Role::Viewer).await;
    let looked = app.send(app.as_bearer("GET", PATH, &viewer)).await;
    assert_eq!(looked.status, StatusCode::FORBIDDEN);
    let looked = app
        .send(app.as_bearer("GET", "/api/containers/images", &viewer))
        .await;
    assert_eq!(looked.status, StatusCode::OK);
}
