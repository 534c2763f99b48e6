//! What happens to requests under way when their caller may no longer make them.

use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{Method, StatusCode};
use futures::{StreamExt as _, stream};
use serde_json::json;
use tower::ServiceExt as _;

use super::harness::{TestApp, request};
use crate::app::auth::Role;
use crate::http::access::{Access, Routes};
use crate::http::openapi;

const PASSWORD: &str = "a long password";
/// How long a change may take to hold.
const HOLDS_WITHIN: Duration = Duration::from_secs(5);

async fn endless() -> Body {
    let first = stream::iter([Ok::<_, std::convert::Infallible>(Bytes::from_static(b"first"))]);
    Body::from_stream(first.chain(stream::pending()))
}

async fn waits() -> StatusCode {
    std::future::pending().await
}

/// A route that streams without end, and one that does not answer.
fn router(app: &TestApp) -> Router {
    let act = Access::Needs(Role::Operator);
    let (router, ..) = Routes::new(app.state.clone(), openapi::base())
        .page(act, Method::GET, "/stream", endless)
        .page(act, Method::GET, "/wait", waits)
        .build();
    router.with_state(app.state.clone())
}

/// A fresh operator: the id of the account and a session of it.
async fn operator(app: &TestApp, name: &str) -> (i64, String) {
    let body = json!({"username": name, "password": PASSWORD, "role": "operator"});
    let made = app.with_json("POST", "/api/users", &body).await;
    let id = made.json()["id"].as_i64().unwrap();
    let body = json!({"username": name, "password": PASSWORD}).to_string();
    let login = app
        .send(request("POST", "/api/auth/token", "application/json", body))
        .await;
    (id, login.json()["access_token"].as_str().unwrap().to_owned())
}

/// Opens the stream and a request that waits; returns how long both lasted from when `change` was made.
async fn lasted(app: &TestApp, token: &str, change: impl Future<Output = ()>) -> Duration {
    let streaming = router(app)
        .oneshot(app.as_bearer("GET", "/stream", token))
        .await
        .unwrap();
    assert_eq!(streaming.status(), StatusCode::OK);
    let mut body = streaming.into_body().into_data_stream();
    assert_eq!(body.next().await.unwrap().unwrap(), "first");
    let waiting = router(app).oneshot(app.as_bearer("GET", "/wait", token));
    let waiting = tokio::spawn(waiting);
    change.await;
    let changed = Instant::now();
    let ends = async {
        while body.next().await.is_some() {}
        assert_eq!(waiting.await.unwrap().unwrap().status(), StatusCode::UNAUTHORIZED);
    };
    tokio::time::timeout(HOLDS_WITHIN, ends)
        .await
        .expect("the change holds in time");
    changed.elapsed()
}

/// S22
#[tokio::test]
async fn whoever_may_no_longer_is_cut_off_from_open_streams_and_requests() {
    let app = TestApp::start().await;
    let app = &app;
    let change = async |id: i64, patch: serde_json::Value| {
        let answer = app.with_json("PUT", &format!("/api/users/{id}"), &patch).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    };
    let disabled = async {
        let (id, token) = operator(app, "disabled").await;
        lasted(app, &token, change(id, json!({"disabled": true}))).await
    };
    let demoted = async {
        let (id, token) = operator(app, "demoted").await;
        lasted(app, &token, change(id, json!({"role": "viewer"}))).await
    };
    let new_password = async {
        let (id, token) = operator(app, "password").await;
        lasted(app, &token, change(id, json!({"password": "a longer password"}))).await
    };
    let logged_out = async {
        let (_, token) = operator(app, "logout").await;
        let logout = async {
            app.send(app.as_bearer("POST", "/api/auth/logout", &token)).await;
        };
        lasted(app, &token, logout).await
    };
    let removed = async {
        let (id, token) = operator(app, "removed").await;
        let remove = async {
            app.call("DELETE", &format!("/api/users/{id}")).await;
        };
        lasted(app, &token, remove).await
    };
    let token_deleted = async {
        let (_, session) = operator(app, "token").await;
        let mut make = app.as_bearer("POST", "/api/tokens", &session);
        make.headers_mut()
            .insert("content-type", "application/json".parse().unwrap());
        *make.body_mut() = Body::from(json!({"name": "x", "scopes": ["operate"]}).to_string());
        let made = app.send(make).await.json();
        let delete = async {
            let uri = format!("/api/tokens/{}", made["id"]);
            app.send(app.as_bearer("DELETE", &uri, &session)).await;
        };
        lasted(app, made["token"].as_str().unwrap(), delete).await
    };
    let (a, b, c) = tokio::join!(disabled, demoted, new_password);
    let (d, e, f) = tokio::join!(logged_out, removed, token_deleted);
    let slowest = [a, b, c, d, e, f].into_iter().max().unwrap();
    println!("S22: every change held within {slowest:?}");
}

/// S22
#[tokio::test]
async fn a_stream_goes_on_for_whoever_still_may() {
    let app = TestApp::start().await;
    let (_, token) = operator(&app, "ann").await;
    let streaming = router(&app)
        .oneshot(app.as_bearer("GET", "/stream", &token))
        .await
        .unwrap();
    let mut body = streaming.into_body().into_data_stream();
    assert!(body.next().await.is_some());
    let ended = tokio::time::timeout(Duration::from_secs(5), body.next()).await;
    assert!(ended.is_err(), "{ended:?}");
}
