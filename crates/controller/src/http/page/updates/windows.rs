//! Maintenance windows: when updates that a policy leaves to them may begin.

use axum::extract::State;
use maud::{Markup, html};
use muster_update::{Window, WindowBody};

use super::{WINDOWS, framed};
use crate::app::auth::Role;
use crate::http::HttpState;
use crate::http::access::Caller;
use crate::http::error::{Code, Problem};
use crate::http::page::asked::Asked;
use crate::http::page::form::{DAYS, Field, Form, Refused, Sent, Wrong};
use crate::http::page::sheet::{About, Sheet};
use crate::http::page::{format, layout};
use crate::update::Kept;

/// The page of all windows.
pub(in crate::http) async fn show(State(state): State<HttpState>, caller: Caller) -> Result<Markup, Problem> {
    let kept = state.updates.kept_windows().await?;
    let policies = state.updates.kept_policies().await?;
    let may_change = caller.principal.may(Role::Admin);
    let now_ms = state.app.clock().now_ms();
    let users = |id: i64| -> Vec<&str> {
        let using = policies.iter().map(|kept| &kept.document.body);
        using
            .filter(|body| body.maintenance_window_id == Some(id))
            .map(|body| body.name.as_str())
            .collect()
    };
    let list = html! {
        section class="card" {
            header { h2 { "When updates may begin" } span class="soft" { (kept.len()) } }
            @if kept.is_empty() {
                p class="empty" {
                    "There is none: policies that name no window begin at any time."
                    @if !may_change { " An admin can make one." }
                }
            } @else {
                div class="scroll" {
                    table class="stack" {
                        thead { tr { th { "Window" } th { "When" } th { "Now" } th { "Policies that wait for it" } } }
                        tbody { @for one in &kept { (line(one, &users(one.document.id), now_ms)) } }
                    }
                }
            }
            @if may_change { div class="acts" { a class="button" href={ (WINDOWS) "/new" } { "Make a window" } } }
        }
    };
    let drawn = framed("Update windows", WINDOWS, &list);
    Ok(layout::page("Update windows", &caller.principal, &drawn))
}

fn line(kept: &Kept<Window>, users: &[&str], now_ms: i64) -> Markup {
    let window = &kept.document;
    html! {
        tr {
            td {
                a class="name" href={ (WINDOWS) "/" (window.id) } { (window.body.name) }
                @if let Some(description) = &window.body.description { div class="under" { (description) } }
            }
            td class="wrap" data-label="When" { (when(&window.body)) }
            td data-label="Now" {
                @if !window.is_enabled() { span class="pill dim" { "off: never open" } }
                @else if window.is_open(now_ms) { span class="pill good" { "open" } }
                @else { span class="pill dim" { "closed" } }
            }
            td class="wrap" data-label="Policies" {
                @if users.is_empty() { span class="soft" { "none" } } @else { (users.join(", ")) }
            }
        }
    }
}

/// When, in words.
fn when(body: &WindowBody) -> String {
    let zone = body.timezone.as_deref().unwrap_or("UTC");
    let of = |text: &Option<String>| text.clone().unwrap_or_default();
    if let Some(cron) = &body.cron_expression {
        return format!(
            "{cron} for {} min, {zone}",
            body.duration_minutes.unwrap_or_default()
        );
    }
    if body.from.is_some() {
        let days = body.allowed_days.as_ref().filter(|days| !days.is_empty());
        let days = days.map_or_else(|| "every day".to_owned(), |days| days.join(", "));
        return format!("{days} {} to {}, {zone}", of(&body.from), of(&body.to));
    }
    let time = |text: &Option<String>| format::time_of(&of(text));
    format!("once, {} to {}", time(&body.start_time), time(&body.end_time))
}

impl Sheet for Kept<Window> {
    const PATH: &'static str = WINDOWS;
    const ALL: &'static str = "Update windows";
    const NEW: &'static str = "A new window";
    const DELETE: &'static str = "Yes, delete it";
    const NOT_FOUND: Code = Code::WindowNotFound;
    const LOOK: Role = Role::Viewer;
    const ACTIONS: [&'static str; 3] = [
        "maintenance_window.create",
        "maintenance_window.change",
        "maintenance_window.delete",
    ];

    async fn find(state: &HttpState, id: i64) -> Result<Self, Problem> {
        let kept = state.updates.kept_windows().await?;
        let found = kept.into_iter().find(|kept| kept.document.id == id);
        let none = || Problem::new(Self::NOT_FOUND, format!("there is no maintenance window {id}"));
        found.ok_or_else(none)
    }

