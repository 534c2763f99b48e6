//! What `/readyz` says: whether queries are complete and reports are taken, and if not, why.
//!
//! What stands in the way of writing makes the controller read-only, not dead: it answers what it knows, acknowledges
//! nothing, and agents keep their reports until it goes on by itself.

use std::sync::atomic::Ordering;

use super::data::Data;
use crate::http::Readiness;
use crate::intake::IntakeState;
use crate::task::TaskStatuses;

/// Tasks without which what is stored cannot go on being stored.
const STORING_TASKS: [&str; 2] = ["seal_samples", "trim_intake"];

/// How it is now; `is_caught_up` says whether what was accepted before the start is applied.
pub(super) fn of(data: &Data, tasks: &TaskStatuses, is_caught_up: bool, replay: &Replay) -> Readiness {
    match in_the_way(data, tasks) {
        Some(reason) => Readiness::NotReady(format!("read-only: {reason}")),
        None if is_caught_up => Readiness::Ready,
        None => Readiness::NotReady(replay.describe(data)),
    }
}

/// Why nothing can be stored, if so.
fn in_the_way(data: &Data, tasks: &TaskStatuses) -> Option<String> {
    match data.intake.state() {
        IntakeState::Taking => {}
        IntakeState::Full(full) => return Some(format!("{full}; agents keep their reports")),
        IntakeState::Broken => {
            return Some("the intake cannot be written; agents keep their reports".to_owned());
        }
    }
    let consumers = &data.consumers;
    for (name, metrics) in [
        ("state", &consumers.state_metrics),
        ("samples", &consumers.samples_metrics),
    ] {
        if metrics.is_failing.load(Ordering::Relaxed) {
            return Some(format!(
                "reports are stored, but not applied to the {name}; see the log"
            ));
        }
    }
    let failing = |(name, status): &(&str, crate::task::TaskStatus)| {
        STORING_TASKS.contains(name) && !status.last_error.is_empty()
    };
    let (name, status) = tasks.all().into_iter().find(failing)?;
    Some(format!("{name} fails: {}", status.last_error))
}

/// Applying what was accepted before the start.
#[derive(Debug, Clone, Copy)]
pub(super) struct Replay {
    from: i64,
    to: i64,
}

impl Replay {
    /// What is to be applied now.
    pub(super) fn of(data: &Data) -> Self {
        Self {
            from: *data.consumers.applied.borrow(),
            to: *data.intake.committed().borrow(),
        }
    }

    /// Reports to apply, and how many of them are.
    pub(super) fn progress(&self, data: &Data) -> (i64, i64) {
        let applied = (*data.consumers.applied.borrow()).min(self.to);
        (applied - self.from, self.to - self.from)
    }

    fn describe(&self, data: &Data) -> String {
        let (done, all) = self.progress(data);
        format!("starting: {done} of {all} reports since the last sealing are applied")
    }
}
