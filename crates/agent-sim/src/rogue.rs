//! A simulated agent that misbehaves. It makes its own stream, because the real agent's does not lend itself to it.
//!
//! What it owes is as with the others: its honest samples are produced, and have to be acknowledged. So each stream
//! begins with everything that is not, and the controller is to make one of it whatever else it hears.
//!
//! Bounded: at [`UNACKED_MAX`] reports or [`FRAMES_MAX`] frames that wait, nothing is produced.

mod mischief;

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use muster_agent::clocks::ClockReader;
use muster_agent::identity::Identity;
use muster_agent::outbox::Acked;
use muster_agent::uplink;
use muster_model::RangeSet;
use muster_proto::convert::{ranges_from_wire, ranges_to_wire};
use muster_proto::framing::cut_encoded;
use muster_proto::v1::agent_frame::Body as FrameBody;
use muster_proto::v1::agent_link_client::AgentLinkClient;
use muster_proto::v1::controller_frame::Body as ControllerBody;
use muster_proto::v1::{
    AgentFrame, Close, ControllerFrame, EpochState, HeldEpoch, Hello, Lane, Pong, SequenceRange, Welcome,
};
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep_until, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::agent::Shared;
use crate::fault::Fault;

/// Reports that are not acknowledged, at most.
const UNACKED_MAX: usize = 512;
/// Frames that wait to be written, at most; beyond, nothing is produced.
const FRAMES_MAX: usize = 1_024;
/// Frames between this and the connection.
const CHANNEL_MAX: usize = 4;
/// How long the controller may take to welcome.
const WELCOME_MAX: Duration = Duration::from_secs(20);
/// Without a frame for this long the stream is dead.
const SILENCE_MAX: Duration = Duration::from_secs(35);
/// How long a slow agent thinks about each frame.
const SLOWNESS: Duration = Duration::from_millis(400);

/// A report on its way.
struct Unacked {
    message: Vec<u8>,
    acked: Acked,
    made: Instant,
}

/// How a stream has ended.
enum End {
    /// Nothing is left to do.
    Done,
    /// To be tried again after this time.
    Again(Duration),
}

/// One agent that misbehaves.
pub(crate) struct Rogue {
    name: Arc<str>,
    shared: Arc<Shared>,
    identity: Identity,
    source: Option<IpAddr>,
    clocks: ClockReader,
    fault: Fault,
    epoch: u64,
    ticker: Interval,
    tick: u64,
    sequence: u64,
    /// Series defined so far.
    defined: u32,
    unacked: BTreeMap<u64, Unacked>,
    /// Messages that wait to be shuffled.
    withheld: Vec<u64>,
    queue: VecDeque<AgentFrame>,
    was_connected: bool,
    is_producing: bool,
}

impl Rogue {
    /// An agent that does nothing yet.
    pub(crate) fn new(
        name: &str,
        identity: Identity,
        shared: &Arc<Shared>,
        (fault, source): (Fault, Option<IpAddr>),
        (epoch, clocks): (u64, ClockReader),
    ) -> Self {
        Self {
            name: name.into(),
            identity,
            source,
            clocks,
            fault,
            epoch,
            ticker: tokio::time::interval(shared.interval),
            tick: 0,
            sequence: 0,
            defined: u32::try_from(shared.series.len()).expect("the command line bounds it"),
            unacked: BTreeMap::new(),
            withheld: Vec::new(),
            queue: VecDeque::new(),
            was_connected: false,
            is_producing: true,
            shared: Arc::clone(shared),
        }
    }

    /// Misbehaves from `start` on until all is acknowledged after the end of production, or the fleet ends.
    pub(crate) async fn run(mut self, start: Duration, offset: Duration) {
        let stop = self.shared.stop.clone();
        let living = async {
            tokio::time::sleep(start).await;
            self.ticker = interval_at(Instant::now() + offset, self.shared.interval);
            self.ticker.set_missed_tick_behavior(MissedTickBehavior::Skip);
            while let End::Again(pause) = self.stream().await {
                tokio::time::sleep(pause + pause.mul_f64(fastrand::f64())).await;
            }
        };
        stop.run_until_cancelled(living).await;
    }

