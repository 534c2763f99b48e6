//! Bounds on what a request may take: time, number, panics, slow connections, shutdown.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Extension;
use axum::http::{Request, StatusCode};
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use muster_base::shutdown::CancellationToken;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tower::ServiceExt as _;

use super::harness::TestApp;
use crate::http::middleware::{REQUESTS_MAX, surround};
use crate::http::{Peer, serve};

async fn ask(router: Router, uri: &str) -> (StatusCode, String) {
    let request = Request::builder().uri(uri).body(Body::empty()).unwrap();
    let response = router.oneshot(request).await.unwrap();
    let status = response.status();
    let body = axum::body::to_bytes(response.into_body(), usize::MAX)
        .await
        .unwrap();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    (status, body["code"].as_str().unwrap().to_owned())
}

async fn fails() -> StatusCode {
    panic!("as the test wants it");
}

async fn hangs() -> StatusCode {
    std::future::pending().await
}

fn surrounded(app: &TestApp) -> Router {
    Router::new()
        .route("/fails", get(fails))
        .route("/hangs", get(hangs))
        .layer(from_fn_with_state(app.state.clone(), surround))
}

#[tokio::test]
async fn a_panic_is_a_problem_and_not_a_broken_connection() {
    let app = TestApp::start().await;
    let answer = ask(surrounded(&app), "/fails").await;
    assert_eq!(answer, (StatusCode::INTERNAL_SERVER_ERROR, "internal".to_owned()));
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_ended() {
    let app = TestApp::start().await;
    tokio::time::pause();
    let answer = ask(surrounded(&app), "/hangs").await;
    assert_eq!(answer, (StatusCode::GATEWAY_TIMEOUT, "timed_out".to_owned()));
}

#[tokio::test]
async fn one_request_more_than_may_be_under_way_is_refused_at_once() {
    let app = TestApp::start().await;
    let all = u32::try_from(REQUESTS_MAX).unwrap();
    let held = app.state.requests.clone().acquire_many_owned(all).await.unwrap();
    let answer = app.get("/api/auth/me").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(
        (answer.code(), answer.header("retry-after")),
        ("overloaded".to_owned(), "1".to_owned())
    );
    drop(held);
    assert_eq!(app.get("/api/auth/me").await.status, StatusCode::OK);
}

/// Serves a router on a port of its own.
async fn served(router: Router) -> (TcpStream, CancellationToken, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let serving = tokio::spawn(serve(listener, None, router, shutdown.clone()));
    (TcpStream::connect(address).await.unwrap(), shutdown, serving)
}

#[tokio::test]
async fn a_connection_whose_head_does_not_arrive_is_closed() {
    let (mut stream, ..) = served(Router::new()).await;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n").await.unwrap();
    tokio::time::pause();
    let mut rest = Vec::new();
    // Closed with or without a word: what matters is that it ends.
    let ended = tokio::time::timeout(Duration::from_secs(60), stream.read_to_end(&mut rest)).await;
    assert!(ended.is_ok());
}

#[tokio::test]
async fn shutdown_lets_a_request_finish_that_is_under_way() {
    let begun = Arc::new(Notify::new());
    let go_on = Arc::new(Notify::new());
    let (has_begun, may_go_on) = (Arc::clone(&begun), Arc::clone(&go_on));
    let slow = move || async move {
        has_begun.notify_one();
        may_go_on.notified().await;
        "done"
    };
    let (mut stream, shutdown, serving) = served(Router::new().route("/", get(slow))).await;
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    begun.notified().await;
    shutdown.cancel();
    go_on.notify_one();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("done"),
        "{answer}"
    );
    serving.await.unwrap();
}

#[tokio::test]
async fn a_router_is_served_over_tls_and_knows_it() {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let made = rcgen::generate_simple_self_signed(["muster.example".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let certificate = made.cert.der().clone();
    let tls = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let is_tls = async |Extension(peer): Extension<Peer>| peer.is_tls.to_string();
    let router = Router::new().route("/", get(is_tls));
    tokio::spawn(serve(
        listener,
        Some(Arc::new(tls)),
        router,
        CancellationToken::new(),
    ));

    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).unwrap();
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(client));
    let name = rustls::pki_types::ServerName::try_from("muster.example").unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    let mut stream = connector.connect(name, stream).await.unwrap();
    let request = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("true"), "{answer}");
}

