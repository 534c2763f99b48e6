//! What people do to alerts, as forms: that they know, that it is over, that it can wait.

use axum::extract::{Extension, Form, State};
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use muster_alert::engine::NOTE_CHARS_MAX;
use muster_alert::{Alert, AlertState, Severity};
use serde::Deserialize;

use super::PATH;
use crate::alert::Deed;
use crate::http::HttpState;
use crate::http::access::{Caller, Told};
use crate::http::alerts as api;
use crate::http::error::{Code, Problem};
use crate::http::extract::{Path, id_or};
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

/// What comes with a deed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct DeedForm {
    #[serde(default)]
    note: String,
    #[serde(default)]
    back: String,
}

/// What comes with a snooze.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct SnoozeForm {
    hours: i64,
    #[serde(default)]
    end: String,
    #[serde(default)]
    back: String,
}

/// Says that somebody knows.
pub(in crate::http) async fn acknowledge(
    State(state): State<HttpState>,
    caller: Caller,
    Path(id): Path<String>,
    Form(form): Form<DeedForm>,
) -> Result<Response, Problem> {
    let note = note(&form.note)?;
    act(&state, &caller, &id, Deed::Acknowledge, note, &form.back).await
}

/// Says that it is over.
pub(in crate::http) async fn resolve(
    State(state): State<HttpState>,
    caller: Caller,
    Path(id): Path<String>,
    Form(form): Form<DeedForm>,
) -> Result<Response, Problem> {
    let note = note(&form.note)?;
    act(&state, &caller, &id, Deed::Resolve, note, &form.back).await
}

/// Lets it wait, or ends that.
pub(in crate::http) async fn snooze(
    State(state): State<HttpState>,
    caller: Caller,
    Path(id): Path<String>,
    Form(form): Form<SnoozeForm>,
) -> Result<Response, Problem> {
    if !WAITS.iter().any(|(hours, _)| *hours == form.hours) {
        return Err(Problem::field("hours", "one of the times of the form is needed"));
    }
    let until_ms = state.app.clock().now_ms() + form.hours * HOUR_MS;
    let deed = Deed::Snooze(form.end.is_empty().then_some(until_ms));
    act(&state, &caller, &id, deed, None, &form.back).await
}

/// What is done to all alerts that were chosen.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::http) struct AllForm {
    severity: String,
    server: String,
    rule: String,
    note: String,
}

impl AllForm {
    /// Which alerts are meant. What cannot be read is refused: it must not become all of them.
    fn filter(&self) -> Result<AlertFilter, Problem> {
        let number = |name: &'static str, text: &str| match text {
            "" => Ok(None),
            text => text
                .parse()
                .map(Some)
                .map_err(|_| Problem::field(name, "a number is needed")),
        };
        let severity = match self.severity.as_str() {
            "" => None,
            word => {
                let known = Severity::from_word(word);
                Some(known.ok_or_else(|| Problem::field("severity", "info, warning or critical is needed"))?)
            }
        };
        Ok(AlertFilter {
            severities: severity.map(Severity::as_str).into_iter().collect(),
            server: number("server", &self.server)?,
            rule: number("rule", &self.rule)?,
            ..AlertFilter::default()
        })
    }
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
pub(in crate::http) async fn acknowledge_all(
    state: State<HttpState>,
    caller: Caller,
    form: Form<AllForm>,
) -> Result<Response, Problem> {
    act_on_all(state, caller, form, Deed::Acknowledge).await
}

/// Says that all that were chosen are over.
pub(in crate::http) async fn resolve_all(
    state: State<HttpState>,
    caller: Caller,
    form: Form<AllForm>,
) -> Result<Response, Problem> {
    act_on_all(state, caller, form, Deed::Resolve).await
}

async fn act_on_all(
    State(state): State<HttpState>,
    caller: Caller,
    Form(form): Form<AllForm>,
    deed: Deed,
) -> Result<Response, Problem> {
    let (filter, note) = (form.filter()?, note(&form.note)?);
    let changed = api::act_on_all(&state, &caller, filter, &deed, note).await?;
    Ok((Extension(Told(format!("{changed} alerts"))), Redirect::to(PATH)).into_response())
}

fn note(text: &str) -> Result<Option<String>, Problem> {
    let text = text.trim();
    if NOTE_CHARS_MAX < text.chars().count() {
        return Err(Problem::field(
            "note",
            format!("at most {NOTE_CHARS_MAX} characters are taken"),
        ));
    }
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

async fn act(
    state: &HttpState,
    caller: &Caller,
    id: &str,
    deed: Deed,
    note: Option<String>,
    back: &str,
) -> Result<Response, Problem> {
    let id = id_or(id, Code::AlertNotFound)?;
    state
        .alerts
        .act(id, deed, &caller.principal.username, note)
        .await?;
    let alert = state.app.alert(id).await?;
    Ok((Extension(Told(alert.rule_name)), Redirect::to(way_back(back))).into_response())
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
