//! `muster-agent run`: builds the parts, connects them by bounded channels, and owns the order in which they end.
//!
//! Collectors send ticks to the reporter, which pushes reports into the outbox, which the uplink empties. At the end
//! the collectors stop first, then the reporter has its last word, then the uplink gets a few seconds to deliver, then
//! the spool keeps the rest; the epoch counts as ended in order only if everything was acknowledged or kept by then.

mod lock;
mod own;

use std::sync::Arc;
use std::time::Duration;

use camino::Utf8PathBuf;
use muster_base::ErrorChain;
use muster_base::id::AgentId;
use muster_base::shutdown::CancellationToken;
use muster_model::Clock;
use thiserror::Error;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

use crate::alarm::{self, Bell, Reached};
use crate::clocks::ClockReader;
use crate::collect::runner::{self, Handle, Plan};
use crate::collect::{Context, Place, Summary, smart};
use crate::command::link::{self, Link};
use crate::epoch::{Epoch, EpochError, Teller};
use crate::host::Host;
use crate::identity::{Identity, IdentityDir, IdentityError, Machine};
use crate::memory;
use crate::outbox::Outbox;
use crate::privileged::{self, Launch, Privileged, RightsError, User};
use crate::renew::Renewer;
use crate::report::{Flush, Reporter};
use crate::spool::{self, Keeper, Past, Spool};
use crate::uplink::{self, Collected, Control, TlsError, Uplink};

pub use self::lock::{DataLock, LockError};

/// Ticks between collectors and reporter; when full, collectors wait.
const TICKS_MAX: usize = 64;
/// Requests of the controller between uplink and collectors; when full, they are refused.
const CONTROLS_MAX: usize = 16;
/// How long the end waits for acknowledgements.
const DELIVER_MAX: Duration = Duration::from_secs(5);

