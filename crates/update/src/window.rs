//! Maintenance windows: when what a policy leaves to a window may be done.
//!
//! The times are those of silences (`muster_alert::Schedule`), so daylight saving and nights are the same everywhere:
//! again and again by a cron expression and a duration, on days of the week from one time to another, or once.

use muster_alert::{Mute, Schedule, mute};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::FieldProblem;
use crate::field::Problems;

/// A window as it is sent and shown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WindowBody {
    /// What people call it.
    pub name: String,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Minute, hour, day of month, month, day of week: when it begins, again and again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cron_expression: Option<String>,
    /// How long it lasts each time, with a cron expression.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_minutes: Option<i64>,
    /// On which days of the week, with `from` and `to`; every day if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_days: Option<Vec<String>>,
    /// From when, such as `22:00`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Until when; on the next day if that is not later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// From when, once, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<String>,
    /// Until when, once, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_time: Option<String>,
    /// Whose clock, such as `Europe/Berlin`; UTC if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// Whether it counts; yes if absent. One that does not is never open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
}

/// A window.
#[derive(Debug, Clone)]
pub struct Window {
    /// Its number; 0 until it is stored.
    pub id: i64,
    /// As it was sent.
    pub body: WindowBody,
    schedule: Schedule,
}

/// Its names for what `muster_alert::mute` calls otherwise.
const NAMES: [(&str, &str); 5] = [
    ("cron_expression", "cron"),
    ("duration_minutes", "duration"),
    ("allowed_days", "days"),
    ("start_time", "starts"),
    ("end_time", "ends"),
];

impl Window {
    /// Reads a new window at `now_ms`, Unix ms.
    ///
    /// # Errors
    /// Every problem with the field it is of.
    pub fn read(body: WindowBody, now_ms: i64) -> Result<Self, Vec<FieldProblem>> {
        let mut problems = Problems::default();
        problems.text("name", &body.name, 200);
        if let Some(text) = &body.description {
            problems.text("description", text, 2_000);
        }
        let read = match mute::read(as_mute(&body), now_ms) {
            Ok(mute) => Some(mute),
            Err(wrong) => {
                for problem in wrong.into_iter().filter(|problem| problem.field != "name") {
                    let ours = NAMES.iter().find(|(_, theirs)| *theirs == problem.field);
                    let field = ours.map_or(problem.field.as_str(), |(ours, _)| ours);
                    let message = if problem.message.starts_with("one of three") {
                        "one of three is required: cron_expression with duration_minutes; from and to, perhaps with \
                         allowed_days; or start_time and end_time"
                    } else {
                        &problem.message
                    };
                    problems.note(field, message);
                }
                None
            }
        };
        let mute: Mute = problems.finish(read)?;
        let mut body = body;
        if let Schedule::Once { start_ms, .. } = &mute.schedule
            && body.start_time.is_none()
        {
            body.start_time = jiff::Timestamp::from_millisecond(*start_ms)
                .ok()
                .map(|time| time.to_string());
        }
        Ok(Self {
            id: 0,
            body,
            schedule: mute.schedule,
        })
    }

    /// Reads one that was stored, whether it is over by now or not.
    ///
    /// # Errors
    /// Every problem with the field it is of.
    pub fn from_stored(id: i64, body: WindowBody) -> Result<Self, Vec<FieldProblem>> {
        Self::read(body, i64::MIN).map(|window| Self { id, ..window })
    }

    /// Whether it counts.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.body.enabled.unwrap_or(true)
    }

    /// Whether it is open at `now_ms`, Unix ms.
    #[must_use]
    pub fn is_open(&self, now_ms: i64) -> bool {
        self.is_enabled() && self.schedule.contains(now_ms)
    }

    /// When it opens next after `now_ms`; `None` if it never does.
    #[must_use]
    pub fn opens_next_ms(&self, now_ms: i64) -> Option<i64> {
        self.is_enabled()
            .then(|| self.schedule.next_start_ms(now_ms))
            .flatten()
    }
}

