//! Silences and windows: when, and of what, nobody is told.

use axum::extract::{Extension, Form, State};
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use muster_alert::{Mute, MuteScope, Schedule};
use muster_base::id::ServerId;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{alerts, format, layout};
use crate::app::auth::Role;
use crate::http::HttpState;
use crate::http::access::{Caller, Told};
use crate::http::error::{Code, Problem};
use crate::http::extract::{Path, id_or, rfc3339};
use crate::store::MuteRow;

/// Where the page is.
pub(in crate::http) const PATH: &str = "/silences";
const HOUR_MS: i64 = 3_600_000;
/// Longest silence of the form, hours.
const HOURS_MAX: i64 = 24 * 31;
/// Most servers that can be chosen from.
const SERVERS_MAX: usize = 500;

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

struct View {
    mutes: Vec<(Mute, MuteRow)>,
    servers: Vec<(i64, String)>,
    rules: Vec<(i64, String)>,
    now_ms: i64,
}

/// The page.
pub(in crate::http) async fn show(State(state): State<HttpState>, caller: Caller) -> Result<Markup, Problem> {
    let view = load(&state).await?;
    let may_act = caller.principal.may(Role::Operator);
    Ok(layout::still(
        "Silences",
        &caller.principal,
        &draw(&view, may_act),
    ))
}

async fn load(state: &HttpState) -> Result<View, Problem> {
    let names = state.app.server_names().await?;
    let mut servers: Vec<(i64, String)> = names
        .iter()
        .map(|(ServerId(id), name)| (*id, name.hostname.clone()))
        .collect();
    servers.sort_by(|a, b| (&a.1, a.0).cmp(&(&b.1, b.0)));
    let rules = state.alerts.rules().await?;
    let mut mutes: Vec<(Mute, MuteRow)> = state
        .alerts
        .mutes()
        .await?
        .into_iter()
        .filter_map(|row| Some((Mute::from_stored(row.id, row.body.clone()).ok()?, row)))
        .collect();
    let now_ms = state.app.clock().now_ms();
    mutes.sort_by_key(|(mute, row)| (!mute.is_in_force(now_ms), std::cmp::Reverse(row.id)));
    Ok(View {
        mutes,
        servers,
        rules: rules
            .into_iter()
            .map(|kept| (kept.rule.id, kept.rule.name))
            .collect(),
        now_ms,
    })
}

fn draw(view: &View, may_act: bool) -> Markup {
    html! {
        p class="crumbs" { a href="/" { "Servers" } }
        div class="head" { h1 { "Silences and maintenance windows" } }
        (alerts::tabs(PATH))
        section class="card" {
            header { h2 { "When nobody is told" } span class="soft" { (view.mutes.len()) " · judging goes on meanwhile" } }
            @if view.mutes.is_empty() { p class="empty" { "There is none: every alert is told." } }
            @else {
                div class="scroll" {
                    table class="stack" {
                        thead { tr { th { "What" } th { "Now" } th { "Of" } th { "When" } @if may_act { th { "" } } } }
                        tbody { @for (mute, row) in &view.mutes { (line(view, mute, row, may_act)) } }
                    }
                }
            }
            @if may_act { (form(view)) }
        }
        p class="soft" { "Several servers or single resources can be silenced with " code { "muster silences add" } " or the API." }
    }
}

fn line(view: &View, mute: &Mute, row: &MuteRow, may_act: bool) -> Markup {
    let (class, word) = match (&mute.schedule, mute.is_in_force(view.now_ms)) {
        (_, true) => ("warn", "silent"),
        (Schedule::Once { end_ms, .. }, false) if *end_ms <= view.now_ms => ("dim", "over"),
        _ if !mute.enabled => ("dim", "disabled"),
        _ => ("dim", "not now"),
    };
    html! {
        tr {
            td {
                span class="name" { (mute.name) }
                div class="under" { "by " (row.created_by) }
            }
            td { span class={ "pill " (class) } { (word) } }
            td class="wrap" data-label="Of" { (of(view, &mute.scope)) }
            td class="wrap" data-label="When" { (when(mute, &row.body)) }
            @if may_act {
                td class="deeds" {
                    form method="post" action={ (PATH) "/" (mute.id) "/end" } class="inline" {
                        button type="submit" { "End" }
                    }
                }
            }
        }
    }
}

