//! Containers, updates, policies and roll-outs as the API shows them.

use std::collections::HashMap;
use std::sync::Arc;

use muster_base::id::ServerId;
use muster_model::{CommandState, CommandStatus};
use muster_update::{Candidate, Decision, MemberState, Policy, Window};
use serde_json::{Value, json};

use crate::app::resources::ResourceView;
use crate::app::servers::ServerName;
use crate::http::HttpState;
use crate::http::error::Problem;
use crate::http::extract::rfc3339;
use crate::update::{
    CheckRound, Forgotten, Freeze, History, Judged, Kept, KeptRollout, Notice, Seen, Update, UpdateState,
};

/// Names of servers, and numbers of runtimes.
pub(super) struct Names {
    servers: Arc<HashMap<ServerId, ServerName>>,
    hosts: HashMap<(ServerId, String), i64>,
}

impl Names {
    pub(super) async fn of(state: &HttpState) -> Result<Self, Problem> {
        let runtimes = state.updates.runtimes().await?;
        let hosts = runtimes
            .into_iter()
            .map(|runtime| ((runtime.view.server, runtime.view.key), runtime.view.id.0));
        Ok(Self {
            servers: state.app.server_names().await?,
            hosts: hosts.collect(),
        })
    }

    fn hostname(&self, server: ServerId) -> &str {
        self.servers
            .get(&server)
            .map_or("", |name| name.hostname.as_str())
    }
}

fn time(ms: Option<i64>) -> Value {
    ms.map_or(Value::Null, |ms| json!(rfc3339(ms)))
}

/// Whether there is something new; `None` if that cannot be told.
pub(super) const fn is_available(candidate: &Candidate) -> Option<bool> {
    match candidate {
        Candidate::Unknown(_) => None,
        Candidate::Current => Some(false),
        Candidate::Available(_) => Some(true),
    }
}

/// The word of its status.
pub(super) fn status(seen: &Seen) -> &str {
    match seen.view.attributes.get("status") {
        Some(muster_model::Attribute::Text(word)) => word,
        _ => "unknown",
    }
}

fn attributes(view: &ResourceView) -> Value {
    let mut shown = serde_json::Map::new();
    for (name, value) in &view.attributes {
        if !name.ends_with("_raw") {
            shown.insert(name.clone(), serde_json::to_value(value).unwrap_or_default());
        }
    }
    Value::Object(shown)
}

/// A container.
pub(super) fn container(seen: &Seen, candidate: Option<&Candidate>, names: &Names) -> Value {
    let view = &seen.view;
    let mut shown = attributes(view);
    let host = names
        .hosts
        .get(&(view.server, seen.target.runtime.as_str().to_owned()));
    shown["id"] = json!(view.id.0);
    shown["host_id"] = json!(host);
    shown["server_id"] = json!(view.server);
    shown["hostname"] = json!(names.hostname(view.server));
    shown["name"] = json!(view.name);
    shown["key"] = json!(view.key);
    shown["status"] = json!(status(seen));
    shown["health"] = json!(view.health.as_str());
    shown["health_reasons"] = json!(view.health_reasons);
    shown["labels"] = json!(seen.container.labels);
    shown["first_seen"] = json!(rfc3339(view.first_seen_ms));
    shown["last_changed"] = json!(rfc3339(view.observed_ms));
    let offer = match candidate {
        Some(Candidate::Available(offer)) => Some(offer),
        _ => None,
    };
    shown["update_available"] = json!(candidate.and_then(is_available));
    shown["update_unknown_because"] = match candidate {
        Some(Candidate::Unknown(why)) => json!(why),
        _ => Value::Null,
    };
    shown["available_tag"] = json!(offer.and_then(|offer| offer.tag()));
    shown["available_digest"] = json!(offer.map(|offer| &offer.digest));
    shown
}

