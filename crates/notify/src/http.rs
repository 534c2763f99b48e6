//! One HTTP request, and a bounded part of its answer.
//!
//! A connection a request: news are rare, and a pool would hide which address is talked to. Redirects are answers like
//! any other: where they point to was not asked for by anybody who may set up channels.

use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, StatusCode};
use hyper_util::rt::TokioIo;
use jiff::fmt::rfc2822;
use muster_base::ErrorChain;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tokio::time::timeout;
use url::{Host, Url};

use crate::network::{ConnectError, Network};
use crate::outcome::{Attempt, Blame, Outcome, RETRY_AFTER_MAX};
use crate::tls::Roots;

/// How long a request may take from beginning to end.
const TOTAL_MAX: Duration = Duration::from_secs(30);
/// Most bytes read of an answer.
const BODY_BYTES_MAX: usize = 16 * 1_024;
/// Most bytes of an answer's head.
const HEAD_BYTES_MAX: usize = 32 * 1_024;
const USER_AGENT: &str = concat!("Muster/", env!("CARGO_PKG_VERSION"));

/// A request. It is not printed: address and headers may hold secrets.
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// A POST of JSON.
    pub(crate) fn json(url: Url, body: &serde_json::Value) -> Self {
        Self {
            method: Method::POST,
            url,
            headers: vec![("content-type", "application/json".to_owned())],
            body: body.to_string().into_bytes(),
        }
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) retry_after: Option<Duration>,
    /// Its beginning.
    pub(crate) body: String,
}

impl Answer {
    /// What the status means in general.
    pub(crate) fn judge(&self) -> Attempt {
        let told = format!("{} {}", self.status.as_u16(), crate::text::one_line(&self.body));
        let told = told.trim().to_owned();
        let blame = match self.status {
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => Blame::Channel,
            _ => Blame::Message,
        };
        let outcome = match self.status {
            status if status.is_success() => Outcome::Delivered,
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
                self.later(blame)
            }
            status if status.is_server_error() => self.later(blame),
            status if status.is_redirection() => {
                return Attempt::permanent(format!("{told} (redirects are not followed)"));
            }
            _ => Outcome::Permanent,
        };
        Attempt {
            outcome,
            answer: told,
        }
    }

    fn later(&self, blame: Blame) -> Outcome {
        Outcome::Temporary {
            blame,
            retry_after: self.retry_after,
        }
    }

    /// The answer as JSON, if it is.
    pub(crate) fn json(&self) -> Option<serde_json::Value> {
        serde_json::from_str(&self.body).ok()
    }
}

/// Why there is no answer.
#[derive(Debug, Error)]
pub(crate) enum HttpError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("agree on TLS with {host}")]
    Tls { host: String, source: std::io::Error },
    #[error("ask {host}")]
    Exchange { host: String, source: hyper::Error },
    #[error("{host} did not answer within {} s", TOTAL_MAX.as_secs())]
    Timeout { host: String },
    #[error("the request cannot be sent: a header has characters that none may have")]
    Header(#[source] hyper::http::Error),
}

impl HttpError {
    /// As the end of an attempt.
    pub(crate) fn judge(&self) -> Attempt {
        let told = ErrorChain(self).to_string();
        match self {
            Self::Connect(ConnectError::Refused(_)) | Self::Header(_) => Attempt::permanent(told),
            _ => Attempt::unreachable(told),
        }
    }
}

/// Sends a request, and reads the beginning of its answer.
pub(crate) async fn send(network: &Network, roots: &Roots, request: Request) -> Result<Answer, HttpError> {
    let host = request
        .url
        .host()
        .map(|host| host.to_owned())
        .unwrap_or(Host::Domain(String::new()));
    let name = host.to_string();
    let exchange = async {
        let port = request.url.port_or_known_default().unwrap_or(443);
        let is_tls = request.url.scheme() == "https";
        let stream = network.connect(&host, port).await?;
        let request = build(&host, request).map_err(HttpError::Header)?;
        if is_tls {
            let stream = roots
                .handshake(&host, stream)
                .await
                .map_err(|source| HttpError::Tls {
                    host: name.clone(),
                    source,
                })?;
            exchange(stream, request, &name).await
        } else {
            exchange(stream, request, &name).await
        }
    };
    timeout(TOTAL_MAX, exchange)
        .await
        .unwrap_or_else(|_| Err(HttpError::Timeout { host: name.clone() }))
}

