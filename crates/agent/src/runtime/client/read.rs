//! What only reading asks of an engine.

use hyper::Method;
use serde_json::Value;

use super::{BYTES_MAX, Client, LIBPOD, names, parsed, wire};
use crate::runtime::EngineError;

impl Client {
    /// The version that is spoken with the engine.
    pub(crate) async fn spoken(&self) -> Result<(usize, usize), EngineError> {
        self.api().await
    }

    /// What a container uses, as the engine measures it, once; `None` where the engine says nothing.
    pub(crate) async fn stats(&self, container: &str) -> Result<Option<Value>, EngineError> {
        let call = "measure the container";
        let name = names::plain(call, container)?;
        let path = format!("/containers/{name}/stats?stream=false&one-shot=true");
        let body = self
            .send(call, Method::GET, &path, None, self.limits.read)
            .await?;
        if body.trim_ascii().is_empty() {
            return Ok(None);
        }
        parsed(call, &body).map(Some)
    }

    /// Where the engine listens.
    #[cfg(feature = "podman-api")]
    pub(crate) fn socket(&self) -> &camino::Utf8Path {
        &self.endpoint.socket
    }

    /// The version in which Podman's own API is spoken with an engine that says `said` of its version.
    pub(crate) fn podman_version(said: &Value) -> &str {
        podman_version(said).unwrap_or(LIBPOD)
    }

    /// A container as Podman's own API tells of it: the API that is Docker's leaves out what command made it.
    pub(crate) async fn inspect_by_podman(
        &self,
        container: &str,
        version: &str,
    ) -> Result<Value, EngineError> {
        let call = "inspect the container with Podman's API";
        let name = names::plain(call, container)?;
        self.ask_podman(call, version, &format!("/containers/{name}/json"))
            .await
    }

    /// All containers as Podman's own API tells of them: with their pods, and without measuring what each has written.
    #[cfg(not(feature = "podman-api"))]
    pub(crate) async fn list_by_podman(&self, version: &str) -> Result<Vec<Value>, EngineError> {
        let call = "list the containers with Podman's API";
        let listed = self
            .ask_podman(call, version, "/containers/json?all=true")
            .await?;
        super::as_list(call, listed)
    }

    async fn ask_podman(&self, call: &'static str, version: &str, path: &str) -> Result<Value, EngineError> {
        let ask = wire::Ask {
            call,
            method: Method::GET,
            path: format!("/v{version}/libpod{path}"),
            body: None,
            auth: None,
            limit: self.limits.read,
            bytes_max: BYTES_MAX,
        };
        parsed(call, &wire::send(&self.endpoint.socket, ask).await?)
    }
}

/// The version of Podman's own API, which is no other than Podman's: digits and dots.
fn podman_version(said: &Value) -> Option<&str> {
    let components = said.get("Components")?.as_array()?;
    let own = components
        .iter()
        .find(|component| component.get("Name").and_then(Value::as_str) == Some("Podman Engine"))?;
    let version = own.pointer("/Details/APIVersion")?.as_str()?;
    // `5.0.0-dev+1` is spoken to as 5.0.0.
    let version = version.split(['-', '+']).next()?;
    let is_good = !version.is_empty() && version.chars().all(|c| c.is_ascii_digit() || c == '.');
    is_good.then_some(version)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn podmans_version_is_taken_from_its_component_and_leads_nowhere_else() {
        let said = |version: &str| {
            json!({"Components": [
                {"Name": "Conmon", "Details": {}},
                {"Name": "Podman Engine", "Details": {"APIVersion": version}},
            ]})
        };
        assert_eq!(podman_version(&said("4.3.1")), Some("4.3.1"));
        assert_eq!(podman_version(&said("5.0.0-dev")), Some("5.0.0"));
        assert_eq!(podman_version(&said("5.0.0+1")), Some("5.0.0"));
        for none in [
            said(""),
            said("../x"),
            said("-"),
            json!({}),
            json!({"Components": 1}),
        ] {
            assert_eq!(podman_version(&none), None, "{none}");
        }
    }
}