fn as_mute(body: &WindowBody) -> Value {
    // A duration without an expression, or days without times, are forms that are not complete.
    let mut mute = json!({"name": "window", "scope": {"everything": true}});
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            mute[name] = value;
        }
    };
    put("cron", body.cron_expression.as_ref().map(|text| json!(text)));
    put(
        "duration",
        body.duration_minutes
            .map(|minutes| json!(minutes.saturating_mul(60))),
    );
    put("days", body.allowed_days.as_ref().map(|days| json!(days)));
    put("from", body.from.as_ref().map(|text| json!(text)));
    put("to", body.to.as_ref().map(|text| json!(text)));
    put("starts", body.start_time.as_ref().map(|text| json!(text)));
    put("ends", body.end_time.as_ref().map(|text| json!(text)));
    // A zone says nothing of a time that is written with its own.
    if body.end_time.is_none() {
        put("timezone", body.timezone.as_ref().map(|text| json!(text)));
    }
    mute
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(text: &str) -> i64 {
        text.parse::<jiff::Timestamp>().unwrap().as_millisecond()
    }

    fn read(body: Value) -> Result<Window, Vec<FieldProblem>> {
        Window::read(serde_json::from_value(body).unwrap(), ms("2026-03-20T00:00:00Z"))
    }

    #[test]
    fn a_night_is_open_past_midnight_also_when_clocks_change() {
        // On the 29th of March 2026 clocks in Berlin leave out 02:00 to 03:00.
        let night =
            read(json!({"name": "nights", "from": "22:00", "to": "06:00", "timezone": "Europe/Berlin"}))
                .unwrap();
        for (time, is_open) in [
            ("2026-03-28T20:59:59Z", false),
            ("2026-03-28T21:00:00Z", true),
            ("2026-03-29T03:59:59Z", true),
            ("2026-03-29T04:00:00Z", false),
            ("2026-03-29T20:00:00Z", true),
        ] {
            assert_eq!(night.is_open(ms(time)), is_open, "{time}");
        }
        assert_eq!(
            night.opens_next_ms(ms("2026-03-28T22:00:00Z")),
            Some(ms("2026-03-29T20:00:00Z"))
        );
    }

    #[test]
    fn a_cron_window_lasts_longer_than_the_minutes_of_an_hour() {
        let late =
            read(json!({"name": "late", "cron_expression": "50 3 * * SAT", "duration_minutes": 90})).unwrap();
        for (time, is_open) in [
            ("2026-03-28T03:49:59Z", false),
            ("2026-03-28T05:19:59Z", true),
            ("2026-03-28T05:20:00Z", false),
        ] {
            assert_eq!(late.is_open(ms(time)), is_open, "{time}");
        }
    }

    #[test]
    fn a_window_that_does_not_count_is_never_open() {
        let off = json!({"name": "off", "from": "00:00", "to": "00:00", "enabled": false});
        let off = read(off).unwrap();
        assert!(!off.is_open(ms("2026-03-28T12:00:00Z")));
        assert_eq!(off.opens_next_ms(0), None);
    }

    #[test]
    fn what_was_stored_is_read_again_also_when_it_is_over() {
        for body in [
            json!({"name": "once", "end_time": "2026-03-21T00:00:00Z"}),
            json!({"name": "cron", "cron_expression": "0 3 * * *", "duration_minutes": 60, "timezone": "Asia/Tokyo"}),
        ] {
            let window = read(body).unwrap();
            let again = Window::from_stored(7, window.body.clone()).unwrap();
            assert_eq!((again.id, again.body), (7, window.body));
        }
    }

    #[test]
    fn what_is_not_understood_names_its_field() {
        for (body, field) in [
            (
                json!({"cron_expression": "0 3 * * *", "duration_minutes": 60}),
                "name",
            ),
            (json!({"name": "n"}), "end_time"),
            (
                json!({"name": "n", "cron_expression": "0 3 * *", "duration_minutes": 60}),
                "cron_expression",
            ),
            (
                json!({"name": "n", "cron_expression": "0 3 * * *"}),
                "duration_minutes",
            ),
            (
                json!({"name": "n", "cron_expression": "0 3 * * *", "duration_minutes": i64::MAX}),
                "duration_minutes",
            ),
            (json!({"name": "n", "from": "22:00"}), "to"),
            (
                json!({"name": "n", "from": "22:00", "to": "06:00", "allowed_days": ["someday"]}),
                "days[0]",
            ),
            (
                json!({"name": "n", "end_time": "2026-01-01T00:00:00Z"}),
                "end_time",
            ),
            (
                json!({"name": "n", "from": "22:00", "to": "06:00", "timezone": "Mars/Olympus"}),
                "timezone",
            ),
        ] {
            assert_eq!(read(body.clone()).unwrap_err()[0].field, field, "{body}");
        }
    }
}
