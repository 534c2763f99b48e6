//! Pages of updates: what waits, roll-outs, the freeze switch, policies, windows, registries.

mod rules;

use axum::http::StatusCode;
use muster_model::CommandState;
use serde_json::json;

use super::container_pages::{odd, post};
use super::containers::{end, furnish, id_of, offered, tick};
use super::harness::{Answer, TestApp};
use super::page::{HOSTILE, is_harmless, posted};
use crate::app::auth::Role;

async fn as_(app: &TestApp, token: &str, uri: &str) -> Answer {
    app.send(app.as_bearer("GET", uri, token)).await
}

#[tokio::test]
async fn hostile_names_are_only_text_on_every_page_of_updates() {
    let app = TestApp::start().await;
    furnish(&app, HOSTILE, vec![odd(HOSTILE)]).await;
    app.fakes
        .registry
        .offers(&format!("{HOSTILE}:1"), &format!("{HOSTILE}:2"), 'a');
    app.state.updates.refresh().await.unwrap();
    let made = async |path: &str, body: serde_json::Value| {
        let made = app
            .with_json("POST", &format!("/api/containers/{path}"), &body)
            .await;
        assert_eq!(made.status, StatusCode::CREATED, "{path}: {}", made.text());
    };
    made(
        "windows",
        json!({"name": HOSTILE, "description": HOSTILE, "from": "22:00", "to": "06:00"}),
    )
    .await;
    let labels = json!({HOSTILE: HOSTILE});
    made(
        "policies",
        json!({"name": HOSTILE, "description": HOSTILE, "scope": "label", "label_selector": labels,
            "exclude_versions": [HOSTILE]}),
    )
    .await;
    made("rollouts", json!({"name": HOSTILE, "update_ids": [1]})).await;
    made(
        "registries",
        json!({"name": HOSTILE, "registry_url": "https://registry.example.org", "username": HOSTILE, "password": "x",
            "description": HOSTILE}),
    )
    .await;
    let frozen = json!({"frozen": true, "reason": HOSTILE});
    app.with_json("PUT", "/api/containers/freeze", &frozen).await;
    for uri in [
        "/updates",
        "/updates/rollouts",
        "/updates/rollouts/1",
        "/updates/policies",
        "/updates/policies/1",
        "/updates/windows",
        "/updates/windows/1",
        "/registries",
        "/registries/1",
    ] {
        let page = app.browse(uri).await;
        assert_eq!(page.status, StatusCode::OK, "{uri}: {}", page.text());
        assert!(page.text().contains("&lt;script&gt;"), "{uri} shows the name");
        assert!(is_harmless(page.text()), "{uri}");
    }
    let odd = "/updates/history?status=%3Cscript%3E&server=%22&container=%27&before=7";
    let page = app.browse(odd).await;
    assert!(
        page.status == StatusCode::OK && is_harmless(page.text()),
        "{}",
        page.text()
    );
}

#[tokio::test]
async fn viewers_see_every_page_of_updates_and_have_no_form_to_act_with() {
    let app = TestApp::start().await;
    offered(&app, 2).await;
    for (path, body) in [
        ("policies", json!({"name": "all"})),
        (
            "windows",
            json!({"name": "nights", "from": "22:00", "to": "06:00"}),
        ),
        ("rollouts", json!({"name": "nginx", "update_ids": [1]})),
        (
            "registries",
            json!({"name": "lab", "registry_url": "https://r.example.org", "username": "secretive"}),
        ),
    ] {
        app.with_json("POST", &format!("/api/containers/{path}"), &body)
            .await;
    }
    let viewer = app.token_of(Role::Viewer).await;
    for uri in [
        "/containers",
        "/updates",
        "/updates/history",
        "/updates/rollouts",
        "/updates/rollouts/1",
        "/updates/policies",
        "/updates/policies/1",
        "/updates/windows",
        "/updates/windows/1",
        "/registries",
    ] {
        let page = as_(&app, &viewer, uri).await;
        assert_eq!(page.status, StatusCode::OK, "{uri}: {}", page.text());
        // The list of updates is inside a form, which has no button for a viewer.
        assert_eq!(
            page.text().matches("<button type=\"submit\">Log out").count(),
            1,
            "{uri}"
        );
        for deed in [
            "Approve",
            "Reject what",
            "Switch it",
            "Stop it",
            "Resume…",
            "End it",
            "Begin it",
            "Keep it",
            "Delete…",
        ] {
            assert!(!page.text().contains(deed), "{deed} on {uri}");
        }
        assert!(!page.text().contains("secretive"), "{uri}");
    }
    for uri in [
        "/updates/policies/new",
        "/updates/windows/new",
        "/registries/new",
        "/registries/1",
    ] {
        assert_eq!(
            as_(&app, &viewer, uri).await.status,
            StatusCode::FORBIDDEN,
            "{uri}"
        );
    }
}

