//! Posting lists: for each label and value, the ascending numbers of the series that have it.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

use crate::matcher::{MatchOp, Matcher};

/// Lists by label name and value.
#[derive(Debug, Default)]
pub(super) struct Postings {
    by_name: HashMap<Box<str>, HashMap<Box<str>, Vec<u32>>>,
}

impl Postings {
    /// Adds a number to the list of a label's value.
    pub(super) fn insert(&mut self, name: &str, value: &str, number: u32) {
        // Looked up before it is inserted: nearly always the texts are there and need not be copied.
        if !self.by_name.contains_key(name) {
            self.by_name.insert(name.into(), HashMap::new());
        }
        let values = self.by_name.get_mut(name).expect("the name was inserted above");
        if let Some(list) = values.get_mut(value) {
            insert(list, number);
        } else {
            values.insert(value.into(), vec![number]);
        }
    }

    /// Takes a number from the list of a label's value.
    pub(super) fn remove(&mut self, name: &str, value: &str, number: u32) {
        if let Some(values) = self.by_name.get_mut(name) {
            remove(values, value, number);
        }
    }

    /// The series that have the matcher's label with a value that meets it.
    pub(super) fn matching(&self, matcher: &Matcher) -> Vec<u32> {
        let Some(values) = self.by_name.get(matcher.name()) else {
            return Vec::new();
        };
        if matcher.op() == MatchOp::Eq {
            return values.get(matcher.value()).cloned().unwrap_or_default();
        }
        union(
            values
                .iter()
                .filter(|(value, _)| matcher.matches(value))
                .map(|(_, list)| list),
        )
    }
}

/// Adds a number to an ascending list.
pub(super) fn insert(list: &mut Vec<u32>, number: u32) {
    if list.last().is_none_or(|last| *last < number) {
        list.push(number);
    } else if let Err(index) = list.binary_search(&number) {
        list.insert(index, number);
    }
}

/// Takes a number from the list under `key`, and an empty list from the map.
pub(super) fn remove<K, Q>(lists: &mut HashMap<K, Vec<u32>>, key: &Q, number: u32)
where
    K: Borrow<Q> + Eq + Hash,
    Q: Eq + Hash + ?Sized,
{
    let Some(list) = lists.get_mut(key) else { return };
    if let Ok(index) = list.binary_search(&number) {
        list.remove(index);
    }
    if list.is_empty() {
        lists.remove(key);
    }
}

/// Every number that is in any of the lists, ascending.
pub(super) fn union<'a>(lists: impl Iterator<Item = &'a Vec<u32>>) -> Vec<u32> {
    let mut all: Vec<u32> = lists.flatten().copied().collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// The numbers that are in all of the lists, ascending; `None` if there are no lists.
pub(super) fn intersection(mut lists: Vec<Vec<u32>>) -> Option<Vec<u32>> {
    lists.sort_unstable_by_key(Vec::len);
    let mut lists = lists.into_iter();
    let mut common = lists.next()?;
    for list in lists {
        common.retain(|number| list.binary_search(number).is_ok());
    }
    Some(common)
}
