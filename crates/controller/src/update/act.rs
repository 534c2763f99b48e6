//! What people do with containers: starting, stopping, looking at their logs.

use std::time::Duration;

use muster_model::{CommandStatus, LogRange, Verb};
use tokio::time::Instant;
use uuid::Uuid;

use super::{Order, UpdateError, Updates};

/// How long logs are waited for.
const LOGS_WAIT: Duration = Duration::from_secs(20);
/// How often it is looked whether they are there.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What is done with a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// It is started.
    Start,
    /// It is stopped; killed after so many seconds.
    Stop(Option<u32>),
    /// Both.
    Restart(Option<u32>),
    /// Its processes are frozen.
    Pause,
    /// They go on.
    Unpause,
    /// It is removed, even while it runs if that is said.
    Remove(bool),
}

/// What came of asking for logs.
#[derive(Debug, Clone, PartialEq)]
pub enum LogLines {
    /// The command is over: what came of it.
    Over(CommandStatus),
    /// It is not, yet.
    StillRunning,
}

impl Updates {
    /// Has a container's agent do something with it. Returns the command's id.
    ///
    /// # Errors
    /// [`UpdateError::Frozen`], [`UpdateError::NotFound`], [`UpdateError::Issue`], or a failure of the database.
    pub async fn act(&self, container: i64, deed: Deed, by: &str) -> Result<Uuid, UpdateError> {
        let seen = self.container(container).await?;
        // Held, so that the switch is not set between looking at it and telling the agent.
        let _only = self.inner.only.lock().await;
        if let Some(words) = self.freeze().await?.words() {
            return Err(UpdateError::Frozen(words.to_owned()));
        }
        let target = seen.target.clone();
        let verb = match deed {
            Deed::Start => Verb::ContainerStart { target },
            Deed::Stop(timeout_s) => Verb::ContainerStop { target, timeout_s },
            Deed::Restart(timeout_s) => Verb::ContainerRestart { target, timeout_s },
            Deed::Pause => Verb::ContainerPause { target },
            Deed::Unpause => Verb::ContainerUnpause { target },
            Deed::Remove(force) => Verb::ContainerRemove { target, force },
        };
        let order = Order {
            server: seen.server(),
            verb,
            by: by.to_owned(),
            reference: None,
            pulls: None,
        };
        Ok(self.inner.issue.issue(order).await?)
    }

    /// Asks for lines of a container's log, and waits a while for them.
    ///
    /// # Errors
    /// [`UpdateError::NotFound`], [`UpdateError::Issue`], or a failure of the database.
    pub async fn logs(
        &self,
        container: i64,
        range: LogRange,
        by: &str,
    ) -> Result<(Uuid, LogLines), UpdateError> {
        let seen = self.container(container).await?;
        let order = Order {
            server: seen.server(),
            verb: Verb::ContainerLogs {
                target: seen.target.clone(),
                range,
            },
            by: by.to_owned(),
            reference: None,
            pulls: None,
        };
        let id = self.inner.issue.issue(order).await?;
        let until = Instant::now() + LOGS_WAIT;
        while Instant::now() < until {
            if let Some(status) = self.inner.issue.status(id).await?
                && status.state.is_final()
            {
                return Ok((id, LogLines::Over(status)));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok((id, LogLines::StillRunning))
    }

    /// How far a command is.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn command(&self, id: Uuid) -> Result<Option<CommandStatus>, UpdateError> {
        Ok(self.inner.issue.status(id).await?)
    }
}
