//! Reading and writing silences and windows.

use jiff::Timestamp;
use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::schedule::{Cron, DURATION_MAX_MS};
use super::{Mute, MuteScope, Schedule, Weekly};
use crate::fields::{FieldProblem, Fields, quoted, written_duration};

const NAME_CHARS_MAX: usize = 200;
const ENTRIES_MAX: usize = 1_000;
/// Longest that something is silenced once: a year.
const ONCE_MAX_MS: i64 = 366 * 24 * 3_600_000;
const DAYS: [(&str, Weekday); 7] = [
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];

/// Reads a silence or window; a silence that does not say when it begins does so at `now_ms`.
///
/// # Errors
/// Every problem with the field it is of.
pub fn read(body: Value, now_ms: i64) -> Result<Mute, Vec<FieldProblem>> {
    let mut fields = Fields::of(body)?;
    let mute = read_fields(&mut fields, now_ms);
    if mute.as_ref().is_some_and(|mute| mute.name.trim().is_empty()) {
        fields.problem("name", "is empty: say what or why it is");
    }
    fields.finish(mute)
}

fn read_fields(fields: &mut Fields, now_ms: i64) -> Option<Mute> {
    if !fields.has("name") && !fields.has("comment") {
        fields.problem("name", "is required: say what or why it is");
    }
    let name = fields.text(&["name", "comment"], NAME_CHARS_MAX);
    let enabled = fields.flag(&["enabled"]).unwrap_or(true);
    if !fields.has("scope") {
        fields.problem(
            "scope",
            "is required: servers, tags, resources or rules, or everything",
        );
    }
    let scope = fields.inside("scope", read_scope);
    let forms = ["ends", "cron", "from"]
        .into_iter()
        .filter(|name| fields.has(name))
        .count();
    if forms != 1 {
        fields.problem(
            "ends",
            "one of three is required: ends (and starts), cron with duration, or days with from and to",
        );
        return None;
    }
    let schedule = if fields.has("ends") {
        once(fields, now_ms)
    } else if fields.has("cron") {
        cron(fields)
    } else {
        weekly(fields)
    };
    Some(Mute {
        id: 0,
        name: name?,
        enabled,
        scope: scope??,
        schedule: schedule?,
    })
}

fn read_scope(fields: &mut Fields) -> Option<MuteScope> {
    let number = |value: &Value| value.as_i64().filter(|id| 0 < *id);
    let servers = fields.list(&["servers"], ENTRIES_MAX, "the number of a server", number);
    let tags = fields.list(&["tags"], ENTRIES_MAX, "a tag", |value| {
        value.as_str().filter(|tag| !tag.is_empty()).map(str::to_owned)
    });
    let resources = fields.list(&["resources"], ENTRIES_MAX, "the number of a resource", number);
    let rules = fields.list(&["rules"], ENTRIES_MAX, "the number of a rule", number);
    let scope = MuteScope {
        everything: fields.flag(&["everything"]).unwrap_or(false),
        servers: servers.unwrap_or_default(),
        tags: tags.unwrap_or_default(),
        resources: resources.unwrap_or_default(),
        rules: rules.unwrap_or_default(),
    };
    let names_nothing = scope.servers.is_empty()
        && scope.tags.is_empty()
        && scope.resources.is_empty()
        && scope.rules.is_empty();
    if scope.everything != names_nothing {
        let message = if names_nothing {
            "names nothing: say everything if that is meant"
        } else {
            "everything and something cannot both be meant"
        };
        fields.problem("everything", message);
        return None;
    }
    Some(scope)
}

fn time_ms(fields: &mut Fields, name: &'static str) -> Option<i64> {
    let text = fields.text(&[name], 64)?;
    match text.parse::<Timestamp>() {
        Ok(time) => Some(time.as_millisecond()),
        Err(_) => {
            fields.problem(
                name,
                format!(
                    "a time such as 2026-11-22T14:00:00Z is expected, not {}",
                    quoted(&text)
                ),
            );
            None
        }
    }
}

fn once(fields: &mut Fields, now_ms: i64) -> Option<Schedule> {
    let start_ms = if fields.has("starts") {
        time_ms(fields, "starts")?
    } else {
        now_ms
    };
    let end_ms = time_ms(fields, "ends")?;
    if end_ms <= start_ms || end_ms <= now_ms {
        fields.problem("ends", "must be after the beginning and after now");
        return None;
    }
    if ONCE_MAX_MS < end_ms.saturating_sub(start_ms) {
        fields.problem("ends", "at most a year is silenced at once");
        return None;
    }
    Some(Schedule::Once { start_ms, end_ms })
}

