//! The HTTP API as a client sees it.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use reqwest::StatusCode;
use serde_json::{Value, json};

/// A logged-in client of one controller.
#[derive(Debug, Clone)]
pub struct Api {
    base: String,
    token: String,
    client: reqwest::Client,
}

impl Api {
    /// Logs in.
    ///
    /// # Errors
    /// If the controller does not answer or refuses.
    pub async fn login(http: SocketAddr, username: &str, password: &str) -> Result<Self> {
        let client = reqwest::Client::new();
        let base = format!("http://{http}");
        let answer = client
            .post(format!("{base}/api/auth/token"))
            .json(&json!({"username": username, "password": password}))
            .send()
            .await?;
        ensure!(
            answer.status() == StatusCode::OK,
            "login: {} {}",
            answer.status(),
            answer.text().await?
        );
        let body: Value = answer.json().await?;
        ensure!(body["token_type"] == "bearer", "{body}");
        let token = body["access_token"].as_str().context("access_token")?.to_owned();
        Ok(Self { base, token, client })
    }

    /// Asks with any method and optional JSON body; returns the status and the body's text.
    ///
    /// # Errors
    /// If the controller does not answer.
    pub async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> Result<(StatusCode, String)> {
        let method = reqwest::Method::from_bytes(method.as_bytes())?;
        let mut request = self
            .client
            .request(method, format!("{}{path}", self.base))
            .bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await?;
        Ok((answer.status(), answer.text().await?))
    }

    /// GETs JSON.
    ///
    /// # Errors
    /// If the answer is not 200 with JSON.
    pub async fn get(&self, path: &str) -> Result<Value> {
        let (status, text) = self.ask("GET", path, None).await?;
        ensure!(status == StatusCode::OK, "GET {path}: {status} {text}");
        serde_json::from_str(&text).with_context(|| format!("GET {path}: {text}"))
    }

    /// GETs a list's items.
    ///
    /// # Errors
    /// If the answer is no list, or has more pages than one.
    pub async fn items(&self, path: &str) -> Result<Vec<Value>> {
        let body = self.get(path).await?;
        ensure!(body["next"].is_null(), "{path} has more than one page");
        Ok(body["items"]
            .as_array()
            .with_context(|| format!("{path}: {body}"))?
            .clone())
    }

    /// The items of a list, however many pages it has; the path has parameters already.
    ///
    /// # Errors
    /// If an answer is no list.
    pub async fn all_items(&self, path: &str) -> Result<Vec<Value>> {
        let mut all = Vec::new();
        let mut at = path.to_owned();
        loop {
            let body = self.get(&at).await?;
            let items = body["items"]
                .as_array()
                .with_context(|| format!("{at}: {body}"))?;
            all.extend(items.iter().cloned());
            match body["next"].as_str() {
                Some(next) => at = format!("{path}&cursor={next}"),
                None => return Ok(all),
            }
        }
    }

    /// The server of that name.
    ///
    /// # Errors
    /// If there is not exactly one.
    pub async fn server(&self, hostname: &str) -> Result<Value> {
        let servers = self.items("/api/infrastructure/servers?limit=1000").await?;
        let mut named = servers
            .into_iter()
            .filter(|server| server["hostname"] == hostname);
        let server = named.next().with_context(|| format!("no server {hostname}"))?;
        ensure!(named.next().is_none(), "several servers {hostname}");
        Ok(server)
    }

    /// A figure of the controller's own `/metrics`: the sum over its labels.
    ///
    /// # Errors
    /// If there is none of that name.
    pub async fn figure(&self, name: &str) -> Result<f64> {
        let (status, text) = self.ask("GET", "/metrics", None).await?;
        ensure!(status == StatusCode::OK, "/metrics: {status} {text}");
        let values: Vec<f64> = text
            .lines()
            .filter(|line| {
                let rest = line.strip_prefix(name);
                let rest = rest.map(|rest| rest.strip_prefix("_total").unwrap_or(rest));
                rest.is_some_and(|rest| rest.starts_with([' ', '{']))
            })
            .filter_map(|line| line.rsplit(' ').next()?.parse().ok())
            .collect();
        ensure!(!values.is_empty(), "/metrics has no {name}");
        Ok(values.iter().sum())
    }

    /// Raw samples of all series that match: labels and points.
    ///
    /// # Errors
    /// If the controller refuses or cuts the answer.
    pub async fn range(&self, metric: &str, matching: &str) -> Result<Vec<(Value, Vec<(i64, f64)>)>> {
        let base = format!("{}/api/infrastructure/metrics/range", self.base);
        let query = [
            ("metric", metric),
            ("match", matching),
            ("start", "0"),
            ("end", "4102444800"),
        ];
        let url = reqwest::Url::parse_with_params(&base, &query)?;
        let answer = self.client.get(url).bearer_auth(&self.token).send().await?;
        let (status, text) = (answer.status(), answer.text().await?);
        ensure!(status == StatusCode::OK, "range of {metric}: {status} {text}");
        let body: Value = serde_json::from_str(&text)?;
        ensure!(body["truncated"] == false, "range of {metric} was cut");
        let series = body["series"].as_array().context("series")?;
        series
            .iter()
            .map(|one| Ok((one["labels"].clone(), points(&one["points"])?)))
            .collect()
    }
}

fn points(value: &Value) -> Result<Vec<(i64, f64)>> {
    let points = value.as_array().context("points")?;
    points
        .iter()
        .map(|point| {
            let time = point[0].as_i64().with_context(|| format!("time of {point}"))?;
            let value = point[1].as_f64().with_context(|| format!("value of {point}"))?;
            Ok((time, value))
        })
        .collect()
}
