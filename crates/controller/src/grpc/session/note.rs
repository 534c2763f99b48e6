//! What an agent says of itself when it connects, written down if it is news.
//!
//! A thousand agents that come back after a restart must not cost a thousand commits.

use std::sync::Arc;

use muster_base::ErrorChain;
use muster_base::id::{AgentId, ServerId};
use muster_model::{Clock, limits};
use muster_proto::v1::Hello;

use super::Context;
use crate::app::App;
use crate::app::enrolment::Admitted;
use crate::store::StoreError;

/// A clock's offset that differs by less is no news.
const CLOCK_NEWS_MS: u64 = 1_000;

/// What one Hello says.
pub(super) struct News {
    app: Arc<App>,
    server: ServerId,
    agent: AgentId,
    version: String,
    clock: Option<Clock>,
    received_ms: i64,
}

impl News {
    pub(super) fn new(context: &Context, admitted: &Admitted, hello: &Hello, received_ms: i64) -> Self {
        let clock = hello.clock.clone().and_then(|clock| Clock::try_from(clock).ok());
        // What a peer says of itself ends in a table and in logs.
        let end = hello.agent_version.floor_char_boundary(limits::NAME_BYTES_MAX);
        Self {
            app: Arc::clone(&context.app),
            server: admitted.server,
            agent: admitted.agent,
            version: hello.agent_version[..end].to_owned(),
            clock: clock.filter(|clock| !clock.boot_id.is_empty()),
            received_ms,
        }
    }

    /// Writes it down. Not being able to is no reason to keep reports away.
    pub(super) async fn note(self) {
        if let Err(error) = self.note_version().await {
            tracing::warn!(error = %ErrorChain(&error), "agent's version not noted");
        }
        if let Err(error) = self.note_clock().await {
            tracing::warn!(error = %ErrorChain(&error), "agent's clock not noted");
        }
    }

    async fn note_version(&self) -> Result<(), StoreError> {
        let known = self.app.store().agents_of(&[self.server]).await?;
        let version = known
            .get(&self.server)
            .and_then(|(_, version)| version.as_deref());
        if version == Some(self.version.as_str()) {
            return Ok(());
        }
        self.app
            .store()
            .note_connected(self.server, &self.version, self.received_ms)
            .await
    }

    async fn note_clock(&self) -> Result<(), StoreError> {
        let Some(clock) = &self.clock else {
            return Ok(());
        };
        let store = self.app.store();
        let offset_ms = self.received_ms.saturating_sub(clock.boottime_ms);
        let known = store.boot_offset(self.agent, &clock.boot_id).await?;
        if known.is_some_and(|known| known.abs_diff(offset_ms) < CLOCK_NEWS_MS) {
            return Ok(());
        }
        store
            .set_boot_offset(self.agent, &clock.boot_id, offset_ms, self.received_ms)
            .await
    }
}

/// Writes down the offset of a boot, which is news. What is not written is read again with the next ping that has
/// news.
pub(super) async fn keep_offset(app: &App, agent: AgentId, boot_id: &str, offset_ms: i64, now_ms: i64) {
    let kept = app
        .store()
        .set_boot_offset(agent, boot_id, offset_ms, now_ms)
        .await;
    if let Err(error) = kept {
        tracing::warn!(error = %ErrorChain(&error), "agent's clock not noted");
    }
}
