//! From news to a title and a text: what Muster writes by itself, and templates of the administrator's.
//!
//! Templates are Jinja ones. Whatever they do is bounded: fuel bounds instructions and memory, the texts are cut, and
//! nothing but the news can be reached from them. What they make is plain text; each channel escapes it. A template
//! that fails never keeps news back: the built-in text is sent instead, with a line that says so.

use std::fmt::Write as _;

use jiff::{SignedDuration, Timestamp};
use minijinja::value::{Serde, Value};
use minijinja::{AutoEscape, Environment, UndefinedBehavior, context};
use muster_alert::{Notification, NotificationKind};
use serde::{Deserialize, Serialize};

use crate::text::{self, Measure};

/// Longest template.
const TEMPLATE_BYTES_MAX: usize = 16 * 1_024;
/// Longest title that is handed to a channel, in characters.
const TITLE_CHARS_MAX: usize = 300;
/// Longest text that is handed to a channel, in characters.
const TEXT_CHARS_MAX: usize = 16_000;
/// What rendering may use: as many instructions, or 64 times as many bytes.
const FUEL: u64 = 50_000;
/// News that are listed one by one when several are told of at once.
const LISTED_MAX: usize = 30;

/// How an administrator wants news to be worded. What is not given is worded by Muster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Template {
    /// Makes the title.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Makes the text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// Title and text, plain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wording {
    pub(crate) title: String,
    pub(crate) text: String,
}

impl Template {
    /// What is wrong with it, by field: it is tried on news that have everything, and on news that have nothing.
    pub(crate) fn problems(&self) -> Vec<(&'static str, String)> {
        let parts = [("title", &self.title), ("text", &self.text)];
        let mut problems = Vec::new();
        for (field, source) in parts {
            let Some(source) = source else { continue };
            if TEMPLATE_BYTES_MAX < source.len() {
                problems.push((field, format!("it is longer than {TEMPLATE_BYTES_MAX} bytes")));
                continue;
            }
            let tried = [
                ("with everything", full_example()),
                ("with nothing optional", test_news("example", 0)),
            ];
            let failed = tried
                .iter()
                .find_map(|(which, news)| Some((which, render(source, news).err()?)));
            problems.extend(failed.map(|(which, why)| (field, format!("on news {which}: {why}"))));
        }
        problems
    }

    /// Title and text of these news.
    pub(crate) fn word(&self, news: &Notification) -> Wording {
        let mut failed = Vec::new();
        let mut of = |source: Option<&String>, built_in: fn(&Notification) -> String| match source {
            None => built_in(news),
            Some(source) => render(source, news).unwrap_or_else(|why| {
                failed.push(why);
                built_in(news)
            }),
        };
        let title = of(self.title.as_ref(), title_of);
        let mut text = of(self.text.as_ref(), text_of);
        if let Some(why) = failed.first() {
            let _ = write!(text, "\n\n(The channel's template failed: {why})");
        }
        let title = text::fit(
            &text::one_line(&title),
            TITLE_CHARS_MAX,
            Measure::Chars,
            text::verbatim,
        );
        Wording {
            // Some systems refuse a message without one.
            title: if title.is_empty() { title_of(news) } else { title },
            text: text::fit(
                &text::plain(&text),
                TEXT_CHARS_MAX,
                Measure::Chars,
                text::verbatim,
            ),
        }
    }
}

/// Title and text of several news in one message; `title_of_one` words each.
pub(crate) fn word_several(news: &[Notification], title_of_one: impl Fn(&Notification) -> String) -> Wording {
    let over = news
        .iter()
        .filter(|news| news.kind == NotificationKind::Resolved)
        .count();
    let title = match (news.len() - over, over) {
        (active, 0) => format!("{active} alert messages"),
        (0, over) => format!("{over} alerts resolved"),
        (active, over) => format!("{active} alert messages, {over} resolved"),
    };
    let mut text = String::new();
    for news in news.iter().take(LISTED_MAX) {
        let _ = writeln!(text, "- {} ({})", title_of_one(news), time(news.at_ms));
    }
    if LISTED_MAX < news.len() {
        let _ = writeln!(text, "and {} more", news.len() - LISTED_MAX);
    }
    Wording {
        title,
        text: text::fit(text.trim_end(), TEXT_CHARS_MAX, Measure::Chars, text::verbatim),
    }
}

