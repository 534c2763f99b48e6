//! How often disks with such a count have failed: classes observed in public drive statistics.
//!
//! The data are Backblaze's (<https://www.backblaze.com/cloud-storage/resources/hard-drive-test-data>: daily SMART data of
//! every disk in their data centres, with the day each failed), in the classes and with the annual failure rates that
//! the Scrutiny project worked out of them (<https://github.com/AnalogJ/scrutiny>), rounded to whole percent. A rate
//! above 100 % a year means that such disks last less than a year on average.
//!
//! What the numbers can bear: they are of rotating disks in data centres, most of few models, and the classes of high
//! counts rest on few disks. So a class is said beside a count, and decides nothing alone. Of spin retries (10) and of
//! soft read errors (201) there are too few disks with any for a rate.

use crate::baseline::Counter;

/// Disks whose count is at least this fail at this rate, percent a year.
type Class = (u64, u16);

/// The first class of each is that of disks without any.
const REALLOCATED: [Class; 8] = [
    (0, 3),
    (1, 3),
    (4, 8),
    (16, 24),
    (70, 36),
    (260, 57),
    (1_100, 150),
    (4_500, 180),
];
const REPORTED: [Class; 8] = [
    (0, 3),
    (1, 24),
    (3, 50),
    (6, 38),
    (11, 53),
    (20, 84),
    (35, 144),
    (65, 162),
];
const PENDING: [Class; 8] = [
    (0, 3),
    (1, 34),
    (2, 61),
    (16, 96),
    (40, 165),
    (100, 251),
    (250, 313),
    (1_600, 313),
];
const OFFLINE: [Class; 5] = [(0, 3), (1, 81), (2, 112), (4, 136), (8, 58)];
const EVENTS: [Class; 5] = [(0, 1), (1, 3), (4, 4), (11, 17), (27, 25)];
const CRC: [Class; 4] = [(0, 4), (1, 15), (16, 20), (70, 20)];
/// Worked out over the normalised value, which falls by one for each error and starts at 100.
const END_TO_END: [Class; 3] = [(0, 9), (1, 84), (2, 163)];
const TIMEOUT: [Class; 2] = [(0, 2), (100, 10)];

/// The observed rate of disks without any and of those with such a count, percent a year.
fn rate(counter: Counter, count: u64) -> Option<(u16, u16)> {
    let classes: &[Class] = match counter {
        Counter::Reallocated => &REALLOCATED,
        Counter::ReportedUncorrectable => &REPORTED,
        Counter::Pending => &PENDING,
        Counter::OfflineUncorrectable => &OFFLINE,
        Counter::ReallocationEvents => &EVENTS,
        Counter::Crc => &CRC,
        Counter::EndToEnd => &END_TO_END,
        Counter::CommandTimeout => &TIMEOUT,
        Counter::SpinRetry | Counter::SoftReadErrors | Counter::MediaErrors | Counter::ScsiUncorrected => {
            return None;
        }
    };
    let without = classes.first()?.1;
    let class = classes.iter().rev().find(|class| class.0 <= count)?;
    Some((without, class.1))
}

/// The observed rate in words, for the end of a sentence; empty where nobody knows one.
pub(super) fn words(counter: Counter, count: u64) -> String {
    match rate(counter, count) {
        Some((without, with)) if without < with => format!(
            "; of disks with such a count about {with} % a year failed, of those without any {without} % (Backblaze)"
        ),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_begins_with_none_and_ascends() {
        for counter in Counter::ALL {
            let Some((without, _)) = rate(counter, 0) else {
                continue;
            };
            assert!(without < 10, "{counter:?}");
            for count in [1, 2, 5, 20, 100, 5_000, u64::MAX] {
                assert!(
                    rate(counter, count).is_some_and(|(_, with)| without <= with),
                    "{counter:?} {count}"
                );
            }
        }
        for classes in [
            &REALLOCATED[..],
            &REPORTED,
            &PENDING,
            &OFFLINE,
            &EVENTS,
            &CRC,
            &END_TO_END,
            &TIMEOUT,
        ] {
            assert!(classes.first().is_some_and(|class| class.0 == 0));
            assert!(classes.windows(2).all(|pair| pair[0].0 < pair[1].0));
        }
    }

    #[test]
    fn a_rate_says_its_source_and_is_not_made_up() {
        assert!(words(Counter::Reallocated, 304).contains("57 % a year"));
        assert!(words(Counter::Reallocated, 304).contains("Backblaze"));
        assert_eq!(words(Counter::SpinRetry, 5), "");
        assert_eq!(words(Counter::Reallocated, 1), "");
    }
}
