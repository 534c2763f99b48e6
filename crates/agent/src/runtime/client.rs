//! [`Engine`] over a Docker-compatible socket: Docker's own, or the one that Podman serves beside its own API.
//!
//! What is inspected and what is created travels as the JSON it is: typed bindings would drop each field they do not
//! know. The version of the API is agreed on at the first call, and again when the engine says that it is not spoken.

mod logs;
mod names;
mod pull;
mod read;
mod wire;

use std::time::Duration;

use async_trait::async_trait;
use hyper::Method;
use muster_model::{LogRange, ResourceKey};
use parking_lot::Mutex;
use serde_json::{Value, json};
use url::form_urlencoded;

use super::{Endpoint, Engine, EngineError, EngineKind, ImageId, LogChunk, PullProgress, RegistryAuth};

/// The oldest API that is spoken: Docker 19.03, Podman 3.
const API_MIN: (usize, usize) = (1, 40);
/// The newest that is known, of Docker 29; a newer engine speaks this one too.
const API_MAX: (usize, usize) = (1, 53);
/// Podman's own API, in the version that Podman 4 and 5 speak.
const LIBPOD: &str = "4.0.0";
/// The largest list or inspect that is read.
const BYTES_MAX: usize = 64 * 1024 * 1024;
/// What an engine gives a container to stop in when nothing is configured.
const STOP_DEFAULT_S: u32 = 10;

/// How long calls may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Reading: version, lists, inspects.
    pub read: Duration,
    /// Changing: rename, create, start, connect, remove; stopping gets the container's own time on top.
    pub change: Duration,
    /// How long a pull may say nothing.
    pub pull_idle: Duration,
    /// How long a pull may take.
    pub pull: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            read: Duration::from_secs(30),
            change: Duration::from_secs(120),
            pull_idle: Duration::from_secs(180),
            pull: Duration::from_secs(2 * 3_600),
        }
    }
}

/// A client of one engine. It keeps no connection, so that an engine that was restarted is spoken to at once.
#[derive(Debug)]
pub struct Client {
    endpoint: Endpoint,
    limits: Limits,
    api: Mutex<Option<(usize, usize)>>,
}

impl Client {
    /// Of the engine at `endpoint`; nothing is asked of it yet.
    #[must_use]
    pub fn new(endpoint: &Endpoint) -> Self {
        Self::with_limits(endpoint, Limits::default())
    }

    /// With other limits.
    #[must_use]
    pub fn with_limits(endpoint: &Endpoint, limits: Limits) -> Self {
        Self {
            endpoint: endpoint.clone(),
            limits,
            api: Mutex::new(None),
        }
    }

    /// The version that is spoken, asking for it where that has not been done.
    async fn api(&self) -> Result<(usize, usize), EngineError> {
        let known = *self.api.lock();
        if let Some(api) = known {
            return Ok(api);
        }
        // Nothing is held meanwhile: an engine that hangs costs every call its own time, not that of all before it.
        let spoken = negotiate(&self.ask_version().await?)?;
        *self.api.lock() = Some(spoken);
        Ok(spoken)
    }

    async fn ask_version(&self) -> Result<Value, EngineError> {
        let call = "ask for the version";
        let ask = wire::Ask {
            call,
            method: Method::GET,
            path: "/version".to_owned(),
            body: None,
            auth: None,
            limit: self.limits.read,
            bytes_max: BYTES_MAX,
        };
        parsed(call, &wire::send(&self.endpoint.socket, ask).await?)
    }

    async fn send(
        &self,
        call: &'static str,
        method: Method,
        path: &str,
        body: Option<&Value>,
        limit: Duration,
    ) -> Result<hyper::body::Bytes, EngineError> {
        let (major, minor) = self.api().await?;
        let ask = wire::Ask {
            call,
            method,
            path: format!("/v{major}.{minor}{path}"),
            body,
            auth: None,
            limit,
            bytes_max: BYTES_MAX,
        };
        let answer = wire::send(&self.endpoint.socket, ask).await;
        if let Err(EngineError::Refused {
            status: 400, message, ..
        }) = &answer
            && message.contains("client version")
        {
            // The engine was replaced by another version: agree anew at the next call.
            *self.api.lock() = None;
        }
        answer
    }