#[tokio::test]
async fn no_form_of_these_pages_is_taken_from_viewers_or_from_another_site() {
    let app = TestApp::start().await;
    offered(&app, 1).await;
    let viewer = app.token_of(Role::Viewer).await;
    let admin = app.login().await;
    let mut tried = 0;
    for declared in &app.table {
        let is_ours = ["/updates", "/containers", "/registries"]
            .iter()
            .any(|start| declared.path.starts_with(start));
        if is_ours && declared.method == axum::http::Method::POST {
            let uri = declared.path.replace("{id}", "1");
            assert_eq!(
                post(&app, &viewer, &uri, "").await.status,
                StatusCode::FORBIDDEN,
                "{uri}"
            );
            let mut foreign = posted(&admin, &uri, "");
            foreign
                .headers_mut()
                .insert("sec-fetch-site", "same-site".parse().unwrap());
            assert_eq!(
                app.send(foreign).await.status,
                StatusCode::FORBIDDEN,
                "{uri} from elsewhere"
            );
            tried += 1;
        }
    }
    assert_eq!(tried, 30, "every form of these pages");
    assert!(app.fakes.agents.told().is_empty());
}

#[tokio::test]
async fn several_updates_are_approved_or_rejected_at_once_and_what_was_not_is_said() {
    let app = TestApp::start().await;
    offered(&app, 3).await;
    let operator = app.token_of(Role::Operator).await;
    let page = as_(&app, &operator, "/updates").await;
    assert_eq!(
        page.text().matches("type=\"checkbox\" name=\"id\"").count(),
        3,
        "{}",
        page.text()
    );
    let state =
        async |id: i64| app.get(&format!("/api/containers/updates/{id}")).await.json()["state"].clone();
    for odd in ["", "note=x", "id=x", "id=1&all=yes"] {
        let refused = post(&app, &operator, "/updates/approve", odd).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{odd}");
    }
    let done = post(&app, &operator, "/updates/approve", "id=1&id=2&note=go+on").await;
    assert_eq!(
        (done.status, done.header("location")),
        (StatusCode::SEE_OTHER, "/updates".to_owned())
    );
    assert_eq!(
        (state(1).await, state(2).await, state(3).await),
        (json!("approved"), json!("approved"), json!("pending"))
    );
    let page = as_(&app, &operator, "/updates").await;
    for part in ["begins within seconds", "“go on”", "by operator"] {
        assert!(page.text().contains(part), "{part} in {}", page.text());
    }
    tick(&app).await;
    assert_eq!(state(1).await, "in_progress");
    let part = post(&app, &operator, "/updates/reject", "id=1&id=3&id=77").await;
    assert_eq!(part.status, StatusCode::CONFLICT, "{}", part.text());
    for words in [
        "update 1: the update is in_progress",
        "update 77: there is no update 77",
    ] {
        assert!(part.text().contains(words), "{words} in {}", part.text());
    }
    assert_eq!(
        (state(1).await, state(3).await),
        (json!("in_progress"), json!("rejected"))
    );
    let audit = app.get("/api/audit?limit=100").await;
    assert!(audit.text().contains("updates 1, 2"), "{}", audit.text());
    let page = as_(&app, &operator, "/updates").await;
    assert!(
        page.text().contains("Under way") && page.text().contains("waits for the server"),
        "{}",
        page.text()
    );
    assert!(page.text().contains("http-equiv"), "what goes on is followed");
    let far = as_(&app, &operator, &format!("/updates?page={}", u64::MAX)).await;
    assert_eq!(far.status, StatusCode::OK);
}

