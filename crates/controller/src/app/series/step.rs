//! Points at regular steps from samples at any time. Pure.

/// The last value at each step, as long as it counts.
///
/// `times_ms` are ascending and of the length of `values`. A value counts for `staleness_ms` from its time, unless a
/// staleness marker ends it before. At most `room` points are made; the second part says whether there were more.
pub(super) fn at_steps(
    (times_ms, values): (&[i64], &[f64]),
    (start_ms, end_ms, step_ms): (i64, i64, i64),
    staleness_ms: i64,
    room: usize,
) -> (Vec<(i64, f64)>, bool) {
    let mut points = Vec::new();
    let mut next = 0;
    let mut at_ms = start_ms;
    while at_ms <= end_ms {
        while times_ms.get(next).is_some_and(|time_ms| *time_ms <= at_ms) {
            next += 1;
        }
        if let Some(last) = next.checked_sub(1)
            && at_ms - times_ms[last] < staleness_ms
            && !muster_model::is_stale(values[last])
        {
            if points.len() == room {
                return (points, true);
            }
            points.push((at_ms, values[last]));
        }
        at_ms = at_ms.saturating_add(step_ms);
    }
    (points, false)
}

#[cfg(test)]
mod tests {
    use muster_model::STALE_NAN;

    use super::*;

    const TIMES: [i64; 4] = [1_000, 2_000, 3_000, 10_000];

    fn at(values: [f64; 4], staleness_ms: i64, room: usize) -> (Vec<(i64, f64)>, bool) {
        at_steps((&TIMES, &values), (0, 12_000, 1_500), staleness_ms, room)
    }

    #[test]
    fn each_step_has_the_last_value_that_still_counts() {
        let (points, is_truncated) = at([1.0, 2.0, 3.0, 4.0], 3_000, 99);
        assert_eq!(
            points,
            [
                (1_500, 1.0),
                (3_000, 3.0),
                (4_500, 3.0),
                (10_500, 4.0),
                (12_000, 4.0)
            ]
        );
        assert!(!is_truncated);
    }

    #[test]
    fn a_staleness_marker_ends_a_series_at_once() {
        let (points, _) = at([1.0, 2.0, STALE_NAN, 4.0], 99_000, 99);
        assert_eq!(points, [(1_500, 1.0), (10_500, 4.0), (12_000, 4.0)]);
    }

    #[test]
    fn another_nan_is_a_value() {
        let (points, _) = at([1.0, 2.0, f64::NAN, 4.0], 3_000, 99);
        assert!(points[1].1.is_nan());
    }

    #[test]
    fn no_more_points_are_made_than_there_is_room() {
        let (points, is_truncated) = at([1.0, 2.0, 3.0, 4.0], 3_000, 2);
        assert_eq!((points.len(), is_truncated), (2, true));
        let (points, is_truncated) = at([1.0, 2.0, 3.0, 4.0], 3_000, 5);
        assert_eq!((points.len(), is_truncated), (5, false));
    }
}