    async fn get(&self, call: &'static str, path: &str) -> Result<Value, EngineError> {
        let body = self.send(call, Method::GET, path, None, self.limits.read).await?;
        parsed(call, &body)
    }

    async fn list(&self, call: &'static str, path: &str) -> Result<Vec<Value>, EngineError> {
        as_list(call, self.get(call, path).await?)
    }

    async fn post(&self, call: &'static str, path: &str, body: Option<&Value>) -> Result<(), EngineError> {
        let limit = self.limits.change;
        self.send(call, Method::POST, path, body, limit).await.map(drop)
    }

    /// Stopping takes as long as the container is given.
    async fn post_stopping(
        &self,
        call: &'static str,
        verb: &str,
        container: &str,
        timeout_s: Option<u32>,
    ) -> Result<(), EngineError> {
        let name = names::plain(call, container)?;
        let own = match timeout_s {
            Some(given) => given,
            None => stop_timeout(&self.inspect(container).await?),
        };
        let query = timeout_s.map_or_else(String::new, |given| format!("?t={given}"));
        let path = format!("/containers/{name}/{verb}{query}");
        let limit = self.limits.change + Duration::from_secs(u64::from(own));
        self.send(call, Method::POST, &path, None, limit).await.map(drop)
    }
}

/// The seconds that a container is given to stop in.
fn stop_timeout(inspect: &Value) -> u32 {
    inspect
        .pointer("/Config/StopTimeout")
        .and_then(Value::as_u64)
        .and_then(|seconds| u32::try_from(seconds).ok())
        .unwrap_or(STOP_DEFAULT_S)
}

/// The newest version that both speak.
fn negotiate(said: &Value) -> Result<(usize, usize), EngineError> {
    let call = "agree on a version";
    let read = |name: &str| -> Option<(usize, usize)> {
        let (major, minor) = said.get(name)?.as_str()?.split_once('.')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    };
    let newest = read("ApiVersion").ok_or_else(|| EngineError::Unreadable {
        call,
        message: "it names no API version".to_owned(),
    })?;
    let oldest = read("MinAPIVersion").unwrap_or(API_MIN);
    let spoken = newest.min(API_MAX);
    if spoken < API_MIN || spoken < oldest {
        let ((a, b), (c, d)) = (API_MIN, API_MAX);
        return Err(EngineError::Unreadable {
            call,
            message: format!(
                "it speaks API {}.{} to {}.{}, and known here is {a}.{b} to {c}.{d}",
                oldest.0, oldest.1, newest.0, newest.1
            ),
        });
    }
    Ok(spoken)
}

fn parsed(call: &'static str, body: &[u8]) -> Result<Value, EngineError> {
    serde_json::from_slice(body).map_err(|error| EngineError::Unreadable {
        call,
        message: error.to_string(),
    })
}

/// The items of a list; nothing at all is an empty one.
fn as_list(call: &'static str, said: Value) -> Result<Vec<Value>, EngineError> {
    match said {
        Value::Array(items) => Ok(items),
        Value::Null => Ok(Vec::new()),
        _ => Err(EngineError::Unreadable {
            call,
            message: "a list was expected".to_owned(),
        }),
    }
}

fn query(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs.iter().filter(|(_, value)| !value.is_empty()))
        .finish()
}

/// Docker writes `sha256:` before an image's id, Podman not everywhere.
fn image_id(call: &'static str, inspect: &Value) -> Result<ImageId, EngineError> {
    let id = inspect.get("Id").and_then(Value::as_str).unwrap_or_default();
    let full = if id.starts_with("sha256:") {
        id.to_owned()
    } else {
        format!("sha256:{id}")
    };
    names::digest(call, &full)?;
    Ok(ImageId(full))
}

#[async_trait]
impl Engine for Client {
    fn key(&self) -> &ResourceKey {
        &self.endpoint.key
    }

    fn kind(&self) -> EngineKind {
        self.endpoint.kind
    }

    async fn version(&self) -> Result<Value, EngineError> {
        let said = self.ask_version().await?;
        let spoken = negotiate(&said)?;
        *self.api.lock() = Some(spoken);
        Ok(said)
    }

    async fn info(&self) -> Result<Value, EngineError> {
        self.get("ask for its state", "/info").await
    }

