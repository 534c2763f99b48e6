//! What people do with updates, as forms.

use axum::extract::Extension;
use axum::http::StatusCode;
use axum::response::IntoResponse;

use super::{PATH, waiting};
use crate::http::access::Told;
use crate::http::error::{Code, Problem};
use crate::http::page::asked::{Answer, Asked, done};
use crate::http::page::containers;
use crate::http::page::form::{Wrong, given};
use crate::update::{Update, UpdateError};

/// Most updates that are decided at once.
const CHOSEN_MAX: usize = 200;

/// Which update is meant, with a note, and what leads back to where the form was.
fn meant(asked: &Asked) -> Result<(i64, Option<String>, &str), Problem> {
    let [note, back] = asked.texts(["note", "back"])?;
    Ok((asked.id(Code::UpdateNotFound)?, given(note), back))
}

/// Leads to where the form was: one of two pages of ours, whatever it says.
fn back(update: &Update, back: &str) -> Answer {
    let told = format!("update {} of container {}", update.id, update.container_id);
    if back == "container" {
        done(told, &format!("{}/{}", containers::PATH, update.container_id))
    } else {
        done(told, PATH)
    }
}

/// Somebody wants it, when it is time.
pub(in crate::http) async fn approve(asked: Asked) -> Answer {
    let (id, note, place) = meant(&asked)?;
    let update = asked.state.updates.approve(id, note, asked.by()).await?;
    back(&update, place)
}

/// Somebody does not want it.
pub(in crate::http) async fn reject(asked: Asked) -> Answer {
    let (id, note, place) = meant(&asked)?;
    let update = asked.state.updates.reject(id, note, asked.by()).await?;
    back(&update, place)
}

/// Begins it now.
pub(in crate::http) async fn execute(asked: Asked) -> Answer {
    let (id, _, place) = meant(&asked)?;
    let update = asked.state.updates.execute(id, asked.by()).await?;
    back(&update, place)
}

/// Has the agent say what it would do.
pub(in crate::http) async fn rehearse(asked: Asked) -> Answer {
    let (id, _, place) = meant(&asked)?;
    asked.state.updates.rehearse(id, asked.by()).await?;
    back(&asked.state.updates.update(id).await?, place)
}

/// Has a container go back to what an update replaced.
pub(in crate::http) async fn roll_back(asked: Asked) -> Answer {
    let (id, _, place) = meant(&asked)?;
    let update = asked.state.updates.roll_back(id, asked.by()).await?;
    back(&update, place)
}

/// Has every registry asked now.
pub(in crate::http) async fn check_all(asked: Asked) -> Answer {
    let round = asked.state.updates.start_check(None, None).await?;
    done(format!("round {}", round.round), PATH)
}

/// Gives an image another chance.
pub(in crate::http) async fn forgive(asked: Asked) -> Answer {
    let [digest] = asked.texts(["digest"])?;
    asked.state.updates.forgive(digest).await?;
    done(digest.chars().take(100).collect::<String>(), PATH)
}

/// Somebody wants all that were chosen.
pub(in crate::http) async fn approve_chosen(asked: Asked) -> Answer {
    decide(&asked, true).await
}

/// Somebody does not want any that was chosen.
pub(in crate::http) async fn reject_chosen(asked: Asked) -> Answer {
    decide(&asked, false).await
}

async fn decide(asked: &Asked, is_wanted: bool) -> Answer {
    let (ids, note) = read(&asked.pairs)?;
    let updates = &asked.state.updates;
    let mut refused = Vec::new();
    let mut decided = Vec::new();
    for id in ids {
        let answer = if is_wanted {
            updates.approve(id, note.clone(), asked.by()).await
        } else {
            updates.reject(id, note.clone(), asked.by()).await
        };
        match answer {
            Ok(_) => decided.push(id.to_string()),
            Err(error @ (UpdateError::State(_) | UpdateError::NotFound { .. })) => {
                refused.push(format!("update {id}: {error}"));
            }
            Err(error) => return Err(error.into()),
        }
    }
    let told = format!("updates {}", decided.join(", "));
    if refused.is_empty() {
        return done(told, PATH);
    }
    let page = waiting::page(&asked.state, &asked.caller, 0, &Wrong::default(), &refused).await?;
    Ok((StatusCode::CONFLICT, Extension(Told(told)), page).into_response())
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
