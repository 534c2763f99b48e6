//! A child that is kept running: started again when it ends, later each time, but never when it was set up wrong.

use std::process::ExitStatus;
use std::time::Duration;

use muster_base::ErrorChain;
use muster_base::backoff::Backoff;
use tokio::time::Instant;
use tracing::{info, warn};

use super::child::{Child, ChildError, Start};
use super::programs::Programs;

/// Exit code of a program that was given wrong arguments or configuration: trying again gives the same.
const MISCONFIGURED: i32 = 2;
/// Who ran this long was well; the next restart is quick again.
const WELL_AFTER: Duration = Duration::from_secs(60);
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// One of the two daemons.
pub(super) struct Service {
    programs: Programs,
    start: Start,
    child: Option<Child>,
    started: Instant,
    backoff: Backoff,
}

impl Service {
    /// Takes charge of a child that runs; `start` is how it is started again.
    pub(super) fn new(programs: Programs, start: Start, child: Child) -> Self {
        Self {
            programs,
            start,
            child: Some(child),
            started: Instant::now(),
            backoff: Backoff::new(RETRY_FIRST, RETRY_MAX),
        }
    }

    /// Starts a child and takes charge of it.
    pub(super) fn run(programs: Programs, start: Start) -> Result<Self, ChildError> {
        let child = Child::start(&programs, &start, false)?;
        Ok(Self::new(programs, start, child))
    }

    /// Keeps it running until it ends in a way that trying again cannot mend. Can be dropped and called again.
    pub(super) async fn keep(&mut self) -> ChildError {
        let name = self.start.name;
        loop {
            if let Some(child) = &mut self.child {
                let status = match child.wait().await {
                    Ok(status) => status,
                    Err(source) => return ChildError::Wait { name, source },
                };
                self.child = None;
                if status.code() == Some(MISCONFIGURED) {
                    return ChildError::Failed { name, status };
                }
                self.rest(status).await;
            }
            match Child::start(&self.programs, &self.start, false) {
                Ok(child) => {
                    info!(program = name, "started again");
                    self.started = Instant::now();
                    self.child = Some(child);
                }
                Err(error) => {
                    let delay = self.backoff.next_delay();
                    warn!(program = name, error = %ErrorChain(&error), retry_in = ?delay, "cannot start it again");
                    tokio::time::sleep(delay).await;
                }
            }
        }
    }

    async fn rest(&mut self, status: ExitStatus) {
        if self.started.elapsed() >= WELL_AFTER {
            self.backoff.reset();
        }
        let delay = self.backoff.next_delay();
        warn!(program = self.start.name, %status, retry_in = ?delay, "a program ended by itself, starting it again");
        tokio::time::sleep(delay).await;
    }

    /// Ends it in good order within `limit`, else by force.
    pub(super) async fn stop(self, limit: Duration) {
        let Some(child) = self.child else {
            return;
        };
        if !child.stop(limit).await {
            warn!(
                program = self.start.name,
                limit_s = limit.as_secs(),
                "a program did not stop in time and was killed"
            );
        }
    }
}
