//! The engines of this server as commands and updates reach them: those that are also looked at.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use muster_model::ResourceKey;
use parking_lot::Mutex;

use super::Engines;
use crate::config::collect::Containers;
use crate::host::Host;
use crate::runtime::{Client, Endpoint, Engine, discover};
use crate::update;

/// Where an engine listens, and who speaks to it.
type Reached = (Endpoint, Arc<dyn Engine>);

/// The engines that there seemed to be when somebody last looked.
pub(super) struct Known {
    host: Host,
    settings: Containers,
    found: Mutex<BTreeMap<ResourceKey, Reached>>,
}

impl Known {
    /// Nobody has looked yet.
    pub(super) fn new(host: Host, settings: Containers) -> Self {
        Self {
            host,
            settings,
            found: Mutex::default(),
        }
    }

    /// Looks again. An engine that is where it was keeps its client.
    pub(super) async fn look(&self) {
        let endpoints = discover::discover(&self.host, &self.settings).await;
        let mut found = self.found.lock();
        let mut before = std::mem::take(&mut *found);
        for endpoint in endpoints {
            let kept = before.remove(&endpoint.key).filter(|(was, _)| *was == endpoint);
            let engine = kept.map_or_else(
                || Arc::new(Client::new(&endpoint)) as Arc<dyn Engine>,
                |(_, engine)| engine,
            );
            found.insert(endpoint.key.clone(), (endpoint, engine));
        }
    }
}

#[async_trait]
impl Engines for Known {
    async fn engine(&self, key: &ResourceKey) -> Option<Arc<dyn Engine>> {
        if let Some(engine) = update::Engines::find(self, key) {
            return Some(engine);
        }
        // It may have come since somebody last looked.
        self.look().await;
        update::Engines::find(self, key)
    }
}

impl update::Engines for Known {
    fn find(&self, key: &ResourceKey) -> Option<Arc<dyn Engine>> {
        self.found.lock().get(key).map(|(_, engine)| Arc::clone(engine))
    }
}
