//! What the control socket does about agents and the certificate authority.

use base64::Engine as _;
use muster_base::ErrorChain;
use muster_base::id::{AgentId, ServerId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::app::audit::{Actor, Entry};
use crate::app::enrolment::{AgentStatus, AgentView};
use crate::app::rotation::CaStatus;
use crate::app::{App, PageRequest};
use crate::identity::{Root, Step};

/// Agents in one answer; a line of the socket holds no more.
const AGENTS_MAX: u32 = 100;

/// What is asked about agents and the certificate authority.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case", deny_unknown_fields)]
pub enum Trust {
    /// Which agents there are.
    Agents {
        /// Only those with this status.
        status: Option<String>,
    },
    /// Lets an agent in that is held or in quarantine.
    Adopt {
        /// The agent.
        agent: Uuid,
        /// The server it shall report for.
        server_id: Option<i64>,
        /// The name of a new server.
        hostname: Option<String>,
    },
    /// Revokes an agent for good.
    Revoke {
        /// The agent.
        agent: Uuid,
    },
    /// Where the rotation of the root is.
    CaStatus,
    /// The certificates of the roots.
    CaRoot,
    /// Takes a step of the rotation.
    CaStep {
        /// Which.
        step: Step,
    },
}

/// The answer, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Lines of text.
    pub text: String,
}

/// Does what is asked, as whoever has this account on this machine.
///
/// # Errors
/// A sentence for people.
pub async fn answer(app: &App, asked: Trust, uid: u32) -> Result<Told, String> {
    let by = Actor::Local { uid };
    let changed = match &asked {
        Trust::Agents { .. } | Trust::CaStatus | Trust::CaRoot => return done(app, asked, by).await,
        Trust::Adopt { agent, .. } => ("agent.adopt", agent.to_string()),
        Trust::Revoke { agent } => ("agent.revoke", agent.to_string()),
        Trust::CaStep { step } => ("ca.step", step.as_str().to_owned()),
    };
    let intended = Entry::allowed(by.clone(), changed.0, changed.1);
    let begun = app.audit().begin(&intended).await;
    let told = done(app, asked, by).await;
    app.audit().end(begun).await;
    told
}

async fn done(app: &App, asked: Trust, by: Actor) -> Result<Told, String> {
    let text = match asked {
        Trust::Agents { status } => agents(app, status.as_deref()).await,
        Trust::Adopt {
            agent,
            server_id,
            hostname,
        } => app
            .adopt_agent(AgentId(agent), server_id.map(ServerId), hostname.as_deref(), by)
            .await
            .map(|server| format!("agent {agent} reports for server {server}\n"))
            .map_err(told),
        Trust::Revoke { agent } => app
            .revoke_agent(AgentId(agent), by)
            .await
            .map(|()| format!("agent {agent} is revoked\n"))
            .map_err(told),
        Trust::CaStatus => app.ca_status().await.map(|status| ca_text(&status)).map_err(told),
        Trust::CaRoot => Ok(roots(app)),
        Trust::CaStep { step } => app
            .ca_step(step, by)
            .await
            .map(|status| ca_text(&status))
            .map_err(told),
    };
    text.map(|text| Told { text })
}

fn told(error: impl std::error::Error + 'static) -> String {
    ErrorChain(&error).to_string()
}

async fn agents(app: &App, status: Option<&str>) -> Result<String, String> {
    let status = match status {
        None => None,
        Some(word) => Some(AgentStatus::parse(word).ok_or_else(|| {
            let known = AgentStatus::ALL.map(AgentStatus::as_str).join(", ");
            format!("no status {word:?}; there are {known}")
        })?),
    };
    let request = PageRequest {
        limit: Some(AGENTS_MAX),
        cursor: None,
    };
    let page = app.agents(status, request).await.map_err(told)?;
    let more = page
        .next
        .map(|_| format!("… {} in all: see the API for the others\n", page.total));
    let lines = page.items.iter().map(agent_line).chain(more);
    Ok(lines.collect())
}

fn agent_line(view: &AgentView) -> String {
    let server = view.server.map_or("-".to_owned(), |server| server.to_string());
    let name = view.hostname.as_deref().unwrap_or("-");
    let reason = view.reason.as_deref().unwrap_or_default();
    let line = format!(
        "{} {:<11} {server:>6} {name}  {reason}",
        view.agent,
        view.status.as_str()
    );
    format!("{}\n", line.trim_end())
}

fn ca_text(status: &CaStatus) -> String {
    let rotation = &status.rotation;
    let mut lines = vec![
        format!("phase: {}", rotation.phase.as_str()),
        root_line("root", &rotation.root),
    ];
    lines.extend(rotation.next.as_ref().map(|next| root_line("next root", next)));
    lines.push(format!(
        "issuing authority until {}, controller's certificate until {}",
        day(rotation.issuing_not_after_ms),
        day(rotation.server_not_after_ms)
    ));
    let until = rotation.bridged_until_ms.map(day);
    lines.extend(until.map(|day| format!("agents that know only the root before can come back until {day}")));
    lines.push(format!(
        "agents that trust the roots of now: {} of {}",
        status.agents_following, status.agents
    ));
    lines.extend(status.behind.iter().map(|agent| format!("  not yet: {agent}")));
    lines.push(String::new());
    lines.join("\n")
}

/// What the controller's certificates are verified with, PEM (RFC 7468).
fn roots(app: &App) -> String {
    let roots = app.identity().trust_bundle();
    roots.iter().map(|root| pem("CERTIFICATE", root)).collect()
}

fn pem(what: &str, der: &[u8]) -> String {
    const LINE: usize = 64;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines = text.as_bytes().chunks(LINE);
    let lines: String = lines
        .map(|line| format!("{}\n", String::from_utf8_lossy(line)))
        .collect();
    format!("-----BEGIN {what}-----\n{lines}-----END {what}-----\n")
}

fn root_line(what: &str, root: &Root) -> String {
    let pin: String = root.sha256.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{what}: {pin} until {}", day(root.not_after_ms))
}

fn day(ms: i64) -> String {
    let time = jiff::Timestamp::from_millisecond(ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    time.strftime("%Y-%m-%d").to_string()
}
