//! The one table from errors to gRPC statuses.
//!
//! A peer gets a status, a public sentence and a stable code in the metadata `muster-code`. Of what went wrong in
//! here it gets only a request id; the causes are in the log under the same id.

use muster_base::ErrorChain;
use tonic::codegen::http;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};

use crate::app::AppError;
use crate::app::enrolment::{AdmitError, EnrolError, RenewError};

/// Metadata with the stable code.
const CODE: &str = "muster-code";
/// Metadata with the time after which to try again, ms.
const RETRY_AFTER: &str = "retry-after-ms";
/// Metadata with the id under which the log has the causes.
const REQUEST_ID: &str = "muster-request-id";

/// Nobody is behind the connection.
pub(super) const CERTIFICATE_REQUIRED: &str = "certificate_required";

/// Why a program was not answered.
pub(super) fn of_app(error: &AppError) -> Status {
    match error {
        AppError::NotFound { what, id } => Status::not_found(format!("there is no {what} {id}")),
        AppError::Invalid(_) | AppError::Cursor => Status::invalid_argument(error.to_string()),
        AppError::Enrolment(_) | AppError::NotKept(_) => internal(Code::Internal, error),
        AppError::Store(_) => internal(Code::Unavailable, error),
    }
}

/// What HTTP says of a call that never reached its service, as a caller of gRPC can read it: in the headers of an
/// answer with status 200.
pub(crate) fn refusal<B: Default>(http: http::StatusCode, detail: &str) -> http::Response<B> {
    let code = match http {
        http::StatusCode::UNAUTHORIZED => Code::Unauthenticated,
        http::StatusCode::FORBIDDEN => Code::PermissionDenied,
        http::StatusCode::NOT_FOUND => Code::NotFound,
        http::StatusCode::METHOD_NOT_ALLOWED => Code::Unimplemented,
        http::StatusCode::TOO_MANY_REQUESTS => Code::ResourceExhausted,
        http::StatusCode::SERVICE_UNAVAILABLE => Code::Unavailable,
        status if status.is_client_error() => Code::InvalidArgument,
        _ => Code::Internal,
    };
    Status::new(code, detail).into_http()
}

/// Why nobody was enrolled.
pub(super) fn of_enrol(error: &EnrolError) -> Status {
    let code = match error {
        EnrolError::TokenUnknown
        | EnrolError::TokenExpired
        | EnrolError::TokenUsedUp
        | EnrolError::KeyMismatch => Code::Unauthenticated,
        EnrolError::ProtocolUnsupported { .. } | EnrolError::NoServer(_) => Code::FailedPrecondition,
        EnrolError::BadRequest(_) => Code::InvalidArgument,
        EnrolError::TooMany { .. } => Code::ResourceExhausted,
        EnrolError::Issue(_) | EnrolError::NotKept(_) => return internal(Code::Internal, error),
        EnrolError::Store(_) => return internal(Code::Unavailable, error),
    };
    let mut metadata = metadata_of(error.code());
    if let EnrolError::TooMany { retry_after_ms } = error {
        metadata.insert(RETRY_AFTER, MetadataValue::from(*retry_after_ms));
    }
    Status::with_metadata(code, error.to_string(), metadata)
}

/// Why a stream was not opened.
pub(super) fn of_admit(error: &AdmitError) -> Status {
    let code = match error {
        AdmitError::Expired => Code::Unauthenticated,
        AdmitError::Held | AdmitError::Revoked | AdmitError::Quarantined | AdmitError::Superseded => {
            Code::PermissionDenied
        }
        AdmitError::Store(_) => return internal(Code::Unavailable, error),
    };
    Status::with_metadata(code, error.to_string(), metadata_of(error.code()))
}

