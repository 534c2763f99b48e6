//! What the forms of pages ask for: by whom, of what, with which fields; and the answers to that.
//!
//! When a handler sees it, the route has checked the role, and that it was one of our own pages that asked
//! ([`Routes::form`](crate::http::access::Routes::form)).

use std::collections::HashMap;

use axum::body::HttpBody as _;
use axum::extract::{Extension, Form, FromRequest, FromRequestParts as _, Request};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use maud::Markup;

use crate::http::HttpState;
use crate::http::access::{Caller, Told};
use crate::http::error::{Code, Problem};
use crate::http::extract::{Path, id_or};

/// What a form asks for.
pub(in crate::http) struct Asked {
    /// What handlers share.
    pub(super) state: HttpState,
    /// Who asks.
    pub(super) caller: Caller,
    /// What was written in the fields, as a browser sends it.
    pub(super) pairs: Vec<(String, String)>,
    path: HashMap<String, String>,
}

/// What whoever asked sees next.
pub(in crate::http) type Answer = Result<Response, Problem>;

impl FromRequest<HttpState> for Asked {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &HttpState) -> Result<Self, Problem> {
        let (mut parts, body) = request.into_parts();
        let caller = Caller::from_request_parts(&mut parts, state).await?;
        let Path(path) = Path::from_request_parts(&mut parts, state).await?;
        // A form that is only a button sends nothing.
        let pairs = if body.size_hint().exact() == Some(0) {
            Vec::new()
        } else {
            let request = Request::from_parts(parts, body);
            let Form(pairs) = Form::from_request(request, state).await?;
            pairs
        };
        Ok(Self {
            state: state.clone(),
            caller,
            pairs,
            path,
        })
    }
}

impl Asked {
    /// The name of whoever asks.
    pub(super) fn by(&self) -> &str {
        &self.caller.principal.username
    }

    /// A part of the address.
    pub(super) fn part(&self, name: &str) -> &str {
        self.path.get(name).map_or("", String::as_str)
    }

    /// The number in the address; what is none names nothing, so it is the given 404.
    pub(super) fn id(&self, not_found: Code) -> Result<i64, Problem> {
        id_or(self.part("id"), not_found)
    }

    /// The texts of all fields that the form may have; empty where one is left out.
    pub(super) fn texts<const N: usize>(&self, names: [&str; N]) -> Result<[&str; N], Problem> {
        let mut texts = [None; N];
        for (name, value) in &self.pairs {
            let place = names.iter().position(|known| known == name);
            let place = place.ok_or_else(|| Problem::field(name, "there is no such field"))?;
            if texts[place].replace(value.as_str()).is_some() {
                return Err(Problem::field(name, "it is taken once"));
            }
        }
        Ok(texts.map(Option::unwrap_or_default))
    }
}

/// It was done: leads to a page of ours, with what the audit log keeps of it.
pub(super) fn done(told: impl Into<String>, to: &str) -> Answer {
    Ok((Extension(Told(told.into())), Redirect::to(to)).into_response())
}

/// It was not done: shows the page again, with what is wrong on it.
pub(super) fn again(page: Markup) -> Answer {
    Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
}
