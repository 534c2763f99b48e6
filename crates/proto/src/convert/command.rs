//! Commands and what is said of them.
//!
//! What is signed is a command's bytes, so its bytes must have one meaning: a field that is not known is not passed over
//! here as it is in other messages, and a command with one is refused.

use muster_model::{
    CommandState, CommandStatus, ContainerTarget, LogRange, PruneFilter, ResourceKey, UpdatePlan, Verb,
};
use prost::Message as _;
use uuid::Uuid;

use super::{ConvertError, short, uuid_from_wire};
use crate::v1;
use crate::v1::command::Verb as Wire;

/// What stands before a command's bytes when they are signed, so that a signature is good for nothing else.
const CONTEXT: &[u8] = b"muster command v1\0";
/// Longest text of a name, key or reference.
const NAME_BYTES_MAX: usize = 512;
/// Longest message for people.
const MESSAGE_BYTES_MAX: usize = 4_096;
/// Longest result.
const RESULT_BYTES_MAX: usize = 192 * 1024;
/// Longest time that a command may take for something, in milliseconds: a week.
const TIME_MS_MAX: u64 = 7 * 86_400_000;

/// A command with all that limits it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Its id, UUIDv7.
    pub id: Uuid,
    /// The agent it is for.
    pub agent: Uuid,
    /// The generation of the agent's identity it is for.
    pub generation: u32,
    /// The controller that issued it: its installation.
    pub controller: Uuid,
    /// Rises with each command of this controller to this agent.
    pub counter: u64,
    /// Not to be begun after this time, Unix ms by the controller's clock.
    pub not_after_ms: i64,
    /// Not to be begun when it was received longer ago than this, ms of the agent's boot clock.
    pub max_age_ms: u32,
    /// Who asked.
    pub issuer: String,
    /// What is to be done.
    pub verb: Verb,
}

/// The newest entry of an agent's own audit log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditHead {
    /// How many entries there have ever been.
    pub entries: u64,
    /// Hash of the newest.
    pub hash: [u8; 32],
}

/// What an agent says of a command, and of itself beside it.
#[derive(Debug, Clone, PartialEq)]
pub struct CommandReport {
    /// How far the command is.
    pub status: CommandStatus,
    /// A stable word for why it was refused or failed; empty: none.
    pub reason: String,
    /// Highest counter the agent has written down.
    pub counter: u64,
    /// Head of the agent's audit log.
    pub audit: Option<AuditHead>,
}

/// What is signed for a command of these bytes.
#[must_use]
pub fn signed_bytes(command: &[u8]) -> Vec<u8> {
    [CONTEXT, command].concat()
}

fn target_to_wire(target: &ContainerTarget) -> Option<v1::ContainerTarget> {
    Some(v1::ContainerTarget {
        runtime: target.runtime.as_str().to_owned(),
        name: target.name.clone(),
        container_id: target.container_id.clone(),
    })
}

fn verb_to_wire(verb: &Verb) -> Wire {
    match verb {
        Verb::ContainerStart { target } => Wire::ContainerStart(v1::ContainerStart {
            target: target_to_wire(target),
        }),
        Verb::ContainerStop { target, timeout_s } => Wire::ContainerStop(v1::ContainerStop {
            target: target_to_wire(target),
            timeout_s: *timeout_s,
        }),
        Verb::ContainerRestart { target, timeout_s } => Wire::ContainerRestart(v1::ContainerRestart {
            target: target_to_wire(target),
            timeout_s: *timeout_s,
        }),
        Verb::ContainerPause { target } => Wire::ContainerPause(v1::ContainerPause {
            target: target_to_wire(target),
        }),
        Verb::ContainerUnpause { target } => Wire::ContainerUnpause(v1::ContainerUnpause {
            target: target_to_wire(target),
        }),
        Verb::ContainerRemove { target, force } => Wire::ContainerRemove(v1::ContainerRemove {
            target: target_to_wire(target),
            force: *force,
        }),
        Verb::ContainerLogs { target, range } => Wire::ContainerLogs(v1::ContainerLogs {
            target: target_to_wire(target),
            since_ms: range.since_ms,
            until_ms: range.until_ms,
            tail: range.tail,
        }),
        Verb::ContainerUpdate { target, plan } => Wire::ContainerUpdate(v1::ContainerUpdate {
            target: target_to_wire(target),
            image: plan.image.clone(),
            from_image_id: plan.from_image_id.clone(),
            to_digest: plan.to_digest.clone(),
            platform: plan.platform.clone(),
            health_timeout_ms: plan.health_timeout_ms,
            stable_ms: plan.stable_ms,
            grace_ms: plan.grace_ms,
            dry_run: plan.dry_run,
        }),
        Verb::ContainerRollback { target, update } => Wire::ContainerRollback(v1::ContainerRollback {
            target: target_to_wire(target),
            update: update.as_bytes().to_vec(),
        }),
        Verb::ImagePrune { runtime, filter } => Wire::ImagePrune(v1::ImagePrune {
            runtime: runtime.as_str().to_owned(),
            all: filter.all,
            older_than_s: filter.older_than_s,
            dry_run: filter.dry_run,
        }),
        Verb::PoolScrub { pool } => Wire::PoolScrub(v1::PoolScrub {
            pool: pool.as_str().to_owned(),
        }),
        Verb::Cancel { command } => Wire::Cancel(v1::Cancel {
            command: command.as_bytes().to_vec(),
        }),
    }
}

