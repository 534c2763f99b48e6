//! Collecting outside the cadence, on request of a person.
//!
//! A collection is done when its facts can be asked for: the agent has said so, and every consumer has applied the
//! reports that carry the result. Until then the asker waits, but not for ever.

use std::time::Duration;

use futures::StreamExt as _;
use muster_base::id::ServerId;
use tokio::sync::watch;
use tokio::time::Instant;

use super::live::{Agents, AskError, Collected};
use crate::intake::{Intake, IntakeError};

/// How long an asker waits.
const WAIT_MAX: Duration = Duration::from_secs(20);
/// How often it is looked whether the reports have come.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Agents that are asked at the same time when all are asked.
const AT_ONCE: usize = 256;

/// How a collection went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CollectOutcome {
    /// It is over and its facts can be asked for.
    Done {
        /// Whether every collector did what it should.
        success: bool,
        /// For people: what failed; empty if nothing did.
        message: String,
    },
    /// It has not ended yet.
    StillRunning,
    /// The agent is not connected, or its stream ended meanwhile.
    NotConnected,
}

/// Asks agents to collect and waits for the result.
#[derive(Clone)]
pub struct Collecting {
    agents: Agents,
    intake: Intake,
    applied: watch::Receiver<i64>,
}

impl Collecting {
    /// `applied` is the position up to which every consumer has applied records.
    #[must_use]
    pub const fn new(agents: Agents, intake: Intake, applied: watch::Receiver<i64>) -> Self {
        Self {
            agents,
            intake,
            applied,
        }
    }

    /// Has the agent of a server collect everything; waits at most 20 s.
    pub async fn collect_now(&self, server: ServerId) -> CollectOutcome {
        let collected = match self.agents.collect(server, Vec::new()) {
            Ok(collected) => collected,
            Err(AskError::NotConnected) => return CollectOutcome::NotConnected,
            // What is waiting there already is collections.
            Err(AskError::Busy) => return CollectOutcome::StillRunning,
        };
        let done = async {
            // The other side is dropped with the stream.
            let Ok(collected) = collected.await else {
                return CollectOutcome::NotConnected;
            };
            match self.wait_until_applied(&collected).await {
                Ok(()) => CollectOutcome::Done {
                    success: collected.success,
                    message: collected.message,
                },
                Err(_) => CollectOutcome::StillRunning,
            }
        };
        tokio::time::timeout_at(Instant::now() + WAIT_MAX, done)
            .await
            .unwrap_or(CollectOutcome::StillRunning)
    }

    /// Has every connected agent collect; waits at most 20 s for each.
    pub async fn collect_all(&self) -> Vec<(ServerId, CollectOutcome)> {
        let one = async |(server, _)| (server, self.collect_now(server).await);
        futures::stream::iter(self.agents.connected())
            .map(one)
            .buffer_unordered(AT_ONCE)
            .collect()
            .await
    }

    async fn wait_until_applied(&self, collected: &Collected) -> Result<(), IntakeError> {
        if collected.last_sequence == 0 {
            return Ok(());
        }
        // The word that it is over may overtake the reports.
        loop {
            let cursors = self
                .intake
                .cursors(collected.agent, vec![collected.epoch])
                .await?;
            if cursors
                .iter()
                .any(|cursor| cursor.ranges.contains(collected.last_sequence))
            {
                break;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let stored_up_to = *self.intake.committed().borrow();
        let mut applied = self.applied.clone();
        applied
            .wait_for(|position| stored_up_to <= *position)
            .await
            .map_err(|_| IntakeError::Closed)?;
        Ok(())
    }
}
