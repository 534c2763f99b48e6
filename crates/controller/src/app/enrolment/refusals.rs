//! How often who was refused for what, from the handshake to the token.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use muster_base::id::AgentId;

use crate::app::App;
use crate::app::audit::{Actor, Entry};

/// Refusals by their stable code. Bounded: codes are constants of ours.
#[derive(Debug, Default)]
pub struct Refusals {
    counts: Mutex<BTreeMap<&'static str, u64>>,
}

impl Refusals {
    /// Counts one.
    pub fn count(&self, code: &'static str) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(code).or_default() += 1;
    }

    /// How often each code was counted.
    #[must_use]
    pub fn all(&self) -> Vec<(&'static str, u64)> {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.iter().map(|(code, count)| (*code, *count)).collect()
    }

    /// How often this code was counted.
    #[must_use]
    pub fn of(&self, code: &str) -> u64 {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.get(code).copied().unwrap_or(0)
    }
}

impl App {
    /// What was refused on the agent port, by code.
    #[must_use]
    pub fn refusals(&self) -> std::sync::Arc<Refusals> {
        std::sync::Arc::clone(&self.refusals)
    }

    /// Counts a refusal of somebody whose certificate is ours, and writes it down.
    pub(super) async fn refused(&self, action: &'static str, code: &'static str, agent: AgentId) {
        self.refusals.count(code);
        let entry = Entry::refused(Actor::Agent(agent), action, agent.to_string(), code);
        self.audit.note(entry).await;
    }

    /// Counts a refusal of somebody without a certificate, and writes it down.
    pub(super) async fn turned_away(&self, action: &'static str, code: &'static str, peer: IpAddr) {
        self.refusals.count(code);
        let entry = Entry::refused(Actor::Nobody, action, "agent port", code);
        self.audit.note(entry.from_peer(peer)).await;
    }
}
