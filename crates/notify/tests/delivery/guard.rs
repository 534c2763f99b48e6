//! S23: what channels must not be able to reach.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use muster_notify::{
    Channel, Courier, Guard, Kind, Network, Options, Outcome, Resolve, Roots, SystemResolver,
};
use serde_json::json;

use super::sink::Sink;
use super::{NOW_MS, channel, firing, secrets};

/// A name server that answers with a good address the first time, and with this machine's the next.
struct Rebinding {
    asked: AtomicUsize,
    answers: Vec<Vec<SocketAddr>>,
}

#[async_trait]
impl Resolve for Rebinding {
    async fn resolve(&self, _name: &str, _port: u16) -> io::Result<Vec<SocketAddr>> {
        let at = self.asked.fetch_add(1, Ordering::SeqCst);
        Ok(self.answers[at.min(self.answers.len() - 1)].clone())
    }
}

fn webhook(url: &str) -> Channel {
    let pairs = [("url", url), ("signing_key", "a-key-of-at-least-24-bytes")];
    channel(Kind::Webhook, &json!({"allow_unencrypted": true}), &pairs)
}

async fn attempt(resolver: Arc<dyn Resolve>, guard: Guard, channel: &Channel) -> muster_notify::Attempt {
    let courier = Courier::new(Network::new(resolver, guard), Roots::of_the_system());
    channel.deliver(&courier, "id", &[firing()], NOW_MS).await
}

/// S23
#[tokio::test]
async fn no_spelling_of_this_machine_is_connected_to() {
    let sink = Sink::start(Vec::new()).await;
    let port = sink.address.port();
    let mut tried = 0;
    for host in [
        "127.0.0.1",
        "localhost",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "0",
        "0.0.0.0",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::127.0.0.1]",
        "127.0.0.1.",
        "127。0。0。1",
    ] {
        let url = format!("http://{host}:{port}/");
        let attempt = attempt(Arc::new(SystemResolver), Guard::default(), &webhook(&url)).await;
        assert_ne!(attempt.outcome, Outcome::Delivered, "{host}");
        tried += 1;
    }
    println!("spellings tried: {tried}, connections: {}", sink.connections());
    assert_eq!(sink.connections(), 0);
}

/// S23
#[tokio::test]
async fn a_name_that_turns_into_this_machine_is_not_connected_to() {
    let sink = Sink::start(Vec::new()).await;
    let here = sink.address;
    let channel = webhook(&format!("http://rebind.example.org:{}/", here.port()));
    // Whatever a look-up before would have said: the answer that counts is the one that is connected to.
    for answers in [
        vec![vec![here]],
        vec![vec![]],
        vec![vec![SocketAddr::from(([169, 254, 169, 254], 80)), here]],
    ] {
        let resolver = Arc::new(Rebinding {
            asked: AtomicUsize::new(0),
            answers,
        });
        let attempt = attempt(resolver.clone(), Guard::default(), &channel).await;
        assert_ne!(attempt.outcome, Outcome::Delivered);
        assert_eq!(
            resolver.asked.load(Ordering::SeqCst),
            1,
            "a name is resolved once for each attempt"
        );
    }
    assert_eq!(sink.connections(), 0);
}

/// S23
#[tokio::test]
async fn a_mail_server_on_this_machine_must_be_allowed_too() {
    let sink = Sink::start(Vec::new()).await;
    let settings = json!({
        "host": "127.0.0.1", "port": sink.address.port(), "encryption": "none", "allow_unencrypted": true,
        "from": "muster@example.org", "to": ["admin@example.org"],
    });
    let mail = Channel::build(Kind::Email, &settings, secrets(&[]), Options::default()).unwrap();
    let attempt = attempt(Arc::new(SystemResolver), Guard::default(), &mail).await;
    assert_eq!(attempt.outcome, Outcome::Permanent);
    assert!(attempt.answer.contains("loopback"), "{}", attempt.answer);
    assert_eq!(sink.connections(), 0);
}

#[tokio::test]
async fn what_the_administrator_allows_is_reached() {
    let sink = Sink::start(Vec::new()).await;
    let resolver = Arc::new(Rebinding {
        asked: AtomicUsize::new(0),
        // The first address is refused, the second is allowed.
        answers: vec![vec![SocketAddr::from(([169, 254, 169, 254], 80)), sink.address]],
    });
    let guard = Guard::new(vec!["127.0.0.1/32".parse().unwrap()]);
    let channel = webhook(&format!("http://hooks.example.org:{}/", sink.address.port()));
    let attempt = attempt(resolver, guard, &channel).await;
    assert_eq!(attempt.outcome, Outcome::Delivered, "{attempt:?}");
    assert_eq!(
        sink.only().header("host"),
        format!("hooks.example.org:{}", sink.address.port())
    );
}
