//! All agents together: enrolled first, then started one after another, then ended.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use camino::{Utf8Path, Utf8PathBuf};
use muster_agent::epoch;
use muster_agent::identity::IdentityDir;
use muster_agent::outbox::Series;
use muster_agent::renew::Renewer;
use muster_base::clock::WallClock;
use muster_base::shutdown::CancellationToken;
use muster_model::SeriesDef;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::info;

use crate::agent::{self, Agent, Shared, series};
use crate::cli::Args;
use crate::enrolment;
use crate::fault::{self, Fault};
use crate::journal::{Journal, Summary};
use crate::rogue::Rogue;

/// How long the end waits for acknowledgements.
const SETTLE_MAX: Duration = Duration::from_secs(30);

/// Runs the fleet for the time that was asked for, or until `shutdown`.
pub(crate) async fn run(args: Args, shutdown: CancellationToken) -> anyhow::Result<Summary> {
    let data_dir = data_dir(&args)?;
    let journal = Journal::open(args.journal.as_deref()).context("open journal")?;
    let series = series(args.series, args.interval);
    let kept = series.iter().map(|series| Series::from(SeriesDef::clone(series)));
    let shared = Arc::new(Shared {
        controller: args.controller.clone(),
        interval: args.interval,
        kept: kept.collect(),
        series,
        values: args.values,
        journal,
        started: Instant::now(),
        backlog: args.backlog,
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
        let place = Place {
            start: Duration::from_secs(1) * index / args.starts,
            offset: args.interval.mul_f64(f64::from(index) / f64::from(args.agents)),
            source: source(&args.source, index),
            fault: fault::of_agent(index, args.agents, &args.fault),
        };
        launch(index, &place, &data_dir, &shared, (&mut producers, &mut uplinks))?;
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

/// What one agent has of its own.
struct Place {
    /// When it connects.
    start: Duration,
    /// How much later it ticks for the first time: ticks of all are spread over the interval.
    offset: Duration,
    source: Option<IpAddr>,
    fault: Option<Fault>,
}

/// Starts one agent.
fn launch(
    index: u32,
    place: &Place,
    data_dir: &Utf8Path,
    shared: &Arc<Shared>,
    (producers, uplinks): (&mut JoinSet<()>, &mut JoinSet<()>),
) -> anyhow::Result<()> {
    let identity = enrolment::load(data_dir, index)?;
    let name = enrolment::name(index);
    if let Some(fault) = place.fault {
        let epoch = epoch::random_number()?;
        let own = (epoch, agent::clocks(epoch, shared));
        let rogue = Rogue::new(&name, identity, shared, (fault, place.source), own);
        producers.spawn(rogue.run(place.start, place.offset));
        return Ok(());
    }
    let (agent, uplink) = Agent::build((index, &name), &identity, place.source, shared)?;
    let dir = IdentityDir::below(&enrolment::folder(data_dir, index));
    let wall = WallClock::system();
    let renewer = Renewer::new(
        identity,
        dir,
        shared.controller.clone(),
        uplink.credentials(),
        move || wall.now_ms(),
    );
    let (stop, start) = (shared.stop.clone(), place.start);
    uplinks.spawn(async move {
        let living = async {
            tokio::time::sleep(start).await;
            let (usable_tx, usable) = oneshot::channel();
            let connecting = async {
                // It is dropped, never sent: as soon as the certificate may be used.
                let _ = usable.await;
                uplink.run(CancellationToken::new()).await;
            };
            tokio::join!(connecting, renewer.run(usable_tx));
        };
        stop.run_until_cancelled(living).await;
    });
    producers.spawn(agent.run(place.start + place.offset));
    Ok(())
}

/// The address that an agent's stream comes from.
fn source(sources: &[IpAddr], index: u32) -> Option<IpAddr> {
    let turn = (index as usize).checked_rem(sources.len())?;
    sources.get(turn).copied()
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
    fn sources_are_used_by_turns() {
        let sources = ["127.0.0.2", "127.0.0.3"].map(|address| address.parse().unwrap());
        let used: Vec<_> = (0..4).map(|index| source(&sources, index)).collect();
        assert_eq!(used[..2], [Some(sources[0]), Some(sources[1])]);
        assert_eq!(used[..2], used[2..]);
        assert_eq!(source(&[], 3), None);
    }
}