/// A command's bytes, those that are signed.
#[must_use]
pub fn command_to_wire(order: &Order) -> Vec<u8> {
    v1::Command {
        id: order.id.as_bytes().to_vec(),
        agent_id: order.agent.as_bytes().to_vec(),
        generation: order.generation,
        controller_id: order.controller.as_bytes().to_vec(),
        counter: order.counter,
        not_after_ms: order.not_after_ms,
        max_age_ms: order.max_age_ms,
        issuer: order.issuer.clone(),
        verb: Some(verb_to_wire(&order.verb)),
    }
    .encode_to_vec()
}

/// Reads a command from the very bytes that were verified. `Ok(None)`: it asks for something, or has a field, that this
/// version does not know.
///
/// # Errors
/// [`ConvertError`] if it is no command, or says what cannot be.
pub fn command_from_wire(bytes: &[u8]) -> Result<Option<Order>, ConvertError> {
    let wire = v1::Command::decode(bytes).map_err(|_| ConvertError::Malformed("command"))?;
    // Whatever was passed over, or written in another way than ours, is missing from this.
    if wire.encode_to_vec() != bytes {
        return Ok(None);
    }
    let Some(verb) = wire.verb else { return Ok(None) };
    Ok(Some(Order {
        id: uuid_from_wire("id", &wire.id)?,
        agent: uuid_from_wire("agent_id", &wire.agent_id)?,
        generation: wire.generation,
        controller: uuid_from_wire("controller_id", &wire.controller_id)?,
        counter: wire.counter,
        not_after_ms: wire.not_after_ms,
        max_age_ms: wire.max_age_ms,
        issuer: short("issuer", wire.issuer, NAME_BYTES_MAX)?,
        verb: verb_from_wire(verb)?,
    }))
}

fn name(what: &'static str, text: String) -> Result<String, ConvertError> {
    if text.is_empty() {
        return Err(ConvertError::Missing(what));
    }
    let text = short(what, text, NAME_BYTES_MAX)?;
    if text.chars().any(char::is_control) {
        return Err(ConvertError::Malformed(what));
    }
    Ok(text)
}

/// A name or id that becomes a part of an engine's path.
fn path_part(what: &'static str, text: String) -> Result<String, ConvertError> {
    let text = name(what, text)?;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let is_part = text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(is_plain);
    is_part.then_some(text).ok_or(ConvertError::Malformed(what))
}

fn target(target: Option<v1::ContainerTarget>) -> Result<ContainerTarget, ConvertError> {
    let target = target.ok_or(ConvertError::Missing("target"))?;
    Ok(ContainerTarget {
        runtime: ResourceKey::new(name("runtime", target.runtime)?),
        name: path_part("name", target.name)?,
        container_id: target
            .container_id
            .map(|id| path_part("container_id", id))
            .transpose()?,
    })
}

fn time(field: &'static str, ms: u64) -> Result<u64, ConvertError> {
    if TIME_MS_MAX < ms {
        return Err(ConvertError::OutOfRange {
            field,
            value: ms.into(),
        });
    }
    Ok(ms)
}

