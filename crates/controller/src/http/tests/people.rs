//! Users, API tokens and the audit log as a client sees them.

use std::net::IpAddr;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, StatusCode, header};
use serde_json::{Value, json};

use super::harness::{Answer, TestApp, request};
use crate::app::auth::Role;
use crate::grpc::control;
use crate::http::access::Access;

const PASSWORD: &str = "a long password";

/// A path of the table with its parameters filled in.
fn filled(path: &str) -> String {
    path.replace("{id}", "1")
}

/// Makes an account and logs it in.
async fn account(app: &TestApp, name: &str, role: &str) -> (i64, String) {
    let body = json!({"username": name, "password": PASSWORD, "role": role});
    let made = app.with_json("POST", "/api/users", &body).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
    let id = made.json()["id"].as_i64().unwrap();
    assert_eq!(made.header("location"), format!("/api/users/{id}"));
    (id, login(app, name, PASSWORD).await)
}

async fn login(app: &TestApp, name: &str, password: &str) -> String {
    let body = json!({"username": name, "password": password}).to_string();
    let answer = app
        .send(request("POST", "/api/auth/token", "application/json", body))
        .await;
    answer.json()["access_token"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

async fn json_as(app: &TestApp, token: &str, method: &str, uri: &str, body: &Value) -> Answer {
    let mut request = app.as_bearer(method, uri, token);
    let json = "application/json".parse().unwrap();
    request.headers_mut().insert(header::CONTENT_TYPE, json);
    *request.body_mut() = Body::from(body.to_string());
    app.send(request).await
}

async fn api_token(app: &TestApp, session: &str, scopes: &[&str]) -> (i64, String) {
    let body = json!({"name": "a program", "scopes": scopes});
    let made = json_as(app, session, "POST", "/api/tokens", &body).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
    let made = made.json();
    (
        made["id"].as_i64().unwrap(),
        made["token"].as_str().unwrap().to_owned(),
    )
}

async fn audit(app: &TestApp, query: &str) -> Vec<Value> {
    let list = app.get(&format!("/api/audit?limit=1000&{query}")).await;
    assert_eq!(list.status, StatusCode::OK, "{}", list.text());
    list.json()["items"].as_array().unwrap().clone()
}

#[tokio::test]
async fn an_admin_makes_changes_and_removes_accounts() {
    let app = TestApp::start().await;
    let (id, token) = account(&app, "ann", "viewer").await;
    let uri = format!("/api/users/{id}");
    let ann = app.get(&uri).await.json();
    assert_eq!(
        (&ann["username"], &ann["role"], &ann["disabled"]),
        (&json!("ann"), &json!("viewer"), &json!(false))
    );
    assert!(ann["last_login_at"].is_string() && ann.get("password_hash").is_none());
    let me = app
        .send(app.as_bearer("GET", "/api/users/me", &token))
        .await
        .json();
    assert_eq!(me["id"], id);
    let changed = app.with_json("PUT", &uri, &json!({"role": "operator"})).await;
    assert_eq!(
        (changed.status, &changed.json()["role"]),
        (StatusCode::OK, &json!("operator"))
    );
    assert_eq!(app.get("/api/users").await.json()["total"], 2);
    let again = json!({"username": "ann", "password": PASSWORD, "role": "viewer"});
    assert_eq!(
        app.with_json("POST", "/api/users", &again).await.code(),
        "username_taken"
    );
    assert_eq!(app.call("DELETE", &uri).await.status, StatusCode::NO_CONTENT);
    for absent in [&uri, "/api/users/999", "/api/users/x", "/api/users/-1"] {
        let gone = app.get(absent).await;
        assert_eq!(
            (gone.status, gone.code().as_str()),
            (StatusCode::NOT_FOUND, "user_not_found")
        );
    }
    for patch in [json!({"role": "viewer"}), json!({"disabled": true})] {
        assert_eq!(
            app.with_json("PUT", "/api/users/1", &patch).await.code(),
            "last_admin"
        );
    }
    assert_eq!(app.call("DELETE", "/api/users/1").await.code(), "last_admin");
    for wrong in [
        json!({"role": "root"}),
        json!({"roles": "viewer"}),
        json!({"disabled": "yes"}),
        json!([]),
    ] {
        assert_eq!(
            app.with_json("PUT", "/api/users/1", &wrong).await.code(),
            "invalid_body"
        );
    }
}

#[tokio::test]
async fn people_change_their_own_password_and_nobody_elses() {
    let app = TestApp::start().await;
    let (_, token) = account(&app, "ann", "viewer").await;
    let uri = "/api/users/me/password";
    let wrong = json!({"current_password": "wrong", "new_password": "a longer password"});
    assert_eq!(
        json_as(&app, &token, "PUT", uri, &wrong).await.code(),
        "invalid_body"
    );
    let right = json!({"current_password": PASSWORD, "new_password": "a longer password"});
    assert_eq!(
        json_as(&app, &token, "PUT", uri, &right).await.status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(login(&app, "ann", PASSWORD).await, "");
    assert_ne!(login(&app, "ann", "a longer password").await, "");
    let theft = json_as(
        &app,
        &token,
        "PUT",
        "/api/users/1",
        &json!({"password": "mine from now on"}),
    )
    .await;
    assert_eq!(theft.code(), "forbidden");
    let (_, by_token) = api_token(&app, &token, &["read"]).await;
    let again = json!({"current_password": "a longer password", "new_password": PASSWORD});
    assert_eq!(
        json_as(&app, &by_token, "PUT", uri, &again).await.code(),
        "session_needed"
    );
    let entries = audit(&app, "action=user.change_own_password").await;
    assert_eq!(entries.len(), 3);
    assert!(
        !entries
            .iter()
            .any(|entry| entry.to_string().contains("password\":"))
    );
}

#[tokio::test]
async fn every_route_takes_exactly_the_scopes_that_its_decision_covers() {
    let app = TestApp::start().await;
    let session = app.login().await;
    let scopes = [
        ("metrics", None),
        ("read", Some(Role::Viewer)),
        ("operate", Some(Role::Operator)),
        ("admin", Some(Role::Admin)),
    ];
    let mut calls = 0;
    for (scope, role) in scopes {
        let (_, token) = api_token(&app, &session, &[scope]).await;
        for declared in &app.table {
            let is_allowed = match declared.access {
                Access::Public => continue,
                Access::Metrics => true,
                Access::Needs(needed) | Access::Page(needed) => role.is_some_and(|role| needed <= role),
            };
            // Removing what the test itself needs is tried with the number of none.
            let uri = declared.path.replace("{id}", "999");
            let answer = app
                .send(app.as_bearer(declared.method.as_str(), &uri, &token))
                .await;
            let place = format!("{} {uri} with {scope}: {}", declared.method, answer.text());
            assert_ne!(answer.status, StatusCode::UNAUTHORIZED, "{place}");
            assert_eq!(answer.code() == "forbidden", !is_allowed, "{place}");
            assert!(!answer.status.is_server_error(), "{place}");
            calls += 1;
        }
    }
    println!("S13: {calls} calls with API tokens, each as declared");
}

#[tokio::test]
async fn the_metrics_can_be_read_with_a_token_for_them() {
    let app = TestApp::start().await;
    let (_, token) = api_token(&app, &app.login().await, &["metrics"]).await;
    let metrics = app.send(app.as_bearer("GET", "/metrics", &token)).await;
    assert_eq!(metrics.status, StatusCode::OK);
    let servers = app.as_bearer("GET", "/api/infrastructure/servers", &token);
    assert_eq!(app.send(servers).await.code(), "forbidden");
}

#[tokio::test]
async fn somebody_elses_api_token_looks_like_none() {
    let app = TestApp::start().await;
    let (_, ann) = account(&app, "ann", "operator").await;
    let (_, bob) = account(&app, "bob", "operator").await;
    let (id, text) = api_token(&app, &ann, &["read"]).await;
    assert!(text.starts_with("muster_pat_"), "{text}");
    let list = app.send(app.as_bearer("GET", "/api/tokens", &ann)).await;
    assert!(
        !list.text().contains(&text) && list.json()["total"] == 1,
        "{}",
        list.text()
    );
    assert_eq!(
        app.send(app.as_bearer("GET", "/api/tokens", &bob)).await.json()["total"],
        0
    );
    let delete = async |id: i64| {
        let request = app.as_bearer("DELETE", &format!("/api/tokens/{id}"), &bob);
        let answer = app.send(request).await;
        let body = answer.without_request_id().to_string();
        (answer.status, body.replace(&id.to_string(), "ID"))
    };
    assert_eq!(delete(id).await, delete(id + 1_000).await);
    assert_eq!(delete(id).await.0, StatusCode::NOT_FOUND);
    let removed = app
        .send(app.as_bearer("DELETE", &format!("/api/tokens/{id}"), &ann))
        .await;
    assert_eq!(removed.status, StatusCode::NO_CONTENT);
    let after = app.send(app.as_bearer("GET", "/api/tokens", &text)).await;
    assert_eq!(after.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn every_route_that_changes_something_is_written_to_the_audit_log() {
    let app = TestApp::start().await;
    let viewer = app.token_of(Role::Viewer).await;
    let mut changing = 0;
    for declared in &app.table {
        // Calls of gRPC are all posted; there is none that changes anything.
        let is_call =
            declared.path == control::REFLECTION || control::CALLS.contains(&declared.path.as_str());
        // A dry run is posted because it has a body.
        let is_dry_run = declared.path.contains("/alert-rules/") && declared.path.ends_with("/test");
        let is_get = declared.method == Method::GET || declared.method == Method::HEAD;
        // Reading a log is asked of an agent, by a command.
        let is_command = declared.path == "/api/containers/{id}/logs";
        let is_read = is_get && !is_command || is_call || is_dry_run;
        if is_read || declared.access == Access::Public {
            assert_eq!(declared.action, None, "{} {}", declared.method, declared.path);
            continue;
        }
        let action = declared
            .action
            .unwrap_or_else(|| panic!("{} {}", declared.method, declared.path));
        changing += 1;
        let uri = filled(&declared.path);
        if declared.path.ends_with("/logout") {
            continue; // It would end the session that the others need.
        }
        let before = audit(&app, &format!("action={action}")).await.len();
        app.call(declared.method.as_str(), &uri).await;
        app.send(app.as_bearer(declared.method.as_str(), &uri, &viewer))
            .await;
        app.send(app.bare(declared.method.as_str(), &uri)).await;
        let entries = audit(&app, &format!("action={action}")).await;
        assert_eq!(entries.len(), before + 3, "{action}");
        let [nobody, viewer, admin] = &entries[..3] else {
            panic!()
        };
        assert_eq!(
            (&nobody["actor_kind"], &nobody["reason"]),
            (&json!("nobody"), &json!("unauthenticated"))
        );
        assert_eq!(viewer["actor"], "viewer", "{viewer}");
        assert_eq!(
            (&admin["actor"], &admin["actor_kind"]),
            (&json!("admin"), &json!("user")),
            "{admin}"
        );
        assert_eq!(admin["peer"], "127.0.0.1");
    }
    println!("S27: {changing} routes that change something, each with its action");
    assert!(10 <= changing);
}

/// S27
#[tokio::test]
async fn whoever_hangs_up_at_once_is_in_the_audit_log_all_the_same() {
    let app = TestApp::start().await;
    let session = app.login().await;
    let body = json!({"hostname": "hung up"}).to_string();
    let mut request = request("POST", "/api/infrastructure/servers", "application/json", body);
    let bearer = format!("Bearer {session}").parse().unwrap();
    request.headers_mut().insert("authorization", bearer);
    // Looked at once and then let go, as when the connection is gone.
    let hung_up = tokio::time::timeout(Duration::ZERO, app.send(request)).await;
    assert!(hung_up.is_err(), "answered before it could hang up");
    for _ in 0..600 {
        if !audit(&app, "action=server.create").await.is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("no entry");
}

#[tokio::test]
async fn the_audit_log_names_what_was_made_and_who_did_it_with_which_token() {
    let app = TestApp::start().await;
    let session = app.login().await;
    let (id, token) = api_token(&app, &session, &["admin"]).await;
    json_as(
        &app,
        &token,
        "POST",
        "/api/infrastructure/servers",
        &json!({"hostname": "a"}),
    )
    .await;
    let entries = audit(&app, "action=server.create&actor=admin").await;
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0]["actor_kind"], "api_token");
    assert_eq!(entries[0]["actor_id"], id.to_string());
    assert_eq!(entries[0]["target"], "/api/infrastructure/servers/1");
    assert_eq!(entries[0]["outcome"], "allowed");
    account(&app, "ann", "viewer").await;
    let entries = audit(&app, "action=user.create").await;
    assert_eq!(entries[0]["detail"], "username=ann role=viewer");
    for query in ["from=nonsense", "cursor=x", "limit=0", "colour=red"] {
        let refused = app.get(&format!("/api/audit?{query}")).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{query}");
    }
    assert!(audit(&app, "from=2100-01-01T00:00:00Z").await.is_empty());
}

/// S21
#[tokio::test]
async fn a_thousand_logins_with_rotating_headers_are_ten() {
    let app = TestApp::start().await;
    let proxy = IpAddr::from([127, 0, 0, 1]);
    let cases = [
        ("an unlisted peer", IpAddr::from([198, 51, 100, 9]), ""),
        ("behind a listed proxy", proxy, ", 203.0.113.5"),
    ];
    for (what, peer, appended) in cases {
        let mut judged = 0;
        for n in 0..1_000_u32 {
            let [_, _, high, low] = n.to_be_bytes();
            // Another account each time, so that only the address can tell.
            let body = json!({"username": format!("user{n}"), "password": "a wrong guess"}).to_string();
            let mut guess = request("POST", "/api/auth/token", "application/json", body);
            let forwarded = format!("10.9.{high}.{low}{appended}");
            guess
                .headers_mut()
                .insert("x-forwarded-for", forwarded.parse().unwrap());
            let answer = app.send_from(peer, guess).await;
            judged += usize::from(answer.code() == "invalid_credentials");
        }
        println!("S21: {judged} of 1000 logins were judged, {what}");
        assert!((1..=10).contains(&judged), "{what}: {judged}");
    }
    // Others behind the same proxy are not held up.
    let body = json!({"username": "admin", "password": app.password}).to_string();
    let mut other = request("POST", "/api/auth/token", "application/json", body);
    other
        .headers_mut()
        .insert("x-forwarded-for", "203.0.113.6".parse().unwrap());
    assert_eq!(app.send_from(proxy, other).await.status, StatusCode::OK);
}

/// S22
#[tokio::test]
async fn a_login_makes_a_new_session_and_ends_the_one_the_browser_had() {
    let app = TestApp::start().await;
    let planted = app.login().await;
    let form = format!("username=admin&password={}", app.password);
    let mut login = request("POST", "/login", "application/x-www-form-urlencoded", form);
    let cookie = format!("muster_session={planted}");
    login
        .headers_mut()
        .insert(header::COOKIE, cookie.parse().unwrap());
    let answer = app.send(login).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    let fresh = answer.header("set-cookie");
    assert!(!fresh.contains(&planted), "{fresh}");
    let with_planted = app.send(app.as_bearer("GET", "/api/auth/me", &planted)).await;
    assert_eq!(with_planted.status, StatusCode::UNAUTHORIZED);
    let mut invented = request(
        "POST",
        "/login",
        "application/x-www-form-urlencoded",
        format!("username=admin&password={}", app.password),
    );
    invented
        .headers_mut()
        .insert(header::COOKIE, "muster_session=chosen-by-me".parse().unwrap());
    assert!(
        !app.send(invented)
            .await
            .header("set-cookie")
            .contains("chosen-by-me")
    );
    let chosen = app
        .send(app.as_bearer("GET", "/api/auth/me", "chosen-by-me"))
        .await;
    assert_eq!(chosen.status, StatusCode::UNAUTHORIZED);
}
