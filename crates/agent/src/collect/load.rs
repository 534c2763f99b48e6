//! Load averages.

use std::time::Duration;

use async_trait::async_trait;
use muster_catalogue::{NODE_LOAD1, NODE_LOAD5, NODE_LOAD15};
use muster_parse::loadavg;

use super::draft::Draft;
use super::{CollectError, Collector, Descriptor, Outcome, Place};
use crate::host::Host;

/// The load collector.
pub const DESCRIPTOR: Descriptor = Descriptor {
    name: "load",
    summary: "load averages",
    interval: Duration::from_secs(15),
    interval_min: Duration::from_secs(1),
    timeout: Duration::from_secs(10),
    place: Place::Net,
    build: |_| Box::new(Load),
};

struct Load;

#[async_trait]
impl Collector for Load {
    async fn collect(&mut self, host: &Host) -> Result<Outcome, CollectError> {
        let Some(text) = host.read_proc("loadavg").await? else {
            return Ok(Outcome::absent("/proc/loadavg does not exist"));
        };
        let mut draft = Draft::new(DESCRIPTOR.name);
        let parsed = loadavg::parse(&text);
        if let Some(load) = parsed.value {
            draft.sample(&NODE_LOAD1, &[], load.one);
            draft.sample(&NODE_LOAD5, &[], load.five);
            draft.sample(&NODE_LOAD15, &[], load.fifteen);
        }
        draft.parser_problems("/proc/loadavg", parsed.problems);
        Ok(Outcome::Facts(draft.finish()))
    }
}
