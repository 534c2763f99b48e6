//! What people do with updates, as forms.

use axum::extract::{Extension, Form, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::{PATH, Wrong, given, waiting};
use crate::http::HttpState;
use crate::http::access::{Caller, Told};
use crate::http::error::{Code, Problem};
use crate::http::extract::{Path, id_or};
use crate::http::page::containers;
use crate::update::{Update, UpdateError};

/// Most updates that are decided at once.
const CHOSEN_MAX: usize = 200;

/// What comes with a deed.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::http) struct DeedForm {
    note: String,
    /// `container`, to be led to its page.
    back: String,
}

impl DeedForm {
    /// Leads to where the form was: one of two pages of ours, whatever it says.
    fn done(&self, update: &Update) -> Response {
        let told = Told(format!(
            "update {} of container {}",
            update.id, update.container_id
        ));
        let to = if self.back == "container" {
            format!("{}/{}", containers::PATH, update.container_id)
        } else {
            PATH.to_owned()
        };
        (Extension(told), Redirect::to(&to)).into_response()
    }
}

/// Somebody wants it, when it is time.
pub(in crate::http) async fn approve(
    State(state): State<HttpState>,
    caller: Caller,
    Path(id): Path<String>,
    Form(form): Form<DeedForm>,
) -> Result<Response, Problem> {
    let id = id_or(&id, Code::UpdateNotFound)?;
    let by = &caller.principal.username;
    Ok(form.done(&state.updates.approve(id, given(&form.note), by).await?))
}

/// Somebody does not want it.
pub(in crate::http) async fn reject(
    State(state): State<HttpState>,
    caller: Caller,
    Path(id): Path<String>,
    Form(form): Form<DeedForm>,
) -> Result<Response, Problem> {
    let id = id_or(&id, Code::UpdateNotFound)?;
    let by = &caller.principal.username;
    Ok(form.done(&state.updates.reject(id, given(&form.note), by).await?))
}

/// Begins it now.
pub(in crate::http) async fn execute(
    State(state): State<HttpState>,
    caller: Caller,
    Path(id): Path<String>,
    Form(form): Form<DeedForm>,
) -> Result<Response, Problem> {
    let id = id_or(&id, Code::UpdateNotFound)?;
    let update = state.updates.execute(id, &caller.principal.username).await?;
    Ok(form.done(&update))
}

/// Has the agent say what it would do.
pub(in crate::http) async fn rehearse(
    State(state): State<HttpState>,
    caller: Caller,
    Path(id): Path<String>,
    Form(form): Form<DeedForm>,
) -> Result<Response, Problem> {
    let id = id_or(&id, Code::UpdateNotFound)?;
    state.updates.rehearse(id, &caller.principal.username).await?;
    Ok(form.done(&state.updates.update(id).await?))
}

/// Has a container go back to what an update replaced.
pub(in crate::http) async fn roll_back(
    State(state): State<HttpState>,
    caller: Caller,
    Path(id): Path<String>,
    Form(form): Form<DeedForm>,
) -> Result<Response, Problem> {
    let id = id_or(&id, Code::UpdateNotFound)?;
    let update = state.updates.roll_back(id, &caller.principal.username).await?;
    Ok(form.done(&update))
}

/// Has every registry asked now.
pub(in crate::http) async fn check_all(State(state): State<HttpState>) -> Result<Response, Problem> {
    let checked = state.updates.check(None, None).await?;
    let told = Told(format!("{checked} containers"));
    Ok((Extension(told), Redirect::to(PATH)).into_response())
}

/// Several updates and a note, as a browser sends them: the same name again and again.
type Chosen = Form<Vec<(String, String)>>;

/// Somebody wants all that were chosen.
pub(in crate::http) async fn approve_chosen(
    state: State<HttpState>,
    caller: Caller,
    form: Chosen,
) -> Result<Response, Problem> {
    decide(state, caller, form, true).await
}

/// Somebody does not want any that was chosen.
pub(in crate::http) async fn reject_chosen(
    state: State<HttpState>,
    caller: Caller,
    form: Chosen,
) -> Result<Response, Problem> {
    decide(state, caller, form, false).await
}

async fn decide(
    State(state): State<HttpState>,
    caller: Caller,
    Form(pairs): Chosen,
    is_wanted: bool,
) -> Result<Response, Problem> {
    let (ids, note) = read(&pairs)?;
    let by = &caller.principal.username;
    let mut refused = Vec::new();
    let mut done = Vec::new();
    for id in ids {
        let decided = if is_wanted {
            state.updates.approve(id, note.clone(), by).await
        } else {
            state.updates.reject(id, note.clone(), by).await
        };
        match decided {
            Ok(_) => done.push(id.to_string()),
            Err(error @ (UpdateError::State(_) | UpdateError::NotFound { .. })) => {
                refused.push(format!("update {id}: {error}"));
            }
            Err(error) => return Err(error.into()),
        }
    }
    let told = Extension(Told(format!("updates {}", done.join(", "))));
    if refused.is_empty() {
        return Ok((told, Redirect::to(PATH)).into_response());
    }
    let page = waiting::page(&state, &caller, 0, &Wrong::default(), &refused).await?;
    Ok((StatusCode::CONFLICT, told, page).into_response())
}

/// Which were chosen, and what was said. What cannot be read is refused: it must not become fewer or others.
fn read(pairs: &[(String, String)]) -> Result<(Vec<i64>, Option<String>), Problem> {
    let (mut ids, mut note) = (Vec::new(), None);
    for (name, value) in pairs {
        match name.as_str() {
            "id" => ids.push(
                value
                    .parse()
                    .map_err(|_| Problem::field("id", "the number of an update is needed"))?,
            ),
            "note" => note = given(value),
            _ => return Err(Problem::field(name, "there is no such field")),
        }
    }
    ids.sort_unstable();
    ids.dedup();
    if ids.is_empty() {
        return Err(Problem::field("id", "choose at least one update"));
    }
    if CHOSEN_MAX < ids.len() {
        return Err(Problem::field(
            "id",
            format!("at most {CHOSEN_MAX} are decided at once"),
        ));
    }
    Ok((ids, note))
}

/// Which digest.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct ForgiveForm {
    digest: String,
}

/// Gives an image another chance.
pub(in crate::http) async fn forgive(
    State(state): State<HttpState>,
    Form(form): Form<ForgiveForm>,
) -> Result<Response, Problem> {
    state.updates.forgive(&form.digest).await?;
    let told = Told(form.digest.chars().take(100).collect());
    Ok((Extension(told), Redirect::to(PATH)).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(all: &[(&str, &str)]) -> Vec<(String, String)> {
        all.iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn what_was_chosen_is_read_whole_or_not_at_all() {
        let (ids, note) = read(&pairs(&[
            ("id", "7"),
            ("id", "3"),
            ("id", "7"),
            ("note", " yes "),
        ]))
        .unwrap();
        assert_eq!((ids, note), (vec![3, 7], Some("yes".to_owned())));
        for odd in [
            &[("note", "x")][..],
            &[("id", "x")],
            &[("id", "1"), ("id", "")],
            &[("id", "1"), ("all", "yes")],
        ] {
            assert!(read(&pairs(odd)).is_err(), "{odd:?}");
        }
        let many: Vec<(String, String)> = (0..=CHOSEN_MAX)
            .map(|id| ("id".to_owned(), id.to_string()))
            .collect();
        assert!(read(&many).is_err());
    }
}
