//! What was asked of a container's server: how far it is, why it was refused, and what to do then.

use maud::{Markup, html};
use muster_model::{CommandRefusal, CommandState, Verb};
use serde_json::Value;

use crate::app::PageRequest;
use crate::app::commands::{CommandQuery, CommandRow};
use crate::http::HttpState;
use crate::http::error::Problem;
use crate::http::page::format;
use crate::update::Seen;

/// Commands of a server among which those of a container are looked for.
const LOOKED_AT: u32 = 200;
/// How many are shown.
const SHOWN: usize = 8;
/// Most lines of a log that are shown.
const LINES_MAX: usize = 500;
/// Names that mean the same to a shell, to a pattern of the policy, and to people.
const PLAIN: &[u8] = b"-_.";

/// What was asked of a container, the newest first.
#[derive(Debug, Default)]
pub(super) struct Doing {
    rows: Vec<CommandRow>,
}

impl Doing {
    /// Reads what was asked of a container.
    pub(super) async fn of(state: &HttpState, seen: &Seen) -> Result<Self, Problem> {
        let query = CommandQuery {
            server: Some(seen.server()),
            ..CommandQuery::default()
        };
        let newest = PageRequest {
            limit: Some(LOOKED_AT),
            cursor: None,
        };
        let mut rows = state.app.commands().list(query, newest).await?.items;
        rows.retain(|row| {
            let target = row.verb.container();
            target.is_some_and(|target| {
                target.runtime == seen.target.runtime && target.name == seen.target.name
            })
        });
        rows.truncate(SHOWN);
        Ok(Self { rows })
    }

    /// Whether something is not over.
    pub(super) fn is_under_way(&self) -> bool {
        self.rows.iter().any(|row| !row.state.is_final())
    }

    /// Draws what was asked; `host` is the server's name.
    pub(super) fn draw(&self, host: &str, now_ms: i64) -> Markup {
        html! {
            @if !self.rows.is_empty() {
                section class="card" id="asked" aria-live="polite" {
                    header { h2 { "What was asked of its server" } span class="soft" { "the newest first" } }
                    div class="scroll" {
                        table class="stack" {
                            thead { tr { th { "What" } th { "State" } th { "Asked" } } }
                            tbody { @for row in &self.rows { (line(row, host, now_ms)) } }
                        }
                    }
                }
            }
        }
    }

    /// Draws the lines of its log that were read last, if any were.
    pub(super) fn log(&self, now_ms: i64) -> Markup {
        let is_log = |row: &&CommandRow| {
            matches!(row.verb, Verb::ContainerLogs { .. }) && row.state == CommandState::Succeeded
        };
        let found = self.rows.iter().find(is_log);
        let lines = found.and_then(|row| row.result.as_ref()?["lines"].as_array());
        html! {
            @if let (Some(row), Some(lines)) = (found, lines) {
                section class="card" {
                    header {
                        h2 { "The end of its log" }
                        span class="soft" { "read " (format::ago(row.changed_ms, now_ms)) ", " (lines.len()) " lines" }
                    }
                    @if lines.is_empty() { p class="empty" { "It wrote nothing." } }
                    @else {
                        @let skipped = lines.len().saturating_sub(LINES_MAX);
                        pre class="wrap log" tabindex="0" {
                            @for line in &lines[skipped..] { (text_of(line).trim_end()) "\n" }
                        }
                    }
                }
            }
        }
    }
}

fn text_of(line: &Value) -> &str {
    line["text"]
        .as_str()
        .or_else(|| line.as_str())
        .unwrap_or_default()
}

fn line(row: &CommandRow, host: &str, now_ms: i64) -> Markup {
    html! {
        tr {
            td {
                span class="name" { (what(&row.verb)) }
                div class="under" { "by " (asker(&row.issuer)) }
            }
            td class="wrap" data-label="State" {
                (pill(row.state))
                @if !row.state.is_final() { (progress(row)) }
                @if !row.message.is_empty() { div class="under" { (row.message) } }
                @if let Some(advice) = advice(&row.verb, &row.reason, host) { (advice) }
                (came_of_it(row))
            }
            td class="nowrap" data-label="Asked" title=(format::time(row.created_ms)) {
                (format::ago(row.created_ms, now_ms))
            }
        }
    }
}

