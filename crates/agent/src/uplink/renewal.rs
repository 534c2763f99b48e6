//! The call that exchanges a certificate for the next one.

use std::time::Duration;

use muster_proto::v1::RenewRequest;
use muster_proto::v1::enrollment_client::EnrollmentClient;
use rustls::pki_types::CertificateDer;
use thiserror::Error;
use tonic::{Code, Status};

use super::connect::{self, ConnectError};
use super::credentials::Credentials;
use super::enrolment::retry_after;
use crate::identity::certificates_of;

const CALL_TIMEOUT: Duration = Duration::from_secs(20);

/// Why the controller did not answer with a certificate.
#[derive(Debug, Error)]
pub enum RenewCallError {
    /// There is no verified connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The controller asks to come back later.
    #[error("the controller renews no more certificates at present: {message}")]
    Later {
        /// Its own words.
        message: String,
        /// When to come back.
        retry_after: Duration,
    },
    /// The controller refuses, and will not change its mind by itself.
    #[error("the controller refuses to renew the certificate: {message}")]
    Refused {
        /// Its own words.
        message: String,
    },
    /// The call broke off; it is not known whether the controller has renewed. The same key may ask again.
    #[error("the renewal call broke off")]
    Broken(#[source] Box<Status>),
}

/// The controller's answer; nothing of it is checked.
pub(crate) struct Answer {
    /// Certificates, leaf first, without the root.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    /// The roots to trust.
    pub(crate) roots: Vec<CertificateDer<'static>>,
    /// Generation of the certificate.
    pub(crate) generation: u32,
}

/// Asks for a certificate for the key of `certificate_request` (PKCS#10, DER), showing the one in use.
pub(crate) async fn call(
    controller: &str,
    credentials: &Credentials,
    certificate_request: Vec<u8>,
) -> Result<Answer, RenewCallError> {
    let channel = connect::open(controller, &credentials.tls()).await?;
    let mut client = EnrollmentClient::new(channel);
    let request = RenewRequest { certificate_request };
    match tokio::time::timeout(CALL_TIMEOUT, client.renew(request)).await {
        Ok(Ok(response)) => {
            let response = response.into_inner();
            Ok(Answer {
                chain: certificates_of(response.certificate_chain),
                roots: certificates_of(response.trust_bundle),
                generation: response.generation,
            })
        }
        Ok(Err(status)) => Err(refusal(status)),
        Err(_) => {
            let status = Status::deadline_exceeded(format!("no answer in {} s", CALL_TIMEOUT.as_secs()));
            Err(RenewCallError::Broken(Box::new(status)))
        }
    }
}

fn refusal(status: Status) -> RenewCallError {
    let message = status.message().to_owned();
    match status.code() {
        Code::ResourceExhausted => RenewCallError::Later {
            message,
            retry_after: retry_after(&status),
        },
        Code::Unauthenticated
        | Code::PermissionDenied
        | Code::InvalidArgument
        | Code::FailedPrecondition
        | Code::NotFound
        | Code::Unimplemented => RenewCallError::Refused { message },
        _ => RenewCallError::Broken(Box::new(status)),
    }
}
