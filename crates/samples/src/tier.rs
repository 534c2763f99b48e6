//! Tiers of resolution, and the periods whose chunks are kept together and removed together.
//!
//! Samples as they were measured by UTC day, 5-minute roll-ups by week, hourly roll-ups by year. A chunk of a week
//! that two years share belongs to the year of its Monday.

use std::ops::RangeInclusive;

use jiff::civil::Date;

use crate::window::DAY_MS;

/// Days of a week.
const WEEK_DAYS: i64 = 7;
/// The last day that has a name of four digits for the year; times beyond it are not taken.
const DAY_MAX: i64 = 2_932_531;

/// How fine the numbers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Tier {
    /// Samples as they were measured.
    Raw,
    /// Buckets of five minutes.
    FiveMinutes,
    /// Buckets of an hour.
    Hour,
}

impl Tier {
    /// From the finest to the coarsest.
    pub(crate) const ALL: [Self; 3] = [Self::Raw, Self::FiveMinutes, Self::Hour];

    /// What stands in names of files.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::FiveMinutes => "5m",
            Self::Hour => "1h",
        }
    }

    /// What stands in chunks.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Raw => 0,
            Self::FiveMinutes => 1,
            Self::Hour => 2,
        }
    }

    /// Length of a bucket, in milliseconds; samples have none.
    pub(crate) const fn bucket_ms(self) -> i64 {
        match self {
            Self::Raw => 1,
            Self::FiveMinutes => 300_000,
            Self::Hour => 3_600_000,
        }
    }

    /// The days of the chunk that has a day's numbers.
    pub(crate) const fn chunk_days(self, day: i64) -> RangeInclusive<i64> {
        match self {
            Self::Raw | Self::FiveMinutes => day..=day,
            Self::Hour => monday(day)..=monday(day) + WEEK_DAYS - 1,
        }
    }
}

/// A span of days whose chunks are kept together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Period {
    /// The tier.
    pub(crate) tier: Tier,
    /// The first day, in days since 1970-01-01.
    pub(crate) day: i64,
}

impl Period {
    /// The period that has a day's numbers.
    pub(crate) fn holding(tier: Tier, day: i64) -> Self {
        let day = day.clamp(0, DAY_MAX);
        let first = match tier {
            Tier::Raw => day,
            Tier::FiveMinutes => monday(day),
            Tier::Hour => day_of(date_of(monday(day)).first_of_year()),
        };
        Self { tier, day: first }
    }

    /// The periods that may have numbers of the closed range of times.
    pub(crate) fn range(tier: Tier, times: &RangeInclusive<i64>) -> RangeInclusive<Self> {
        let of = |time_ms: &i64| Self::holding(tier, time_ms.div_euclid(DAY_MS));
        of(times.start())..=of(times.end())
    }

    /// The last day whose numbers it may have.
    pub(crate) fn last_day(self) -> i64 {
        match self.tier {
            Tier::Raw => self.day,
            Tier::FiveMinutes => self.day + WEEK_DAYS - 1,
            // The last Monday of the year may be its last day.
            Tier::Hour => day_of(date_of(self.day).last_of_year()) + WEEK_DAYS - 1,
        }
    }

    /// What its files are called, without number and ending.
    pub(crate) fn name(self) -> String {
        let date = date_of(self.day);
        match self.tier {
            Tier::Raw | Tier::FiveMinutes => format!("{}-{date}", self.tier.word()),
            Tier::Hour => format!("{}-{:04}", self.tier.word(), date.year()),
        }
    }

    /// What [`Period::name`] made the name from.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let (word, date) = name.split_once('-')?;
        let tier = Tier::ALL.into_iter().find(|tier| tier.word() == word)?;
        let date: Date = match tier {
            Tier::Raw | Tier::FiveMinutes => date.parse().ok()?,
            Tier::Hour => Date::new(date.parse().ok()?, 1, 1).ok()?,
        };
        let period = Self {
            tier,
            day: day_of(date),
        };
        // Whatever reads alike but is written differently is not ours.
        let is_first = matches!(tier, Tier::Hour) || Self::holding(tier, period.day) == period;
        (is_first && period.name() == name).then_some(period)
    }
}

/// The Monday of a day's week; 1970-01-01 was a Thursday.
const fn monday(day: i64) -> i64 {
    (day + 3).div_euclid(WEEK_DAYS) * WEEK_DAYS - 3
}

fn date_of(day: i64) -> Date {
    let epoch = Date::constant(1970, 1, 1);
    // The Monday of the first day lies before it.
    let day = i32::try_from(day.clamp(-WEEK_DAYS, DAY_MAX)).unwrap_or(0);
    epoch.checked_add(jiff::Span::new().days(day)).unwrap_or(epoch)
}

fn day_of(date: Date) -> i64 {
    let since = date.since(Date::constant(1970, 1, 1));
    since.map_or(0, |span| span.get_days().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_the_period() {
        for (tier, day, name, last_day) in [
            (Tier::Raw, 0, "raw-1970-01-01", 0),
            (Tier::Raw, 20_413, "raw-2025-11-21", 20_413),
            (Tier::FiveMinutes, 20_413, "5m-2025-11-17", 20_415),
            (Tier::FiveMinutes, 20_415, "5m-2025-11-17", 20_415),
            (Tier::FiveMinutes, 20_416, "5m-2025-11-24", 20_422),
            (Tier::Hour, 20_413, "1h-2025", 20_459),
            // 2026-01-01 is a Thursday, so its week's Monday is of the year before.
            (Tier::Hour, 20_454, "1h-2025", 20_459),
            (Tier::Hour, 20_458, "1h-2026", 20_824),
            (Tier::Hour, 0, "1h-1969", 5),
        ] {
            let period = Period::holding(tier, day);
            assert_eq!((period.name().as_str(), period.last_day()), (name, last_day));
            assert_eq!(Period::parse(name), Some(period));
        }
        for name in [
            "raw-2025-13-01",
            "raw-20251121",
            "5m-2025-11-18",
            "1h-2025-01-01",
            "1h-25",
            "x",
        ] {
            assert_eq!(Period::parse(name), None, "{name}");
        }
    }

    #[test]
    fn every_day_lies_in_its_period_and_in_no_later_one() {
        for tier in Tier::ALL {
            for day in 19_000..23_000 {
                let period = Period::holding(tier, day);
                let chunk = tier.chunk_days(day);
                assert!(
                    chunk.contains(&day) && *chunk.end() <= period.last_day(),
                    "{tier:?} {day}"
                );
                assert_eq!(Period::holding(tier, *chunk.start()), period);
                assert_eq!(Period::holding(tier, *chunk.end()), period);
            }
        }
    }
}
