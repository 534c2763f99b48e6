//! Reads an engine: Docker with bollard, Podman with podman-api and, where both say the same, with bollard too.
//!
//! Podman's own API tells of pods and of the command that made a container; its API that is Docker's costs it less to
//! answer, as it does not measure what a container has written. What was read is handed on as JSON: what is made of it
//! is the same for a recording.

use bollard::Docker;
use bollard::query_parameters::{
    InspectContainerOptions, ListContainersOptionsBuilder, ListImagesOptions, StatsOptionsBuilder,
};
use futures::TryStreamExt as _;
use podman_api::Podman;
use podman_api::opts::ContainerListOpts;
use serde_json::Value;

use super::{Endpoint, EngineKind};

/// How long a single answer may take, in seconds.
const ANSWER_MAX_S: u64 = 6;

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
    docker: Docker,
    podman: Option<Podman>,
}

/// Why a question was not answered.
#[derive(Debug)]
pub(crate) enum Unanswered {
    /// There is no such thing any more.
    Gone,
    /// In words.
    Failed(String),
}

impl From<bollard::errors::Error> for Unanswered {
    fn from(error: bollard::errors::Error) -> Self {
        match error {
            bollard::errors::Error::DockerResponseServerError { status_code: 404, .. } => Self::Gone,
            error => Self::Failed(format!("{}", muster_base::ErrorChain(&error))),
        }
    }
}

impl From<podman_api::Error> for Unanswered {
    fn from(error: podman_api::Error) -> Self {
        Self::Failed(format!("{}", muster_base::ErrorChain(&error)))
    }
}

impl From<serde_json::Error> for Unanswered {
    fn from(error: serde_json::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl Reader {
    /// Connects, and agrees on a version of the API.
    pub(crate) async fn connect(endpoint: &Endpoint) -> Result<Self, Unanswered> {
        let docker = Docker::connect_with_unix(
            endpoint.socket.as_str(),
            ANSWER_MAX_S,
            bollard::API_DEFAULT_VERSION,
        )?;
        let docker = docker.negotiate_version().await?;
        let podman = match endpoint.kind {
            EngineKind::Docker => None,
            EngineKind::Podman => {
                let mut podman = Podman::unix(endpoint.socket.as_std_path());
                podman.adjust_api_version().await?;
                Some(podman)
            }
        };
        Ok(Self { docker, podman })
    }

    /// The client that speaks Docker's API.
    pub(crate) fn docker(&self) -> &Docker {
        &self.docker
    }

    /// What the engine says of itself.
    pub(crate) async fn about(&self) -> Result<About, Unanswered> {
        let version = self.docker.version().await?;
        let info = self.docker.info().await?;
        let options = info.security_options.unwrap_or_default();
        Ok(About {
            version: version.version,
            api_version: version.api_version,
            storage_driver: info.driver,
            root_dir: info.docker_root_dir,
            is_rootless: Some(options.iter().any(|option| option.contains("rootless"))),
        })
    }

    /// All containers, running or not.
    pub(crate) async fn containers(&self) -> Result<Vec<Row>, Unanswered> {
        if let Some(podman) = &self.podman {
            let all = ContainerListOpts::builder().all(true).build();
            let listed = podman.containers().list(&all).await?;
            let rows = listed.into_iter().filter_map(|listed| {
                let pod = listed.pod_name.or(listed.pod).filter(|pod| !pod.is_empty());
                Some(Row {
                    id: listed.id?,
                    marker: format!("{:?} {:?} {:?}", listed.state, listed.status, listed.started_at),
                    pod,
                })
            });
            return Ok(rows.collect());
        }
        let all = ListContainersOptionsBuilder::default().all(true).build();
        let listed = self.docker.list_containers(Some(all)).await?;
        let rows = listed.into_iter().filter_map(|listed| {
            // `Up 3 minutes (healthy)`: only what is in brackets changes by itself and means something.
            let status = listed.status.unwrap_or_default();
            let remark = status.split_once('(').map_or("", |(_, remark)| remark);
            Some(Row {
                id: listed.id?,
                marker: format!(
                    "{:?} {:?} {}",
                    listed.state,
                    listed.names,
                    remark.split(')').next().unwrap_or_default()
                ),
                pod: None,
            })
        });
        Ok(rows.collect())
    }

    /// A container.
    pub(crate) async fn inspect(&self, id: &str) -> Result<Value, Unanswered> {
        let found = self
            .docker
            .inspect_container(id, None::<InspectContainerOptions>)
            .await?;
        Ok(serde_json::to_value(found)?)
    }

    /// The command that made a container, which only Podman keeps.
    pub(crate) async fn create_command(&self, id: &str) -> Result<Vec<String>, Unanswered> {
        let Some(podman) = &self.podman else {
            return Ok(Vec::new());
        };
        let found = podman.containers().get(id).inspect().await?;
        Ok(found
            .config
            .and_then(|config| config.create_command)
            .unwrap_or_default())
    }

    /// All images.
    pub(crate) async fn images(&self) -> Result<Vec<Value>, Unanswered> {
        // Both tell digests without being asked for them; asked, Podman 4.3 breaks off.
        let listed = self.docker.list_images(None::<ListImagesOptions>).await?;
        Ok(listed
            .into_iter()
            .map(serde_json::to_value)
            .collect::<Result<_, _>>()?)
    }

    /// An image.
    pub(crate) async fn inspect_image(&self, id: &str) -> Result<Value, Unanswered> {
        Ok(serde_json::to_value(self.docker.inspect_image(id).await?)?)
    }

    /// What a container uses, as the engine measures it, once.
    pub(crate) async fn stats(&self, id: &str) -> Result<Option<Value>, Unanswered> {
        let once = StatsOptionsBuilder::default()
            .stream(false)
            .one_shot(true)
            .build();
        let mut stream = std::pin::pin!(self.docker.stats(id, Some(once)));
        let first = stream.try_next().await?;
        Ok(first.map(serde_json::to_value).transpose()?)
    }
}