/// Why the agent does not run or ran no longer.
#[derive(Debug, Error)]
pub enum RunError {
    /// There is no usable identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The epoch could not be kept.
    #[error(transparent)]
    Epoch(#[from] EpochError),
    /// The data folder is not to be had.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// TLS could not be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The rights could not be given up.
    #[error(transparent)]
    Rights(#[from] RightsError),
    /// A part with rights is gone for good.
    #[error(transparent)]
    Part(#[from] privileged::Lost),
    /// A part ended that should not; the agent has a defect.
    #[error("the {part} ended unexpectedly")]
    PartEnded {
        /// Which part.
        part: &'static str,
    },
}

/// What to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// The agent's folder.
    pub data_dir: Utf8PathBuf,
    /// The controller's agent port, `HOST:PORT`; `None`: where the agent was enrolled.
    pub controller: Option<String>,
    /// The server that is watched.
    pub host: Host,
    /// What collectors are built from.
    pub context: Context,
    /// Which collectors run, and how often.
    pub plans: Vec<Plan>,
    /// How many bytes of reports may wait in memory.
    pub outbox_bytes_max: usize,
    /// How the process of the collectors that need rights is started; `None`: they run in this one.
    pub privileged: Option<Launch>,
    /// How the process is started that does what is commanded; `None`: every command is refused.
    pub executor: Option<link::Launch>,
    /// Who this process becomes once those have started.
    pub user: Option<User>,
    /// What is run when the controller is gone, and when it is back.
    pub alarm: Option<Bell>,
}

impl Options {
    /// Starts the process with rights, if there is anything for it to do, and gives up this one's.
    fn split(&self, shutdown: &CancellationToken) -> Result<Split, RightsError> {
        let needs_rights = |plan: &Plan| plan.descriptor.place == Place::Privileged;
        let launch = self.privileged.clone();
        let launch = launch.filter(|_| self.plans.iter().any(needs_rights));
        let started = launch.map(|launch| {
            let launch = match self.user {
                Some(_) => launch.only_once(),
                None => launch,
            };
            Privileged::start(launch, shutdown.clone())
        });
        let executor = self.executor.clone().map(|launch| {
            let launch = match self.user {
                Some(_) => launch.only_once(),
                None => launch,
            };
            Link::start(launch, shutdown.clone())
        });
        if let Some(user) = &self.user {
            user.become_for_good()?;
        }
        let context = self.context.clone();
        let (commands, executor) = executor.unzip();
        Ok(match started {
            Some((privileged, warden)) => Split {
                context: context.with_privileged(privileged),
                warden: Some(warden),
                commands,
                executor,
            },
            None => Split {
                context,
                warden: None,
                commands,
                executor,
            },
        })
    }
}

/// What is left in this process, and the tasks that keep the others.
struct Split {
    context: Context,
    warden: Option<Warden>,
    commands: Option<Link>,
    executor: Option<Warden>,
}

/// The task that keeps a part in a process of its own.
type Warden = AbortOnDropHandle<Result<(), privileged::Lost>>;

/// Runs the agent until `shutdown`.
///
/// # Errors
/// [`RunError`] if it can't start or one of its parts has a defect.
pub async fn run(options: Options, shutdown: CancellationToken) -> Result<(), RunError> {
    // First of all, so that whatever is written from now on belongs to whom the agent stays.
    let shutdown = shutdown.child_token();
    let Split {
        context,
        warden,
        commands,
        executor,
    } = options.split(&shutdown)?;
    let dir = IdentityDir::below(&options.data_dir);
    let identity = dir.load()?;
    let _lock = DataLock::take(&options.data_dir)?;
    // The agent's own machine, whatever folder it reads as the server's root.
    if let Some(machine) = Machine::read(&Host::system()).await {
        dir.bind(&machine)?;
    }
    let epoch = Epoch::begin(&options.data_dir)?;
    info!(
        agent.id = %identity.agent_id,
        server.id = %identity.server_id,
        epoch = epoch.number(),
        "agent starts"
    );
    let parts = Parts::start(&options, (&context, commands), (dir, identity), &epoch, &shutdown).await?;
    let outbox = Arc::clone(&parts.outbox);
    let warden = tokio::spawn(end_with(warden, shutdown.clone()));
    let executor = tokio::spawn(end_with(executor, shutdown.clone()));
    match parts.until(&shutdown).await? {
        End::Delivered => epoch.end_cleanly(outbox.has_told_ends()),
        End::Kept => {
            info!("not everything was delivered before the end, the rest is kept on disk");
            epoch.end_cleanly(outbox.has_told_ends());
        }
        End::Lost => warn!("not everything was delivered before the end, and not all of it is kept"),
    }
    let part = "privileged process's keeper";
    warden.await.map_err(|_| RunError::PartEnded { part })??;
    let part = "executor's keeper";
    Ok(executor.await.map_err(|_| RunError::PartEnded { part })??)
}

/// Ends the agent in order when a part is lost for good; its service manager starts both again.
async fn end_with(warden: Option<Warden>, shutdown: CancellationToken) -> Result<(), privileged::Lost> {
    let Some(warden) = warden else {
        return Ok(());
    };
    let result = warden.await.unwrap_or(Ok(()));
    shutdown.cancel();
    result
}

/// What became of the epoch's reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Everything is acknowledged.
    Delivered,
    /// Everything is acknowledged or on disk.
    Kept,
    /// Something is neither.
    Lost,
}

/// The running parts.
struct Parts {
    outbox: Arc<Outbox>,
    clocks: ClockReader,
    collectors: runner::Tasks,
    helpers: JoinSet<()>,
    reporter: JoinHandle<()>,
    uplink: JoinHandle<()>,
    stop_uplink: CancellationToken,
    keeper: Option<JoinHandle<bool>>,
    stop_keeper: CancellationToken,
}

/// Starts telling the administrator's program of losing the controller; what is returned hears of connections.
fn ring(bell: Bell, helpers: &mut JoinSet<()>, shutdown: CancellationToken) -> Arc<Reached> {
    let (reached, is_reached) = alarm::reached();
    helpers.spawn(async move {
        shutdown.run_until_cancelled(bell.run(is_reached)).await;
    });
    Arc::new(reached)
}

impl Parts {
    async fn start(
        options: &Options,
        (context, commands): (&Context, Option<Link>),
        (dir, identity): (IdentityDir, Identity),
        epoch: &Epoch,
        shutdown: &CancellationToken,
    ) -> Result<Self, RunError> {
        let host = options.host.clone();
        let clocks = ClockReader::new({
            let host = host.clone();
            move || host.clock()
        });
        let (spool, past) = open_spool(options, identity.agent_id, epoch, clocks.now()).await;
        let outbox = Outbox::new(epoch.number(), epoch.previous(), options.outbox_bytes_max);
        let outbox = Arc::new(outbox.with_earlier(epoch.earlier()).with_past(past));
        let keeper = spool.map(|spool| Keeper::new(spool, Arc::clone(&outbox), clocks.clone()));
        let (ticks_tx, ticks_rx) = mpsc::channel(TICKS_MAX);
        let (flushes_tx, flushes_rx) = mpsc::channel(CONTROLS_MAX);
        let (control_tx, control_rx) = mpsc::channel(CONTROLS_MAX);

        let named = options.controller.as_ref();
        let controller = named.unwrap_or(&identity.controller).clone();
        let config = uplink::Config {
            controller: controller.clone(),
            hostname: hostname(&host).await,
        };
        let mut uplink = Uplink::new(config, &identity, Arc::clone(&outbox), clocks.clone())?
            .with_control(control_tx)
            .with_commands(commands)
            .with_good_time(options.data_dir.join("last-good-time"), &identity);
        let mut helpers = JoinSet::new();
        helpers.spawn(memory::give_back_often(shutdown.clone()));
        if let Some(bell) = options.alarm.clone() {
            uplink = uplink.with_observer(ring(bell, &mut helpers, shutdown.clone()));
        }
        let figures = keeper.as_ref().map(Keeper::figures).unwrap_or_default();
        let own = own::Own::new(host.clone(), Arc::clone(&outbox), uplink.connections(), figures)
            .with_privileged(context.privileged.clone());
        let (heartbeat_tx, heartbeat_only) = watch::channel(false);

        let (handle, collectors) = runner::spawn(&options.plans, &host, context, &ticks_tx, shutdown);
        let watch = shutdown.clone();
        helpers.spawn(async move {
            watch.run_until_cancelled(own.run(ticks_tx, heartbeat_only)).await;
        });
        let time = uplink.credentials();
        let renewer = Renewer::new(identity, dir, controller, uplink.credentials(), move || {
            time.now_ms()
        });
        let (usable_tx, usable) = oneshot::channel();
        let watch = shutdown.clone();
        helpers.spawn(async move {
            watch.run_until_cancelled(renewer.run(usable_tx)).await;
        });
        helpers.spawn(forget_told(Arc::clone(&outbox), epoch.teller(), shutdown.clone()));
        let reporter = Reporter::new(Arc::clone(&outbox), clocks.clone());
        let disks_changed = reporter.disks_changed();
        helpers.spawn(follow_disks(handle.clone(), disks_changed, shutdown.clone()));
        helpers.spawn(control(
            control_rx,
            handle,
            flushes_tx,
            heartbeat_tx,
            shutdown.clone(),
        ));

        let (stop_uplink, stop_keeper) = (CancellationToken::new(), CancellationToken::new());
        Ok(Self {
            keeper: keeper.map(|keeper| tokio::spawn(keeper.run(stop_keeper.clone()))),
            reporter: tokio::spawn(reporter.run(ticks_rx, flushes_rx)),
            uplink: tokio::spawn(connect_when(usable, uplink, stop_uplink.clone())),
            outbox,
            clocks,
            collectors,
            helpers,
            stop_uplink,
            stop_keeper,
        })
    }

