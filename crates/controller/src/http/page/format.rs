//! Numbers and times as people read them. Pure.

/// A size with the unit that leaves one to three digits before the point, in steps of 1024.
pub(super) fn bytes(value: f64) -> String {
    scaled(value, 1_024.0, &["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"])
}

/// A capacity as it is printed on the disk, in steps of 1000.
pub(super) fn capacity(value: f64) -> String {
    scaled(value, 1_000.0, &["B", "kB", "MB", "GB", "TB", "PB", "EB"])
}

fn scaled(value: f64, step: f64, units: &[&str]) -> String {
    if !value.is_finite() || value < 0.0 {
        return "–".to_owned();
    }
    let mut value = value;
    let mut unit = 0;
    // 999.5 would be shown as 1000.
    while step - 0.5 <= value && unit + 1 < units.len() {
        value /= step;
        unit += 1;
    }
    let digits = if unit == 0 || 100.0 <= value {
        0
    } else if 10.0 <= value {
        1
    } else {
        2
    };
    let number = format!("{value:.digits$}");
    let number = if number.contains('.') {
        number.trim_end_matches('0').trim_end_matches('.')
    } else {
        &number
    };
    format!("{number} {}", units[unit])
}

/// The two largest parts of a duration: `3 d 4 h`, `12 min`.
pub(super) fn duration(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return "–".to_owned();
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked to be finite and positive"
    )]
    let seconds = seconds as u64;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) if days < 365 => format!("{days} d {hours} h"),
        (days, ..) => format!("{} y {} d", days / 365, days % 365),
    }
}

/// How long ago something was: `just now`, `42 s ago`.
pub(super) fn ago(then_ms: i64, now_ms: i64) -> String {
    let seconds = now_ms.saturating_sub(then_ms) / 1_000;
    if seconds < 2 {
        return "just now".to_owned();
    }
    #[expect(clippy::cast_precision_loss, reason = "shown to the second at most")]
    let seconds = seconds as f64;
    format!("{} ago", duration(seconds))
}

/// A share of one, in percent without decimals; a little is not nothing, and nearly all is not all.
pub(super) fn percent(share: f64) -> String {
    if !share.is_finite() {
        return "–".to_owned();
    }
    let percent = share * 100.0;
    if 0.0 < percent && percent < 0.5 {
        "<1 %".to_owned()
    } else if (99.5..100.0).contains(&percent) {
        ">99 %".to_owned()
    } else {
        format!("{percent:.0} %")
    }
}

/// A whole number with thin spaces between groups of three digits.
pub(super) fn grouped(value: i64) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut out = String::new();
    if value < 0 {
        out.push('-');
    }
    for (index, digit) in digits.chars().enumerate() {
        if 0 < index && (digits.len() - index).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

/// A word of the API as words of a sentence: `never_seen` becomes `never seen`.
pub(super) fn words(word: &str) -> String {
    word.replace('_', " ")
}

/// A time to the second, UTC.
pub(super) fn time(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms)
        .map(|time| time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string())
        .unwrap_or_default()
}

/// A time of the API (RFC 3339) to the second; one that is not of that form as it is.
pub(super) fn time_of(text: &str) -> String {
    match text.parse::<jiff::Timestamp>() {
        Ok(at) => time(at.as_millisecond()),
        Err(_) => text.to_owned(),
    }
}

/// The day of a time, UTC.
pub(super) fn day(ms: i64) -> String {
    time(ms).chars().take("2026-01-31".len()).collect()
}

/// The hour and minute of a time, UTC.
pub(super) fn clock(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms)
        .map(|time| time.strftime("%H:%M").to_string())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_digits_at_most() {
        for (value, shown) in [
            (0.0, "0 B"),
            (1_023.0, "1023 B"),
            (1_024.0, "1 KiB"),
            (1_536.0, "1.5 KiB"),
            (16_637_181_952.0, "15.5 GiB"),
            (f64::NAN, "–"),
        ] {
            assert_eq!(bytes(value), shown);
        }
        assert_eq!(capacity(4_000_787_030_016.0), "4 TB");
        assert_eq!(capacity(512_110_190_592.0), "512 GB");
    }

    #[test]
    fn durations_show_their_two_largest_parts() {
        for (seconds, shown) in [
            (5.0, "5 s"),
            (61.0, "1 min"),
            (3_720.0, "1 h 2 min"),
            (273_600.0, "3 d 4 h"),
            (40_000_000.0, "1 y 97 d"),
        ] {
            assert_eq!(duration(seconds), shown);
        }
    }

    #[test]
    fn a_clock_that_runs_ahead_is_just_now() {
        assert_eq!(ago(2_000, 1_000), "just now");
        assert_eq!(ago(0, 42_000), "42 s ago");
    }

    #[test]
    fn nearly_full_is_not_full_and_nearly_empty_is_not_empty() {
        let shown: Vec<String> = [0.0, 0.001, 0.5, 0.999, 1.0].map(percent).to_vec();
        assert_eq!(shown, ["0 %", "<1 %", "50 %", ">99 %", "100 %"]);
    }

    #[test]
    fn digits_are_grouped_by_three() {
        assert_eq!(grouped(-1_234_567), "-1\u{202f}234\u{202f}567");
        assert_eq!(grouped(999), "999");
    }
}
