//! What simulated agents were told is durable, compared with what the controller shows.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::Api;

/// One line of the simulator's journal: samples from one time to another that were acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acked {
    /// The server's name.
    pub agent: String,
    /// The start of the agent.
    pub epoch: u64,
    /// The report's number.
    pub sequence: u64,
    /// Time of the first sample, Unix ms.
    pub first_ms: i64,
    /// Time of the last sample, Unix ms.
    pub last_ms: i64,
}

/// Reads a journal. A last line that is cut short, by a kill, is no line.
///
/// # Errors
/// If it can't be read, or a line is none.
pub fn read_journal(path: &Path) -> Result<Vec<Acked>> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
    whole.lines().map(parse).collect()
}

fn parse(line: &str) -> Result<Acked> {
    let fields: Vec<&str> = line.split(',').collect();
    let [agent, epoch, sequence, first_ms, last_ms] = fields[..] else {
        anyhow::bail!("journal line {line:?}");
    };
    Ok(Acked {
        agent: agent.to_owned(),
        epoch: epoch.parse()?,
        sequence: sequence.parse()?,
        first_ms: first_ms.parse()?,
        last_ms: last_ms.parse()?,
    })
}

/// What was found stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stored {
    /// Samples of acknowledged reports.
    pub acked: usize,
    /// All samples of these agents.
    pub all: usize,
    /// Agents that were looked at.
    pub agents: usize,
}

/// Checks that every acknowledged tick of `agents` (of all if empty) is there in every one of `series` series, that no
/// time is there twice, and that values rise like the ticks that they are.
///
/// # Errors
/// The first thing that is not so.
pub async fn check_stored(api: &Api, journal: &[Acked], series: usize, agents: &[&str]) -> Result<Stored> {
    let mut by_agent: BTreeMap<&str, Vec<&Acked>> = BTreeMap::new();
    for line in journal {
        let is_wanted = agents.is_empty() || agents.contains(&line.agent.as_str());
        if is_wanted {
            by_agent.entry(&line.agent).or_default().push(line);
        }
    }
    let mut found = Stored::default();
    for (agent, lines) in by_agent {
        let stored = api
            .range("muster_sim_value", &format!("{{instance=\"{agent}\"}}"))
            .await?;
        ensure!(
            stored.len() == series,
            "{agent} has {} series, not {series}",
            stored.len()
        );
        let starts = starts(&lines);
        for (labels, points) in &stored {
            check_points(labels, points, &starts)?;
            found.acked += check_lines(labels, points, &lines)?;
            found.all += points.len();
        }
        found.agents += 1;
    }
    Ok(found)
}

/// From when to when each start of an agent has acknowledged samples.
fn starts(lines: &[&Acked]) -> Vec<(i64, i64)> {
    let mut starts: BTreeMap<u64, (i64, i64)> = BTreeMap::new();
    for line in lines {
        let (first_ms, last_ms) = starts.entry(line.epoch).or_insert((line.first_ms, line.last_ms));
        *first_ms = line.first_ms.min(*first_ms);
        *last_ms = line.last_ms.max(*last_ms);
    }
    starts.into_values().collect()
}

/// Within one start of an agent no value comes twice: each tick has its own, and a sample stored again at another time
/// would show.
fn check_points(labels: &Value, points: &[(i64, f64)], starts: &[(i64, i64)]) -> Result<()> {
    for pair in points.windows(2) {
        let [(before_ms, before), (after_ms, after)] = [pair[0], pair[1]];
        ensure!(before_ms < after_ms, "{labels}: {before_ms} and {after_ms}");
        let is_one_start = starts
            .iter()
            .any(|(first_ms, last_ms)| *first_ms <= before_ms && after_ms <= *last_ms);
        ensure!(
            !is_one_start || before < after,
            "{labels}: {before} at {before_ms} and then {after} at {after_ms}"
        );
    }
    Ok(())
}