#[tokio::test]
async fn an_update_is_rehearsed_begun_and_taken_back_from_the_containers_page() {
    let app = TestApp::start().await;
    offered(&app, 1).await;
    let operator = app.token_of(Role::Operator).await;
    let id = id_of(&app, "web1").await;
    let uri = format!("/containers/{id}");
    let page = as_(&app, &operator, &uri).await;
    for part in [
        "needs approval",
        "the same tag, built anew",
        "Update now…",
        "Dry run",
        "Approve…",
        "Reject…",
    ] {
        assert!(page.text().contains(part), "{part} in {}", page.text());
    }
    assert!(!page.text().contains("Roll back…"));
    for (deed, verb) in [("rehearse", "container.update"), ("execute", "container.update")] {
        let done = post(&app, &operator, &format!("/updates/1/{deed}"), "back=container").await;
        assert_eq!(
            (done.status, done.header("location")),
            (StatusCode::SEE_OTHER, uri.clone()),
            "{}",
            done.text()
        );
        assert_eq!(app.fakes.agents.verbs().last(), Some(&verb));
    }
    end(&app, CommandState::Succeeded, "", &json!({})).await;
    let page = as_(&app, &operator, &uri).await;
    for part in ["Roll back…", "pill good\">completed", "operator"] {
        assert!(page.text().contains(part), "{part} in {}", page.text());
    }
    let history = as_(
        &app,
        &operator,
        &format!("/updates/history?container={id}&status=completed"),
    )
    .await;
    assert!(history.text().contains(">web1</a>"), "{}", history.text());
    let none = as_(&app, &operator, "/updates/history?status=failed").await;
    assert!(!none.text().contains(">web1</a>"));
    let elsewhere = "back=%2F%2Fevil.example";
    let back = post(&app, &operator, "/updates/1/rollback", elsewhere).await;
    assert_eq!(
        (back.status, back.header("location")),
        (StatusCode::SEE_OTHER, "/updates".to_owned())
    );
    end(&app, CommandState::Succeeded, "", &json!({})).await;
    let page = as_(&app, &operator, &uri).await;
    assert!(!page.text().contains("Roll back…"), "{}", page.text());
    assert!(post(&app, &operator, "/updates/1/rollback", "").await.status == StatusCode::CONFLICT);
}

#[tokio::test]
async fn what_the_server_refused_waits_with_the_reason_and_what_to_do() {
    let app = TestApp::start().await;
    offered(&app, 1).await;
    let operator = app.token_of(Role::Operator).await;
    post(&app, &operator, "/updates/1/approve", "").await;
    tick(&app).await;
    let words = "the policy of this server does not allow container.update";
    end(&app, CommandState::Refused, words, &json!({})).await;
    let page = app.browse("/updates").await;
    for part in [
        "Waits for something else",
        "pill warn\">held",
        words,
        "muster-agent allow container.update",
    ] {
        assert!(page.text().contains(part), "{part} in {}", page.text());
    }
}

#[tokio::test]
async fn the_freeze_switch_is_set_with_a_reason_and_taken_back_on_the_page() {
    let app = TestApp::start().await;
    let operator = app.token_of(Role::Operator).await;
    let long = format!("frozen=yes&reason={}", "x".repeat(501));
    for (odd, words) in [
        ("frozen=yes&reason=+", "say why"),
        (long.as_str(), "at most 500 characters"),
    ] {
        let refused = post(&app, &operator, "/updates/freeze", odd).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(refused.text().contains(words), "{words} in {}", refused.text());
    }
    assert!(
        post(&app, &operator, "/updates/freeze", "frozen=maybe")
            .await
            .status
            .is_client_error()
    );
    assert_eq!(app.get("/api/containers/freeze").await.json()["frozen"], false);
    let on = post(&app, &operator, "/updates/freeze", "frozen=yes&reason=holidays").await;
    assert_eq!(on.status, StatusCode::SEE_OTHER, "{}", on.text());
    let page = app.browse("/updates").await;
    assert!(
        page.text().contains("The freeze switch is on") && page.text().contains("holidays"),
        "{}",
        page.text()
    );
    post(&app, &operator, "/updates/freeze", "frozen=no").await;
    assert_eq!(app.get("/api/containers/freeze").await.json()["frozen"], false);
}

