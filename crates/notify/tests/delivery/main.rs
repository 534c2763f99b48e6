//! Channels against real other sides: HTTP servers that remember every byte, and an SMTP server.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail them")]

mod guard;
mod mail;
mod services;
mod settings;
mod sink;
mod smtp;
mod webhook;

use std::net::SocketAddr;
use std::sync::Arc;

use muster_alert::{Notification, NotificationKind};
use muster_notify::{
    Attempt, Channel, Courier, Guard, Kind, Network, Options, Roots, Secret, Secrets, SystemResolver,
};
use serde_json::Value;

/// When all of it happens, Unix ms.
const NOW_MS: i64 = 1_763_820_725_000;

/// A hot disk.
fn firing() -> Notification {
    serde_json::from_str(include_str!("../fixtures/firing.json")).unwrap()
}

/// The same as another kind of news.
fn news_of(kind: NotificationKind) -> Notification {
    let mut news = firing();
    news.kind = kind;
    news.ended_ms = (kind == NotificationKind::Resolved).then_some(news.at_ms);
    news
}

/// One that may connect to this machine.
fn courier() -> Courier {
    courier_with(Roots::of_the_system())
}

fn courier_with(roots: Roots) -> Courier {
    let guard = Guard::new(vec!["127.0.0.0/8".parse().unwrap()]);
    Courier::new(Network::new(Arc::new(SystemResolver), guard), roots)
}

fn secrets(pairs: &[(&str, &str)]) -> Secrets {
    let mut secrets = Secrets::default();
    for (name, text) in pairs {
        secrets.set(*name, Secret::new(*text));
    }
    secrets
}

fn channel(kind: Kind, settings: &Value, pairs: &[(&str, &str)]) -> Channel {
    Channel::build(kind, settings, secrets(pairs), Options::default()).unwrap()
}

/// Tells a channel of these news.
async fn deliver(channel: &Channel, news: &[Notification]) -> Attempt {
    channel.deliver(&courier(), "a17-2.c5", news, NOW_MS).await
}

fn http(address: SocketAddr, path: &str) -> String {
    format!("http://{address}{path}")
}