/// How far it is, as far as that can be told.
fn progress(row: &CommandRow) -> Markup {
    html! {
        @if !row.step.is_empty() { " " span class="tag" { (format::words(&row.step)) } }
        @if let Some(share) = row.progress.filter(|share| share.is_finite()) {
            " " progress max="1" value=(format!("{:.3}", share.clamp(0.0, 1.0))) aria-label="How much is done" {}
            " " span class="soft" { (format::percent(share.clamp(0.0, 1.0))) }
        }
    }
}

/// What a rehearsal found.
fn came_of_it(row: &CommandRow) -> Markup {
    let result = row.result.as_ref().filter(|result| result["dry_run"] == true);
    let texts = |name: &str| -> Vec<String> {
        let all = result
            .and_then(|result| result[name].as_array())
            .into_iter()
            .flatten();
        all.map(|one| one.as_str().map_or_else(|| one.to_string(), str::to_owned))
            .collect()
    };
    let (differences, notes) = (texts("differences"), texts("notes"));
    html! {
        @if let Some(result) = result {
            div class="under" { "Nothing was changed. It would: " (texts("steps").join(", ")) "." }
            @if let Some(message) = result["message"].as_str() { div class="under" { (message) } }
            @else if differences.is_empty() { div class="under" { "Nothing but the image would differ." } }
            @for one in differences.iter().chain(&notes) { div class="under" { (one) } }
        }
    }
}

/// What a verb does, in words.
fn what(verb: &Verb) -> &'static str {
    match verb {
        Verb::ContainerStart { .. } => "Start",
        Verb::ContainerStop { .. } => "Stop",
        Verb::ContainerRestart { .. } => "Restart",
        Verb::ContainerPause { .. } => "Pause",
        Verb::ContainerUnpause { .. } => "Go on after a pause",
        Verb::ContainerRemove { .. } => "Remove",
        Verb::ContainerLogs { .. } => "Read its log",
        Verb::ContainerUpdate { plan, .. } if plan.dry_run => "Update, dry run",
        Verb::ContainerUpdate { .. } => "Update",
        Verb::ContainerRollback { .. } => "Go back to what was before",
        Verb::ImagePrune { .. } => "Remove unused images",
        Verb::PoolScrub { .. } => "Check a pool",
        Verb::Cancel { .. } => "Cancel",
    }
}

/// Who asked: of what the controller did for somebody, that one.
fn asker(issuer: &str) -> &str {
    issuer.rsplit_once(" for ").map_or(issuer, |(_, by)| by)
}

/// A state as a coloured word.
pub(in crate::http::page) fn pill(state: CommandState) -> Markup {
    let class = match state {
        CommandState::Succeeded => "good",
        CommandState::Refused | CommandState::Failed => "bad",
        CommandState::Expired | CommandState::Cancelled | CommandState::Unknown => "warn",
        CommandState::Pending | CommandState::Received | CommandState::Started => "dim",
    };
    let word = match state {
        CommandState::Pending => "waits for the server",
        CommandState::Received => "the server has it",
        CommandState::Started => "under way",
        CommandState::Succeeded => "done",
        CommandState::Refused => "refused by the server",
        CommandState::Expired => "not begun in time",
        CommandState::Unknown => "its end is unknown",
        other => other.as_str(),
    };
    html! { span class={ "pill " (class) } { (word) } }
}

