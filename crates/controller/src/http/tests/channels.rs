//! Channels and deliveries as a client sees them.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::harness::TestApp;

fn gotify() -> Value {
    json!({
        "name": "phone", "kind": "gotify", "settings": {"url": "https://gotify.example.org"},
        "secrets": {"token": "canary-token"}, "options": {"filter": {"severity_min": "warning"}, "digest_minutes": 5},
    })
}

#[tokio::test]
async fn a_channel_is_made_shown_changed_and_removed_and_its_secrets_are_never_shown() {
    let app = TestApp::start().await;
    let made = app.with_json("POST", "/api/channels", &gotify()).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
    let uri = format!("/api/channels/{}", made.json()["id"]);
    assert_eq!(made.header("location"), uri);
    let shown = app.get(&uri).await;
    assert_eq!(shown.json(), made.json());
    assert_eq!(shown.json()["secrets_set"], json!(["token"]));
    assert_eq!(shown.json()["target"], "gotify.example.org");
    assert_eq!(shown.json()["options"]["digest_minutes"], 5);
    let list = app.get("/api/channels").await;
    assert_eq!(list.json()["total"], 1);
    let change = json!({"name": "tablet", "enabled": false, "secrets": {"token": "canary-second"}});
    let changed = app.with_json("PATCH", &uri, &change).await;
    assert_eq!(changed.status, StatusCode::OK, "{}", changed.text());
    assert_eq!(
        (&changed.json()["name"], &changed.json()["enabled"]),
        (&json!("tablet"), &json!(false))
    );
    assert_eq!(changed.json()["options"], shown.json()["options"]);
    for answer in [&made, &shown, &list, &changed] {
        assert!(!answer.text().contains("canary"), "{}", answer.text());
    }
    assert_eq!(
        app.call("POST", &format!("{uri}/test")).await.code(),
        "channel_disabled"
    );
    assert_eq!(app.call("DELETE", &uri).await.status, StatusCode::NO_CONTENT);
    assert_eq!(app.call("DELETE", &uri).await.code(), "channel_not_found");
    assert_eq!(app.get(&uri).await.code(), "channel_not_found");
    let audit = app.get("/api/audit?limit=1000").await;
    assert!(
        audit
            .text()
            .contains("gotify phone (gotify.example.org), enabled"),
        "{}",
        audit.text()
    );
    assert!(!audit.text().contains("canary"));
}

#[tokio::test]
async fn what_is_wrong_with_a_channel_is_told_and_nothing_is_stored() {
    let app = TestApp::start().await;
    let with = |name: &str, value: Value| {
        let mut body = gotify();
        body[name] = value;
        body
    };
    for (body, parameter) in [
        (with("name", json!(" ")), "name"),
        (
            with("settings", json!({"url": "http://gotify.example.org"})),
            "settings.url",
        ),
        (
            with("settings", json!({"url": "https://a.example.org", "colour": 1})),
            "settings",
        ),
        (with("secrets", json!({})), "secrets.token"),
        (
            with("secrets", json!({"token": "x", "phrase": "y"})),
            "secrets.phrase",
        ),
        (
            with("options", json!({"digest_minutes": 0})),
            "options.digest_minutes",
        ),
        (
            with("options", json!({"template": {"text": "{{ x"}})),
            "options.template.text",
        ),
    ] {
        let answer = app.with_json("POST", "/api/channels", &body).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code().as_str()),
            (422, "invalid_body"),
            "{body}"
        );
        assert_eq!(answer.json()["parameter"], parameter, "{}", answer.text());
    }
    for body in [
        with("kind", json!("pigeon")),
        with("more", json!(1)),
        with("options", json!({"colour": 1})),
    ] {
        let answer = app.with_json("POST", "/api/channels", &body).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code().as_str()),
            (422, "invalid_body"),
            "{body}"
        );
    }
    assert_eq!(app.get("/api/channels").await.json()["total"], 0);
    app.with_json("POST", "/api/channels", &gotify()).await;
    let again = app.with_json("POST", "/api/channels", &gotify()).await;
    assert_eq!(again.code(), "channel_name_taken");
}

#[tokio::test]
async fn deliveries_are_listed_by_what_is_asked_for() {
    let app = TestApp::start().await;
    let empty = app
        .get("/api/deliveries?state=dead&channel_id=1&alert_id=2")
        .await;
    assert_eq!(
        (&empty.json()["total"], &empty.json()["items"]),
        (&json!(0), &json!([]))
    );
    assert_eq!(
        app.get("/api/deliveries?state=lost").await.json()["parameter"],
        "state"
    );
    assert_eq!(
        app.call("POST", "/api/deliveries/7/retry").await.code(),
        "delivery_not_found"
    );
}