    /// One stream.
    async fn stream(&mut self) -> End {
        self.queue.clear();
        self.withheld.clear();
        if self.is_done() {
            return End::Done;
        }
        let (frames_tx, frames_rx) = mpsc::channel(CHANNEL_MAX);
        let hello = AgentFrame {
            body: Some(FrameBody::Hello(self.hello())),
        };
        let opening = async {
            frames_tx.send(hello).await?;
            let channel = uplink::dial(
                &self.identity,
                &self.shared.controller,
                self.source,
                self.clocks.clone(),
            )
            .await?;
            let mut client = AgentLinkClient::new(channel);
            let mut inbound = client.connect(ReceiverStream::new(frames_rx)).await?.into_inner();
            let first = inbound.message().await?;
            anyhow::Ok((inbound, first))
        };
        match timeout(WELCOME_MAX, opening).await {
            Ok(Ok((
                inbound,
                Some(ControllerFrame {
                    body: Some(ControllerBody::Welcome(welcome)),
                }),
            ))) => {
                self.welcome(&welcome);
                self.converse(inbound, frames_tx).await
            }
            Ok(Ok((
                _,
                Some(ControllerFrame {
                    body: Some(ControllerBody::Close(close)),
                }),
            ))) => again(&close),
            _ => End::Again(Duration::from_secs(1)),
        }
    }

    #[allow(clippy::needless_update, reason = "messages get fields with time")]
    fn hello(&self) -> Hello {
        let numbers: RangeSet = self
            .unacked
            .keys()
            .map(|&number| muster_model::SequenceRange {
                first: number,
                last: number,
            })
            .collect();
        let mut hello = Hello {
            protocol: muster_proto::PROTOCOL_VERSION,
            agent_version: uplink::AGENT_VERSION.to_owned(),
            hostname: self.name.to_string(),
            clock: Some(self.clocks.now().into()),
            epoch: self.epoch,
            epochs: vec![HeldEpoch {
                epoch: self.epoch,
                held: ranges_to_wire(&numbers),
                definitions: self.defined,
                ..HeldEpoch::default()
            }],
            ..Hello::default()
        };
        self.color(&mut hello);
        hello
    }

    fn welcome(&mut self, welcome: &Welcome) {
        self.shared
            .journal
            .connected(!std::mem::replace(&mut self.was_connected, true));
        let known = welcome.epochs.iter().find(|state| state.epoch == self.epoch);
        if let Some(EpochState { stored, .. }) = known {
            self.acked(stored);
        }
        self.say_all(known.map_or(1, |state| state.definitions + 1));
    }

    /// Queues definitions from an id on, and every report that is not acknowledged.
    fn say_all(&mut self, from_id: u32) {
        self.define(from_id, self.defined);
        let numbers: Vec<u64> = self.unacked.keys().copied().collect();
        for number in numbers {
            self.say(number);
        }
    }

    async fn converse(
        &mut self,
        mut inbound: Streaming<ControllerFrame>,
        frames_tx: mpsc::Sender<AgentFrame>,
    ) -> End {
        let pace = match self.fault {
            Fault::Slow => SLOWNESS,
            _ => Duration::ZERO,
        };
        let stop_producing = self.shared.stop_producing.clone();
        let (mut write_at, mut read_at) = (Instant::now(), Instant::now());
        loop {
            if self.is_done() && self.queue.is_empty() {
                return End::Done;
            }
            let reading = async {
                sleep_until(read_at).await;
                timeout(SILENCE_MAX, inbound.message()).await
            };
            let writing = async {
                sleep_until(write_at).await;
                frames_tx.reserve().await
            };
            tokio::select! {
                frame = reading => {
                    let Ok(Ok(Some(frame))) = frame else {
                        return End::Again(Duration::from_secs(1));
                    };
                    read_at = Instant::now() + pace;
                    if let Some(end) = self.take(frame) {
                        return end;
                    }
                }
                permit = writing, if !self.queue.is_empty() => {
                    let (Ok(permit), Some(frame)) = (permit, self.queue.pop_front()) else {
                        return End::Again(Duration::from_secs(1));
                    };
                    permit.send(frame);
                    write_at = Instant::now() + pace;
                }
                () = stop_producing.cancelled(), if self.is_producing => {
                    self.is_producing = false;
                    self.shuffle();
                }
                _ = self.ticker.tick(), if self.is_producing => self.produce(),
            }
        }
    }

