//! All agents together: enrolled first, then started one after another, then ended.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use camino::Utf8PathBuf;
use muster_base::shutdown::CancellationToken;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::info;

use crate::agent::{Agent, Shared, series};
use crate::cli::Args;
use crate::enrolment;
use crate::journal::{Journal, Summary};

/// Streams begun per second; each costs both sides a handshake.
const STARTS_PER_SECOND: u32 = 200;
/// How long the end waits for acknowledgements.
const SETTLE_MAX: Duration = Duration::from_secs(30);

/// Runs the fleet for the time that was asked for, or until `shutdown`.
pub(crate) async fn run(args: Args, shutdown: CancellationToken) -> anyhow::Result<Summary> {
    let data_dir = data_dir(&args)?;
    let journal = Journal::open(args.journal.as_deref()).context("open journal")?;
    let shared = Arc::new(Shared {
        controller: args.controller.clone(),
        interval: args.interval,
        series: series(args.series, args.interval),
        journal,
        started: Instant::now(),
        stop_producing: CancellationToken::new(),
        stop: CancellationToken::new(),
    });
    let Some(enrolled) = shutdown
        .run_until_cancelled(enrolment::enrol_all(&args, &data_dir))
        .await
    else {
        return Ok(shared.journal.summary()?);
    };
    enrolled?;
    info!(agents = args.agents, series = args.series, interval = ?args.interval, "producing");
    let (mut producers, mut uplinks) = (JoinSet::new(), JoinSet::new());
    for index in 0..args.agents {
        let identity = enrolment::load(&data_dir, index)?;
        let (agent, uplink) = Agent::build(&enrolment::name(index), &identity, &shared)?;
        let (start, offset) = schedule(index, args.agents, args.interval);
        let stop = shared.stop.clone();
        uplinks.spawn(async move {
            if stop
                .run_until_cancelled(tokio::time::sleep(start))
                .await
                .is_some()
            {
                uplink.run(stop).await;
            }
        });
        producers.spawn(agent.run(start + offset));
    }
    match args.duration {
        Some(duration) => drop(shutdown.run_until_cancelled(tokio::time::sleep(duration)).await),
        None => shutdown.cancelled().await,
    }
    shared.stop_producing.cancel();
    info!("waiting for acknowledgements");
    let settled = async { while producers.join_next().await.is_some() {} };
    if tokio::time::timeout(SETTLE_MAX, settled).await.is_err() {
        tracing::warn!(waited = ?SETTLE_MAX, "not everything was acknowledged");
    }
    shared.stop.cancel();
    while uplinks.join_next().await.is_some() {}
    shared.journal.summary().context("write journal")
}

/// When an agent connects, and how much later it ticks for the first time: ticks of all are spread over the interval.
fn schedule(index: u32, agents: u32, interval: Duration) -> (Duration, Duration) {
    let start = Duration::from_secs(1) * index / STARTS_PER_SECOND;
    (start, interval.mul_f64(f64::from(index) / f64::from(agents)))
}

fn data_dir(args: &Args) -> anyhow::Result<Utf8PathBuf> {
    if let Some(dir) = &args.data_dir {
        return Ok(dir.clone());
    }
    let temporary = Utf8PathBuf::from_path_buf(std::env::temp_dir())
        .map_err(|path| anyhow::anyhow!("{} is not UTF-8", path.display()))?;
    Ok(temporary.join(format!("muster-agent-sim-{}", std::process::id())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_spread_over_the_interval_and_starts_over_time() {
        let interval = Duration::from_secs(10);
        assert_eq!(schedule(0, 1000, interval), (Duration::ZERO, Duration::ZERO));
        assert_eq!(
            schedule(500, 1000, interval),
            (Duration::from_millis(2500), Duration::from_secs(5))
        );
    }
}
