//! How earlier epochs ended, until the controller knows of each.
//!
//! A report has room for one. The newest comes first; an older one is here because the agent died again before its
//! end could be told.

use muster_model::PreviousEpoch;

/// Ends to be told, each with the number of the report that says so; 0 if none does yet.
#[derive(Debug, Default)]
pub(super) struct Ends(Vec<(PreviousEpoch, u64)>);

impl Ends {
    pub(super) fn new(ends: impl IntoIterator<Item = PreviousEpoch>) -> Self {
        Self(ends.into_iter().map(|end| (end, 0)).collect())
    }

    /// These, and after them those.
    pub(super) fn and(mut self, earlier: impl IntoIterator<Item = PreviousEpoch>) -> Self {
        self.0.extend(Self::new(earlier).0);
        self
    }

    /// What the report with number `sequence` is to say.
    pub(super) fn name_by(&mut self, sequence: u64) -> Option<PreviousEpoch> {
        let (end, named_in) = self.0.iter_mut().find(|(_, named_in)| *named_in == 0)?;
        *named_in = sequence;
        Some(*end)
    }

    pub(super) fn carrier_is_lost(&mut self, sequence: u64) {
        for (_, named_in) in &mut self.0 {
            if *named_in == sequence {
                *named_in = 0;
            }
        }
    }

    pub(super) fn carrier_is_acked(&mut self, sequence: u64) {
        self.0.retain(|(_, named_in)| *named_in != sequence);
    }

    /// Whether the controller knows of all.
    pub(super) fn is_told(&self) -> bool {
        self.0.is_empty()
    }
}
