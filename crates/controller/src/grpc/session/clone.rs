//! Two streams of one agent at a time: a clone, or a link that broke without the controller having noticed.
//!
//! The older stream is pinged. An agent that opened a newer one has dropped the older before and cannot answer; if
//! somebody does, the identity is in two hands. Nobody can tell which of them is the right one, so both are closed and
//! the identity goes into quarantine. Until that is settled nothing of the newer stream is taken.

use std::time::Duration;

use muster_base::ErrorChain;
use muster_proto::v1::CloseReason;

use super::conversation::ending;
use super::{End, Session, close, overloaded, shutdown};
use crate::app::live::{Ending, Registration};

/// How long the older stream may take to answer: a slow link's two round trips.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// Why an identity is in quarantine that was seen twice.
const TWICE: &str = "two agents with this identity were connected at the same time: one of them is a clone";

/// Finds out whether the older stream of this agent, if there is one, is a clone's.
pub(super) async fn settle(session: &Session, registration: &mut Registration) -> Result<(), End> {
    let Some(rival) = registration.rival.take() else {
        return Ok(());
    };
    let answers = tokio::select! {
        answers = rival.answers(ANSWER_MAX) => answers,
        end = ending(&mut registration.ending) => return Err(end),
        () = session.context.stop.cancelled() => return Err(shutdown()),
    };
    if !answers {
        return Ok(());
    }
    match session
        .context
        .app
        .quarantine(session.admitted.agent, TWICE)
        .await
    {
        Ok(()) => {
            rival.end(Ending::Quarantined);
            Err(close(CloseReason::Quarantined, TWICE, 0, 0))
        }
        Err(error) => {
            tracing::error!(error = %ErrorChain(&error), "a clone was found, but could not be put in quarantine");
            Err(overloaded("the controller cannot decide about this agent now", 0))
        }
    }
}