fn build(host: &Host<String>, request: Request) -> Result<hyper::Request<Full<Bytes>>, hyper::http::Error> {
    let authority = match request.url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_string(),
    };
    let path = match request.url.query() {
        Some(query) => format!("{}?{query}", request.url.path()),
        None => request.url.path().to_owned(),
    };
    let mut builder = hyper::Request::builder()
        .method(request.method)
        .uri(path)
        .header(header::HOST, authority)
        .header(header::USER_AGENT, USER_AGENT);
    for (name, value) in request.headers {
        builder = builder.header(name, value);
    }
    builder.body(Full::new(Bytes::from(request.body)))
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: hyper::Request<Full<Bytes>>,
    host: &str,
) -> Result<Answer, HttpError> {
    let failed = |source| HttpError::Exchange {
        host: host.to_owned(),
        source,
    };
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_BYTES_MAX)
        .handshake::<_, Full<Bytes>>(TokioIo::new(stream))
        .await
        .map_err(failed)?;
    // Ends with this function, whatever the other side does.
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let response = sender.send_request(request).await.map_err(failed)?;
    let status = response.status();
    let retry_after = retry_after(response.headers());
    let body = read(response.into_body()).await;
    Ok(Answer {
        status,
        retry_after,
        body,
    })
}

/// The beginning of a body. One that breaks off after the status is still an answer.
async fn read(mut body: Incoming) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < BODY_BYTES_MAX {
        let Some(Ok(frame)) = body.frame().await else {
            break;
        };
        if let Ok(data) = frame.into_data() {
            let room = BODY_BYTES_MAX - bytes.len();
            bytes.extend_from_slice(&data[..data.len().min(room)]);
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// `Retry-After`: seconds, or a date (RFC 9110, 10.2.3). A date is told by the other side's clock, so it is compared
/// with the other side's `Date`; without that it says nothing.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| {
        headers
            .get(name)
            .and_then(|value: &HeaderValue| value.to_str().ok())
    };
    let until = text(header::RETRY_AFTER)?.trim();
    let wait = match until.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let [until, now] = [until, text(header::DATE)?.trim()].map(rfc2822::parse);
            let seconds = until.ok()?.timestamp().as_second() - now.ok()?.timestamp().as_second();
            Duration::from_secs(u64::try_from(seconds).ok()?)
        }
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16) -> Answer {
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            retry_after: None,
            body: "told\r\n".to_owned(),
        }
    }

    #[test]
    fn what_may_work_later_is_told_from_what_never_will() {
        for (status, expected) in [
            (200, "delivered"),
            (204, "delivered"),
            (301, "permanent"),
            (307, "permanent"),
            (400, "permanent"),
            (401, "permanent"),
            (404, "permanent"),
            (408, "message"),
            (413, "permanent"),
            (425, "message"),
            (429, "channel"),
            (500, "message"),
            (502, "channel"),
            (503, "channel"),
            (504, "channel"),
        ] {
            let outcome = match answer(status).judge().outcome {
                Outcome::Delivered => "delivered",
                Outcome::Permanent => "permanent",
                Outcome::Temporary {
                    blame: Blame::Channel,
                    ..
                } => "channel",
                Outcome::Temporary {
                    blame: Blame::Message,
                    ..
                } => "message",
            };
            assert_eq!(outcome, expected, "{status}");
        }
        assert_eq!(answer(400).judge().answer, "400 told");
    }

    #[test]
    fn a_wait_is_told_in_seconds_or_as_a_date_of_the_other_side() {
        let of = |until: &str, date: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, until.parse().unwrap());
            if let Some(date) = date {
                headers.insert(header::DATE, date.parse().unwrap());
            }
            retry_after(&headers)
        };
        let now = Some("Fri, 31 Dec 1999 23:59:29 GMT");
        let later = "Fri, 31 Dec 1999 23:59:59 GMT";
        assert_eq!(of("120", None), Some(Duration::from_secs(120)));
        assert_eq!(of("99999999999", None), Some(RETRY_AFTER_MAX));
        assert_eq!(of(later, now), Some(Duration::from_secs(30)));
        assert_eq!(of(later, None), None);
        assert_eq!(of("-5", now), None);
        assert_eq!(of("soon", now), None);
    }
}
