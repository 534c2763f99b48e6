//! The agent's side: real outbox, spool, keeper and session, on a simulated disk and simulated clocks.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use camino::Utf8Path;
use futures::FutureExt as _;
use muster_agent::clocks::ClockReader;
use muster_agent::identity::Identity;
use muster_agent::outbox::{Acked, Outbox};
use muster_agent::spool::{Files as _, Keeper, Options, Spool};
use muster_agent::uplink::{Config, Driven, Observer, Uplink, UplinkEvent};
use muster_base::id::ServerId;
use muster_model::{Clock, Labels, MetricType, PreviousEpoch, Report, ResourceKey, SampleBlock, SeriesDef};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;

use crate::controller::agent_id;
use crate::disk::SimDisk;

/// The true time at which every run begins, Unix milliseconds.
pub(crate) const START_MS: i64 = 1_800_000_000_000;
const EPOCH_FILE: &str = "/data/epoch";

/// Room for the uplinks of all starts of all agents, so that sessions can borrow them.
pub(crate) type Uplinks = [OnceCell<Uplink>];

/// The clocks of one server.
#[derive(Debug)]
pub(crate) struct Clocks {
    true_ms: AtomicI64,
    skew_ms: AtomicI64,
    booted_ms: AtomicI64,
    boots: AtomicI64,
    agent: usize,
}

impl Clocks {
    fn read(&self) -> Clock {
        let now_ms = self.true_ms.load(Ordering::Relaxed);
        Clock {
            wall_ms: now_ms + self.skew_ms(),
            boottime_ms: now_ms - self.booted_ms.load(Ordering::Relaxed),
            boot_id: format!("boot-{}-{}", self.agent, self.boots.load(Ordering::Relaxed)),
        }
    }

    pub(crate) fn skew_ms(&self) -> i64 {
        self.skew_ms.load(Ordering::Relaxed)
    }

    pub(crate) fn set_skew(&self, skew_ms: i64) {
        self.skew_ms.store(skew_ms, Ordering::Relaxed);
    }

    pub(crate) fn advance_to(&self, now_ms: u64) {
        self.true_ms
            .store(START_MS + i64::try_from(now_ms).unwrap(), Ordering::Relaxed);
    }

    pub(crate) fn reboot(&self) {
        self.booted_ms
            .store(self.true_ms.load(Ordering::Relaxed), Ordering::Relaxed);
        self.boots.fetch_add(1, Ordering::Relaxed);
    }
}

/// Collects what the session says was acknowledged.
#[derive(Default)]
struct Acks(std::sync::Mutex<Vec<(u64, Vec<Acked>)>>);

impl Observer for Acks {
    fn on_event(&self, event: &UplinkEvent) {
        if let UplinkEvent::Acked { epoch, reports } = event {
            self.0.lock().unwrap().push((*epoch, reports.clone()));
        }
    }
}

/// How big things are in this run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) outbox_bytes_max: usize,
    pub(crate) spool: Options,
}

/// A started agent process.
pub(crate) struct Running<'a> {
    pub(crate) epoch: u64,
    pub(crate) outbox: Arc<Outbox>,
    keeper: Option<Keeper>,
    uplink: &'a Uplink,
    pub(crate) session: Option<Driven<'a>>,
    acks: Arc<Acks>,
    series: Vec<u32>,
    /// Earlier epochs whose end stands in the epoch's file as not told.
    pub(crate) untold: Vec<u64>,
}

/// What a start has found on disk, by epoch.
pub(crate) type Found = Vec<(u64, BTreeSet<u64>)>;

/// A server with an agent on it.
pub(crate) struct Agent {
    index: usize,
    pub(crate) disk: SimDisk,
    pub(crate) clocks: Arc<Clocks>,
    sizes: Sizes,
    values: u64,
}