/// Why a certificate was not renewed.
pub(super) fn of_renew(error: &RenewError) -> Status {
    let code = match error {
        RenewError::Expired => Code::Unauthenticated,
        RenewError::Held | RenewError::Revoked | RenewError::Quarantined | RenewError::Superseded => {
            Code::PermissionDenied
        }
        RenewError::BadRequest(_) => Code::InvalidArgument,
        RenewError::TooMany { .. } => Code::ResourceExhausted,
        RenewError::Issue(_) => return internal(Code::Internal, error),
        RenewError::Store(_) => return internal(Code::Unavailable, error),
    };
    let mut metadata = metadata_of(error.code());
    if let RenewError::TooMany { retry_after_ms } = error {
        metadata.insert(RETRY_AFTER, MetadataValue::from(*retry_after_ms));
    }
    Status::with_metadata(code, error.to_string(), metadata)
}

/// A call that needs a client certificate came without one.
pub(super) fn certificate_required() -> Status {
    let sentence = "a client certificate is required: enrol this agent first";
    Status::with_metadata(Code::Unauthenticated, sentence, metadata_of(CERTIFICATE_REQUIRED))
}

pub(super) fn internal(code: Code, error: &dyn std::error::Error) -> Status {
    let request_id = uuid::Uuid::new_v4().to_string();
    tracing::error!(request_id, error = %ErrorChain(error), "agent call failed");
    let mut metadata = metadata_of("internal");
    if let Ok(value) = MetadataValue::try_from(&request_id) {
        metadata.insert(REQUEST_ID, value);
    }
    Status::with_metadata(code, "the controller could not do this now", metadata)
}

fn metadata_of(code: &'static str) -> MetadataMap {
    let mut metadata = MetadataMap::new();
    metadata.insert(CODE, MetadataValue::from_static(code));
    metadata
}

#[cfg(test)]
mod tests {
    use muster_base::id::ServerId;

    use super::*;
    use crate::store::StoreError;

    fn corrupt() -> StoreError {
        StoreError::Corrupt {
            what: "secret.column",
            value: "secret value".to_owned(),
        }
    }

    fn line(status: &Status) -> String {
        let names = [CODE, RETRY_AFTER];
        let metadata = names
            .iter()
            .filter_map(|name| Some(format!("{name}={}", status.metadata().get(*name)?.to_str().ok()?)));
        let metadata: Vec<String> = metadata.collect();
        format!(
            "{:?} [{}] {}",
            status.code(),
            metadata.join(" "),
            status.message()
        )
    }

    #[test]
    fn every_refusal_has_its_code_and_sentence() {
        let enrol = [
            EnrolError::TokenUnknown,
            EnrolError::TokenExpired,
            EnrolError::TokenUsedUp,
            EnrolError::KeyMismatch,
            EnrolError::ProtocolUnsupported {
                min: 7,
                max: 8,
                ours: 1,
            },
            EnrolError::BadRequest("no hostname".to_owned()),
            EnrolError::TooMany {
                retry_after_ms: 1_500,
            },
            EnrolError::NoServer(ServerId(9)),
            EnrolError::Store(corrupt()),
        ];
        let admit = [
            AdmitError::Expired,
            AdmitError::Held,
            AdmitError::Revoked,
            AdmitError::Quarantined,
            AdmitError::Superseded,
            AdmitError::Store(corrupt()),
        ];
        let renew = [
            RenewError::Expired,
            RenewError::Held,
            RenewError::Revoked,
            RenewError::Quarantined,
            RenewError::Superseded,
            RenewError::BadRequest("no key".to_owned()),
            RenewError::TooMany { retry_after_ms: 900 },
            RenewError::Store(corrupt()),
        ];
        let lines: Vec<String> = enrol
            .iter()
            .map(of_enrol)
            .chain(admit.iter().map(of_admit))
            .chain(renew.iter().map(of_renew))
            .chain([certificate_required()])
            .map(|status| line(&status))
            .collect();
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn what_went_wrong_inside_is_not_told() {
        let status = of_admit(&AdmitError::Store(corrupt()));
        assert!(!format!("{status:?}").contains("secret"), "{status:?}");
        assert!(status.metadata().contains_key(REQUEST_ID));
    }
}
