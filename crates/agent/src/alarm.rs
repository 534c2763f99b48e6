//! The agent's own alarm: when the controller is gone nobody is told of anything any more, so somebody on this server
//! is told that.
//!
//! What is run is named in the settings, by an absolute path and with fixed arguments; both files, and all folders above
//! them, must be root's, and nobody else may write to them: the controller cannot choose what is run, and neither can a
//! user of this server. That is looked at before every run. It is run as whoever the agent runs as.

mod trust;

use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use muster_base::ErrorChain;
use tokio::sync::watch;
use tokio::time::Instant;

pub use self::trust::{TrustError, trusted};
use crate::config::alarm::Alarm;
use crate::host::run_own;
use crate::uplink::{Observer, UplinkEvent};

/// The least time between two runs, whatever happens in between, and after which one that failed is tried again.
const PAUSE: Duration = Duration::from_secs(10 * 60);
/// When the program is killed.
const DEADLINE: Duration = Duration::from_secs(60);

/// What has happened to the controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    Lost,
    Back,
}

impl Word {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Lost => "controller_lost",
            Self::Back => "controller_back",
        }
    }
}

/// Learns from the uplink whether the controller is reached.
#[derive(Debug)]
pub struct Reached(watch::Sender<bool>);

/// Whoever is told by the uplink, and what it was told last; nothing is reached yet.
#[must_use]
pub fn reached() -> (Reached, watch::Receiver<bool>) {
    let (reached, is_reached) = watch::channel(false);
    (Reached(reached), is_reached)
}

impl Observer for Reached {
    fn on_event(&self, event: &UplinkEvent) {
        match event {
            UplinkEvent::Connected => drop(self.0.send_replace(true)),
            UplinkEvent::Disconnected => drop(self.0.send_replace(false)),
            UplinkEvent::Acked { .. } => {}
        }
    }
}

/// Whoever is told.
trait Ring: Send + Sync {
    /// Tells; whether somebody heard.
    fn ring(&self, word: Word) -> impl Future<Output = bool> + Send;
}

/// Runs the program when the controller is lost and when it is back.
#[derive(Debug, Clone)]
pub struct Bell {
    alarm: Alarm,
    settings: Utf8PathBuf,
}

impl Bell {
    /// An alarm that was named in the settings file.
    ///
    /// # Errors
    /// [`TrustError`] if somebody else than root could change either.
    pub fn new(alarm: Alarm, settings: &Utf8Path) -> Result<Self, TrustError> {
        trusted(settings)?;
        trusted(&alarm.program)?;
        Ok(Self {
            alarm,
            settings: settings.to_owned(),
        })
    }

    /// Watches for as long as the uplink runs.
    pub async fn run(self, is_reached: watch::Receiver<bool>) {
        ring_when(is_reached, self.alarm.after, &self).await;
    }
}

impl Ring for Bell {
    async fn ring(&self, word: Word) -> bool {
        let what = word.as_str();
        let program = match trusted(&self.settings).and_then(|_| trusted(&self.alarm.program)) {
            Ok(program) => program,
            Err(error) => {
                tracing::error!(error = %ErrorChain(&error), what, "the alarm is not run");
                return false;
            }
        };
        let mut args: Vec<&str> = self.alarm.args.iter().map(String::as_str).collect();
        args.push(what);
        match run_own(&program, &args, DEADLINE).await {
            Ok(output) if output.status == Some(0) => {
                tracing::warn!(%program, what, "the alarm was run");
                true
            }
            Ok(output) => {
                let status = output.status;
                tracing::error!(%program, what, status, "the alarm's program failed, it is tried again");
                false
            }
            Err(error) => {
                tracing::error!(error = %ErrorChain(&error), what, "the alarm's program failed, it is tried again");
                false
            }
        }
    }
}

/// Rings when the controller was out of reach for so long, and when it is back after that.
async fn ring_when(mut is_reached: watch::Receiver<bool>, after: Duration, bell: &impl Ring) {
    let mut told = Word::Back;
    let mut not_before = Instant::now();
    loop {
        let is_here = *is_reached.borrow_and_update();
        let wanted = if is_here { Word::Back } else { Word::Lost };
        let wait = if wanted == told {
            Duration::MAX
        } else if is_here {
            Duration::ZERO
        } else {
            after
        };
        // Whatever changes meanwhile begins anew, so that only what lasts is told.
        let due = async {
            match Instant::now().checked_add(wait) {
                Some(at) => tokio::time::sleep_until(at.max(not_before)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = is_reached.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
            () = due => {}
        }
        if bell.ring(wanted).await {
            told = wanted;
        }
        not_before = Instant::now() + PAUSE;
    }
}

#[cfg(test)]
mod tests;