/// Every body that no route takes, with what is wrong with it.
fn bad_bodies() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let json = "application/json";
    let form = "application/x-www-form-urlencoded";
    let nested = |open: &str, close: &str| {
        [open.repeat(100_000), close.repeat(100_000)]
            .concat()
            .into_bytes()
    };
    let mut bodies = vec![
        ("nothing", json, Vec::new()),
        ("half an object", json, b"{".to_vec()),
        ("invalid UTF-8", json, b"{\"username\": \"\xff\xfe\", \"hostname\": \"\xff\"}".to_vec()),
        ("an unpaired surrogate", json, br#"{"username": "\ud800", "hostname": "\ud800", "name": "\ud800"}"#.to_vec()),
        ("deep arrays", json, nested("[", "]")),
        ("deep objects", json, nested("{\"a\":", "}")),
        ("2 MiB", json, format!("{{\"hostname\":\"{}\"}}", "x".repeat(2 * 1024 * 1024)).into_bytes()),
        ("a byte order mark", json, b"\xef\xbb\xbf{}".to_vec()),
        ("UTF-16", json, b"{\0}\0".to_vec()),
        ("a number beyond all", json, br#"{"expires_in": 1e999, "ssh_port": 1e999, "disabled": 1e999, "username": 1e999, "current_password": 1e999}"#.to_vec()),
        ("text", "text/plain", b"{}".to_vec()),
        ("another media type", "application/xml", b"{}".to_vec()),
        ("invalid UTF-8 in a form", form, b"username=%ff%fe&password=%c0%80".to_vec()),
        ("a form with half a percent code", form, b"username=%&password=%z".to_vec()),
    ];
    for value in ["null", "true", "0", "-1", "1e308", "\"text\"", "[]", "[{}]"] {
        bodies.push(("the wrong type", json, value.as_bytes().to_vec()));
        let mistyped = format!(
            "{{\"username\":[{value}],\"password\":{{\"a\":{value}}},\"hostname\":[{value}],\"name\":[{value}],\
             \"role\":[{value}],\"scopes\":{{\"a\":{value}}},\"current_password\":[{value}],\"new_password\":[{value}],\
             \"tags\":{{\"a\":{value}}}}}"
        );
        bodies.push(("wrong types inside", json, mistyped.into_bytes()));
    }
    bodies
}

#[tokio::test]
async fn every_bad_body_is_refused_by_every_route_with_a_problem() {
    let app = TestApp::start().await;
    let token = app.login().await;
    let takes_a_body = ["POST", "PUT", "PATCH"];
    let mut refused = 0;
    for declared in &app.table {
        let method = declared.method.as_str();
        // What takes no body looks at none, and pages answer people.
        let takes_none = ["/logout", "/collect"]
            .iter()
            .any(|end| declared.path.ends_with(end));
        if !takes_a_body.contains(&method) || takes_none || !declared.path.starts_with("/api") {
            continue;
        }
        let can_do_without = [
            "/acknowledge-all",
            "/resolve-all",
            "/alert-rules/{id}/test",
            "/updates/check",
            "/commands/rotate-key",
        ]
        .iter()
        .any(|end| declared.path.ends_with(end));
        for (n, (what, content_type, body)) in bad_bodies().into_iter().enumerate() {
            // An empty body is as good as none there, and an empty object is one in whatever type.
            if can_do_without && (body.is_empty() || body == b"{}") {
                continue;
            }
            let uri = declared.path.replace("{id}", "1");
            let mut request = app.as_bearer(method, &uri, &token);
            request
                .headers_mut()
                .insert("content-type", content_type.parse().unwrap());
            *request.body_mut() = Body::from(body);
            let from = std::net::IpAddr::from([10, 2, 0, u8::try_from(n).unwrap()]);
            let answer = app.send_from(from, request).await;
            let place = format!("{method} {uri} with {what}: {} {}", answer.status, answer.text());
            // A form is what a login takes: there the words in it are wrong.
            assert!(answer.status.is_client_error(), "{place}");
            assert_eq!(
                answer.header("content-type"),
                "application/problem+json",
                "{place}"
            );
            assert!(!answer.code().is_empty(), "{place}");
            refused += 1;
        }
    }
    println!("bad bodies: {refused} refused, none of them by a 5xx");
    assert!(100 < refused);
}

#[tokio::test]
async fn ids_that_lead_elsewhere_name_nothing() {
    let app = TestApp::start().await;
    let ids = [
        "..",
        "%2e%2e",
        "..%2f..%2fetc%2fpasswd",
        "%00",
        "%ff%fe",
        "1%00",
        "1;",
        "1'--",
        "9223372036854775808",
        "-1",
        "0",
        "1.0",
        "%F0%9F%92%A9",
    ];
    for declared in &app.table {
        if !declared.path.contains("{id}")
            || declared.path.starts_with("/servers")
            || declared.path.starts_with("/devices")
        {
            continue;
        }
        for id in ids {
            let uri = declared.path.replace("{id}", id);
            let answer = app.call(declared.method.as_str(), &uri).await;
            let place = format!("{} {uri}: {} {}", declared.method, answer.status, answer.text());
            assert!(answer.status.is_client_error(), "{place}");
            assert!(!answer.code().is_empty(), "{place}");
        }
    }
}
