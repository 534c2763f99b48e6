//! Sets of sequence numbers, kept as ranges.
//!
//! Acknowledgement and de-duplication are both "which numbers of this epoch are here". A set is bounded at
//! [`limits::RANGES_PER_EPOCH_MAX`] ranges: at the bound only what closes the lowest hole is taken, so that a set that
//! is full can but shrink from below.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::limits;

/// An inclusive range of sequence numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SequenceRange {
    /// The first number in the range.
    pub first: u64,
    /// The last number in the range, never less than `first`.
    pub last: u64,
}

/// The set already has as many ranges as it may have, and the number does not touch the lowest of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("too many holes: the lowest missing sequence number is {lowest_hole}")]
pub struct RangesFull {
    /// The lowest number that is missing; whoever asks again should close this hole first.
    pub lowest_hole: u64,
}

/// Sorted, disjoint, non-adjacent ranges of sequence numbers.
///
/// ```
/// let mut set = muster_model::RangeSet::default();
/// set.insert(1).unwrap();
/// set.insert(3).unwrap();
/// set.insert(2).unwrap();
/// assert_eq!(set.iter().count(), 1);
/// assert!(set.contains(2) && !set.contains(4));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RangeSet(Vec<SequenceRange>);

impl RangeSet {
    /// The ranges in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = SequenceRange> + '_ {
        self.0.iter().copied()
    }

    /// How many ranges there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no number is in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `sequence` is in the set.
    #[must_use]
    pub fn contains(&self, sequence: u64) -> bool {
        let after = self.0.partition_point(|range| range.first <= sequence);
        after
            .checked_sub(1)
            .is_some_and(|index| sequence <= self.0[index].last)
    }

    /// The parts of `range` that are not in the set, in ascending order.
    #[must_use]
    pub fn missing_of(&self, range: SequenceRange) -> Vec<SequenceRange> {
        let (mut missing, mut next) = (Vec::new(), range.first);
        let start = self.0.partition_point(|known| known.last < range.first);
        for known in self.0[start..]
            .iter()
            .take_while(|known| known.first <= range.last)
        {
            if next < known.first {
                missing.push(SequenceRange {
                    first: next,
                    last: known.first - 1,
                });
            }
            let Some(after) = known.last.checked_add(1) else {
                return missing;
            };
            next = after;
        }
        if next <= range.last {
            missing.push(SequenceRange {
                first: next,
                last: range.last,
            });
        }
        missing
    }

    /// The lowest number ≥ 1 that is not in the set; sequences begin at 1.
    #[must_use]
    pub fn lowest_hole(&self) -> u64 {
        match self.0.first() {
            Some(range) if range.first <= 1 => range.last.saturating_add(1),
            _ => 1,
        }
    }

    /// Adds one number. Returns whether it was new.
    ///
    /// # Errors
    /// [`RangesFull`] if the set is at its bound and the number is not the lowest that is missing.
    pub fn insert(&mut self, sequence: u64) -> Result<bool, RangesFull> {
        if self.contains(sequence) {
            return Ok(false);
        }
        self.insert_range(SequenceRange {
            first: sequence,
            last: sequence,
        })?;
        Ok(true)
    }

    /// Adds every number of `range`.
    ///
    /// # Errors
    /// [`RangesFull`] if the set is at its bound and the range does not close its lowest hole.
    pub fn insert_range(&mut self, range: SequenceRange) -> Result<(), RangesFull> {
        if range.last < range.first {
            return Ok(());
        }
        // Everything from `start` up to `end` overlaps the new range or stands directly beside it.
        let start = self
            .0
            .partition_point(|old| old.last.saturating_add(1) < range.first);
        let end = self
            .0
            .partition_point(|old| old.first <= range.last.saturating_add(1));
        let is_full = limits::RANGES_PER_EPOCH_MAX <= self.0.len() + usize::from(self.begins_late());
        let lowest_hole = self.lowest_hole();
        if is_full && !(range.first <= lowest_hole && lowest_hole <= range.last) && !self.covers(range) {
            return Err(RangesFull { lowest_hole });
        }
        if start == end {
            self.0.insert(start, range);
            return Ok(());
        }
        let merged = SequenceRange {
            first: range.first.min(self.0[start].first),
            last: range.last.max(self.0[end - 1].last),
        };
        self.0.splice(start..end, [merged]);
        Ok(())
    }

    /// Whether the numbers before the first range are missing; what closes them becomes a range of its own, for which
    /// a place is kept.
    fn begins_late(&self) -> bool {
        self.0.first().is_some_and(|range| 1 < range.first)
    }

    fn covers(&self, wanted: SequenceRange) -> bool {
        let after = self.0.partition_point(|range| range.first <= wanted.first);
        after
            .checked_sub(1)
            .is_some_and(|index| wanted.last <= self.0[index].last)
    }
}

