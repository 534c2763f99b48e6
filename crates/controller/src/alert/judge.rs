//! The task that owns the engine.
//!
//! What a step changes is put behind what could not be written before, and all of it is written before the next step;
//! while the database does not take it nothing is judged, and reports wait in the intake.

mod estate;
mod rules;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use muster_alert::engine::Settings;
use muster_alert::{Alert, Change, Engine, Mute};
use muster_base::ErrorChain;
use muster_base::id::ServerId;
use muster_base::shutdown::CancellationToken;
use tokio::sync::{broadcast, mpsc};
use tokio::time::{Instant, MissedTickBehavior};

use super::hearing::Hearing;
use super::lateness::Lateness;
use super::series::{Known, Slots};
use super::{ALERTS_CONSUMER, AlertError, Ask, Deed, KeptRule};
use crate::app::App;
use crate::intake::{Accepted, Intake};
use crate::store::AlertWrite;

/// How often time passes for the engine.
const TICK: Duration = Duration::from_secs(1);
/// Every how many ticks it is looked how servers are.
const SERVERS_EVERY: u32 = 5;
/// Every how many ticks it is looked when certificates end.
const CERTIFICATES_EVERY: u32 = 300;
/// How far the position may lag behind what was judged without changing anything, in reports.
const POSITION_EVERY: i64 = 200;
/// How long the loss of a server waits for that of others before it is told, ms: servers that are lost at one moment were
/// last heard within as many seconds as there are between two pings, and a little less is enough for most of them.
const GROUP_WAIT_MS: i64 = 8_000;
/// How far back alerts that are over are remembered, ms.
const REMEMBERED_MS: i64 = 24 * 3_600_000;

pub(super) struct Judge {
    app: Arc<App>,
    intake: Intake,
    engine: Engine,
    rules: Vec<KeptRule>,
    next_rule: i64,
    known: HashMap<ServerId, Known>,
    slots: Slots,
    lateness: Lateness,
    hearing: Hearing,
    listened: Instant,
    /// What is to be written; empty after each step that succeeds.
    pending: Vec<AlertWrite>,
    judged: i64,
    written: i64,
    ticks: u32,
    servers: HashSet<i64>,
    certificates: HashMap<i64, i64>,
    changed: broadcast::Sender<Arc<Alert>>,
}

impl Judge {
    /// Takes up where the last one was.
    pub(super) async fn boot(
        app: Arc<App>,
        intake: Intake,
        changed: broadcast::Sender<Arc<Alert>>,
    ) -> Result<Self, AlertError> {
        let now_ms = app.clock().now_ms();
        let store = app.store().clone();
        let (highest_rule, highest_alert) = store.alert_numbers().await?;
        let judged = store.consumer_position(ALERTS_CONSUMER).await?;
        let settings = Settings {
            group_wait_ms: GROUP_WAIT_MS,
            ..Settings::default()
        };
        let mut judge = Self {
            engine: Engine::new(now_ms, highest_alert + 1, settings),
            intake,
            rules: Vec::new(),
            next_rule: highest_rule + 1,
            known: HashMap::new(),
            slots: Slots::default(),
            lateness: Lateness::default(),
            hearing: Hearing::default(),
            listened: Instant::now(),
            pending: Vec::new(),
            judged,
            written: judged,
            ticks: 0,
            servers: HashSet::new(),
            certificates: HashMap::new(),
            changed,
            app,
        };
        let mut changes = Vec::new();
        judge.load_rules(now_ms, &mut changes).await?;
        judge.load_mutes().await?;
        let (open, over) = store.alerts_to_restore(now_ms - REMEMBERED_MS).await?;
        judge.engine.remember(&over);
        judge.engine.restore(open, &mut changes);
        judge.want(changes);
        judge.look_at_servers(now_ms).await?;
        judge.flush().await?;
        Ok(judge)
    }

    async fn load_mutes(&mut self) -> Result<(), AlertError> {
        let rows = self.app.store().mutes().await?;
        let mutes = rows
            .into_iter()
            .filter_map(|row| match Mute::from_stored(row.id, row.body) {
                Ok(mute) => Some(mute),
                Err(problems) => {
                    tracing::error!(
                        silence.id = row.id,
                        ?problems,
                        "a silence that is kept cannot be read and mutes nothing"
                    );
                    None
                }
            });
        self.engine.set_mutes(mutes.collect());
        Ok(())
    }

