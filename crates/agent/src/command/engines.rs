//! Engines where they are known to listen.

use std::sync::Arc;

use async_trait::async_trait;
use camino::Utf8PathBuf;
use muster_model::ResourceKey;

use super::Engines;
use crate::runtime::{Client, Endpoint, Engine, EngineKind};

/// Finds the sockets that Docker and Podman have by themselves.
#[derive(Debug, Clone, Copy)]
pub struct WellKnown;

#[async_trait]
impl Engines for WellKnown {
    async fn engine(&self, key: &ResourceKey) -> Option<Arc<dyn Engine>> {
        let (kind, socket) = socket_of(key.as_str())?;
        let endpoint = Endpoint {
            key: key.clone(),
            kind,
            socket,
        };
        endpoint
            .socket
            .exists()
            .then(|| Arc::new(Client::new(&endpoint)) as Arc<dyn Engine>)
    }
}

fn socket_of(key: &str) -> Option<(EngineKind, Utf8PathBuf)> {
    match key {
        "runtime:docker" => return Some((EngineKind::Docker, "/run/docker.sock".into())),
        "runtime:podman" => return Some((EngineKind::Podman, "/run/podman/podman.sock".into())),
        _ => {}
    }
    let name = key.strip_prefix("runtime:podman:")?;
    let user = nix::unistd::User::from_name(name).ok()??;
    let socket = format!("/run/user/{}/podman/podman.sock", user.uid);
    Some((EngineKind::Podman, socket.into()))
}