fn zone(fields: &mut Fields) -> Option<TimeZone> {
    if !fields.has("timezone") && !fields.has("time_zone") {
        return Some(TimeZone::UTC);
    }
    let name = fields.text(&["timezone", "time_zone"], 64)?;
    match TimeZone::get(&name) {
        Ok(zone) if zone.iana_name().is_some() => Some(zone),
        _ => {
            fields.problem(
                "timezone",
                format!(
                    "no time zone known here is called {}; one such as Europe/Berlin is expected",
                    quoted(&name)
                ),
            );
            None
        }
    }
}

fn cron(fields: &mut Fields) -> Option<Schedule> {
    let zone = zone(fields);
    if !fields.has("duration") {
        fields.problem("duration", "is required: how long it lasts each time");
    }
    let duration_ms = fields.duration_ms(&["duration"], DURATION_MAX_MS);
    let expression = fields.text(&["cron"], 200)?;
    if duration_ms.is_some_and(|duration| duration < 60_000) {
        fields.problem("duration", "must be at least a minute");
        return None;
    }
    match Cron::new(&expression, duration_ms?, zone?) {
        Ok(cron) => Some(Schedule::Cron(cron)),
        Err(message) => {
            fields.problem("cron", message);
            None
        }
    }
}

fn weekly(fields: &mut Fields) -> Option<Schedule> {
    let zone = zone(fields);
    let known: Vec<&str> = DAYS.iter().map(|(word, _)| *word).collect();
    let expected = format!("one of {}", known.join(", "));
    let days = fields.list(&["days"], 7, &expected, |value| {
        let word: String = value.as_str()?.chars().take(3).collect();
        let word = word.to_ascii_lowercase();
        DAYS.iter().find(|(known, _)| *known == word).map(|(_, day)| *day)
    });
    // Without days it is every day.
    let days = match days {
        None => DAYS.iter().map(|(_, day)| *day).collect(),
        Some(days) if days.is_empty() => {
            fields.problem("days", "is empty: leave it out for every day");
            return None;
        }
        Some(days) => days,
    };
    if !fields.has("to") {
        fields.problem("to", "is required: when it ends, such as 06:00");
    }
    let from = time_of_day(fields, "from");
    let to = time_of_day(fields, "to");
    Some(Schedule::Weekly(Weekly {
        days,
        from: from?,
        to: to?,
        zone: zone?,
    }))
}

fn time_of_day(fields: &mut Fields, name: &'static str) -> Option<Time> {
    let text = fields.text(&[name], 16)?;
    let is_time = text
        .split(':')
        .all(|part| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit()));
    // The end of a day is the beginning of the next.
    let read = if text == "24:00" {
        Ok(Time::midnight())
    } else {
        text.parse::<Time>()
    };
    match read {
        Ok(time) if is_time => Some(time),
        _ => {
            fields.problem(
                name,
                format!("a time of day such as 22:00 is expected, not {}", quoted(&text)),
            );
            None
        }
    }
}

