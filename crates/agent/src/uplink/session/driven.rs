//! A session without a connection: whoever drives it decides when each frame comes and goes.
//!
//! For simulations, under the feature `testing`. Everything that decides what is said runs as it does on a stream;
//! only waiting (for frames, for room, for silence) is the driver's.

use std::time::Duration;

use muster_proto::v1::agent_frame::Body as AgentBody;
use muster_proto::v1::controller_frame::Body as ControllerBody;
use muster_proto::v1::{AgentFrame, ControllerFrame};
use thiserror::Error;

use super::{SILENCE_MAX, Session, SessionError, WELCOME_TIMEOUT};
use crate::uplink::Uplink;
use crate::uplink::ended::{Ended, wants_order};

/// How a driven session ended.
#[derive(Debug, Error)]
pub enum Over {
    /// The controller said why.
    #[error("closed by the controller: {message}")]
    Closed {
        /// For people.
        message: String,
        /// Not to be tried again before this.
        retry_after: Duration,
        /// The next session is to send by ascending number.
        in_order: bool,
    },
    /// A rule was broken, by either side.
    #[error("broken: {message}")]
    Broken {
        /// Which one.
        message: String,
    },
}

/// See the module's documentation. Dropping it is losing the connection.
pub struct Driven<'a> {
    uplink: &'a Uplink,
    session: Session<'a>,
}

impl<'a> Driven<'a> {
    /// After this long without a frame the controller is to be taken for gone.
    pub const SILENCE_MAX: Duration = SILENCE_MAX;
    /// How long a controller may take to welcome.
    pub const WELCOME_TIMEOUT: Duration = WELCOME_TIMEOUT;

    /// A session on a new connection, and the frame it begins with. With `in_order`, reports go by ascending number.
    #[must_use]
    pub fn begin(uplink: &'a Uplink, in_order: bool) -> (Self, AgentFrame) {
        let session = Session::new(uplink, uplink.credentials.watch(), in_order);
        let hello = AgentFrame {
            body: Some(AgentBody::Hello(session.hello(None))),
        };
        (Self { uplink, session }, hello)
    }

    /// Whether the controller has welcomed the agent.
    #[must_use]
    pub const fn is_welcome(&self) -> bool {
        self.session.is_welcome()
    }

    /// Whether anything was acknowledged, so that the next try may come quickly.
    #[must_use]
    pub const fn was_of_use(&self) -> bool {
        self.session.was_of_use()
    }

    /// Takes a frame of the controller.
    ///
    /// # Errors
    /// [`Over`] if the session ends with it.
    pub fn take(&mut self, frame: ControllerFrame) -> Result<(), Over> {
        let ended = if self.session.is_welcome() {
            self.session.take(frame)
        } else {
            match frame.body {
                Some(ControllerBody::Welcome(welcome)) => self.session.welcome(welcome).map(|()| None),
                Some(ControllerBody::Close(close)) => Ok(Some(self.session.close(close))),
                _ => Err(SessionError::NotAWelcome),
            }
        };
        let Some(ended) = ended.map_err(|error| broken(&error))? else {
            return Ok(());
        };
        let ended = Ok(ended);
        let in_order = wants_order(&ended);
        match ended {
            Ok(Ended::Closed {
                message, retry_after, ..
            }) => Err(Over::Closed {
                message,
                retry_after,
                in_order,
            }),
            Err(error) => Err(broken(&error)),
            Ok(ended @ (Ended::WithoutReason | Ended::Renewed)) => Err(Over::Broken {
                message: format!("{ended:?}"),
            }),
        }
    }

    /// The next frame to write, if there is one.
    ///
    /// # Errors
    /// [`Over`] if the session ends.
    pub fn next_frame(&mut self) -> Result<Option<AgentFrame>, Over> {
        if !self.session.is_welcome() {
            return Ok(None);
        }
        let credit = self.session.credit;
        let refilled = self.session.outgoing.refill(&self.uplink.outbox, credit);
        refilled.map_err(|error| broken(&error))?;
        Ok(self.session.outgoing.pop())
    }
}

impl Drop for Driven<'_> {
    fn drop(&mut self) {
        self.uplink.outbox.disconnected();
    }
}

fn broken(error: &SessionError) -> Over {
    Over::Broken {
        message: muster_base::ErrorChain(error).to_string(),
    }
}
