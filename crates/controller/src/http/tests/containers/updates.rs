//! Updates over the API: begun, followed, held, condemned, rolled out.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use muster_base::id::ServerId;
use muster_model::{Attribute, CommandState};
use muster_update::{Candidate, Limit};
use serde_json::{Value, json};

use super::{container, end, furnish, id_of, offered, tick};
use crate::http::tests::harness::{NOW, TestApp};
use crate::store::UpdateWrite;
use crate::update::Updates;

pub(in crate::http::tests) async fn automatic(app: &TestApp) -> i64 {
    let body = json!({"name": "all", "mode": "automatic", "limit": "minor"});
    let made = app.with_json("POST", "/api/containers/policies", &body).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
    made.json()["id"].as_i64().unwrap()
}

pub(in crate::http::tests) async fn only_update(app: &TestApp) -> Value {
    let list = app.get("/api/containers/updates").await.json();
    assert_eq!(list["total"], 1, "{list}");
    list["items"][0].clone()
}

#[tokio::test]
async fn an_automatic_update_is_begun_once_followed_and_told() {
    let app = TestApp::start().await;
    automatic(&app).await;
    offered(&app, 1).await;
    let update = only_update(&app).await;
    assert_eq!(update["state"], "pending");
    for _ in 0..3 {
        tick(&app).await;
    }
    let why = app
        .get(&format!("/api/containers/{}/explain", update["container_id"]))
        .await;
    assert_eq!(app.fakes.agents.verbs(), ["container.update"], "{}", why.text());
    assert_eq!(only_update(&app).await["state"], "in_progress");
    end(&app, CommandState::Succeeded, "", &json!({})).await;
    assert_eq!(only_update(&app).await["state"], "completed");
    let history = app.get("/api/containers/updates/history").await.json();
    assert_eq!(
        (&history["items"][0]["status"], &history["items"][0]["success"]),
        (&json!("completed"), &json!(true))
    );
    let notices = app.get("/api/containers/notifications").await.json();
    assert_eq!(notices["items"][0]["notification_type"], "success");
    // And back.
    let id = update["id"].as_i64().unwrap();
    let back = app
        .call("POST", &format!("/api/containers/updates/{id}/rollback"))
        .await;
    assert_eq!(back.status, StatusCode::ACCEPTED, "{}", back.text());
    assert_eq!(
        app.fakes.agents.verbs(),
        ["container.update", "container.rollback"]
    );
    end(&app, CommandState::Succeeded, "", &json!({})).await;
    assert_eq!(only_update(&app).await["state"], "rolled_back");
    tick(&app).await;
    assert_eq!(
        app.fakes.agents.told().len(),
        2,
        "it is not begun again by itself"
    );
}

#[tokio::test]
async fn an_image_that_had_to_be_rolled_back_is_begun_nowhere_else() {
    let app = TestApp::start().await;
    offered(&app, 2).await;
    let list = app.get("/api/containers/updates").await.json();
    let (first, second) = (list["items"][0]["id"].clone(), list["items"][1]["id"].clone());
    assert!(second.is_i64(), "{list}");
    let begun = app
        .call("POST", &format!("/api/containers/updates/{first}/execute"))
        .await;
    assert_eq!(begun.status, StatusCode::ACCEPTED, "{}", begun.text());
    app.fakes.agents.end_all(
        CommandState::Failed,
        "health",
        "it never got healthy",
        &json!({"rolled_back": true}),
    );
    tick(&app).await;
    let failed = app.get(&format!("/api/containers/updates/{first}")).await.json();
    assert_eq!(failed["state"], "rolled_back");
    let refused = app
        .call("POST", &format!("/api/containers/updates/{second}/execute"))
        .await;
    assert_eq!(
        (refused.status, refused.code()),
        (StatusCode::CONFLICT, "update_not_ready".to_owned())
    );
    assert!(refused.text().contains("never got healthy"), "{}", refused.text());
    assert_eq!(app.get("/api/containers/bad-digests").await.json()["total"], 1);
}

