//! The one call of an agent without an identity.

use std::time::Duration;

use muster_proto::PROTOCOL_VERSION;
use muster_proto::v1::enrollment_client::EnrollmentClient;
use muster_proto::v1::{EnrollRequest, EnrollResponse};
use thiserror::Error;
use tonic::{Code, Status};

use super::connect::{self, ConnectError};
use super::tls::{self, TlsError};

/// Somebody waits at a prompt: what is no controller is given up within ten seconds.
const CONNECT_MAX: Duration = Duration::from_secs(9);
const CALL_TIMEOUT: Duration = Duration::from_secs(20);
/// Metadata with a stable word for why a call was refused.
pub(super) const CODE_KEY: &str = "muster-code";
/// Metadata with the time to wait before the next try, in milliseconds.
const RETRY_AFTER_KEY: &str = "retry-after-ms";
const RETRY_AFTER_DEFAULT: Duration = Duration::from_secs(1);
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

/// Why the controller did not answer with an identity.
#[derive(Debug, Error)]
pub enum CallError {
    /// TLS could not be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// There is no verified connection; the token was not sent.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The controller asks to come back later.
    #[error("the controller takes no more enrolments at present: {message}")]
    Later {
        /// Its own words.
        message: String,
        /// When to come back.
        retry_after: Duration,
    },
    /// The token was used up by others.
    #[error("the enrolment token is used up: make a new one with `muster-controller token create`")]
    UsedUp,
    /// The token's time is over.
    #[error("the enrolment token has expired: make a new one with `muster-controller token create`")]
    Expired,
    /// The controller does not know the token.
    #[error(
        "the controller does not know the enrolment token: was it made by this controller, and not revoked?"
    )]
    Unknown,
    /// The controller refuses for another reason.
    #[error("the controller refuses the enrolment: {message}")]
    Refused {
        /// Its own words.
        message: String,
    },
    /// The call broke off; it is not known whether the controller has made an identity. The same key may ask again.
    #[error("the enrolment call broke off")]
    Broken(#[source] Box<Status>),
}

impl CallError {
    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Later { .. } | Self::Broken(_) => true,
            Self::Connect(error) => !matches!(error, ConnectError::WrongController { .. }),
            Self::Tls(_) | Self::UsedUp | Self::Expired | Self::Unknown | Self::Refused { .. } => false,
        }
    }
}

/// What an agent shows to be enrolled.
#[derive(Clone)]
pub(crate) struct Request<'a> {
    /// `HOST:PORT`.
    pub(crate) controller: &'a str,
    /// SHA-256 of the root's public key.
    pub(crate) pin: [u8; 32],
    /// The token's text.
    pub(crate) token: String,
    /// PKCS#10 request, DER.
    pub(crate) certificate_request: Vec<u8>,
    /// The server's name as it calls itself.
    pub(crate) hostname: &'a str,
}

/// Verifies the controller, and only then shows it the token.
pub(crate) async fn call(request: Request<'_>) -> Result<EnrollResponse, CallError> {
    let tls = tls::of_pin(request.pin)?;
    let channel = tokio::time::timeout(CONNECT_MAX, connect::open(request.controller, &tls))
        .await
        .map_err(|_| ConnectError::TimedOut {
            controller: request.controller.to_owned(),
            what: "a verified connection",
            seconds: CONNECT_MAX.as_secs(),
        })??;
    let message = EnrollRequest {
        token: request.token,
        certificate_request: request.certificate_request,
        hostname: request.hostname.to_owned(),
        agent_version: super::AGENT_VERSION.to_owned(),
        protocol_min: PROTOCOL_VERSION,
        protocol_max: PROTOCOL_VERSION,
    };
    let mut client = EnrollmentClient::new(channel);
    match tokio::time::timeout(CALL_TIMEOUT, client.enroll(message)).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(refusal(status)),
        Err(_) => {
            let status = Status::deadline_exceeded(format!("no answer in {} s", CALL_TIMEOUT.as_secs()));
            Err(CallError::Broken(Box::new(status)))
        }
    }
}

/// How long the controller asks to wait.
pub(super) fn retry_after(status: &Status) -> Duration {
    let wanted = status.metadata().get(RETRY_AFTER_KEY);
    wanted
        .and_then(|value| value.to_str().ok()?.parse().ok())
        .map_or(RETRY_AFTER_DEFAULT, Duration::from_millis)
        .min(RETRY_AFTER_MAX)
}

fn refusal(status: Status) -> CallError {
    let code = status
        .metadata()
        .get(CODE_KEY)
        .and_then(|value| value.to_str().ok());
    let message = status.message().to_owned();
    match code {
        Some("token_used_up") => return CallError::UsedUp,
        Some("token_expired") => return CallError::Expired,
        Some("token_unknown") => return CallError::Unknown,
        _ => {}
    }
    match status.code() {
        Code::ResourceExhausted => CallError::Later {
            message,
            retry_after: retry_after(&status),
        },
        Code::Unauthenticated
        | Code::PermissionDenied
        | Code::InvalidArgument
        | Code::FailedPrecondition
        | Code::AlreadyExists
        | Code::NotFound
        | Code::Unimplemented => CallError::Refused { message },
        _ => CallError::Broken(Box::new(status)),
    }
}
