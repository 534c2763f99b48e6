//! Trends over a drive's history: how fast it wears, when it will be worn out, how warm it has been.
//!
//! Pure functions over points of time and value; where they come from is the caller's business. "Cannot tell" is an
//! answer, and a better one than a date that rests on two days.

use serde::Serialize;

const DAY_MS: f64 = 86_400_000.0;
const YEAR_DAYS: f64 = 365.25;
/// Percentages used are whole numbers: over less than two weeks one step is all there is.
pub const WEAR_SPAN_DAYS_MIN: f64 = 14.0;
/// A line through fewer points is a guess.
pub const POINTS_MIN: usize = 8;
/// Past this a date is nothing anybody plans with.
const YEARS_MAX: f64 = 50.0;

/// When a solid state drive will have used its rated endurance.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum WearOut {
    /// At the pace of the history it happens then.
    At {
        /// Unix milliseconds.
        at_ms: i64,
        /// Endurance used a year, percent.
        percent_per_year: f64,
        /// Days of history it rests on.
        span_days: f64,
    },
    /// All of it is used already.
    Reached,
    /// It wears so slowly, or not at all, that the date lies more than fifty years ahead.
    NotInSight {
        /// Endurance used a year, percent.
        percent_per_year: f64,
        /// Days of history it rests on.
        span_days: f64,
    },
    /// The history does not say.
    CannotTell {
        /// Why not.
        reason: &'static str,
    },
}

/// When a drive will be worn out, from its history of endurance used (percent, 100 is what it is rated for): a line
/// of least squares, which a single wrong reading does not turn over.
///
/// The history counts from its last fall of more than one percent: there another drive took the place, or the firmware
/// began to count anew.
pub fn wear_out(history: &[(i64, f64)], now_ms: i64) -> WearOut {
    const USED_MAX: f64 = 100.0;
    let points = usable(history);
    let Some(&(_, used)) = points.last() else {
        return WearOut::CannotTell {
            reason: "there is no history of its wear",
        };
    };
    if USED_MAX <= used {
        return WearOut::Reached;
    }
    let fall = points.windows(2).rposition(|pair| pair[1].1 < pair[0].1 - 1.0);
    let points = &points[fall.map_or(0, |index| index + 1)..];
    if points.len() < POINTS_MIN {
        return WearOut::CannotTell {
            reason: "there are too few readings of its wear",
        };
    }
    let span_days = span_days(points);
    if span_days < WEAR_SPAN_DAYS_MIN {
        return WearOut::CannotTell {
            reason: "the history of its wear spans less than two weeks",
        };
    }
    let Some(per_day) = slope_per_day(points) else {
        return WearOut::CannotTell {
            reason: "the history of its wear has no pace",
        };
    };
    let percent_per_year = per_day * YEAR_DAYS;
    let days_left = (USED_MAX - used) / per_day;
    if per_day <= 0.0 || YEARS_MAX * YEAR_DAYS < days_left {
        return WearOut::NotInSight {
            percent_per_year: percent_per_year.max(0.0),
            span_days,
        };
    }
    // Within fifty years, so the cast cannot overflow.
    let at_ms = now_ms.saturating_add((days_left * DAY_MS) as i64);
    WearOut::At {
        at_ms,
        percent_per_year,
        span_days,
    }
}

/// How warm a drive has been.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct TemperatureTrend {
    /// Lowest, degrees Celsius.
    pub min: f64,
    /// Highest.
    pub max: f64,
    /// Mean of the readings.
    pub mean: f64,
    /// Change a day by a line of least squares; absent below two days of history.
    pub celsius_per_day: Option<f64>,
    /// Days of history.
    pub span_days: f64,
}

/// What a history of temperatures comes to; `None` without one.
pub fn temperature(history: &[(i64, f64)]) -> Option<TemperatureTrend> {
    const SLOPE_SPAN_DAYS_MIN: f64 = 2.0;
    let points = usable(history);
    let values = || points.iter().map(|point| point.1);
    if points.is_empty() {
        return None;
    }
    let span_days = span_days(&points);
    let has_slope = SLOPE_SPAN_DAYS_MIN <= span_days && POINTS_MIN <= points.len();
    Some(TemperatureTrend {
        min: values().fold(f64::INFINITY, f64::min),
        max: values().fold(f64::NEG_INFINITY, f64::max),
        mean: values().sum::<f64>() / points.len() as f64,
        celsius_per_day: slope_per_day(&points).filter(|_| has_slope),
        span_days,
    })
}

/// How much a counter has grown over its history, and over how many days; resets count as nothing.
pub fn growth(history: &[(i64, f64)]) -> Option<(f64, f64)> {
    let points = usable(history);
    if points.len() < 2 {
        return None;
    }
    let grown = points
        .windows(2)
        .map(|pair| (pair[1].1 - pair[0].1).max(0.0))
        .sum();
    Some((grown, span_days(&points)))
}

