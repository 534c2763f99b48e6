//! Reads an engine: over the API that is Docker's, and over Podman's own where that says more.
//!
//! Podman's own API tells of pods and of the command that made a container; its API that is Docker's costs it less to
//! answer, as it does not measure what a container has written. What is inspected stays the JSON it is: what is made of
//! it is the same for a recording, and models of all that an engine could say would be a fifth of the agent's memory.

mod podman;

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::{Client, Endpoint, Engine as _, EngineError, EngineKind, Limits};

/// How long a single answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(6);

/// A container in the engine's list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    /// Its id.
    pub(crate) id: String,
    /// Changes when its state does.
    pub(crate) marker: String,
    /// The pod that it is part of.
    pub(crate) pod: Option<String>,
}

/// What an engine says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct About {
    pub(crate) version: Option<String>,
    pub(crate) api_version: Option<String>,
    pub(crate) storage_driver: Option<String>,
    pub(crate) root_dir: Option<String>,
    pub(crate) is_rootless: Option<bool>,
}

/// An engine that has answered.
#[derive(Debug, Clone)]
pub(crate) struct Reader {
    docker: Arc<Client>,
    podman: Option<podman::Own>,
}

/// Whether an engine belongs to a user: Podman says so in a field of its own, Docker among its security options.
fn is_rootless(info: &Value) -> bool {
    let options = info["SecurityOptions"].as_array().into_iter().flatten();
    let mut options = options.filter_map(Value::as_str);
    info["Rootless"] == true || options.any(|option| option.contains("rootless"))
}

/// Why a question was not answered.
#[derive(Debug)]
pub(crate) enum Unanswered {
    /// There is no such thing any more.
    Gone,
    /// In words.
    Failed(String),
}

impl From<EngineError> for Unanswered {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::NotFound { .. } => Self::Gone,
            error => Self::Failed(muster_base::ErrorChain(&error).to_string()),
        }
    }
}

impl Reader {
    /// Connects, and agrees on a version of the API.
    pub(crate) async fn connect(endpoint: &Endpoint) -> Result<Self, Unanswered> {
        let limits = Limits {
            read: ANSWER_MAX,
            ..Limits::default()
        };
        let docker = Client::with_limits(endpoint, limits);
        let docker = Arc::new(docker);
        let said = docker.version().await?;
        let podman = match endpoint.kind {
            EngineKind::Docker => None,
            EngineKind::Podman => Some(podman::Own::new(&docker, &said)),
        };
        Ok(Self { docker, podman })
    }

    /// The version of Docker's API that is spoken with it.
    pub(crate) async fn spoken(&self) -> Result<(usize, usize), Unanswered> {
        Ok(self.docker.spoken().await?)
    }

    /// What the engine says of itself.
    pub(crate) async fn about(&self) -> Result<About, Unanswered> {
        let said = self.docker.version().await?;
        let info = self.docker.info().await?;
        let text = |value: &Value, name: &str| Some(value.get(name)?.as_str()?.to_owned());
        Ok(About {
            version: text(&said, "Version"),
            api_version: text(&said, "ApiVersion"),
            storage_driver: text(&info, "Driver"),
            root_dir: text(&info, "DockerRootDir"),
            is_rootless: Some(is_rootless(&info)),
        })
    }

    /// All containers, running or not.
    pub(crate) async fn containers(&self) -> Result<Vec<Row>, Unanswered> {
        match &self.podman {
            Some(podman) => podman.containers().await,
            None => Ok(self.docker.containers().await?.iter().filter_map(row).collect()),
        }
    }

    /// A container.
    pub(crate) async fn inspect(&self, id: &str) -> Result<Value, Unanswered> {
        Ok(self.docker.inspect(id).await?)
    }

    /// The command that made a container, which only Podman keeps.
    pub(crate) async fn create_command(&self, id: &str) -> Result<Vec<String>, Unanswered> {
        match &self.podman {
            Some(podman) => podman.create_command(id).await,
            None => Ok(Vec::new()),
        }
    }

    /// All images.
    pub(crate) async fn images(&self) -> Result<Vec<Value>, Unanswered> {
        // Both tell digests without being asked for them; asked, Podman 4.3 breaks off.
        Ok(self.docker.images().await?)
    }

    /// An image.
    pub(crate) async fn inspect_image(&self, id: &str) -> Result<Value, Unanswered> {
        Ok(self.docker.inspect_image(id).await?)
    }

    /// What a container uses, as the engine measures it, once.
    pub(crate) async fn stats(&self, id: &str) -> Result<Option<Value>, Unanswered> {
        Ok(self.docker.stats(id).await?)
    }
}

/// A container in Docker's list.
fn row(listed: &Value) -> Option<Row> {
    // `Up 3 minutes (healthy)`: only what is in brackets changes by itself and means something.
    let status = listed.get("Status").and_then(Value::as_str).unwrap_or_default();
    let remark = status.split_once('(').map_or("", |(_, remark)| remark);
    Some(Row {
        id: listed.get("Id")?.as_str()?.to_owned(),
        marker: format!(
            "{} {} {}",
            listed.get("State").unwrap_or(&Value::Null),
            listed.get("Names").unwrap_or(&Value::Null),
            remark.split(')').next().unwrap_or_default()
        ),
        pod: None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// As Podman 4.3 and Docker 20.10 said it.
    #[test]
    fn an_engine_of_a_user_is_known_by_its_own_word_for_it() {
        let podman =
            |is_users| json!({"Rootless": is_users, "SecurityOptions": ["name=seccomp,profile=default"]});
        assert!(is_rootless(&podman(true)));
        assert!(!is_rootless(&podman(false)));
        assert!(is_rootless(
            &json!({"SecurityOptions": ["name=seccomp,profile=default", "name=rootless"]})
        ));
        assert!(!is_rootless(&json!({"SecurityOptions": ["name=apparmor"]})));
        assert!(!is_rootless(&json!({})));
    }
}