fn stop_time(timeout_s: Option<u32>) -> Result<Option<u32>, ConvertError> {
    match timeout_s {
        Some(value) if 3_600 < value => Err(ConvertError::OutOfRange {
            field: "timeout_s",
            value: value.into(),
        }),
        timeout_s => Ok(timeout_s),
    }
}

/// `sha256:` and 64 hexadecimal digits.
fn digest(what: &'static str, text: String) -> Result<String, ConvertError> {
    let hex = text.strip_prefix("sha256:").unwrap_or_default();
    let is_digest = hex.len() == 64 && hex.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
    is_digest.then_some(text).ok_or(ConvertError::Malformed(what))
}

fn update_plan(update: v1::ContainerUpdate) -> Result<UpdatePlan, ConvertError> {
    Ok(UpdatePlan {
        image: name("image", update.image)?,
        from_image_id: name("from_image_id", update.from_image_id)?,
        to_digest: digest("to_digest", update.to_digest)?,
        platform: update
            .platform
            .map(|platform| name("platform", platform))
            .transpose()?,
        health_timeout_ms: time("health_timeout_ms", update.health_timeout_ms)?,
        stable_ms: time("stable_ms", update.stable_ms)?,
        grace_ms: time("grace_ms", update.grace_ms)?,
        dry_run: update.dry_run,
    })
}

fn verb_from_wire(wire: Wire) -> Result<Verb, ConvertError> {
    Ok(match wire {
        Wire::ContainerStart(start) => Verb::ContainerStart {
            target: target(start.target)?,
        },
        Wire::ContainerStop(stop) => Verb::ContainerStop {
            target: target(stop.target)?,
            timeout_s: stop_time(stop.timeout_s)?,
        },
        Wire::ContainerRestart(restart) => Verb::ContainerRestart {
            target: target(restart.target)?,
            timeout_s: stop_time(restart.timeout_s)?,
        },
        Wire::ContainerPause(pause) => Verb::ContainerPause {
            target: target(pause.target)?,
        },
        Wire::ContainerUnpause(unpause) => Verb::ContainerUnpause {
            target: target(unpause.target)?,
        },
        Wire::ContainerRemove(remove) => Verb::ContainerRemove {
            target: target(remove.target)?,
            force: remove.force,
        },
        Wire::ContainerLogs(logs) => Verb::ContainerLogs {
            target: target(logs.target)?,
            range: LogRange {
                since_ms: logs.since_ms,
                until_ms: logs.until_ms,
                tail: logs.tail,
            },
        },
        Wire::ContainerUpdate(mut update) => Verb::ContainerUpdate {
            target: target(update.target.take())?,
            plan: update_plan(update)?,
        },
        Wire::ContainerRollback(rollback) => Verb::ContainerRollback {
            target: target(rollback.target)?,
            update: uuid_from_wire("update", &rollback.update)?,
        },
        Wire::ImagePrune(prune) => Verb::ImagePrune {
            runtime: ResourceKey::new(name("runtime", prune.runtime)?),
            filter: PruneFilter {
                all: prune.all,
                older_than_s: prune.older_than_s,
                dry_run: prune.dry_run,
            },
        },
        Wire::PoolScrub(scrub) => Verb::PoolScrub {
            pool: ResourceKey::new(name("pool", scrub.pool)?),
        },
        Wire::Cancel(cancel) => Verb::Cancel {
            command: uuid_from_wire("command", &cancel.command)?,
        },
    })
}

/// A state as it is sent. That nothing was said yet is never sent.
#[must_use]
pub const fn command_state_to_wire(state: CommandState) -> v1::CommandState {
    match state {
        CommandState::Pending => v1::CommandState::Unspecified,
        CommandState::Received => v1::CommandState::Received,
        CommandState::Refused => v1::CommandState::Refused,
        CommandState::Started => v1::CommandState::Started,
        CommandState::Succeeded => v1::CommandState::Succeeded,
        CommandState::Failed => v1::CommandState::Failed,
        CommandState::Expired => v1::CommandState::Expired,
        CommandState::Cancelled => v1::CommandState::Cancelled,
        CommandState::Unknown => v1::CommandState::Unknown,
    }
}

