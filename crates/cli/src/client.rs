//! The client of a controller's HTTP API: one place that knows how to connect, who we are, and what refusals mean.
//!
//! A token is sent to the controller it was given for and to nobody else: no redirects, no proxies, plain HTTP on
//! loopback only, and TLS always verified.

pub(crate) mod context;
mod error;
mod events;
pub(crate) mod login;
mod options;
pub(crate) mod pin;
mod tls;
pub(crate) mod url;

use std::time::Duration;

use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use hyper::{Method, Request, StatusCode};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

pub(crate) use error::{ClientError, Refusal};
pub(crate) use events::Events;
pub(crate) use options::Common;
use url::BaseUrl;

/// The controller gives up on a request before that.
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// Time to connect, TLS included.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Most bytes of an answer; a million points as JSON have less.
const ANSWER_BYTES_MAX: usize = 256 << 20;
/// How many items a part of a list has.
const PAGE_MAX: usize = 1_000;
/// Most parts of a list that are fetched.
const PAGES_MAX: usize = 1_000;

type Http = hyper_util::client::legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// A client of one controller.
#[derive(Clone)]
pub(crate) struct Client {
    base: BaseUrl,
    http: Http,
    token: Option<String>,
}

/// The parameters of a query that were given.
pub(crate) fn given<const N: usize>(all: [(&'static str, Option<String>); N]) -> Vec<(&'static str, String)> {
    all.into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
}

impl Client {
    /// A client without a login. `ca` are PEM certificates that alone are trusted; without them the system's are.
    pub(crate) fn new(base: BaseUrl, ca: Option<&str>) -> Result<Self, ClientError> {
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_connect_timeout(Some(CONNECT_MAX));
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(tls::config(ca)?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        Ok(Self {
            base,
            http: hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build(connector),
            token: None,
        })
    }

    /// The same client, logged in.
    pub(crate) fn with_token(mut self, token: &str) -> Self {
        self.token = Some(token.trim().to_owned());
        self
    }

    /// Where the controller is.
    pub(crate) const fn base(&self) -> &BaseUrl {
        &self.base
    }

    /// Reads something.
    pub(crate) async fn get(&self, path: &str, query: &[(&str, String)]) -> Result<Value, ClientError> {
        self.ask(Method::GET, path, query, None)
            .await
            .map(|(_, body)| body)
    }

    /// Every item of a list, part by part.
    pub(crate) async fn list(&self, path: &str, query: &[(&str, String)]) -> Result<Vec<Value>, ClientError> {
        let mut items = Vec::new();
        let mut cursor: Option<String> = None;
        for _ in 0..PAGES_MAX {
            let mut query = query.to_vec();
            query.push(("limit", PAGE_MAX.to_string()));
            query.extend(cursor.map(|cursor| ("cursor", cursor)));
            let mut page = self.get(path, &query).await?;
            match page.get_mut("items").map(Value::take) {
                Some(Value::Array(part)) => items.extend(part),
                _ => {
                    return Err(ClientError::Unclear {
                        path: path.to_owned(),
                    });
                }
            }
            cursor = page.get("next").and_then(Value::as_str).map(str::to_owned);
            if cursor.is_none() {
                return Ok(items);
            }
        }
        Err(ClientError::Unclear {
            path: path.to_owned(),
        })
    }

    /// The first items of a list, at most `most`, and how many there are.
    pub(crate) async fn first(
        &self,
        path: &str,
        query: &[(&str, String)],
        most: usize,
    ) -> Result<(Vec<Value>, usize), ClientError> {
        let mut items: Vec<Value> = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let mut query = query.to_vec();
            let limit = (most - items.len()).min(PAGE_MAX);
            query.push(("limit", limit.to_string()));
            query.extend(cursor.map(|cursor| ("cursor", cursor)));
            let mut page = self.get(path, &query).await?;
            let total = page["total"]
                .as_u64()
                .and_then(|total| usize::try_from(total).ok());
            let part = page.get_mut("items").map(Value::take);
            let (Some(total), Some(Value::Array(part))) = (total, part) else {
                return Err(ClientError::Unclear {
                    path: path.to_owned(),
                });
            };
            items.extend(part);
            cursor = page.get("next").and_then(Value::as_str).map(str::to_owned);
            if most <= items.len() || cursor.is_none() {
                let total = total.max(items.len());
                return Ok((items, total));
            }
        }
    }

    /// Every item of a list that has no parts.
    pub(crate) async fn whole(
        &self,
        path: &str,
        query: &[(&str, String)],
    ) -> Result<Vec<Value>, ClientError> {
        let mut page = self.get(path, query).await?;
        match page.get_mut("items").map(Value::take) {
            Some(Value::Array(items)) => Ok(items),
            _ => Err(ClientError::Unclear {
                path: path.to_owned(),
            }),
        }
    }

    /// Reads a text as it is.
    pub(crate) async fn text(&self, path: &str) -> Result<String, ClientError> {
        let (_, bytes) = self.send(Method::GET, path, &[], Sent::Nothing).await?;
        String::from_utf8(bytes.into()).map_err(|_| ClientError::Unclear {
            path: path.to_owned(),
        })
    }

    /// Hands over YAML.
    pub(crate) async fn post_yaml(&self, path: &str, text: String) -> Result<Value, ClientError> {
        let (_, bytes) = self.send(Method::POST, path, &[], Sent::Yaml(text)).await?;
        parsed(path, &bytes)
    }

    /// Does something to all that a query takes.
    pub(crate) async fn post_to(
        &self,
        path: &str,
        query: &[(&str, String)],
        body: &Value,
    ) -> Result<Value, ClientError> {
        self.ask(Method::POST, path, query, Some(body))
            .await
            .map(|(_, body)| body)
    }

    /// Makes or does something; also answers the status, which says whether it is done or under way.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<(StatusCode, Value), ClientError> {
        self.ask(Method::POST, path, &[], Some(body)).await
    }

    /// Changes something.
    pub(crate) async fn change(
        &self,
        method: Method,
        path: &str,
        body: &Value,
    ) -> Result<Value, ClientError> {
        self.ask(method, path, &[], Some(body))
            .await
            .map(|(_, body)| body)
    }

    /// Removes something.
    pub(crate) async fn delete(&self, path: &str) -> Result<(), ClientError> {
        self.ask(Method::DELETE, path, &[], None).await.map(|_| ())
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, String)],
        body: Option<&Value>,
    ) -> Result<(StatusCode, Value), ClientError> {
        let sent = body.map_or(Sent::Nothing, |body| Sent::Json(body.to_string()));
        let (status, bytes) = self.send(method, path, query, sent).await?;
        Ok((status, parsed(path, &bytes)?))
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, String)],
        sent: Sent,
    ) -> Result<(StatusCode, Bytes), ClientError> {
        let request = self.request(method, path, query, sent, "application/json")?;
        let asked = async {
            let answer = self
                .http
                .request(request)
                .await
                .map_err(|error| self.unreachable(error))?;
            let status = answer.status();
            match Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await {
                Ok(body) => Ok((status, body.to_bytes())),
                Err(error) if error.is::<LengthLimitError>() => Err(ClientError::TooLong {
                    path: path.to_owned(),
                }),
                Err(error) => Err(self.unreachable(error)),
            }
        };
        let (status, bytes) = tokio::time::timeout(ANSWER_MAX, asked)
            .await
            .map_err(|elapsed| self.unreachable(elapsed))??;
        if !status.is_success() {
            return Err(ClientError::Refused(Refusal::of(status, &bytes)));
        }
        Ok((status, bytes))
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, String)],
        sent: Sent,
        accepted: &'static str,
    ) -> Result<Request<Full<Bytes>>, ClientError> {
        let url = reqwest::Url::parse_with_params(&format!("{}{path}", self.base), query)
            .map_err(|_| ClientError::Usage(format!("{path} is no address")))?;
        let mut request = Request::builder()
            .method(method)
            .uri(url.as_str().trim_end_matches('?'))
            .header(USER_AGENT, concat!("muster/", env!("CARGO_PKG_VERSION")))
            .header(ACCEPT, accepted);
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let body = match sent {
            Sent::Nothing => String::new(),
            Sent::Json(text) => {
                request = request.header(CONTENT_TYPE, "application/json");
                text
            }
            Sent::Yaml(text) => {
                request = request.header(CONTENT_TYPE, "application/yaml");
                text
            }
        };
        // A token with odd characters is the one thing here that cannot be sent.
        request
            .body(Full::new(Bytes::from(body)))
            .map_err(|_| ClientError::Usage("what was given as a token is none".to_owned()))
    }

    fn unreachable(&self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ClientError {
        ClientError::Unreachable {
            url: self.base.to_string(),
            source: source.into(),
        }
    }
}

/// What goes with a request.
enum Sent {
    Nothing,
    Json(String),
    Yaml(String),
}

fn parsed(path: &str, bytes: &[u8]) -> Result<Value, ClientError> {
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(bytes).map_err(|_| ClientError::Unclear {
        path: path.to_owned(),
    })
}
