//! The task that owns the engine.
//!
//! What a step changes is put behind what could not be written before, and all of it is written before the next step;
//! while the database does not take it nothing is judged, and reports wait in the intake.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use muster_alert::engine::{ResourceFacts, ServerFacts, Settings};
use muster_alert::{Alert, Change, Engine, Mute, SeriesInfo, defaults, rule};
use muster_base::ErrorChain;
use muster_base::id::ServerId;
use muster_base::shutdown::CancellationToken;
use muster_model::{Labels, ResourceKind};
use tokio::sync::{broadcast, mpsc};
use tokio::time::{Instant, MissedTickBehavior};

use super::hearing::Hearing;
use super::lateness::Lateness;
use super::series::{Known, Slots};
use super::{ALERTS_CONSUMER, AlertError, Ask, Deed, KeptRule, RULES_MAX, facts};
use crate::app::servers::{ServerFilter, ServerView};
use crate::app::status::ServerStatus;
use crate::app::{App, AppError};
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
/// Facts that come with reports count for as long as reports of disks may be apart, ms.
const FACT_INTERVAL_MS: u32 = 2 * 3_600_000;
/// Facts that come every few seconds, ms.
const QUICK_INTERVAL_MS: u32 = 10_000;

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

    async fn load_rules(&mut self, now_ms: i64, changes: &mut Vec<Change>) -> Result<(), AlertError> {
        let rows = self.app.store().alert_rules().await?;
        let mut keys: HashSet<String> = HashSet::new();
        for row in rows {
            keys.extend(row.default_key.clone());
            if row.deleted_ms.is_some() {
                continue;
            }
            let mut rule = match rule::read(row.body) {
                Ok(rule) => rule,
                Err(problems) => {
                    tracing::error!(
                        rule.id = row.id,
                        ?problems,
                        "a rule that is kept cannot be read and is not judged"
                    );
                    continue;
                }
            };
            rule.id = row.id;
            self.engine.set_rule(now_ms, rule.clone(), changes);
            self.rules.push(KeptRule {
                rule,
                default_key: row.default_key,
                created_ms: row.created_ms,
                updated_ms: row.updated_ms,
                updated_by: row.updated_by,
            });
        }
        for default in defaults::all() {
            if keys.contains(&default.key) {
                continue;
            }
            let mut rule = default.rule;
            rule.id = self.next_rule;
            self.next_rule += 1;
            let kept = KeptRule {
                rule: rule.clone(),
                default_key: Some(default.key),
                created_ms: now_ms,
                updated_ms: now_ms,
                updated_by: "muster".to_owned(),
            };
            self.pending.push(AlertWrite::Rule(Box::new(kept.row())));
            self.engine.set_rule(now_ms, rule, changes);
            self.rules.push(kept);
        }
        Ok(())
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
            Ask::Rules(reply) => drop(reply.send(Ok(self.rules.clone()))),
            Ask::PutRule { id, rule, by, reply } => drop(reply.send(self.put_rule(id, *rule, by).await)),
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

    /// Tells the engine what a server has now, and how healthy that is.
    async fn look_at_resources(
        &mut self,
        server: ServerId,
        now_ms: i64,
        changes: &mut Vec<Change>,
    ) -> Result<(), AlertError> {
        let store = self.app.store();
        let rows = store.estate(server).await?;
        let links = store.links(server, false).await?;
        let known = self.known.entry(server).or_default();
        let is_changed = known.take(rows);
        let links: Vec<(i64, i64)> = links
            .iter()
            .filter_map(|link| known.id_of(&link.from).zip(known.id_of(&link.to)))
            .collect();
        if is_changed || known.links != links {
            known.links.clone_from(&links);
            let resources = known.rows.iter().map(|row| ResourceFacts {
                id: row.id,
                kind: row.kind,
                name: row.name.clone(),
            });
            self.engine
                .set_resources(now_ms, server.0, resources.collect(), &links, changes);
        }
        let facts: Vec<(i64, ResourceKind, f64)> = known
            .rows
            .iter()
            .filter(|row| row.kind != ResourceKind::Server)
            .map(|row| (row.id, row.kind, facts::of_health(row.health)))
            .collect();
        for (resource, kind, value) in facts {
            self.tell(now_ms, server.0, resource, kind, rule::HEALTH, value, changes);
        }
        Ok(())
    }

    /// Tells the engine a number that the controller knows.
    #[expect(clippy::too_many_arguments, reason = "they are what names a fact, each once")]
    fn tell(
        &mut self,
        now_ms: i64,
        server: i64,
        resource: i64,
        kind: ResourceKind,
        name: &str,
        value: f64,
        changes: &mut Vec<Change>,
    ) {
        let interval_ms = if name == rule::HEALTH {
            FACT_INTERVAL_MS
        } else {
            QUICK_INTERVAL_MS
        };
        let slot = self.engine.bind(SeriesInfo {
            server,
            resource,
            kind,
            name: name.to_owned(),
            labels: Labels::default(),
            interval_ms,
            is_fact: true,
        });
        if let Some(slot) = slot {
            self.engine
                .row(now_ms, false, now_ms, std::iter::once((slot, value)), changes);
        }
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

    /// Looks which servers are heard, and tells the engine at once of those that are lost or are back.
    fn listen(&mut self, now_ms: i64, changes: &mut Vec<Change>) {
        let step_ms = i64::try_from(self.listened.elapsed().as_millis()).unwrap_or(i64::MAX);
        self.listened = Instant::now();
        let mut turned = Vec::new();
        for id in &self.servers {
            let server = ServerId(*id);
            let before = self.hearing.verdict(server);
            let live = self.app.presence().of(server);
            let heard = self.hearing.look(server, live, step_ms);
            if heard != before
                && before.is_some()
                && let Some(is_connected) = heard
            {
                turned.push((*id, is_connected));
            }
        }
        for (id, is_connected) in turned {
            self.tell_connected(now_ms, id, is_connected, changes);
        }
    }

    fn tell_connected(&mut self, now_ms: i64, id: i64, is_connected: bool, changes: &mut Vec<Change>) {
        self.engine.set_connected(now_ms, id, is_connected);
        let value = if is_connected { 1.0 } else { 0.0 };
        let (kind, name) = (ResourceKind::Server, rule::IS_CONNECTED);
        self.tell(now_ms, id, id, kind, name, value, changes);
    }

    /// Tells the engine how servers are. Those that are gone or not monitored are not judged.
    async fn look_at_servers(&mut self, now_ms: i64) -> Result<(), AlertError> {
        let mut seen = HashSet::new();
        let mut changes = Vec::new();
        for server in &self.app.all_servers(ServerFilter::default()).await? {
            if server.status != ServerStatus::Disabled {
                seen.insert(server.id.0);
                self.look_at_server(now_ms, server, &mut changes);
            }
        }
        let gone: Vec<i64> = self.servers.difference(&seen).copied().collect();
        for server in gone {
            self.engine.remove_server(now_ms, server, &mut changes);
            self.known.remove(&ServerId(server));
            self.hearing.forget(ServerId(server));
        }
        self.servers = seen;
        self.want(changes);
        Ok(())
    }

    /// Looks at a server that is new here; says whether it is judged.
    async fn meet(&mut self, server: ServerId, changes: &mut Vec<Change>) -> Result<bool, AlertError> {
        let server = match self.app.server(server).await {
            Ok(server) if server.status != ServerStatus::Disabled => server,
            Ok(_) | Err(AppError::NotFound { .. }) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        self.servers.insert(server.id.0);
        self.look_at_server(self.app.clock().now_ms(), &server, changes);
        Ok(true)
    }

    fn look_at_server(&mut self, now_ms: i64, server: &ServerView, changes: &mut Vec<Change>) {
        let id = server.id.0;
        let facts = ServerFacts {
            name: server.hostname.clone(),
            tags: server.tags.clone(),
        };
        self.engine.set_server(now_ms, id, facts, changes);
        // Of one that never reported nothing is missed.
        let is_connected = (server.status != ServerStatus::NeverSeen)
            .then(|| self.hearing.verdict(server.id))
            .flatten();
        if let Some(is_connected) = is_connected {
            self.tell_connected(now_ms, id, is_connected, changes);
        }
        let whole_ms =
            i64::try_from(self.app.settings().agent_certificate_ttl.as_millis()).unwrap_or(i64::MAX);
        let certificate = self.certificates.get(&id).map(|ends_ms| (*ends_ms, whole_ms));
        for (name, value) in facts::of_server(server, certificate, now_ms) {
            // Whether it is heard was told above, by the one who listens.
            if name == rule::IS_CONNECTED {
                continue;
            }
            self.tell(now_ms, id, id, ResourceKind::Server, name, value, changes);
        }
    }

    async fn put_rule(
        &mut self,
        id: Option<i64>,
        mut rule: muster_alert::Rule,
        by: String,
    ) -> Result<KeptRule, AlertError> {
        self.flush().await?;
        let now_ms = self.app.clock().now_ms();
        let place = match id {
            Some(id) => Some(
                self.rules
                    .iter()
                    .position(|kept| kept.rule.id == id)
                    .ok_or(AlertError::NotFound { what: "rule", id })?,
            ),
            None if RULES_MAX <= self.rules.len() => return Err(AlertError::TooMany(RULES_MAX)),
            None => None,
        };
        rule.id = id.unwrap_or(self.next_rule);
        let old = place.map(|place| &self.rules[place]);
        let kept = KeptRule {
            default_key: old.and_then(|old| old.default_key.clone()),
            created_ms: old.map_or(now_ms, |old| old.created_ms),
            updated_ms: now_ms,
            updated_by: by,
            rule: rule.clone(),
        };
        if id.is_none() {
            self.next_rule += 1;
        }
        match place {
            Some(place) => self.rules[place] = kept.clone(),
            None => self.rules.push(kept.clone()),
        }
        self.pending.push(AlertWrite::Rule(Box::new(kept.row())));
        let mut changes = Vec::new();
        self.engine.set_rule(now_ms, rule, &mut changes);
        self.tell_facts(now_ms, &mut changes);
        self.want(changes);
        self.flush().await?;
        Ok(kept)
    }

    /// Facts come rarely: a rule that is new learns them at once.
    fn tell_facts(&mut self, now_ms: i64, changes: &mut Vec<Change>) {
        let facts: Vec<(i64, i64, ResourceKind, f64)> = self
            .known
            .iter()
            .flat_map(|(server, known)| known.rows.iter().map(move |row| (server.0, row)))
            .filter(|(_, row)| row.kind != ResourceKind::Server)
            .map(|(server, row)| (server, row.id, row.kind, facts::of_health(row.health)))
            .collect();
        for (server, resource, kind, value) in facts {
            self.tell(now_ms, server, resource, kind, rule::HEALTH, value, changes);
        }
    }

    async fn delete_rule(&mut self, id: i64) -> Result<(), AlertError> {
        self.flush().await?;
        let place = self
            .rules
            .iter()
            .position(|kept| kept.rule.id == id)
            .ok_or(AlertError::NotFound { what: "rule", id })?;
        self.rules.remove(place);
        self.pending.push(AlertWrite::DeleteRule(id));
        let mut changes = Vec::new();
        let now_ms = self.app.clock().now_ms();
        self.engine.remove_rule(now_ms, id, &mut changes);
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
