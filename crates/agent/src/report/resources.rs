//! What all collectors together say of resources, and which of it the controller does not know yet.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use muster_model::{Health, Inventory, Link, Resource, ResourceKey, ResourceKind, limits};

use super::bounds::{Problems, fit_resource};
use super::problem;
use crate::collect::block;
use crate::packed::Packed;

/// After so many failed runs in a row nobody may rely on what the collector said before.
const FAILURES_MAX: u32 = 3;

type ByKey = BTreeMap<ResourceKey, Resource>;

/// The resources of every collector as last seen.
#[derive(Debug, Default)]
pub(super) struct Resources {
    collectors: BTreeMap<&'static str, Seen>,
    changed: BTreeSet<ResourceKey>,
    sets_changed: BTreeSet<&'static str>,
    /// Something changed that alerts depend on.
    is_urgent: bool,
    /// Other disks are there than before, or under other names.
    have_disks_changed: bool,
}

#[derive(Debug, Default)]
struct Seen {
    resources: BTreeMap<ResourceKey, Packed>,
    links: BTreeSet<Link>,
    failures: u32,
}

impl Seen {
    /// Which disk has which name.
    fn disks(&self) -> impl Iterator<Item = (&ResourceKey, String)> {
        self.resources.iter().filter_map(|(key, resource)| {
            let unpacked = resource.unpack();
            let resource = unpacked.read();
            (resource.kind == ResourceKind::Device).then(|| (key, resource.name.to_owned()))
        })
    }

    fn is_doubtful(&self) -> bool {
        FAILURES_MAX <= self.failures
    }
}

impl Resources {
    /// Takes the full set that a collector saw.
    pub(super) fn seen(
        &mut self,
        collector: &'static str,
        resources: Vec<Resource>,
        links: Vec<Link>,
        problems: &mut Problems,
    ) {
        let now = Seen {
            resources: packed(by_key(collector, resources, problems)),
            links: links.into_iter().filter(is_sendable).collect(),
            failures: 0,
        };
        let before = match self.collectors.entry(collector) {
            Entry::Occupied(mut entry) => entry.insert(now),
            Entry::Vacant(entry) => {
                // The first full set of an epoch is always told: what was there before may be gone.
                self.sets_changed.insert(collector);
                self.is_urgent = true;
                entry.insert(now);
                Seen::default()
            }
        };
        let now = &self.collectors[collector];
        if collector == block::DESCRIPTOR.name && !before.resources.is_empty() {
            self.have_disks_changed |= !now.disks().eq(before.disks());
        }
        let same_keys = now.resources.keys().eq(before.resources.keys());
        if !same_keys || now.links != before.links {
            self.sets_changed.insert(collector);
            self.is_urgent = true;
        }
        let was_doubtful = before.is_doubtful();
        // A collector that can read again is news, as its failure was.
        self.is_urgent |= 0 < before.failures;
        for (key, resource) in &now.resources {
            let known = before.resources.get(key);
            if was_doubtful || known != Some(resource) {
                self.changed.insert(key.clone());
            }
            let known = known.filter(|known| *known != resource);
            self.is_urgent |= known.is_some_and(|known| {
                let (before, now) = (known.unpack(), resource.unpack());
                let (before, now) = (before.read(), now.read());
                (before.health, before.health_reasons) != (now.health, now.health_reasons)
            });
        }
        let gone = before
            .resources
            .into_keys()
            .filter(|key| !now.resources.contains_key(key));
        self.changed.extend(gone);
    }

    /// Notes that a collector could say nothing. What it said before stays, but after a while none of it counts as
    /// healthy any more.
    pub(super) fn failed(&mut self, collector: &str) {
        let Some(seen) = self.collectors.get_mut(collector) else {
            return;
        };
        seen.failures = seen.failures.saturating_add(1);
        // The first one, and the one from which on nothing it said counts.
        self.is_urgent |= seen.failures == 1 || seen.failures == FAILURES_MAX;
        if seen.failures == FAILURES_MAX {
            let doubted = seen.resources.iter();
            let doubted =
                doubted.filter(|(_, resource)| resource.unpack().read().health == Some(Health::Healthy));
            self.changed.extend(doubted.map(|(key, _)| key.clone()));
        }
    }

