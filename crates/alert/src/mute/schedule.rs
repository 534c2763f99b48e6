//! Times that come once or again and again, in a time zone.
//!
//! A recurring time begins at what the clock on the wall shows there: where daylight saving leaves that out, it begins
//! as much later as clocks are set forward; where it comes twice, the first one counts. A window ends when the wall
//! clock shows its end, so on a night of 23 or 25 hours it is an hour shorter or longer.

use cronexpr::{Crontab, MakeTimestamp, parse_crontab};
use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

/// Longest that one occurrence of a cron expression lasts, ms.
pub(crate) const DURATION_MAX_MS: i64 = 7 * 24 * 3_600_000;
/// Most occurrences looked at that may have begun and not ended; an expression that begins more often than its
/// duration is in force all the time, which the first one shows.
const OCCURRENCES_MAX: usize = 4;

/// When.
#[derive(Debug, Clone)]
pub enum Schedule {
    /// From one time to another, Unix ms; the end is outside.
    Once {
        /// When it begins.
        start_ms: i64,
        /// When it ends.
        end_ms: i64,
    },
    /// On days of the week, from one time to another.
    Weekly(Weekly),
    /// Whenever a cron expression says, for a while.
    Cron(Cron),
}

/// On days of the week, from one time to another; to the next day if that is not later.
#[derive(Debug, Clone)]
pub struct Weekly {
    /// The days on which it begins.
    pub days: Vec<Weekday>,
    /// When it begins.
    pub from: Time,
    /// When it ends; on the next day if that is not after `from`.
    pub to: Time,
    /// Whose clock.
    pub zone: TimeZone,
}

/// A cron expression and how long each occurrence lasts.
#[derive(Debug, Clone)]
pub struct Cron {
    /// Minute, hour, day of month, month, day of week.
    pub expression: String,
    /// How long it lasts each time, ms.
    pub duration_ms: i64,
    /// Whose clock.
    pub zone: TimeZone,
    crontab: Box<Crontab>,
}

impl PartialEq for Schedule {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Once { start_ms, end_ms },
                Self::Once {
                    start_ms: other_start,
                    end_ms: other_end,
                },
            ) => start_ms == other_start && end_ms == other_end,
            (Self::Weekly(one), Self::Weekly(other)) => {
                one.days == other.days
                    && one.from == other.from
                    && one.to == other.to
                    && one.zone == other.zone
            }
            (Self::Cron(one), Self::Cron(other)) => {
                one.expression == other.expression
                    && one.duration_ms == other.duration_ms
                    && one.zone == other.zone
            }
            _ => false,
        }
    }
}

impl Schedule {
    /// Whether `now_ms` (Unix ms) lies in it.
    #[must_use]
    pub fn contains(&self, now_ms: i64) -> bool {
        match self {
            Self::Once { start_ms, end_ms } => (*start_ms..*end_ms).contains(&now_ms),
            Self::Weekly(weekly) => weekly.contains(now_ms),
            Self::Cron(cron) => cron.contains(now_ms),
        }
    }

    /// When it begins next after `now_ms`, Unix ms; `None` if it never does.
    #[must_use]
    pub fn next_start_ms(&self, now_ms: i64) -> Option<i64> {
        match self {
            Self::Once { start_ms, .. } => Some(*start_ms).filter(|start| now_ms < *start),
            Self::Weekly(weekly) => weekly.next_start_ms(now_ms),
            Self::Cron(cron) => cron.next_start_ms(now_ms),
        }
    }

    /// Whether it never comes (again) after `now_ms`.
    #[must_use]
    pub fn is_over(&self, now_ms: i64) -> bool {
        matches!(self, Self::Once { end_ms, .. } if *end_ms <= now_ms)
    }
}

impl Weekly {
    fn next_start_ms(&self, now_ms: i64) -> Option<i64> {
        let now = Timestamp::from_millisecond(now_ms).ok()?;
        let mut day = now.to_zoned(self.zone.clone()).date();
        // Today, and each day of the week once more: today's may be over.
        for _ in 0..=7 {
            if self.days.contains(&day.weekday()) {
                let begins = self
                    .zone
                    .to_ambiguous_zoned(day.to_datetime(self.from))
                    .compatible();
                let begins_ms = begins.ok()?.timestamp().as_millisecond();
                if now_ms < begins_ms {
                    return Some(begins_ms);
                }
            }
            day = day.tomorrow().ok()?;
        }
        None
    }

