//! The controller's side: real intake and real judgement, behind a model of its sessions.
//!
//! The intake has a thread of its own; each call here waits until it has answered, so that its timing decides nothing.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use muster_base::clock::WallClock;
use muster_base::id::{AgentId, ServerId};
use muster_controller::app::ingest::{Ingest, Limits, Placement, Source, Timeline};
use muster_controller::intake::{Accepted, Answer, Definitions, Intake, Options, Record, ReplyTo};
use muster_model::{Clock, RangeSet, Report};
use muster_proto::convert::{ranges_to_wire, report_from_wire};
use muster_proto::framing::Joiner;
use muster_proto::v1::agent_frame::Body as AgentBody;
use muster_proto::v1::agent_message::Body as MessageBody;
use muster_proto::v1::controller_frame::Body;
use muster_proto::v1::{
    Ack, AgentFrame, Close, CloseReason, ControllerFrame, EpochState, Hello, NeedDefinitions, Ping, Welcome,
};
use tokio::sync::mpsc;

use crate::oracle::Snapshot;
use crate::sabotage::Sabotage;

/// Bytes of reports that an agent may have unacknowledged.
const CREDIT_BYTES: u64 = 1024 * 1024;

/// What a session has read and not handed in yet.
pub(crate) enum Item {
    Report(Box<Report>, Vec<u8>, Placement),
    Definitions {
        epoch: u64,
        first_id: u32,
        count: usize,
        plain: Vec<u8>,
    },
}

/// One stream.
struct Session {
    link: u64,
    joiner: Joiner,
    is_greeted: bool,
    items: VecDeque<Item>,
    asked: Option<(u64, u32)>,
    timeline: Timeline,
}

/// What came of a frame.
pub(crate) enum Took {
    Nothing,
    /// The agent greets; it is to be welcomed.
    Hello(Hello),
    /// Something waits to be committed.
    Item,
    /// A rule was broken.
    Broken(String),
}

/// What one item came to.
pub(crate) struct Outcome {
    pub(crate) agent: usize,
    pub(crate) report: Option<Box<Report>>,
    pub(crate) answer: Answer,
}

/// A copy of the store.
pub(crate) struct Backup {
    dir: tempfile::TempDir,
    pub(crate) snapshot: Snapshot,
}

/// A running controller.
pub(crate) struct Controller {
    dir: tempfile::TempDir,
    intake: Intake,
    ingest: Ingest,
    pub(crate) clock: WallClock,
    sessions: BTreeMap<usize, Session>,
    pub(crate) store_epoch: u64,
    pings: u64,
    sabotage: Option<Sabotage>,
}

pub(crate) fn agent_id(agent: usize) -> AgentId {
    AgentId(uuid::Uuid::from_u128(0xa6e17 + agent as u128))
}

fn source(agent: usize) -> Source {
    Source {
        agent: agent_id(agent),
        server: ServerId(agent as i64 + 1),
    }
}

pub(crate) fn folder() -> tempfile::TempDir {
    // Memory where there is some: that a commit reaches the disk is SQLite's and is tested elsewhere.
    let shared = std::path::Path::new("/dev/shm");
    if shared.is_dir() {
        return tempfile::tempdir_in(shared).unwrap();
    }
    tempfile::tempdir().unwrap()
}

fn utf8(dir: &tempfile::TempDir) -> &Utf8Path {
    Utf8Path::from_path(dir.path()).unwrap()
}

/// The files as they are now, as a power loss would find them: nothing is closed first.
fn copy(from: &Utf8Path, to: &Utf8Path) {
    copy_files(&["intake.db", "intake.db-wal"], from, to);
}

fn copy_files(names: &[&str], from: &Utf8Path, to: &Utf8Path) {
    for name in names {
        let source: Utf8PathBuf = from.join(name);
        if source.exists() {
            std::fs::copy(source, to.join(name)).unwrap();
        }
    }
}

