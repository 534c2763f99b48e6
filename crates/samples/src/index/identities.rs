//! From a series' identity (server, resource, name, labels) to its number.
//!
//! Keeps only hashes: the identities themselves are in the index, which is asked whether a number is the one.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use muster_base::id::{ResourceId, ServerId};
use muster_model::Labels;

use crate::series::{SeriesMeta, SeriesSpec};

/// Numbers by the hash of their identity.
#[derive(Debug, Default)]
pub(super) struct Identities {
    by_hash: HashMap<u64, Numbers>,
    hasher: RandomState,
}

/// The numbers under one hash; nearly always one.
#[derive(Debug)]
enum Numbers {
    One(u32),
    Many(Box<[u32]>),
}

impl Identities {
    /// The number of an identity that `is_it` confirms.
    pub(super) fn find(&self, spec: &SeriesSpec, is_it: impl Fn(&u32) -> bool) -> Option<u32> {
        let hash = self.hash(spec.server, spec.resource, &spec.name, &spec.labels);
        match self.by_hash.get(&hash)? {
            Numbers::One(number) => Some(*number).filter(is_it),
            Numbers::Many(numbers) => numbers.iter().copied().find(is_it),
        }
    }

    /// Adds a series; one that is there stays there once.
    pub(super) fn insert(&mut self, meta: &SeriesMeta) {
        let number = meta.id.0;
        let hash = self.hash(meta.server, meta.resource, &meta.name, &meta.labels);
        let numbers = self.by_hash.entry(hash).or_insert(Numbers::One(number));
        match numbers {
            Numbers::One(other) if *other == number => {}
            Numbers::One(other) => *numbers = Numbers::Many([*other, number].into()),
            Numbers::Many(many) if many.contains(&number) => {}
            Numbers::Many(many) => *many = many.iter().copied().chain([number]).collect(),
        }
    }

    /// Takes a series away.
    pub(super) fn remove(&mut self, meta: &SeriesMeta) {
        let hash = self.hash(meta.server, meta.resource, &meta.name, &meta.labels);
        if let Some(Numbers::Many(numbers)) = self.by_hash.get_mut(&hash) {
            *numbers = numbers
                .iter()
                .copied()
                .filter(|number| *number != meta.id.0)
                .collect();
        } else {
            self.by_hash.remove(&hash);
        }
    }

    fn hash(&self, server: ServerId, resource: ResourceId, name: &str, labels: &Labels) -> u64 {
        self.hasher.hash_one((server, resource, name, labels))
    }
}