    /// Whether disks came, went or swapped names since the last call. Those of the first look are no news.
    pub(super) fn take_disks_changed(&mut self) -> bool {
        std::mem::take(&mut self.have_disks_changed)
    }

    /// Makes everything be told again.
    pub(super) fn forget_said(&mut self) {
        for (collector, seen) in &self.collectors {
            self.sets_changed.insert(collector);
            self.changed.extend(seen.resources.keys().cloned());
        }
    }

    /// Whether something changed since the last call that alerts depend on: a resource came, went, or is otherwise
    /// well than before, or a collector failed or recovered.
    pub(super) fn take_urgent(&mut self) -> bool {
        std::mem::take(&mut self.is_urgent)
    }

    /// Resources that changed since the last call, as all collectors together describe them.
    pub(super) fn take_changed(&mut self, problems: &mut Problems) -> Vec<Resource> {
        let changed = std::mem::take(&mut self.changed);
        let mut resources: Vec<Resource> = changed.iter().filter_map(|key| self.merged(key)).collect();
        resources.retain_mut(|resource| fit_resource("report", resource, problems));
        resources
    }

    /// Full sets that changed since the last call.
    pub(super) fn take_inventories(&mut self, observed_ms: i64) -> Vec<Inventory> {
        let changed = std::mem::take(&mut self.sets_changed);
        let inventories = changed.into_iter().filter_map(|collector| {
            let seen = self.collectors.get(collector)?;
            Some(Inventory {
                collector: collector.to_owned(),
                observed_ms,
                keys: seen.resources.keys().cloned().collect(),
                links: seen.links.iter().cloned().collect(),
            })
        });
        inventories.collect()
    }

    fn merged(&self, key: &ResourceKey) -> Option<Resource> {
        let mut merged: Option<Resource> = None;
        for (collector, seen) in &self.collectors {
            let Some(resource) = seen.resources.get(key) else {
                continue;
            };
            let mut resource = resource.resource();
            if seen.is_doubtful() && resource.health == Some(Health::Healthy) {
                resource.health = Some(Health::Unknown);
                resource
                    .health_reasons
                    .push(format!("{collector} could not be read lately"));
            }
            match &mut merged {
                Some(merged) => merged.merge(resource),
                None => merged = Some(resource),
            }
        }
        merged
    }
}

fn packed(resources: ByKey) -> BTreeMap<ResourceKey, Packed> {
    let pack = |(key, resource)| (key, Packed::from(&resource));
    resources.into_iter().map(pack).collect()
}

fn by_key(collector: &str, resources: Vec<Resource>, problems: &mut Problems) -> ByKey {
    let mut by_key = ByKey::new();
    let mut left_out = 0_usize;
    for mut resource in resources {
        if !fit_resource(collector, &mut resource, problems) {
            continue;
        }
        let is_full = limits::RESOURCES_PER_COLLECTOR_MAX <= by_key.len();
        match by_key.entry(resource.key.clone()) {
            Entry::Occupied(mut entry) => entry.get_mut().merge(resource),
            Entry::Vacant(_) if is_full => left_out += 1,
            Entry::Vacant(entry) => {
                entry.insert(resource);
            }
        }
    }
    if 0 < left_out {
        let message = format!(
            "{left_out} resources beyond {} are not sent",
            limits::RESOURCES_PER_COLLECTOR_MAX
        );
        problems.push(problem(collector, message));
    }
    by_key
}

/// A link to a key that can't be sent would make the controller refuse the whole report.
fn is_sendable(link: &Link) -> bool {
    [&link.from, &link.to]
        .into_iter()
        .all(|key| (1..=limits::RESOURCE_KEY_BYTES_MAX).contains(&key.as_str().len()))
}
