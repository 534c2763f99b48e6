//! The streams that are open right now, and what can be asked of the agents behind them.
//!
//! One stream a server: a newer one closes the older, unless that is the same agent's and still answers: then two hold
//! one identity, and whoever opens the newer one learns that by its [`Rival`]. Bounded by the number of servers; what
//! can be waiting for one agent is bounded too, and beyond it the asker is told that the agent is busy.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use muster_base::id::{AgentId, ServerId};
use thiserror::Error;
use tokio::sync::{Notify, mpsc, oneshot, watch};

/// Requests that may wait for one agent.
const REQUESTS_MAX: usize = 16;

/// Agents cut off lately that are remembered; admission takes far less time than that many changes.
const CUT_MAX: usize = 1_024;
/// Cadences set lately that are remembered, for the same reason.
const CADENCES_MAX: usize = 1_024;

/// Why a stream is closed from our side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// A newer stream of the same server has come.
    Replaced,
    /// The identity was revoked.
    Revoked,
    /// The identity was put in quarantine.
    Quarantined,
    /// The agent should come again.
    Again,
}

/// How often a server is to collect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cadence {
    /// Time between collections, if someone set one, in seconds.
    pub interval_s: Option<u32>,
    /// Nothing is collected; the agent only answers pings.
    pub heartbeat_only: bool,
}

/// What an agent says when a collection that was asked for is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collected {
    /// Whether every collector that ran brought facts or found nothing to read.
    pub success: bool,
    /// For people: what failed.
    pub message: String,
    /// The agent that collected.
    pub agent: AgentId,
    /// Epoch of the reports with the result.
    pub epoch: u64,
    /// Highest number of the reports with the result; 0 if there are none.
    pub last_sequence: u64,
}

/// Something asked of one agent.
#[derive(Debug)]
pub enum AgentRequest {
    /// To collect now.
    Collect {
        /// Which collectors; empty means all.
        collectors: Vec<String>,
        /// Answered when the collection is over; dropped when the stream ends before.
        reply: oneshot::Sender<Collected>,
    },
    /// To renew its certificate.
    Renew,
}

/// Why an agent could not be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AskError {
    /// It has no open stream.
    #[error("the agent is not connected")]
    NotConnected,
    /// Too much is waiting for it already.
    #[error("too many requests are waiting for the agent")]
    Busy,
}

/// The registry of open streams; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Agents {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    streams: HashMap<ServerId, Stream>,
    count: u64,
    /// Cadences set lately: an agent that was admitted just before has read the one before.
    cadences: VecDeque<(ServerId, Cadence)>,
    /// Agents cut off lately: one that was admitted just before has no stream yet when that happens.
    cut: VecDeque<(AgentId, Ending)>,
}

#[derive(Debug)]
struct Stream {
    id: u64,
    agent: AgentId,
    request_tx: mpsc::Sender<AgentRequest>,
    challenge_tx: mpsc::Sender<Challenge>,
    ending_tx: watch::Sender<Option<Ending>>,
    cadence_tx: watch::Sender<Option<Cadence>>,
    commands: Arc<Notify>,
}

/// A wish to know whether somebody still answers on a stream: to be sent back once a ping that was sent after it came
/// was answered.
pub type Challenge = oneshot::Sender<()>;

/// The older stream of the same agent. When this is dropped that stream is told to close.
#[derive(Debug)]
pub struct Rival {
    challenge_tx: mpsc::Sender<Challenge>,
    ending_tx: watch::Sender<Option<Ending>>,
}

impl Rival {
    /// Whether somebody answers on the older stream within this time. An agent that opened a newer one does not: it
    /// has dropped the older before.
    pub async fn answers(&self, within: Duration) -> bool {
        let (proof_tx, proof) = oneshot::channel();
        if self.challenge_tx.try_send(proof_tx).is_err() {
            return false;
        }
        tokio::time::timeout(within, proof)
            .await
            .is_ok_and(|proof| proof.is_ok())
    }

    /// Closes the older stream for this reason.
    pub fn end(self, ending: Ending) {
        self.ending_tx.send_replace(Some(ending));
    }
}

impl Drop for Rival {
    fn drop(&mut self) {
        self.ending_tx.send_if_modified(|ending| {
            let is_new = ending.is_none();
            if is_new {
                *ending = Some(Ending::Replaced);
            }
            is_new
        });
    }
}

/// A stream's place in the registry; dropping it ends that.
#[derive(Debug)]
pub struct Registration {
    agents: Agents,
    server: ServerId,
    id: u64,
    /// What is asked of the agent.
    pub requests: mpsc::Receiver<AgentRequest>,
    /// Whether somebody still answers on this stream, because another of the same agent has come.
    pub challenges: mpsc::Receiver<Challenge>,
    /// Turns to `Some` when the stream is to be closed.
    pub ending: watch::Receiver<Option<Ending>>,
    /// Turns to `Some` when the server's cadence is set, and with each further change.
    pub cadence: watch::Receiver<Option<Cadence>>,
    /// Told when there is a command for the agent.
    pub commands: Arc<Notify>,
    /// The older stream of the same agent, if there was one.
    pub rival: Option<Rival>,
}