#[tokio::test]
async fn a_roll_out_is_begun_on_the_page_and_its_waves_are_drawn_and_braked() {
    let app = TestApp::start().await;
    offered(&app, 4).await;
    let operator = app.token_of(Role::Operator).await;
    for (odd, field) in [
        (
            "name=x&image_pattern=nginx:.*&waves=some",
            "numbers of servers or shares",
        ),
        ("name=x&image_pattern=", "of which updates is not said"),
        ("name=x&image_pattern=redis:.*", "there is no open update"),
        ("name=&image_pattern=nginx:.*", "must not be empty"),
        (
            "name=x&image_pattern=nginx:.*&soak_min=99999999",
            "must be from 0 to a week",
        ),
    ] {
        let refused = post(&app, &operator, "/updates/rollouts", odd).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{odd}");
        assert!(refused.text().contains(field), "{field} in {}", refused.text());
    }
    let form = "name=nginx&image_pattern=nginx:.*&waves=1,100%25&soak_min=5";
    let made = post(&app, &operator, "/updates/rollouts", form).await;
    assert_eq!(
        (made.status, made.header("location")),
        (StatusCode::SEE_OTHER, "/updates/rollouts/1".to_owned())
    );
    tick(&app).await;
    let page = as_(&app, &operator, "/updates/rollouts/1").await;
    for part in [
        "Wave 1: 1 under way",
        "Wave 2: 3 waiting",
        "rect class=\"going\"",
        "<title>s1: under way</title>",
        "being done",
        "to come",
        "Stop it for now",
    ] {
        assert!(page.text().contains(part), "{part} in {}", page.text());
    }
    app.fakes
        .agents
        .end_all(CommandState::Succeeded, "", "", &json!({}));
    for _ in 0..3 {
        tick(&app).await;
    }
    let page = as_(&app, &operator, "/updates").await;
    for part in ["Roll-outs that go on", "Wave 1: 1 done", "soaking, 5 min left"] {
        assert!(page.text().contains(part), "{part} in {}", page.text());
    }
    for (deed, state) in [("pause", "paused"), ("resume", "running"), ("abort", "aborted")] {
        let done = post(&app, &operator, &format!("/updates/rollouts/1/{deed}"), "").await;
        assert_eq!(done.status, StatusCode::SEE_OTHER, "{deed}: {}", done.text());
        let rollout = app.get("/api/containers/rollouts/1").await.json();
        assert_eq!(rollout["state"], state);
    }
    let again = post(&app, &operator, "/updates/rollouts/1/resume", "").await;
    assert_eq!(again.status, StatusCode::CONFLICT);
    let page = as_(&app, &operator, "/updates/rollouts").await;
    assert!(
        page.text().contains("rect class=\"skipped\"") && page.text().contains("ended by operator"),
        "{}",
        page.text()
    );
}

#[tokio::test]
async fn an_image_that_did_harm_is_shown_and_forgiven_by_an_admin() {
    let app = TestApp::start().await;
    offered(&app, 1).await;
    let operator = app.token_of(Role::Operator).await;
    post(&app, &operator, "/updates/1/execute", "").await;
    app.fakes.agents.end_all(
        CommandState::Failed,
        "health",
        "it never got healthy",
        &json!({"rolled_back": true}),
    );
    tick(&app).await;
    let page = as_(&app, &operator, "/updates").await;
    assert!(
        page.text().contains("it never got healthy") && !page.text().contains("Forgive"),
        "{}",
        page.text()
    );
    let form = format!("digest=sha256:{}", "a".repeat(64));
    assert_eq!(
        post(&app, &operator, "/updates/forgive", &form).await.status,
        StatusCode::FORBIDDEN
    );
    let admin = app.login().await;
    assert!(as_(&app, &admin, "/updates").await.text().contains("Forgive…"));
    assert_eq!(
        post(&app, &admin, "/updates/forgive", &form).await.status,
        StatusCode::SEE_OTHER
    );
    assert_eq!(app.get("/api/containers/bad-digests").await.json()["total"], 0);
    assert_eq!(
        post(&app, &admin, "/updates/forgive", &form).await.status,
        StatusCode::CONFLICT
    );
}
