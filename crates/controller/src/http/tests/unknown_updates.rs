//! Updates of which nobody knows what became of them: neither failed nor done until somebody can tell.

use axum::http::StatusCode;
use muster_model::CommandState;
use serde_json::{Value, json};

use super::containers::updates::{automatic, only_update};
use super::containers::{container, furnish, id_of, tick};
use super::harness::TestApp;
use crate::store::UpdateWrite;

/// An update that was begun.
async fn begun() -> TestApp {
    let app = TestApp::start().await;
    furnish(&app, "one", vec![container("web", "nginx:1.27", &[])]).await;
    app.fakes.registry.offers("nginx:1.27", "nginx:1.27", 'a');
    automatic(&app).await;
    app.state.updates.refresh().await.unwrap();
    tick(&app).await;
    app
}

/// An update whose command ended as unknown.
async fn doubtful() -> TestApp {
    let app = begun().await;
    says(&app, CommandState::Unknown, "the engine did not answer");
    tick(&app).await;
    app
}

/// What the command is from now on.
fn says(app: &TestApp, state: CommandState, message: &str) {
    for told in app.fakes.agents.0.lock().unwrap().iter_mut() {
        told.status.state = state;
        message.clone_into(&mut told.status.message);
    }
}

/// It is unknown since so long before.
async fn age(app: &TestApp, ms: i64) {
    let id = only_update(app).await["id"].as_i64().unwrap();
    let store = app.state.app.store();
    let mut row = store.update(id).await.unwrap().unwrap();
    let since_ms = row.body["unknown_since_ms"].as_i64().unwrap();
    row.body["unknown_since_ms"] = json!(since_ms - ms);
    store.write_updates(&[UpdateWrite::Update(row)]).await.unwrap();
}

async fn record(app: &TestApp) -> Value {
    let history = app.get("/api/containers/updates/history").await.json();
    assert_eq!(history["total"], 1, "{history}");
    history["items"][0].clone()
}

#[tokio::test]
async fn what_nobody_knows_is_neither_failed_nor_done_until_the_agent_says_more() {
    let app = doubtful().await;
    let update = only_update(&app).await;
    assert_eq!(
        (&update["state"], &update["unknown"]),
        (&json!("unknown"), &json!("the engine did not answer"))
    );
    let open = record(&app).await;
    assert_eq!(
        (
            &open["status"],
            &open["success"],
            &open["error_message"],
            &open["completed_at"]
        ),
        (&json!("unknown"), &Value::Null, &Value::Null, &Value::Null),
        "{open}"
    );
    let notices = app.get("/api/containers/notifications").await.json();
    assert_eq!(notices["items"][0]["notification_type"], "unknown", "{notices}");
    // Nobody decides over it meanwhile, and it is not begun again.
    let id = &update["id"];
    for deed in ["approve", "reject", "execute"] {
        let path = format!("/api/containers/updates/{id}/{deed}");
        let answer = app.with_json("POST", &path, &json!({})).await;
        assert_eq!(answer.status, StatusCode::CONFLICT, "{deed}: {}", answer.text());
        assert!(answer.text().contains("not known yet"), "{}", answer.text());
    }
    tick(&app).await;
    assert_eq!(app.fakes.agents.told().len(), 1);
    let page = app.browse("/updates").await;
    assert!(
        page.text().contains("Nobody knows yet what became of it"),
        "{}",
        page.text()
    );
    let page = app.browse("/updates/history?status=unknown").await;
    assert!(
        page.text().contains("the engine did not answer"),
        "{}",
        page.text()
    );
    says(&app, CommandState::Succeeded, "");
    tick(&app).await;
    assert_eq!(only_update(&app).await["state"], "completed");
    let closed = record(&app).await;
    assert_eq!(
        (&closed["status"], &closed["success"]),
        (&json!("completed"), &json!(true))
    );
}

#[tokio::test]
async fn an_update_that_turns_out_to_go_on_is_under_way_again() {
    let app = doubtful().await;
    says(&app, CommandState::Started, "pulling");
    tick(&app).await;
    assert_eq!(only_update(&app).await["state"], "in_progress");
    assert_eq!(record(&app).await["status"], "in_progress");
    says(&app, CommandState::Failed, "no room");
    tick(&app).await;
    assert_eq!(only_update(&app).await["state"], "failed");
    assert_eq!(record(&app).await["error_message"], "no room");
}

#[tokio::test]
async fn what_the_container_shows_does_not_count_and_an_image_that_did_harm_is_barred_all_the_same() {
    let app = doubtful().await;
    let update = only_update(&app).await;
    let mut now = container("web", "nginx:1.27", &[]);
    now.set("current_digest", update["digest"].as_str());
    now.set("image_id", Some("sha256:bb"));
    let server = muster_base::id::ServerId(update["server_id"].as_i64().unwrap());
    app.report(server, 2, |report| report.resources = vec![now]).await;
    age(&app, 60 * 60_000).await;
    tick(&app).await;
    assert_eq!(only_update(&app).await["state"], "unknown", "running is not well");
    let harmless = app.get("/api/containers/bad-digests").await.json();
    assert_eq!(harmless["total"], 0, "{harmless}");

    let app = begun().await;
    let digest = format!("sha256:{}", "a".repeat(64));
    app.fakes.agents.end_all(
        CommandState::Unknown,
        "health",
        "the old container is gone, so the new one was left",
        &json!({"bad_digest": digest}),
    );
    tick(&app).await;
    assert_eq!(only_update(&app).await["state"], "unknown");
    assert_eq!(app.get("/api/containers/bad-digests").await.json()["total"], 1);
}

#[tokio::test]
async fn what_nobody_ever_says_stays_unknown_and_is_a_persons_to_decide() {
    let app = doubtful().await;
    let mut stopped = container("web", "nginx:1.27", &[]);
    stopped.set("status", Some("exited"));
    let update = only_update(&app).await;
    let server = muster_base::id::ServerId(update["server_id"].as_i64().unwrap());
    app.report(server, 2, |report| report.resources = vec![stopped])
        .await;
    age(&app, 25 * 3_600_000).await;
    tick(&app).await;
    let update = only_update(&app).await;
    assert_eq!(
        (&update["state"], &update["unknown_since"]),
        (&json!("unknown"), &Value::Null)
    );
    let closed = record(&app).await;
    assert!(
        closed["completed_at"].is_string() && closed["success"].is_null(),
        "{closed}"
    );
    assert!(
        closed["execution_log"]
            .to_string()
            .contains("look at the container"),
        "{closed}"
    );
    tick(&app).await;
    assert_eq!(
        app.fakes.agents.told().len(),
        1,
        "it is not begun again by itself"
    );
    let web = id_of(&app, "web").await;
    let why = app.get(&format!("/api/containers/{web}/explain")).await;
    assert_eq!(why.status, StatusCode::OK);
    let path = format!("/api/containers/updates/{}/execute", update["id"]);
    assert_eq!(app.call("POST", &path).await.status, StatusCode::ACCEPTED);
}
