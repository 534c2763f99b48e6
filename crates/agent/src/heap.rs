//! The agent's heap: after a burst, such as what all drives say at once, it is to be as small as before.

use std::time::Duration;

use muster_base::shutdown::CancellationToken;
use tokio::time::MissedTickBehavior;

/// How far apart free memory is given back. Most of what a collection needs is needed again by the next.
const EVERY: Duration = Duration::from_secs(60);

/// Gives free memory back now and then, until `shutdown`.
pub(crate) async fn give_back_often(shutdown: CancellationToken) {
    let mut turns = tokio::time::interval(EVERY);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while shutdown.run_until_cancelled(turns.tick()).await.is_some() {
        muster_trim::give_back();
    }
}