impl Controller {
    /// Starts on what `dir` holds.
    fn start_in(
        dir: tempfile::TempDir,
        store_epoch: u64,
        clock: WallClock,
        sabotage: Option<Sabotage>,
    ) -> Self {
        let options = Options {
            commit_after: std::time::Duration::ZERO,
            space: Arc::new(|_| None),
            ..Options::default()
        };
        let intake = Intake::open(utf8(&dir), options, clock.clone()).unwrap();
        let ingest = Ingest::new(intake.clone(), clock.clone(), Limits::default());
        Self {
            dir,
            intake,
            ingest,
            clock,
            sessions: BTreeMap::new(),
            store_epoch,
            pings: 0,
            sabotage,
        }
    }

    pub(crate) fn new(store_epoch: u64, clock: WallClock, sabotage: Option<Sabotage>) -> Self {
        Self::start_in(folder(), store_epoch, clock, sabotage)
    }

    /// Ends without a word and starts on what was on disk.
    pub(crate) async fn kill_and_restart(self) -> Self {
        let dir = folder();
        if self.sabotage == Some(Sabotage::ForgetCommits) {
            copy_files(&["intake.db"], utf8(&self.dir), utf8(&dir));
        } else {
            copy(utf8(&self.dir), utf8(&dir));
        }
        self.intake.close().await;
        Self::start_in(dir, self.store_epoch, self.clock.clone(), self.sabotage)
    }

    /// Ends in order and starts again.
    pub(crate) async fn restart(self) -> Self {
        self.intake.close().await;
        Self::start_in(self.dir, self.store_epoch, self.clock, self.sabotage)
    }

    pub(crate) fn back_up(&self, snapshot: Snapshot) -> Backup {
        let dir = folder();
        copy(utf8(&self.dir), utf8(&dir));
        Backup { dir, snapshot }
    }

    /// Ends, and starts on an older copy with a new store epoch.
    pub(crate) async fn restore(self, backup: &Backup, store_epoch: u64) -> Self {
        self.intake.close().await;
        let dir = folder();
        copy(utf8(&backup.dir), utf8(&dir));
        Self::start_in(dir, store_epoch, self.clock, self.sabotage)
    }

    /// All connections are gone, with what was read from them.
    pub(crate) fn forget_sessions(&mut self) {
        self.sessions.clear();
    }

    /// Takes a connection.
    pub(crate) fn connected(&mut self, agent: usize, link: u64) {
        let session = Session {
            link,
            joiner: Joiner::default(),
            is_greeted: false,
            items: VecDeque::new(),
            asked: None,
            timeline: Timeline::default(),
        };
        self.sessions.insert(agent, session);
    }

    /// The link of an agent's stream.
    pub(crate) fn link_of(&self, agent: usize) -> Option<u64> {
        self.sessions.get(&agent).map(|session| session.link)
    }

    pub(crate) fn disconnected(&mut self, agent: usize, link: u64) {
        if self.link_of(agent) == Some(link) {
            self.sessions.remove(&agent);
        }
    }

    pub(crate) fn take(&mut self, agent: usize, link: u64, frame: AgentFrame) -> Took {
        let Some(session) = self
            .sessions
            .get_mut(&agent)
            .filter(|session| session.link == link)
        else {
            return Took::Nothing;
        };
        let now_ms = self.clock.now_ms();
        match frame.body {
            Some(AgentBody::Hello(hello)) if !session.is_greeted => {
                session.is_greeted = true;
                session.learn(&hello, now_ms);
                Took::Hello(hello)
            }
            Some(AgentBody::Hello(_)) => Took::Broken("Hello came twice".to_owned()),
            Some(AgentBody::Fragment(fragment)) => match session.joiner.push(fragment) {
                Ok(None) => Took::Nothing,
                Ok(Some(joined)) => session.message(joined.message.body, joined.plain, now_ms),
                Err(error) => Took::Broken(error.to_string()),
            },
            Some(AgentBody::Pong(pong)) => {
                if let Some(Ok(clock)) = pong.clock.map(Clock::try_from) {
                    session.timeline.read(&clock, now_ms);
                }
                Took::Nothing
            }
            None => Took::Nothing,
        }
    }

