//! Memory, each line of `/proc/meminfo` under its own name.

use std::time::Duration;

use async_trait::async_trait;
use muster_catalogue::{NODE_MEMORY_BYTES, NODE_MEMORY_COUNT};
use muster_parse::meminfo::{self, Entry};

use super::draft::Draft;
use super::{CollectError, Collector, Descriptor, Outcome, Place};
use crate::host::Host;

/// The memory collector.
pub const DESCRIPTOR: Descriptor = Descriptor {
    name: "memory",
    summary: "memory and swap, from /proc/meminfo",
    interval: Duration::from_secs(15),
    interval_min: Duration::from_secs(1),
    timeout: Duration::from_secs(10),
    place: Place::Net,
    build: |_| Box::new(Memory),
};

struct Memory;

#[async_trait]
impl Collector for Memory {
    async fn collect(&mut self, host: &Host) -> Result<Outcome, CollectError> {
        let Some(text) = host.read_proc("meminfo").await? else {
            return Ok(Outcome::absent("/proc/meminfo does not exist"));
        };
        let mut draft = Draft::new(DESCRIPTOR.name);
        let parsed = meminfo::parse(&text);
        for entry in &parsed.value.entries {
            add(&mut draft, entry);
        }
        draft.parser_problems("/proc/meminfo", parsed.problems);
        Ok(Outcome::Facts(draft.finish()))
    }
}

fn add(draft: &mut Draft, entry: &Entry) {
    let Some(middle) = middle(&entry.key) else {
        draft.problem(format!(
            "/proc/meminfo: no metric can be named after {:?}",
            entry.key
        ));
        return;
    };
    let family = if entry.is_kb {
        &NODE_MEMORY_BYTES
    } else {
        &NODE_MEMORY_COUNT
    };
    draft.sample_in(family, &middle, entry.scaled() as f64);
}

/// `Active(anon)` becomes `Active_anon`, as `node_exporter` has it.
fn middle(key: &str) -> Option<String> {
    let middle = match key.strip_suffix(')').and_then(|open| open.split_once('(')) {
        Some((before, inside)) => format!("{before}_{inside}"),
        None => key.to_owned(),
    };
    let is_name = !middle.is_empty()
        && middle
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    is_name.then_some(middle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_node_exporter() {
        assert_eq!(middle("MemTotal").as_deref(), Some("MemTotal"));
        assert_eq!(middle("Inactive(file)").as_deref(), Some("Inactive_file"));
        assert_eq!(middle("a b"), None);
        let mut draft = Draft::new("memory");
        add(
            &mut draft,
            &Entry {
                key: "HugePages_Free".to_owned(),
                value: 3,
                is_kb: false,
            },
        );
        add(
            &mut draft,
            &Entry {
                key: "Active(anon)".to_owned(),
                value: 3,
                is_kb: true,
            },
        );
        let samples = draft.finish().samples;
        assert_eq!(
            (&*samples[0].name, samples[0].value),
            ("node_memory_HugePages_Free", 3.0)
        );
        assert_eq!(
            (&*samples[1].name, samples[1].value),
            ("node_memory_Active_anon_bytes", 3072.0)
        );
    }
}
