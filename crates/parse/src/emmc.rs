//! Wear of eMMC storage: `life_time` and `pre_eol_info` below `/sys/block/mmcblkN/device/`.
//!
//! JEDEC JESD84-B51, `DEVICE_LIFE_TIME_EST_TYP_A`/`_B` and `PRE_EOL_INFO` of the extended CSD; the kernel prints them as
//! `0x02 0x01` and `0x01` (Linux, Documentation/driver-api/mmc/mmc-dev-attrs.rst). The values are classes: 0x01 is
//! 0 to 10 % of the life used, 0x0a 90 to 100 %, 0x0b more than that; 0x00 is undefined.

use crate::problem::{Parsed, Problems, excerpt};

/// How much of its life a card has used, as it estimates itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Life {
    /// Upper end of the class of the cells of type A (as a rule the fast ones), percent used; 110 for "more than 100".
    pub a_used_percent: Option<u8>,
    /// The same of type B (as a rule the bulk).
    pub b_used_percent: Option<u8>,
}

impl Life {
    /// The greater of the two.
    #[must_use]
    pub fn used_percent(&self) -> Option<u8> {
        self.a_used_percent.max(self.b_used_percent)
    }
}

/// How much of the reserved blocks is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PreEol {
    /// Less than 80 %.
    Normal,
    /// 80 % and more.
    Warning,
    /// 90 % and more.
    Urgent,
}

/// Reads `life_time`; absent when there is no number.
pub fn life_time(text: &str) -> Parsed<Option<Life>> {
    let mut problems = Problems::default();
    let mut words = text.split_ascii_whitespace();
    let (Some(a), Some(b), None) = (words.next(), words.next(), words.next()) else {
        problems.at_index(0, format!("expected two numbers, found \"{}\"", excerpt(text)));
        return problems.with(None);
    };
    let mut class = |word: &str| match hex(word) {
        Some(0) => None,
        Some(class @ 1..=11) => Some(class * 10),
        _ => {
            problems.at_index(
                0,
                format!("expected a class from 0x00 to 0x0b, found \"{}\"", excerpt(word)),
            );
            None
        }
    };
    let life = Life {
        a_used_percent: class(a),
        b_used_percent: class(b),
    };
    problems.with((life != Life::default()).then_some(life))
}

/// Reads `pre_eol_info`; absent when it is undefined.
pub fn pre_eol_info(text: &str) -> Parsed<Option<PreEol>> {
    let mut problems = Problems::default();
    let found = match hex(text.trim()) {
        Some(0) => None,
        Some(1) => Some(PreEol::Normal),
        Some(2) => Some(PreEol::Warning),
        Some(3) => Some(PreEol::Urgent),
        _ => {
            problems.at_index(
                0,
                format!("expected a state from 0x00 to 0x03, found \"{}\"", excerpt(text)),
            );
            None
        }
    };
    problems.with(found)
}

fn hex(word: &str) -> Option<u8> {
    u8::from_str_radix(word.strip_prefix("0x")?, 16).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn classes_are_read_by_their_upper_end() {
        let life = life_time("0x01 0x0a\n").value.unwrap();
        assert_eq!(
            (life.a_used_percent, life.b_used_percent, life.used_percent()),
            (Some(10), Some(100), Some(100))
        );
        assert_eq!(life_time("0x0b 0x00").value.unwrap().used_percent(), Some(110));
        assert_eq!(
            life_time("0x00 0x00"),
            Parsed {
                value: None,
                problems: Vec::new()
            }
        );
        assert_eq!(pre_eol_info("0x03\n").value, Some(PreEol::Urgent));
        assert_eq!(pre_eol_info("0x00").value, None);
    }

    #[test]
    fn what_is_no_class_is_a_problem_and_never_a_good_value() {
        for text in ["", "0x01", "0x01 0x02 0x03", "1 2", "0x1g 0x01"] {
            assert!(!life_time(text).problems.is_empty(), "{text:?}");
        }
        assert_eq!(life_time("0xff 0x02").value.unwrap().a_used_percent, None);
        for text in ["", "0x04", "0xff", "normal"] {
            let parsed = pre_eol_info(text);
            assert!(parsed.value.is_none() && !parsed.problems.is_empty(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC*|[0x ]{0,12}") {
            let _ = (life_time(&text), pre_eol_info(&text));
        }
    }
}