    pub(crate) async fn welcome(&self, agent: usize, hello: &Hello, store_id: uuid::Uuid) -> ControllerFrame {
        let mut epochs: Vec<u64> = hello.epochs.iter().map(|held| held.epoch).collect();
        if !epochs.contains(&hello.epoch) {
            epochs.push(hello.epoch);
        }
        let cursors = self.ingest.cursors(agent_id(agent), epochs).await.unwrap();
        let epochs = cursors.iter().map(|cursor| EpochState {
            epoch: cursor.epoch,
            stored: ranges_to_wire(&cursor.ranges),
            definitions: cursor.definitions,
        });
        let welcome = Welcome {
            protocol: hello.protocol,
            store_id: store_id.as_bytes().to_vec(),
            store_epoch: self.store_epoch,
            epochs: epochs.collect(),
            credit_bytes: CREDIT_BYTES,
            alert_bytes: None,
            ..Welcome::default()
        };
        frame(Body::Welcome(welcome))
    }

    pub(crate) fn ping(&mut self) -> ControllerFrame {
        self.pings += 1;
        frame(Body::Ping(Ping {
            id: self.pings,
            wall_ms: self.clock.now_ms(),
            ..Ping::default()
        }))
    }

    /// Everything that was read and not handed in.
    pub(crate) fn waiting(&mut self) -> Vec<(usize, Item)> {
        let waiting = self.sessions.iter_mut().flat_map(|(agent, session)| {
            session
                .items
                .drain(..)
                .map(|item| (*agent, item))
                .collect::<Vec<_>>()
        });
        waiting.collect()
    }

    /// Hands everything in and waits for the answers.
    pub(crate) async fn commit(&self, items: Vec<(usize, Item)>) -> Vec<Outcome> {
        let mut answers = Vec::new();
        for (agent, item) in items {
            let (answer_tx, answer) = mpsc::unbounded_channel();
            let reply_to = ReplyTo::new(answer_tx, None);
            let report = match item {
                Item::Report(mut report, plain, placement) => {
                    if let Some(sabotage) = self.sabotage {
                        sabotage.spoil(&mut report);
                    }
                    let told = report.clone();
                    self.ingest
                        .report(source(agent), *report, plain, placement, reply_to)
                        .await
                        .unwrap();
                    Some(told)
                }
                Item::Definitions {
                    epoch,
                    first_id,
                    count,
                    plain,
                } => {
                    self.ingest
                        .definitions(source(agent), epoch, first_id, count, plain, reply_to)
                        .await
                        .unwrap();
                    None
                }
            };
            answers.push((agent, report, answer));
        }
        let mut outcomes = Vec::new();
        for (agent, report, mut answer) in answers {
            let answer = answer.recv().await.expect("everything handed in is answered");
            outcomes.push(Outcome {
                agent,
                report,
                answer,
            });
        }
        outcomes
    }

