//! How reports of each lane get into the intake, and how much of each a stream may make us keep.
//!
//! What alerts depend on is handed in by whoever reads, at once. Live reports and backlog wait for room in the intake
//! in tasks of their own, in their order, so that a stream on which they wait is read on: up to what its rooms hold.

use std::sync::Arc;

use muster_model::Report;
use muster_proto::v1::Lane;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::app::ingest::{Ingest, Placement, Source, Unacceptable};
use crate::intake::{Answer, IntakeError, ReplyTo};

/// Bytes of messages, decompressed, that may be unanswered: of what is live, with definitions; of backlog; of what
/// alerts depend on. An agent that keeps to its credit never gets there; one that does not is read no further.
const LIVE_BYTES_MAX: usize = 2 * 1024 * 1024;
const BACKLOG_BYTES_MAX: usize = 1024 * 1024;
const ALERT_BYTES_MAX: usize = 512 * 1024;
/// The least of them: no message is counted as more.
pub(super) const ROOM_BYTES_MIN: usize = ALERT_BYTES_MAX;
/// Messages whose answers are not sent yet: what a peer that sends and does not read makes us keep.
const UNTOLD_MAX: usize = 16 * 1024;

/// What a stream may make us keep.
#[derive(Debug, Clone)]
pub(in crate::grpc::session) struct Rooms {
    live: Arc<Semaphore>,
    backlog: Arc<Semaphore>,
    alert: Arc<Semaphore>,
    /// Given back by whoever tells the answers.
    pub(in crate::grpc::session) untold: Arc<Semaphore>,
}

impl Rooms {
    pub(in crate::grpc::session) fn new() -> Self {
        Self {
            live: Arc::new(Semaphore::new(LIVE_BYTES_MAX)),
            backlog: Arc::new(Semaphore::new(BACKLOG_BYTES_MAX)),
            alert: Arc::new(Semaphore::new(ALERT_BYTES_MAX)),
            untold: Arc::new(Semaphore::new(UNTOLD_MAX)),
        }
    }

    pub(super) const fn of(&self, lane: Lane) -> &Arc<Semaphore> {
        match lane {
            Lane::Backlog => &self.backlog,
            Lane::Alert => &self.alert,
            Lane::Unspecified | Lane::Control | Lane::Live => &self.live,
        }
    }
}

/// A report that waits to be handed in.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) what: Result<(Report, Placement), Unacceptable>,
    pub(super) plain: Vec<u8>,
    pub(super) credit: OwnedSemaphorePermit,
}

/// One way into the intake. As a channel it is unbounded; each report in it has taken its room. Boxed, because a channel
/// makes places for 32 at once, and nearly all ways of a fleet are empty.
#[derive(Debug)]
pub(super) struct Way {
    waiting_tx: mpsc::UnboundedSender<Box<Waiting>>,
    _feeding: Option<AbortOnDropHandle<()>>,
}

impl Way {
    fn new(
        ingest: &Ingest,
        source: Source,
        answer_tx: &mpsc::UnboundedSender<Answer>,
        is_late: bool,
    ) -> Self {
        let (waiting_tx, waiting_rx) = mpsc::unbounded_channel();
        let feeding = feed(ingest.clone(), source, waiting_rx, answer_tx.clone(), is_late);
        let feeding = tokio::spawn(feeding);
        Self {
            waiting_tx,
            // What came before the end of the stream counts; backlog waits long, and comes again.
            _feeding: is_late.then(|| AbortOnDropHandle::new(feeding)),
        }
    }

    pub(super) fn send(&self, waiting: Waiting) -> Result<(), IntakeError> {
        self.waiting_tx
            .send(Box::new(waiting))
            .map_err(|_| IntakeError::Closed)
    }
}

/// The ways of one stream.
#[derive(Debug)]
pub(in crate::grpc::session) struct Ways {
    live: Way,
    backlog: Way,
    /// When the answering half was told last that there is backlog.
    pub(super) told: Option<Instant>,
}

impl Ways {
    pub(in crate::grpc::session) fn new(
        ingest: &Ingest,
        source: Source,
        answer_tx: &mpsc::UnboundedSender<Answer>,
    ) -> Self {
        Self {
            live: Way::new(ingest, source, answer_tx, false),
            backlog: Way::new(ingest, source, answer_tx, true),
            told: None,
        }
    }

    pub(super) fn of(&self, lane: Lane) -> &Way {
        if lane == Lane::Backlog {
            &self.backlog
        } else {
            &self.live
        }
    }
}

/// Hands in reports as there is room for them; backlog waits for its share of it as well.
async fn feed(
    ingest: Ingest,
    source: Source,
    mut waiting_rx: mpsc::UnboundedReceiver<Box<Waiting>>,
    answer_tx: mpsc::UnboundedSender<Answer>,
    is_late: bool,
) {
    while let Some(waiting) = waiting_rx.recv().await {
        let Waiting { what, plain, credit } = *waiting;
        let reply_to = if is_late {
            // What is let go here is not answered, and so sent again.
            let Ok(share) = ingest.room_for_backlog(plain.len()).await else {
                return;
            };
            ReplyTo::sharing(answer_tx.clone(), credit, share)
        } else {
            ReplyTo::new(answer_tx.clone(), Some(credit))
        };
        let handed_in = match what {
            Ok((report, placement)) => ingest.report(source, report, plain, placement, reply_to).await,
            Err(unacceptable) => ingest.refuse(source, unacceptable, reply_to).await,
        };
        if handed_in.is_err() {
            return;
        }
    }
}
