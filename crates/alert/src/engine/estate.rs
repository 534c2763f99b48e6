//! What is known of servers and resources: names for people, whether a server is heard, and what rests on what.

use std::collections::{HashMap, HashSet, VecDeque};

use muster_model::ResourceKind;

use crate::{ResourceRef, ServerRef};

/// Most resources that are looked at to find what rests on what.
const WALK_MAX: usize = 2_000;

/// What the engine is told of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFacts {
    /// Its host name.
    pub name: String,
    /// Its tags.
    pub tags: Vec<String>,
}

/// What the engine is told of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceFacts {
    /// Its number.
    pub id: i64,
    /// What it is.
    pub kind: ResourceKind,
    /// Its name now.
    pub name: String,
}

#[derive(Debug, Default)]
pub(super) struct Estate {
    servers: HashMap<i64, Server>,
    resources: HashMap<i64, Resource>,
}

#[derive(Debug)]
struct Server {
    facts: ServerFacts,
    /// `None`: not known yet.
    is_connected: Option<bool>,
    connected_t: i64,
    resources: HashSet<i64>,
}

#[derive(Debug)]
struct Resource {
    facts: ResourceFacts,
    server: i64,
    rests_on: Vec<i64>,
    carries: Vec<i64>,
}

impl Estate {
    /// Returns whether the server is new, or anything of it changed that rules look at.
    pub(super) fn set_server(&mut self, id: i64, facts: ServerFacts) -> bool {
        match self.servers.get_mut(&id) {
            Some(server) if server.facts == facts => false,
            Some(server) => {
                server.facts = facts;
                true
            }
            None => {
                let server = Server {
                    facts,
                    is_connected: None,
                    connected_t: 0,
                    resources: HashSet::new(),
                };
                self.servers.insert(id, server);
                true
            }
        }
    }

    pub(super) fn remove_server(&mut self, id: i64) -> Vec<i64> {
        let Some(server) = self.servers.remove(&id) else {
            return Vec::new();
        };
        for resource in &server.resources {
            self.resources.remove(resource);
        }
        server.resources.into_iter().collect()
    }

    pub(super) fn set_connected(&mut self, id: i64, is_connected: bool, t: i64) {
        if let Some(server) = self.servers.get_mut(&id) {
            if is_connected && server.is_connected != Some(true) {
                server.connected_t = t;
            }
            server.is_connected = Some(is_connected);
        }
    }

    /// Whether the server is known to be lost.
    pub(super) fn is_lost(&self, id: i64) -> bool {
        self.servers
            .get(&id)
            .is_some_and(|server| server.is_connected == Some(false))
    }

    /// Since when the server is heard without a break, if it is.
    pub(super) fn connected_t(&self, id: i64) -> Option<i64> {
        let server = self.servers.get(&id)?;
        (server.is_connected == Some(true)).then_some(server.connected_t)
    }

    pub(super) fn server(&self, id: i64) -> Option<&ServerFacts> {
        self.servers.get(&id).map(|server| &server.facts)
    }

    /// Sets all that a server has and what rests on what; returns what it has no more.
    pub(super) fn set_resources(
        &mut self,
        server: i64,
        resources: Vec<ResourceFacts>,
        rests_on: &[(i64, i64)],
    ) -> Vec<i64> {
        let Some(known) = self.servers.get_mut(&server) else {
            return Vec::new();
        };
        let ids: HashSet<i64> = resources.iter().map(|resource| resource.id).collect();
        let gone: Vec<i64> = known.resources.difference(&ids).copied().collect();
        known.resources = ids;
        for id in &gone {
            self.resources.remove(id);
        }
        for facts in resources {
            let resource = Resource {
                server,
                rests_on: Vec::new(),
                carries: Vec::new(),
                facts,
            };
            self.resources.insert(resource.facts.id, resource);
        }
        for (upper, lower) in rests_on {
            if let Some(resource) = self.resources.get_mut(upper) {
                resource.rests_on.push(*lower);
            }
            if let Some(resource) = self.resources.get_mut(lower) {
                resource.carries.push(*upper);
            }
        }
        gone
    }

    pub(super) fn server_ref(&self, id: i64) -> ServerRef {
        match self.servers.get(&id) {
            Some(server) => ServerRef {
                id,
                name: server.facts.name.clone(),
                tags: server.facts.tags.clone(),
            },
            None => ServerRef {
                id,
                name: format!("server {id}"),
                tags: Vec::new(),
            },
        }
    }

    pub(super) fn resource_ref(&self, id: i64, kind: ResourceKind) -> ResourceRef {
        match self.resources.get(&id) {
            Some(resource) => ResourceRef {
                id,
                kind: resource.facts.kind,
                name: resource.facts.name.clone(),
            },
            None => ResourceRef {
                id,
                kind,
                name: format!("{} {id}", kind.as_str()),
            },
        }
    }

    /// Whether the server has told of this resource.
    pub(super) fn has_resource(&self, server: i64, resource: i64) -> bool {
        self.resources
            .get(&resource)
            .is_some_and(|known| known.server == server)
    }

    /// All that a resource rests on, without itself, the nearest first.
    pub(super) fn below(&self, resource: i64) -> Vec<i64> {
        self.walk(resource, |resource| &resource.rests_on)
    }

    /// All that rests on a resource, without itself, the nearest first.
    pub(super) fn above(&self, resource: i64) -> Vec<i64> {
        self.walk(resource, |resource| &resource.carries)
    }

    fn walk(&self, from: i64, next: impl Fn(&Resource) -> &Vec<i64>) -> Vec<i64> {
        let mut seen = HashSet::from([from]);
        let mut queue = VecDeque::from([from]);
        let mut found = Vec::new();
        while let Some(id) = queue.pop_front() {
            let Some(resource) = self.resources.get(&id) else {
                continue;
            };
            for other in next(resource) {
                if found.len() < WALK_MAX && seen.insert(*other) {
                    found.push(*other);
                    queue.push_back(*other);
                }
            }
        }
        found
    }
}
