//! Numbers and times as zpool prints them for people.

/// A number, plain or rounded: `0`, `1.12K`, `16.6M`, `0B`; `None` for anything else, `-` included.
#[must_use]
pub fn nice_number(word: &str) -> Option<u64> {
    if word.bytes().all(|byte| byte.is_ascii_digit()) {
        return word.parse().ok();
    }
    let end = word.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (digits, unit) = word.split_at(end);
    let number: f64 = digits.parse().ok().filter(|_| digits != ".")?;
    let unit = unit
        .strip_suffix("iB")
        .or_else(|| unit.strip_suffix('B'))
        .unwrap_or(unit);
    let power = match unit {
        "" => 0,
        "K" | "k" => 1,
        "M" => 2,
        "G" => 3,
        "T" => 4,
        "P" => 5,
        "E" => 6,
        "Z" => 7,
        _ => return None,
    };
    // Beyond u64 it stays at the bound; numbers are never negative here.
    Some((number * 1024_f64.powi(power)).round() as u64)
}

/// A span of time in seconds: `00:00:01`, `1 days 02:03:04`, `3h12m`, `2d4h`, `17 minutes`.
#[must_use]
pub fn seconds(text: &str) -> Option<u64> {
    let text = text.trim();
    if let Some((days, rest)) = text.split_once(" day") {
        let rest = rest.strip_prefix('s').unwrap_or(rest);
        let days: u64 = days.trim().parse().ok()?;
        return days.checked_mul(86_400)?.checked_add(clock(rest.trim())?);
    }
    if let Some((number, unit)) = text.split_once(' ') {
        let number: u64 = number.parse().ok()?;
        let each = match unit.trim_end_matches('s') {
            "second" => 1,
            "minute" => 60,
            "hour" => 3_600,
            _ => return None,
        };
        return number.checked_mul(each);
    }
    clock(text).or_else(|| letters(text))
}

/// `HH:MM:SS`.
fn clock(text: &str) -> Option<u64> {
    let mut parts = text.split(':').map(|part| part.parse::<u64>().ok());
    let (hours, minutes, seconds) = (parts.next()??, parts.next()??, parts.next()??);
    if parts.next().is_some() {
        return None;
    }
    hours
        .checked_mul(3_600)?
        .checked_add(minutes.checked_mul(60)?)?
        .checked_add(seconds)
}

/// `3h12m`, as releases up to 0.7 have it.
fn letters(text: &str) -> Option<u64> {
    let mut total: u64 = 0;
    let mut digits = String::new();
    for c in text.chars() {
        if c.is_ascii_digit() {
            digits.push(c);
            continue;
        }
        let each = match c {
            'd' => 86_400,
            'h' => 3_600,
            'm' => 60,
            's' => 1,
            _ => return None,
        };
        let number: u64 = digits.parse().ok()?;
        total = total.checked_add(number.checked_mul(each)?)?;
        digits.clear();
    }
    (digits.is_empty() && !text.is_empty()).then_some(total)
}

/// A date as ctime(3) prints it, as RFC 3339 without a zone: `Sun Nov 22 00:10:41 2026` is `2026-11-22T00:10:41`.
pub(super) fn date(text: &str) -> Option<String> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let [_, month, day, time, year] = words[..] else {
        return None;
    };
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    let day: u32 = day.parse().ok().filter(|day| (1..=31).contains(day))?;
    let year: u32 = year.parse().ok().filter(|year| (1970..=9999).contains(year))?;
    let is_time = time.len() == 8
        && clock(time).is_some()
        && time.bytes().all(|byte| byte.is_ascii_digit() || byte == b':');
    is_time.then(|| format!("{year:04}-{month:02}-{day:02}T{time}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounded_and_plain_numbers_are_read_and_anything_else_is_refused() {
        for (word, number) in [
            ("0", 0),
            ("1147", 1147),
            ("1.12K", 1147),
            ("16.6M", 17_406_362),
            ("0B", 0),
            ("512B", 512),
            ("1.5T", 1_649_267_441_664),
            ("12KiB", 12_288),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(nice_number(word), Some(number), "{word}");
        }
        for odd in [
            "", "-", "-1", "1.1.1K", ".", ".K", "K", "1X", "nan", "inf", "0x10", "12)",
        ] {
            assert_eq!(nice_number(odd), None, "{odd:?}");
        }
    }

    #[test]
    fn spans_of_every_release_are_read() {
        for (text, wanted) in [
            ("00:00:01", 1),
            ("1 days 02:03:04", 93_784),
            ("0 days 03:22:01", 12_121),
            ("26:00:00", 93_600),
            ("3h12m", 11_520),
            ("0h0m", 0),
            ("2d4h", 187_200),
            ("17 minutes", 1_020),
        ] {
            assert_eq!(seconds(text), Some(wanted), "{text}");
        }
        for odd in [
            "",
            "soon",
            "1",
            "1:2",
            "h",
            "1x",
            "99999999999999999999 days 00:00:00",
        ] {
            assert_eq!(seconds(odd), None, "{odd:?}");
        }
    }

    #[test]
    fn dates_are_those_of_the_c_locale() {
        assert_eq!(
            date("Sun Nov 22 00:10:41 2026").as_deref(),
            Some("2026-11-22T00:10:41")
        );
        assert_eq!(
            date("Sun Nov  1 00:10:41 2026").as_deref(),
            Some("2026-11-01T00:10:41")
        );
        for odd in [
            "",
            "Sun Nov 22 00:10:41",
            "So Dez 22 00:10:41 2026",
            "Sun Nov 32 00:10:41 2026",
            "Sun Nov 2 0:10 2026",
        ] {
            assert_eq!(date(odd), None, "{odd:?}");
        }
    }
}