/// News that try a channel.
#[must_use]
pub fn test_news(channel: &str, at_ms: i64) -> Notification {
    Notification {
        id: format!("test-{at_ms}"),
        kind: NotificationKind::Test,
        rule: muster_alert::RuleRef {
            id: 0,
            name: "Channel test".to_owned(),
        },
        alert: muster_alert::AlertRef {
            id: 0,
            key: format!("muster-test-{at_ms}"),
        },
        server: None,
        resource: None,
        severity: muster_alert::Severity::Info,
        title: text::fit(
            &format!("Muster can reach the channel {}", text::one_line(channel)),
            muster_alert::TITLE_CHARS_MAX,
            Measure::Chars,
            text::verbatim,
        ),
        text: "This is a test that somebody asked for. Nothing is wrong, and nothing is to be done."
            .to_owned(),
        metric: String::new(),
        value: None,
        threshold: None,
        condition: String::new(),
        unit: String::new(),
        started_ms: at_ms,
        ended_ms: None,
        at_ms,
        is_late: false,
        by: None,
        note: None,
        affected: Vec::new(),
        affected_more: 0,
        runbook: None,
        template: None,
        labels: std::collections::BTreeMap::new(),
        links: Vec::new(),
    }
}

/// News in which everything is given.
fn full_example() -> Notification {
    let mut news = test_news("example", 0);
    news.server = Some(muster_alert::ServerRef {
        id: 1,
        name: "server".to_owned(),
        tags: vec!["tag".to_owned()],
    });
    let resource = muster_alert::ResourceRef {
        id: 2,
        kind: muster_model::ResourceKind::Device,
        name: "sda".to_owned(),
    };
    news.affected = vec![resource.clone()];
    news.resource = Some(resource);
    (news.value, news.threshold) = (Some(61.5), Some(60.0));
    (news.condition, news.unit) = (">".to_owned(), "celsius".to_owned());
    news.ended_ms = Some(0);
    (news.by, news.note) = (Some("admin".to_owned()), Some("note".to_owned()));
    news.runbook = Some("https://example.org".to_owned());
    news
}

/// The built-in title.
fn title_of(news: &Notification) -> String {
    let severity = news.severity.as_str().to_uppercase();
    let mark = match news.kind {
        NotificationKind::Firing => severity,
        NotificationKind::Escalated => format!("NOW {severity}"),
        NotificationKind::Repeat => format!("STILL {severity}"),
        NotificationKind::Acknowledged => "ACKNOWLEDGED".to_owned(),
        NotificationKind::Resolved => "RESOLVED".to_owned(),
        NotificationKind::Test => "TEST".to_owned(),
    };
    format!("[{mark}] {}", news.title)
}

/// The built-in text.
fn text_of(news: &Notification) -> String {
    let mut text = format!("{}\n\n", news.text.trim());
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "{name}: {}", text::one_line(value));
    };
    if let Some(server) = &news.server {
        line("Server", &server.name);
    }
    if let Some(resource) = &news.resource {
        line(
            "Resource",
            &format!("{} {}", resource.kind.as_str(), resource.name),
        );
    }
    if let Some(value) = value_of(news) {
        line("Value", &value);
    }
    if news.kind != NotificationKind::Test {
        line("Rule", &news.rule.name);
        line("Since", &time(news.started_ms));
    }
    if let Some(ended_ms) = news.ended_ms {
        let lasted = lasted(news.started_ms, ended_ms);
        line("Until", &format!("{} ({lasted})", time(ended_ms)));
    }
    if news.is_late {
        line(
            "Late",
            "judged by samples that came long after they were measured",
        );
    }
    if let Some(by) = &news.by {
        let note = news.note.as_deref().unwrap_or_default();
        line("By", &format!("{by} {note}"));
    }
    if let Some(affected) = affected_of(news) {
        line("Affected", &affected);
    }
    if let Some(runbook) = &news.runbook {
        line("Runbook", runbook);
    }
    for link in &news.links {
        line(&text::one_line(&link.title), &link.url);
    }
    text
}

