//! Facts as the JSON and the Prometheus text that people and programs outside rely on.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::io;

use muster_model::{Facts, Labels, Link, Problem, Resource, ResourceKey, Sample};
use serde::{Serialize, Serializer};

/// The key of the server itself.
const SERVER_KEY: &str = "server";

/// What was found, with resources merged by key.
#[derive(Debug, Default, Serialize)]
pub(super) struct View {
    resources: Vec<ResourceView>,
    links: Vec<Link>,
    samples: Vec<SampleView>,
    problems: Vec<Problem>,
}

#[derive(Debug, Serialize)]
struct ResourceView {
    kind: &'static str,
    key: ResourceKey,
    name: String,
    health: &'static str,
    health_reasons: Vec<String>,
    #[serde(flatten)]
    attributes: muster_model::Attributes,
}

/// A sample, and when it was read.
#[derive(Debug)]
struct SampleView {
    sample: Sample,
    time_ms: i64,
}

impl Serialize for SampleView {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let sample = &self.sample;
        Shown {
            name: &sample.name,
            labels: &sample.labels,
            value: sample.value,
            time_ms: self.time_ms,
            resource: sample.resource.as_ref().map_or(SERVER_KEY, ResourceKey::as_str),
        }
        .serialize(serializer)
    }
}

#[derive(Serialize)]
struct Shown<'a> {
    name: &'a str,
    #[serde(serialize_with = "labels_as_object")]
    labels: &'a Labels,
    #[serde(serialize_with = "number_or_word")]
    value: f64,
    time_ms: i64,
    resource: &'a str,
}

fn labels_as_object<S: Serializer>(labels: &&Labels, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(labels.iter())
}

/// JSON has no NaN and no infinity: they become the words of the Prometheus text format.
fn number_or_word<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    if value.is_finite() {
        serializer.serialize_f64(*value)
    } else {
        serializer.serialize_str(&number(*value))
    }
}

impl View {
    /// Gathers facts, each with the time of its collection, in Unix milliseconds.
    pub(super) fn of(collections: Vec<(i64, Facts)>) -> Self {
        let mut view = Self::default();
        let mut merged: Vec<Resource> = Vec::new();
        let mut places: BTreeMap<ResourceKey, usize> = BTreeMap::new();
        let mut known_links: HashSet<Link> = HashSet::new();
        for (time_ms, facts) in collections {
            for resource in facts.resources {
                match places.get(&resource.key) {
                    Some(&place) => merged[place].merge(resource),
                    None => {
                        places.insert(resource.key.clone(), merged.len());
                        merged.push(resource);
                    }
                }
            }
            for link in facts.links {
                if known_links.insert(link.clone()) {
                    view.links.push(link);
                }
            }
            view.samples
                .extend(facts.samples.into_iter().map(|sample| SampleView {
                    time_ms: sample.time_ms.unwrap_or(time_ms),
                    sample,
                }));
            view.problems.extend(facts.problems);
        }
        view.resources = merged.into_iter().map(ResourceView::of).collect();
        view
    }

    /// Writes one JSON object, ended by a newline: not a text first, which may be of many MiB.
    ///
    /// # Errors
    /// As `out` has them.
    pub(super) fn write_json(&self, mut out: impl io::Write) -> io::Result<()> {
        // Keys are texts and numbers are finite or texts, so that only writing can fail.
        serde_json::to_writer_pretty(&mut out, self)?;
        out.write_all(b"\n")
    }

    /// Prometheus text format 0.0.4, families in order of their names.
    pub(super) fn prometheus(&self) -> String {
        let mut families: BTreeMap<&str, Vec<&Sample>> = BTreeMap::new();
        for SampleView { sample, .. } in &self.samples {
            families.entry(&sample.name).or_default().push(sample);
        }
        let mut text = String::new();
        for (name, samples) in families {
            if let Some(described) = muster_catalogue::lookup(name) {
                // Writing to a String cannot fail.
                let _ = writeln!(text, "# HELP {name} {}", described.help.replace('\\', "\\\\"));
                let _ = writeln!(text, "# TYPE {name} {}", described.metric_type.as_str());
            }
            for sample in samples {
                let _ = writeln!(
                    text,
                    "{name}{} {}",
                    label_text(&sample.labels),
                    number(sample.value)
                );
            }
        }
        text
    }
}

