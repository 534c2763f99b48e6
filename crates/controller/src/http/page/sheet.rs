//! Things that are kept by filling in a form: a page for a new one, and a page for each, on which it is changed and
//! deleted.
//!
//! What is particular to a kind is its [`Sheet`]; pages, answers and routes are the same for all.

use axum::extract::State;
use axum::http::Method;
use maud::{Markup, html};

use super::asked::{Answer, Asked, again, done};
use super::form::{Form, Refused, Sent, Wrong};
use super::{containers, format, layout};
use crate::app::auth::Role;
use crate::http::HttpState;
use crate::http::access::{Access, Caller, Routes};
use crate::http::error::{Code, Problem};
use crate::http::extract::{Path, id_or};

/// A kind of thing that is kept so.
pub(super) trait Sheet: Sized + Send + Sync + 'static {
    /// Where all of them are, and each below that.
    const PATH: &'static str;
    /// What the page of all is called.
    const ALL: &'static str;
    /// What the page of a new one is called.
    const NEW: &'static str;
    /// What the button says that deletes one.
    const DELETE: &'static str;
    /// What is said if there is none of a number.
    const NOT_FOUND: Code;
    /// Who may look at one; only admins change any.
    const LOOK: Role;
    /// As what the audit log knows that one is made, changed, deleted.
    const ACTIONS: [&'static str; 3];

    /// Reads one.
    fn find(state: &HttpState, id: i64) -> impl Future<Output = Result<Self, Problem>> + Send;
    /// What its page says above the form.
    fn about(&self) -> About<'_>;
    /// The form of one, or of a new one.
    fn form(state: &HttpState, old: Option<&Self>) -> impl Future<Output = Result<Form, Problem>> + Send;
    /// What is written in its form.
    fn sent(&self) -> Sent;
    /// Keeps a new one, or another in the place of the old; says what the audit log keeps of that.
    fn put(
        asked: &Asked,
        old: Option<&Self>,
        sent: &Sent,
    ) -> impl Future<Output = Result<String, Refused>> + Send;
    /// Deletes one.
    fn delete(state: &HttpState, id: i64) -> impl Future<Output = Result<(), Problem>> + Send;
}

/// What a page of one says above the form.
pub(super) struct About<'a> {
    /// Its number.
    pub(super) id: i64,
    /// Its name.
    pub(super) name: &'a str,
    /// When it was changed last, and by whom, if that is known.
    pub(super) changed: Option<(i64, &'a str)>,
}

/// Adds the pages of a kind, and what their forms post to.
pub(super) fn add<S: Sheet>(routes: Routes) -> Routes {
    let administer = Access::Page(Role::Admin);
    let one = |rest: &str| format!("{}{rest}", S::PATH);
    let [create, change_action, delete_action] = S::ACTIONS;
    routes
        .page(administer, Method::GET, &one("/new"), new::<S>)
        .page(Access::Page(S::LOOK), Method::GET, &one("/{id}"), edit::<S>)
        .form(administer, create, S::PATH, put_new::<S>)
        .form(administer, change_action, &one("/{id}"), change::<S>)
        .form(administer, delete_action, &one("/{id}/delete"), delete::<S>)
}

async fn new<S: Sheet>(State(state): State<HttpState>, caller: Caller) -> Result<Markup, Problem> {
    let form = S::form(&state, None).await?;
    Ok(page::<S>(&caller, None, &form, &form.fresh(), &Wrong::default()))
}

async fn edit<S: Sheet>(
    State(state): State<HttpState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Markup, Problem> {
    let one = S::find(&state, id_or(&id, S::NOT_FOUND)?).await?;
    let form = S::form(&state, Some(&one)).await?;
    Ok(page(&caller, Some(&one), &form, &one.sent(), &Wrong::default()))
}

async fn put_new<S: Sheet>(asked: Asked) -> Answer {
    put::<S>(&asked, None).await
}

async fn change<S: Sheet>(asked: Asked) -> Answer {
    let old = S::find(&asked.state, asked.id(S::NOT_FOUND)?).await?;
    put(&asked, Some(&old)).await
}

async fn put<S: Sheet>(asked: &Asked, old: Option<&S>) -> Answer {
    let form = S::form(&asked.state, old).await?;
    let sent = Sent::read(&form, &asked.pairs)?;
    match S::put(asked, old, &sent).await {
        Ok(told) => done(told, S::PATH),
        Err(refused) => again(page(&asked.caller, old, &form, &sent, &refused.wrong()?)),
    }
}

async fn delete<S: Sheet>(asked: Asked) -> Answer {
    S::delete(&asked.state, asked.id(S::NOT_FOUND)?).await?;
    done("", S::PATH)
}

fn page<S: Sheet>(caller: &Caller, old: Option<&S>, form: &Form, sent: &Sent, wrong: &Wrong) -> Markup {
    let may_change = caller.principal.may(Role::Admin);
    let about = old.map(Sheet::about);
    let title = about.as_ref().map_or(S::NEW, |about| about.name);
    let one = about.as_ref().map(|about| format!("{}/{}", S::PATH, about.id));
    let drawn = html! {
        p class="crumbs" { a href="/" { "Servers" } " / " a href=(S::PATH) { (S::ALL) } }
        div class="head" {
            h1 { (title) }
            @if let Some((at, by)) = about.as_ref().and_then(|about| about.changed) {
                div class="sub" { span { "changed " (format::time(at)) " by " (by) } }
            }
        }
        (wrong.draw(form))
        (form.draw(one.as_deref().unwrap_or(S::PATH), sent, wrong, may_change))
        @if let (Some(one), true) = (&one, may_change) {
            div class="acts" {
                (containers::confirmed("Delete", S::DELETE, &format!("{one}/delete"), &html! {}))
            }
        }
    };
    layout::still(title, &caller.principal, &drawn)
}