/// Real numbers in order of time, each time once.
fn usable(history: &[(i64, f64)]) -> Vec<(i64, f64)> {
    let mut points: Vec<(i64, f64)> = history
        .iter()
        .copied()
        .filter(|point| point.1.is_finite())
        .collect();
    points.sort_by_key(|point| point.0);
    points.dedup_by_key(|point| point.0);
    points
}

fn span_days(points: &[(i64, f64)]) -> f64 {
    match (points.first(), points.last()) {
        (Some(first), Some(last)) => last.0.saturating_sub(first.0) as f64 / DAY_MS,
        _ => 0.0,
    }
}

/// Slope of the line of least squares, a day; `None` if all points are of one time.
fn slope_per_day(points: &[(i64, f64)]) -> Option<f64> {
    let start = points.first()?.0;
    let count = points.len() as f64;
    let days = |point: &(i64, f64)| point.0.saturating_sub(start) as f64 / DAY_MS;
    let mean_x = points.iter().map(days).sum::<f64>() / count;
    let mean_y = points.iter().map(|point| point.1).sum::<f64>() / count;
    let (mut covariance, mut variance) = (0.0, 0.0);
    for point in points {
        let x = days(point) - mean_x;
        covariance += x * (point.1 - mean_y);
        variance += x * x;
    }
    let slope = covariance / variance;
    slope.is_finite().then_some(slope)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY: i64 = 86_400_000;

    fn line(days: i64, start: f64, per_day: f64) -> Vec<(i64, f64)> {
        (0..=days)
            .map(|day| (day * DAY, (start + per_day * day as f64).floor()))
            .collect()
    }

    #[test]
    fn a_steady_pace_gives_the_day() {
        // 10 % used, one percent every ten days: 80 days from day 100 (20 %) on are 800 days.
        let WearOut::At {
            at_ms,
            percent_per_year,
            span_days,
        } = wear_out(&line(100, 10.0, 0.1), 100 * DAY)
        else {
            panic!("a date");
        };
        let days = (at_ms - 100 * DAY) as f64 / DAY as f64;
        assert!((days - 800.0).abs() < 40.0, "{days}");
        assert!((percent_per_year - 36.5).abs() < 2.0, "{percent_per_year}");
        assert!((span_days - 100.0).abs() < 0.01);
    }

    #[test]
    fn too_little_history_is_no_date() {
        assert!(matches!(wear_out(&[], 0), WearOut::CannotTell { .. }));
        assert!(matches!(
            wear_out(&line(13, 10.0, 1.0), 13 * DAY),
            WearOut::CannotTell { .. }
        ));
        let two = [(0, 10.0), (300 * DAY, 20.0)];
        assert!(matches!(wear_out(&two, 300 * DAY), WearOut::CannotTell { .. }));
    }

    #[test]
    fn a_drive_that_does_not_wear_has_no_date_and_a_worn_one_needs_none() {
        assert!(matches!(
            wear_out(&line(400, 3.0, 0.0), 400 * DAY),
            WearOut::NotInSight { .. }
        ));
        assert_eq!(wear_out(&line(100, 95.0, 0.1), 100 * DAY), WearOut::Reached);
    }

    #[test]
    fn a_replaced_drive_starts_its_own_history() {
        let mut history = line(200, 60.0, 0.1);
        history.extend((0..=60).map(|day| ((201 + day) * DAY, (day as f64 / 10.0).floor())));
        let WearOut::At {
            span_days,
            percent_per_year,
            ..
        } = wear_out(&history, 261 * DAY)
        else {
            panic!("a date");
        };
        assert!((span_days - 60.0).abs() < 0.01 && (30.0..45.0).contains(&percent_per_year));
    }

    #[test]
    fn temperatures_have_a_slope_only_after_days() {
        let day: Vec<(i64, f64)> = (0..48).map(|half| (half * DAY / 48, 30.0)).collect();
        assert_eq!(temperature(&day).unwrap().celsius_per_day, None);
        let week = line(7, 30.0, 1.0);
        let trend = temperature(&week).unwrap();
        assert!(
            (trend.celsius_per_day.unwrap() - 1.0).abs() < 0.01 && trend.max == 37.0 && trend.min == 30.0
        );
        assert_eq!(temperature(&[(0, f64::NAN)]), None);
    }

    #[test]
    fn growth_leaves_out_resets() {
        assert_eq!(
            growth(&[(0, 5.0), (DAY, 9.0), (2 * DAY, 0.0), (3 * DAY, 2.0)]),
            Some((6.0, 3.0))
        );
        assert_eq!(growth(&[(0, 5.0)]), None);
    }

    proptest! {
        #[test]
        fn no_history_makes_it_panic(points in proptest::collection::vec((any::<i64>(), any::<f64>()), 0..40), now: i64) {
            let _ = (wear_out(&points, now), temperature(&points), growth(&points));
        }
    }
}
