//! Webhooks: what is signed, and how the client behaves towards any HTTP server.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use muster_alert::Notification;
use muster_notify::{Blame, Channel, Kind, Options, Outcome, Roots};
use rcgen::{CertificateParams, Issuer, KeyPair};
use ring::hmac;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket};

use super::sink::Sink;
use super::{NOW_MS, channel, courier, courier_with, deliver, firing, http, secrets};

const KEY: &str = "a-key-of-at-least-24-bytes";

fn webhook(url: &str) -> Channel {
    channel(
        Kind::Webhook,
        &json!({"allow_unencrypted": true}),
        &[("url", url), ("signing_key", KEY)],
    )
}

#[tokio::test]
async fn whoever_has_the_key_can_tell_that_we_sent_it_and_when() {
    let sink = Sink::start(Vec::new()).await;
    let url = http(sink.address, "/hook?tenant=1");
    let encoded = format!("whsec_{}", STANDARD.encode(KEY));
    let settings = json!({"allow_unencrypted": true});
    for key in [KEY, &encoded] {
        let pairs = [
            ("url", url.as_str()),
            ("signing_key", key),
            ("authorization", "Bearer canary"),
        ];
        let webhook = channel(Kind::Webhook, &settings, &pairs);
        assert_eq!(deliver(&webhook, &[firing()]).await.outcome, Outcome::Delivered);
    }
    let asked = sink.asked();
    assert_eq!(asked.len(), 2);
    for asked in &asked {
        assert_eq!(asked.line, "POST /hook?tenant=1");
        assert_eq!(asked.header("authorization"), "Bearer canary");
        assert_eq!(
            (asked.header("webhook-id"), asked.header("webhook-timestamp")),
            ("a17-2.c5", "1763820725")
        );
        let key = hmac::Key::new(hmac::HMAC_SHA256, KEY.as_bytes());
        let signed = [b"a17-2.c5.1763820725.", asked.body.as_slice()].concat();
        let signature = STANDARD
            .decode(asked.header("webhook-signature").strip_prefix("v1,").unwrap())
            .unwrap();
        hmac::verify(&key, &signed, &signature).unwrap();
        let body = asked.json();
        assert_eq!(body["type"], "alert.firing");
        let inside: Notification = serde_json::from_value(body["data"]["notification"].clone()).unwrap();
        assert_eq!(inside, firing());
    }
}

/// S23
#[tokio::test]
async fn a_redirect_is_not_followed() {
    let trap = Sink::start(Vec::new()).await;
    for status in [301, 302, 303, 307, 308] {
        let location = vec![("location", http(trap.address, "/metadata"))];
        let sink = Sink::start(vec![(status, location, String::new())]).await;
        let attempt = deliver(&webhook(&http(sink.address, "/")), &[firing()]).await;
        assert_eq!(attempt.outcome, Outcome::Permanent);
        assert!(
            attempt.answer.contains("redirects are not followed"),
            "{}",
            attempt.answer
        );
    }
    println!("connections to where redirects pointed: {}", trap.connections());
    assert_eq!(trap.connections(), 0);
}

#[tokio::test]
async fn a_busy_server_says_for_how_long() {
    let told = vec![
        (503, vec![("retry-after", "30".to_owned())], String::new()),
        (500, Vec::new(), "oops".to_owned()),
        (410, Vec::new(), String::new()),
    ];
    let sink = Sink::start(told).await;
    let webhook = webhook(&http(sink.address, "/"));
    let retry_after = Some(Duration::from_secs(30));
    let blame = Blame::Channel;
    assert_eq!(
        deliver(&webhook, &[firing()]).await.outcome,
        Outcome::Temporary { blame, retry_after }
    );
    let attempt = deliver(&webhook, &[firing()]).await;
    let blame = Blame::Message;
    assert_eq!(
        attempt.outcome,
        Outcome::Temporary {
            blame,
            retry_after: None
        }
    );
    assert_eq!(attempt.answer, "500 oops");
    assert_eq!(deliver(&webhook, &[firing()]).await.outcome, Outcome::Permanent);
}

