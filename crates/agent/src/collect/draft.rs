//! Facts in the making: the one place that keeps them within the limits.
//!
//! Whatever is cut, dropped or refused for a limit becomes a problem, so that nothing disappears unseen. A series
//! or key that comes twice keeps its first value: two disks must never share a row.

use std::collections::HashSet;
use std::hash::BuildHasher as _;

use foldhash::fast::RandomState;
use muster_base::ErrorChain;
use muster_catalogue::{Family, Metric};
use muster_model::{
    Attribute, Facts, Labels, Link, LinkType, Problem, Resource, ResourceKey, Sample, limits,
};
use sha2::{Digest as _, Sha256};

/// Facts of one collector, gathered within the limits.
#[derive(Debug)]
pub struct Draft {
    collector: &'static str,
    facts: Facts,
    /// Of each sample, the hash of its name and labels.
    series: Vec<u64>,
    hasher: RandomState,
    keys: HashSet<ResourceKey>,
    links: HashSet<Link>,
    problems_left_out: usize,
}

impl Draft {
    /// Nothing yet, by this collector.
    #[must_use]
    pub fn new(collector: &'static str) -> Self {
        Self {
            collector,
            facts: Facts::default(),
            series: Vec::new(),
            hasher: RandomState::default(),
            keys: HashSet::new(),
            links: HashSet::new(),
            problems_left_out: 0,
        }
    }