impl Agent {
    pub(crate) fn new(index: usize, disk: SimDisk, sizes: Sizes) -> Self {
        Self {
            index,
            disk,
            clocks: Arc::new(Clocks {
                true_ms: AtomicI64::new(START_MS),
                skew_ms: AtomicI64::new(0),
                booted_ms: AtomicI64::new(START_MS - 3_600_000),
                boots: AtomicI64::new(0),
                agent: index,
            }),
            sizes,
            values: 0,
        }
    }

    /// Starts the process with a new epoch, as the agent's `run` does. `None` if it can't begin one.
    pub(crate) fn start<'a>(
        &self,
        epoch: u64,
        identity: &Identity,
        uplinks: &mut std::slice::Iter<'a, OnceCell<Uplink>>,
    ) -> Option<(Running<'a>, Option<Found>)> {
        let (previous, earlier) = self.read_epoch()?;
        let untold = untold(previous, &earlier);
        self.write_epoch(epoch, false, &untold).then_some(())?;
        let reader = ClockReader::new({
            let clocks = Arc::clone(&self.clocks);
            move || clocks.read()
        });
        let opened = Spool::open(
            Arc::new(self.disk.clone()),
            Utf8Path::new("/data/spool"),
            self.sizes.spool,
            agent_id(self.index),
            epoch,
            &reader.now(),
        );
        let (spool, past) = match opened {
            Ok((spool, past)) => (Some(spool), past),
            Err(_) => (None, Vec::new()),
        };
        let found = spool.is_some().then(|| {
            let numbers = past.iter().map(|past| {
                let held = past.reports.iter().map(|report| report.sequence);
                let lost = past.lost.iter().flat_map(|gap| gap.range.first..=gap.range.last);
                (past.epoch, held.chain(lost).collect())
            });
            numbers.collect()
        });
        let outbox = Outbox::new(epoch, previous, self.sizes.outbox_bytes_max).with_past(past);
        let outbox = Arc::new(outbox.with_earlier(earlier));
        let keeper = spool.map(|spool| Keeper::new(spool, Arc::clone(&outbox), reader.clone()));
        let acks = Arc::new(Acks::default());
        let config = Config {
            controller: "controller:1".to_owned(),
            hostname: format!("server-{}", self.index),
        };
        let uplink = Uplink::new(config, identity, Arc::clone(&outbox), reader)
            .unwrap()
            .with_observer(Arc::clone(&acks) as Arc<dyn Observer>);
        let slot = uplinks.next().expect("there is room for every start");
        let running = Running {
            epoch,
            outbox,
            keeper,
            uplink: slot.get_or_init(|| uplink),
            session: None,
            acks,
            series: Vec::new(),
            untold,
        };
        Some((running, found))
    }

    /// The file of the epoch, as the agent's `epoch` writes it.
    pub(crate) fn write_epoch(&self, epoch: u64, ended_cleanly: bool, untold: &[u64]) -> bool {
        let mut text = format!("{epoch} {ended_cleanly}");
        for epoch in untold {
            text.push_str(&format!(" {epoch}"));
        }
        self.disk
            .replace(Utf8Path::new(EPOCH_FILE), text.as_bytes())
            .is_ok()
    }

    /// The epoch before, and earlier ones whose end may not be told. `None` if the file is there and can't be read.
    fn read_epoch(&self) -> Option<(Option<PreviousEpoch>, Vec<PreviousEpoch>)> {
        let text = match self.disk.read(Utf8Path::new(EPOCH_FILE)) {
            Ok(bytes) => String::from_utf8(bytes).unwrap(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Some((None, Vec::new())),
            Err(_) => return None,
        };
        let mut words = text.split(' ');
        let previous = PreviousEpoch {
            epoch: words.next().unwrap().parse().unwrap(),
            ended_cleanly: words.next() == Some("true"),
        };
        let earlier = words.map(|epoch| PreviousEpoch {
            epoch: epoch.parse().unwrap(),
            ended_cleanly: false,
        });
        Some((Some(previous), earlier.collect()))
    }

    /// A report of `ticks` ticks, and the series it has newly defined.
    pub(crate) fn report(
        &mut self,
        running: &mut Running<'_>,
        ticks: i64,
        interval_ms: i64,
        wanted: usize,
        random: &mut fastrand::Rng,
    ) -> (Report, Vec<SeriesDef>) {
        let mut defined = Vec::new();
        while running.series.len() < wanted {
            let series = SeriesDef {
                name: format!("muster_sim_{}", running.series.len()).into(),
                labels: Labels::of(&[("device", &random.alphanumeric().to_string())]),
                metric_type: MetricType::Gauge,
                unit: "".into(),
                collector: "sim".into(),
                resource_key: ResourceKey::server(),
                interval_ms: u32::try_from(interval_ms).unwrap(),
            };
            let Some(id) = running.outbox.define(series.clone().into()) else {
                break;
            };
            defined.push(series);
            running.series.push(id);
        }
        let clock = self.clocks.read();
        let times: Vec<i64> = (1 - ticks..=0)
            .map(|tick| clock.wall_ms + tick * interval_ms)
            .collect();
        let count = random.usize(1..=running.series.len());
        let series = running.series[running.series.len() - count..].to_vec();
        let values = (0..times.len() * series.len()).map(|_| {
            self.values += 1;
            self.values as f64
        });
        let values = values.collect();
        let mut report = Report::empty(0, 0, clock);
        report
            .blocks
            .push(SampleBlock::new(times, series, values).unwrap());
        (report, defined)
    }

    pub(crate) fn clock(&self) -> Clock {
        self.clocks.read()
    }
}

