//! What rests on what as a graph over keys. Cycles, which only a confused server can tell, are walked once.

use std::collections::{HashMap, HashSet, VecDeque};

use muster_base::id::ResourceId;
use muster_model::ResourceKey;

use super::{LinkRow, LinkView};

/// Most steps from a resource to another; real stacks have fewer than ten layers.
const STEPS_MAX: u32 = 64;

/// Neighbours of every key, sorted.
#[derive(Debug, Default)]
pub(super) struct Graph {
    above: HashMap<ResourceKey, Vec<ResourceKey>>,
    below: HashMap<ResourceKey, Vec<ResourceKey>>,
}

/// How a key was reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reached {
    /// The key before it on a shortest way; `None` at the start.
    pub(super) by: Option<ResourceKey>,
    /// Steps from the start.
    pub(super) steps: u32,
}

/// Everything above and below one key.
#[derive(Debug, Default)]
pub(super) struct Around {
    /// What rests on it, in the order of a walk layer by layer, the start first.
    pub(super) up: Vec<ResourceKey>,
    /// What it rests on, likewise.
    pub(super) down: Vec<ResourceKey>,
    /// How each of `up` was reached.
    pub(super) up_by: HashMap<ResourceKey, Reached>,
    /// How each of `down` was reached.
    pub(super) down_by: HashMap<ResourceKey, Reached>,
    /// What those above rest on beside the start: without it nobody can say whether they live on.
    pub(super) beside: HashSet<ResourceKey>,
    /// Whether there was more than may be walked.
    pub(super) is_truncated: bool,
}

impl Around {
    /// Every key that is looked at.
    pub(super) fn keys(&self) -> impl Iterator<Item = &ResourceKey> {
        let walked = self.up.iter().chain(&self.down);
        let beside = self.beside.iter().filter(|key| !self.down_by.contains_key(*key));
        let mut seen = HashSet::new();
        walked.chain(beside).filter(move |key| seen.insert(*key))
    }
}

impl Graph {
    /// The graph of these links.
    pub(super) fn of(links: impl Iterator<Item = LinkRow>) -> Self {
        let mut graph = Self::default();
        for link in links {
            if link.from == link.to {
                continue;
            }
            graph
                .above
                .entry(link.to.clone())
                .or_default()
                .push(link.from.clone());
            graph.below.entry(link.from).or_default().push(link.to);
        }
        for neighbours in graph.above.values_mut().chain(graph.below.values_mut()) {
            neighbours.sort_unstable();
            neighbours.dedup();
        }
        graph
    }

    /// What rests directly on a key.
    pub(super) fn above(&self, key: &ResourceKey) -> &[ResourceKey] {
        self.above.get(key).map(Vec::as_slice).unwrap_or_default()
    }

    /// What a key rests on directly.
    pub(super) fn below(&self, key: &ResourceKey) -> &[ResourceKey] {
        self.below.get(key).map(Vec::as_slice).unwrap_or_default()
    }

    /// Walks from a key in both directions, at most so many keys each.
    pub(super) fn around(&self, start: &ResourceKey, most: usize) -> Around {
        let (up, up_by, up_cut) = walk(start, most, |key| self.above(key));
        let (down, down_by, down_cut) = walk(start, most, |key| self.below(key));
        let mut beside = HashSet::new();
        let mut is_cut = false;
        // Two layers: a volume is judged by the members of the pool that it lies in, too.
        for key in up.iter().flat_map(|key| self.below(key)) {
            for key in std::iter::once(key).chain(self.below(key)) {
                if beside.len() < most {
                    beside.insert(key.clone());
                } else {
                    is_cut = true;
                }
            }
        }
        Around {
            up,
            down,
            up_by,
            down_by,
            beside,
            is_truncated: up_cut || down_cut || is_cut,
        }
    }
}

type Walked = (Vec<ResourceKey>, HashMap<ResourceKey, Reached>, bool);

fn walk<'a>(start: &ResourceKey, most: usize, next: impl Fn(&ResourceKey) -> &'a [ResourceKey]) -> Walked {
    let mut order = vec![start.clone()];
    let mut reached = HashMap::from([(start.clone(), Reached { by: None, steps: 0 })]);
    let mut waiting = VecDeque::from([(start.clone(), 0_u32)]);
    let mut is_cut = false;
    while let Some((key, steps)) = waiting.pop_front() {
        for neighbour in next(&key) {
            if reached.contains_key(neighbour) {
                continue;
            }
            if most <= order.len() || STEPS_MAX <= steps {
                is_cut = true;
                continue;
            }
            let by = Some(key.clone());
            reached.insert(neighbour.clone(), Reached { by, steps: steps + 1 });
            order.push(neighbour.clone());
            waiting.push_back((neighbour.clone(), steps + 1));
        }
    }
    (order, reached, is_cut)
}

/// The layer of each end of these links: 0 for what rests on nothing, else one above the highest it rests on. What lies
/// on a cycle, or above one, counts the cycle as nothing.
pub(crate) fn layers(links: &[LinkView]) -> HashMap<ResourceId, u32> {
    let mut layers: HashMap<ResourceId, u32> = HashMap::new();
    let mut above: HashMap<ResourceId, Vec<ResourceId>> = HashMap::new();
    let mut open: HashMap<ResourceId, usize> = HashMap::new();
    for link in links.iter().filter(|link| link.from != link.to) {
        above.entry(link.to).or_default().push(link.from);
        *open.entry(link.from).or_default() += 1;
        open.entry(link.to).or_default();
    }
    let mut ready: Vec<ResourceId> = open
        .iter()
        .filter(|(_, count)| **count == 0)
        .map(|(id, _)| *id)
        .collect();
    layers.extend(open.keys().map(|id| (*id, 0)));
    while let Some(id) = ready.pop() {
        let layer = layers.get(&id).copied().unwrap_or(0) + 1;
        for upper in above.get(&id).into_iter().flatten() {
            let known = layers.entry(*upper).or_default();
            *known = layer.max(*known);
            if let Some(count) = open.get_mut(upper) {
                *count -= 1;
                if *count == 0 {
                    ready.push(*upper);
                }
            }
        }
    }
    layers
}
