//! Maintenance windows: when updates that a policy leaves to them may begin.

use axum::extract::{Extension, Form, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use muster_update::{Window, WindowBody};
use serde::Deserialize;

use super::{Field, WINDOWS, Wrong, given, number, tabs};
use crate::app::auth::Role;
use crate::http::HttpState;
use crate::http::access::{Caller, Told};
use crate::http::error::{Code, Problem};
use crate::http::extract::{Path, id_or};
use crate::http::page::{containers, format, layout};
use crate::update::{Kept, UpdateError};

/// Days as the API names them, and as they are shown.
const DAYS: [(&str, &str); 7] = [
    ("mon", "Mon"),
    ("tue", "Tue"),
    ("wed", "Wed"),
    ("thu", "Thu"),
    ("fri", "Fri"),
    ("sat", "Sat"),
    ("sun", "Sun"),
];
/// Fields at which something can be wrong.
const FIELDS: [&str; 10] = [
    "name",
    "description",
    "cron_expression",
    "duration_minutes",
    "allowed_days",
    "from",
    "to",
    "start_time",
    "end_time",
    "timezone",
];

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
    let drawn = html! {
        p class="crumbs" { a href="/" { "Servers" } }
        div class="head" { h1 { "Update windows" } }
        (tabs(WINDOWS))
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

/// What is written in the form.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::http) struct WindowForm {
    name: String,
    description: String,
    cron_expression: String,
    duration_minutes: String,
    from: String,
    to: String,
    start_time: String,
    end_time: String,
    timezone: String,
    enabled: String,
    mon: String,
    tue: String,
    wed: String,
    thu: String,
    fri: String,
    sat: String,
    sun: String,
}

impl WindowForm {
    fn of(body: &WindowBody) -> Self {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let days = body.allowed_days.as_deref().unwrap_or_default();
        let day = |word: &str| {
            let is_chosen = days.iter().any(|day| day.to_lowercase().starts_with(word));
            if is_chosen { "yes" } else { "" }.to_owned()
        };
        Self {
            name: body.name.clone(),
            description: text(&body.description),
            cron_expression: text(&body.cron_expression),
            duration_minutes: body
                .duration_minutes
                .map(|minutes| minutes.to_string())
                .unwrap_or_default(),
            from: text(&body.from),
            to: text(&body.to),
            start_time: text(&body.start_time),
            end_time: text(&body.end_time),
            timezone: text(&body.timezone),
            enabled: if body.enabled.unwrap_or(true) { "yes" } else { "" }.to_owned(),
            mon: day("mon"),
            tue: day("tue"),
            wed: day("wed"),
            thu: day("thu"),
            fri: day("fri"),
            sat: day("sat"),
            sun: day("sun"),
        }
    }

    fn days(&self) -> Vec<&'static str> {
        let ticks = [
            &self.mon, &self.tue, &self.wed, &self.thu, &self.fri, &self.sat, &self.sun,
        ];
        let all = DAYS.iter().zip(ticks);
        all.filter(|(_, tick)| !tick.is_empty())
            .map(|((word, _), _)| *word)
            .collect()
    }

    fn body(&self, wrong: &mut Wrong) -> WindowBody {
        let days = self.days();
        WindowBody {
            name: self.name.trim().to_owned(),
            description: given(&self.description),
            cron_expression: given(&self.cron_expression),
            duration_minutes: number("duration_minutes", &self.duration_minutes, wrong),
            allowed_days: (!days.is_empty()).then(|| days.into_iter().map(str::to_owned).collect()),
            from: given(&self.from),
            to: given(&self.to),
            start_time: given(&self.start_time),
            end_time: given(&self.end_time),
            timezone: given(&self.timezone),
            enabled: Some(!self.enabled.is_empty()),
        }
    }

    fn draw(&self, action: &str, wrong: &Wrong, may_change: bool) -> Markup {
        let field = |label, name, value, hint| {
            Field {
                label,
                name,
                value,
                hint,
                bytes_max: 2_000,
            }
            .draw(wrong)
        };
        let days = self.days();
        html! {
            form method=(if may_change { "post" } else { "get" }) action=(action) {
                fieldset disabled[!may_change] {
                    section class="card" {
                        header { h2 { "Its name and clock" } }
                        div class="row first" {
                            (field("Name", "name", &self.name, "at night"))
                            (field("What it is for", "description", &self.description, ""))
                            (field("Time zone", "timezone", &self.timezone, "UTC"))
                            label class="inline" {
                                input type="checkbox" name="enabled" value="yes" checked[!self.enabled.is_empty()];
                                " it counts; one that does not is never open"
                            }
                        }
                    }
                    section class="card" {
                        header { h2 { "When" } span class="soft" { "one of the three" } }
                        div class="row first" {
                            (field("From", "from", &self.from, "22:00"))
                            (field("To", "to", &self.to, "06:00"))
                            @for (word, shown) in DAYS {
                                label class="inline" {
                                    input type="checkbox" name=(word) value="yes" checked[days.contains(&word)]; " " (shown)
                                }
                            }
                            (wrong.at("allowed_days"))
                            span class="soft" { "Without a day it is every day; one that ends earlier than it begins ends on the next day." }
                        }
                        div class="row bare" {
                            (field("Begins at, a cron expression", "cron_expression", &self.cron_expression, "0 3 * * TUE"))
                            (field("Lasts minutes", "duration_minutes", &self.duration_minutes, "120"))
                        }
                        div class="row bare" {
                            (field("Once, from", "start_time", &self.start_time, "2026-01-31T22:00:00Z"))
                            (field("Once, to", "end_time", &self.end_time, "2026-02-01T02:00:00Z"))
                        }
                    }
                    @if may_change { div class="acts" { button type="submit" class="strong" { "Keep it" } } }
                }
            }
        }
    }
}