    fn contains(&self, now_ms: i64) -> bool {
        let Ok(now) = Timestamp::from_millisecond(now_ms) else {
            return false;
        };
        let today = now.to_zoned(self.zone.clone()).date();
        // What began yesterday may go on past midnight.
        [Some(today), today.yesterday().ok()]
            .into_iter()
            .flatten()
            .any(|day| self.days.contains(&day.weekday()) && self.occurrence_contains(day, now))
    }

    fn occurrence_contains(&self, day: Date, now: Timestamp) -> bool {
        let last = if self.from < self.to {
            Ok(day)
        } else {
            day.checked_add(1.day())
        };
        let begins = self
            .zone
            .to_ambiguous_zoned(day.to_datetime(self.from))
            .compatible();
        let ends = last.and_then(|last| {
            self.zone
                .to_ambiguous_zoned(last.to_datetime(self.to))
                .compatible()
        });
        match (begins, ends) {
            (Ok(begins), Ok(ends)) => begins.timestamp() <= now && now < ends.timestamp(),
            _ => false,
        }
    }
}

impl Cron {
    /// Reads an expression.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn new(expression: &str, duration_ms: i64, zone: TimeZone) -> Result<Self, String> {
        let name = zone.iana_name().unwrap_or("UTC").to_owned();
        let fields = expression.split_ascii_whitespace().count();
        if fields != 5 {
            return Err(format!(
                "five fields are expected (minute, hour, day of month, month, day of week), these are {fields}"
            ));
        }
        let crontab = parse_crontab(&format!("{expression} {name}")).map_err(|error| {
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default();
            format!("it is no cron expression: {}", last.trim())
        })?;
        Ok(Self {
            expression: expression.to_owned(),
            duration_ms,
            zone,
            crontab: Box::new(crontab),
        })
    }

    fn next_start_ms(&self, now_ms: i64) -> Option<i64> {
        let after = MakeTimestamp::from_millisecond(now_ms).ok()?;
        let next = self.crontab.find_next(after).ok()?;
        Some(next.timestamp().as_millisecond())
    }

    fn contains(&self, now_ms: i64) -> bool {
        // `find_next` gives what comes after a time, and an occurrence that begins right now counts.
        let Ok(mut after) = MakeTimestamp::from_millisecond(now_ms - self.duration_ms) else {
            return false;
        };
        for _ in 0..OCCURRENCES_MAX {
            let Ok(next) = self.crontab.find_next(after) else {
                return false;
            };
            let begins_ms = next.timestamp().as_millisecond();
            if now_ms < begins_ms {
                return false;
            }
            if now_ms < begins_ms + self.duration_ms {
                return true;
            }
            after = MakeTimestamp(next.timestamp());
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_millisecond()
    }

    fn weekly(days: &[Weekday], from: &str, to: &str, zone: &str) -> Schedule {
        Schedule::Weekly(Weekly {
            days: days.to_vec(),
            from: from.parse().unwrap(),
            to: to.parse().unwrap(),
            zone: TimeZone::get(zone).unwrap(),
        })
    }

    fn check(schedule: &Schedule, cases: &[(&str, bool)]) {
        for (time, expected) in cases {
            assert_eq!(schedule.contains(ms(time)), *expected, "{time}");
        }
    }

    #[test]
    fn once_begins_at_its_start_and_is_over_at_its_end() {
        let once = Schedule::Once {
            start_ms: 10,
            end_ms: 20,
        };
        assert_eq!(
            [9, 10, 19, 20].map(|now| once.contains(now)),
            [false, true, true, false]
        );
        assert!(once.is_over(20) && !once.is_over(19));
    }

    #[test]
    fn a_night_goes_on_past_midnight_and_belongs_to_the_day_on_which_it_begins() {
        // Friday the 6th of November 2026.
        let night = weekly(&[Weekday::Friday], "22:00", "06:00", "Europe/Berlin");
        check(
            &night,
            &[
                ("2026-11-06T20:59:59Z", false),
                ("2026-11-06T21:00:00Z", true),
                ("2026-11-07T04:59:59Z", true),
                ("2026-11-07T05:00:00Z", false),
                ("2026-11-07T21:30:00Z", false),
                ("2026-11-06T04:00:00Z", false),
            ],
        );
    }

    #[test]
    fn from_a_time_to_the_same_time_is_a_whole_day() {
        let day = weekly(&[Weekday::Sunday], "00:00", "00:00", "UTC");
        check(
            &day,
            &[
                ("2026-11-07T23:59:59Z", false),
                ("2026-11-08T00:00:00Z", true),
                ("2026-11-08T23:59:59Z", true),
                ("2026-11-09T00:00:00Z", false),
            ],
        );
    }

    #[test]
    fn a_window_in_the_hour_that_daylight_saving_leaves_out_begins_an_hour_later() {
        // Clocks in Berlin go from 02:00 to 03:00 on the 29th of March 2026, at 01:00 UTC.
        let gap = weekly(&[Weekday::Sunday], "02:30", "04:30", "Europe/Berlin");
        check(
            &gap,
            &[
                ("2026-03-29T01:29:59Z", false),
                ("2026-03-29T01:30:00Z", true),
                ("2026-03-29T02:29:59Z", true),
                ("2026-03-29T02:30:00Z", false),
            ],
        );
    }

    #[test]
    fn a_window_over_the_hour_that_comes_twice_lasts_an_hour_longer() {
        // Clocks in Berlin go from 03:00 back to 02:00 on the 25th of October 2026, at 01:00 UTC.
        let fold = weekly(&[Weekday::Sunday], "01:30", "03:30", "Europe/Berlin");
        check(
            &fold,
            &[
                ("2026-10-24T23:29:59Z", false),
                ("2026-10-24T23:30:00Z", true),
                ("2026-10-25T01:30:00Z", true),
                ("2026-10-25T02:29:59Z", true),
                ("2026-10-25T02:30:00Z", false),
            ],
        );
    }

    #[test]
    fn a_cron_window_is_in_force_from_each_occurrence_for_its_duration() {
        let zone = TimeZone::get("America/New_York").unwrap();
        let patch = Schedule::Cron(Cron::new("0 3 * * TUE", 2 * 3_600_000, zone).unwrap());
        check(
            &patch,
            &[
                ("2026-11-24T07:59:59Z", false),
                ("2026-11-24T08:00:00Z", true),
                ("2026-11-24T09:59:59Z", true),
                ("2026-11-24T10:00:00Z", false),
                ("2026-11-25T08:30:00Z", false),
                // Before clocks went back it was an hour earlier by UTC.
                ("2026-10-27T07:30:00Z", true),
            ],
        );
    }

    #[test]
    fn a_cron_window_that_begins_more_often_than_it_lasts_is_always_in_force() {
        let always = Schedule::Cron(Cron::new("*/5 * * * *", 3_600_000, TimeZone::UTC).unwrap());
        for minute in 0..120 {
            assert!(always.contains(ms("2026-11-24T08:00:30Z") + minute * 60_000));
        }
    }

    #[test]
    fn the_next_beginning_lies_in_it_and_is_the_first_after_now() {
        let zone = || TimeZone::get("Europe/Berlin").unwrap();
        let night = weekly(&[Weekday::Friday], "22:00", "06:00", "Europe/Berlin");
        // Inside of one, the next is a week later.
        for (now, next) in [
            ("2026-11-06T12:00:00Z", "2026-11-06T21:00:00Z"),
            ("2026-11-06T21:00:00Z", "2026-11-13T21:00:00Z"),
        ] {
            assert_eq!(night.next_start_ms(ms(now)), Some(ms(next)), "{now}");
        }
        // 02:30 is left out on the 29th of March, and comes twice on the 25th of October.
        let cron = Schedule::Cron(Cron::new("30 4 * * *", 3_600_000, zone()).unwrap());
        assert_eq!(
            cron.next_start_ms(ms("2026-03-28T12:00:00Z")),
            Some(ms("2026-03-29T02:30:00Z"))
        );
        assert_eq!(
            cron.next_start_ms(ms("2026-10-24T12:00:00Z")),
            Some(ms("2026-10-25T03:30:00Z"))
        );
        let once = Schedule::Once {
            start_ms: 10,
            end_ms: 20,
        };
        assert_eq!(
            [9, 10, 20].map(|now| once.next_start_ms(now)),
            [Some(10), None, None]
        );
    }

    #[test]
    fn what_is_no_cron_expression_says_why() {
        for expression in [
            "",
            "* * * *",
            "61 * * * *",
            "a b c d e",
            "* * * * * *",
            "* * * * UTC",
        ] {
            assert!(
                Cron::new(expression, 60_000, TimeZone::UTC).is_err(),
                "{expression}"
            );
        }
    }
}