/// A state that was sent; what a newer agent may call it counts as not known.
#[must_use]
pub fn command_state_from_wire(state: i32) -> CommandState {
    match v1::CommandState::try_from(state) {
        Ok(v1::CommandState::Received) => CommandState::Received,
        Ok(v1::CommandState::Refused) => CommandState::Refused,
        Ok(v1::CommandState::Started) => CommandState::Started,
        Ok(v1::CommandState::Succeeded) => CommandState::Succeeded,
        Ok(v1::CommandState::Failed) => CommandState::Failed,
        Ok(v1::CommandState::Expired) => CommandState::Expired,
        Ok(v1::CommandState::Cancelled) => CommandState::Cancelled,
        Ok(v1::CommandState::Unknown | v1::CommandState::Unspecified) | Err(_) => CommandState::Unknown,
    }
}

/// What is said of a command. Texts are cut, and a result that is too long is left out and the message says so.
#[must_use]
pub fn report_to_wire(report: &CommandReport) -> v1::CommandStatus {
    let status = &report.status;
    let mut message = cut(&status.message, MESSAGE_BYTES_MAX);
    let mut result = match &status.result {
        Some(result) => result.to_string().into_bytes(),
        None => Vec::new(),
    };
    if RESULT_BYTES_MAX < result.len() {
        result.clear();
        message.push_str(" (what came of it is too long to be sent)");
    }
    v1::CommandStatus {
        id: status.id.as_bytes().to_vec(),
        state: command_state_to_wire(status.state).into(),
        progress: status.progress,
        message,
        at_ms: status.at_ms,
        step: cut(&status.step, NAME_BYTES_MAX),
        result,
        reason: cut(&report.reason, NAME_BYTES_MAX),
        counter: report.counter,
        audit_entries: report.audit.map_or(0, |audit| audit.entries),
        audit_head: report.audit.map_or_else(Vec::new, |audit| audit.hash.to_vec()),
    }
}

/// What an agent says of a command.
///
/// # Errors
/// [`ConvertError`] if it breaks a limit or contradicts itself.
pub fn report_from_wire(wire: v1::CommandStatus) -> Result<CommandReport, ConvertError> {
    if RESULT_BYTES_MAX < wire.result.len() {
        return Err(ConvertError::TooLong {
            what: "result",
            bytes: wire.result.len(),
            max: RESULT_BYTES_MAX,
        });
    }
    let result = match wire.result.as_slice() {
        [] => None,
        bytes => Some(serde_json::from_slice(bytes).map_err(|_| ConvertError::Malformed("result"))?),
    };
    let audit = match <[u8; 32]>::try_from(wire.audit_head) {
        Ok(hash) => Some(AuditHead {
            entries: wire.audit_entries,
            hash,
        }),
        Err(bytes) if bytes.is_empty() => None,
        Err(_) => return Err(ConvertError::Malformed("audit_head")),
    };
    Ok(CommandReport {
        status: CommandStatus {
            id: uuid_from_wire("id", &wire.id)?,
            state: command_state_from_wire(wire.state),
            at_ms: wire.at_ms,
            progress: wire.progress.filter(|progress| (0.0..=1.0).contains(progress)),
            step: short("step", wire.step, NAME_BYTES_MAX)?,
            message: short("message", wire.message, 2 * MESSAGE_BYTES_MAX)?,
            result,
        },
        reason: short("reason", wire.reason, NAME_BYTES_MAX)?,
        counter: wire.counter,
        audit,
    })
}