/// The form of a new window.
pub(in crate::http) async fn new(caller: Caller) -> Markup {
    let form = WindowForm {
        enabled: "yes".to_owned(),
        ..WindowForm::default()
    };
    page(&caller, None, &form, &Wrong::default())
}

/// A window, as a form for whoever may change it.
pub(in crate::http) async fn edit(
    State(state): State<HttpState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Markup, Problem> {
    let id = id_or(&id, Code::WindowNotFound)?;
    let kept = found(&state, id).await?;
    let form = WindowForm::of(&kept.document.body);
    Ok(page(&caller, Some(&kept), &form, &Wrong::default()))
}

async fn found(state: &HttpState, id: i64) -> Result<Kept<Window>, Problem> {
    let kept = state.updates.kept_windows().await?;
    let found = kept.into_iter().find(|kept| kept.document.id == id);
    found.ok_or_else(|| {
        Problem::new(
            Code::WindowNotFound,
            format!("there is no maintenance window {id}"),
        )
    })
}

fn page(caller: &Caller, kept: Option<&Kept<Window>>, form: &WindowForm, wrong: &Wrong) -> Markup {
    let may_change = caller.principal.may(Role::Admin);
    let title = kept.map_or("A new window", |kept| kept.document.body.name.as_str());
    let action = kept.map_or_else(
        || WINDOWS.to_owned(),
        |kept| format!("{WINDOWS}/{}", kept.document.id),
    );
    let nothing = html! {};
    let drawn = html! {
        p class="crumbs" { a href="/" { "Servers" } " / " a href=(WINDOWS) { "Update windows" } }
        div class="head" {
            h1 { (title) }
            @if let Some(kept) = kept {
                div class="sub" { span { "changed " (format::time(kept.updated_ms)) " by " (kept.updated_by) } }
            }
        }
        (wrong.others(&FIELDS))
        (form.draw(&action, wrong, may_change))
        @if let (Some(kept), true) = (kept, may_change) {
            div class="acts" {
                (containers::confirmed("Delete", "Yes, delete it",
                    &format!("{WINDOWS}/{}/delete", kept.document.id), &nothing))
            }
        }
    };
    layout::still(title, &caller.principal, &drawn)
}

/// Makes a window.
pub(in crate::http) async fn add(
    state: State<HttpState>,
    caller: Caller,
    Form(form): Form<WindowForm>,
) -> Result<Response, Problem> {
    put(state, caller, None, form).await
}

/// Puts another in the place of a window.
pub(in crate::http) async fn change(
    state: State<HttpState>,
    caller: Caller,
    Path(id): Path<String>,
    Form(form): Form<WindowForm>,
) -> Result<Response, Problem> {
    let id = id_or(&id, Code::WindowNotFound)?;
    put(state, caller, Some(id), form).await
}

async fn put(
    State(state): State<HttpState>,
    caller: Caller,
    id: Option<i64>,
    form: WindowForm,
) -> Result<Response, Problem> {
    let mut wrong = Wrong::default();
    let body = form.body(&mut wrong);
    if wrong.is_empty() {
        match state
            .updates
            .put_window(id, body, &caller.principal.username)
            .await
        {
            Ok(kept) => {
                let told = Told(kept.document.body.name);
                return Ok((Extension(told), Redirect::to(WINDOWS)).into_response());
            }
            Err(UpdateError::Invalid(problems)) => wrong = problems.into(),
            Err(error) => return Err(error.into()),
        }
    }
    let kept = match id {
        Some(id) => Some(found(&state, id).await?),
        None => None,
    };
    let page = page(&caller, kept.as_ref(), &form, &wrong);
    Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
}

/// Deletes a window.
pub(in crate::http) async fn delete(
    State(state): State<HttpState>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let id = id_or(&id, Code::WindowNotFound)?;
    state.updates.delete_window(id).await?;
    Ok(Redirect::to(WINDOWS).into_response())
}