/// What to do after something was refused or could not be done; `None` if there is nothing to say beside its message.
fn advice(verb: &Verb, reason: &str, host: &str) -> Option<Markup> {
    let words = match CommandRefusal::of_word(reason) {
        CommandRefusal::NotAllowed => return Some(allow(verb, host, "")),
        CommandRefusal::PrivilegedContainer => return Some(allow(verb, host, " --allow-privileged")),
        CommandRefusal::OtherRepository => return Some(allow(verb, host, " --repository 'REGISTRY/NAME'")),
        CommandRefusal::PolicyUnusable => {
            "Its policy can't be trusted or read, so that nothing is allowed. As root there, muster-agent policy show says why."
        }
        CommandRefusal::Frozen => {
            "The policy of the server itself stops every change (frozen = true in /etc/muster/policy.toml there). Whoever \
             wrote that takes it back."
        }
        CommandRefusal::NoTime => {
            "The agent does not know the time of the controller yet. Try again in a minute."
        }
        CommandRefusal::Expired | CommandRefusal::NotAnswered => {
            "The agent was not there in time. See whether the server is online, then ask again."
        }
        CommandRefusal::NoSuchTarget | CommandRefusal::RealityChanged => {
            "What is there by now is not what this was asked of. Look again, then ask again."
        }
        CommandRefusal::Busy => "The server does something else at the moment. Ask again when that is over.",
        CommandRefusal::NoExecutor => {
            "The part of the agent that does what is asked does not run: see its log on the server."
        }
        CommandRefusal::CredentialLost | CommandRefusal::Restored => {
            "The controller was started anew meanwhile. Ask again."
        }
        _ => return None,
    };
    Some(html! { div class="under" { (words) } })
}

/// How root allows it. People paste this into a shell of root, so that nothing a server told is part of it unless it can
/// be nothing but a name.
fn allow(verb: &Verb, host: &str, more: &str) -> Markup {
    let name = verb.container().map(|target| target.name.as_str());
    let is_plain = |name: &&str| {
        !name.is_empty()
            && !name.starts_with('-')
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || PLAIN.contains(&byte))
    };
    let only = name
        .filter(is_plain)
        .map(|name| format!(" --container '{name}'"))
        .unwrap_or_default();
    html! {
        div class="under" { "The server decides that itself, and nobody here can change it. As root on " (host) ":" }
        pre class="wrap command" { "muster-agent allow " (verb.name()) (only) (more) }
        div class="under" { "It counts at once; then ask again here." }
    }
}

#[cfg(test)]
mod tests {
    use muster_model::{ContainerTarget, ResourceKey};

    use super::*;

    fn restart(name: &str) -> Verb {
        Verb::ContainerRestart {
            target: ContainerTarget {
                runtime: ResourceKey::new("runtime:docker"),
                name: name.to_owned(),
                container_id: None,
            },
            timeout_s: None,
        }
    }

    #[test]
    fn what_was_refused_says_how_the_server_allows_it() {
        let drawn = advice(&restart("web-1"), "not_allowed", "one")
            .unwrap()
            .into_string();
        assert!(
            drawn.contains("muster-agent allow container.restart --container 'web-1'"),
            "{drawn}"
        );
        assert!(advice(&restart("web"), "failed", "one").is_none());
        assert!(advice(&restart("web"), "", "one").is_none());
    }

    #[test]
    fn a_name_that_a_shell_or_a_pattern_reads_otherwise_is_no_part_of_what_root_is_told_to_run() {
        for name in [
            "a'; reboot; '",
            "$(reboot)",
            "*",
            "we?",
            "-x",
            "a b",
            "a\nreboot",
            "",
        ] {
            let drawn = advice(&restart(name), "not_allowed", "one")
                .unwrap()
                .into_string();
            assert!(
                drawn.contains("muster-agent allow container.restart</pre>"),
                "{name:?} in {drawn}"
            );
        }
    }

    #[test]
    fn the_words_of_every_state_are_different() {
        let words: std::collections::BTreeSet<String> =
            CommandState::ALL.map(|state| pill(state).into_string()).into();
        assert_eq!(words.len(), CommandState::ALL.len());
    }
}
