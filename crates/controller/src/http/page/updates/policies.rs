//! Update policies: what may happen to which containers, made and changed on the page.

mod form;

use axum::extract::State;
use maud::{Markup, html};
use muster_update::{Policy, Scope};

use self::form::Choices;
use super::{POLICIES, framed};
use crate::app::auth::Role;
use crate::http::HttpState;
use crate::http::access::Caller;
use crate::http::error::{Code, Problem};
use crate::http::page::asked::Asked;
use crate::http::page::form::{Form, Refused, Sent};
use crate::http::page::layout;
use crate::http::page::sheet::{About, Sheet};
use crate::update::Kept;

/// The page of all policies.
pub(in crate::http) async fn show(State(state): State<HttpState>, caller: Caller) -> Result<Markup, Problem> {
    let mut kept = state.updates.kept_policies().await?;
    // In the order in which they decide.
    kept.sort_by_key(|kept| {
        let policy = &kept.document;
        (
            !policy.is_enabled(),
            std::cmp::Reverse((policy.priority(), policy.body.scope)),
            policy.id,
        )
    });
    let may_change = caller.principal.may(Role::Admin);
    let list = html! {
        section class="card" {
            header {
                h2 { "What may happen to which containers" }
                span class="soft" { (kept.len()) " · the first that takes a container decides" }
            }
            @if kept.is_empty() {
                p class="empty" {
                    "There is none: nothing happens by itself, and whatever is new waits for an operator."
                    @if may_change { " Make one below." } @else { " An admin can make one." }
                }
            } @else {
                div class="scroll" {
                    table class="stack" {
                        thead { tr { th { "Policy" } th { "Of" } th { "Mode" } th { "How far" } th class="num" { "Priority" } } }
                        tbody { @for one in &kept { (line(one)) } }
                    }
                }
            }
            @if may_change { div class="acts" { a class="button" href={ (POLICIES) "/new" } { "Make a policy" } } }
        }
    };
    let drawn = framed("Update policies", POLICIES, &list);
    Ok(layout::page("Update policies", &caller.principal, &drawn))
}

fn line(kept: &Kept<Policy>) -> Markup {
    let policy = &kept.document;
    let body = &policy.body;
    html! {
        tr {
            td {
                a class="name" href={ (POLICIES) "/" (policy.id) } { (body.name) }
                @if !policy.is_enabled() { " " span class="pill dim" { "off" } }
                @if let Some(description) = &body.description { div class="under" { (description) } }
            }
            td class="wrap" data-label="Of" { (of(policy)) }
            td data-label="Mode" {
                (body.mode.as_str())
                @if body.auto_approve { div class="under" { "nobody needs to approve" } }
                @if let Some(window) = body.maintenance_window_id { div class="under" { "in window " (window) } }
                @if let Some(cron) = &body.update_schedule { div class="under mono" { (cron) } }
            }
            td class="wrap" data-label="How far" {
                (policy.limit().as_str())
                @if let Some(versions) = &body.allowed_versions { div class="under mono" { (versions) } }
                @if let Some(age) = &body.min_age { div class="under" { "known for " (age) } }
            }
            td class="num" data-label="Priority" { (policy.priority()) }
        }
    }
}

/// Of which containers, in words.
fn of(policy: &Policy) -> String {
    let body = &policy.body;
    let mut told = Vec::new();
    if let Some(id) = body.server_id {
        told.push(format!("server {id}"));
    }
    if let Some(id) = body.container_id {
        told.push(format!("container {id}"));
    }
    if let Some(pattern) = &body.image_pattern {
        told.push(format!("images {pattern}"));
    }
    for (name, value) in body.label_selector.iter().flatten() {
        told.push(format!("label {name}={value}"));
    }
    if body.scope == Scope::Global || told.is_empty() {
        "every container".to_owned()
    } else {
        told.join(", and ")
    }
}

impl Sheet for Kept<Policy> {
    const PATH: &'static str = POLICIES;
    const ALL: &'static str = "Update policies";
    const NEW: &'static str = "A new policy";
    const DELETE: &'static str = "Yes, delete it";
    const NOT_FOUND: Code = Code::UpdatePolicyNotFound;
    const LOOK: Role = Role::Viewer;
    const ACTIONS: [&'static str; 3] = [
        "update_policy.create",
        "update_policy.change",
        "update_policy.delete",
    ];

    async fn find(state: &HttpState, id: i64) -> Result<Self, Problem> {
        let kept = state.updates.kept_policies().await?;
        let found = kept.into_iter().find(|kept| kept.document.id == id);
        let none = || Problem::new(Self::NOT_FOUND, format!("there is no update policy {id}"));
        found.ok_or_else(none)
    }

    fn about(&self) -> About<'_> {
        About {
            id: self.document.id,
            name: &self.document.body.name,
            changed: Some((self.updated_ms, &self.updated_by)),
        }
    }

    async fn form(state: &HttpState, _: Option<&Self>) -> Result<Form, Problem> {
        Ok(form::fields(&Choices::load(state).await?))
    }

    fn sent(&self) -> Sent {
        form::sent(&self.document.body)
    }

    async fn put(asked: &Asked, old: Option<&Self>, sent: &Sent) -> Result<String, Refused> {
        let id = old.map(|old| old.document.id);
        let body = form::body(sent, old.map(|old| &old.document.body))?;
        let kept = asked.state.updates.put_policy(id, body, asked.by()).await?;
        Ok(kept.document.body.name)
    }

    async fn delete(state: &HttpState, id: i64) -> Result<(), Problem> {
        Ok(state.updates.delete_policy(id).await?)
    }
}
