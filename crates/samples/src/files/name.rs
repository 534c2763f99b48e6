//! Names of files: the period, the number of the file within it, and whether it stands for those before it.

use std::fmt;

use camino::Utf8Path;

use crate::error::StoreError;
use crate::tier::Period;

/// What follows the number of a file that stands for all of the period before it.
const REWRITTEN: char = 'c';

/// A file's name. Ordered by period, then in the order in which the files were written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct FileName {
    /// The period.
    pub(super) period: Period,
    /// Its number within the period.
    pub(super) number: u32,
    /// Whether it stands for all files of lower numbers.
    pub(super) is_rewritten: bool,
}

impl FileName {
    /// A file that is written to.
    pub(super) const fn new(period: Period, number: u32) -> Self {
        Self {
            period,
            number,
            is_rewritten: false,
        }
    }

    /// The least name of a period.
    pub(super) const fn first_of(period: Period) -> Self {
        Self::new(period, 0)
    }

    /// The greatest name of a period.
    pub(super) const fn last_of(period: Period) -> Self {
        Self {
            period,
            number: u32::MAX,
            is_rewritten: true,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let stem = text.strip_suffix(".db")?;
        let (period, number) = stem.split_once('.').unwrap_or((stem, "0"));
        let is_rewritten = number.ends_with(REWRITTEN);
        let name = Self {
            period: Period::parse(period)?,
            number: number.strip_suffix(REWRITTEN).unwrap_or(number).parse().ok()?,
            is_rewritten,
        };
        // Whatever reads alike but is written differently is not ours.
        (name.to_string() == text).then_some(name)
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let period = self.period.name();
        match (self.number, self.is_rewritten) {
            (0, false) => write!(f, "{period}.db"),
            (number, false) => write!(f, "{period}.{number}.db"),
            (number, true) => write!(f, "{period}.{number}{REWRITTEN}.db"),
        }
    }
}

/// The names of a folder's files, ascending.
pub(super) fn list(dir: &Utf8Path) -> Result<Vec<FileName>, StoreError> {
    let failed = |source| StoreError::io("list", dir, source);
    let mut names = Vec::new();
    for entry in dir.read_dir_utf8().map_err(failed)? {
        names.extend(FileName::parse(entry.map_err(failed)?.file_name()));
    }
    names.sort_unstable();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tier::Tier;

    #[test]
    fn a_name_comes_back() {
        let period = Period::holding(Tier::Raw, 20_413);
        for (number, is_rewritten, text) in [
            (0, false, "raw-2025-11-21.db"),
            (2, false, "raw-2025-11-21.2.db"),
            (3, true, "raw-2025-11-21.3c.db"),
        ] {
            let name = FileName {
                period,
                number,
                is_rewritten,
            };
            assert_eq!(name.to_string(), text);
            assert_eq!(FileName::parse(text), Some(name));
        }
        for text in [
            "raw-2025-11-21.0.db",
            "raw-2025-11-21.c.db",
            "raw-2025-11-21.01.db",
            "raw-2025-11-21.db-wal",
            "raw-2025-11-21.db.new",
            "index.db",
        ] {
            assert_eq!(FileName::parse(text), None, "{text}");
        }
    }
}
