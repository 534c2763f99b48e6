//! News for tests.

use muster_alert::{Notification, NotificationKind};

/// A hot disk.
pub(crate) fn firing() -> Notification {
    serde_json::from_str(include_str!("../tests/fixtures/firing.json")).unwrap()
}

/// The same disk when it is cool again.
pub(crate) fn resolved() -> Notification {
    let mut news = firing();
    news.id = "a17-3".to_owned();
    news.kind = NotificationKind::Resolved;
    news.ended_ms = Some(news.at_ms);
    news
}
