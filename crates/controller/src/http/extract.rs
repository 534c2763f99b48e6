//! Reading requests: JSON bodies, path and query parameters, numbers and times, each refused in our own words.
//!
//! The framework's extractors do the work; here their rejections become rows of the one error table, so that a
//! caller never sees a plain-text refusal.

use axum::body::Bytes;
use axum::extract::rejection::{FormRejection, JsonRejection, PathRejection, QueryRejection};
use axum::extract::{Extension, FromRequest, FromRequestParts, Request};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use muster_model::Health;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::access::Told;
use super::error::{Code, Problem};
use crate::app::{PAGE_LIMIT_MAX, Page, PageRequest};

/// A JSON body, or a JSON answer.
#[derive(Debug, FromRequest)]
#[from_request(via(axum::Json), rejection(Problem))]
pub(super) struct Json<T>(pub(super) T);

/// A JSON object that may be absent, whatever type it says it is of.
#[derive(Debug)]
pub(super) struct Optional<T>(pub(super) T);

/// An object without fields.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct NoFields {}

impl<T: DeserializeOwned + Default, S: Send + Sync> FromRequest<S> for Optional<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let body = Bytes::from_request(request, state)
            .await
            .map_err(|rejection| Problem::of_status(rejection.status()))?;
        if body.is_empty() {
            return Ok(Self(T::default()));
        }
        let read: Value = axum::Json::from_bytes(&body)?.0;
        // A list would be read as an object whose fields have no names.
        if !read.is_object() {
            return Err(Problem::new(Code::InvalidBody, "an object is expected"));
        }
        serde_json::from_value(read)
            .map(Self)
            .map_err(|error| Problem::new(Code::InvalidBody, error.to_string()))
    }
}

/// The parameters of the path.
#[derive(Debug, FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(Problem))]
pub(super) struct Path<T>(pub(super) T);

/// The parameters of the query.
#[derive(Debug, FromRequestParts)]
#[from_request(via(axum::extract::Query), rejection(Problem))]
pub(super) struct Query<T>(pub(super) T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        match rejection {
            JsonRejection::JsonDataError(error) => Self::new(Code::InvalidBody, inner(&error.body_text())),
            JsonRejection::JsonSyntaxError(error) => {
                Self::new(Code::MalformedJson, inner(&error.body_text()))
            }
            other => Self::of_status(other.status()),
        }
    }
}

/// What is wrong, without the framework's words on what it was doing.
fn inner(text: &str) -> String {
    let (_, inner) = text.split_once(": ").unwrap_or(("", text));
    inner.to_owned()
}

impl From<FormRejection> for Problem {
    fn from(rejection: FormRejection) -> Self {
        match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Self::of_status(StatusCode::PAYLOAD_TOO_LARGE),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Self::of_status(StatusCode::UNSUPPORTED_MEDIA_TYPE),
            _ => Self::new(Code::InvalidBody, inner(&rejection.body_text())),
        }
    }
}

impl From<PathRejection> for Problem {
    fn from(rejection: PathRejection) -> Self {
        Self::new(Code::InvalidParameter, inner(&rejection.body_text()))
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(Code::InvalidParameter, inner(&rejection.body_text()))
    }
}

/// The answer to whoever made something: it, where it is, and what the audit log keeps of it.
#[derive(Debug)]
pub(super) struct Created<T> {
    /// Path of it.
    pub(super) location: String,
    /// What the audit log keeps.
    pub(super) told: String,
    /// It.
    pub(super) body: T,
}

impl<T: Serialize> IntoResponse for Created<T> {
    fn into_response(self) -> Response {
        let location = [(header::LOCATION, self.location)];
        let told = Extension(Told(self.told));
        (StatusCode::CREATED, location, told, Json(self.body)).into_response()
    }
}

/// Reads a whole number from the path. A text that is not one names nothing, so it is the given 404.
pub(super) fn id_or(text: &str, not_found: Code) -> Result<i64, Problem> {
    text.parse::<i64>()
        .ok()
        .filter(|id| 0 < *id)
        .ok_or_else(|| Problem::new(not_found, "the address has no such number"))
}

/// Reads `true` or `false`; `None` if neither is said.
pub(super) fn flag(name: &'static str, word: Option<&str>) -> Result<Option<bool>, Problem> {
    match word {
        None => Ok(None),
        Some("true" | "1") => Ok(Some(true)),
        Some("false" | "0") => Ok(Some(false)),
        Some(_) => Err(Problem::parameter(name, "true or false is needed")),
    }
}

/// Reads a health.
pub(super) fn health(word: Option<&str>) -> Result<Option<Health>, Problem> {
    let parse = |word| {
        let expected = "one of healthy, warning, critical, failed, unknown is needed";
        Health::from_word(word).ok_or_else(|| Problem::parameter("health", expected))
    };
    word.map(parse).transpose()
}

/// Checks a text that is looked for: 1 to 200 bytes.
pub(super) fn part(name: &'static str, text: Option<&String>) -> Result<Option<String>, Problem> {
    const BYTES_MAX: usize = 200;
    if text.is_some_and(|text| text.is_empty() || BYTES_MAX < text.len()) {
        let expected = format!("1 to {BYTES_MAX} bytes are needed");
        return Err(Problem::parameter(name, expected));
    }
    Ok(text.cloned())
}

