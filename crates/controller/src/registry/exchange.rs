//! One request and its answer, redirects followed: bounded in bytes, in time and in hops.
//!
//! A connection a request: a round asks each registry a few dozen times an hour. Whoever is redirected to another host
//! is not shown what authorizes us at the first.

use std::time::Duration;

use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, StatusCode};
use hyper_util::rt::TokioIo;
use muster_notify::{ConnectError, Network, Roots};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tokio::time::timeout;
use url::{Host, Url};

use super::RegistryError;

/// How many redirects are followed.
const HOPS_MAX: usize = 5;
/// Most bytes of an answer's head.
const HEAD_BYTES_MAX: usize = 64 * 1_024;
const USER_AGENT: &str = concat!("Muster/", env!("CARGO_PKG_VERSION"));

/// A request. It is not printed: what authorizes it is secret.
#[derive(Clone)]
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) accept: Vec<&'static str>,
    pub(super) authorization: Option<String>,
    pub(super) body_bytes_max: usize,
}

impl Call {
    pub(super) const fn get(url: Url, body_bytes_max: usize) -> Self {
        Self {
            method: Method::GET,
            url,
            accept: Vec::new(),
            authorization: None,
            body_bytes_max,
        }
    }
}

/// An answer.
pub(super) struct Reply {
    /// Who gave it in the end.
    pub(super) url: Url,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Reply {
    /// A header as text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .get(name)
            .and_then(|value: &HeaderValue| value.to_str().ok())
    }
}

/// Host, and port if it is not the usual one.
pub(super) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// Makes connections and asks.
#[derive(Clone)]
pub(super) struct Exchange {
    pub(super) network: Network,
    pub(super) roots: Roots,
    /// How long one request may take, redirects included.
    pub(super) total_max: Duration,
}

impl Exchange {
    /// Sends a request and follows redirects.
    pub(super) async fn send(&self, call: Call) -> Result<Reply, RegistryError> {
        let host = authority(&call.url);
        let following = self.follow(call);
        timeout(self.total_max, following)
            .await
            .unwrap_or(Err(RegistryError::Timeout { host }))
    }

    async fn follow(&self, mut call: Call) -> Result<Reply, RegistryError> {
        let is_plain = call.url.scheme() == "http";
        for _ in 0..=HOPS_MAX {
            let reply = self.once(&call).await?;
            let is_elsewhere = matches!(reply.status.as_u16(), 301 | 302 | 303 | 307 | 308);
            let Some(to) = reply.header("location").filter(|_| is_elsewhere) else {
                return Ok(reply);
            };
            let refused = |to: &str| RegistryError::Redirect {
                host: authority(&call.url),
                to: to.to_owned(),
            };
            let to = call.url.join(to).map_err(|_| refused("no address"))?;
            let is_allowed = to.scheme() == "https" || (to.scheme() == "http" && is_plain);
            if !is_allowed || to.host().is_none() {
                return Err(refused(&format!("{}://{}", to.scheme(), authority(&to))));
            }
            if to.origin() != call.url.origin() {
                call.authorization = None;
            }
            call.url = to;
        }
        Err(RegistryError::Redirect {
            host: authority(&call.url),
            to: "yet another place".to_owned(),
        })
    }

    async fn once(&self, call: &Call) -> Result<Reply, RegistryError> {
        let name = authority(&call.url);
        let Some(host) = call.url.host().map(|host| host.to_owned()) else {
            return Err(RegistryError::Answer {
                host: name,
                why: "an address without a host",
            });
        };
        let port = call.url.port_or_known_default().unwrap_or(443);
        let stream = self
            .network
            .connect(&host, port)
            .await
            .map_err(|source| no_connection(name.clone(), source))?;
        let request = build(&host, call).map_err(|source| RegistryError::Request {
            host: name.clone(),
            source,
        })?;
        if call.url.scheme() == "https" {
            let stream = self.roots.handshake(&host, stream).await;
            let stream = stream.map_err(|source| RegistryError::Tls {
                host: name.clone(),
                source,
            })?;
            exchange(stream, request, call, name).await
        } else {
            exchange(stream, request, call, name).await
        }
    }
}

fn no_connection(host: String, source: ConnectError) -> RegistryError {
    match source {
        ConnectError::Refused(refused) => RegistryError::Refused {
            host,
            address: refused.address,
            why: refused.why,
        },
        source => RegistryError::Connect { host, source },
    }
}

fn build(host: &Host<String>, call: &Call) -> Result<hyper::Request<Empty<Bytes>>, hyper::http::Error> {
    let authority = match call.url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_string(),
    };
    let path = match call.url.query() {
        Some(query) => format!("{}?{query}", call.url.path()),
        None => call.url.path().to_owned(),
    };
    let mut builder = hyper::Request::builder()
        .method(call.method.clone())
        .uri(path)
        .header(header::HOST, authority)
        .header(header::USER_AGENT, USER_AGENT);
    for accepted in &call.accept {
        builder = builder.header(header::ACCEPT, *accepted);
    }
    if let Some(authorization) = &call.authorization {
        let mut value = HeaderValue::from_str(authorization)?;
        value.set_sensitive(true);
        builder = builder.header(header::AUTHORIZATION, value);
    }
    builder.body(Empty::new())
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: hyper::Request<Empty<Bytes>>,
    call: &Call,
    host: String,
) -> Result<Reply, RegistryError> {
    let failed = |source| RegistryError::Exchange {
        host: host.clone(),
        source,
    };
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_BYTES_MAX)
        .handshake::<_, Empty<Bytes>>(TokioIo::new(stream))
        .await
        .map_err(failed)?;
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let response = sender.send_request(request).await.map_err(failed)?;
    let (parts, mut body) = response.into_parts();
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(failed)?.into_data() else {
            continue;
        };
        if call.body_bytes_max < bytes.len() + data.len() {
            return Err(RegistryError::TooLarge {
                host,
                max_bytes: call.body_bytes_max,
            });
        }
        bytes.extend_from_slice(&data);
    }
    Ok(Reply {
        url: call.url.clone(),
        status: parts.status,
        headers: parts.headers,
        body: bytes,
    })
}