    fn take(&mut self, frame: ControllerFrame) -> Option<End> {
        match frame.body? {
            ControllerBody::Ack(ack) if ack.epoch == self.epoch => self.acked(&ack.stored),
            ControllerBody::NeedDefinitions(need) if need.epoch == self.epoch => self.say_all(need.from_id),
            ControllerBody::Ping(ping) => self.queue.push_front(AgentFrame {
                body: Some(FrameBody::Pong(Pong {
                    id: ping.id,
                    clock: Some(self.clocks.now().into()),
                })),
            }),
            ControllerBody::Close(close) => return Some(again(&close)),
            _ => {}
        }
        None
    }

    fn acked(&mut self, stored: &[SequenceRange]) {
        let Ok(stored) = ranges_from_wire(stored) else {
            return;
        };
        let mut acked = Vec::new();
        self.unacked.retain(|number, held| {
            let is_stored = stored.contains(*number);
            if is_stored {
                acked.push(Acked {
                    latency: held.made.elapsed(),
                    ..held.acked.clone()
                });
            }
            !is_stored
        });
        self.shared.journal.acked(&self.name, self.epoch, &acked);
    }

    /// Makes a report with an honest sample of each series, and whatever else this agent would say.
    fn produce(&mut self) {
        if UNACKED_MAX <= self.unacked.len() || FRAMES_MAX <= self.queue.len() {
            return;
        }
        self.misbehave();
        let made = Instant::now();
        self.sequence += 1;
        let (message, at_ms) = self.report();
        let sample_count = u32::try_from(self.shared.series.len()).expect("the command line bounds it");
        self.shared.journal.produced(sample_count.into());
        self.tick += 1;
        let acked = Acked {
            sequence: self.sequence,
            sample_count,
            first_ms: at_ms,
            last_ms: at_ms,
            latency: Duration::ZERO,
        };
        self.unacked
            .insert(self.sequence, Unacked { message, acked, made });
        self.say(self.sequence);
    }

    /// Queues a report in the way of this agent.
    fn say(&mut self, number: u64) {
        match self.fault {
            Fault::Reorder if self.is_producing => {
                self.withheld.push(number);
                if 6 <= self.withheld.len() {
                    self.shuffle();
                }
            }
            Fault::Duplicate => (0..fastrand::u32(1..=6)).for_each(|_| self.queue_report(number)),
            _ => self.queue_report(number),
        }
    }

    fn shuffle(&mut self) {
        let mut numbers = std::mem::take(&mut self.withheld);
        fastrand::shuffle(&mut numbers);
        for number in numbers {
            self.queue_report(number);
        }
    }

    fn queue_report(&mut self, number: u64) {
        if let Some(held) = self.unacked.get(&number) {
            queue(&mut self.queue, &held.message, Lane::Live, number);
        }
    }

    fn queue_control(&mut self, message: &[u8]) {
        queue(&mut self.queue, message, Lane::Control, 0);
    }

    fn is_done(&self) -> bool {
        self.unacked.is_empty() && self.shared.stop_producing.is_cancelled()
    }
}

/// A message over the limit can't be cut, and is left out.
fn queue(queue: &mut VecDeque<AgentFrame>, message: &[u8], lane: Lane, number: u64) {
    for fragment in cut_encoded(message, lane, number).unwrap_or_default() {
        queue.push_back(AgentFrame {
            body: Some(FrameBody::Fragment(fragment)),
        });
    }
}

fn again(close: &Close) -> End {
    End::Again(Duration::from_millis(close.retry_after_ms.into()).max(Duration::from_secs(1)))
}