    fn about(&self) -> About<'_> {
        About {
            id: self.document.id,
            name: &self.document.body.name,
            changed: Some((self.updated_ms, &self.updated_by)),
        }
    }

    async fn form(_: &HttpState, _: Option<&Self>) -> Result<Form, Problem> {
        Ok(form())
    }

    fn sent(&self) -> Sent {
        sent(&self.document.body)
    }

    async fn put(asked: &Asked, old: Option<&Self>, sent: &Sent) -> Result<String, Refused> {
        let id = old.map(|old| old.document.id);
        let kept = asked
            .state
            .updates
            .put_window(id, body(sent)?, asked.by())
            .await?;
        Ok(kept.document.body.name)
    }

    async fn delete(state: &HttpState, id: i64) -> Result<(), Problem> {
        Ok(state.updates.delete_window(id).await?)
    }
}

fn form() -> Form {
    let mut weekly = vec![
        Field::text("from", "From", "22:00"),
        Field::text("to", "To", "06:00"),
    ];
    weekly.extend(Field::days());
    weekly.push(Field::words(
        "allowed_days",
        "Without a day it is every day; one that ends earlier than it begins ends on the next day.",
    ));
    Form::default()
        .section("Its name and clock", "")
        .row(vec![
            Field::text("name", "Name", "at night"),
            Field::text("description", "What it is for", ""),
            Field::text("timezone", "Time zone", "UTC"),
            Field::mark("enabled", "it counts; one that does not is never open", true),
        ])
        .section("When", "one of the three")
        .row(weekly)
        .row(vec![
            Field::text("cron_expression", "Begins at, a cron expression", "0 3 * * TUE"),
            Field::text("duration_minutes", "Lasts minutes", "120"),
        ])
        .row(vec![
            Field::text("start_time", "Once, from", "2026-01-31T22:00:00Z"),
            Field::text("end_time", "Once, to", "2026-02-01T02:00:00Z"),
        ])
}

/// What is written in the form of a window that is there.
fn sent(body: &WindowBody) -> Sent {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let sent = Sent::default()
        .with("name", &body.name)
        .with("description", text(&body.description))
        .with("cron_expression", text(&body.cron_expression))
        .with_number("duration_minutes", body.duration_minutes)
        .with("from", text(&body.from))
        .with("to", text(&body.to))
        .with("start_time", text(&body.start_time))
        .with("end_time", text(&body.end_time))
        .with("timezone", text(&body.timezone))
        .marked("enabled", body.enabled.unwrap_or(true));
    let days = body.allowed_days.as_deref().unwrap_or_default();
    let is_chosen = |day: &str| days.iter().any(|one| one.to_lowercase().starts_with(day));
    DAYS.into_iter()
        .fold(sent, |sent, (day, _)| sent.marked(day, is_chosen(day)))
}

/// The window that is meant.
fn body(sent: &Sent) -> Result<WindowBody, Refused> {
    let mut wrong = Wrong::default();
    let days = sent.days();
    let body = WindowBody {
        name: sent.trimmed("name"),
        description: sent.given("description"),
        cron_expression: sent.given("cron_expression"),
        duration_minutes: sent.number("duration_minutes", &mut wrong),
        allowed_days: (!days.is_empty()).then(|| days.into_iter().map(str::to_owned).collect()),
        from: sent.given("from"),
        to: sent.given("to"),
        start_time: sent.given("start_time"),
        end_time: sent.given("end_time"),
        timezone: sent.given("timezone"),
        enabled: Some(sent.is_on("enabled")),
    };
    wrong.unless(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_that_nobody_touched_is_kept_as_it_was() {
        let bodies = [
            WindowBody {
                name: "nights".to_owned(),
                description: Some("of <b>".to_owned()),
                allowed_days: Some(vec!["mon".to_owned(), "sun".to_owned()]),
                from: Some("22:00".to_owned()),
                to: Some("06:00".to_owned()),
                timezone: Some("Europe/Berlin".to_owned()),
                enabled: Some(false),
                ..WindowBody::default()
            },
            WindowBody {
                name: "patch day".to_owned(),
                cron_expression: Some("0 3 * * TUE".to_owned()),
                duration_minutes: Some(90),
                enabled: Some(true),
                ..WindowBody::default()
            },
        ];
        for kept in bodies {
            assert_eq!(body(&sent(&kept)).unwrap(), kept);
        }
    }
}