    /// The frames that tell one agent of answers, the last of which may be the end.
    pub(crate) fn frames(&mut self, agent: usize, answers: &[Answer]) -> Vec<ControllerFrame> {
        let Some(session) = self.sessions.get_mut(&agent) else {
            return Vec::new();
        };
        let mut told: BTreeMap<u64, (RangeSet, u32)> = BTreeMap::new();
        let mut bodies = Vec::new();
        for answer in answers {
            match answer {
                Answer::Stored { epoch, sequence, .. } => {
                    let ranges = &mut told.entry(*epoch).or_default().0;
                    let _ = ranges.insert(*sequence);
                    if self.sabotage == Some(Sabotage::AckOneMore) {
                        let _ = ranges.insert(*sequence + 1);
                    }
                }
                Answer::Defined { epoch, definitions } => {
                    let known = &mut told.entry(*epoch).or_default().1;
                    *known = (*known).max(*definitions);
                }
                Answer::NeedDefinitions { epoch, from_id } => {
                    if session.asked.replace((*epoch, *from_id)) != Some((*epoch, *from_id)) {
                        bodies.push(Body::NeedDefinitions(NeedDefinitions {
                            epoch: *epoch,
                            from_id: *from_id,
                        }));
                    }
                }
                Answer::TooManyHoles { lowest_hole, .. } => {
                    return vec![close("too many holes", *lowest_hole)];
                }
                Answer::Failed => return vec![close("reports could not be stored", 0)],
            }
        }
        if !told.is_empty() {
            session.asked = session.asked.filter(|_| !bodies.is_empty());
        }
        let acks = told.into_iter().map(|(epoch, (stored, definitions))| {
            Body::Ack(Ack {
                epoch,
                stored: ranges_to_wire(&stored),
                definitions,
            })
        });
        bodies.extend(acks);
        bodies.into_iter().map(frame).collect()
    }

    /// Everything in the log, as a controller reads it that has just started.
    pub(crate) async fn log(&self, agents: usize) -> Vec<(usize, Arc<Accepted>)> {
        let mut log = Vec::new();
        let mut position = 0;
        loop {
            let page = self.intake.page_after(position, 1_000, 1 << 30).await.unwrap();
            let Some(last) = page.records.last() else {
                return log;
            };
            assert!(position < last.position(), "positions rise");
            position = last.position();
            for record in page.records {
                let Record::Good(accepted) = record else {
                    panic!("a stored record can't be read: {record:?}");
                };
                let agent = (0..agents).find(|agent| agent_id(*agent) == accepted.agent);
                log.push((agent.expect("a known agent"), accepted));
            }
        }
    }

    pub(crate) async fn definitions(&self, agent: usize, epoch: u64) -> Definitions {
        self.intake.definitions(agent_id(agent), epoch, 1).await.unwrap()
    }

    pub(crate) async fn close(self) {
        self.intake.close().await;
    }
}

impl Session {
    /// Takes what an agent says of its clocks when it greets.
    fn learn(&mut self, hello: &Hello, now_ms: i64) {
        let lasts = hello.epochs.iter().filter_map(|held| held.last_clock.clone());
        let lasts: Vec<Clock> = lasts.filter_map(|clock| Clock::try_from(clock).ok()).collect();
        self.timeline = Timeline::new(hello.built_ms, &lasts, now_ms);
        if let Some(Ok(clock)) = hello.clock.clone().map(Clock::try_from) {
            self.timeline.read(&clock, now_ms);
        }
    }

    fn message(&mut self, body: Option<MessageBody>, plain: Vec<u8>, now_ms: i64) -> Took {
        let item = match body {
            Some(MessageBody::Report(report)) => match report_from_wire(report) {
                Ok(report) => {
                    let placement = self.timeline.place(&report.clock, now_ms);
                    Item::Report(Box::new(report), plain, placement)
                }
                Err(error) => return Took::Broken(error.to_string()),
            },
            Some(MessageBody::Definitions(definitions)) => Item::Definitions {
                epoch: definitions.epoch,
                first_id: definitions.first_id,
                count: definitions.series.len(),
                plain,
            },
            _ => return Took::Nothing,
        };
        self.items.push_back(item);
        Took::Item
    }
}

fn frame(body: Body) -> ControllerFrame {
    ControllerFrame { body: Some(body) }
}

pub(crate) fn close(message: &str, sequence: u64) -> ControllerFrame {
    frame(Body::Close(Close {
        reason: CloseReason::Overloaded.into(),
        message: message.to_owned(),
        sequence,
        retry_after_ms: 5_000,
    }))
}

pub(crate) fn is_close(frame: &ControllerFrame) -> bool {
    matches!(frame.body, Some(Body::Close(_)))
}