    /// Adds a sample on the server itself.
    pub fn sample(&mut self, metric: &Metric, labels: &[(&'static str, &str)], value: f64) {
        let labels = self.labels(labels);
        self.push(metric.sample(labels, value));
    }

    /// Adds a sample on a resource, or on the server if there is none.
    pub fn sample_of(
        &mut self,
        resource: Option<&ResourceKey>,
        metric: &Metric,
        labels: &[(&'static str, &str)],
        value: f64,
    ) {
        let labels = self.labels(labels);
        self.push(match resource {
            Some(key) => metric.sample_of(key, labels, value),
            None => metric.sample(labels, value),
        });
    }

    /// Adds a sample of a family on the server itself.
    pub fn sample_in(&mut self, family: &Family, middle: &str, value: f64) {
        self.sample_in_with(family, middle, &[], value);
    }

    /// Adds a sample of a family with labels.
    pub fn sample_in_with(
        &mut self,
        family: &Family,
        middle: &str,
        labels: &[(&'static str, &str)],
        value: f64,
    ) {
        if limits::NAME_BYTES_MAX < family.name_bytes(middle) {
            self.problem(format!("metric name of {middle:.60} is too long: left out"));
            return;
        }
        let labels = self.labels(labels);
        self.push(family.sample(middle, labels, value));
    }

    /// Adds a sample whose name and labels are not ours.
    pub fn push(&mut self, sample: Sample) {
        self.series
            .push(self.hasher.hash_one((&sample.name, &sample.labels)));
        self.facts.samples.push(sample);
    }

    /// Of samples of one series, keeps the first.
    fn drop_repeated(&mut self) {
        // To sort some numbers is less work than to keep an index of what is nearly never there.
        self.series.sort_unstable();
        if self.series.windows(2).all(|pair| pair[0] != pair[1]) {
            return;
        }
        let samples = std::mem::take(&mut self.facts.samples);
        let mut series = HashSet::with_capacity(samples.len());
        let is_first: Vec<bool> = samples
            .iter()
            .map(|sample| series.insert((&sample.name, &sample.labels)))
            .collect();
        for (sample, is_first) in samples.into_iter().zip(is_first) {
            if is_first {
                self.facts.samples.push(sample);
            } else {
                self.problem(format!(
                    "{} comes twice with the same labels: the first is kept",
                    sample.name
                ));
            }
        }
    }

    fn labels(&mut self, pairs: &[(&'static str, &str)]) -> Labels {
        for (name, value) in pairs {
            if limits::LABEL_VALUE_BYTES_MAX < value.len() {
                self.problem(format!("value of label {name} has {} bytes: cut", value.len()));
            }
        }
        Labels::of(pairs)
    }

    /// Adds a resource; `false` if its key is taken or there are too many.
    pub fn resource(&mut self, mut resource: Resource) -> bool {
        if limits::RESOURCES_PER_COLLECTOR_MAX <= self.facts.resources.len() {
            self.problem("more resources than one collector may list: the rest is left out");
            return false;
        }
        if !self.keys.insert(resource.key.clone()) {
            self.problem(format!("{} comes twice: the first is kept", resource.key));
            return false;
        }
        for (name, value) in &mut resource.attributes {
            if let Attribute::Text(text) = value
                && limits::ATTRIBUTE_BYTES_MAX < text.len()
            {
                text.truncate(text.floor_char_boundary(limits::ATTRIBUTE_BYTES_MAX));
                self.problem(format!("{name} of {} is too long: cut", resource.key));
            }
        }
        self.facts.resources.push(resource);
        true
    }

    /// Adds a link: `from` rests on `to`.
    pub fn rests_on(&mut self, from: &ResourceKey, to: &ResourceKey) {
        let link = Link {
            from: from.clone(),
            to: to.clone(),
            link_type: LinkType::RestsOn,
        };
        if limits::LINKS_PER_COLLECTOR_MAX <= self.facts.links.len() {
            self.problem("more links than one collector may list: the rest is left out");
        } else if self.links.insert(link.clone()) {
            self.facts.links.push(link);
        }
    }

    /// Adds a problem; the same one again is not repeated.
    pub fn problem(&mut self, message: impl Into<String>) {
        self.push_problem(message.into(), None);
    }

    /// Adds an error as a problem.
    pub fn error(&mut self, what: &str, error: &(dyn std::error::Error + 'static)) {
        self.problem(format!("{what}: {}", ErrorChain(error)));
    }

    /// Adds what a parser could not understand of `what`.
    pub fn parser_problems(&mut self, what: &str, problems: Vec<muster_parse::Problem>) {
        for problem in problems {
            self.push_problem(format!("{what}: {}", problem.message), problem.line);
        }
    }

    /// Adds a problem of a line, counted from 1, if there is one.
    pub fn push_problem(&mut self, mut message: String, line: Option<u32>) {
        message.truncate(message.floor_char_boundary(limits::PROBLEM_BYTES_MAX));
        let problem = Problem {
            collector: self.collector.to_owned(),
            message,
            line,
        };
        // The last place is for the count of what is left out.
        if limits::PROBLEMS_PER_REPORT_MAX - 1 <= self.facts.problems.len() {
            self.problems_left_out += 1;
        } else if !self.facts.problems.contains(&problem) {
            self.facts.problems.push(problem);
        }
    }

    /// The facts.
    #[must_use]
    pub fn finish(mut self) -> Facts {
        self.drop_repeated();
        if 0 < self.problems_left_out {
            self.facts.problems.push(Problem {
                collector: self.collector.to_owned(),
                message: format!("{} further problems left out", self.problems_left_out),
                line: None,
            });
        }
        self.facts
    }
}

/// Makes a key within its bound: what is too long is cut and ended by a hash of the whole, so that it stays unique.
#[must_use]
pub fn bounded_key(text: String) -> ResourceKey {
    const HASH_DIGITS: usize = 16;
    if text.len() <= limits::RESOURCE_KEY_BYTES_MAX {
        return ResourceKey::new(text);
    }
    let digest = Sha256::digest(text.as_bytes());
    let hash: String = digest
        .iter()
        .take(HASH_DIGITS / 2)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let end = text.floor_char_boundary(limits::RESOURCE_KEY_BYTES_MAX - HASH_DIGITS - 1);
    ResourceKey::new(format!("{}~{hash}", &text[..end]))
}

#[cfg(test)]
mod tests {
    use muster_catalogue::NODE_LOAD1;
    use muster_model::ResourceKind;

    use super::*;

    #[test]
    fn a_label_at_the_limit_is_kept_and_one_beyond_is_cut_with_a_problem() {
        let at_limit = "v".repeat(limits::LABEL_VALUE_BYTES_MAX);
        let mut draft = Draft::new("test");
        draft.sample(&NODE_LOAD1, &[("device", &at_limit)], 1.0);
        assert!(draft.finish().problems.is_empty());
        let mut draft = Draft::new("test");
        draft.sample(&NODE_LOAD1, &[("device", &format!("{at_limit}w"))], 1.0);
        let facts = draft.finish();
        assert_eq!(facts.samples[0].labels.get("device"), Some(at_limit.as_str()));
        assert_eq!(facts.problems.len(), 1);
    }

    #[test]
    fn a_series_that_comes_twice_keeps_its_first_value() {
        let mut draft = Draft::new("test");
        draft.sample(&NODE_LOAD1, &[], 1.0);
        draft.sample(&NODE_LOAD1, &[], 2.0);
        let facts = draft.finish();
        assert_eq!(
            (facts.samples.len(), facts.samples[0].value, facts.problems.len()),
            (1, 1.0, 1)
        );
    }

    #[test]
    fn resources_beyond_the_limit_are_left_out_with_a_problem() {
        let mut draft = Draft::new("test");
        let taken = (0..=limits::RESOURCES_PER_COLLECTOR_MAX)
            .filter(|n| {
                let key = ResourceKey::new(format!("device:{n}"));
                draft.resource(Resource::new(ResourceKind::Device, key, "x"))
            })
            .count();
        assert_eq!(taken, limits::RESOURCES_PER_COLLECTOR_MAX);
        assert_eq!(draft.finish().problems.len(), 1);
    }

    #[test]
    fn problems_beyond_the_limit_are_counted_in_the_last() {
        let mut draft = Draft::new("test");
        for n in 0..limits::PROBLEMS_PER_REPORT_MAX + 5 {
            draft.problem(format!("problem {n}"));
        }
        let facts = draft.finish();
        assert_eq!(facts.problems.len(), limits::PROBLEMS_PER_REPORT_MAX);
        assert_eq!(
            facts.problems.last().unwrap().message,
            "6 further problems left out"
        );
    }

    #[test]
    fn long_keys_stay_within_the_bound_and_apart() {
        let long = |end: &str| bounded_key(format!("filesystem:x:/{}{end}", "a".repeat(4000)));
        assert_eq!(long("1").as_str().len(), limits::RESOURCE_KEY_BYTES_MAX);
        assert_ne!(long("1"), long("2"));
    }
}
