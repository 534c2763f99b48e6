//! `upsc`: what an uninterruptible power supply says, `name: value` a line.
//!
//! upsc(8), and the names of Network UPS Tools (docs/nut-names.txt). A list of supplies is a name a line.

use std::collections::BTreeMap;

/// Variables by name.
pub type Variables = BTreeMap<String, String>;

/// Reads every line.
#[must_use]
pub fn parse(text: &str) -> Variables {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
        .filter(|(name, _)| !name.is_empty())
        .collect()
}

/// The names of supplies, as `upsc -l` lists them; others than the program itself accepts are left out.
#[must_use]
pub fn parse_list(text: &str) -> Vec<String> {
    let is_name = |name: &&str| {
        !name.is_empty()
            && !name.starts_with('-')
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
    };
    text.lines()
        .map(str::trim)
        .filter(is_name)
        .map(str::to_owned)
        .collect()
}

/// The number of a variable.
#[must_use]
pub fn number(variables: &Variables, name: &str) -> Option<f64> {
    variables
        .get(name)?
        .parse()
        .ok()
        .filter(|number: &f64| number.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_read_and_odd_names_are_no_supplies() {
        let variables = parse("battery.charge: 100\nups.status: OL CHRG\ninput.voltage: odd\n");
        assert_eq!(number(&variables, "battery.charge"), Some(100.0));
        assert_eq!(number(&variables, "input.voltage"), None);
        assert_eq!(variables.get("ups.status").map(String::as_str), Some("OL CHRG"));
        assert_eq!(parse_list("eaton\n-c\nInit SSL\nups.2\n"), ["eaton", "ups.2"]);
    }
}
