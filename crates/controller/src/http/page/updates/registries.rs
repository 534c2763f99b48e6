//! Registries: who we are there, whether that works, how much they allow, and of which images they do not answer.

mod form;

use axum::extract::State;
use maud::{Markup, html};

use super::{REGISTRIES, framed};
use crate::app::auth::Role;
use crate::app::registries::{RegistryUseError, RegistryView};
use crate::app::{PAGE_LIMIT_MAX, PageRequest};
use crate::http::HttpState;
use crate::http::access::Caller;
use crate::http::error::{Code, Problem};
use crate::http::page::asked::{Answer, Asked, done};
use crate::http::page::form::{Form, Refused, Sent};
use crate::http::page::layout::{Following, SOON_S};
use crate::http::page::sheet::{About, Sheet};
use crate::http::page::{format, layout};
use crate::registry::{ImageCheck, RateLimit};
use crate::update::{CheckRound, CheckState};

/// Images of which a check failed that are shown.
const FAILED_SHOWN: usize = 100;
/// Registries whose limits are shown.
const LIMITS_SHOWN: usize = 200;

struct View {
    /// For admins alone: who we are somewhere is nobody else's.
    registries: Option<Vec<RegistryView>>,
    limits: Vec<(String, RateLimit)>,
    failed: Vec<ImageCheck>,
    checks: usize,
    round: CheckRound,
    now_ms: i64,
}

/// The page.
pub(in crate::http) async fn show(State(state): State<HttpState>, caller: Caller) -> Result<Markup, Problem> {
    let registries = match caller.principal.may(Role::Admin) {
        true => {
            let all = PageRequest {
                limit: Some(PAGE_LIMIT_MAX),
                cursor: None,
            };
            Some(state.app.registries(all).await?.items)
        }
        false => None,
    };
    let checks = state.registries.checks().await.map_err(RegistryUseError::from)?;
    let view = View {
        registries,
        limits: state.registries.limits().into_iter().collect(),
        checks: checks.len(),
        failed: checks.into_iter().filter(|check| check.error.is_some()).collect(),
        round: state.updates.check_round(),
        now_ms: state.app.clock().now_ms(),
    };
    let drawn = framed("Registries", REGISTRIES, &draw(&view));
    Ok(if view.round.state == CheckState::Running {
        let following = Following {
            is_asking: true,
            ..Following::everything(Some(SOON_S))
        };
        layout::following("Registries", &caller.principal, &drawn, following)
    } else {
        layout::page("Registries", &caller.principal, &drawn)
    })
}

fn draw(view: &View) -> Markup {
    html! {
        (super::asking(&view.round))
        @if let Some(registries) = &view.registries { (credentials(registries, view.now_ms)) }
        (limits(view))
        (failed(view))
    }
}

fn credentials(registries: &[RegistryView], now_ms: i64) -> Markup {
    html! {
        section class="card" {
            header { h2 { "Registries with an account" } span class="soft" { (registries.len()) } }
            @if registries.is_empty() {
                p class="empty" { "There is none: public images are asked for without an account, as far as the registry lets anybody." }
            } @else {
                div class="scroll" {
                    table class="stack" {
                        thead { tr { th { "Registry" } th { "Account" } th { "Does it work" } th { "" } } }
                        tbody { @for one in registries { (line(one, now_ms)) } }
                    }
                }
            }
            div class="acts" { a class="button" href={ (REGISTRIES) "/new" } { "Add a registry" } }
        }
    }
}

fn line(one: &RegistryView, now_ms: i64) -> Markup {
    let class = match one.validation.as_str() {
        "valid" => "good",
        "invalid" => "bad",
        _ => "dim",
    };
    html! {
        tr {
            td {
                a class="name" href={ (REGISTRIES) "/" (one.id) } { (one.name) }
                @if !one.enabled { " " span class="pill dim" { "off" } }
                @if one.allow_http { " " span class="tag bad" { "without TLS" } }
                div class="under" { (one.url) @if !one.description.is_empty() { " · " (one.description) } }
            }
            td class="wrap" data-label="Account" {
                @if one.username.is_empty() { span class="soft" { "no name" } } @else { (one.username) }
                div class="under" { @if one.has_password { "a password is set" } @else { "no password is set" } }
            }
            td class="wrap" data-label="Works" {
                span class={ "pill " (class) } { (one.validation) }
                @if let Some(at) = one.validated_ms { div class="under" { "tried " (format::ago(at, now_ms)) } }
                @if let Some(error) = &one.validation_error { div class="under" { (error) } }
            }
            td class="deeds" {
                @if one.enabled {
                    form method="post" action={ (REGISTRIES) "/" (one.id) "/validate" } class="inline" {
                        button type="submit" { "Try to log in" }
                    }
                }
            }
        }
    }
}

