//! Health as it is shown and judged.

use serde::{Deserialize, Serialize};

/// How well a resource is, from best to worst for the purpose of merging several opinions.
///
/// `Unknown` stands above `Healthy`: one collector that cannot tell outweighs another that saw nothing wrong,
/// because an unknown must never be shown as good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// Nothing wrong was found, and enough was read to say so.
    Healthy,
    /// Too little is known to judge.
    Unknown,
    /// Works, but someone should look.
    Warning,
    /// Works badly or is about to fail.
    Critical,
    /// Does not do its work any more, or says of itself that it fails.
    Failed,
}

impl Health {
    /// Every value, in the order of [`Ord`].
    pub const ALL: [Self; 5] = [
        Self::Healthy,
        Self::Unknown,
        Self::Warning,
        Self::Critical,
        Self::Failed,
    ];

    /// The lower-case word used in JSON, tables and on the page.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Unknown => "unknown",
            Self::Warning => "warning",
            Self::Critical => "critical",
            Self::Failed => "failed",
        }
    }

    /// The value of a word made by [`Health::as_str`].
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|health| health.as_str() == word)
    }
}

impl std::fmt::Display for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