/// The number, and what it was compared with.
pub(crate) fn value_of(news: &Notification) -> Option<String> {
    let value = number(news.value?);
    let unit = match news.unit.as_str() {
        "" => String::new(),
        "celsius" => " °C".to_owned(),
        "percent" => " %".to_owned(),
        unit => format!(" {unit}"),
    };
    Some(match news.threshold {
        Some(threshold) => format!("{value}{unit} ({} {}{unit})", news.condition, number(threshold)),
        None => format!("{value}{unit}"),
    })
}

/// What else is affected.
pub(crate) fn affected_of(news: &Notification) -> Option<String> {
    if news.affected.is_empty() && news.affected_more == 0 {
        return None;
    }
    let mut parts: Vec<String> = news
        .affected
        .iter()
        .map(|resource| format!("{} {}", resource.kind.as_str(), resource.name))
        .collect();
    if 0 < news.affected_more {
        parts.push(format!("{} more", news.affected_more));
    }
    Some(parts.join(", "))
}

/// A number with the digits that matter.
fn number(value: f64) -> String {
    let text = format!("{value:.3}");
    let short = text.trim_end_matches('0').trim_end_matches('.');
    if short == "-0" {
        "0".to_owned()
    } else {
        short.to_owned()
    }
}

/// RFC 3339, UTC, to the second.
pub(crate) fn time(unix_ms: i64) -> String {
    Timestamp::from_millisecond(unix_ms)
        .and_then(|time| time.round(jiff::Unit::Second))
        .map_or_else(|_| format!("{unix_ms} ms"), |time| time.to_string())
}

fn lasted(started_ms: i64, ended_ms: i64) -> String {
    let seconds = ended_ms.saturating_sub(started_ms).max(0) / 1_000;
    let lasted = SignedDuration::from_secs(seconds);
    format!("{lasted:#}")
}

/// Renders a template on these news.
fn render(source: &str, news: &Notification) -> Result<String, String> {
    let mut environment = Environment::new();
    environment.set_fuel(Some(FUEL));
    environment.set_undefined_behavior(UndefinedBehavior::Chainable);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    let rendered = environment.render_str(source, values(news));
    rendered.map_err(|error| {
        let place = error
            .line()
            .map(|line| format!("line {line}: "))
            .unwrap_or_default();
        let why = error.detail().unwrap_or("it fails").to_owned();
        let why = format!("{place}{}: {why}", error.kind());
        text::fit(&text::one_line(&why), 300, Measure::Chars, text::verbatim)
    })
}

