//! Posting lists: for each server, resource, and label with its value, the ascending numbers of the series.

use std::collections::{HashMap, HashSet};

use muster_base::id::{ResourceId, ServerId};

use crate::NAME_LABEL;
use crate::matcher::{MatchOp, Matcher};
use crate::series::SeriesMeta;

/// Numbers by the value of a label.
type ByValue = HashMap<Box<str>, Vec<u32>>;

/// The lists of all live series.
#[derive(Debug, Default)]
pub(super) struct Lists {
    by_server: HashMap<ServerId, Vec<u32>>,
    by_resource: HashMap<ResourceId, Vec<u32>>,
    by_label: HashMap<Box<str>, ByValue>,
}

impl Lists {
    /// Adds a series; one that is there stays there once.
    pub(super) fn insert(&mut self, meta: &SeriesMeta) {
        let number = meta.id.0;
        insert(self.by_server.entry(meta.server).or_default(), number);
        insert(self.by_resource.entry(meta.resource).or_default(), number);
        self.insert_label(NAME_LABEL, &meta.name, number);
        for (name, value) in meta.labels.iter() {
            self.insert_label(name, value, number);
        }
    }

    /// Takes series away, all in one pass: to take many one by one would move the rest of the lists each time.
    pub(super) fn remove(&mut self, numbers: &HashSet<u32>) {
        let keep = |list: &mut Vec<u32>| {
            list.retain(|number| !numbers.contains(number));
            !list.is_empty()
        };
        self.by_server.retain(|_, list| keep(list));
        self.by_resource.retain(|_, list| keep(list));
        self.by_label.retain(|_, values| {
            values.retain(|_, list| keep(list));
            !values.is_empty()
        });
    }

    /// Series that meet all matchers, none of which the empty value meets, and belong to one of the servers and
    /// resources; `None` if nothing narrows them down.
    pub(super) fn select(
        &self,
        matchers: &[&Matcher],
        servers: Option<&[ServerId]>,
        resources: Option<&[ResourceId]>,
    ) -> Option<Vec<u32>> {
        let mut lists = Vec::new();
        if let Some(servers) = servers {
            lists.push(union(
                servers.iter().filter_map(|server| self.by_server.get(server)),
            ));
        }
        if let Some(resources) = resources {
            lists.push(union(
                resources
                    .iter()
                    .filter_map(|resource| self.by_resource.get(resource)),
            ));
        }
        lists.extend(matchers.iter().map(|matcher| self.matching(matcher)));
        intersection(lists)
    }

    /// The series that have the matcher's label with a value that meets it.
    fn matching(&self, matcher: &Matcher) -> Vec<u32> {
        let Some(values) = self.by_label.get(matcher.name()) else {
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

    fn insert_label(&mut self, name: &str, value: &str, number: u32) {
        // Looked up before it is inserted: nearly always the texts are there and need not be copied.
        if !self.by_label.contains_key(name) {
            self.by_label.insert(name.into(), ByValue::new());
        }
        let values = self.by_label.get_mut(name).expect("the name was inserted above");
        if let Some(list) = values.get_mut(value) {
            insert(list, number);
        } else {
            values.insert(value.into(), vec![number]);
        }
    }
}

/// Adds a number to an ascending list.
fn insert(list: &mut Vec<u32>, number: u32) {
    if list.last().is_none_or(|last| *last < number) {
        list.push(number);
    } else if let Err(index) = list.binary_search(&number) {
        list.insert(index, number);
    }
}

/// Every number that is in any of the lists, ascending.
fn union<'a>(lists: impl Iterator<Item = &'a Vec<u32>>) -> Vec<u32> {
    let mut all: Vec<u32> = lists.flatten().copied().collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// The numbers that are in all of the lists, ascending; `None` if there are no lists.
fn intersection(mut lists: Vec<Vec<u32>>) -> Option<Vec<u32>> {
    lists.sort_unstable_by_key(Vec::len);
    let mut lists = lists.into_iter();
    let mut common = lists.next()?;
    for list in lists {
        common.retain(|number| list.binary_search(number).is_ok());
    }
    Some(common)
}