#[tokio::test]
async fn the_freeze_switch_stops_everything_that_changes_something() {
    let app = TestApp::start().await;
    automatic(&app).await;
    offered(&app, 1).await;
    let on = json!({"frozen": true, "reason": "holidays"});
    assert_eq!(
        app.with_json("PUT", "/api/containers/freeze", &on).await.status,
        StatusCode::OK
    );
    tick(&app).await;
    let web = id_of(&app, "web1").await;
    for deed in ["start", "stop", "restart", "pause", "unpause", "remove"] {
        let answer = app.call("POST", &format!("/api/containers/{web}/{deed}")).await;
        assert_eq!(
            (answer.status, answer.code()),
            (StatusCode::CONFLICT, "frozen".to_owned()),
            "{deed}"
        );
    }
    // Nor past the containers, as a command.
    let server = app.get("/api/containers").await.json()["items"][0]["server_id"].clone();
    let path = format!("/api/infrastructure/servers/{server}/commands");
    let target = json!({"runtime": "runtime:docker", "name": "web1"});
    for (verb, code) in [("container_restart", "frozen"), ("container_logs", "no_agent")] {
        let mut body = json!({"verb": verb, "target": target});
        if verb == "container_logs" {
            body["range"] = json!({});
        }
        let answer = app.with_json("POST", &path, &body).await;
        assert_eq!(answer.code(), code, "{verb}: {}", answer.text());
    }
    let update = only_update(&app).await["id"].clone();
    let execute = app
        .call("POST", &format!("/api/containers/updates/{update}/execute"))
        .await;
    assert_eq!(execute.status, StatusCode::CONFLICT);
    assert!(app.fakes.agents.told().is_empty());
    let logs = app.get(&format!("/api/containers/{web}/logs")).await;
    assert_eq!(
        (logs.status, &logs.json()["result"]["lines"][0]),
        (StatusCode::OK, &json!("hello"))
    );
    let off = json!({"frozen": false});
    app.with_json("PUT", "/api/containers/freeze", &off).await;
    tick(&app).await;
    assert_eq!(app.fakes.agents.verbs(), ["container.logs", "container.update"]);
}

#[tokio::test]
async fn one_at_a_time_on_a_server_and_what_is_depended_on_goes_first() {
    let app = TestApp::start().await;
    let containers = vec![
        container("app", "app:1", &["db", "cache"]),
        container("cache", "cache:1", &[]),
        container("db", "db:1", &["cache"]),
    ];
    furnish(&app, "one", containers).await;
    for image in ["app:1", "cache:1", "db:1"] {
        app.fakes.registry.offers(image, image, 'a');
    }
    automatic(&app).await;
    app.state.updates.refresh().await.unwrap();
    for count in 1..=3 {
        tick(&app).await;
        tick(&app).await;
        assert_eq!(app.fakes.agents.told().len(), count);
        app.fakes
            .agents
            .end_all(CommandState::Succeeded, "", "", &json!({}));
    }
    let order: Vec<String> = app
        .fakes
        .agents
        .told()
        .iter()
        .map(|told| told.order.verb.container().unwrap().name.clone())
        .collect();
    assert_eq!(order, ["cache", "db", "app"]);
}

#[tokio::test]
async fn a_failure_of_the_server_or_the_network_condemns_no_image_and_the_agent_has_the_word() {
    let digest = format!("sha256:{}", "a".repeat(64));
    for (result, is_bad) in [
        (json!({"rolled_back": true, "bad_digest": null}), false),
        (json!({"rolled_back": true, "bad_digest": digest}), true),
        (json!({"rolled_back": true}), false),
    ] {
        let app = TestApp::start().await;
        offered(&app, 1).await;
        let id = only_update(&app).await["id"].clone();
        let path = format!("/api/containers/updates/{id}/execute");
        assert_eq!(app.call("POST", &path).await.status, StatusCode::ACCEPTED);
        // The last word of an agent names no step.
        end(&app, CommandState::Failed, "the port is taken", &result).await;
        assert_eq!(only_update(&app).await["state"], "rolled_back");
        let bad = app.get("/api/containers/bad-digests").await.json();
        assert_eq!(bad["total"], i64::from(is_bad), "{result}");
    }
}

