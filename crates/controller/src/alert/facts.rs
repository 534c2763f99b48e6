//! What the controller itself knows of servers and resources, as numbers for rules.

use muster_alert::rule;
use muster_model::Health;

use crate::app::servers::ServerView;
use crate::app::status::ServerStatus;

/// Whether the controller hears from a server; `None` if it is silent, but not for long enough to say anything.
const fn is_connected(server: &ServerView) -> Option<bool> {
    match server.status {
        ServerStatus::Online | ServerStatus::Failing => Some(true),
        ServerStatus::Offline => Some(false),
        ServerStatus::Late | ServerStatus::NeverSeen | ServerStatus::Disabled => None,
    }
}

/// What is known of a server now: names of facts and their numbers. `certificate` is when the newest certificate of
/// its agent ends and how long such a certificate counts, both in ms.
pub(super) fn of_server(
    server: &ServerView,
    certificate: Option<(i64, i64)>,
    now_ms: i64,
) -> Vec<(&'static str, f64)> {
    let mut facts = Vec::with_capacity(3);
    let is_connected = is_connected(server);
    if let Some(is_connected) = is_connected {
        facts.push((rule::IS_CONNECTED, if is_connected { 1.0 } else { 0.0 }));
    }
    if let Some(skew_ms) = server.clock_skew_ms {
        facts.push((rule::CLOCK_SKEW, skew_ms.unsigned_abs() as f64 / 1_000.0));
    }
    if let Some((ends_ms, whole_ms)) = certificate
        && is_connected == Some(true)
    {
        let percent = (100.0 * (ends_ms - now_ms) as f64 / whole_ms as f64).min(100.0);
        facts.push((rule::CERTIFICATE_REMAINING, percent));
    }
    facts
}

/// The number of a health; unknown has none.
pub(super) const fn of_health(health: Health) -> f64 {
    match health {
        Health::Healthy => 0.0,
        Health::Unknown => f64::NAN,
        Health::Warning => 1.0,
        Health::Critical => 2.0,
        Health::Failed => 3.0,
    }
}
