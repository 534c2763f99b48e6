//! Telling people of updates: a notice that is kept, handed to the channels that the policy names.

use std::collections::BTreeMap;

use muster_alert::{
    AlertRef, Notification, NotificationKind, ResourceRef, RuleRef, ServerRef, Severity, TEXT_CHARS_MAX,
    TITLE_CHARS_MAX,
};
use muster_model::ResourceKind;
use muster_update::Policy;

use super::{NoticeBody, Update, UpdateError, Updates, model};
use crate::store::{NoticeRow, UpdateWrite};

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// There is something new.
    Available,
    /// It was begun.
    Start,
    /// It is done.
    Success,
    /// It is not.
    Failure,
    /// Nobody knows whether it is.
    Unknown,
}

impl Event {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Available => "available",
            Self::Start => "start",
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Unknown => "unknown",
        }
    }

    const fn severity(self) -> Severity {
        match self {
            Self::Available | Self::Start | Self::Success => Severity::Info,
            Self::Failure | Self::Unknown => Severity::Warning,
        }
    }

    const fn kind(self) -> NotificationKind {
        match self {
            Self::Success => NotificationKind::Resolved,
            Self::Available | Self::Start | Self::Failure | Self::Unknown => NotificationKind::Firing,
        }
    }
}

impl Updates {
    /// Writes a notice and hands it to the channels, if the policy wants people to be told.
    pub(super) async fn notify(
        &self,
        event: Event,
        update: &Update,
        history_id: Option<i64>,
        policy: Option<&Policy>,
        message: &str,
    ) -> Result<(), UpdateError> {
        let Some(policy) = policy.filter(|policy| policy.tells_of(event.as_str())) else {
            return Ok(());
        };
        let names = self.app().server_names().await?;
        let server = names.get(&muster_base::id::ServerId(update.server_id));
        let server = server.map(|server| ServerRef {
            id: update.server_id,
            name: server.hostname.clone(),
            tags: server.tags.clone(),
        });
        let now_ms = self.now_ms();
        let notification = news(event, update, server, policy, message, now_ms);
        let body = NoticeBody {
            notification_type: event.as_str().to_owned(),
            title: notification.title.clone(),
            message: notification.text.clone(),
            severity: event.severity().as_str().to_owned(),
            channels: policy.body.notification_channels.clone(),
            status: "sent".to_owned(),
            delivery: notification.id.clone(),
        };
        let store = self.app().store();
        // Handed over first: a notice that says it was sent is.
        store
            .put_news(&notification, &policy.body.notification_channels, now_ms)
            .await?;
        let row = NoticeRow {
            id: 0,
            container_id: Some(update.container_id),
            update_history_id: history_id,
            body: model::write(&body)?,
            created_ms: now_ms,
        };
        store.write_updates(&[UpdateWrite::Notice(row)]).await?;
        Ok(())
    }
}

fn title(event: Event, update: &Update, hostname: &str) -> String {
    let name = &update.body.container_name;
    let what = match event {
        Event::Available => "can be updated",
        Event::Start => "is being updated",
        Event::Success => "was updated",
        Event::Failure => "could not be updated",
        Event::Unknown => "may or may not have been updated",
    };
    let title = format!("{name} on {hostname} {what} to {}", update.body.to_image);
    title
        .chars()
        .filter(|letter| !letter.is_control())
        .take(TITLE_CHARS_MAX)
        .collect()
}

/// What channels are told.
fn news(
    event: Event,
    update: &Update,
    server: Option<ServerRef>,
    policy: &Policy,
    message: &str,
    now_ms: i64,
) -> Notification {
    let hostname = server.as_ref().map_or("", |server| server.name.as_str());
    Notification {
        id: format!("update-{}-{}-{}", update.id, update.body.attempts, event.as_str()),
        kind: event.kind(),
        rule: RuleRef {
            id: 0,
            name: policy.body.name.clone(),
        },
        alert: AlertRef {
            id: 0,
            key: format!("update-{}", update.id),
        },
        title: title(event, update, hostname),
        server,
        resource: Some(ResourceRef {
            id: update.container_id,
            kind: ResourceKind::Container,
            name: update.body.container_name.clone(),
        }),
        severity: event.severity(),
        text: message.chars().take(TEXT_CHARS_MAX).collect(),
        metric: "muster_container_update_available".to_owned(),
        value: None,
        threshold: None,
        condition: String::new(),
        unit: String::new(),
        started_ms: update.body.begun_ms.unwrap_or(update.created_ms),
        ended_ms: (event == Event::Success).then_some(now_ms),
        at_ms: now_ms,
        is_late: false,
        by: update.body.begun_by.clone(),
        note: update.body.note.clone(),
        affected: Vec::new(),
        affected_more: 0,
        runbook: update.body.release_notes.clone(),
        template: None,
        labels: BTreeMap::new(),
        links: Vec::new(),
    }
}
