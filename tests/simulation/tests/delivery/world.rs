//! One world: agents, links, a controller, and the scheduler that decides what happens next.
//!
//! Time stands still while anything runs. All chance comes from one seed, all events from one queue ordered by time
//! and then by when they were asked for; nothing else may decide anything.

mod ends;
mod frames;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use muster_agent::identity::Identity;
use muster_base::clock::WallClock;
use muster_proto::v1::{AgentFrame, ControllerFrame};

use crate::agent::{Agent, Running, START_MS, Uplinks};
use crate::controller::{Backup, Controller};
use crate::disk::SimDisk;
use crate::faults::{Fault, Plan};
use crate::oracle::{Figures, Oracle};
use crate::sabotage::Sabotage;
use crate::samples;
use crate::trace::Trace;

/// After the faults, everything has to be delivered within this time.
const DRAIN_MS: u64 = 30 * 60 * 1_000;
/// Most epochs without a proper end that an agent remembers.
const UNTOLD_ENDS_MAX: u64 = 64;
/// How often the keeper works while there may be something to do.
const ROUND_MS: u64 = 1_000;
/// Rounds after the last change, so that what is due after ten seconds is written.
const ROUNDS_AFTER: u32 = 13;
const RECONNECT_MS_MAX: u64 = 60_000;

/// What can happen.
pub(crate) enum Event {
    Tick(usize),
    Round(usize, u64),
    Connect(usize, u64),
    Up(usize, u64, Box<AgentFrame>),
    Down(usize, u64, Box<ControllerFrame>),
    /// The agent looks whether the controller is silent.
    Watch(usize, u64),
    /// One end learns that the connection is gone.
    AgentCut(usize, u64),
    ControllerCut(usize, u64),
    Ping(usize, u64),
    Commit(u64),
    Start(usize),
    Stopped(usize, u64),
    StartController(Option<usize>),
    Fault,
    Heal(usize),
}

/// The connection of one agent.
#[derive(Debug, Default)]
pub(crate) struct Link {
    /// Number of the agent's connection; 0 if it has none.
    pub(crate) id: u64,
    heard_ms: u64,
    controller_heard_ms: u64,
    latency_ms: u64,
    bytes_per_ms: u64,
    up_free_ms: u64,
    down_free_ms: u64,
    in_flight: usize,
    pub(crate) dark_until_ms: u64,
    pub(crate) unreachable_until_ms: u64,
    attempts: u32,
    in_order: bool,
    rounds_left: u32,
}

pub(crate) struct World<'a> {
    pub(crate) now_ms: u64,
    order: u64,
    events: BTreeMap<(u64, u64), Event>,
    pub(crate) random: fastrand::Rng,
    pub(crate) trace: Trace,
    pub(crate) oracle: Oracle,
    pub(crate) plan: Plan,
    identity: &'a Identity,
    uplinks: std::slice::Iter<'a, std::cell::OnceCell<muster_agent::uplink::Uplink>>,
    pub(crate) agents: Vec<Agent>,
    pub(crate) running: Vec<Option<Running<'a>>>,
    pub(crate) stopping: Vec<bool>,
    has_spool: Vec<bool>,
    pub(crate) links: Vec<Link>,
    links_made: u64,
    pub(crate) controller: Option<Controller>,
    pub(crate) is_controller_up: bool,
    /// Rises with each start; what was asked of an earlier one is void.
    controller_run: u64,
    is_commit_due: bool,
    pub(crate) backups: Vec<Backup>,
    store_id: uuid::Uuid,
    is_draining: bool,
    sabotage: Option<Sabotage>,
}