/// Of what, in words.
fn of(view: &View, scope: &MuteScope) -> String {
    if scope.everything {
        return "everything".to_owned();
    }
    let name = |known: &[(i64, String)], id: i64| {
        known
            .iter()
            .find(|(other, _)| *other == id)
            .map_or_else(|| id.to_string(), |(_, name)| name.clone())
    };
    let servers = scope.servers.iter().map(|id| name(&view.servers, *id));
    let resources = scope.resources.iter().map(ToString::to_string);
    let rules = scope.rules.iter().map(|id| name(&view.rules, *id));
    let lists: [(&str, Vec<String>); 4] = [
        ("server", servers.collect()),
        ("tag", scope.tags.clone()),
        ("resource", resources.collect()),
        ("rule", rules.collect()),
    ];
    let told: Vec<String> = lists
        .iter()
        .filter(|(_, list)| !list.is_empty())
        .map(|(kind, list)| format!("{kind} {}", list.join(" or ")))
        .collect();
    told.join(", and ")
}

/// When, in words.
fn when(mute: &Mute, body: &Value) -> String {
    let field = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    match &mute.schedule {
        Schedule::Once { start_ms, end_ms } => {
            format!("{} to {}", format::time(*start_ms), format::time(*end_ms))
        }
        Schedule::Weekly(_) => {
            let days: Vec<&str> = body["days"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            let days = if days.len() == 7 {
                "every day".to_owned()
            } else {
                days.join(", ")
            };
            let clock = |name: &str| field(name).chars().take(5).collect::<String>();
            format!(
                "{days} {} to {}, {}",
                clock("from"),
                clock("to"),
                field("timezone")
            )
        }
        Schedule::Cron(_) => format!(
            "{} for {}, {}",
            field("cron"),
            field("duration"),
            field("timezone")
        ),
    }
}

fn form(view: &View) -> Markup {
    html! {
        form method="post" action=(PATH) class="row" {
            (what(view))
            label { "Hours" input name="hours" type="number" min="1" max=(HOURS_MAX) value="2" required; }
            button type="submit" { "Silence" }
        }
        details {
            summary { "Again and again, on days of the week" }
            form method="post" action=(PATH) class="row bare" {
                (what(view))
                @for (word, shown) in DAYS {
                    label class="inline" { input type="checkbox" name=(word) value="yes"; " " (shown) }
                }
                label { "From" input name="from" required placeholder="22:00" maxlength="5"; }
                label { "To" input name="to" required placeholder="06:00" maxlength="5"; }
                (zone())
                button type="submit" { "Add the window" }
            }
            p class="soft pad" { "Without a day it is every day. One that ends earlier than it begins ends on the next day." }
        }
        details {
            summary { "Again and again, by a cron expression" }
            form method="post" action=(PATH) class="row bare" {
                (what(view))
                label { "Begins at" input name="cron" required placeholder="0 3 * * TUE" maxlength="200" autocomplete="off"; }
                label { "Lasts" input name="duration" required placeholder="2h" maxlength="32"; }
                (zone())
                button type="submit" { "Add the window" }
            }
        }
    }
}

/// Why, and of what.
fn what(view: &View) -> Markup {
    html! {
        label class="wide" { "Why" input name="name" required maxlength="200" autocomplete="off" placeholder="disk swap"; }
        label {
            "Of"
            select name="server" {
                option value="" { "every server" }
                @for (id, name) in view.servers.iter().take(SERVERS_MAX) { option value=(id) { (name) } }
            }
        }
        label { "With the tag" input name="tag" maxlength="64" autocomplete="off" placeholder="any"; }
        label {
            "Of the rule"
            select name="rule" {
                option value="" { "every rule" }
                @for (id, name) in &view.rules { option value=(id) { (name) } }
            }
        }
    }
}

fn zone() -> Markup {
    html! { label { "Time zone" input name="timezone" value="UTC" required maxlength="64" autocomplete="off"; } }
}

/// A silence or window to be made: `hours`, or `from` and `to` with days, or `cron` with `duration`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct SilenceForm {
    name: String,
    server: String,
    #[serde(default)]
    tag: String,
    #[serde(default)]
    rule: String,
    hours: Option<i64>,
    from: Option<String>,
    to: Option<String>,
    cron: Option<String>,
    duration: Option<String>,
    timezone: Option<String>,
    mon: Option<String>,
    tue: Option<String>,
    wed: Option<String>,
    thu: Option<String>,
    fri: Option<String>,
    sat: Option<String>,
    sun: Option<String>,
}