impl ResourceView {
    fn of(resource: Resource) -> Self {
        Self {
            kind: resource.kind.as_str(),
            health: resource.shown_health().as_str(),
            key: resource.key,
            name: resource.name,
            health_reasons: resource.health_reasons,
            attributes: resource.attributes,
        }
    }
}

fn label_text(labels: &Labels) -> String {
    if labels.is_empty() {
        return String::new();
    }
    let escaped = |value: &str| {
        value
            .replace('\\', "\\\\")
            .replace('"', "\\\"")
            .replace('\n', "\\n")
    };
    let pairs: Vec<_> = labels
        .iter()
        .map(|(name, value)| format!("{name}=\"{}\"", escaped(value)))
        .collect();
    format!("{{{}}}", pairs.join(","))
}

fn number(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value == f64::INFINITY {
        "+Inf".to_owned()
    } else if value == f64::NEG_INFINITY {
        "-Inf".to_owned()
    } else {
        value.to_string()
    }
}

#[cfg(test)]
mod tests {
    use muster_catalogue::{NODE_FILESYSTEM_FILES, NODE_LOAD1};
    use muster_model::{Health, ResourceKind};

    use super::*;

    fn facts() -> Facts {
        Facts {
            samples: vec![
                NODE_LOAD1.sample(Labels::default(), f64::NAN),
                NODE_FILESYSTEM_FILES.sample(Labels::of(&[("mountpoint", "/a\"b\\c\nd")]), f64::INFINITY),
            ],
            ..Facts::default()
        }
    }

    fn document_of(view: &View) -> serde_json::Value {
        let mut bytes = Vec::new();
        view.write_json(&mut bytes).unwrap();
        assert!(bytes.ends_with(b"}\n"));
        serde_json::from_slice(&bytes).unwrap()
    }

    #[test]
    fn a_sample_of_no_resource_is_the_server_s() {
        assert_eq!(ResourceKey::server().as_str(), SERVER_KEY);
        let view = View::of(vec![(7, facts())]);
        let document = document_of(&view);
        assert_eq!(document["samples"][0]["resource"], SERVER_KEY);
        assert_eq!(document["samples"][0]["time_ms"], 7);
    }

    #[test]
    fn numbers_that_json_has_not_become_words() {
        let view = View::of(vec![(7, facts())]);
        let document = document_of(&view);
        assert_eq!(document["samples"][0]["value"], "NaN");
        assert_eq!(document["samples"][1]["value"], "+Inf");
        assert_eq!(document["samples"][1]["labels"]["mountpoint"], "/a\"b\\c\nd");
        assert_eq!(document["samples"][0]["time_ms"], 7);
        assert_eq!(document["samples"][0]["resource"], "server");
    }

    #[test]
    fn prometheus_text_has_help_types_and_escaped_labels() {
        let text = View::of(vec![(7, facts())]).prometheus();
        let expected = "# HELP node_filesystem_files Inodes in all\n# TYPE node_filesystem_files gauge\n\
                        node_filesystem_files{mountpoint=\"/a\\\"b\\\\c\\nd\"} +Inf\n";
        assert!(text.starts_with(expected), "{text}");
        assert!(text.ends_with("node_load1 NaN\n"), "{text}");
    }

    #[test]
    fn resources_of_several_collectors_are_one_and_what_nobody_judged_is_unknown() {
        let disk = |attribute: &str| {
            let mut disk = Resource::new(ResourceKind::Device, ResourceKey::new("device:1"), "sda");
            disk.set(attribute, Some(1_i64));
            Facts {
                resources: vec![disk],
                ..Facts::default()
            }
        };
        let mut judged = disk("b");
        judged.resources[0].health = Some(Health::Healthy);
        let alone = document_of(&View::of(vec![(0, disk("a"))]));
        assert_eq!(alone["resources"][0]["health"], "unknown");
        let document = document_of(&View::of(vec![(0, disk("a")), (0, judged)]));
        assert_eq!(document["resources"].as_array().unwrap().len(), 1);
        let merged = &document["resources"][0];
        assert_eq!((&merged["a"], &merged["b"]), (&1.into(), &1.into()));
        assert_eq!(merged["health"], "healthy");
    }
}
