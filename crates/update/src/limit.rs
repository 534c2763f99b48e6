//! How far updates may go.

use serde::{Deserialize, Serialize};

use crate::Change;

/// How far updates may go, from least to most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// Only the same tag, built anew.
    Digest,
    /// Also patches.
    Patch,
    /// Also minor versions.
    Minor,
    /// Everything.
    Major,
}

impl Limit {
    /// Every limit.
    pub const ALL: [Self; 4] = [Self::Digest, Self::Patch, Self::Minor, Self::Major];

    /// The word in JSON and labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Digest => "digest",
            Self::Patch => "patch",
            Self::Minor => "minor",
            Self::Major => "major",
        }
    }

    /// Whether it lets a change pass. What cannot be told passes only where everything does.
    #[must_use]
    pub const fn permits(self, change: Change) -> bool {
        match change {
            Change::Digest => true,
            Change::Patch => !matches!(self, Self::Digest),
            Change::Minor => matches!(self, Self::Minor | Self::Major),
            Change::Major | Change::Unknown => matches!(self, Self::Major),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_lets_nothing_pass_that_goes_further_or_cannot_be_told() {
        let changes = [Change::Digest, Change::Patch, Change::Minor, Change::Major];
        for (n, limit) in Limit::ALL.into_iter().enumerate() {
            let passed = changes.iter().filter(|change| limit.permits(**change)).count();
            assert_eq!(passed, n + 1);
            assert_eq!(limit.permits(Change::Unknown), limit == Limit::Major);
        }
    }
}
