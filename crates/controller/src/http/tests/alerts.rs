//! Rules, alerts and silences over HTTP.

use axum::http::StatusCode;
use muster_model::Labels;
use serde_json::{Value, json};

use super::harness::{NOW, TestApp};

const RULES: &str = "/api/infrastructure/alert-rules";

fn example() -> Value {
    json!({"name": "High Temperature Alert", "resource_type": "device", "metric_name": "temperature_celsius",
        "condition": "gt", "threshold": 60, "severity": "warning"})
}

#[tokio::test]
async fn the_documented_rule_is_made_changed_and_deleted() {
    let app = TestApp::start().await;
    let made = app.with_json("POST", RULES, &example()).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
    let place = made.header("location");
    assert_eq!(app.get(&place).await.json()["threshold"], json!(60.0));
    let changed = app
        .with_json("PATCH", &place, &json!({"threshold": 55, "enabled": false}))
        .await;
    assert_eq!(changed.json()["threshold"], json!(55.0));
    assert_eq!(app.get(&place).await.json()["enabled"], json!(false));
    assert_eq!(app.call("DELETE", &place).await.status, StatusCode::NO_CONTENT);
    assert_eq!(app.get(&place).await.code(), "rule_not_found");
}

/// A hundred bodies that are no rules, each with the field that is wrong.
fn bad_bodies() -> Vec<(&'static str, Value)> {
    let long = "x".repeat(5_000);
    let no_text = json!([[], {"a": 1}, true, -1e300, [[[]]], long]);
    let no_word = json!(["\u{0}nope", "(", ""]);
    let no_number = json!([[], {"a": 1}, true, "NaN", "inf", "sixty", ""]);
    let no_time = json!([[], {"a": 1}, true, -1, 1e300, "soon", "5 parsecs"]);
    let no_scope = json!([[], 5, "all", {"servers": 5}, {"racks": [1]}, {"tags": [7]}, {"resources": ["x"]}]);
    let no_address = json!([[], 5, "(", "javascript:alert(1)", long]);
    let (no_name, no_channels) = (json!(["", " \t", null, 7]), json!(["all", {"a": 1}, ["x"], [-1]]));
    let wrong: [(&'static str, Vec<&Value>); 13] = [
        ("name", vec![&no_text, &no_name]),
        ("kind", vec![&no_text, &no_word]),
        ("metric_name", vec![&no_text, &no_word]),
        ("resource_type", vec![&no_text, &no_word]),
        ("condition", vec![&no_text, &no_word]),
        ("severity", vec![&no_text, &no_word]),
        ("threshold", vec![&no_number]),
        ("critical_threshold", vec![&no_number]),
        ("for", vec![&no_time]),
        ("cooldown", vec![&no_time]),
        ("scope", vec![&no_scope]),
        ("runbook", vec![&no_address]),
        ("channels", vec![&no_channels]),
    ];
    let mut bad = vec![("there_is_no_such_field", json!(1))];
    for (field, lists) in wrong {
        let values = lists.into_iter().flat_map(|list| list.as_array().unwrap());
        bad.extend(values.map(|value| (field, value.clone())));
    }
    let body = |(field, value): (&'static str, Value)| {
        let mut body = example();
        body[field] = value;
        (field, body)
    };
    bad.into_iter().map(body).collect()
}

#[tokio::test]
async fn a_hundred_bad_bodies_are_refused_with_their_field_and_nothing_is_stored() {
    let app = TestApp::start().await;
    let kept = async || app.state.app.store().alert_rules().await.unwrap();
    let before = kept().await;
    let bad = bad_bodies();
    assert_eq!(bad.len(), 100);
    for (field, body) in &bad {
        let answer = app.with_json("POST", RULES, body).await;
        assert_eq!(
            answer.status,
            StatusCode::UNPROCESSABLE_ENTITY,
            "{body}: {}",
            answer.text()
        );
        let parameter = answer.json()["parameter"].as_str().unwrap_or_default().to_owned();
        assert!(parameter.starts_with(field), "{body}: {parameter}");
    }
    println!("{} bodies refused with their field", bad.len());
    assert!(
        before == kept().await,
        "a refused body changes nothing that is kept"
    );
}

#[tokio::test]
async fn odd_names_and_bounds_are_taken_as_they_are() {
    let app = TestApp::start().await;
    for (field, value) in [
        ("name", json!("(")),
        ("name", json!("NaN")),
        ("threshold", json!(-1e300)),
        ("threshold", json!("60")),
        ("for", json!("0s")),
        ("runbook", json!(null)),
    ] {
        let mut body = example();
        body[field] = value;
        let answer = app.with_json("POST", RULES, &body).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{body}: {}", answer.text());
    }
}

#[tokio::test]
async fn rules_go_out_as_yaml_and_come_in_again() {
    let app = TestApp::start().await;
    let text = app.get(&format!("{RULES}/export")).await.text().to_owned();
    let before = app.get(RULES).await.json()["total"].clone();
    let mut request = app.as_bearer("POST", &format!("{RULES}/import"), &app.login().await);
    *request.body_mut() = axum::body::Body::from(text);
    let answer = app.send(request).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    assert_eq!(app.get(RULES).await.json()["total"], before);
}

#[tokio::test]
async fn an_import_is_kept_as_a_whole_or_not_at_all() {
    let app = TestApp::start().await;
    let import = async |rules: &[Value]| {
        let mut request = app.as_bearer("POST", &format!("{RULES}/import"), &app.login().await);
        *request.body_mut() = axum::body::Body::from(json!({"rules": rules}).to_string());
        app.send(request).await
    };
    let kept = async || app.state.app.store().alert_rules().await.unwrap();
    let named = |name: &str, threshold: f64| {
        let mut rule = example();
        rule["name"] = json!(name);
        rule["threshold"] = json!(threshold);
        rule
    };
    let before = kept().await;
    let mut bad = named("bad", 1.0);
    bad["severity"] = json!("loud");
    let refused = import(&[named("good", 1.0), bad]).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(
        refused.json()["parameter"],
        "rules[1].severity",
        "{}",
        refused.text()
    );
    // One more than there may be.
    let room = crate::alert::RULES_MAX - before.len();
    let too_many: Vec<Value> = (0..=room).map(|number| named(&number.to_string(), 1.0)).collect();
    assert_eq!(import(&too_many).await.code(), "limit_reached");
    assert!(
        before == kept().await,
        "what is refused changes nothing that is kept"
    );
    // Of several with one name each has a place of its own, the first time and again.
    for threshold in [1.0, 5.0] {
        let taken = import(&[named("twin", threshold), named("twin", 2.0), named("one", 3.0)]).await;
        assert_eq!(taken.status, StatusCode::OK, "{}", taken.text());
        assert_eq!(taken.json()["items"][0]["threshold"], json!(threshold));
        assert_eq!(kept().await.len(), before.len() + 3);
    }
}

#[tokio::test]
async fn silences_are_made_and_ended_and_say_what_is_wrong() {
    let app = TestApp::start().await;
    let place = "/api/infrastructure/silences";
    let body = json!({"name": "nights", "scope": {"tags": ["lab"]}, "from": "22:00", "to": "06:00"});
    let made = app.with_json("POST", place, &body).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
    assert_eq!(app.get(place).await.json()["total"], json!(1));
    let bad = app
        .with_json(
            "POST",
            place,
            &json!({"name": "n", "scope": {}, "from": "22:00", "to": "06:00"}),
        )
        .await;
    assert_eq!(bad.status, StatusCode::UNPROCESSABLE_ENTITY);
    for name in [json!(""), json!("  "), json!(null)] {
        let mut nameless = body.clone();
        nameless["name"] = name;
        for (method, place) in [("POST", place.to_owned()), ("PUT", made.header("location"))] {
            let refused = app.with_json(method, &place, &nameless).await;
            assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{nameless}");
            assert_eq!(refused.json()["parameter"], "name", "{nameless}");
        }
    }
    assert_eq!(
        app.call("DELETE", &made.header("location")).await.status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(
        app.call("DELETE", &made.header("location")).await.code(),
        "silence_not_found"
    );
}

#[tokio::test]
async fn alerts_that_are_not_there_say_so() {
    let app = TestApp::start().await;
    let place = "/api/infrastructure/alerts";
    assert_eq!(app.get(place).await.json()["total"], json!(0));
    assert_eq!(
        app.get(&format!("{place}/infrastructure")).await.status,
        StatusCode::OK
    );
    assert_eq!(app.get(&format!("{place}/5")).await.code(), "alert_not_found");
    assert_eq!(
        app.call("POST", &format!("{place}/5/acknowledge")).await.code(),
        "alert_not_found"
    );
    assert_eq!(
        app.get(&format!("{place}?status=odd")).await.code(),
        "invalid_parameter"
    );
    let none = app.call("POST", &format!("{place}/acknowledge-all")).await;
    assert_eq!(none.json()["changed"], json!(0), "{}", none.text());
}

/// A server with a disk whose temperature, one a minute up to now, is stored.
async fn warm_disk(app: &TestApp, values: &[f64]) -> i64 {
    let (server, disk) = app.furnished("nas1").await;
    let labels = Labels::of(&[("temperature_type", "current")]);
    let minutes = i64::try_from(values.len()).unwrap();
    let rows: Vec<(i64, f64)> = (1..)
        .zip(values)
        .map(|(minute, value)| (NOW - (minutes - minute) * 60_000 - 1_000, *value))
        .collect();
    app.put(server, disk, "smartctl_device_temperature", &labels, &rows);
    disk.0
}

#[tokio::test]
async fn a_dry_run_tells_what_would_alert_and_what_would_have_and_writes_nothing() {
    let app = TestApp::start().await;
    let mut values = vec![40.0; 120];
    values[30..40].fill(66.0);
    values[115..].fill(71.0);
    let disk = warm_disk(&app, &values).await;
    let now = app
        .with_json("POST", &format!("{RULES}/test"), &example())
        .await
        .json();
    assert_eq!(now["triggered"], json!(1), "{now}");
    assert_eq!(now["resolved"], json!(0), "{now}");
    let alert = &now["alerts"][0];
    assert_eq!(alert["metric_value"], json!(71.0));
    assert_eq!(alert["threshold"], json!(60.0));
    assert_eq!(alert["server_name"], json!("nas1"));
    assert_eq!(
        (&alert["resource_id"], &alert["resource_name"]),
        (&json!(disk), &json!("nas1"))
    );
    let uri = format!("{RULES}/test?over=3h");
    let over = app.with_json("POST", &uri, &example()).await.json();
    assert_eq!(
        (&over["triggered"], &over["resolved"]),
        (&json!(1), &json!(1)),
        "{over}"
    );
    assert!(over["alerts"][0]["ended_at"].is_string(), "{over}");
    // A rule that is kept can be tried with another bound, and stays as it is.
    let place = app.with_json("POST", RULES, &example()).await.header("location");
    let changed = json!({"threshold": 70});
    let tried = app
        .with_json("POST", &format!("{place}/test?over=3h"), &changed)
        .await
        .json();
    assert_eq!(
        (&tried["triggered"], &tried["resolved"]),
        (&json!(1), &json!(0)),
        "{tried}"
    );
    assert_eq!(app.get(&place).await.json()["threshold"], json!(60.0));
    assert_eq!(
        app.get("/api/infrastructure/alerts").await.json()["total"],
        json!(0)
    );
    let refused = app
        .with_json("POST", &format!("{place}/test?over=100d"), &json!({}))
        .await;
    assert_eq!(refused.code(), "invalid_parameter");
}

#[tokio::test]
async fn a_dry_run_of_what_the_controller_knows_looks_at_the_present() {
    let app = TestApp::start().await;
    let (_, disk) = app.furnished("nas1").await;
    let rule = json!({"name": "sick", "resource_type": "device", "metric_name": "health", "condition": "gte", "threshold": 1});
    let tried = app
        .with_json("POST", &format!("{RULES}/test"), &rule)
        .await
        .json();
    assert_eq!(tried["triggered"], json!(1), "{tried}");
    assert_eq!(tried["alerts"][0]["resource_id"], json!(disk.0));
}

#[tokio::test]
async fn the_scheduler_and_the_counts_are_there_and_unknown_tasks_are_not() {
    let app = TestApp::start().await;
    let stats = app.get("/api/infrastructure/alerts/stats").await.json();
    assert_eq!(stats["open"], json!(0));
    assert_eq!(
        stats["by_severity"],
        json!({"info": 0, "warning": 0, "critical": 0})
    );
    let status = app.get("/api/infrastructure/scheduler/status").await.json();
    assert_eq!(status["status"], json!("running"));
    let ran = app
        .call("POST", "/api/infrastructure/scheduler/tasks/sweep/run")
        .await;
    assert_eq!(ran.code(), "task_not_found");
}