impl FromIterator<SequenceRange> for RangeSet {
    /// Collects ranges in any order; those beyond the bound are left out.
    fn from_iter<I: IntoIterator<Item = SequenceRange>>(iter: I) -> Self {
        let mut set = Self::default();
        for range in iter {
            // A set from a peer that is over the bound is cut: a missing range only means sending again.
            if set.insert_range(range).is_err() {
                break;
            }
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_of_a_range_is_told_in_parts() {
        let range = |first, last| SequenceRange { first, last };
        let set: RangeSet = [range(3, 4), range(8, 9), range(u64::MAX, u64::MAX)]
            .into_iter()
            .collect();
        assert_eq!(
            set.missing_of(range(1, 10)),
            [range(1, 2), range(5, 7), range(10, 10)]
        );
        assert_eq!(set.missing_of(range(4, 8)), [range(5, 7)]);
        assert_eq!(set.missing_of(range(3, 4)), []);
        assert_eq!(
            set.missing_of(range(u64::MAX - 1, u64::MAX)),
            [range(u64::MAX - 1, u64::MAX - 1)]
        );
        assert_eq!(RangeSet::default().missing_of(range(2, 2)), [range(2, 2)]);
    }

    #[test]
    fn numbers_in_any_order_become_one_range() {
        let mut set = RangeSet::default();
        for n in [5, 1, 3, 2, 4, 3] {
            set.insert(n).unwrap();
        }
        assert_eq!(
            set.iter().collect::<Vec<_>>(),
            [SequenceRange { first: 1, last: 5 }]
        );
        assert_eq!(set.lowest_hole(), 6);
    }

    #[test]
    fn a_range_swallows_what_it_covers() {
        let mut set = RangeSet::default();
        for n in [2, 4, 6, 20] {
            set.insert(n).unwrap();
        }
        set.insert_range(SequenceRange { first: 1, last: 9 }).unwrap();
        assert_eq!(
            set.iter().collect::<Vec<_>>(),
            [
                SequenceRange { first: 1, last: 9 },
                SequenceRange { first: 20, last: 20 }
            ]
        );
    }

    /// Every second number from `first` on, as many as fit.
    fn full(first: u64) -> RangeSet {
        let mut set = RangeSet::default();
        let mut next = first;
        while set.insert(next).is_ok() {
            next += 2;
        }
        set
    }

    #[test]
    fn at_the_bound_only_the_lowest_hole_is_closed_and_the_answer_names_it() {
        let mut set = full(1);
        assert_eq!(set.len(), limits::RANGES_PER_EPOCH_MAX);
        let full = RangesFull { lowest_hole: 2 };
        // It touches ranges, and closing it would make room; but not from below.
        assert_eq!(set.insert(4), Err(full));
        assert_eq!(set.insert(9_000), Err(full));
        assert_eq!(set.insert(3), Ok(false), "what is there is there");
        assert_eq!(set.insert(2), Ok(true));
        assert_eq!(set.len(), limits::RANGES_PER_EPOCH_MAX - 1);
        assert_eq!(set.insert(9_000), Ok(true), "there is room again");
        assert_eq!(set.lowest_hole(), 4);
    }

    #[test]
    fn a_full_set_whose_first_numbers_are_missing_takes_them() {
        let mut set = full(10);
        assert_eq!(set.insert(8), Err(RangesFull { lowest_hole: 1 }));
        assert_eq!(set.insert(11), Err(RangesFull { lowest_hole: 1 }));
        for number in 1..=9 {
            assert_eq!(set.insert(number), Ok(true));
            assert!(set.len() <= limits::RANGES_PER_EPOCH_MAX);
        }
        assert_eq!(set.lowest_hole(), 11);
    }

    #[test]
    fn a_full_set_is_always_emptied_by_sending_what_it_names() {
        let mut set = full(7);
        let mut steps = 0;
        while 1 < set.len() {
            let hole = set.lowest_hole();
            set.insert(hole).unwrap();
            steps += 1;
        }
        assert!(steps < 3 * limits::RANGES_PER_EPOCH_MAX, "{steps}");
    }

    #[test]
    fn the_ends_of_the_number_space_are_ordinary_numbers() {
        let mut set = RangeSet::default();
        set.insert(u64::MAX).unwrap();
        set.insert(u64::MAX - 1).unwrap();
        set.insert(0).unwrap();
        assert!(set.contains(u64::MAX) && set.contains(0) && !set.contains(1));
        assert_eq!(set.len(), 2);
    }
}