impl Mute {
    /// As JSON, without its number. Reading it again gives the same.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut body = json!({"name": self.name, "enabled": self.enabled, "scope": {
            "everything": self.scope.everything,
            "servers": self.scope.servers,
            "tags": self.scope.tags,
            "resources": self.scope.resources,
            "rules": self.scope.rules,
        }});
        let time = |ms: i64| {
            Timestamp::from_millisecond(ms)
                .map(|time| time.to_string())
                .unwrap_or_default()
        };
        match &self.schedule {
            Schedule::Once { start_ms, end_ms } => {
                body["starts"] = json!(time(*start_ms));
                body["ends"] = json!(time(*end_ms));
            }
            Schedule::Weekly(weekly) => {
                let word = |day: &Weekday| DAYS.iter().find(|(_, known)| known == day).map(|(word, _)| *word);
                body["days"] = json!(weekly.days.iter().filter_map(word).collect::<Vec<_>>());
                body["from"] = json!(weekly.from.to_string());
                body["to"] = json!(weekly.to.to_string());
                body["timezone"] = json!(weekly.zone.iana_name().unwrap_or("UTC"));
            }
            Schedule::Cron(cron) => {
                body["cron"] = json!(cron.expression);
                body["duration"] = json!(written_duration(cron.duration_ms));
                body["timezone"] = json!(cron.zone.iana_name().unwrap_or("UTC"));
            }
        }
        body
    }

    /// Reads what [`Mute::to_json`] wrote, whether it is over by now or not.
    ///
    /// # Errors
    /// Every problem with the field it is of.
    pub fn from_stored(id: i64, body: Value) -> Result<Self, Vec<FieldProblem>> {
        // What was kept mutes, whatever would be asked of a new one: earlier versions took any name.
        let mut fields = Fields::of(body)?;
        let mute = read_fields(&mut fields, i64::MIN);
        let mute = fields.finish(mute)?;
        Ok(Self { id, ..mute })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000_000;

    fn refused(body: Value) -> String {
        read(body, NOW).expect_err("refused")[0].field.clone()
    }

    #[test]
    fn each_form_is_read_and_reads_again_as_it_is_written() {
        for body in [
            json!({"name": "disk swap", "scope": {"servers": [1]}, "ends": "2030-01-01T00:00:00Z",
                "starts": "2029-12-31T00:00:00Z"}),
            json!({"name": "nights", "scope": {"tags": ["lab"]}, "days": ["mon", "Friday"], "from": "22:00",
                "to": "06:00", "timezone": "Europe/Berlin"}),
            json!({"comment": "patch", "scope": {"everything": true}, "cron": "0 3 * * TUE", "duration": "2h",
                "timezone": "America/New_York"}),
        ] {
            let mute = read(body, NOW).unwrap();
            assert_eq!(Mute::from_stored(0, mute.to_json()).unwrap(), mute);
        }
    }

    #[test]
    fn one_without_a_name_is_refused_and_one_that_is_kept_without_one_mutes_on() {
        let body =
            |name: Value| json!({"name": name, "scope": {"servers": [1]}, "ends": "2027-06-01T00:00:00Z"});
        for name in [json!(""), json!("  \t"), json!(null)] {
            assert_eq!(refused(body(name.clone())), "name", "{name}");
        }
        let mut nameless = body(json!(null));
        nameless.as_object_mut().unwrap().remove("name");
        assert_eq!(refused(nameless.clone()), "name");
        nameless["comment"] = json!(" ");
        assert_eq!(refused(nameless), "name");
        let mut kept = body(json!(""));
        kept["starts"] = json!("2027-05-31T00:00:00Z");
        assert!(Mute::from_stored(1, kept).is_ok());
    }

    #[test]
    fn what_is_not_understood_names_its_field() {
        let base = |extra: Value| {
            let mut body = json!({"name": "n", "scope": {"servers": [1]}});
            for (name, value) in extra.as_object().unwrap() {
                body[name] = value.clone();
            }
            body
        };
        for (extra, field) in [
            (json!({}), "ends"),
            (json!({"ends": "tomorrow"}), "ends"),
            (json!({"ends": "2020-01-01T00:00:00Z"}), "ends"),
            (json!({"ends": "2040-01-01T00:00:00Z"}), "ends"),
            (
                json!({"ends": "2027-06-01T00:00:00Z", "cron": "* * * * *"}),
                "ends",
            ),
            (json!({"cron": "* * * *", "duration": "1h"}), "cron"),
            (json!({"cron": "* * * * *"}), "duration"),
            (json!({"cron": "* * * * *", "duration": "8d"}), "duration"),
            (json!({"from": "22:00"}), "to"),
            (json!({"from": "25:00", "to": "06:00"}), "from"),
            (json!({"from": "2:00", "to": "06:00"}), "from"),
            (
                json!({"from": "22:00", "to": "06:00", "days": ["someday"]}),
                "days[0]",
            ),
            (json!({"from": "22:00", "to": "06:00", "days": []}), "days"),
            (
                json!({"from": "22:00", "to": "06:00", "timezone": "Mars/Olympus"}),
                "timezone",
            ),
            (
                json!({"scope": {}, "from": "22:00", "to": "06:00"}),
                "scope.everything",
            ),
            (
                json!({"scope": {"everything": true, "servers": [1]}, "from": "22:00", "to": "06:00"}),
                "scope.everything",
            ),
            (
                json!({"scope": {"racks": [1]}, "from": "22:00", "to": "06:00"}),
                "scope.everything",
            ),
        ] {
            assert_eq!(refused(base(extra.clone())), field, "{extra}");
        }
    }
}
