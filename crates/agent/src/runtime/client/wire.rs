//! HTTP over an engine's Unix socket: one connection a call, each answer bounded in size and time.
//!
//! A call that was sent and whose answer did not come may have had its effect: it is told as [`EngineError::Unreachable`]
//! or [`EngineError::TimedOut`], and never sent again from here.

use std::io;
use std::time::Duration;

use camino::Utf8Path;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;

use crate::runtime::EngineError;

/// What an error may say; more is cut off.
const MESSAGE_MAX: usize = 1_024;
/// The largest answer that tells of an error.
const ERROR_BYTES_MAX: usize = 64 * 1_024;

/// A request.
pub(super) struct Ask<'a> {
    /// What it is called in errors.
    pub(super) call: &'static str,
    /// `GET`, `POST` or `DELETE`.
    pub(super) method: Method,
    /// Path and query, from the version on.
    pub(super) path: String,
    /// Its body.
    pub(super) body: Option<&'a Value>,
    /// `X-Registry-Auth`, if any.
    pub(super) auth: Option<String>,
    /// How long it may take, from connecting until the last byte.
    pub(super) limit: Duration,
    /// The largest answer.
    pub(super) bytes_max: usize,
}

/// Sends it and returns the whole answer: 304 counts as done.
pub(super) async fn send(socket: &Utf8Path, ask: Ask<'_>) -> Result<Bytes, EngineError> {
    let (call, limit, bytes_max) = (ask.call, ask.limit, ask.bytes_max);
    let all = async {
        let answer = begin(socket, &ask).await?;
        collect(call, socket, answer, bytes_max).await
    };
    tokio::time::timeout(limit, all)
        .await
        .unwrap_or(Err(EngineError::TimedOut {
            call,
            limit_s: limit.as_secs(),
        }))
}

/// Sends it and returns the answer's head; a status of failure has become an error.
pub(super) async fn begin(socket: &Utf8Path, ask: &Ask<'_>) -> Result<Response<Incoming>, EngineError> {
    let unreadable = |message: String| EngineError::Unreadable {
        call: ask.call,
        message,
    };
    let stream = UnixStream::connect(socket.as_std_path())
        .await
        .map_err(|source| unreachable(ask.call, socket, source))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| lost(ask.call, socket, error))?;
    // Ends by itself when the answer has been read or dropped.
    tokio::spawn(connection);
    let body = match ask.body {
        Some(body) => serde_json::to_vec(body).map_err(|error| unreadable(error.to_string()))?,
        None => Vec::new(),
    };
    let mut request = Request::builder()
        .method(ask.method.clone())
        .uri(&ask.path)
        .header("Host", "localhost")
        .header("Content-Type", "application/json");
    if let Some(auth) = &ask.auth {
        request = request.header("X-Registry-Auth", auth);
    }
    let request = request
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| unreadable(error.to_string()))?;
    let answer = sender
        .send_request(request)
        .await
        .map_err(|error| lost(ask.call, socket, error))?;
    let status = answer.status();
    if status.is_success() || status == hyper::StatusCode::NOT_MODIFIED {
        return Ok(answer);
    }
    let body = collect(ask.call, socket, answer, ERROR_BYTES_MAX).await?;
    let message = message_of(&body);
    Err(if status == hyper::StatusCode::NOT_FOUND {
        EngineError::NotFound {
            call: ask.call,
            message,
        }
    } else {
        EngineError::Refused {
            call: ask.call,
            status: status.as_u16(),
            message,
        }
    })
}

async fn collect(
    call: &'static str,
    socket: &Utf8Path,
    answer: Response<Incoming>,
    bytes_max: usize,
) -> Result<Bytes, EngineError> {
    match Limited::new(answer.into_body(), bytes_max).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(EngineError::Unreadable {
            call,
            message: format!("it is longer than {bytes_max} bytes"),
        }),
        Err(error) => Err(unreachable(
            call,
            socket,
            io::Error::new(io::ErrorKind::ConnectionReset, error),
        )),
    }
}

/// Docker says `{"message"}`, Podman adds `cause` and `response`; what is no JSON is told as it is.
fn message_of(body: &[u8]) -> String {
    let said = serde_json::from_slice::<Value>(body)
        .ok()
        .and_then(|value| Some(value.get("message")?.as_str()?.to_owned()));
    let text = said.unwrap_or_else(|| String::from_utf8_lossy(body).into_owned());
    shortened(text.trim())
}

/// At most [`MESSAGE_MAX`] characters, none of them a control character.
pub(super) fn shortened(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(MESSAGE_MAX)
        .collect()
}

pub(super) fn unreachable(call: &'static str, socket: &Utf8Path, source: io::Error) -> EngineError {
    EngineError::Unreachable {
        call,
        endpoint: socket.to_string(),
        source,
    }
}

/// The connection broke after it was there: what was asked may have been done.
pub(super) fn lost(call: &'static str, socket: &Utf8Path, error: hyper::Error) -> EngineError {
    unreachable(
        call,
        socket,
        io::Error::new(io::ErrorKind::ConnectionReset, error),
    )
}
