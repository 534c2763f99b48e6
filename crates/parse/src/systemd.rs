//! `systemctl show`: `Name=value` lines, a block for each unit with an empty line between.
//!
//! systemctl(1). With `--timestamp=unix` times are `@` and Unix seconds; one that never was is empty or `n/a`.

use std::collections::BTreeMap;

/// One unit's properties.
pub type Unit = BTreeMap<String, String>;

/// Reads every block that has an `Id`.
#[must_use]
pub fn parse_units(text: &str) -> Vec<Unit> {
    text.split("\n\n")
        .map(parse_properties)
        .filter(|unit| unit.contains_key("Id"))
        .collect()
}

/// Reads one block.
#[must_use]
pub fn parse_properties(text: &str) -> Unit {
    text.lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// A count; systemd writes `[not set]` or the largest number where there is none.
#[must_use]
pub fn count(unit: &Unit, name: &str) -> Option<f64> {
    let number: u64 = unit.get(name)?.parse().ok()?;
    (number != u64::MAX).then_some(number as f64)
}

/// A time, Unix seconds.
#[must_use]
pub fn time_s(unit: &Unit, name: &str) -> Option<f64> {
    let seconds: f64 = unit.get(name)?.strip_prefix('@')?.parse().ok()?;
    (seconds.is_finite() && 0.0 < seconds).then_some(seconds)
}

/// The number at the beginning of a version such as `252.36-1~deb12u1`.
#[must_use]
pub fn version(text: &str) -> Option<f64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_counts_and_times_are_read_and_what_was_never_is_absent() {
        let text = "Id=a.timer\nLastTriggerUSec=@1700000000\n\nId=b.socket\nNAccepted=5\nNRefused=18446744073709551615\nLastTriggerUSec=n/a\n\nodd\n";
        let units = parse_units(text);
        assert_eq!(units.len(), 2);
        assert_eq!(time_s(&units[0], "LastTriggerUSec"), Some(1_700_000_000.0));
        assert_eq!(time_s(&units[1], "LastTriggerUSec"), None);
        assert_eq!(
            (count(&units[1], "NAccepted"), count(&units[1], "NRefused")),
            (Some(5.0), None)
        );
        assert_eq!(version("252.36-1~deb12u1"), Some(252.0));
        assert_eq!(version("v"), None);
    }
}