#[tokio::test]
async fn the_same_contents_under_another_index_stay_condemned_until_somebody_forgives_them() {
    let app = TestApp::start().await;
    furnish(&app, "one", vec![container("web", "nginx:1.27", &[])]).await;
    furnish(&app, "two", vec![container("web2", "nginx:1.27", &[])]).await;
    let offer = |digit: &str| {
        Candidate::Available(muster_update::Offer {
            image: "nginx:1.27".to_owned(),
            digest: format!("sha256:{}", digit.repeat(64)),
            platform_digest: Some("sha256:own".to_owned()),
            first_seen_ms: Some(NOW - 3_600_000),
            release_notes: None,
        })
    };
    app.fakes.registry.says("nginx:1.27", offer("a"));
    automatic(&app).await;
    app.state.updates.refresh().await.unwrap();
    tick(&app).await;
    let begun = app.fakes.agents.told().len();
    let result = json!({"rolled_back": true, "bad_digest": format!("sha256:{}", "a".repeat(64))});
    end(&app, CommandState::Failed, "it never got healthy", &result).await;
    // An architecture that nobody here has was built anew: another index, with the same for this one.
    app.fakes.registry.says("nginx:1.27", offer("b"));
    app.state.updates.refresh().await.unwrap();
    for _ in 0..3 {
        tick(&app).await;
    }
    assert_eq!(app.fakes.agents.told().len(), begun, "it is begun nowhere again");
    let web = id_of(&app, "web2").await;
    let why = app.get(&format!("/api/containers/{web}/explain")).await.json();
    assert_eq!(why["decision"], "blocked");
    assert!(why.to_string().contains("never got healthy"), "{why}");
    let forgive = json!({"digest": format!("sha256:{}", "a".repeat(64))});
    app.with_json("POST", "/api/containers/bad-digests/forgive", &forgive)
        .await;
    tick(&app).await;
    assert!(begun < app.fakes.agents.told().len(), "a person said so");
}

