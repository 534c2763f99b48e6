//! The controller's sign of life, for a watcher outside: given only while the controller does its work, so that it
//! stays away when reports are not stored any more, not only when the process is gone.

use std::time::Duration;

use muster_base::shutdown::CancellationToken;
use muster_notify::{Courier, Heartbeat, Outcome};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

/// Gives a sign as often, whenever `is_well`, until `stop`.
#[must_use]
pub fn spawn_heartbeat(
    heartbeat: Heartbeat,
    every: Duration,
    courier: Courier,
    is_well: impl Fn() -> bool + Send + 'static,
    stop: CancellationToken,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut fails = false;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            if !is_well() {
                continue;
            }
            let attempt = tokio::select! {
                () = stop.cancelled() => return,
                attempt = heartbeat.beat(&courier) => attempt,
            };
            let failed = attempt.outcome != Outcome::Delivered;
            if failed && !fails {
                tracing::warn!(answer = attempt.answer, "heartbeat not taken, will try again");
            } else if !failed && fails {
                tracing::info!("heartbeat taken again");
            }
            fails = failed;
        }
    })
}
