//! What was acknowledged, told to whoever counts: the journal's lines and the summary's figures.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use camino::Utf8Path;
use muster_agent::outbox::Acked;
use serde::Serialize;

use crate::latency::Latencies;

/// Figures of all agents together. Counts are of samples.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    produced: u64,
    acked: u64,
    ack_p50_ms: u64,
    ack_p99_ms: u64,
    reconnects: u64,
}

impl Summary {
    /// Whether all that was produced was acknowledged.
    pub(crate) fn is_settled(&self) -> bool {
        self.produced <= self.acked
    }
}

/// Takes what all agents tell.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    produced: AtomicU64,
    acked: AtomicU64,
    connections: AtomicU64,
    connected_agents: AtomicU64,
    written: Mutex<Written>,
}

#[derive(Debug, Default)]
struct Written {
    file: Option<File>,
    failure: Option<io::Error>,
    latencies: Latencies,
}

impl Journal {
    /// A journal that appends to `path`, if there is one.
    pub(crate) fn open(path: Option<&Utf8Path>) -> io::Result<Self> {
        let file = path
            .map(|path| OpenOptions::new().create(true).append(true).open(path))
            .transpose()?;
        let written = Written {
            file,
            ..Written::default()
        };
        Ok(Self {
            written: Mutex::new(written),
            ..Self::default()
        })
    }

    pub(crate) fn produced(&self, samples: u64) {
        self.produced.fetch_add(samples, Ordering::Relaxed);
    }

    pub(crate) fn connected(&self, is_first_time: bool) {
        self.connections.fetch_add(1, Ordering::Relaxed);
        self.connected_agents
            .fetch_add(u64::from(is_first_time), Ordering::Relaxed);
    }

    /// Writes a line for each report, in one write that is complete when this returns.
    pub(crate) fn acked(&self, agent: &str, epoch: u64, reports: &[Acked]) {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        for acked in reports {
            written.latencies.add(acked.latency);
        }
        drop(written);
        self.acked_late(agent, epoch, reports);
    }

    /// The same for reports whose time on the way says nothing, because they were made long before.
    pub(crate) fn acked_late(&self, agent: &str, epoch: u64, reports: &[Acked]) {
        let samples: u64 = reports.iter().map(|acked| u64::from(acked.sample_count)).sum();
        self.acked.fetch_add(samples, Ordering::Relaxed);
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(file) = &mut written.file else {
            return;
        };
        let lines: String = reports
            .iter()
            .map(|acked| {
                format!(
                    "{agent},{epoch},{},{},{}\n",
                    acked.sequence, acked.first_ms, acked.last_ms
                )
            })
            .collect();
        if let Err(error) = file.write_all(lines.as_bytes()) {
            // Whoever counts by an incomplete journal would count wrong: no more lines, and a failure at the end.
            written.file = None;
            written.failure = Some(error);
        }
    }

    /// The figures so far.
    ///
    /// # Errors
    /// If a line could not be written.
    pub(crate) fn summary(&self) -> io::Result<Summary> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(failure) = written.failure.take() {
            return Err(failure);
        }
        let connections = self.connections.load(Ordering::Relaxed);
        Ok(Summary {
            produced: self.produced.load(Ordering::Relaxed),
            acked: self.acked.load(Ordering::Relaxed),
            ack_p50_ms: written.latencies.percentile_ms(50),
            ack_p99_ms: written.latencies.percentile_ms(99),
            reconnects: connections - self.connected_agents.load(Ordering::Relaxed),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_acknowledged_report_is_a_line_and_counts() {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(dir.path()).unwrap().join("journal");
        let journal = Journal::open(Some(&path)).unwrap();
        let acked = |sequence| Acked {
            sequence,
            sample_count: 5,
            first_ms: 10,
            last_ms: 20,
            latency: Duration::from_millis(7),
        };
        journal.produced(15);
        journal.connected(true);
        journal.connected(false);
        journal.acked("sim-3", 99, &[acked(1), acked(2)]);
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "sim-3,99,1,10,20\nsim-3,99,2,10,20\n"
        );
        let summary = journal.summary().unwrap();
        assert!(!summary.is_settled());
        let summary = serde_json::to_string(&summary).unwrap();
        assert_eq!(
            summary,
            r#"{"produced":15,"acked":10,"ack_p50_ms":7,"ack_p99_ms":7,"reconnects":1}"#
        );
    }
}