#[tokio::test]
async fn an_answer_without_end_is_read_up_to_a_bound() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut asked = [0; 16_384];
        let _ = stream.read(&mut asked).await;
        let _ = stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n")
            .await;
        let mut written = 0_u64;
        while stream.write_all(&[b'x'; 4_096]).await.is_ok() {
            written += 4_096;
        }
        written
    });
    let attempt = deliver(&webhook(&http(address, "/")), &[firing()]).await;
    assert_eq!(attempt.outcome, Outcome::Delivered);
    assert!(attempt.answer.len() <= muster_notify::ANSWER_BYTES_MAX);
    let written = serving.await.unwrap();
    println!("bytes written before we hung up: {written}");
    assert!(written < 100_000_000);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_is_given_up_on() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    // Takes connections and says nothing. Its end of the connection must stay open.
    let _silent = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok(connection) = listener.accept().await {
            held.push(connection);
        }
    });
    let began = tokio::time::Instant::now();
    let attempt = deliver(&webhook(&http(address, "/")), &[firing()]).await;
    assert!(
        matches!(
            attempt.outcome,
            Outcome::Temporary {
                blame: Blame::Channel,
                ..
            }
        ),
        "{attempt:?}"
    );
    println!("given up after {:?}", began.elapsed());
    assert!(began.elapsed() <= Duration::from_secs(60));
}

#[tokio::test]
async fn a_port_nobody_listens_on_is_a_passing_failure_that_names_no_secret() {
    // Bound, so that nobody else gets the port, and not listening.
    let held = TcpSocket::new_v4().unwrap();
    held.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let free = held.local_addr().unwrap();
    let began = Instant::now();
    let attempt = deliver(&webhook(&http(free, "/canary-path")), &[firing()]).await;
    assert!(
        matches!(
            attempt.outcome,
            Outcome::Temporary {
                blame: Blame::Channel,
                ..
            }
        ),
        "{attempt:?}"
    );
    assert!(!attempt.answer.contains("canary"), "{}", attempt.answer);
    assert!(began.elapsed() < Duration::from_secs(30));
}

/// An authority, and a server's certificate of it for 127.0.0.1.
fn pki() -> (String, tokio_rustls::TlsAcceptor) {
    let ca_key = KeyPair::generate().unwrap();
    let mut ca_params = CertificateParams::new(Vec::new()).unwrap();
    ca_params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca = ca_params.self_signed(&ca_key).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let issuer = Issuer::new(ca_params, ca_key);
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    (
        ca.pem(),
        tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config)),
    )
}

#[tokio::test]
async fn nothing_is_sent_to_a_server_whose_certificate_nobody_vouches_for() {
    let (authority, acceptor) = pki();
    let sink = Sink::start_with(Vec::new(), Some(acceptor)).await;
    let url = format!("https://{}/hook", sink.address);
    let pairs = secrets(&[("url", &url), ("signing_key", KEY)]);
    let webhook = Channel::build(Kind::Webhook, &json!({}), pairs, Options::default()).unwrap();
    let attempt = webhook.deliver(&courier(), "id", &[firing()], NOW_MS).await;
    assert!(
        matches!(attempt.outcome, Outcome::Temporary { .. }),
        "{attempt:?}"
    );
    assert!(attempt.answer.contains("agree on TLS"), "{}", attempt.answer);
    assert_eq!(sink.asked().len(), 0);
    let trusting = courier_with(Roots::of_pem(&authority).unwrap());
    let attempt = webhook.deliver(&trusting, "id", &[firing()], NOW_MS).await;
    assert_eq!(attempt.outcome, Outcome::Delivered, "{attempt:?}");
    assert_eq!(sink.only().line, "POST /hook");
}
