//! Silences and windows: when, and of what, nobody is told.

use axum::extract::State;
use maud::{Markup, html};
use muster_alert::{Mute, MuteScope, Schedule};
use muster_base::id::ServerId;
use serde_json::{Value, json};

use super::asked::{Answer, Asked, again, done};
use super::form::{Field, Form, Refused, Sent, Written, Wrong, numbered};
use super::{alerts, containers, format, layout};
use crate::app::auth::Role;
use crate::http::HttpState;
use crate::http::access::Caller;
use crate::http::error::{Code, Problem};
use crate::http::extract::rfc3339;
use crate::store::MuteRow;

/// Where the page is.
pub(in crate::http) const PATH: &str = "/silences";
const HOUR_MS: i64 = 3_600_000;
/// Longest silence of the form, hours.
const HOURS_MAX: i64 = 24 * 31;
/// What the form can make: something that is over after a while, or comes again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Span {
    Hours,
    Weekly,
    Cron,
}

struct View {
    mutes: Vec<(Mute, MuteRow)>,
    servers: Vec<(i64, String)>,
    rules: Vec<(i64, String)>,
    now_ms: i64,
}

/// The page.
pub(in crate::http) async fn show(State(state): State<HttpState>, caller: Caller) -> Result<Markup, Problem> {
    page(&state, &caller, None).await
}

/// The page, with what was written in a form that could not be taken, and what is wrong with it.
async fn page(
    state: &HttpState,
    caller: &Caller,
    written: Option<(Span, Written<'_>)>,
) -> Result<Markup, Problem> {
    let view = load(state).await?;
    let drawn = draw(&view, written, caller.principal.may(Role::Operator));
    let drawn = alerts::framed("Silences and maintenance windows", PATH, &drawn);
    Ok(layout::still("Silences", &caller.principal, &drawn))
}

async fn load(state: &HttpState) -> Result<View, Problem> {
    let names = state.app.server_names().await?;
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
        servers: containers::servers(&names),
        rules: rules
            .into_iter()
            .map(|kept| (kept.rule.id, kept.rule.name))
            .collect(),
        now_ms,
    })
}

fn draw(view: &View, written: Option<(Span, Written<'_>)>, may_act: bool) -> Markup {
    html! {
        @if let Some((span, (_, wrong))) = written { (wrong.draw(&fields(span, &[], &[]))) }
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
            @if may_act { (forms(view, written)) }
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

fn forms(view: &View, written: Option<(Span, Written<'_>)>) -> Markup {
    let of = |span: Span| written.filter(|(of, _)| *of == span).map(|(_, written)| written);
    let draw = |span: Span, class: &str, button: &str| {
        fields(span, &view.servers, &view.rules).draw_row(class, PATH, of(span), button)
    };
    html! {
        (draw(Span::Hours, "", "Silence"))
        details open[of(Span::Weekly).is_some()] {
            summary { "Again and again, on days of the week" }
            (draw(Span::Weekly, "bare", "Add the window"))
            p class="soft pad" { "Without a day it is every day. One that ends earlier than it begins ends on the next day." }
        }
        details open[of(Span::Cron).is_some()] {
            summary { "Again and again, by a cron expression" }
            (draw(Span::Cron, "bare", "Add the window"))
        }
    }
}

/// The fields: why, of what, and when.
fn fields(span: Span, servers: &[(i64, String)], rules: &[(i64, String)]) -> Form {
    let mut fields = vec![
        Field::text("name", "Why", "disk swap")
            .at_most(200)
            .required()
            .wide(),
        Field::one("server", "Of", numbered("every server", servers)),
        Field::text("tag", "With the tag", "any").at_most(64),
        Field::one("rule", "Of the rule", numbered("every rule", rules)),
    ];
    let zone = Field::text("timezone", "Time zone", "")
        .usual("UTC")
        .at_most(64)
        .required();
    match span {
        Span::Hours => {
            let hours = Field::number("hours", "Hours", 1, HOURS_MAX);
            fields.push(hours.usual("2").required());
        }
        Span::Weekly => {
            fields.extend(Field::days());
            fields.push(Field::text("from", "From", "22:00").at_most(5).required());
            fields.push(Field::text("to", "To", "06:00").at_most(5).required());
            fields.push(zone);
        }
        Span::Cron => {
            fields.push(
                Field::text("cron", "Begins at", "0 3 * * TUE")
                    .at_most(200)
                    .required(),
            );
            fields.push(Field::text("duration", "Lasts", "2h").at_most(32).required());
            fields.push(zone);
        }
    }
    Form::of(fields)
}

/// What the API takes of when; what is wrong with it is said there.
fn span_of(span: Span, sent: &Sent, now_ms: i64) -> Result<Value, Refused> {
    if span == Span::Hours {
        let mut wrong = Wrong::default();
        let hours: i64 = sent.number("hours", &mut wrong).unwrap_or_default();
        if wrong.is_empty() && !(1..=HOURS_MAX).contains(&hours) {
            wrong.note("hours", format!("1 to {HOURS_MAX} are taken"));
        }
        wrong.unless(())?;
        return Ok(json!({"ends": rfc3339(now_ms + hours * HOUR_MS)}));
    }
    let mut body = json!({});
    for name in ["from", "to", "cron", "duration", "timezone"] {
        if let Some(text) = sent.given(name) {
            body[name] = json!(text);
        }
    }
    let days = sent.days();
    if !days.is_empty() {
        body["days"] = json!(days);
    }
    Ok(body)
}

/// Of what, all of which there is.
async fn scope_of(state: &HttpState, sent: &Sent) -> Result<Value, Refused> {
    let mut wrong = Wrong::default();
    let (server, rule) = (sent.number("server", &mut wrong), sent.number("rule", &mut wrong));
    wrong.unless(())?;
    let mut scope = json!({});
    if let Some(id) = server {
        state.app.server(ServerId(id)).await?;
        scope["servers"] = json!([id]);
    }
    if let Some(id) = rule {
        state.alerts.rule(id).await?;
        scope["rules"] = json!([id]);
    }
    if let Some(tag) = sent.given("tag") {
        scope["tags"] = json!([tag]);
    }
    if scope == json!({}) {
        scope["everything"] = json!(true);
    }
    Ok(scope)
}

/// Makes a silence or window.
pub(in crate::http) async fn add(asked: Asked) -> Answer {
    let has = |field: &str| asked.pairs.iter().any(|(name, _)| name == field);
    let span = match (has("cron"), has("from")) {
        (true, _) => Span::Cron,
        (_, true) => Span::Weekly,
        _ => Span::Hours,
    };
    let sent = Sent::read(&fields(span, &[], &[]), &asked.pairs)?;
    match put(&asked, span, &sent).await {
        Ok(told) => done(told, PATH),
        Err(refused) => {
            let wrong = refused.wrong()?;
            again(page(&asked.state, &asked.caller, Some((span, (&sent, &wrong)))).await?)
        }
    }
}

async fn put(asked: &Asked, span: Span, sent: &Sent) -> Result<String, Refused> {
    let mut body = span_of(span, sent, asked.state.app.clock().now_ms())?;
    body["scope"] = scope_of(&asked.state, sent).await?;
    body["name"] = json!(sent.text("name"));
    let row = asked.state.alerts.put_mute(None, body, asked.by()).await?;
    Ok(row.body.to_string())
}

/// Ends a silence or window.
pub(in crate::http) async fn end(asked: Asked) -> Answer {
    let id = asked.id(Code::SilenceNotFound)?;
    asked.state.alerts.delete_mute(id).await?;
    done("", PATH)
}
