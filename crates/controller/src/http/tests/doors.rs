//! Who gets in: every route without and with bad tokens, roles, cookies, foreign pages, guessing.

use std::net::IpAddr;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use serde_json::json;

use super::harness::{NOW, TestApp, request};
use crate::app::auth::Role;
use crate::http::access::Access;

/// A path of the table with its parameters filled in.
fn filled(path: &str) -> String {
    path.replace("{id}", "1")
}

#[tokio::test]
async fn every_route_refuses_whoever_shows_no_token_or_a_bad_one() {
    let app = TestApp::start().await;
    let mut refused = 0;
    for declared in &app.table {
        let credentials = [
            None,
            Some("Bearer"),
            Some("Bearer "),
            Some("Bearer not-a-token"),
            Some("Bearer AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
            Some("Basic YWRtaW46YWRtaW4="),
            Some("\u{1}"),
        ];
        for credential in credentials {
            let mut builder = Request::builder()
                .method(declared.method.clone())
                .uri(filled(&declared.path));
            if let Some(credential) = credential {
                builder = builder.header(header::AUTHORIZATION, header_value(credential));
            }
            // From somewhere else each time: guessing from one place is stopped.
            let [_, _, high, low] = u32::try_from(refused).unwrap().to_be_bytes();
            let peer = IpAddr::from([10, 1, high, low]);
            let answer = app.send_from(peer, builder.body(Body::empty()).unwrap()).await;
            let place = format!("{} {} with {credential:?}", declared.method, declared.path);
            match declared.access {
                Access::Public => assert_ne!(answer.code(), "unauthenticated", "{place}"),
                Access::Needs(_) | Access::Metrics => {
                    refused += 1;
                    assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{place}");
                    assert_eq!(answer.code(), "unauthenticated", "{place}");
                }
                Access::Page(_) => {
                    refused += 1;
                    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{place}");
                    assert_eq!(answer.header("location"), "/login", "{place}");
                }
            }
        }
    }
    assert!(100 < refused, "the table lists the routes");
}

fn header_value(text: &str) -> axum::http::HeaderValue {
    // What is not allowed in a header at all cannot be sent; an odd but legal byte stands for it.
    axum::http::HeaderValue::from_bytes(text.as_bytes())
        .unwrap_or_else(|_| axum::http::HeaderValue::from_bytes(b"Bearer \xff\xfe").unwrap())
}

#[tokio::test]
async fn every_route_takes_exactly_the_roles_it_declares() {
    let app = TestApp::start().await;
    for role in [Role::Viewer, Role::Operator, Role::Admin] {
        let token = app.token_of(role).await;
        for declared in &app.table {
            let (Access::Needs(needed) | Access::Page(needed)) = declared.access else {
                continue;
            };
            if declared.path.ends_with("/logout") {
                continue; // It would end the session that the others need.
            }
            let request = app.as_bearer(declared.method.as_str(), &filled(&declared.path), &token);
            let answer = app.send(request).await;
            let place = format!("{} {} as {}", declared.method, declared.path, role.as_str());
            assert_ne!(answer.status, StatusCode::UNAUTHORIZED, "{place}");
            assert_eq!(answer.status == StatusCode::FORBIDDEN, role < needed, "{place}");
        }
    }
}

#[tokio::test]
async fn an_expired_session_is_worth_nothing() {
    let app = TestApp::start().await;
    let token = app.token_of(Role::Admin).await;
    assert_eq!(
        app.send(app.as_bearer("GET", "/api/auth/me", &token))
            .await
            .status,
        StatusCode::OK
    );
    app.state.app.clock().set(NOW + 1_000);
    let expired = app.send(app.as_bearer("GET", "/api/auth/me", &token)).await;
    assert_eq!(expired.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn only_these_routes_are_open_to_everybody() {
    let app = TestApp::start().await;
    let mut open: Vec<String> = app
        .table
        .iter()
        .filter(|declared| declared.access == Access::Public)
        .map(|declared| format!("{} {}", declared.method, declared.path))
        .collect();
    open.sort_unstable();
    assert_eq!(
        open,
        [
            "GET /healthz",
            "GET /login",
            "GET /readyz",
            "GET /static/live.js",
            "GET /static/style.css",
            "POST /api/auth/token",
            "POST /login",
        ]
    );
}

#[tokio::test]
async fn every_documented_operation_is_in_the_table_and_says_who_may_call_it() {
    let app = TestApp::start().await;
    let document = app.get("/api/openapi.json").await.json();
    let mut documented = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            documented += 1;
            let method: Method = method.to_uppercase().parse().unwrap();
            let row = app
                .table
                .iter()
                .find(|declared| declared.method == method && declared.path == *path);
            assert!(row.is_some(), "{method} {path}");
            let description = operation["description"].as_str().unwrap();
            assert!(description.contains("Needs "), "{method} {path}: {description}");
        }
    }
    let apis = app
        .table
        .iter()
        .filter(|declared| declared.path.starts_with("/api"))
        .count();
    assert!(apis <= documented);
}

#[tokio::test]
async fn every_operation_has_an_id_of_its_own_and_describes_its_responses() {
    let app = TestApp::start().await;
    let document = app.get("/api/openapi.json").await.json();
    let mut ids = std::collections::BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap();
            assert!(ids.insert(id.to_owned()), "{id} twice");
            for (status, response) in operation["responses"].as_object().unwrap() {
                let description = response["description"].as_str().unwrap_or_default();
                assert!(!description.is_empty(), "{method} {path}: {status}");
            }
        }
    }
}

