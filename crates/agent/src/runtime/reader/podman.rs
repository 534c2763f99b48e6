//! What only Podman's own API tells: the pods of containers, and the command that made one.
//!
//! The client that speaks Docker's API asks for it. With the feature `podman-api` the crate of that name asks for the
//! list, which is all that it is good for here: what it says of a container are models that drop what they do not know
//! (docs/adr/0020).

use std::sync::Arc;

use serde_json::Value;

use super::{Row, Unanswered};
use crate::runtime::Client;

/// Podman's own API.
#[derive(Debug, Clone)]
pub(super) struct Own {
    client: Arc<Client>,
    /// Which version of it is spoken.
    version: Arc<str>,
}

impl Own {
    /// `said` is what the engine says of its version.
    pub(super) fn new(client: &Arc<Client>, said: &Value) -> Self {
        Self {
            client: Arc::clone(client),
            version: Client::podman_version(said).into(),
        }
    }

    /// All containers, running or not.
    #[cfg(not(feature = "podman-api"))]
    pub(super) async fn containers(&self) -> Result<Vec<Row>, Unanswered> {
        let listed = self.client.list_by_podman(&self.version).await?;
        Ok(listed.iter().filter_map(row).collect())
    }

    /// All containers, running or not.
    #[cfg(feature = "podman-api")]
    pub(super) async fn containers(&self) -> Result<Vec<Row>, Unanswered> {
        library::containers(self.client.socket()).await
    }

    /// The command that made a container.
    pub(super) async fn create_command(&self, id: &str) -> Result<Vec<String>, Unanswered> {
        let found = self.client.inspect_by_podman(id, &self.version).await?;
        let command = found.pointer("/Config/CreateCommand").and_then(Value::as_array);
        let words = command.into_iter().flatten().filter_map(Value::as_str);
        Ok(words.map(str::to_owned).collect())
    }
}

/// A container in Podman's own list.
#[cfg(not(feature = "podman-api"))]
fn row(listed: &Value) -> Option<Row> {
    let said = |name: &str| listed.get(name).unwrap_or(&Value::Null);
    let mut pods = ["PodName", "Pod"]
        .into_iter()
        .filter_map(|name| said(name).as_str());
    Some(Row {
        id: said("Id").as_str()?.to_owned(),
        marker: format!("{} {} {}", said("State"), said("Status"), said("StartedAt")),
        pod: pods.find(|pod| !pod.is_empty()).map(str::to_owned),
    })
}

#[cfg(feature = "podman-api")]
mod library {
    use camino::Utf8Path;
    use podman_api::Podman;
    use podman_api::models::ListContainer;
    use podman_api::opts::ContainerListOpts;

    use super::super::ANSWER_MAX;
    use super::{Row, Unanswered};

    impl From<podman_api::Error> for Unanswered {
        fn from(error: podman_api::Error) -> Self {
            Self::Failed(muster_base::ErrorChain(&error).to_string())
        }
    }

    /// All containers as the crate tells of them. It reads answers of any length.
    pub(super) async fn containers(socket: &Utf8Path) -> Result<Vec<Row>, Unanswered> {
        let listed = tokio::time::timeout(ANSWER_MAX, list(socket)).await;
        let listed =
            listed.map_err(|_| Unanswered::Failed(format!("no list of containers in {ANSWER_MAX:?}")))??;
        let rows = listed.into_iter().filter_map(|listed| {
            let pod = listed
                .pod_name
                .into_iter()
                .chain(listed.pod)
                .find(|pod| !pod.is_empty());
            Some(Row {
                id: listed.id?,
                marker: format!("{:?} {:?} {:?}", listed.state, listed.status, listed.started_at),
                pod,
            })
        });
        Ok(rows.collect())
    }

    async fn list(socket: &Utf8Path) -> podman_api::Result<Vec<ListContainer>> {
        let mut podman = Podman::unix(socket.as_std_path());
        podman.adjust_api_version().await?;
        let all = ContainerListOpts::builder().all(true).build();
        podman.containers().list(&all).await
    }
}

#[cfg(all(test, not(feature = "podman-api")))]
mod tests {
    use serde_json::json;

    #[test]
    fn a_container_of_podmans_list_is_told_with_its_pod_and_changes_with_its_state() {
        let row = |state: &str, pod_name: &str, pod: &str| {
            let listed = json!({"Id": "a1", "State": state, "Status": "", "StartedAt": 5,
                "PodName": pod_name, "Pod": pod, "Labels": null});
            super::row(&listed).unwrap()
        };
        let running = row("running", "web", "p1");
        assert_eq!((running.id.as_str(), running.pod.as_deref()), ("a1", Some("web")));
        assert_ne!(running.marker, row("exited", "web", "p1").marker);
        assert_eq!(row("running", "", "p1").pod.as_deref(), Some("p1"));
        assert_eq!(row("running", "", "").pod, None);
        assert_eq!(super::row(&json!({"Names": ["nameless"]})), None);
    }
}
