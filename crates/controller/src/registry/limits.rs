//! How much registries allow, and when they are asked again: pure, told the time.

use std::collections::BTreeMap;
use std::time::Duration;

use hyper::header::HeaderMap;
use jiff::fmt::rfc2822;

/// The shortest time a registry that had too many requests is left alone.
const WAIT_MS_MIN: i64 = 1_000;
/// The longest.
const WAIT_MS_MAX: i64 = 6 * 3_600_000;
/// Where it does not say how long: this, and twice as long each time.
const WAIT_MS_DEFAULT: i64 = 60_000;
/// Registries that are remembered.
const REGISTRIES_MAX: usize = 1_000;

/// What a registry allows. Times are Unix ms.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RateLimit {
    /// How many pulls in a window.
    pub limit: Option<u64>,
    /// How many are left.
    pub remaining: Option<u64>,
    /// How long the window is, in seconds.
    pub window_s: Option<u64>,
    /// Whom they are counted for: an address, or an account.
    pub source: Option<String>,
    /// When this was said.
    pub told_ms: Option<i64>,
    /// It is not asked before, because it had too many requests.
    pub blocked_until_ms: Option<i64>,
    /// How often it has said so in a row.
    pub refusals: u32,
}

/// What every registry allows.
#[derive(Debug, Default)]
pub(super) struct Limits(BTreeMap<String, RateLimit>);

impl Limits {
    /// What is known, by registry.
    pub(super) fn all(&self) -> BTreeMap<String, RateLimit> {
        self.0.clone()
    }

    /// How long a registry must be left alone.
    pub(super) fn wait(&self, registry: &str, now_ms: i64) -> Option<Duration> {
        let until_ms = self.0.get(registry)?.blocked_until_ms?;
        let wait = u64::try_from(until_ms.saturating_sub(now_ms)).ok()?;
        (0 < wait).then(|| Duration::from_millis(wait))
    }

    /// What is left and of how much, if that is so little that it should be left to those who pull.
    pub(super) fn reserved(&self, registry: &str, now_ms: i64) -> Option<(u64, u64)> {
        let known = self.0.get(registry)?;
        let (remaining, limit, told_ms) = (known.remaining?, known.limit?, known.told_ms?);
        let window_ms = i64::try_from(known.window_s.unwrap_or(0).saturating_mul(1_000)).unwrap_or(i64::MAX);
        let is_over = told_ms.saturating_add(window_ms) <= now_ms;
        (!is_over && remaining < (limit / 10).max(5)).then_some((remaining, limit))
    }

    /// Takes over what an answer says.
    pub(super) fn told(&mut self, registry: &str, status: u16, headers: &HeaderMap, now_ms: i64) {
        if !self.0.contains_key(registry) && REGISTRIES_MAX <= self.0.len() {
            self.0
                .retain(|_, known| known.blocked_until_ms.is_some_and(|until_ms| now_ms < until_ms));
            if REGISTRIES_MAX <= self.0.len() {
                return;
            }
        }
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let known = self.0.entry(registry.to_owned()).or_default();
        let limit = text("ratelimit-limit").and_then(counted);
        let remaining = text("ratelimit-remaining").and_then(counted);
        if let Some((limit, window_s)) = limit {
            (known.limit, known.window_s) = (Some(limit), window_s);
        }
        if let Some((remaining, _)) = remaining {
            known.remaining = Some(remaining);
        }
        if limit.is_some() || remaining.is_some() {
            known.told_ms = Some(now_ms);
            let source = text("docker-ratelimit-source");
            known.source = source.filter(|source| source.len() <= 100).map(str::to_owned);
        }
        if status == 429 {
            let doubled = WAIT_MS_DEFAULT << known.refusals.min(10);
            let wait_ms = retry_after_ms(headers, now_ms).unwrap_or(doubled);
            known.refusals = known.refusals.saturating_add(1);
            known.blocked_until_ms = Some(now_ms.saturating_add(wait_ms.clamp(WAIT_MS_MIN, WAIT_MS_MAX)));
        } else if status < 500 {
            (known.refusals, known.blocked_until_ms) = (0, None);
        }
    }
}

