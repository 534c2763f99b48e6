//! A real Prometheus that finds its targets at the controller and scrapes them as dashboards expect.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use muster_e2e::{Process, World, eventually};
use serde_json::{Value, json};

const PROGRAM: &str = "/usr/bin/prometheus";
/// A loaded machine gets this long for whatever takes seconds.
const LIMIT: Duration = Duration::from_secs(90);

/// Prometheus, while it runs.
pub(crate) struct Prometheus {
    address: String,
    client: reqwest::Client,
    _process: Process,
}

impl Prometheus {
    /// Starts one that scrapes everything the controller lists, every two seconds.
    pub(crate) async fn start(world: &World) -> Result<Self> {
        ensure!(
            Path::new(PROGRAM).is_file(),
            "{PROGRAM} is missing: cargo xtask test-deps installs it"
        );
        let settings = world.dir().join("prometheus.yml");
        let token = world.dir().join("prometheus-token");
        std::fs::write(&token, metrics_token(world).await?)?;
        std::fs::write(&settings, settings_text(world, &token))?;
        let client = reqwest::Client::builder().no_proxy().timeout(LIMIT).build()?;
        // Another process may take the port between looking for it and using it.
        for _ in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
            let address = format!("127.0.0.1:{port}");
            let args = [
                format!("--config.file={}", settings.display()),
                format!("--storage.tsdb.path={}", world.dir().join("prometheus").display()),
                format!("--web.listen-address={address}"),
                "--log.level=warn".to_owned(),
            ];
            let log = world.dir().join("prometheus.log");
            let mut process = Process::start(Path::new(PROGRAM), &args, &log)?;
            let url = format!("http://{address}/-/ready");
            let is_ready = eventually(LIMIT, async || {
                if !process.is_running()? {
                    return Ok(false);
                }
                client.get(&url).send().await?.error_for_status()?;
                Ok(true)
            })
            .await?;
            if is_ready {
                return Ok(Self {
                    address,
                    client,
                    _process: process,
                });
            }
            println!("{}", process.printed());
        }
        bail!("Prometheus does not start")
    }

    /// How many series an expression gives now.
    pub(crate) async fn count(&self, expression: &str) -> Result<usize> {
        let found = self.ask("query", &[("query", expression)]).await?;
        match found["resultType"].as_str() {
            Some("scalar") => Ok(1),
            _ => Ok(found["result"].as_array().context("result")?.len()),
        }
    }

    /// The values that a label has among the series of a metric.
    pub(crate) async fn label_values(&self, metric: &str, label: &str) -> Result<BTreeSet<String>> {
        let found = self
            .ask(&format!("label/{label}/values"), &[("match[]", metric)])
            .await?;
        let values = found.as_array().context("values")?;
        Ok(values
            .iter()
            .filter_map(|value| value.as_str().map(str::to_owned))
            .collect())
    }

    async fn ask(&self, path: &str, query: &[(&str, &str)]) -> Result<Value> {
        let base = format!("http://{}/api/v1/{path}", self.address);
        let url = reqwest::Url::parse_with_params(&base, query)?;
        let answer = self.client.get(url).send().await?;
        let body: Value = serde_json::from_str(&answer.text().await?)?;
        ensure!(body["status"] == "success", "{query:?}: {body}");
        Ok(body["data"].clone())
    }
}

/// A token that reads metrics and nothing else.
async fn metrics_token(world: &World) -> Result<String> {
    let api = world.api().await?;
    let wanted = json!({"name": "prometheus", "scopes": ["metrics"]});
    let (status, text) = api.ask("POST", "/api/tokens", Some(wanted)).await?;
    ensure!(status.is_success(), "{status} {text}");
    let body: Value = serde_json::from_str(&text)?;
    Ok(body["token"].as_str().context("token")?.to_owned())
}

/// As the guide has it, but for the times.
fn settings_text(world: &World, token: &Path) -> String {
    let authorization = format!(
        "authorization: {{ type: Bearer, credentials_file: {} }}",
        token.display()
    );
    format!(
        "global: {{ scrape_interval: 2s, scrape_timeout: 2s }}\n\
         scrape_configs:\n\
         - job_name: muster\n\
         \x20 {authorization}\n\
         \x20 http_sd_configs:\n\
         \x20 - url: http://{}/api/prometheus/sd\n\
         \x20   refresh_interval: 2s\n\
         \x20   {authorization}\n",
        world.http
    )
}