impl<'a> Running<'a> {
    /// Opens a session; returns its first frame.
    pub(crate) fn connect(&mut self, in_order: bool) -> muster_proto::v1::AgentFrame {
        let (session, hello) = Driven::begin(self.uplink, in_order);
        self.session = Some(session);
        hello
    }

    /// Whether the keeper is wanted before its next round.
    pub(crate) fn wants_spool(&self) -> bool {
        self.outbox.spool_needed().now_or_never().is_some()
    }

    pub(crate) fn round(&mut self, all: bool) {
        if let Some(keeper) = &mut self.keeper {
            keeper.round(all);
        }
    }

    /// Whether everything was delivered, of earlier epochs too.
    pub(crate) fn is_delivered(&self) -> bool {
        self.session.is_some()
            && self.outbox.is_settled()
            && self.outbox.has_told_ends()
            && self.outbox.epochs().len() == 1
    }

    /// What the session has heard as acknowledged since the last call.
    pub(crate) fn take_acked(&self) -> Vec<(u64, Vec<Acked>)> {
        std::mem::take(&mut self.acks.0.lock().unwrap())
    }

    /// The numbers that are held and on disk, by epoch: what may not be lost when the process ends now.
    pub(crate) fn kept(&self) -> Vec<(u64, BTreeSet<u64>)> {
        let unkept: BTreeSet<u64> = self
            .outbox
            .to_keep(true)
            .iter()
            .map(|record| record.sequence)
            .collect();
        let epochs = self.outbox.epochs().into_iter().map(|held| {
            let all = held.held.iter().flat_map(|range| range.first..=range.last);
            let is_kept = |number: &u64| held.epoch != self.epoch || !unkept.contains(number);
            (held.epoch, all.filter(is_kept).collect())
        });
        epochs.collect()
    }
}

fn untold(previous: Option<PreviousEpoch>, earlier: &[PreviousEpoch]) -> Vec<u64> {
    let unclean = previous.iter().filter(|previous| !previous.ended_cleanly);
    unclean.chain(earlier).map(|end| end.epoch).collect()
}

/// An identity as an agent has it; which one decides nothing here.
pub(crate) fn identity() -> Identity {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::default().signed_by(&key, &root).unwrap();
    Identity {
        agent_id: agent_id(0),
        server_id: ServerId(1),
        generation: 1,
        controller: String::new(),
        chain: vec![leaf.der().clone()],
        roots: vec![root.der().clone()],
        command_keys: Vec::new(),
        key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
    }
}
