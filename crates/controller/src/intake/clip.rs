//! What a report's gaps say that is not known yet.
//!
//! An agent tells a loss again when it can't know that it has told it before, and as lost what was stored while the
//! acknowledgement was on its way. Neither may count: a loss is told once, and what is stored is not lost.

use muster_model::{Gap, RangeSet};

/// Most gaps that a report is left with; one that would have more is taken as it is.
const GAPS_MAX: usize = 1_024;

/// The parts of `gaps` that close numbers nobody has closed; `None` if that is all of them. `known` gives the numbers
/// of an epoch that are stored or closed.
pub(super) fn clip<E>(
    gaps: &[Gap],
    mut known: impl FnMut(u64) -> Result<RangeSet, E>,
) -> Result<Option<Vec<Gap>>, E> {
    let mut epochs: Vec<(u64, RangeSet)> = Vec::new();
    let mut kept = Vec::with_capacity(gaps.len());
    for gap in gaps {
        let index = match epochs.iter().position(|(epoch, _)| *epoch == gap.epoch) {
            Some(index) => index,
            None => {
                epochs.push((gap.epoch, known(gap.epoch)?));
                epochs.len() - 1
            }
        };
        let ranges = &mut epochs[index].1;
        let missing = ranges.missing_of(gap.range);
        let is_whole = missing == [gap.range];
        kept.extend(missing.into_iter().map(|range| Gap {
            range,
            // How many of them were in which part is not known.
            sample_count: gap.sample_count.filter(|_| is_whole),
            ..gap.clone()
        }));
        // A set at its bound forgets it; whoever stores the report finds the same and refuses.
        let _ = ranges.insert_range(gap.range);
    }
    let is_changed = kept != gaps && kept.len() <= GAPS_MAX.max(gaps.len());
    Ok(is_changed.then_some(kept))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use muster_model::{GapReason, SequenceRange};

    use super::*;

    fn gap(first: u64, last: u64, sample_count: Option<u64>) -> Gap {
        Gap {
            epoch: 7,
            range: SequenceRange { first, last },
            sample_count,
            reason: GapReason::BufferFull,
        }
    }

    fn clipped(gaps: &[Gap], known: &[(u64, u64)]) -> Option<Vec<Gap>> {
        let known = known.iter().map(|(first, last)| SequenceRange {
            first: *first,
            last: *last,
        });
        let known: RangeSet = known.collect();
        clip(gaps, |_| Ok::<_, Infallible>(known.clone())).unwrap()
    }

    #[test]
    fn a_loss_that_is_new_is_left_alone() {
        let gaps = [gap(3, 5, Some(9)), gap(7, 7, None)];
        assert_eq!(clipped(&gaps, &[(1, 2), (6, 6)]), None);
    }

    #[test]
    fn a_loss_that_was_told_before_is_not_told_again() {
        assert_eq!(clipped(&[gap(3, 5, Some(9))], &[(1, 6)]), Some(vec![]));
        let twice = [gap(3, 5, Some(9)), gap(3, 5, Some(9))];
        assert_eq!(clipped(&twice, &[]), Some(vec![gap(3, 5, Some(9))]));
    }

    #[test]
    fn what_is_stored_is_not_lost() {
        let parts = vec![gap(2, 3, None), gap(6, 9, None)];
        assert_eq!(clipped(&[gap(2, 9, Some(40))], &[(4, 5)]), Some(parts));
    }

    #[test]
    fn a_gap_in_very_many_parts_stays_one() {
        let holes: Vec<_> = (1..=1_000).map(|n| (n * 2, n * 2)).collect();
        let parts = clipped(&[gap(1, 3_000, Some(1))], &holes).unwrap();
        assert_eq!(parts.len(), 1_001);
        let twice = [gap(1, 1_000, None), gap(1_001, 3_000, None)];
        assert_eq!(clipped(&twice, &holes).unwrap().len(), 1_001);
        let mut many = vec![gap(1, 3_000, Some(1))];
        many.extend((0..100).map(|n| gap(4_000 + 2 * n, 4_000 + 2 * n, None)));
        assert_eq!(clipped(&many, &holes), None);
    }
}
