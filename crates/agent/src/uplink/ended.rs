//! How a stream ends: in order, with the controller's reason, or not.

use std::time::Duration;

use muster_proto::PROTOCOL_VERSION;
use muster_proto::convert::ConvertError;
use muster_proto::framing::FramingError;
use muster_proto::v1::CloseReason;
use thiserror::Error;
use tonic::Status;

use super::connect::ConnectError;
use super::enrolment::CODE_KEY;
use super::session::{SILENCE_MAX, WELCOME_TIMEOUT};

/// How a stream ended in order.
#[derive(Debug)]
pub(super) enum Ended {
    /// The controller said why.
    Closed {
        /// Why.
        reason: CloseReason,
        /// For people.
        message: String,
        /// The report that could not be read; 0 if it is not about one.
        sequence: u64,
        /// Not to be tried again before this.
        retry_after: Duration,
    },
    /// The controller said nothing.
    WithoutReason,
    /// There is a new certificate to connect with.
    Renewed,
}

/// Why a stream broke or never came about.
#[derive(Debug, Error)]
pub(super) enum SessionError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("stream")]
    Stream(#[source] Box<Status>),
    #[error("the controller has not welcomed the agent in {} s", WELCOME_TIMEOUT.as_secs())]
    NoWelcome,
    #[error("the controller's first frame is not a welcome")]
    NotAWelcome,
    #[error("the controller speaks protocol {theirs}, this agent {PROTOCOL_VERSION}")]
    Protocol { theirs: u32 },
    #[error("the controller has been silent for {} s", SILENCE_MAX.as_secs())]
    Silent,
    #[error("the connection takes no more frames")]
    Closed,
    #[error("the controller asks for the same definitions again and again")]
    DefinitionsAskedAgain,
    #[error("the controller asks more than it listens to")]
    Flooded,
    #[error("frame of the controller")]
    Frame(#[from] ConvertError),
    #[error("cut message")]
    Framing(#[source] FramingError),
}

/// Whether the controller finds that the certificate has expired; the agent's own clock may be wrong.
pub(super) fn is_expired(ended: &Result<Ended, SessionError>) -> bool {
    let Err(SessionError::Stream(status)) = ended else {
        return false;
    };
    status
        .metadata()
        .get(CODE_KEY)
        .is_some_and(|code| code == "certificate_expired")
}

/// Whether the controller takes nothing before a report that is missing: too many are, or the newest came first.
pub(super) const fn wants_order(ended: &Result<Ended, SessionError>) -> bool {
    matches!(
        ended,
        Ok(Ended::Closed {
            reason: CloseReason::Overloaded,
            sequence: 1..,
            ..
        })
    )
}

impl From<Status> for SessionError {
    fn from(status: Status) -> Self {
        Self::Stream(Box::new(status))
    }
}
