//! The wire: protobuf types, made at build time, and their conversion to and from the model.
//!
//! [`codec`] is how little a waiting stream keeps. Generated types end in [`convert`]: nothing else in the project builds
//! or reads them field by field, except the session loops that own a stream. [`compact`] makes a report small for
//! keeping. [`framing`] cuts messages into frames and joins them again under the limits of [`muster_model::limits`].
//! [`packing`] is zstd with what it works with used again. [`token`] is the text form of an enrolment token.

/// Package `muster.v1`, as generated.
#[allow(
    missing_docs,
    clippy::all,
    clippy::too_many_lines,
    unreachable_pub,
    unused_qualifications,
    clippy::needless_pass_by_value
)]
pub mod v1 {
    tonic::include_proto!("muster.v1");
}

/// The service for programs, as `google.protobuf.FileDescriptorSet`.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/control.bin"));

pub mod codec;
pub mod compact;
pub mod convert;
pub mod framing;
pub mod packing;
pub mod token;

/// The version of the protocol this build speaks.
pub const PROTOCOL_VERSION: u32 = 1;
/// The DNS name in every controller's certificate, whatever its address.
pub const CONTROLLER_NAME: &str = "controller.muster.internal";
/// Certificates begin this much before they are made, for clocks that are behind; in ms.
pub const BACKDATED_MS: i64 = 3_600_000;
/// For how long after its end an agent's certificate may still be renewed, in ms.
pub const EXPIRED_GRACE_MS: i64 = 30 * 24 * 3_600_000;