    async fn containers(&self) -> Result<Vec<Value>, EngineError> {
        self.list("list the containers", "/containers/json?all=true")
            .await
    }

    async fn inspect(&self, container: &str) -> Result<Value, EngineError> {
        let call = "inspect the container";
        let name = names::plain(call, container)?;
        self.get(call, &format!("/containers/{name}/json")).await
    }

    async fn inspect_native(&self, container: &str) -> Result<Option<Value>, EngineError> {
        if self.kind() == EngineKind::Docker {
            return Ok(None);
        }
        // In the oldest version that is known, whatever the engine's own: what is made of it knows that one.
        self.inspect_by_podman(container, LIBPOD).await.map(Some)
    }

    async fn inspect_image(&self, image: &str) -> Result<Value, EngineError> {
        let call = "inspect the image";
        let name = names::image(call, image)?;
        self.get(call, &format!("/images/{name}/json")).await
    }

    async fn images(&self) -> Result<Vec<Value>, EngineError> {
        self.list("list the images", "/images/json").await
    }

    async fn pull(
        &self,
        repository: &str,
        digest: &str,
        platform: Option<&str>,
        auth: Option<&RegistryAuth>,
        progress: &(dyn Fn(PullProgress) + Send + Sync),
    ) -> Result<ImageId, EngineError> {
        let call = "pull the image";
        let repository = names::image(call, repository)?;
        let digest = names::digest(call, digest)?;
        let (major, minor) = self.api().await?;
        let query = query(&[
            ("fromImage", repository),
            ("tag", digest),
            ("platform", platform.unwrap_or_default()),
        ]);
        let ask = wire::Ask {
            call,
            method: Method::POST,
            path: format!("/v{major}.{minor}/images/create?{query}"),
            body: None,
            auth: auth.map(pull::header),
            limit: self.limits.pull,
            bytes_max: 0,
        };
        pull::follow(&self.endpoint.socket, ask, self.limits.pull_idle, progress).await?;
        let came = self.inspect_image(&format!("{repository}@{digest}")).await?;
        image_id(call, &came)
    }

    async fn tag(&self, image: &str, repository: &str, tag: &str) -> Result<(), EngineError> {
        let call = "tag the image";
        let name = names::image(call, image)?;
        let query = query(&[
            ("repo", names::image(call, repository)?),
            ("tag", names::plain(call, tag)?),
        ]);
        self.post(call, &format!("/images/{name}/tag?{query}"), None)
            .await
    }

    async fn remove_image(&self, image: &str) -> Result<(), EngineError> {
        let call = "remove the image";
        let path = format!("/images/{}?force=false", names::image(call, image)?);
        let limit = self.limits.change;
        self.send(call, Method::DELETE, &path, None, limit)
            .await
            .map(drop)
    }

    async fn rename(&self, container: &str, name: &str) -> Result<(), EngineError> {
        let call = "rename the container";
        let from = names::plain(call, container)?;
        let to = names::plain(call, name)?;
        self.post(call, &format!("/containers/{from}/rename?name={to}"), None)
            .await
    }

    async fn create(&self, name: &str, platform: Option<&str>, body: &Value) -> Result<String, EngineError> {
        let call = "create the container";
        // Known from 1.41 on; an older engine makes containers of its own platform only.
        let platform = match platform {
            Some(platform) if (1, 41) <= self.api().await? => platform,
            _ => "",
        };
        let query = query(&[("name", names::plain(call, name)?), ("platform", platform)]);
        let path = format!("/containers/create?{query}");
        let limit = self.limits.change;
        let answer = self.send(call, Method::POST, &path, Some(body), limit).await?;
        let answer = parsed(call, &answer)?;
        let id = answer.get("Id").and_then(Value::as_str).unwrap_or_default();
        Ok(names::plain(call, id)?.to_owned())
    }

    async fn connect(&self, network: &str, container: &str, endpoint: &Value) -> Result<(), EngineError> {
        let call = "connect the container to a network";
        let network = names::plain(call, network)?;
        let body = json!({"Container": names::plain(call, container)?, "EndpointConfig": endpoint});
        self.post(call, &format!("/networks/{network}/connect"), Some(&body))
            .await
    }

