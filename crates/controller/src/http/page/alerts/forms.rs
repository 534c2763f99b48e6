//! What people do to alerts, as forms: that they know, that it is over, that it can wait.

use maud::{Markup, html};
use muster_alert::engine::NOTE_CHARS_MAX;
use muster_alert::{Alert, AlertState, Severity};

use super::PATH;
use crate::alert::Deed;
use crate::http::alerts as api;
use crate::http::error::{Code, Problem};
use crate::http::page::asked::{Answer, Asked, done};
use crate::http::page::form::given;
use crate::store::AlertFilter;

/// How long something can wait: hours, and the words for it.
const WAITS: [(i64, &str); 5] = [
    (1, "1 hour"),
    (4, "4 hours"),
    (24, "1 day"),
    (72, "3 days"),
    (168, "1 week"),
];
const HOUR_MS: i64 = 3_600_000;

/// The buttons of a line.
pub(super) fn buttons(alert: &Alert, place: &str) -> Markup {
    let action = |deed: &str| format!("{PATH}/{}/{deed}", alert.id);
    let button = |deed: &str, word: &str| {
        html! {
            form method="post" action=(action(deed)) class="inline" {
                input type="hidden" name="back" value=(place);
                button type="submit" { (word) }
            }
        }
    };
    html! {
        @if alert.state == AlertState::Active { (button("acknowledge", "Acknowledge")) }
        @if alert.state.is_open() { (button("resolve", "Resolve")) }
    }
}

/// What can be done on the page of one alert, with a note.
pub(super) fn deeds(alert: &Alert, place: &str) -> Markup {
    let action = |deed: &str| format!("{PATH}/{}/{deed}", alert.id);
    html! {
        @if alert.state.is_open() {
            section class="card" {
                header { h2 { "Answer it" } }
                form method="post" action=(action("resolve")) class="row first" {
                    input type="hidden" name="back" value=(place);
                    label class="wide" {
                        span { "Note " span class="soft" { "(can be left out)" } }
                        input name="note" maxlength=(NOTE_CHARS_MAX) autocomplete="off";
                    }
                    @if alert.state == AlertState::Active {
                        button type="submit" formaction=(action("acknowledge")) { "Acknowledge: somebody knows" }
                    }
                    button type="submit" { "Resolve: it is over" }
                }
                form method="post" action=(action("snooze")) class="row bare" {
                    input type="hidden" name="back" value=(place);
                    label {
                        "No reminders for"
                        select name="hours" {
                            @for (hours, words) in WAITS { option value=(hours) { (words) } }
                        }
                    }
                    button type="submit" { "Snooze" }
                    @if alert.snoozed_until_ms.is_some() {
                        button type="submit" name="end" value="yes" { "Remind again" }
                    }
                }
            }
        }
    }
}

/// Says that somebody knows.
pub(in crate::http) async fn acknowledge(asked: Asked) -> Answer {
    let [written, back] = asked.texts(["note", "back"])?;
    act(&asked, Deed::Acknowledge, note(written)?, back).await
}

/// Says that it is over.
pub(in crate::http) async fn resolve(asked: Asked) -> Answer {
    let [written, back] = asked.texts(["note", "back"])?;
    act(&asked, Deed::Resolve, note(written)?, back).await
}

/// Lets it wait, or ends that.
pub(in crate::http) async fn snooze(asked: Asked) -> Answer {
    let [hours, end, back] = asked.texts(["hours", "end", "back"])?;
    let known = WAITS.iter().find(|(known, _)| hours.parse() == Ok(*known));
    let (hours, _) =
        known.ok_or_else(|| Problem::field("hours", "one of the times of the form is needed"))?;
    let until_ms = asked.state.app.clock().now_ms() + hours * HOUR_MS;
    let deed = Deed::Snooze(end.is_empty().then_some(until_ms));
    act(&asked, deed, None, back).await
}

