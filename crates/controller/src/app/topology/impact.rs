//! What goes down when a resource dies: everything above it, each told apart by whether something keeps it alive.
//!
//! Pure. The effect on a resource is worked out from the effects on what it rests on, and only ever gets worse, so that
//! cycles end. What cannot be told is said to be unknown, never to be safe.

use std::collections::{HashMap, VecDeque};

use muster_base::id::ResourceId;
use muster_model::{ResourceKey, ResourceKind};

use super::graph::{Around, Graph, Reached};
use super::redundancy::{self, Below};
use crate::app::resources::ResourceView;

/// What becomes of a resource, from least to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effect {
    /// It lives on, with less to spare.
    Degraded,
    /// Whether it lives on cannot be told.
    Unknown,
    /// It is gone, or cannot be used.
    Lost,
}

impl Effect {
    /// The word in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Degraded => "degraded",
            Self::Unknown => "unknown",
            Self::Lost => "lost",
        }
    }
}

/// A resource that is hit.
#[derive(Debug, Clone, PartialEq)]
pub struct Affected {
    /// The resource, without raw documents.
    pub resource: ResourceView,
    /// What becomes of it.
    pub effect: Effect,
    /// Why, in words.
    pub reason: String,
    /// A shortest way to it: from what dies, which is not part of it, up to the resource itself, by id.
    pub path: Vec<ResourceId>,
}

/// A resource that the one asked about rests on.
#[derive(Debug, Clone, PartialEq)]
pub struct Supporting {
    /// The resource, without raw documents.
    pub resource: ResourceView,
    /// A shortest way down to it, by id, itself last.
    pub path: Vec<ResourceId>,
}

/// What goes down with a resource, and what it rests on.
#[derive(Debug, Clone, PartialEq)]
pub struct Impact {
    /// The resource that dies.
    pub resource: ResourceView,
    /// What is hit, layer by layer from below.
    pub affected: Vec<Affected>,
    /// What it rests on itself, layer by layer from above.
    pub rests_on: Vec<Supporting>,
    /// Keys of what rests on it, or on which it rests, that nobody described yet; sorted.
    pub undescribed: Vec<ResourceKey>,
    /// Whether there is more than one answer may have.
    pub is_truncated: bool,
}

/// Works it out.
pub(super) fn of(
    resource: ResourceView,
    graph: &Graph,
    around: &Around,
    known: &HashMap<ResourceKey, ResourceView>,
) -> Impact {
    let start = ResourceKey::new(resource.key.clone());
    let effects = effects(&start, graph, around, known);
    let mut undescribed: Vec<ResourceKey> = around
        .up
        .iter()
        .chain(&around.down)
        .filter(|key| !known.contains_key(*key) && **key != start)
        .cloned()
        .collect();
    undescribed.sort_unstable();
    undescribed.dedup();
    undescribed.truncate(super::UNDESCRIBED_MAX);
    let ids = |key: &ResourceKey, by: &HashMap<ResourceKey, Reached>| -> Vec<ResourceId> {
        let mut path = Vec::new();
        let mut at = Some(key);
        while let Some(key) = at.filter(|key| **key != start) {
            path.extend(known.get(key).map(|view| view.id));
            at = by.get(key).and_then(|reached| reached.by.as_ref());
        }
        path.reverse();
        path
    };
    let affected = around
        .up
        .iter()
        .filter(|key| **key != start)
        .filter_map(|key| {
            let (effect, reason) = effects.get(key)?.clone();
            Some(Affected {
                resource: known.get(key)?.clone(),
                effect,
                reason,
                path: ids(key, &around.up_by),
            })
        })
        .collect();
    let rests_on = around
        .down
        .iter()
        .filter(|key| **key != start)
        .filter_map(|key| {
            Some(Supporting {
                resource: known.get(key)?.clone(),
                path: ids(key, &around.down_by),
            })
        })
        .collect();
    Impact {
        resource,
        affected,
        rests_on,
        undescribed,
        is_truncated: around.is_truncated,
    }
}

type Effects = HashMap<ResourceKey, (Effect, String)>;

fn effects(
    start: &ResourceKey,
    graph: &Graph,
    around: &Around,
    known: &HashMap<ResourceKey, ResourceView>,
) -> Effects {
    let mut effects = Effects::from([(start.clone(), (Effect::Lost, String::new()))]);
    let mut waiting: VecDeque<&ResourceKey> = graph.above(start).iter().collect();
    while let Some(key) = waiting.pop_front() {
        if key == start || !around.up_by.contains_key(key) {
            continue;
        }
        let Some((effect, reason)) = effect_on(key, graph, known, &effects) else {
            continue;
        };
        // Only what got worse is told on, so that a cycle comes to rest.
        if effects.get(key).is_some_and(|(before, _)| effect <= *before) {
            continue;
        }
        effects.insert(key.clone(), (effect, reason));
        waiting.extend(graph.above(key));
    }
    effects
}

fn effect_on(
    key: &ResourceKey,
    graph: &Graph,
    known: &HashMap<ResourceKey, ResourceView>,
    effects: &Effects,
) -> Option<(Effect, String)> {
    let below: Vec<Below<'_>> = deciding(key, graph, known)
        .into_iter()
        .map(|lower| Below {
            key: lower,
            resource: known.get(lower),
            effect: effects.get(lower).map(|(effect, _)| *effect),
        })
        .collect();
    let Some(upper) = known.get(key) else {
        // Nobody said what it is, so nobody knows whether it has anything to spare.
        let worst = below.iter().filter_map(|lower| lower.effect).max()?;
        let reason = "nobody described yet what it is".to_owned();
        return Some((worst.min(Effect::Unknown), reason));
    };
    redundancy::effect(upper, &below)
}

/// What decides about a resource, of all that it rests on directly.
fn deciding<'a>(
    key: &ResourceKey,
    graph: &'a Graph,
    known: &HashMap<ResourceKey, ResourceView>,
) -> Vec<&'a ResourceKey> {
    let below = graph.below(key);
    let is = |lower: &ResourceKey, kind: ResourceKind| known.get(lower).is_some_and(|view| view.kind == kind);
    let Some(upper) = known.get(key) else {
        return below.iter().collect();
    };
    if upper.kind == ResourceKind::Volume {
        // A logical volume that names the disks it lies on dies with them, not with another disk of its group.
        let is_group = |lower: &ResourceKey| known.get(lower).is_some_and(redundancy::is_volume_group);
        if below.iter().any(is_group) && !below.iter().all(is_group) {
            return below.iter().filter(|lower| !is_group(lower)).collect();
        }
        return below.iter().collect();
    }
    // What lies in a pool lives as long as the pool does, whichever of its disks it names beside it.
    let of_pools: Vec<&ResourceKey> = below
        .iter()
        .filter(|lower| is(lower, ResourceKind::Pool))
        .flat_map(|pool| graph.below(pool))
        .collect();
    below.iter().filter(|lower| !of_pools.contains(lower)).collect()
}
