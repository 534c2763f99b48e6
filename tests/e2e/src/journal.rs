//! The simulator's journal: what agents were told is durable, and whether a controller has it.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, bail, ensure};

use crate::Api;

/// One line: a report that was acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acked {
    /// Name of the agent.
    pub agent: String,
    /// Time of its first sample, Unix ms.
    pub first_ms: i64,
    /// Time of its last.
    pub last_ms: i64,
}

/// Reads the lines that are whole by now.
///
/// # Errors
/// If the file cannot be read, or a line is none of the simulator's.
pub fn read(path: &Path) -> Result<Vec<Acked>> {
    let text = std::fs::read_to_string(path)?;
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let line = |line: &str| {
        let fields: Vec<&str> = line.split(',').collect();
        let [agent, _epoch, _sequence, first_ms, last_ms] = fields[..] else {
            bail!("journal line {line:?}");
        };
        Ok(Acked {
            agent: agent.to_owned(),
            first_ms: first_ms.parse()?,
            last_ms: last_ms.parse()?,
        })
    };
    whole.lines().map(line).collect()
}

/// Checks that every acknowledged tick is there in every series, once, and that values rise as the simulator's do;
/// returns how many samples of these reports were found.
///
/// # Errors
/// What is missing or doubled.
pub async fn check(api: &Api, acked: &[Acked], series: usize) -> Result<usize> {
    let mut of_agents: BTreeMap<&str, Vec<&Acked>> = BTreeMap::new();
    for line in acked {
        of_agents.entry(&line.agent).or_default().push(line);
    }
    let mut checked = 0;
    for (agent, lines) in of_agents {
        let stored = api
            .range("muster_sim_value", &format!("{{instance=\"{agent}\"}}"))
            .await?;
        ensure!(stored.len() == series, "{agent} has {} series", stored.len());
        for (labels, points) in &stored {
            let doubled = points
                .windows(2)
                .find(|pair| pair[1].0 <= pair[0].0 || pair[1].1 <= pair[0].1);
            ensure!(doubled.is_none(), "{labels}: {doubled:?}");
            for line in &lines {
                let from = points.partition_point(|point| point.0 < line.first_ms);
                let to = points.partition_point(|point| point.0 <= line.last_ms);
                ensure!(from < to, "{labels}: acknowledged {line:?} and not stored");
                ensure!(
                    points[from].0 == line.first_ms && points[to - 1].0 == line.last_ms,
                    "{labels}: of {line:?} only a part is stored"
                );
                checked += to - from;
            }
        }
    }
    Ok(checked)
}