impl SilenceForm {
    /// The days that are ticked.
    fn days(&self) -> Vec<&'static str> {
        let ticks = [
            &self.mon, &self.tue, &self.wed, &self.thu, &self.fri, &self.sat, &self.sun,
        ];
        let all = DAYS.iter().zip(ticks);
        all.filter(|(_, tick)| tick.is_some())
            .map(|((word, _), _)| *word)
            .collect()
    }

    /// What the API takes of when; what is wrong with it is said there.
    fn when(&self, now_ms: i64) -> Result<Value, Problem> {
        if let Some(hours) = self.hours {
            if !(1..=HOURS_MAX).contains(&hours) {
                return Err(Problem::field("hours", format!("1 to {HOURS_MAX} are taken")));
            }
            return Ok(json!({"ends": rfc3339(now_ms + hours * HOUR_MS)}));
        }
        let mut body = json!({});
        for (name, value) in [
            ("from", &self.from),
            ("to", &self.to),
            ("cron", &self.cron),
            ("duration", &self.duration),
            ("timezone", &self.timezone),
        ] {
            if let Some(value) = value {
                body[name] = json!(value.trim());
            }
        }
        let days = self.days();
        if !days.is_empty() {
            body["days"] = json!(days);
        }
        Ok(body)
    }

    /// Of what, all of which there is.
    async fn scope(&self, state: &HttpState) -> Result<Value, Problem> {
        let number = |name: &'static str, text: &str| {
            text.parse::<i64>()
                .map_err(|_| Problem::field(name, format!("the number of a {name} is needed")))
        };
        let mut scope = json!({});
        if !self.server.is_empty() {
            let id = number("server", &self.server)?;
            state.app.server(ServerId(id)).await?;
            scope["servers"] = json!([id]);
        }
        if !self.rule.is_empty() {
            let id = number("rule", &self.rule)?;
            state.alerts.rule(id).await?;
            scope["rules"] = json!([id]);
        }
        let tag = self.tag.trim();
        if !tag.is_empty() {
            scope["tags"] = json!([tag]);
        }
        if scope == json!({}) {
            scope["everything"] = json!(true);
        }
        Ok(scope)
    }
}

/// Makes a silence or window.
pub(in crate::http) async fn add(
    State(state): State<HttpState>,
    caller: Caller,
    Form(form): Form<SilenceForm>,
) -> Result<Response, Problem> {
    let mut body = form.when(state.app.clock().now_ms())?;
    body["scope"] = form.scope(&state).await?;
    body["name"] = json!(form.name);
    let row = state
        .alerts
        .put_mute(None, body, &caller.principal.username)
        .await?;
    Ok((Extension(Told(row.body.to_string())), Redirect::to(PATH)).into_response())
}

/// Ends a silence or window.
pub(in crate::http) async fn end(
    State(state): State<HttpState>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let id = id_or(&id, Code::SilenceNotFound)?;
    state.alerts.delete_mute(id).await?;
    Ok(Redirect::to(PATH).into_response())
}
