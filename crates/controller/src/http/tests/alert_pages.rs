//! Pages of alerts, rules, silences and channels, over an engine that judges.

use std::sync::Arc;

use axum::http::StatusCode;
use muster_base::id::ServerId;
use muster_model::SampleBlock;
use serde_json::json;

use super::harness::{Answer, NOW, TestApp};
use super::page::{HOSTILE, is_harmless, posted};
use crate::app::auth::Role;
use crate::intake::Accepted;
use crate::intake::tests::{EPOCH, agent, define, report_of, series};
use crate::store::deliveries::{DeliveryState, Settled};

const RULES: &str = "/api/infrastructure/alert-rules";

/// A server called `name` whose load is too high, which a rule called so too has noticed; and the number of the rule.
async fn busy(app: &TestApp, name: &str) -> (ServerId, i64) {
    let server = app.server(name).await;
    let rule = json!({"name": name, "description": format!("look at {name}"), "metric_name": "load_1m",
        "condition": "gt", "threshold": 4, "severity": "critical", "runbook": "https://wiki.example.com/load"});
    let made = app.with_json("POST", RULES, &rule).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
    define(&app.intake, 1, vec![series("node_load1")]).await;
    let time_ms = NOW - 1_000;
    let mut report = report_of(EPOCH, 1);
    report.clock.wall_ms = time_ms;
    report
        .blocks
        .push(SampleBlock::new(vec![time_ms], vec![1], vec![9.0]).unwrap());
    let record = Accepted {
        position: 1,
        agent: agent(),
        server,
        received_ms: time_ms,
        report: Arc::new(report),
        size_bytes: 100,
    };
    app.state.alerts.judge(vec![Arc::new(record)]).await.unwrap();
    (server, made.json()["id"].as_i64().unwrap())
}

async fn post(app: &TestApp, token: &str, uri: &str, form: &str) -> Answer {
    app.send(posted(token, uri, form)).await
}

#[tokio::test]
async fn hostile_names_are_only_text_on_every_page_of_alerts() {
    let app = TestApp::start().await;
    let (server, rule) = busy(&app, HOSTILE).await;
    let silence = json!({"name": HOSTILE, "scope": {"servers": [server.0]}, "days": ["mon"], "from": "22:00",
        "to": "06:00"});
    let made = app
        .with_json("POST", "/api/infrastructure/silences", &silence)
        .await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
    let channel = json!({"name": HOSTILE, "kind": "gotify", "settings": {"url": "https://gotify.example.org"},
        "secrets": {"token": "t"}});
    let made = app.with_json("POST", "/api/channels", &channel).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
    let note = format!("note={HOSTILE}&back=//evil.example").replace(' ', "+");
    let token = app.login().await;
    let known = post(&app, &token, "/alerts/1/acknowledge", &note).await;
    assert_eq!(known.status, StatusCode::SEE_OTHER, "{}", known.text());
    assert_eq!(known.header("location"), "/alerts");
    for uri in [
        "/".to_owned(),
        format!("/servers/{server}"),
        "/alerts".to_owned(),
        "/alerts?status=all&severity=<b>&server=x&rule=1"
            .to_owned()
            .replace('<', "%3C")
            .replace('>', "%3E"),
        "/alerts/1".to_owned(),
        "/rules".to_owned(),
        format!("/rules/{rule}"),
        format!("/rules/{rule}?over=7d"),
        "/silences".to_owned(),
        "/channels".to_owned(),
    ] {
        let page = app.browse(&uri).await;
        assert_eq!(page.status, StatusCode::OK, "{uri}: {}", page.text());
        assert!(page.text().contains("&lt;script&gt;"), "{uri} shows the name");
        assert!(is_harmless(page.text()), "{uri}");
    }
}

