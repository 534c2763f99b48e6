//! Where the points of a range come from: samples, or roll-ups.

use muster_samples::{Reader, Resolution};

/// Steps from which on roll-ups are fine enough.
const ROLLED_STEP_MS: i64 = 300_000;
/// The latest part of a range comes from samples all the same: its last bucket is not over.
const FRESH_MS: i64 = 3_600_000;

/// Where points come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// Samples as they were measured.
    Samples,
    /// The last sample of each bucket.
    Rolled(Resolution),
}

impl Source {
    /// How long before its time a point may have been measured, in milliseconds.
    pub(super) const fn bucket_ms(self) -> i64 {
        match self {
            Self::Samples => 0,
            Self::Rolled(resolution) => resolution.bucket_ms(),
        }
    }
}

/// From when on there is what, Unix milliseconds.
#[derive(Debug, Clone, Copy)]
struct Since {
    samples: Option<i64>,
    fine: Option<i64>,
    coarse: Option<i64>,
}

/// The parts of a closed range of time, the earliest first, each with its source. With steps each part begins and ends
/// at one.
pub(super) fn plan(reader: &Reader, range: (i64, i64), step_ms: Option<i64>) -> Vec<(Source, i64, i64)> {
    let since = Since {
        samples: reader.samples_since_ms(),
        fine: reader.rolled_since_ms(Resolution::FiveMinutes),
        coarse: reader.rolled_since_ms(Resolution::Hour),
    };
    parts(since, range, step_ms)
}

fn parts(since: Since, (start_ms, end_ms): (i64, i64), step_ms: Option<i64>) -> Vec<(Source, i64, i64)> {
    let is_wide = step_ms.is_some_and(|step_ms| ROLLED_STEP_MS <= step_ms);
    let never = i64::MAX;
    let mut samples = since.samples.unwrap_or(never);
    if is_wide {
        samples = samples.max(end_ms.saturating_sub(FRESH_MS));
    }
    // Where there are samples, buckets can be made of them.
    let fine = since
        .fine
        .unwrap_or(never)
        .min(since.samples.unwrap_or(never))
        .min(samples);
    let coarse = since.coarse.unwrap_or(never);
    if fine == never && coarse == never {
        return vec![(Source::Samples, start_ms, end_ms)];
    }
    let align = |time_ms: i64| match step_ms {
        Some(step_ms) if start_ms < time_ms => {
            let steps = time_ms.saturating_sub(start_ms).saturating_add(step_ms - 1) / step_ms;
            start_ms.saturating_add(steps.saturating_mul(step_ms))
        }
        _ => time_ms.max(start_ms),
    };
    let (fine, samples) = (align(fine), align(samples));
    let all = [
        (Source::Rolled(Resolution::Hour), start_ms, fine),
        (Source::Rolled(Resolution::FiveMinutes), fine, samples),
        (Source::Samples, samples, never),
    ];
    all.into_iter()
        .map(|(source, from_ms, until_ms)| (source, from_ms, until_ms.saturating_sub(1).min(end_ms)))
        .filter(|(_, from_ms, until_ms)| from_ms <= until_ms)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;
    const DAY: i64 = 24 * HOUR;
    const FINE: Source = Source::Rolled(Resolution::FiveMinutes);
    const COARSE: Source = Source::Rolled(Resolution::Hour);

    fn since(samples: i64, fine: i64, coarse: i64) -> Since {
        Since {
            samples: Some(samples),
            fine: Some(fine),
            coarse: Some(coarse),
        }
    }

    #[test]
    fn samples_are_taken_while_they_are_there_and_then_the_finest_roll_up() {
        let since = since(100 * DAY, 50 * DAY, 0);
        let parts = |start, end, step| parts(since, (start, end), step);
        assert_eq!(
            parts(100 * DAY, 101 * DAY, None),
            [(Source::Samples, 100 * DAY, 101 * DAY)]
        );
        assert_eq!(
            parts(40 * DAY, 101 * DAY, None),
            [
                (COARSE, 40 * DAY, 50 * DAY - 1),
                (FINE, 50 * DAY, 100 * DAY - 1),
                (Source::Samples, 100 * DAY, 101 * DAY)
            ]
        );
        assert_eq!(
            parts(40 * DAY, 41 * DAY, Some(1_000)),
            [(COARSE, 40 * DAY, 41 * DAY)]
        );
    }

    #[test]
    fn wide_steps_take_roll_ups_except_for_the_latest() {
        let since = since(100 * DAY, 50 * DAY, 0);
        assert_eq!(
            parts(since, (100 * DAY, 101 * DAY), Some(300_000)),
            [
                (FINE, 100 * DAY, 101 * DAY - HOUR - 1),
                (Source::Samples, 101 * DAY - HOUR, 101 * DAY)
            ]
        );
    }

    #[test]
    fn every_step_lies_in_one_part() {
        let step = 7_000;
        let all = parts(
            since(100 * DAY + 5, 50 * DAY + 3, 0),
            (49 * DAY, 101 * DAY),
            Some(step),
        );
        for part in &all[1..] {
            assert_eq!((part.1 - 49 * DAY) % step, 0);
        }
        assert_eq!((all.len(), all[1].1 - 1, all[2].1 - 1), (3, all[0].2, all[1].2));
    }

    #[test]
    fn an_empty_store_is_asked_for_samples() {
        let nothing = Since {
            samples: None,
            fine: None,
            coarse: None,
        };
        assert_eq!(parts(nothing, (0, 5), None), [(Source::Samples, 0, 5)]);
    }
}
