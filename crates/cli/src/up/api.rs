//! The few questions that `up` asks the controller over HTTP. Loopback only, so there is no TLS in this client.

use std::net::SocketAddr;
use std::time::Duration;

use reqwest::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

/// A controller on loopback answers at once, or is in trouble.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// A client of one controller.
#[derive(Debug, Clone)]
pub(super) struct Api {
    base: String,
    client: reqwest::Client,
    token: Option<String>,
}

/// Why there is no answer.
#[derive(Debug, Error)]
pub(crate) enum ApiError {
    #[error("prepare to ask")]
    Build { source: reqwest::Error },
    #[error("ask {url}")]
    Ask { url: String, source: reqwest::Error },
    #[error("{url} answers {status}: {body}")]
    Refused {
        url: String,
        status: StatusCode,
        body: String,
    },
    #[error("{url} answers in an unknown form; are all programs of one version?")]
    Unclear { url: String, source: reqwest::Error },
}

/// A list as the API gives it.
#[derive(Debug, Deserialize)]
struct List<T> {
    items: Vec<T>,
}

/// The newest outcome of a collector.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Outcome {
    pub(super) collector: String,
    /// `facts`, `absent`, `failed`, `timed_out` or `panicked`.
    pub(super) outcome: String,
    /// Why, if it is not `facts`.
    #[serde(default)]
    pub(super) message: String,
}

/// An answer of the range query.
#[derive(Debug, Deserialize)]
struct Range {
    series: Vec<Series>,
}

#[derive(Debug, Deserialize)]
struct Series {
    labels: serde_json::Map<String, serde_json::Value>,
    /// Time in Unix ms, and a value that may be a number or a word.
    points: Vec<(i64, serde_json::Value)>,
}

impl Api {
    /// A client without a login.
    pub(super) fn new(http: SocketAddr) -> Result<Self, ApiError> {
        let client = reqwest::Client::builder()
            .timeout(ANSWER_LIMIT)
            .no_proxy()
            .build();
        Ok(Self {
            base: format!("http://{http}"),
            client: client.map_err(|source| ApiError::Build { source })?,
            token: None,
        })
    }

    /// The same client, logged in.
    pub(super) fn with_token(mut self, token: &str) -> Self {
        self.token = Some(token.trim().to_owned());
        self
    }

    /// Whether the controller takes reports and answers queries.
    pub(super) async fn is_ready(&self) -> Result<bool, ApiError> {
        let (_, answer) = self.get("/readyz", &[]).await?;
        Ok(answer.status() == StatusCode::OK)
    }

    /// The newest outcome of each collector of a server.
    pub(super) async fn outcomes(&self, server: i64) -> Result<Vec<Outcome>, ApiError> {
        let path = format!("/api/infrastructure/servers/{server}/collectors");
        let list: List<Outcome> = self.get_json(&path, &[("limit", "1000")]).await?;
        Ok(list.items)
    }

    /// Whether the server's devices can be listed; there may be none.
    pub(super) async fn can_list_devices(&self, server: i64) -> Result<(), ApiError> {
        let path = format!("/api/infrastructure/servers/{server}/storage/devices");
        let _: List<serde_json::Value> = self.get_json(&path, &[]).await?;
        Ok(())
    }

    /// Values of label `label` among the series of a metric that have a sample since then.
    pub(super) async fn labels_since(
        &self,
        server: i64,
        metric: &str,
        label: &str,
        since_ms: i64,
    ) -> Result<Vec<String>, ApiError> {
        // To the second, rounded down, and asked for an hour ahead; the points are compared exactly below.
        let start = (since_ms / 1000).to_string();
        let end = (since_ms / 1000 + 3600).to_string();
        let matching = format!("{{server_id=\"{server}\"}}");
        let query = [
            ("metric", metric),
            ("match", &matching),
            ("start", &start),
            ("end", &end),
        ];
        let range: Range = self.get_json("/api/infrastructure/metrics/range", &query).await?;
        let is_new = |series: &Series| series.points.iter().any(|(time_ms, _)| *time_ms >= since_ms);
        let value = |series: Series| Some(series.labels.get(label)?.as_str()?.to_owned());
        Ok(range
            .series
            .into_iter()
            .filter(is_new)
            .filter_map(value)
            .collect())
    }

    async fn get_json<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> Result<T, ApiError> {
        let (url, answer) = self.get(path, query).await?;
        let status = answer.status();
        if status != StatusCode::OK {
            let body = answer.text().await.unwrap_or_default();
            return Err(ApiError::Refused { url, status, body });
        }
        answer
            .json()
            .await
            .map_err(|source| ApiError::Unclear { url, source })
    }

    async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<(String, reqwest::Response), ApiError> {
        let url = format!("{}{path}", self.base);
        let parsed = reqwest::Url::parse_with_params(&url, query)
            .expect("the base is an address and the paths are ours");
        let mut request = self.client.get(parsed);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        match request.send().await {
            Ok(answer) => Ok((url, answer)),
            Err(source) => Err(ApiError::Ask { url, source }),
        }
    }
}