async fn act(asked: &Asked, deed: Deed, note: Option<String>, back: &str) -> Answer {
    let id = asked.id(Code::AlertNotFound)?;
    asked.state.alerts.act(id, deed, asked.by(), note).await?;
    let alert = asked.state.app.alert(id).await?;
    done(alert.rule_name, way_back(back))
}

/// What can be done to all alerts that are chosen at once.
pub(super) fn all(severity: Option<Severity>, server: Option<i64>, rule: Option<i64>) -> Markup {
    let severity = severity.map(Severity::as_str).unwrap_or_default();
    let number = |id: Option<i64>| id.map(|id| id.to_string()).unwrap_or_default();
    html! {
        details {
            summary { "Answer all of these" }
            form method="post" action={ (PATH) "/acknowledge-all" } class="row bare" {
                input type="hidden" name="severity" value=(severity);
                input type="hidden" name="server" value=(number(server));
                input type="hidden" name="rule" value=(number(rule));
                label class="wide" {
                    span { "Note " span class="soft" { "(can be left out)" } }
                    input name="note" maxlength=(NOTE_CHARS_MAX) autocomplete="off";
                }
                button type="submit" { "Acknowledge all" }
                button type="submit" formaction={ (PATH) "/resolve-all" } { "Resolve all" }
            }
        }
    }
}

/// Says that somebody knows of all that were chosen.
pub(in crate::http) async fn acknowledge_all(asked: Asked) -> Answer {
    act_on_all(&asked, Deed::Acknowledge).await
}

/// Says that all that were chosen are over.
pub(in crate::http) async fn resolve_all(asked: Asked) -> Answer {
    act_on_all(&asked, Deed::Resolve).await
}

async fn act_on_all(asked: &Asked, deed: Deed) -> Answer {
    let [severity, server, rule, written] = asked.texts(["severity", "server", "rule", "note"])?;
    let filter = AlertFilter {
        severities: severity_of(severity)?.map(Severity::as_str).into_iter().collect(),
        server: number("server", server)?,
        rule: number("rule", rule)?,
        ..AlertFilter::default()
    };
    let changed = api::act_on_all(&asked.state, &asked.caller, filter, &deed, note(written)?).await?;
    done(format!("{changed} alerts"), PATH)
}

/// A severity that is meant. What cannot be read is refused: it must not become all of them.
fn severity_of(word: &str) -> Result<Option<Severity>, Problem> {
    let read = |word: String| {
        Severity::from_word(&word)
            .ok_or_else(|| Problem::field("severity", "info, warning or critical is needed"))
    };
    given(word).map(read).transpose()
}

/// A number that is meant. What cannot be read is refused too.
fn number(name: &str, text: &str) -> Result<Option<i64>, Problem> {
    let read = |text: String| {
        text.parse()
            .map_err(|_| Problem::field(name, "a number is needed"))
    };
    given(text).map(read).transpose()
}

fn note(text: &str) -> Result<Option<String>, Problem> {
    if NOTE_CHARS_MAX < text.trim().chars().count() {
        return Err(Problem::field(
            "note",
            format!("at most {NOTE_CHARS_MAX} characters are taken"),
        ));
    }
    Ok(given(text))
}

/// Where a form leads back to: a page of ours, whatever it says.
fn way_back(back: &str) -> &str {
    let is_ours = back.starts_with('/')
        && !back.starts_with("//")
        && back
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'/');
    if is_ours { back } else { PATH }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_leads_back_to_our_own_pages_only() {
        for ours in ["/", "/alerts", "/alerts/7", "/servers/3"] {
            assert_eq!(way_back(ours), ours);
        }
        for other in [
            "",
            "//evil.example",
            "https://evil.example",
            "/\\evil.example",
            "/a?b",
            "/a\r\nb",
            "javascript:x",
        ] {
            assert_eq!(way_back(other), PATH, "{other}");
        }
    }
}