/// Which part of a list is wanted, and nothing else.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PartQuery {
    limit: Option<String>,
    cursor: Option<String>,
}

impl PartQuery {
    /// As [`page_request`] has it.
    pub(super) fn request(&self) -> Result<PageRequest, Problem> {
        page_request(self.limit.as_deref(), self.cursor.as_deref())
    }
}

/// Checks `limit` (1 to 1000, 100 if absent) and passes on `cursor` (what the last answer said in `next`).
pub(super) fn page_request(limit: Option<&str>, cursor: Option<&str>) -> Result<PageRequest, Problem> {
    let limit = match limit {
        None => None,
        Some(text) => Some(
            text.parse()
                .ok()
                .filter(|limit| (1..=PAGE_LIMIT_MAX).contains(limit))
                .ok_or_else(|| Problem::parameter("limit", "a whole number from 1 to 1000 is needed"))?,
        ),
    };
    Ok(PageRequest {
        limit,
        cursor: cursor.map(str::to_owned),
    })
}

/// A part of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct List<T> {
    /// The items of this part.
    pub(super) items: Vec<T>,
    /// How many there are in all parts together.
    pub(super) total: u64,
    /// The `cursor` of the next part; null after the last.
    pub(super) next: Option<String>,
}

impl<T> List<T> {
    /// Shows a page of the app.
    pub(super) fn of<S>(page: Page<S>, show: impl FnMut(S) -> T) -> Self {
        Self {
            items: page.items.into_iter().map(show).collect(),
            total: page.total,
            next: page.next,
        }
    }
}

/// Reads a time: RFC 3339, or Unix seconds with or without a fraction. Answers Unix milliseconds.
pub(super) fn time_ms(name: &str, text: &str) -> Result<i64, Problem> {
    let wrong = || Problem::parameter(name, "a time in RFC 3339 or Unix seconds is needed");
    if let Ok(seconds) = text.parse::<f64>() {
        let ms = (seconds * 1_000.0).round();
        // Beyond the year 9999 lies a mistake such as milliseconds in place of seconds.
        return if ms.is_finite() && (0.0..253_402_300_800_000.0).contains(&ms) {
            #[expect(clippy::cast_possible_truncation, reason = "checked to be within range")]
            Ok(ms as i64)
        } else {
            Err(wrong())
        };
    }
    // A plus sign that was not escaped in the query arrives as a space.
    let text = text.replace(' ', "+");
    text.parse::<jiff::Timestamp>()
        .map(jiff::Timestamp::as_millisecond)
        .map_err(|_| wrong())
}

/// Reads a duration: seconds with or without a fraction, or a text such as `30s` or `5m`. Answers milliseconds.
pub(super) fn duration_ms(name: &str, text: &str) -> Result<i64, Problem> {
    let wrong = || Problem::parameter(name, "a positive duration such as 15s, 5m or 60 is needed");
    let duration = match text.parse::<f64>() {
        Ok(seconds) => std::time::Duration::try_from_secs_f64(seconds).map_err(|_| wrong())?,
        Err(_) => humantime::parse_duration(text).map_err(|_| wrong())?,
    };
    i64::try_from(duration.as_millis())
        .ok()
        .filter(|ms| 0 < *ms)
        .ok_or_else(wrong)
}

/// A time as the API shows it: RFC 3339 in UTC, to the millisecond.
pub(super) fn rfc3339(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms)
        .map(|time| format!("{time:.3}"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_every_promised_form() {
        for text in [
            "2026-01-02T03:04:05Z",
            "2026-01-02T04:04:05+01:00",
            "2026-01-02T04:04:05 01:00",
            "1767323045",
            "1767323045.000",
        ] {
            assert_eq!(time_ms("start", text).unwrap(), 1_767_323_045_000, "{text}");
        }
        assert_eq!(time_ms("start", "1767323045.25").unwrap(), 1_767_323_045_250);
    }

    #[test]
    fn a_wrong_time_names_its_parameter() {
        for text in [
            "",
            "yesterday",
            "NaN",
            "inf",
            "-5",
            "1767323045000",
            "2026-13-01T00:00:00Z",
        ] {
            let problem = time_ms("end", text).unwrap_err();
            assert_eq!(problem.parameter.as_deref(), Some("end"), "{text}");
        }
    }

    #[test]
    fn durations_are_positive() {
        assert_eq!(duration_ms("step", "15").unwrap(), 15_000);
        assert_eq!(duration_ms("step", "0.5").unwrap(), 500);
        assert_eq!(duration_ms("step", "5m").unwrap(), 300_000);
        for text in ["0", "-1", "NaN", "x", "", "0s", "1e300"] {
            assert!(duration_ms("step", text).is_err(), "{text}");
        }
    }

    #[test]
    fn limits_beyond_the_bounds_are_refused_by_name() {
        for limit in ["0", "1001", "-1", "x", ""] {
            let problem = page_request(Some(limit), None).unwrap_err();
            assert_eq!(problem.parameter.as_deref(), Some("limit"));
        }
        assert_eq!(page_request(Some("1000"), None).unwrap().limit, Some(1_000));
    }

    #[test]
    fn times_are_shown_in_utc_with_milliseconds() {
        assert_eq!(rfc3339(1_767_323_045_250), "2026-01-02T03:04:05.250Z");
    }
}