fn limits(view: &View) -> Markup {
    html! {
        section class="card" {
            header { h2 { "How much registries allow" } span class="soft" { "as they said last" } }
            @if view.limits.is_empty() { p class="empty" { "None has said so yet." } }
            @else {
                div class="scroll" {
                    table class="stack" {
                        thead { tr { th { "Registry" } th class="num" { "Left" } th { "Counted for" } th { "Now" } } }
                        tbody {
                            @for (host, limit) in view.limits.iter().take(LIMITS_SHOWN) { (limit_line(host, limit, view.now_ms)) }
                        }
                    }
                }
            }
        }
    }
}

fn limit_line(host: &str, limit: &RateLimit, now_ms: i64) -> Markup {
    let number =
        |number: Option<u64>| number.map_or_else(|| "unknown".to_owned(), |number| number.to_string());
    #[expect(clippy::cast_precision_loss, reason = "shown to the minute")]
    let seconds = |seconds: u64| seconds as f64;
    let blocked = limit.blocked_until_ms.filter(|until_ms| now_ms < *until_ms);
    html! {
        tr {
            td { span class="name" { (host) } }
            td class="num" data-label="Left" {
                (number(limit.remaining)) " of " (number(limit.limit))
                @if let Some(window_s) = limit.window_s {
                    div class="under" { "in " (format::duration(seconds(window_s))) }
                }
            }
            td class="wrap" data-label="Counted for" {
                (limit.source.as_deref().unwrap_or("it does not say"))
                @if let Some(told_ms) = limit.told_ms { div class="under" { "said " (format::ago(told_ms, now_ms)) } }
            }
            td data-label="Now" {
                @match blocked {
                    Some(until_ms) => {
                        span class="pill warn" { "not asked" }
                        div class="under" { "until " (format::time(until_ms)) }
                    }
                    None => { span class="soft" { "asked when it is time" } }
                }
            }
        }
    }
}

fn failed(view: &View) -> Markup {
    html! {
        section class="card" {
            header {
                h2 { "Images of which the last check failed" }
                span class="soft" { (view.failed.len()) " of " (view.checks) }
            }
            @if view.failed.is_empty() {
                p class="empty" {
                    @if view.checks == 0 { "No image was checked yet: registries are asked once an hour, or when somebody wants it." }
                    @else { "Every registry answered." }
                }
            } @else {
                div class="scroll" {
                    table class="stack" {
                        thead { tr { th { "Image" } th { "Why" } th { "Tried" } th { "Known since" } } }
                        tbody {
                            @for check in view.failed.iter().take(FAILED_SHOWN) {
                                tr {
                                    td class="wrap" {
                                        span class="name" { (check.reference.familiar()) }
                                        div class="under" { (check.platform) }
                                    }
                                    td class="wrap" data-label="Why" {
                                        (check.error.as_deref().unwrap_or_default())
                                        div class="under" { (check.failures) " times in a row" }
                                    }
                                    td class="nowrap" data-label="Tried" { (format::ago(check.tried_ms, view.now_ms)) }
                                    td class="nowrap" data-label="Known since" {
                                        @match check.checked_ms {
                                            Some(at) => { (format::ago(at, view.now_ms)) }
                                            None => { span class="pill dim" { "unknown" } }
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
                @if FAILED_SHOWN < view.failed.len() { p class="soft pad" { "The API has the others." } }
            }
        }
    }
}

impl Sheet for RegistryView {
    const PATH: &'static str = REGISTRIES;
    const ALL: &'static str = "Registries";
    const NEW: &'static str = "A registry";
    const DELETE: &'static str = "Yes, delete it with its credentials";
    const NOT_FOUND: Code = Code::RegistryNotFound;
    const LOOK: Role = Role::Admin;
    const ACTIONS: [&'static str; 3] = ["registry.create", "registry.change", "registry.delete"];

    async fn find(state: &HttpState, id: i64) -> Result<Self, Problem> {
        Ok(state.app.registry(id).await?)
    }

    fn about(&self) -> About<'_> {
        About {
            id: self.id,
            name: &self.name,
            changed: None,
        }
    }

    async fn form(_: &HttpState, old: Option<&Self>) -> Result<Form, Problem> {
        Ok(form::fields(old))
    }

    fn sent(&self) -> Sent {
        form::sent(self)
    }

    async fn put(asked: &Asked, old: Option<&Self>, sent: &Sent) -> Result<String, Refused> {
        let (app, fields) = (&asked.state.app, form::meant(sent));
        let view = match old {
            Some(old) => app.change_registry(old.id, fields).await?,
            None => app.create_registry(fields).await?,
        };
        Ok(format!("{} ({}) as {:?}", view.name, view.host, view.username))
    }

    async fn delete(state: &HttpState, id: i64) -> Result<(), Problem> {
        Ok(state.app.remove_registry(id).await?)
    }
}

/// Logs in to a registry; how that went is on the page.
pub(in crate::http) async fn validate(asked: Asked) -> Answer {
    let id = asked.id(Code::RegistryNotFound)?;
    let view = asked.state.registries.validate(id).await?;
    let told = format!("{} ({}): {}", view.name, view.host, view.validation);
    done(told, REGISTRIES)
}