/// A runtime.
pub(super) async fn host(state: &HttpState, view: &ResourceView) -> Result<Value, Problem> {
    let settings = state.updates.host_settings(view.id.0).await?;
    let server = state.app.server(view.server).await?;
    let mut shown = attributes(view);
    let endpoint = shown["endpoint"].clone();
    shown["id"] = json!(view.id.0);
    shown["key"] = json!(view.key);
    shown["server_id"] = json!(view.server);
    shown["hostname"] = json!(server.hostname);
    shown["name"] = json!(
        settings
            .name
            .unwrap_or_else(|| format!("{} on {}", view.name, server.hostname))
    );
    shown["description"] = json!(settings.description);
    shown["enabled"] = json!(settings.enabled.unwrap_or(true));
    shown["connection_type"] = json!("agent");
    shown["connection_string"] = endpoint;
    shown["server_status"] = json!(server.status.as_str());
    shown["last_seen"] = time(server.last_seen_ms);
    shown["created_at"] = json!(rfc3339(view.first_seen_ms));
    Ok(shown)
}

/// An update.
pub(super) fn update(update: &Update) -> Value {
    let body = &update.body;
    json!({
        "id": update.id,
        "server_id": update.server_id,
        "container_id": update.container_id,
        "container_name": body.container_name,
        "state": update.state,
        "from_image": body.from_image,
        "from_digest": body.from_digest,
        "to_image": body.to_image,
        "to_digest": update.digest,
        "change": body.change,
        "first_seen_at": time(body.first_seen_ms),
        "release_notes": body.release_notes,
        "decided_by": body.decided_by,
        "decided_at": time(body.decided_ms),
        "note": body.note,
        "refused": body.refused,
        "unknown": body.unknown,
        "unknown_since": time(body.unknown_since_ms),
        "attempts": body.attempts,
        "command_id": body.command_id,
        "is_rollback": body.is_rollback,
        "history_id": body.history_id,
        "rollout_id": body.rollout_id,
        "begun_by": body.begun_by,
        "begun_at": time(body.begun_ms),
        "created_at": rfc3339(update.created_ms),
        "updated_at": rfc3339(update.changed_ms),
    })
}

/// What somebody said of a container that is gone.
pub(super) fn forgotten(id: i64, said: Option<&Forgotten>) -> Value {
    json!({
        "id": id,
        "forgotten_by": said.map(|said| &said.by),
        "forgotten_at": time(said.map(|said| said.at_ms)),
    })
}

/// A round of asking registries.
pub(super) fn check_round(round: &CheckRound) -> Value {
    json!({
        "round": round.round,
        "state": round.state,
        "containers": round.containers,
        "images": round.images,
        "asked": round.asked,
        "failed": round.failed,
        "followed_by_another": round.is_followed,
        "error": round.error,
        "started_at": time(round.started_ms),
        "ended_at": time(round.ended_ms),
    })
}

/// A record, with the predecessor's names.
pub(super) fn history(record: &History) -> Value {
    let body = &record.body;
    let took = record
        .completed_ms
        .map(|completed| (completed - record.started_ms) / 1_000);
    let is_known = record.status != UpdateState::Unknown;
    let success = record
        .completed_ms
        .filter(|_| is_known)
        .map(|_| body.error_message.is_none());
    json!({
        "id": record.id,
        "server_id": record.server_id,
        "container_id": record.container_id,
        "container_name": body.container_name,
        "update_id": record.update_id,
        "update_type": body.update_type,
        "status": record.status,
        "success": success,
        "from_image": body.from_image,
        "from_tag": body.from_tag,
        "from_digest": body.from_digest,
        "to_image": body.to_image,
        "to_tag": body.to_tag,
        "to_digest": body.to_digest,
        "change": body.change,
        "error_message": body.error_message,
        "execution_log": body.execution_log,
        "result": body.result,
        "execution_duration_s": took,
        "triggered_by": body.triggered_by,
        "rollback_available": record.status == UpdateState::Completed && body.update_type == "update",
        "rolled_back": body.rolled_back,
        "rolled_back_at": time(body.rolled_back_ms),
        "command_id": body.command_id,
        "policy_id": body.policy_id,
        "rollout_id": body.rollout_id,
        "dry_run": false,
        "started_at": rfc3339(record.started_ms),
        "completed_at": time(record.completed_ms),
    })
}

/// A notice, with the predecessor's names.
pub(super) fn notice(notice: &Notice) -> Value {
    let body = &notice.body;
    json!({
        "id": notice.id,
        "container_id": notice.container_id,
        "update_history_id": notice.update_history_id,
        "notification_type": body.notification_type,
        "title": body.title,
        "message": body.message,
        "severity": body.severity,
        "channels": body.channels,
        "status": body.status,
        "delivery": body.delivery,
        "sent_at": rfc3339(notice.created_ms),
        "created_at": rfc3339(notice.created_ms),
    })
}