impl<'a> World<'a> {
    pub(crate) fn new(
        (seed, sabotage): (u64, Option<Sabotage>),
        identity: &'a Identity,
        uplinks: &'a Uplinks,
        trace: Trace,
    ) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let plan = Plan::draw(&mut random);
        let agents: Vec<_> = (0..plan.agents)
            .map(|index| {
                Agent::new(
                    index,
                    SimDisk::new(random.u64(..), trace.clone(), sabotage),
                    plan.sizes,
                )
            })
            .collect();
        let links = (0..plan.agents).map(|_| Link {
            latency_ms: random.u64(1..400),
            bytes_per_ms: random.u64(4..2_000),
            ..Link::default()
        });
        let links = links.collect();
        let clock = WallClock::fixed(START_MS);
        let mut world = Self {
            now_ms: 0,
            order: 0,
            events: BTreeMap::new(),
            trace,
            oracle: Oracle::default(),
            identity,
            uplinks: uplinks.iter(),
            running: agents.iter().map(|_| None).collect(),
            stopping: vec![false; plan.agents],
            has_spool: vec![false; plan.agents],
            agents,
            links,
            links_made: 0,
            controller: Some(Controller::new(random.u64(1..), clock, sabotage)),
            is_controller_up: true,
            controller_run: 0,
            is_commit_due: false,
            backups: Vec::new(),
            store_id: uuid::Uuid::from_u128(random.u128(..)),
            is_draining: false,
            sabotage,
            random,
            plan,
        };
        let jumps = [Fault::AgentClock, Fault::ControllerClock];
        world.oracle.do_clocks_jump = jumps.iter().any(|jump| world.plan.faults.contains(jump));
        for agent in 0..world.plan.agents {
            world.later(0, Event::Start(agent));
        }
        let first = world.plan.next_fault(&mut world.random);
        world.later(first, Event::Fault);
        world
    }

    /// Runs the storm, then heals everything, waits until all is delivered, and judges.
    pub(crate) async fn run(mut self) -> Figures {
        self.say(format_args!("{:?}", self.plan));
        let end_ms = self.plan.storm_ms;
        self.until(|world| end_ms <= world.now_ms).await;
        self.heal_everything().await;
        // How each of many epochs ended is told by a report of its own, and there is one an interval.
        let deadline_ms = self.now_ms + DRAIN_MS + UNTOLD_ENDS_MAX * self.plan.interval_ms;
        self.until(|world| world.is_delivered() || deadline_ms <= world.now_ms)
            .await;
        assert!(
            self.is_delivered(),
            "{} minutes after the last fault and what the ends of epochs take not everything was delivered: {}",
            DRAIN_MS / 60_000,
            self.undelivered()
        );
        self.end().await
    }

    async fn until(&mut self, is_over: impl Fn(&Self) -> bool) {
        while !is_over(self) {
            let ((at_ms, _), event) = self.events.pop_first().expect("agents tick for ever");
            let step = at_ms.saturating_sub(self.now_ms);
            if 0 < step {
                tokio::time::advance(Duration::from_millis(step)).await;
                self.now_ms = at_ms;
                for agent in &self.agents {
                    agent.clocks.advance_to(self.now_ms);
                }
                self.set_controller_clock();
            }
            self.happen(event).await;
            self.settle();
        }
    }

    pub(crate) fn set_controller_clock(&self) {
        if let Some(controller) = &self.controller {
            let now_ms = START_MS + i64::try_from(self.now_ms).unwrap();
            controller.clock.set(now_ms + self.plan.controller_skew_ms);
        }
    }

    async fn happen(&mut self, event: Event) {
        match event {
            Event::Tick(agent) => self.tick(agent),
            Event::Round(agent, epoch) => self.round(agent, epoch),
            Event::Connect(agent, epoch) => self.connect(agent, epoch),
            Event::Up(agent, link, frame) => self.up(agent, link, *frame).await,
            Event::Down(agent, link, frame) => self.down(agent, link, *frame),
            Event::Watch(agent, link) => self.watch(agent, link),
            Event::AgentCut(agent, link) => self.agent_cut(agent, link),
            Event::ControllerCut(agent, link) => self.controller_cut(agent, link),
            Event::Ping(agent, link) => self.ping(agent, link),
            Event::Commit(run) => self.commit(run).await,
            Event::Start(agent) => self.start(agent),
            Event::Stopped(agent, epoch) => self.stopped(agent, epoch),
            Event::StartController(backup) => self.start_controller(backup).await,
            Event::Fault => self.fault().await,
            Event::Heal(agent) => {
                self.say(format_args!("agent {agent}: the disk is well again"));
                self.agents[agent].disk.set_faults(crate::disk::Faults::default());
            }
        }
    }

    /// What follows from any event: dead disks end their servers, and what was acknowledged is told to the oracle.
    fn settle(&mut self) {
        for agent in 0..self.agents.len() {
            if self.agents[agent].disk.is_dead() {
                self.power_loss(agent);
            }
            let Some(running) = &self.running[agent] else {
                continue;
            };
            for (epoch, acked) in running.take_acked() {
                for report in acked {
                    self.oracle.acked((agent, epoch, report.sequence));
                }
            }
            let last = running.outbox.stats().last_sequence;
            self.oracle.numbered(agent, running.epoch, last);
            self.tell_ends(agent);
            let running = self.running[agent].as_ref().expect("seen above");
            if running.wants_spool() {
                self.round_in(agent, 1);
            }
        }
    }

    /// Once the controller knows how earlier epochs ended, that is forgotten.
    fn tell_ends(&mut self, agent: usize) {
        if let Some(running) = &mut self.running[agent]
            && !running.untold.is_empty()
            && running.outbox.has_told_ends()
            && self.agents[agent].write_epoch(running.epoch, false, &[])
        {
            running.untold.clear();
        }
    }

    pub(crate) fn later(&mut self, delay_ms: u64, event: Event) {
        self.order += 1;
        self.events.insert((self.now_ms + delay_ms, self.order), event);
    }

    pub(crate) fn say(&self, text: fmt::Arguments<'_>) {
        self.trace.line(self.now_ms, text);
    }

    fn tick(&mut self, agent: usize) {
        let Some(running) = self.running[agent].as_mut().filter(|_| !self.stopping[agent]) else {
            return;
        };
        let ticks = if self.random.u8(..6) == 0 {
            self.random.i64(2..=16)
        } else {
            1
        };
        let interval_ms = self.plan.interval_ms;
        let wanted = self.plan.series + self.now_ms as usize / 600_000;
        let (report, defined) = self.agents[agent].report(
            running,
            ticks,
            i64::try_from(interval_ms).unwrap(),
            wanted,
            &mut self.random,
        );
        let epoch = running.epoch;
        for series in defined {
            self.oracle.defined(agent, epoch, series);
        }
        let copy = report.clone();
        let sequence = running.outbox.push(report);
        let skew_ms = self.agents[agent].clocks.skew_ms() - self.plan.controller_skew_ms;
        self.oracle.produced((agent, epoch, sequence), &copy, skew_ms);
        self.say(format_args!(
            "agent {agent}: report {sequence} of {epoch:x} with {} samples",
            copy.sample_count()
        ));
        self.pump(agent);
        self.begin_rounds(agent);
        let jitter_ms = self.random.u64(..50);
        self.later(interval_ms + jitter_ms, Event::Tick(agent));
    }

    /// The keeper works each second; here only while there may be something to do.
    fn begin_rounds(&mut self, agent: usize) {
        let is_idle = self.links[agent].rounds_left == 0;
        self.links[agent].rounds_left = ROUNDS_AFTER;
        if is_idle {
            self.round_in(agent, ROUND_MS);
        }
    }

    fn round_in(&mut self, agent: usize, delay_ms: u64) {
        if let Some(epoch) = self.running[agent].as_ref().map(|running| running.epoch) {
            self.later(delay_ms, Event::Round(agent, epoch));
        }
    }

    fn round(&mut self, agent: usize, epoch: u64) {
        let Some(running) = self.running[agent]
            .as_mut()
            .filter(|running| running.epoch == epoch)
        else {
            return;
        };
        running.round(false);
        let stats = running.outbox.stats();
        self.trace.bytes(&(stats.held_bytes as u64).to_le_bytes());
        self.trace.bytes(&(stats.held_reports as u64).to_le_bytes());
        let left = &mut self.links[agent].rounds_left;
        *left = left.saturating_sub(1);
        if 0 < *left {
            self.round_in(agent, ROUND_MS);
        }
        self.pump(agent);
    }

    fn is_delivered(&self) -> bool {
        self.is_draining
            && self
                .running
                .iter()
                .all(|running| running.as_ref().is_some_and(|running| running.is_delivered()))
    }

    fn undelivered(&self) -> String {
        let agents = self.running.iter().map(|running| match running {
            None => "not running".to_owned(),
            Some(running) => format!(
                "connected {}, {:?}, {:?}",
                running.session.is_some(),
                running.outbox.stats(),
                running.outbox.epochs()
            ),
        });
        agents.collect::<Vec<_>>().join("; ")
    }

    /// Everything runs again, all clocks are right.
    async fn heal_everything(&mut self) {
        self.say(format_args!("the storm is over"));
        self.is_draining = true;
        self.plan.faults.clear();
        self.plan.commit_faults = false;
        self.plan.controller_skew_ms = 0;
        for agent in 0..self.agents.len() {
            self.agents[agent].disk.set_faults(crate::disk::Faults::default());
            self.agents[agent].disk.die_never();
            self.agents[agent].clocks.set_skew(0);
            self.links[agent].dark_until_ms = 0;
            self.links[agent].unreachable_until_ms = 0;
        }
        // What was stopped has its start in the queue already.
        self.set_controller_clock();
    }

    async fn end(mut self) -> Figures {
        for agent in 0..self.agents.len() {
            if self.running[agent].is_some() {
                self.finish(agent);
            }
        }
        let controller = self.controller.take().expect("the controller runs");
        // From disk, as a start would find it.
        let controller = controller.kill_and_restart().await;
        let log = controller.log(self.agents.len()).await;
        let mut definitions = BTreeMap::new();
        for (agent, accepted) in &log {
            let key = (*agent, accepted.report.epoch);
            if let std::collections::btree_map::Entry::Vacant(entry) = definitions.entry(key) {
                entry.insert(controller.definitions(key.0, key.1).await);
            }
        }
        controller.close().await;
        let mut figures = self.oracle.judge(&log, &definitions);
        figures.samples_in_store = samples::judge(&log, &definitions, &mut self.random, self.sabotage);
        figures
    }
}