/// What a template can name.
fn values(news: &Notification) -> Value {
    context! {
        value_text => value_of(news),
        affected_text => affected_of(news),
        started => time(news.started_ms),
        ended => news.ended_ms.map(time),
        at => time(news.at_ms),
        lasted => news.ended_ms.map(|ended_ms| lasted(news.started_ms, ended_ms)),
        default_title => title_of(news),
        default_text => text_of(news),
        ..Serde(news)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sample;

    fn with_text(source: &str) -> Template {
        Template {
            title: None,
            text: Some(source.to_owned()),
        }
    }

    #[test]
    fn the_built_in_wording_says_what_where_how_bad_and_what_to_do() {
        let wording = Template::default().word(&sample::firing());
        assert_eq!(wording.title, "[CRITICAL] sda on nas1 is at 61 °C");
        assert_eq!(
            wording.text,
            "The drive is hotter than it should be: <check> the fans & the *filter*.\n\n\
             Server: nas1\nResource: device sda\nValue: 61.25 °C (> 60 °C)\nRule: High Temperature Alert\n\
             Since: 2025-11-22T14:00:00Z\nAffected: pool tank, filesystem /tank, 3 more\n\
             Runbook: https://wiki.example.org/disks\nAlert: https://muster.example.org/alerts/17"
        );
        let wording = Template::default().word(&sample::resolved());
        assert_eq!(wording.title, "[RESOLVED] sda on nas1 is at 61 °C");
        assert!(
            wording.text.contains("Until: 2025-11-22T14:12:00Z (12m)"),
            "{}",
            wording.text
        );
    }

    #[test]
    fn a_template_words_the_news_its_own_way() {
        let template = Template {
            title: Some("{{ server.name }}: {{ severity|upper }}".to_owned()),
            text: Some(
                "{{ rule.name }}{% for r in affected %} {{ r.name }}{% endfor %} {% if value is not none %}{{ value|round }}{% endif %}{{ nothing.at.all }}"
                    .to_owned(),
            ),
        };
        assert_eq!(template.problems(), []);
        let wording = template.word(&sample::firing());
        assert_eq!(wording.title, "nas1: CRITICAL");
        assert_eq!(wording.text, "High Temperature Alert tank /tank 61.0");
    }

    #[test]
    fn a_template_that_fails_keeps_no_news_back() {
        let template = with_text("{% if kind == 'firing' %}{{ value.x() }}{% endif %}");
        let wording = template.word(&sample::firing());
        assert!(
            wording.text.starts_with("The drive is hotter"),
            "{}",
            wording.text
        );
        assert!(wording.text.contains("template failed"), "{}", wording.text);
        let empty = Template {
            title: Some(" \n ".to_owned()),
            text: None,
        };
        assert!(!empty.word(&sample::firing()).title.is_empty());
    }

    #[test]
    fn a_template_that_would_never_end_or_fill_the_memory_is_refused() {
        let nested = "{% for a in range(9999) %}".repeat(5) + &"{% endfor %}".repeat(5);
        let doubling = format!(
            "{{% set x = 'xxxxxxxxxxxxxxxx' %}}{}{{{{ x }}}}",
            "{% set x = x ~ x %}".repeat(60)
        );
        for hostile in [
            nested.as_str(),
            &doubling,
            "{{ 'x' * 99999999 }}",
            "{{ range(100000)|list|join('x' * 10000) }}",
            "{{ 'aaaa'|replace('a', 'a' * 100000)|replace('a', 'a' * 100000) }}",
            "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
            "{% include '/etc/passwd' %}",
            "{{ x",
            "{% for %}",
        ] {
            let problems = with_text(hostile).problems();
            assert_eq!(problems.len(), 1, "{hostile:.60}");
            println!("{hostile:.40}: {}", problems[0].1);
        }
        let long = with_text(&"x".repeat(TEMPLATE_BYTES_MAX + 1));
        assert_eq!(long.problems().len(), 1);
    }

    #[test]
    fn several_news_become_a_list_with_an_end() {
        let mut news = vec![sample::firing(); 35];
        news.push(sample::resolved());
        let wording = word_several(&news, |news| news.title.clone());
        assert_eq!(wording.title, "35 alert messages, 1 resolved");
        assert_eq!(wording.text.lines().count(), LISTED_MAX + 1);
        assert!(wording.text.ends_with("and 6 more"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn no_template_panics_or_grows_without_end(
            parts in prop::collection::vec(prop::sample::select(vec![
                "{{ title }}", "{% for a in range(50) %}", "{% endfor %}", "{% if value > 1 %}", "{% endif %}",
                "{% set x = x ~ text %}", "{{ x }}", "{{ labels|items|list }}", "{{", "}}", "text", "{#", "#}",
                "{{ 1 / 0 }}", "{{ value ** 99999 }}", "{{ text|indent(99999) }}",
            ]), 0..12),
        ) {
            let template = with_text(&parts.concat());
            let _ = template.problems();
            prop_assert!(template.word(&sample::firing()).text.chars().count() <= TEXT_CHARS_MAX);
        }
    }
}