fn kept<T>(kept: &Kept<T>, id: i64, body: Result<Value, serde_json::Error>) -> Value {
    let mut shown = body.unwrap_or_default();
    shown["id"] = json!(id);
    shown["created_at"] = json!(rfc3339(kept.created_ms));
    shown["updated_at"] = json!(rfc3339(kept.updated_ms));
    shown["updated_by"] = json!(kept.updated_by);
    shown
}

/// A policy.
pub(super) fn policy(one: &Kept<Policy>) -> Value {
    let policy = &one.document;
    let mut shown = kept(one, policy.id, serde_json::to_value(&policy.body));
    shown["enabled"] = json!(policy.is_enabled());
    shown["priority"] = json!(policy.priority());
    shown["limit"] = json!(policy.limit());
    shown
}

/// A window.
pub(super) fn window(one: &Kept<Window>) -> Value {
    let window = &one.document;
    let mut shown = kept(one, window.id, serde_json::to_value(&window.body));
    shown["enabled"] = json!(window.is_enabled());
    shown
}

/// The freeze switch.
pub(super) fn freeze(freeze: &Freeze) -> Value {
    let changed = (0 < freeze.changed_ms).then_some(freeze.changed_ms);
    json!({"frozen": freeze.frozen, "reason": freeze.reason, "by": freeze.by, "changed_at": time(changed)})
}

/// A roll-out.
pub(super) fn rollout(kept: &KeptRollout, with_members: bool) -> Value {
    let rollout = &kept.rollout;
    let count = |state: MemberState| {
        rollout
            .members
            .iter()
            .filter(|member| member.state == state)
            .count()
    };
    let mut shown = json!({
        "id": kept.id,
        "name": rollout.name,
        "state": rollout.state,
        "reason": rollout.reason,
        "waves": rollout.waves,
        "wave": rollout.wave + 1,
        "soak_s": rollout.soak_ms / 1_000,
        "wave_began_at": time(rollout.wave_began_ms),
        "soak_began_at": time(rollout.soak_began_ms),
        "total": rollout.members.len(),
        "waiting": count(MemberState::Waiting),
        "started": count(MemberState::Started),
        "completed": count(MemberState::Completed),
        "failed": count(MemberState::Failed),
        "skipped": count(MemberState::Skipped),
        "created_by": kept.created_by,
        "created_at": rfc3339(kept.created_ms),
        "updated_at": rfc3339(kept.changed_ms),
    });
    if with_members {
        let members = rollout.members.iter().map(|member| {
            json!({
                "update_id": member.update_id, "container_id": member.container_id,
                "server_id": member.server_id, "wave": member.wave + 1, "state": member.state,
            })
        });
        shown["members"] = members.collect();
    }
    shown
}

/// Why a container is (not) updated.
pub(super) fn judged(judged: &Judged) -> Value {
    let explanation = &judged.explanation;
    let (because, until) = match &explanation.decision {
        Decision::Unknown(reason) => (vec![reason.clone()], None),
        Decision::Blocked(reasons) | Decision::Held(reasons) => (reasons.clone(), None),
        Decision::WaitsForWindow(until) => (Vec::new(), *until),
        Decision::UpToDate | Decision::NeedsApproval | Decision::Ready => (Vec::new(), None),
    };
    json!({
        "container_id": judged.seen.container.id,
        "name": judged.seen.container.name,
        "image": judged.seen.container.image,
        "decision": explanation.decision.as_str(),
        "because": because,
        "until": time(until),
        "mode": explanation.mode,
        "change": explanation.change,
        "policy_id": explanation.policy_id,
        "update_available": is_available(&judged.candidate),
        "update": judged.update.as_ref().map(update),
        "steps": explanation.steps,
    })
}

/// Lines of a log, or why there are none.
pub(super) fn log_lines(container: i64, status: &CommandStatus) -> Result<Value, String> {
    if status.state != CommandState::Succeeded {
        let words = if status.message.is_empty() {
            "without a word"
        } else {
            &status.message
        };
        return Err(format!(
            "the agent did not read the log ({}): {words}",
            status.state.as_str()
        ));
    }
    Ok(json!({
        "container_id": container, "command_id": status.id, "state": status.state, "result": status.result,
    }))
}