impl Agents {
    /// Registers a stream. An older one of this server is told to close if another agent has it; else it is the new
    /// one's [`Registration::rival`].
    #[must_use]
    pub fn register(&self, server: ServerId, agent: AgentId) -> Registration {
        let (request_tx, requests) = mpsc::channel(REQUESTS_MAX);
        let (challenge_tx, challenges) = mpsc::channel(1);
        let mut inner = self.lock();
        let cut = inner.cut.iter().find(|(cut, _)| *cut == agent);
        let (ending_tx, ending) = watch::channel(cut.map(|(_, ending)| *ending));
        let known = inner.cadences.iter().rfind(|(of, _)| *of == server);
        let (cadence_tx, mut cadence) = watch::channel(known.map(|(_, cadence)| *cadence));
        cadence.mark_changed();
        let commands = Arc::new(Notify::new());
        inner.count += 1;
        let id = inner.count;
        let older = inner.streams.insert(
            server,
            Stream {
                id,
                agent,
                request_tx,
                challenge_tx,
                ending_tx,
                cadence_tx,
                commands: Arc::clone(&commands),
            },
        );
        drop(inner);
        let is_same = older.as_ref().is_some_and(|older| older.agent == agent);
        // Of another agent of the same server, the rival is dropped here and so told to close.
        let rival = older
            .map(|older| Rival {
                challenge_tx: older.challenge_tx,
                ending_tx: older.ending_tx,
            })
            .filter(|_| is_same);
        Registration {
            agents: self.clone(),
            server,
            id,
            requests,
            challenges,
            ending,
            cadence,
            commands,
            rival,
        }
    }

    /// Asks the agent of a server to collect.
    ///
    /// # Errors
    /// [`AskError`] if it is not connected or busy.
    pub fn collect(
        &self,
        server: ServerId,
        collectors: Vec<String>,
    ) -> Result<oneshot::Receiver<Collected>, AskError> {
        let request_tx = match self.lock().streams.get(&server) {
            Some(stream) => stream.request_tx.clone(),
            None => return Err(AskError::NotConnected),
        };
        let (reply, collected) = oneshot::channel();
        match request_tx.try_send(AgentRequest::Collect { collectors, reply }) {
            Ok(()) => Ok(collected),
            Err(mpsc::error::TrySendError::Full(_)) => Err(AskError::Busy),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(AskError::NotConnected),
        }
    }