    async fn disconnect(&self, network: &str, container: &str) -> Result<(), EngineError> {
        let call = "take the container off a network";
        let network = names::plain(call, network)?;
        let body = json!({"Container": names::plain(call, container)?, "Force": false});
        self.post(call, &format!("/networks/{network}/disconnect"), Some(&body))
            .await
    }

    async fn set_restart_policy(&self, container: &str, policy: &Value) -> Result<bool, EngineError> {
        let call = "set the restart policy";
        let name = names::plain(call, container)?;
        let body = json!({"RestartPolicy": policy});
        let set = self
            .post(call, &format!("/containers/{name}/update"), Some(&body))
            .await;
        match set {
            Ok(()) => Ok(true),
            // Podman's compatible API has no such route before version 5: it answers as for any unknown path.
            Err(
                EngineError::NotFound { .. }
                | EngineError::Refused {
                    status: 405 | 501, ..
                },
            ) if self.kind() == EngineKind::Podman => self.inspect(container).await.map(|_| false),
            Err(error) => Err(error),
        }
    }

    async fn start(&self, container: &str) -> Result<(), EngineError> {
        let call = "start the container";
        let name = names::plain(call, container)?;
        self.post(call, &format!("/containers/{name}/start"), None).await
    }

    async fn stop(&self, container: &str, timeout_s: Option<u32>) -> Result<(), EngineError> {
        self.post_stopping("stop the container", "stop", container, timeout_s)
            .await
    }

    async fn restart(&self, container: &str, timeout_s: Option<u32>) -> Result<(), EngineError> {
        self.post_stopping("restart the container", "restart", container, timeout_s)
            .await
    }

    async fn pause(&self, container: &str) -> Result<(), EngineError> {
        let call = "pause the container";
        let name = names::plain(call, container)?;
        self.post(call, &format!("/containers/{name}/pause"), None).await
    }

    async fn unpause(&self, container: &str) -> Result<(), EngineError> {
        let call = "unpause the container";
        let name = names::plain(call, container)?;
        self.post(call, &format!("/containers/{name}/unpause"), None)
            .await
    }

    async fn remove(&self, container: &str, force: bool) -> Result<(), EngineError> {
        let call = "remove the container";
        let name = names::plain(call, container)?;
        let path = format!("/containers/{name}?v=false&force={force}");
        let limit = self.limits.change;
        self.send(call, Method::DELETE, &path, None, limit)
            .await
            .map(drop)
    }

    async fn logs(
        &self,
        container: &str,
        range: &LogRange,
        bytes_max: usize,
    ) -> Result<Vec<LogChunk>, EngineError> {
        let name = names::plain("read the log", container)?;
        let api = self.api().await?;
        let limit = self.limits.read;
        logs::read(&self.endpoint.socket, api, name, range, bytes_max, limit).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_that_both_know_is_spoken() {
        let said = |new: &str, old: &str| json!({"ApiVersion": new, "MinAPIVersion": old});
        assert_eq!(negotiate(&said("1.41", "1.12")).ok(), Some((1, 41)));
        assert_eq!(negotiate(&said("1.99", "1.44")).ok(), Some(API_MAX));
        assert_eq!(negotiate(&json!({"ApiVersion": "1.40"})).ok(), Some((1, 40)));
        for (new, old) in [("1.39", "1.12"), ("1.99", "1.98"), ("", ""), ("x.y", "1.1")] {
            let refused = negotiate(&said(new, old)).expect_err("spoken all the same");
            println!("{refused}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_engine_that_hangs_costs_each_of_many_calls_its_own_time_alone() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("engine.sock");
        let _listening = tokio::net::UnixListener::bind(&socket).unwrap();
        let client = Client::new(&Endpoint {
            key: ResourceKey::new("runtime:docker"),
            kind: EngineKind::Docker,
            socket: camino::Utf8PathBuf::from_path_buf(socket).unwrap(),
        });
        let began = tokio::time::Instant::now();
        let calls = (0..20).map(|_| client.containers());
        for answer in futures::future::join_all(calls).await {
            assert!(matches!(answer, Err(EngineError::TimedOut { .. })), "{answer:?}");
        }
        assert!(
            began.elapsed() < 2 * Limits::default().read,
            "{:?}",
            began.elapsed()
        );
    }
}