fn cut(text: &str, bytes_max: usize) -> String {
    text[..text.floor_char_boundary(bytes_max)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(verb: Verb) -> Order {
        Order {
            id: Uuid::from_u128(1),
            agent: Uuid::from_u128(2),
            generation: 3,
            controller: Uuid::from_u128(4),
            counter: 5,
            not_after_ms: 6,
            max_age_ms: 7,
            issuer: "ada".to_owned(),
            verb,
        }
    }

    fn target() -> ContainerTarget {
        ContainerTarget {
            runtime: ResourceKey::new("runtime:docker"),
            name: "web".to_owned(),
            container_id: Some("abc".to_owned()),
        }
    }

    fn verbs() -> Vec<Verb> {
        vec![
            Verb::ContainerStart { target: target() },
            Verb::ContainerStop {
                target: target(),
                timeout_s: Some(0),
            },
            Verb::ContainerRestart {
                target: target(),
                timeout_s: None,
            },
            Verb::ContainerPause { target: target() },
            Verb::ContainerUnpause { target: target() },
            Verb::ContainerRemove {
                target: target(),
                force: true,
            },
            Verb::ContainerLogs {
                target: target(),
                range: LogRange {
                    since_ms: Some(-1),
                    until_ms: None,
                    tail: Some(10),
                },
            },
            Verb::ContainerUpdate {
                target: target(),
                plan: UpdatePlan {
                    image: "docker.io/library/nginx:1.27".to_owned(),
                    from_image_id: "sha256:aa".to_owned(),
                    to_digest: format!("sha256:{}", "ab".repeat(32)),
                    platform: Some("linux/amd64".to_owned()),
                    health_timeout_ms: 1,
                    stable_ms: 2,
                    grace_ms: 3,
                    dry_run: true,
                },
            },
            Verb::ContainerRollback {
                target: target(),
                update: Uuid::from_u128(9),
            },
            Verb::ImagePrune {
                runtime: ResourceKey::new("runtime:docker"),
                filter: PruneFilter {
                    all: false,
                    older_than_s: Some(1),
                    dry_run: true,
                },
            },
            Verb::PoolScrub {
                pool: ResourceKey::new("pool:md0"),
            },
            Verb::Cancel {
                command: Uuid::from_u128(8),
            },
        ]
    }

    #[test]
    fn every_verb_comes_back_as_it_was() {
        let mut names = Vec::new();
        for verb in verbs() {
            let order = order(verb);
            names.push(order.verb.name());
            assert_eq!(
                command_from_wire(&command_to_wire(&order)).unwrap().unwrap(),
                order
            );
        }
        assert_eq!(names, Verb::NAMES);
    }

    /// S9
    #[test]
    fn a_command_with_anything_this_version_does_not_know_is_not_read() {
        let bytes = command_to_wire(&order(Verb::ContainerStart { target: target() }));
        // Field 900, a varint: behind all others, and inside of them it would change the lengths before it.
        let more = [bytes.as_slice(), &[0xa0, 0x38, 0x01]].concat();
        assert_eq!(command_from_wire(&more).unwrap(), None);
        // The same field twice: the last one would count.
        let twice = [bytes.as_slice(), &bytes].concat();
        assert_eq!(command_from_wire(&twice).unwrap(), None);
        let without = v1::Command {
            verb: None,
            ..v1::Command::decode(bytes.as_slice()).unwrap()
        };
        assert_eq!(command_from_wire(&without.encode_to_vec()).unwrap(), None);
    }

    #[test]
    fn names_that_could_lead_elsewhere_are_refused() {
        for odd in ["", "/", "a/b", "..", "a%2fb", "a\nb", "-x", "a b", "ä"] {
            let verb = Verb::ContainerStart {
                target: ContainerTarget {
                    name: odd.to_owned(),
                    ..target()
                },
            };
            assert!(
                command_from_wire(&command_to_wire(&order(verb))).is_err(),
                "{odd:?}"
            );
        }
    }

    #[test]
    fn what_is_said_of_a_command_comes_back_and_is_bounded() {
        let report = CommandReport {
            status: CommandStatus {
                id: Uuid::from_u128(1),
                state: CommandState::Succeeded,
                at_ms: 5,
                progress: Some(0.5),
                step: "pull".to_owned(),
                message: "done".to_owned(),
                result: Some(serde_json::json!({"lines": ["a"]})),
            },
            reason: "failed".to_owned(),
            counter: 7,
            audit: Some(AuditHead {
                entries: 3,
                hash: [9; 32],
            }),
        };
        assert_eq!(report_from_wire(report_to_wire(&report)).unwrap(), report);
        let mut long = report;
        long.status.result = Some("x".repeat(RESULT_BYTES_MAX).into());
        long.status.message = "ü".repeat(MESSAGE_BYTES_MAX);
        let back = report_from_wire(report_to_wire(&long)).unwrap();
        assert_eq!(back.status.result, None);
        assert!(
            back.status.message.contains("too long"),
            "{}",
            back.status.message
        );
        for state in CommandState::ALL {
            let there = command_state_to_wire(state);
            let wanted = if state == CommandState::Pending {
                CommandState::Unknown
            } else {
                state
            };
            assert_eq!(command_state_from_wire(there.into()), wanted);
        }
    }
}