    /// Asks the agent of a server to renew its certificate.
    ///
    /// # Errors
    /// [`AskError`] if it is not connected or busy.
    pub fn renew(&self, server: ServerId) -> Result<(), AskError> {
        let request_tx = match self.lock().streams.get(&server) {
            Some(stream) => stream.request_tx.clone(),
            None => return Err(AskError::NotConnected),
        };
        request_tx
            .try_send(AgentRequest::Renew)
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => AskError::Busy,
                mpsc::error::TrySendError::Closed(_) => AskError::NotConnected,
            })
    }

    /// Closes the stream of an agent that may not connect any more, if it has one.
    pub fn cut(&self, agent: AgentId, ending: Ending) {
        let mut inner = self.lock();
        inner.cut.push_back((agent, ending));
        if CUT_MAX < inner.cut.len() {
            inner.cut.pop_front();
        }
        for stream in inner.streams.values().filter(|stream| stream.agent == agent) {
            stream.ending_tx.send_replace(Some(ending));
        }
    }

    /// Tells the agent of a server how often to collect from now on.
    pub fn set_cadence(&self, server: ServerId, cadence: Cadence) {
        let mut inner = self.lock();
        inner.cadences.retain(|(of, _)| *of != server);
        inner.cadences.push_back((server, cadence));
        if CADENCES_MAX < inner.cadences.len() {
            inner.cadences.pop_front();
        }
        if let Some(stream) = inner.streams.get(&server) {
            stream.cadence_tx.send_replace(Some(cadence));
        }
    }

    /// Tells the stream of a server that there is a command for its agent. Without one, the next stream looks by itself.
    pub fn command(&self, server: ServerId) {
        if let Some(stream) = self.lock().streams.get(&server) {
            stream.commands.notify_one();
        }
    }

    /// Tells every stream to look for commands.
    pub fn command_all(&self) {
        for stream in self.lock().streams.values() {
            stream.commands.notify_one();
        }
    }

    /// Lets an agent come again that was cut off.
    pub fn allow(&self, agent: AgentId) {
        self.lock().cut.retain(|(cut, _)| *cut != agent);
    }

    /// Closes every stream, so that each agent comes again and is judged anew.
    pub fn close_all(&self) {
        for stream in self.lock().streams.values() {
            stream.ending_tx.send_replace(Some(Ending::Again));
        }
    }

    /// The agents with an open stream.
    #[must_use]
    pub fn connected(&self) -> Vec<(ServerId, AgentId)> {
        self.lock()
            .streams
            .iter()
            .map(|(server, stream)| (*server, stream.agent))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing in here can panic half way.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut inner = self.agents.lock();
        // The place may be a newer stream's by now.
        if inner
            .streams
            .get(&self.server)
            .is_some_and(|stream| stream.id == self.id)
        {
            inner.streams.remove(&self.server);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: ServerId = ServerId(4);

    fn agent(n: u128) -> AgentId {
        AgentId(uuid::Uuid::from_u128(n))
    }

    #[tokio::test]
    async fn a_newer_stream_closes_the_older_and_outlives_its_end() {
        let agents = Agents::default();
        let mut old = agents.register(SERVER, agent(1));
        let mut new = agents.register(SERVER, agent(1));
        let rival = new.rival.take().unwrap();
        assert!(!rival.answers(Duration::from_millis(1)).await);
        assert!(old.challenges.recv().await.unwrap().is_closed());
        assert_eq!(*old.ending.borrow(), None);
        drop(rival);
        assert_eq!(*old.ending.borrow(), Some(Ending::Replaced));
        assert_eq!(*new.ending.borrow(), None);
        drop(old);
        assert_eq!(agents.connected(), [(SERVER, agent(1))]);
        drop(new);
        assert_eq!(
            agents.collect(SERVER, vec![]).unwrap_err(),
            AskError::NotConnected
        );
    }

    #[tokio::test]
    async fn an_older_stream_that_still_answers_is_told_from_one_that_does_not() {
        let agents = Agents::default();
        let mut old = agents.register(SERVER, agent(1));
        let rival = agents.register(SERVER, agent(1)).rival.take().unwrap();
        let answering = tokio::spawn(async move { old.challenges.recv().await.unwrap().send(()) });
        assert!(rival.answers(Duration::from_secs(60)).await);
        answering.await.unwrap().unwrap();
        let gone = agents.register(ServerId(9), agent(2));
        let rival = agents.register(ServerId(9), agent(2)).rival.take().unwrap();
        drop(gone);
        assert!(!rival.answers(Duration::from_secs(60)).await);
    }

    #[test]
    fn a_stream_of_the_agent_that_follows_closes_that_of_the_one_before_at_once() {
        let agents = Agents::default();
        let old = agents.register(SERVER, agent(1));
        assert!(agents.register(SERVER, agent(2)).rival.is_none());
        assert_eq!(*old.ending.borrow(), Some(Ending::Replaced));
    }

    #[test]
    fn a_revoked_identity_is_closed_and_others_are_not() {
        let agents = Agents::default();
        let one = agents.register(SERVER, agent(1));
        let two = agents.register(ServerId(5), agent(2));
        agents.cut(agent(1), Ending::Revoked);
        assert_eq!(
            (*one.ending.borrow(), *two.ending.borrow()),
            (Some(Ending::Revoked), None)
        );
    }

    #[test]
    fn an_identity_revoked_between_admission_and_registration_is_closed() {
        let agents = Agents::default();
        agents.cut(agent(1), Ending::Revoked);
        assert_eq!(
            *agents.register(SERVER, agent(1)).ending.borrow(),
            Some(Ending::Revoked)
        );
    }

    #[test]
    fn a_cadence_reaches_the_stream_that_is_there_and_the_one_that_is_just_coming() {
        let agents = Agents::default();
        let cadence = Cadence {
            interval_s: Some(60),
            heartbeat_only: true,
        };
        let there = agents.register(SERVER, agent(1));
        assert_eq!(*there.cadence.borrow(), None);
        agents.set_cadence(SERVER, cadence);
        assert_eq!(*there.cadence.borrow(), Some(cadence));
        assert_eq!(*agents.register(SERVER, agent(1)).cadence.borrow(), Some(cadence));
        for n in 0..2 * CADENCES_MAX as i64 {
            agents.set_cadence(ServerId(n), cadence);
        }
        assert_eq!(agents.lock().cadences.len(), CADENCES_MAX);
    }

    #[test]
    fn an_agent_is_asked_only_so_much_at_once() {
        let agents = Agents::default();
        let _stream = agents.register(SERVER, agent(1));
        for _ in 0..REQUESTS_MAX {
            assert!(agents.collect(SERVER, vec![]).is_ok());
        }
        assert_eq!(agents.collect(SERVER, vec![]).unwrap_err(), AskError::Busy);
    }
}