    /// Waits for `shutdown` and ends everything in order. The spool is last: it keeps what was not acknowledged.
    async fn until(mut self, shutdown: &CancellationToken) -> Result<End, RunError> {
        tokio::select! {
            // First: once shutdown is asked for, the collectors end, and with them the reporter; that is no defect.
            biased;
            () = shutdown.cancelled() => {}
            _ = &mut self.reporter => return Err(RunError::PartEnded { part: "reporter" }),
            _ = &mut self.uplink => return Err(RunError::PartEnded { part: "uplink" }),
        }
        self.collectors.join().await;
        while self.helpers.join_next().await.is_some() {}
        // Nobody sends ticks any more, so the reporter ends when it has reported the last one.
        self.reporter
            .await
            .map_err(|_| RunError::PartEnded { part: "reporter" })?;
        self.outbox.push_gaps(self.clocks.now());
        let delivered = tokio::time::timeout(DELIVER_MAX, self.outbox.settled())
            .await
            .is_ok();
        self.stop_uplink.cancel();
        self.uplink
            .await
            .map_err(|_| RunError::PartEnded { part: "uplink" })?;
        self.stop_keeper.cancel();
        let is_kept = match self.keeper {
            Some(keeper) => keeper.await.map_err(|_| RunError::PartEnded { part: "spool" })?,
            None => false,
        };
        Ok(match (delivered, is_kept) {
            (true, _) => End::Delivered,
            (false, true) => End::Kept,
            (false, false) => End::Lost,
        })
    }
}

/// Opens the stream once the certificate may be used; that an expired one is refused need not be tried.
async fn connect_when(usable: oneshot::Receiver<()>, uplink: Uplink, stop: CancellationToken) {
    // It is dropped, never sent: also when the agent ends before.
    let _ = stop.run_until_cancelled(usable).await;
    uplink.run(stop).await;
}

/// Forgets how earlier epochs ended once the controller knows it.
async fn forget_told(outbox: Arc<Outbox>, teller: Teller, shutdown: CancellationToken) {
    if outbox.has_told_ends() {
        return;
    }
    if shutdown.run_until_cancelled(outbox.ends_told()).await.is_some() {
        teller.told();
    }
}

/// Opens the spool. An agent without one watches all the same.
async fn open_spool(
    options: &Options,
    agent: AgentId,
    epoch: &Epoch,
    clock: Clock,
) -> (Option<Spool>, Vec<Past>) {
    let (dir, epoch) = (options.data_dir.join("spool"), epoch.number());
    let opening = tokio::task::spawn_blocking(move || {
        let options = spool::Options::default();
        Spool::open(Arc::new(spool::Disk), &dir, options, agent, epoch, &clock)
    });
    match opening.await.expect("opening the spool does not panic") {
        Ok((spool, past)) => {
            let reports: usize = past.iter().map(|past| past.reports.len()).sum();
            if !past.is_empty() {
                info!(
                    epochs = past.len(),
                    reports, "reports of earlier starts are on disk"
                );
            }
            (Some(spool), past)
        }
        Err(error) => {
            warn!(error = %ErrorChain(&error), "spool can't be opened, reports are held in memory only");
            (None, Vec::new())
        }
    }
}

/// The server's name as it calls itself; empty if that can't be read.
pub async fn hostname(host: &Host) -> String {
    match host.read_proc("sys/kernel/hostname").await {
        Ok(name) => name.unwrap_or_default().trim().to_owned(),
        Err(error) => {
            warn!(error = %ErrorChain(&error), "host name can't be read");
            String::new()
        }
    }
}

/// Has SMART look as soon as disks come, go or swap names, and not at its next turn, which may be half an hour away: what
/// it said before stands under names that are wrong. A disk that comes and goes all the time gets no more looks than
/// that collector may be set to.
async fn follow_disks(handle: Handle, disks_changed: Arc<Notify>, shutdown: CancellationToken) {
    let names = [smart::DESCRIPTOR.name.to_owned()];
    let follow = async {
        loop {
            disks_changed.notified().await;
            handle.collect_now(&names).await;
            tokio::time::sleep(smart::DESCRIPTOR.interval_min).await;
        }
    };
    shutdown.run_until_cancelled(follow).await;
}

/// Does what the controller asks of the collectors.
async fn control(
    mut control_rx: mpsc::Receiver<Control>,
    handle: Handle,
    flushes_tx: mpsc::Sender<Flush>,
    heartbeat_tx: watch::Sender<bool>,
    shutdown: CancellationToken,
) {
    let mut collections = JoinSet::new();
    while let Some(Some(request)) = shutdown.run_until_cancelled(control_rx.recv()).await {
        // Answers that are there are taken, so that the set holds only what runs.
        while collections.try_join_next().is_some() {}
        match request {
            Control::SetCadence(cadence) => {
                let in_force = handle.set_intervals(&cadence.intervals).await;
                let is_paused = cadence.heartbeat_only;
                heartbeat_tx.send_replace(is_paused);
                handle.set_paused(is_paused).await;
                info!(?in_force, is_paused, "cadence set by the controller");
            }
            Control::CollectNow { collectors, reply } => {
                collections.spawn(collect_now(handle.clone(), collectors, flushes_tx.clone(), reply));
            }
        }
    }
}

async fn collect_now(
    handle: Handle,
    names: Vec<String>,
    flushes_tx: mpsc::Sender<Flush>,
    reply: oneshot::Sender<Collected>,
) {
    let summaries = handle.collect_now(&names).await;
    let (flush, flushed) = oneshot::channel();
    if flushes_tx.send(flush).await.is_err() {
        return;
    }
    let Ok(last_sequence) = flushed.await else {
        return;
    };
    let (success, message) = judge(&names, &summaries);
    // The stream on which it was asked may be gone; the reports are on their way all the same.
    let _ = reply.send(Collected {
        success,
        message,
        last_sequence,
    });
}

/// Whether a collection did what was asked, and what to tell people.
fn judge(names: &[String], summaries: &[Summary]) -> (bool, String) {
    let unknown = names
        .iter()
        .filter(|name| !summaries.iter().any(|summary| summary.collector == *name));
    let mut faults: Vec<String> = unknown.map(|name| format!("{name}: does not run here")).collect();
    let failed = summaries.iter().filter(|summary| !summary.outcome.is_success());
    faults.extend(failed.map(|summary| format!("{}: {}", summary.collector, summary.message)));
    if summaries.is_empty() && faults.is_empty() {
        faults.push("no collector runs here".to_owned());
    }
    match faults.is_empty() {
        true => (true, format!("{} collectors ran", summaries.len())),
        false => (false, faults.join("; ")),
    }
}

#[cfg(test)]
mod tests {
    use muster_model::RunOutcome;

    use super::*;

    #[test]
    fn a_collection_is_judged_by_all_that_were_asked() {
        let summary = |collector, outcome| Summary {
            collector,
            outcome,
            message: "why".to_owned(),
            problem_count: 0,
        };
        let cpu = summary("cpu", RunOutcome::Facts);
        let smart = summary("smart", RunOutcome::TimedOut);
        let absent = summary("zfs", RunOutcome::Absent);
        assert_eq!(
            judge(&[], &[cpu.clone(), absent]),
            (true, "2 collectors ran".to_owned())
        );
        assert_eq!(
            judge(&[], &[cpu.clone(), smart]),
            (false, "smart: why".to_owned())
        );
        assert_eq!(
            judge(&["moon".to_owned()], &[]),
            (false, "moon: does not run here".to_owned())
        );
        assert!(!judge(&[], &[]).0);
        assert!(judge(&["cpu".to_owned()], &[cpu]).0);
    }
}
