//! Breaking what is simulated on purpose: a simulation that does not notice proves nothing.

use muster_controller::intake::Answer;
use muster_model::{GapReason, Report};

use crate::controller::Item;

/// A way in which the code could be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sabotage {
    /// The controller acknowledges although the commit has failed.
    AckWithoutCommit,
    /// An acknowledgement names one report more than was stored.
    AckOneMore,
    /// What was committed last is gone after a controller's crash.
    ForgetCommits,
    /// A gap closes one number more than was lost.
    CloseOneMore,
    /// Gaps are taken and not remembered.
    ForgetGaps,
    /// A sync of the agent's disk says that all is well and does nothing.
    SyncNothing,
    /// The agent finds nothing on its disk after a start.
    ForgetSpool,
    /// The sample store calls samples safe that are in memory only.
    PassUnsealed,
}

impl Sabotage {
    pub(crate) const ALL: [Self; 8] = [
        Self::AckWithoutCommit,
        Self::AckOneMore,
        Self::ForgetCommits,
        Self::CloseOneMore,
        Self::ForgetGaps,
        Self::SyncNothing,
        Self::ForgetSpool,
        Self::PassUnsealed,
    ];

    /// What of a report reaches the intake.
    pub(crate) fn spoil(self, report: &mut Report) {
        match self {
            Self::CloseOneMore => {
                let lost = report
                    .gaps
                    .iter_mut()
                    .filter(|gap| gap.reason != GapReason::Refused);
                for gap in lost {
                    gap.range.last += 1;
                }
            }
            Self::ForgetGaps => report.gaps.clear(),
            _ => {}
        }
    }

    /// What an agent is told of something that could not be committed.
    pub(crate) fn answer_of_failed(sabotage: Option<Self>, item: &Item) -> Answer {
        match item {
            Item::Report(report, ..) if sabotage == Some(Self::AckWithoutCommit) => Answer::Stored {
                epoch: report.epoch,
                sequence: report.sequence,
                duplicate: false,
            },
            _ => Answer::Failed,
        }
    }
}