#[tokio::test]
async fn a_password_buys_a_token_by_json_and_by_form() {
    let app = TestApp::start().await;
    let body = json!({"username": "admin", "password": app.password}).to_string();
    let by_json = app
        .send(request("POST", "/api/auth/token", "application/json", body))
        .await;
    let form = format!("username=admin&password={}", app.password);
    let by_form = app
        .send(request(
            "POST",
            "/api/auth/token",
            "application/x-www-form-urlencoded",
            form,
        ))
        .await;
    for answer in [by_json, by_form] {
        assert_eq!(answer.status, StatusCode::OK);
        let session = answer.json();
        assert_eq!(session["token_type"], "bearer");
        assert!(0 < session["expires_in"].as_u64().unwrap());
        let token = session["access_token"].as_str().unwrap();
        let me = app.send(app.as_bearer("GET", "/api/auth/me", token)).await.json();
        assert_eq!(me["username"], "admin");
        assert_eq!(me["role"], "admin");
    }
}

#[tokio::test]
async fn a_logged_out_token_is_worthless() {
    let app = TestApp::start().await;
    let token = app.login().await;
    let out = app.send(app.as_bearer("POST", "/api/auth/logout", &token)).await;
    assert_eq!(out.status, StatusCode::NO_CONTENT);
    let me = app.send(app.as_bearer("GET", "/api/auth/me", &token)).await;
    assert_eq!(me.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn guessing_a_password_is_stopped_whatever_headers_say() {
    let app = TestApp::start().await;
    let elsewhere = IpAddr::from([198, 51, 100, 9]);
    let mut statuses = Vec::new();
    for attempt in 0..30 {
        let body = json!({"username": "admin", "password": format!("guess{attempt}")}).to_string();
        let mut guess = request("POST", "/api/auth/token", "application/json", body);
        let address = format!("10.0.0.{attempt}").parse().unwrap();
        guess.headers_mut().insert("x-forwarded-for", address);
        statuses.push(app.send_from(elsewhere, guess).await);
    }
    let judged = statuses
        .iter()
        .filter(|answer| answer.code() == "invalid_credentials")
        .count();
    assert!((1..=10).contains(&judged), "{judged}");
    let last = statuses.last().unwrap();
    assert_eq!(last.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(1 <= last.header("retry-after").parse::<u64>().unwrap());
    // The right password does not help either while the door is locked, but it is locked for nobody else.
    let right = || {
        let body = json!({"username": "admin", "password": app.password}).to_string();
        request("POST", "/api/auth/token", "application/json", body)
    };
    let refused = app.send_from(elsewhere, right()).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(app.send(right()).await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_unknown_account_looks_like_a_wrong_password() {
    let app = TestApp::start().await;
    let try_with = async |name: &str| {
        let body = json!({"username": name, "password": "x"}).to_string();
        app.send(request("POST", "/api/auth/token", "application/json", body))
            .await
    };
    let (known, unknown) = (try_with("admin").await, try_with("nobody").await);
    assert_eq!(known.status, unknown.status);
    assert_eq!(known.without_request_id(), unknown.without_request_id());
}

#[tokio::test]
async fn a_cookie_alone_changes_nothing_from_another_site() {
    let app = TestApp::start().await;
    let cookie = format!("muster_session={}", app.login().await);
    let attempt = async |pairs: &[(&'static str, &'static str)]| {
        let body = json!({"hostname": "made-by-cookie"}).to_string();
        let mut create = request("POST", "/api/infrastructure/servers", "application/json", body);
        create
            .headers_mut()
            .insert(header::COOKIE, cookie.parse().unwrap());
        for (name, value) in pairs {
            create.headers_mut().insert(*name, value.parse().unwrap());
        }
        app.send(create).await
    };
    for pairs in [
        &[][..],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site")],
        &[("origin", "http://evil.example"), ("host", "127.0.0.1:8480")],
        &[("origin", "null"), ("host", "127.0.0.1:8480")],
    ] {
        let answer = attempt(pairs).await;
        assert_eq!(
            (answer.status, answer.code()),
            (StatusCode::FORBIDDEN, "cross_origin".to_owned())
        );
    }
    assert_eq!(
        attempt(&[("sec-fetch-site", "same-origin")]).await.status,
        StatusCode::CREATED
    );
    let ours = &[("origin", "http://127.0.0.1:8480"), ("host", "127.0.0.1:8480")];
    assert_eq!(attempt(ours).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn a_bad_bearer_token_is_not_made_good_by_a_cookie() {
    let app = TestApp::start().await;
    let cookie = format!("muster_session={}", app.login().await);
    let mut me = app.as_bearer("GET", "/api/auth/me", "wrong");
    me.headers_mut().insert(header::COOKIE, cookie.parse().unwrap());
    assert_eq!(app.send(me).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn the_login_form_sets_a_cookie_that_scripts_and_other_sites_cannot_use() {
    let app = TestApp::start().await;
    let form = format!("username=admin&password={}", app.password);
    let login = app
        .send(request(
            "POST",
            "/login",
            "application/x-www-form-urlencoded",
            form.clone(),
        ))
        .await;
    assert_eq!(
        (login.status, login.header("location")),
        (StatusCode::SEE_OTHER, "/".to_owned())
    );
    let cookie = login.header("set-cookie");
    for part in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(
        !cookie.contains("Secure"),
        "over plain HTTP the browser would not keep it"
    );
    let mut by_proxy = request(
        "POST",
        "/login",
        "application/x-www-form-urlencoded",
        form.clone(),
    );
    by_proxy
        .headers_mut()
        .insert("origin", "https://muster.example".parse().unwrap());
    by_proxy
        .headers_mut()
        .insert("host", "muster.example".parse().unwrap());
    assert!(app.send(by_proxy).await.header("set-cookie").contains("; Secure"));

    let mut home = app.bare("GET", "/");
    let pair = cookie.split(';').next().unwrap();
    home.headers_mut().insert(header::COOKIE, pair.parse().unwrap());
    assert_eq!(app.send(home).await.status, StatusCode::OK);

    let mut foreign = request("POST", "/login", "application/x-www-form-urlencoded", form);
    foreign
        .headers_mut()
        .insert("sec-fetch-site", "cross-site".parse().unwrap());
    assert_eq!(app.send(foreign).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_wrong_password_shows_the_form_again() {
    let app = TestApp::start().await;
    let form = "username=admin&password=wrong".to_owned();
    let answer = app
        .send(request(
            "POST",
            "/login",
            "application/x-www-form-urlencoded",
            form,
        ))
        .await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert!(answer.text().contains("User name or password is wrong"));
    assert!(answer.headers.get(header::WWW_AUTHENTICATE).is_none());
}

#[tokio::test]
async fn the_page_is_locked_down_by_its_headers() {
    let app = TestApp::start().await;
    let answer = app.send(app.bare("GET", "/login")).await;
    let policy = answer.header("content-security-policy");
    for part in [
        "default-src 'none'",
        "style-src 'self'",
        "script-src 'self'",
        "connect-src 'self'",
        "img-src 'self' data:",
        "form-action 'self'",
        "frame-ancestors 'none'",
    ] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("referrer-policy"), "same-origin");
    assert!(!answer.text().contains("style=") && !answer.text().contains("<script"));
}
