//! Sockets in use.

use async_trait::async_trait;
use muster_catalogue::{NODE_SOCKSTAT, NODE_SOCKSTAT_BYTES};
use muster_parse::sockstat;

use super::draft::Draft;
use super::reading::{Reading, every_15s, outcome};
use super::{CollectError, Collector, Descriptor, Outcome};
use crate::host::{Files, Host};

/// The sockstat collector.
pub const DESCRIPTOR: Descriptor = every_15s(
    "sockstat",
    "sockets in use, from /proc/net/sockstat and sockstat6",
    |_| Box::new(Sockstat),
);

struct Sockstat;

#[async_trait]
impl Collector for Sockstat {
    async fn collect(&mut self, host: &Host) -> Result<Outcome, CollectError> {
        let page_bytes = host.page_bytes().await;
        let draft = host
            .blocking(DESCRIPTOR.name, move |files| read(files, page_bytes))
            .await?;
        Ok(outcome(draft, "/proc/net/sockstat does not exist"))
    }
}

fn read(files: &Files, page_bytes: Option<u64>) -> Draft {
    let mut reading = Reading {
        files,
        draft: Draft::new(DESCRIPTOR.name),
    };
    for path in ["/proc/net/sockstat", "/proc/net/sockstat6"] {
        let Some(text) = reading.side_text(path) else {
            continue;
        };
        let parsed = sockstat::parse(&text);
        for count in parsed.value {
            let middle = format!("{}_{}", count.protocol, count.name);
            reading.sample_in(&NODE_SOCKSTAT, &middle, count.value as f64);
            // Memory of protocols is counted in pages, that of fragments in bytes.
            if let ("mem", Some(page_bytes)) = (count.name.as_str(), page_bytes) {
                let bytes = count.value.saturating_mul(page_bytes);
                reading.sample_in(&NODE_SOCKSTAT_BYTES, &middle, bytes as f64);
            }
        }
        reading.draft.parser_problems(path, parsed.problems);
    }
    reading.draft
}