    /// Answers until `stop`.
    pub(super) async fn run(mut self, mut asked: mpsc::Receiver<Ask>, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                ask = asked.recv() => match ask {
                    Some(ask) => self.answer(ask).await,
                    None => break,
                },
                _ = ticks.tick() => {
                    if let Err(error) = self.tick().await {
                        tracing::warn!(error = %ErrorChain(&error), "alerts could not be judged, will try again");
                    }
                }
            }
        }
        if let Err(error) = self.write_position().await {
            tracing::warn!(error = %ErrorChain(&error), "how far alerts were judged is not written, the next start judges it again");
        }
    }

    async fn answer(&mut self, ask: Ask) {
        // Whoever does not wait for the answer any more does not need it.
        match ask {
            Ask::Judge(records, reply) => drop(reply.send(self.judge_all(&records).await)),
            Ask::Pass(position, reply) => {
                self.judged = self.judged.max(position);
                drop(reply.send(self.write_position().await));
            }
            Ask::Hear(told, reply) => drop(reply.send(self.hear(told).await)),
            Ask::Rules(reply) => drop(reply.send(Ok(self.rules.clone()))),
            Ask::PutRule { id, rule, by, reply } => drop(reply.send(self.put_rule(id, *rule, &by).await)),
            Ask::ImportRules { rules, by, reply } => drop(reply.send(self.import_rules(rules, &by).await)),
            Ask::DeleteRule(id, reply) => drop(reply.send(self.delete_rule(id).await)),
            Ask::Deed {
                alert,
                deed,
                by,
                note,
                reply,
            } => drop(reply.send(self.act(alert, &deed, &by, note.as_deref()).await)),
            Ask::MutesChanged(reply) => drop(reply.send(self.load_mutes().await)),
            Ask::Counts(reply) => drop(reply.send(Ok(self.engine.counts()))),
        }
    }

    fn want(&mut self, changes: Vec<Change>) {
        self.pending.extend(changes.into_iter().map(AlertWrite::Change));
    }

    /// Writes what is to be written, with how far was read.
    async fn flush(&mut self) -> Result<(), AlertError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let judged = self.judged;
        self.pending.push(AlertWrite::Position(ALERTS_CONSUMER, judged));
        let now_ms = self.app.clock().now_ms();
        if let Err(error) = self.app.store().write_alerts(&self.pending, now_ms).await {
            self.pending.pop();
            return Err(error.into());
        }
        self.written = judged;
        for write in self.pending.drain(..) {
            if let AlertWrite::Change(Change::Alert(alert)) = write
                && 0 < self.changed.receiver_count()
            {
                // Nobody may be there any more.
                let _ = self.changed.send(Arc::from(alert));
            }
        }
        Ok(())
    }

    async fn write_position(&mut self) -> Result<(), AlertError> {
        self.flush().await?;
        if self.written < self.judged {
            let store = self.app.store();
            store.set_consumer_position(ALERTS_CONSUMER, self.judged).await?;
            self.written = self.judged;
        }
        Ok(())
    }

    async fn judge_all(&mut self, records: &[Arc<Accepted>]) -> Result<(), AlertError> {
        self.flush().await?;
        let mut changes = Vec::new();
        let judged = self.judged;
        for record in records.iter().filter(|record| judged < record.position) {
            // What was judged before a failure is judged again with what comes after: that changes nothing.
            let judged = self.judge_one(record, &mut changes).await;
            if let Err(error) = judged {
                self.want(changes);
                return Err(error);
            }
        }
        self.want(changes);
        if let Some(last) = records.last() {
            self.judged = self.judged.max(last.position);
        }
        self.flush().await?;
        if POSITION_EVERY <= self.judged - self.written {
            self.write_position().await?;
        }
        Ok(())
    }

    async fn judge_one(&mut self, record: &Accepted, changes: &mut Vec<Change>) -> Result<(), AlertError> {
        if !self.servers.contains(&record.server.0) && !self.meet(record.server, changes).await? {
            return Ok(());
        }
        let report = &record.report;
        let is_late = self
            .lateness
            .is_late(record.agent, &report.clock, record.received_ms);
        let is_described = !report.resources.is_empty() || !report.inventories.is_empty();
        if is_described || !self.known.contains_key(&record.server) {
            self.look_at_resources(record.server, record.received_ms, changes)
                .await?;
        }
        if report.blocks.is_empty() {
            return Ok(());
        }
        let known = self.known.entry(record.server).or_default();
        let slots = self
            .slots
            .of(&self.intake, &mut self.engine, known, record)
            .await?;
        for block in &report.blocks {
            let places: Vec<(usize, muster_alert::SeriesSlot)> = block
                .series()
                .iter()
                .enumerate()
                .filter_map(|(place, id)| {
                    let slot = slots.get((*id as usize).wrapping_sub(1)).copied().flatten()?;
                    Some((place, slot))
                })
                .collect();
            if places.is_empty() {
                continue;
            }
            for (time_ms, values) in block.rows() {
                let samples = places
                    .iter()
                    .filter_map(|(place, slot)| Some((*slot, *values.get(*place)?)));
                self.engine
                    .row(record.received_ms, is_late, time_ms, samples, changes);
            }
        }
        Ok(())
    }

    async fn tick(&mut self) -> Result<(), AlertError> {
        self.flush().await?;
        let now_ms = self.app.clock().now_ms();
        if self.ticks.is_multiple_of(CERTIFICATES_EVERY) {
            self.certificates = self.app.store().certificate_ends().await?.into_iter().collect();
        }
        if self.ticks.is_multiple_of(SERVERS_EVERY) {
            self.look_at_servers(now_ms).await?;
        }
        self.ticks = self.ticks.wrapping_add(1);
        let mut changes = Vec::new();
        self.listen(now_ms, &mut changes);
        self.engine.tick(now_ms, &mut changes);
        self.want(changes);
        self.flush().await
    }

    async fn act(&mut self, alert: i64, deed: &Deed, by: &str, note: Option<&str>) -> Result<(), AlertError> {
        self.flush().await?;
        let now_ms = self.app.clock().now_ms();
        let mut changes = Vec::new();
        match deed {
            Deed::Acknowledge => self.engine.acknowledge(now_ms, alert, by, note, &mut changes)?,
            Deed::Resolve => self.engine.resolve(now_ms, alert, by, note, &mut changes)?,
            Deed::Snooze(until_ms) => self.engine.snooze(now_ms, alert, *until_ms, &mut changes)?,
        }
        self.want(changes);
        self.flush().await
    }
}
