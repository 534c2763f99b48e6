//! The agent's memory: what its start has taken, or a burst such as what all drives say at once, is given back.

use std::time::Duration;

use muster_base::shutdown::CancellationToken;
use tokio::time::{Instant, MissedTickBehavior};
use tracing::debug;

/// How far apart memory is given back. Most of what a collection needs is needed again by the next.
const EVERY: Duration = Duration::from_secs(60);

/// Gives back free memory now and then, and the program's code, of which what is run comes back; until `shutdown`.
pub(crate) async fn give_back_often(shutdown: CancellationToken) {
    let mut turns = tokio::time::interval_at(Instant::now() + EVERY, EVERY);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while shutdown.run_until_cancelled(turns.tick()).await.is_some() {
        muster_trim::give_back_heap();
        if !muster_trim::give_back_code() {
            debug!("the program's code can't be given back");
        }
    }
}