/// `100;w=21600`: a number, and the window in seconds.
fn counted(text: &str) -> Option<(u64, Option<u64>)> {
    let mut parts = text.split([';', ',']).map(str::trim);
    let count = parts.next()?.parse().ok()?;
    let window = parts.find_map(|part| part.strip_prefix("w=")?.parse().ok());
    Some((count, window))
}

/// `Retry-After`: seconds, or a date (RFC 9110, 10.2.3), which is compared with the other side's `Date` if it says one.
fn retry_after_ms(headers: &HeaderMap, now_ms: i64) -> Option<i64> {
    let text = |name: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::trim)
    };
    let told = text("retry-after")?;
    if let Ok(seconds) = told.parse::<u64>() {
        return Some(i64::try_from(seconds.saturating_mul(1_000)).unwrap_or(i64::MAX));
    }
    let of = |text: &str| Some(rfc2822::parse(text).ok()?.timestamp().as_millisecond());
    let from_ms = text("date").and_then(of).unwrap_or(now_ms);
    Some(of(told)?.saturating_sub(from_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000_000;

    fn told(limits: &mut Limits, status: u16, headers: &[(&'static str, &str)]) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        limits.told("r", status, &map, NOW);
    }

    fn wait_ms(limits: &Limits) -> Option<u128> {
        limits.wait("r", NOW).map(|wait| wait.as_millis())
    }

    #[test]
    fn a_registry_that_had_too_many_requests_is_left_alone_for_as_long_as_it_says() {
        for (header, expected) in [
            ("120", Some(120_000)),
            ("0", Some(1_000)),
            ("99999999999999999999", Some(60_000)),
            ("999999999", Some(6 * 3_600_000)),
            ("403.5µs", Some(60_000)),
            ("Fri, 15 Jan 2027 08:00:30 GMT", Some(30_000)),
            ("Fri, 15 Jan 2027 07:00:00 GMT", Some(1_000)),
        ] {
            let mut limits = Limits::default();
            if let Ok(value) = hyper::header::HeaderValue::from_str(header) {
                let mut map = HeaderMap::new();
                map.insert("retry-after", value);
                limits.told("r", 429, &map, NOW);
                assert_eq!(wait_ms(&limits), expected, "{header}");
            }
        }
        let mut limits = Limits::default();
        told(&mut limits, 429, &[]);
        told(&mut limits, 429, &[]);
        assert_eq!(wait_ms(&limits), Some(120_000));
        told(&mut limits, 503, &[]);
        assert_eq!(wait_ms(&limits), Some(120_000));
        told(&mut limits, 200, &[]);
        assert_eq!(wait_ms(&limits), None);
    }

    #[test]
    fn the_date_of_the_other_side_counts_where_its_clock_is_wrong() {
        let mut limits = Limits::default();
        let headers = [
            ("retry-after", "Fri, 31 Dec 1999 23:59:59 GMT"),
            ("date", "Fri, 31 Dec 1999 23:59:14 GMT"),
        ];
        told(&mut limits, 429, &headers);
        assert_eq!(wait_ms(&limits), Some(45_000));
    }

    #[test]
    fn what_is_left_is_kept_and_little_is_left_to_those_who_pull() {
        let mut limits = Limits::default();
        let headers = |left| {
            [
                ("ratelimit-limit", "100;w=21600"),
                ("ratelimit-remaining", left),
                ("docker-ratelimit-source", "192.0.2.1"),
            ]
        };
        told(&mut limits, 200, &headers("76;w=21600"));
        let known = &limits.all()["r"];
        assert_eq!(
            (known.limit, known.remaining, known.window_s),
            (Some(100), Some(76), Some(21_600))
        );
        assert_eq!(known.source.as_deref(), Some("192.0.2.1"));
        assert_eq!(limits.reserved("r", NOW), None);
        told(&mut limits, 200, &headers("9;w=21600"));
        assert_eq!(limits.reserved("r", NOW), Some((9, 100)));
        assert_eq!(limits.reserved("r", NOW + 21_600_000), None);
    }
}
