//! `--once`: waits until the first outcome of every collector is stored and can be asked for, and prints them.

use std::time::Duration;

use muster_base::ErrorChain;
use tracing::debug;

use super::api::{Api, ApiError, Outcome};

/// Between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// A sample of each run of each collector; that it can be asked for shows that all of the run's report can.
const RUN_METRIC: &str = "node_scrape_collector_success";

/// What is waited for, and what is there of it.
#[derive(Debug)]
pub(super) struct Seen {
    server: i64,
    collectors: Vec<String>,
    /// Runs before this time (Unix ms) are another start's.
    since_ms: i64,
    outcomes: Vec<Outcome>,
}

impl Seen {
    /// Nothing was seen yet of these collectors of this server.
    pub(super) fn new(server: i64, collectors: Vec<String>, since_ms: i64) -> Self {
        Self {
            server,
            collectors,
            since_ms,
            outcomes: Vec::new(),
        }
    }

    /// Looks until everything is there. Whoever drops this keeps what the last look saw.
    pub(super) async fn watch(&mut self, api: &Api) {
        loop {
            match self.look(api).await {
                Ok(outcomes) => self.outcomes = outcomes,
                Err(error) => debug!(error = %ErrorChain(&error), "cannot ask yet"),
            }
            if self.outcomes.len() == self.collectors.len() {
                return;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// The wanted outcomes that are stored and whose samples can be asked for.
    async fn look(&self, api: &Api) -> Result<Vec<Outcome>, ApiError> {
        api.can_list_devices(self.server).await?;
        // Samples first: resource state is applied before them, so an outcome read afterwards is at least as new.
        let sampled = api
            .labels_since(self.server, RUN_METRIC, "collector", self.since_ms)
            .await?;
        let mut outcomes = api.outcomes(self.server).await?;
        outcomes.retain(|one| sampled.contains(&one.collector) && self.collectors.contains(&one.collector));
        Ok(outcomes)
    }

    /// A line per collector: `NAME: facts`, `NAME: absent: WHY` or `NAME: failed: WHY`.
    pub(super) fn lines(&self) -> Vec<String> {
        let line = |name: &String| match self.outcomes.iter().find(|outcome| outcome.collector == *name) {
            Some(outcome) => format!("{name}: {}", describe(outcome)),
            None => format!("{name}: failed: no outcome is stored yet"),
        };
        self.collectors.iter().map(line).collect()
    }
}

fn describe(outcome: &Outcome) -> String {
    let message = &outcome.message;
    match outcome.outcome.as_str() {
        "facts" => "facts".to_owned(),
        "absent" => format!("absent: {message}"),
        "failed" => format!("failed: {message}"),
        "timed_out" => format!("failed: timed out: {message}"),
        other => format!("failed: {other}: {message}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wanted_collector_has_a_line() {
        let outcome = |collector: &str, outcome: &str, message: &str| Outcome {
            collector: collector.into(),
            outcome: outcome.into(),
            message: message.into(),
        };
        let collectors = ["cpu", "smart", "filesystem", "memory", "load"];
        let mut seen = Seen::new(1, collectors.map(str::to_owned).into(), 0);
        seen.outcomes = vec![
            outcome("cpu", "facts", ""),
            outcome("smart", "absent", "smartctl is not installed"),
            outcome("filesystem", "timed_out", "gave up after 10 s"),
            outcome("memory", "panicked", "index out of bounds"),
        ];
        assert_eq!(
            seen.lines(),
            [
                "cpu: facts",
                "smart: absent: smartctl is not installed",
                "filesystem: failed: timed out: gave up after 10 s",
                "memory: failed: panicked: index out of bounds",
                "load: failed: no outcome is stored yet",
            ]
        );
    }
}
