//! How records are written: the message as it travelled, compressed.
//!
//! What is stored is the wire form, so that a later version reads old records by the same rules as old agents.

use std::io::Read as _;

use muster_model::limits::MESSAGE_BYTES_MAX;
use muster_model::{Report, SeriesDef};
use muster_proto::convert::{self, ConvertError};
use muster_proto::packing;
use muster_proto::v1::{AgentMessage, Definitions, agent_message::Body};
use prost::Message as _;
use thiserror::Error;

/// Level 1 is within one percent of level 3 on reports, at half the time.
const ZSTD_LEVEL: i32 = 1;
/// A report that the controller rewrote may be a little longer than one that an agent may send.
const PLAIN_BYTES_MAX: usize = MESSAGE_BYTES_MAX + 64 * 1024;

/// Why a record cannot be read back.
#[derive(Debug, Error)]
pub(super) enum CodecError {
    /// It does not decompress.
    #[error("decompress record")]
    Decompress(#[source] std::io::Error),
    /// It decompresses to more than a message may be.
    #[error("record is longer than a message may be")]
    TooLong,
    /// It is no message.
    #[error("decode record")]
    Decode(#[source] prost::DecodeError),
    /// It is another message than it should be.
    #[error("record holds another message than its table says")]
    OtherMessage,
    /// The message breaks the rules.
    #[error("convert record")]
    Convert(#[source] ConvertError),
}

/// Compresses with one reused context.
pub(super) struct Packer {
    compressor: zstd::bulk::Compressor<'static>,
}

impl Packer {
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self {
            compressor: zstd::bulk::Compressor::new(ZSTD_LEVEL)?,
        })
    }

    pub(super) fn pack(&mut self, plain: &[u8]) -> std::io::Result<Vec<u8>> {
        self.compressor.compress(plain)
    }
}

/// Wraps a report of the wire as the message that is stored.
#[must_use]
pub fn message_of_report(report: muster_proto::v1::Report) -> AgentMessage {
    AgentMessage {
        body: Some(Body::Report(report)),
    }
}

/// The bytes to store of a report that the controller has rewritten.
#[must_use]
pub fn encode_report(report: &Report) -> Vec<u8> {
    message_of_report(convert::report_to_wire(report.clone())).encode_to_vec()
}

pub(super) fn unpack_report(payload: &[u8]) -> Result<Report, CodecError> {
    match unpack(payload)? {
        Body::Report(wire) => convert::report_from_wire(wire).map_err(CodecError::Convert),
        _ => Err(CodecError::OtherMessage),
    }
}

/// The definitions of one message with the id of the first. One that breaks a rule keeps its id as `None`.
pub(super) fn unpack_definitions(payload: &[u8]) -> Result<(u32, Vec<Option<SeriesDef>>), CodecError> {
    let Body::Definitions(wire) = unpack(payload)? else {
        return Err(CodecError::OtherMessage);
    };
    let first_id = wire.first_id;
    Ok((first_id, one_by_one(wire)))
}

/// A bad definition must not take its neighbours with it: their ids are counted on.
fn one_by_one(wire: Definitions) -> Vec<Option<SeriesDef>> {
    let epoch = wire.epoch;
    let one = |series| {
        let single = Definitions {
            epoch,
            first_id: 1,
            series: vec![series],
        };
        convert::definitions_from_wire(single)
            .ok()
            .and_then(|(_, mut series)| series.pop())
    };
    wire.series.into_iter().map(one).collect()
}

fn unpack(payload: &[u8]) -> Result<Body, CodecError> {
    let plain = match packing::decompress_whole(payload, PLAIN_BYTES_MAX) {
        Some(plain) => plain,
        None => unpack_slowly(payload)?,
    };
    let message = AgentMessage::decode(plain.as_slice()).map_err(CodecError::Decode)?;
    message.body.ok_or(CodecError::OtherMessage)
}

/// For what does not say how long it is, and to say what is wrong with what cannot be read.
fn unpack_slowly(payload: &[u8]) -> Result<Vec<u8>, CodecError> {
    let decoder = zstd::stream::read::Decoder::with_buffer(payload).map_err(CodecError::Decompress)?;
    let mut plain = Vec::new();
    decoder
        .take(PLAIN_BYTES_MAX as u64 + 1)
        .read_to_end(&mut plain)
        .map_err(CodecError::Decompress)?;
    if PLAIN_BYTES_MAX < plain.len() {
        return Err(CodecError::TooLong);
    }
    Ok(plain)
}