fn check_lines(labels: &Value, points: &[(i64, f64)], lines: &[&Acked]) -> Result<usize> {
    let mut checked = 0;
    for line in lines {
        let from = points.partition_point(|point| point.0 < line.first_ms);
        let to = points.partition_point(|point| point.0 <= line.last_ms);
        ensure!(from < to, "{labels}: acknowledged {line:?} and not stored");
        ensure!(
            points[from].0 == line.first_ms,
            "{labels}: first of {line:?} is not stored"
        );
        ensure!(
            points[to - 1].0 == line.last_ms,
            "{labels}: last of {line:?} is not stored"
        );
        checked += to - from;
    }
    Ok(checked)
}

/// Waits until each of `agents` agents has a report acknowledged that was made after `since_ms`, and says after how
/// long each had, the shortest first.
///
/// # Errors
/// If some have none within `limit`.
pub async fn back_to_live(
    journal: &Path,
    agents: usize,
    since_ms: i64,
    limit: Duration,
) -> Result<Vec<Duration>> {
    let began = Instant::now();
    let mut back: BTreeMap<String, Duration> = BTreeMap::new();
    while back.len() < agents {
        ensure!(
            began.elapsed() < limit,
            "{} of {agents} agents are not back after {limit:?}",
            agents - back.len()
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
        for line in read_journal(journal)? {
            if since_ms <= line.first_ms {
                back.entry(line.agent).or_insert_with(|| began.elapsed());
            }
        }
    }
    let mut times: Vec<_> = back.into_values().collect();
    times.sort_unstable();
    Ok(times)
}

/// The time within which `percent` of all came.
#[must_use]
pub fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let place = (sorted.len() * percent).div_ceil(100).max(1) - 1;
    sorted.get(place).copied().unwrap_or_default()
}

/// The time now, Unix ms.
///
/// # Panics
/// If the clock stands before 1970.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "whoever watches from outside has no clock but this"
)]
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let ms = since.expect("the clock is set").as_millis();
    i64::try_from(ms).expect("milliseconds since 1970 fit")
}

/// What the simulator says at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Samples made.
    pub produced: u64,
    /// Samples acknowledged.
    pub acked: u64,
    /// Median time from the making of a report to its acknowledgement, ms.
    pub ack_p50_ms: u64,
    /// The time within which 99 of 100 came, ms.
    pub ack_p99_ms: u64,
    /// Streams beyond the first one of each agent.
    pub reconnects: u64,
}

impl Summary {
    /// Reads the last line of what a simulator printed.
    ///
    /// # Errors
    /// If that is no summary.
    pub fn of(printed: &str) -> Result<Self> {
        let last = printed.lines().last().context("the simulator printed nothing")?;
        let json: Value = serde_json::from_str(last).with_context(|| printed.to_owned())?;
        let field = |name: &str| json[name].as_u64().with_context(|| format!("{name} of {json}"));
        Ok(Self {
            produced: field("produced")?,
            acked: field("acked")?,
            ack_p50_ms: field("ack_p50_ms")?,
            ack_p99_ms: field("ack_p99_ms")?,
            reconnects: field("reconnects")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_journal_cut_in_the_middle_of_a_line_ends_before_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        std::fs::write(&path, "sim-1,7,1,10,20\nsim-2,8,").unwrap();
        let lines = read_journal(&path).unwrap();
        assert_eq!((lines.len(), lines[0].sequence, lines[0].last_ms), (1, 1, 20));
    }

    #[test]
    fn what_is_missing_or_there_twice_is_found() {
        let labels = json!({});
        let line = parse("sim-1,7,1,10,30").unwrap();
        let points = [(10, 0.0), (20, 1.0), (30, 2.0)];
        assert_eq!(check_lines(&labels, &points, &[&line]).unwrap(), 3);
        assert!(check_lines(&labels, &points[1..], &[&line]).is_err());
        assert!(check_lines(&labels, &points[..2], &[&line]).is_err());
        let starts = starts(&[&line]);
        assert!(check_points(&labels, &points, &starts).is_ok());
        assert!(check_points(&labels, &[(10, 0.0), (12, 0.0)], &starts).is_err());
        assert!(
            check_points(&labels, &[(30, 2.0), (31, 2.0)], &starts).is_ok(),
            "another start"
        );
    }
}