#[tokio::test]
async fn what_the_server_itself_holds_is_tried_again_later_and_is_no_refusal() {
    let app = TestApp::start().await;
    automatic(&app).await;
    offered(&app, 1).await;
    tick(&app).await;
    let held = json!({"reason": "held"});
    end(&app, CommandState::Refused, "the pool md0 is degraded", &held).await;
    assert_eq!(app.fakes.agents.told().len(), 1, "not at once");
    let web = id_of(&app, "web1").await;
    let why = app.get(&format!("/api/containers/{web}/explain")).await.json();
    assert_eq!(why["decision"], "held");
    let because = why["because"].to_string();
    assert!(
        because.contains("md0 is degraded") && because.contains("again later"),
        "{why}"
    );
    let id = only_update(&app).await["id"].clone();
    let path = format!("/api/containers/updates/{id}/execute");
    assert_eq!(app.call("POST", &path).await.status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn registries_are_asked_for_what_a_containers_own_label_permits() {
    let app = TestApp::start().await;
    let mut web = container("web", "nginx:1.27.1", &[]);
    let labels = vec!["muster.update.track=patch".to_owned()];
    web.attributes
        .insert("labels".to_owned(), Attribute::List(labels));
    let mut far = container("far", "redis:7.1.1", &[]);
    let labels = vec!["muster.update.track=major".to_owned()];
    far.attributes
        .insert("labels".to_owned(), Attribute::List(labels));
    furnish(&app, "one", vec![web, far]).await;
    automatic(&app).await;
    app.state.updates.refresh().await.unwrap();
    let asked = |image| app.fakes.registry.limit_asked(image);
    assert_eq!(asked("nginx:1.27.1"), Some(Limit::Patch));
    assert_eq!(
        asked("redis:7.1.1"),
        Some(Limit::Minor),
        "no further than the policy"
    );
    let web = id_of(&app, "web").await;
    let why = app.get(&format!("/api/containers/{web}/explain")).await;
    assert!(why.text().contains("narrows updates to patch"), "{}", why.text());
}

/// The round of checks, once `is_as_wanted` says so.
async fn round(app: &TestApp, is_as_wanted: impl Fn(&Value) -> bool) -> Value {
    let waiting = async {
        loop {
            let round = app.get("/api/containers/updates/check").await.json();
            if is_as_wanted(&round) {
                return round;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waiting)
        .await
        .unwrap()
}

#[tokio::test]
async fn asking_registries_answers_at_once_says_how_far_it_is_and_is_done_one_round_at_a_time() {
    let app = TestApp::start().await;
    let containers = vec![
        container("web", "nginx:1.27", &[]),
        container("db", "redis:7", &[]),
    ];
    furnish(&app, "one", containers).await;
    app.fakes.registry.offers("nginx:1.27", "nginx:1.27", 'a');
    let never = round(&app, |_| true).await;
    assert_eq!((&never["state"], &never["round"]), (&json!("never"), &json!(0)));
    let permits = app.fakes.registry.hold();
    let web = id_of(&app, "web").await;
    let path = "/api/containers/updates/check";
    let begun = app.with_json("POST", path, &json!({"container_id": web})).await;
    assert_eq!(
        (begun.status, begun.header("location")),
        (StatusCode::ACCEPTED, path.to_owned()),
        "{}",
        begun.text()
    );
    assert_eq!(
        (&begun.json()["state"], &begun.json()["round"]),
        (&json!("running"), &json!(1))
    );
    // What goes on already is not begun again; what it does not ask about is asked in one more, however often it is wanted.
    let again = app.with_json("POST", path, &json!({"container_id": web})).await;
    assert_eq!(again.json()["followed_by_another"], false, "{}", again.text());
    for _ in 0..3 {
        let more = app.with_json("POST", path, &json!({})).await;
        assert_eq!(
            (&more.json()["round"], &more.json()["followed_by_another"]),
            (&json!(1), &json!(true))
        );
    }
    permits.add_permits(2);
    let second = round(&app, |round| round["round"] == 2 && round["asked"] == 1).await;
    assert_eq!(
        (
            &second["images"],
            &second["containers"],
            &second["followed_by_another"]
        ),
        (&json!(2), &json!(2), &json!(false)),
        "{second}"
    );
    for uri in ["/updates", "/registries", &format!("/containers/{web}")] {
        let page = app.browse(uri).await;
        let words = "Registries are being asked: 1 of 2 images";
        assert!(page.text().contains(words), "{uri}: {}", page.text());
        // No event tells of that: our script looks soon.
        assert!(
            page.text().contains("<main data-every=\"2\""),
            "{uri}: {}",
            page.text()
        );
    }
    permits.add_permits(1);
    let done = round(&app, |round| round["state"] != "running").await;
    let page = app.browse("/updates").await;
    assert!(!page.text().contains("data-every"), "{}", page.text());
    assert_eq!(
        (&done["round"], &done["state"], &done["asked"], &done["failed"]),
        (&json!(2), &json!("done"), &json!(2), &json!(0)),
        "{done}"
    );
    assert_eq!(
        only_update(&app).await["container_id"],
        web,
        "what is there is written down"
    );
    let none = app.with_json("POST", path, &json!({"container_id": 7_777})).await;
    assert_eq!(none.status, StatusCode::NOT_FOUND);
}

/// S30
#[tokio::test]
async fn an_update_that_kills_stops_its_roll_out_at_one_of_a_hundred_servers_also_over_restarts() {
    let app = TestApp::start().await;
    offered(&app, 100).await;
    let body = json!({"name": "nginx", "image_pattern": "nginx:.*"});
    let made = app.with_json("POST", "/api/containers/rollouts", &body).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
    let path = format!("/api/containers/rollouts/{}", made.json()["id"]);
    for _ in 0..4 {
        // Each step by a controller that knows nothing but what is in the database.
        let fakes = app.fakes.clone();
        let fresh = Updates::new(Arc::clone(&app.state.app), fakes.registry, fakes.agents);
        fresh.tick().await.unwrap();
    }
    assert_eq!(app.fakes.agents.told().len(), 1);
    app.fakes.agents.end_all(
        CommandState::Failed,
        "health",
        "it kills",
        &json!({"rolled_back": true}),
    );
    for _ in 0..4 {
        tick(&app).await;
    }
    let rollout = app.get(&path).await.json();
    assert_eq!(rollout["state"], "stopped", "{}", rollout["reason"]);
    assert_eq!(app.fakes.agents.told().len(), 1, "of 100");
    println!("100 servers: {} were reached", app.fakes.agents.told().len());
}

#[tokio::test]
async fn approving_and_rejecting_are_kept_and_a_refusal_by_the_server_is_said() {
    let app = TestApp::start().await;
    offered(&app, 1).await;
    let id = only_update(&app).await["id"].clone();
    tick(&app).await;
    assert!(app.fakes.agents.told().is_empty(), "nobody approved it");
    let path = |deed: &str| format!("/api/containers/updates/{id}/{deed}");
    app.with_json("POST", &path("reject"), &json!({"note": "not this one"}))
        .await;
    assert_eq!(only_update(&app).await["state"], "rejected");
    app.call("POST", &path("approve")).await;
    tick(&app).await;
    assert_eq!(app.fakes.agents.verbs(), ["container.update"]);
    end(
        &app,
        CommandState::Refused,
        "container.update is not allowed here",
        &json!({}),
    )
    .await;
    tick(&app).await;
    assert_eq!(
        app.fakes.agents.told().len(),
        1,
        "it is not tried again by itself"
    );
    let web = id_of(&app, "web1").await;
    let why = app.get(&format!("/api/containers/{web}/explain")).await.json();
    assert_eq!(why["decision"], "held");
    assert!(
        why["because"].to_string().contains("is not allowed here"),
        "{why}"
    );
}

#[tokio::test]
async fn what_was_offered_stays_while_a_registry_is_silent_and_goes_when_it_is_current() {
    let app = TestApp::start().await;
    offered(&app, 1).await;
    app.fakes
        .registry
        .says("nginx:1.27", Candidate::Unknown("429".to_owned()));
    app.state.updates.refresh().await.unwrap();
    assert_eq!(only_update(&app).await["state"], "pending");
    app.fakes.registry.says("nginx:1.27", Candidate::Current);
    app.state.updates.refresh().await.unwrap();
    assert_eq!(app.get("/api/containers/updates").await.json()["total"], 0);
}

#[tokio::test]
async fn servers_whose_registry_is_silent_do_not_keep_others_from_their_turn() {
    let app = TestApp::start().await;
    let images: Vec<String> = (0..8).map(|n| format!("app{n}:1")).collect();
    let mut last = ServerId(0);
    for image in &images {
        let name = image.replace(':', "-");
        last = furnish(&app, &name, vec![container(&name, image, &[])]).await;
        app.fakes.registry.offers(image, image, 'a');
    }
    automatic(&app).await;
    app.state.updates.refresh().await.unwrap();
    // More than begin at once, and of the lower numbers.
    for image in &images[..7] {
        let silent = Candidate::Unknown("the registry does not answer".to_owned());
        app.fakes.registry.says(image, silent);
    }
    tick(&app).await;
    let told = app.fakes.agents.told();
    let servers: Vec<ServerId> = told.iter().map(|told| told.order.server).collect();
    assert_eq!(servers, [last]);
}

#[tokio::test]
async fn a_record_is_closed_also_when_the_end_came_before_the_update_could_name_it() {
    let app = TestApp::start().await;
    automatic(&app).await;
    offered(&app, 1).await;
    tick(&app).await;
    let id = only_update(&app).await["id"].as_i64().unwrap();
    // As it is on disk after the first of the writes that begin it.
    let store = app.state.app.store();
    let mut row = store.update(id).await.unwrap().unwrap();
    row.body["history_id"] = Value::Null;
    row.body["command_id"] = Value::Null;
    store.write_updates(&[UpdateWrite::Update(row)]).await.unwrap();
    app.fakes.agents.0.lock().unwrap().clear();
    app.with_json("PUT", "/api/containers/freeze", &json!({"frozen": true}))
        .await;
    tick(&app).await;
    assert_eq!(only_update(&app).await["state"], "pending");
    let history = app.get("/api/containers/updates/history").await.json();
    assert_eq!(history["total"], 1, "{history}");
    assert_eq!(history["items"][0]["status"], "failed", "{history}");
}