#[tokio::test]
async fn an_open_alert_is_on_the_first_page_on_its_servers_and_on_its_own() {
    let app = TestApp::start().await;
    let (server, rule) = busy(&app, "web").await;
    for uri in ["/".to_owned(), format!("/servers/{server}"), "/alerts".to_owned()] {
        let page = app.browse(&uri).await;
        for part in [
            "/alerts/1\"",
            "load_1m is 9, the bound is 4",
            "critical",
            "Acknowledge",
        ] {
            assert!(page.text().contains(part), "{part} on {uri}");
        }
    }
    let page = app.browse("/alerts/1").await;
    for part in [
        "look at web",
        "https://wiki.example.com/load",
        "load_1m &gt; 4",
        "It became active",
        "There is no channel to tell anybody through",
        "Snooze",
    ] {
        assert!(page.text().contains(part), "{part} in {}", page.text());
    }
    let rules = app.browse("/rules").await;
    assert!(rules.text().contains(&format!("/alerts?rule={rule}\">1</a>")));
    assert!(
        app.browse("/alerts?status=resolved")
            .await
            .text()
            .contains("There is none.")
    );
    assert_eq!(
        app.browse(&format!("/rules/{rule}?over=9y")).await.status,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    for uri in ["/alerts/77", "/alerts/x", "/rules/77"] {
        assert_eq!(app.browse(uri).await.status, StatusCode::NOT_FOUND, "{uri}");
    }
}

/// An alert that no channel took news of was told to nobody, whatever was tried.
#[tokio::test]
async fn people_are_said_to_be_told_only_where_a_channel_took_the_news() {
    let app = TestApp::start().await;
    let channel = json!({"name": "phone", "kind": "gotify", "settings": {"url": "https://gotify.example.org"},
        "secrets": {"token": "t"}});
    let made = app.with_json("POST", "/api/channels", &channel).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
    busy(&app, "web").await;
    let alert = async || app.get("/api/infrastructure/alerts/1").await.json();
    let page = async || app.browse("/alerts/1").await.text().to_owned();
    let settle = async |state| {
        let store = app.state.app.store();
        let waiting = store
            .waiting_news(made.json()["id"].as_i64().unwrap(), 10)
            .await
            .unwrap();
        let settled = Settled {
            id: waiting[0].id,
            state,
            due_ms: NOW,
            answer: "HTTP 200".to_owned(),
            is_attempt: true,
        };
        store.settle_news(&[settled], NOW + 5_000).await.unwrap();
    };
    let untold = "It was to be told, and no channel has taken it";
    for _ in 0..2 {
        assert_eq!(alert().await["notified_at"], json!(null));
        let page = page().await;
        assert!(
            page.contains(untold) && !page.contains("People were told"),
            "{page}"
        );
        // It cannot be reached: the news wait on.
        settle(DeliveryState::Waiting).await;
    }
    settle(DeliveryState::Sent).await;
    assert_eq!(alert().await["notified_at"], "2026-01-02T03:04:10.000Z");
    let page = page().await;
    assert!(
        page.contains("People were told last") && !page.contains(untold),
        "{page}"
    );
}

#[tokio::test]
async fn the_chart_beside_an_alert_shows_its_series_and_its_bound() {
    let app = TestApp::start().await;
    let (server, rule) = busy(&app, "web").await;
    let load: Vec<(i64, f64)> = (0..20).map(|tick| (NOW - 60_000 * (20 - tick), 9.0)).collect();
    app.put(
        server,
        server.resource(),
        "node_load1",
        &muster_model::Labels::default(),
        &load,
    );
    let tried = app.browse(&format!("/rules/{rule}?over=1d")).await;
    assert!(tried.text().contains("1 would alert now"), "{}", tried.text());
    let page = app.browse("/alerts/1").await;
    for part in ["class=\"bound\"", "class=\"since\"", "class=\"line\""] {
        assert!(page.text().contains(part), "{part} in {}", page.text());
    }
    assert!(is_harmless(page.text()));
}

#[tokio::test]
async fn alerts_are_answered_on_the_page_under_the_own_name_and_viewers_have_no_buttons() {
    let app = TestApp::start().await;
    busy(&app, "web").await;
    let operator = app.token_of(Role::Operator).await;
    let done = post(&app, &operator, "/alerts/1/acknowledge", "note=on+it&back=/").await;
    assert_eq!(
        (done.status, done.header("location")),
        (StatusCode::SEE_OTHER, "/".to_owned())
    );
    let alert = app.get("/api/infrastructure/alerts/1").await.json();
    assert_eq!(
        (&alert["acknowledged_by"], &alert["acknowledged_note"]),
        (&json!("operator"), &json!("on it"))
    );
    let again = post(&app, &operator, "/alerts/1/acknowledge", "").await;
    assert_eq!(again.status, StatusCode::CONFLICT, "{}", again.text());
    for odd in ["hours=5", "hours=-1", "hours=x", ""] {
        let refused = post(&app, &operator, "/alerts/1/snooze", odd).await;
        assert!(refused.status.is_client_error(), "{odd}");
    }
    let waits = post(&app, &operator, "/alerts/1/snooze", "hours=4&back=/alerts/1").await;
    assert_eq!(waits.header("location"), "/alerts/1", "{}", waits.text());
    assert!(app.browse("/alerts/1").await.text().contains("snoozed"));
    let done = post(&app, &operator, "/alerts/1/resolve", "note=fixed").await;
    assert_eq!(done.status, StatusCode::SEE_OTHER, "{}", done.text());
    let page = app.browse("/alerts/1").await;
    assert!(
        page.text().contains("Resolved by operator: “fixed”"),
        "{}",
        page.text()
    );
    let audit = app.get("/api/audit?limit=100").await;
    for action in ["alert.acknowledge", "alert.snooze", "alert.resolve"] {
        assert!(audit.text().contains(action), "{action}");
    }
    let viewer = app.token_of(Role::Viewer).await;
    for uri in ["/", "/alerts", "/alerts/1", "/rules", "/silences", "/channels"] {
        let page = app.send(app.as_bearer("GET", uri, &viewer)).await;
        assert_eq!(page.status, StatusCode::OK, "{uri}");
        let forms = page.text().matches("method=\"post\"").count();
        assert_eq!(forms, 1, "{uri}: to log out and nothing else");
    }
}

#[tokio::test]
async fn a_rule_that_is_switched_off_on_the_page_ends_its_alerts() {
    let app = TestApp::start().await;
    let (_, rule) = busy(&app, "web").await;
    let admin = app.login().await;
    let off = post(&app, &admin, &format!("/rules/{rule}/disable"), "").await;
    assert_eq!(off.status, StatusCode::SEE_OTHER, "{}", off.text());
    let page = app.browse("/rules").await;
    assert!(page.text().contains("1 switched off") && page.text().contains("Switch on"));
    assert!(
        app.browse("/alerts/1")
            .await
            .text()
            .contains("The rule was deleted or switched off")
    );
    assert!(app.browse("/").await.text().contains("No alert is open."));
    post(&app, &admin, &format!("/rules/{rule}/enable"), "").await;
    assert_eq!(app.get(&format!("{RULES}/{rule}")).await.json()["enabled"], true);
    let odd = post(&app, &admin, &format!("/rules/{rule}/delete"), "").await;
    assert_eq!(odd.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn silences_are_made_and_ended_on_the_page() {
    let app = TestApp::start().await;
    let server = app.server("web").await;
    let admin = app.login().await;
    for odd in [
        "name=swap&server=&hours=0",
        "name=swap&server=x&hours=2",
        "name=swap&server=77&hours=2",
        "name=&server=&hours=2",
        "hours=2",
    ] {
        let refused = post(&app, &admin, "/silences", odd).await;
        assert!(refused.status.is_client_error(), "{odd}");
    }
    let form = format!("name=disk+swap&server={server}&hours=2");
    let made = post(&app, &admin, "/silences", &form).await;
    assert_eq!(made.status, StatusCode::SEE_OTHER, "{}", made.text());
    let page = app.browse("/silences").await;
    for part in ["disk swap", "silent", "web", "2026-01-02 05:04:05 UTC"] {
        assert!(page.text().contains(part), "{part} in {}", page.text());
    }
    let silences = app.get("/api/infrastructure/silences").await.json();
    assert_eq!(silences["total"], 1);
    let id = &silences["items"][0]["id"];
    let ended = post(&app, &admin, &format!("/silences/{id}/end"), "").await;
    assert_eq!(ended.status, StatusCode::SEE_OTHER);
    assert_eq!(app.get("/api/infrastructure/silences").await.json()["total"], 0);
}

#[tokio::test]
async fn windows_that_come_again_are_made_on_the_page_and_what_is_wrong_is_refused() {
    let app = TestApp::start().await;
    let server = app.server("web").await;
    let admin = app.login().await;
    for odd in [
        "name=n&server=&from=22:00&to=25:00&timezone=UTC",
        "name=n&server=&from=22:00&timezone=UTC",
        "name=n&server=&from=22:00&to=06:00&timezone=Mars/Olympus",
        "name=n&server=&cron=x&duration=2h&timezone=UTC",
        "name=n&server=&cron=0+3+*+*+*&timezone=UTC",
        "name=n&server=&rule=77&hours=2",
        "name=++&server=&hours=2",
        "name=n&server=",
        "name=n&server=&from=22:00&to=06:00&someday=yes",
    ] {
        let refused = post(&app, &admin, "/silences", odd).await;
        assert!(refused.status.is_client_error(), "{odd}: {}", refused.status);
    }
    let silences = async || app.get("/api/infrastructure/silences").await.json();
    assert_eq!(silences().await["total"], 0);
    for form in [
        format!(
            "name=nights&server={server}&tag=lab&mon=yes&fri=yes&from=22:00&to=06:00&timezone=Europe/Berlin"
        ),
        "name=patch&server=&rule=1&cron=0+3+*+*+TUE&duration=2h&timezone=UTC".to_owned(),
    ] {
        let made = post(&app, &admin, "/silences", &form).await;
        assert_eq!(made.status, StatusCode::SEE_OTHER, "{form}: {}", made.text());
    }
    let kept = silences().await;
    let [nights, patch] = [&kept["items"][0], &kept["items"][1]];
    assert_eq!(nights["days"], json!(["mon", "fri"]), "{kept}");
    assert_eq!(nights["timezone"], "Europe/Berlin");
    assert_eq!(
        (&nights["scope"]["servers"], &nights["scope"]["tags"]),
        (&json!([server.0]), &json!(["lab"]))
    );
    assert_eq!(
        (&patch["cron"], &patch["scope"]["rules"]),
        (&json!("0 3 * * TUE"), &json!([1]))
    );
    let page = app.browse("/silences").await;
    for part in ["mon, fri 22:00 to 06:00, Europe/Berlin", "0 3 * * TUE for 2h"] {
        assert!(page.text().contains(part), "{part} in {}", page.text());
    }
}

#[tokio::test]
async fn all_alerts_that_were_chosen_are_answered_at_once_and_a_choice_that_is_odd_is_none() {
    let app = TestApp::start().await;
    let (server, rule) = busy(&app, "web").await;
    let operator = app.token_of(Role::Operator).await;
    assert!(app.browse("/alerts").await.text().contains("Acknowledge all"));
    let status = async || app.get("/api/infrastructure/alerts/1").await.json()["status"].clone();
    for odd in ["severity=loud", "server=x", "rule=all", "status=open"] {
        let refused = post(&app, &operator, "/alerts/resolve-all", odd).await;
        assert!(refused.status.is_client_error(), "{odd}: {}", refused.status);
    }
    for other in ["severity=warning", "server=77", "rule=77"] {
        let done = post(&app, &operator, "/alerts/resolve-all", other).await;
        assert_eq!(done.status, StatusCode::SEE_OTHER, "{other}: {}", done.text());
    }
    assert_eq!(status().await, "active");
    let chosen = format!("severity=critical&server={server}&rule={rule}&note=all+known");
    post(&app, &operator, "/alerts/acknowledge-all", &chosen).await;
    assert_eq!(status().await, "acknowledged");
    let done = post(
        &app,
        &operator,
        "/alerts/resolve-all",
        "severity=&server=&rule=&note=",
    )
    .await;
    assert_eq!(done.header("location"), "/alerts", "{}", done.text());
    assert_eq!(status().await, "resolved");
    let viewer = app.token_of(Role::Viewer).await;
    for deed in [
        "/alerts/acknowledge-all",
        "/alerts/resolve-all",
        "/channels/deliveries/1/retry",
    ] {
        let refused = post(&app, &viewer, deed, "").await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{deed}");
    }
}

#[tokio::test]
async fn what_was_given_up_is_sent_again_from_the_page() {
    let app = TestApp::start().await;
    let channel = json!({"name": "phone", "kind": "gotify", "settings": {"url": "https://gotify.example.org"},
        "secrets": {"token": "t"}});
    let made = app.with_json("POST", "/api/channels", &channel).await.json();
    busy(&app, "web").await;
    let store = app.state.app.store();
    let waiting = async || {
        store
            .waiting_news(made["id"].as_i64().unwrap(), 10)
            .await
            .unwrap()
    };
    let id = waiting().await[0].id;
    let dead = Settled {
        id,
        state: DeliveryState::Dead,
        due_ms: NOW,
        answer: "HTTP 410".to_owned(),
        is_attempt: true,
    };
    let admin = app.login().await;
    let retry = format!("/channels/deliveries/{id}/retry");
    assert_eq!(post(&app, &admin, &retry, "").await.status, StatusCode::CONFLICT);
    store.settle_news(&[dead], NOW).await.unwrap();
    assert!(waiting().await.is_empty());
    assert!(app.browse("/channels").await.text().contains(&retry));
    let again = post(&app, &admin, &retry, "").await;
    assert_eq!(again.status, StatusCode::SEE_OTHER, "{}", again.text());
    assert_eq!(waiting().await.len(), 1);
    let unknown = post(&app, &admin, "/channels/deliveries/77/retry", "").await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
}
