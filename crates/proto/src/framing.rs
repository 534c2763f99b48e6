//! Cutting messages into frames and joining them again.
//!
//! A message is at most 256 KiB decompressed and travels in pieces of at most 64 KiB; each lane has at most one
//! unfinished message. Both bounds are checked before memory is taken: a decompression bomb costs its sender the
//! stream and us nothing.

use std::borrow::Cow;
use std::io::Read as _;

use muster_model::limits::{FRAME_BYTES_MAX, MESSAGE_BYTES_MAX};
use muster_model::{Report, SampleBlock, SeriesDef};
use prost::Message as _;
use thiserror::Error;

use crate::v1::agent_message::Body;
use crate::v1::{AgentMessage, Compression, Fragment, Lane};
use crate::{convert, packing, v1};

/// Messages below this size gain nothing from compression.
const COMPRESS_FROM_BYTES: usize = 256;
/// Level 1 is within one percent of level 3 on reports, at half the time.
const ZSTD_LEVEL: i32 = 1;

/// Why frames could not be made or joined.
#[derive(Debug, Error)]
pub enum FramingError {
    /// The message is longer than a message may be.
    #[error("message of {bytes} bytes is over the limit of {MESSAGE_BYTES_MAX}")]
    MessageTooLong {
        /// Its length, or what of it was read before giving up.
        bytes: usize,
    },
    /// A piece is longer than a piece may be.
    #[error("frame of {bytes} bytes is over the limit of {FRAME_BYTES_MAX}")]
    FrameTooLong {
        /// Its length.
        bytes: usize,
    },
    /// The lane or compression is none we know, or changed within a message.
    #[error("bad frame header: {0}")]
    Header(&'static str),
    /// The bytes do not decompress.
    #[error("decompress message")]
    Decompress(#[source] std::io::Error),
    /// Compressing failed.
    #[error("compress message")]
    Compress(#[source] std::io::Error),
    /// The bytes are no message.
    #[error("decode message")]
    Decode(#[source] prost::DecodeError),
}

/// Cuts `message` into frames for `lane`. `sequence` is that of the report inside, or 0.
///
/// # Errors
/// [`FramingError::MessageTooLong`] if it is over 256 KiB; [`FramingError::Compress`] should zstd fail.
pub fn cut(message: &AgentMessage, lane: Lane, sequence: u64) -> Result<Vec<Fragment>, FramingError> {
    cut_encoded(&message.encode_to_vec(), lane, sequence)
}

/// The message of a report, encoded: what a buffer keeps and [`cut_encoded`] takes, as often as it is sent.
#[must_use]
pub fn report_message(report: Report) -> Vec<u8> {
    AgentMessage {
        body: Some(Body::Report(convert::report_to_wire(report))),
    }
    .encode_to_vec()
}

/// Leaves samples out of the encoded message of a report: `thin` gets its blocks and gives what stays of them. The
/// report then tells by a gap of its own number how many are missing, those of earlier times included.
///
/// Returns the new message and how many samples were left out this time. `None` if that is none, or if the message holds
/// anything that would not come back: then it stays as it is.
pub fn thin_report(
    plain: &[u8],
    thin: impl FnOnce(Vec<SampleBlock>) -> Vec<SampleBlock>,
) -> Option<(Vec<u8>, u64)> {
    let mut message = AgentMessage::decode(plain).ok()?;
    if message.encode_to_vec() != plain {
        return None;
    }
    let Some(Body::Report(report)) = &mut message.body else {
        return None;
    };
    let blocks = std::mem::take(&mut report.blocks).into_iter();
    let blocks: Vec<SampleBlock> = blocks
        .map(convert::block_from_wire)
        .collect::<Result<_, _>>()
        .ok()?;
    let count = |blocks: &[SampleBlock]| {
        blocks
            .iter()
            .map(|block| block.values().len() as u64)
            .sum::<u64>()
    };
    let before = count(&blocks);
    let blocks = thin(blocks);
    let left_out = before.saturating_sub(count(&blocks));
    if left_out == 0 {
        return None;
    }
    report.blocks = blocks.iter().map(convert::block_to_wire).collect();
    let own = v1::SequenceRange {
        first: report.sequence,
        last: report.sequence,
    };
    let (epoch, reason) = (report.epoch, v1::GapReason::Thinned);
    let is_own = |gap: &&mut v1::Gap| gap.epoch == epoch && gap.range == Some(own) && gap.reason() == reason;
    match report.gaps.iter_mut().find(is_own) {
        Some(gap) => gap.sample_count = gap.sample_count.map(|count| count + left_out),
        None => report.gaps.push(v1::Gap {
            epoch,
            range: Some(own),
            sample_count: Some(left_out),
            reason: reason.into(),
        }),
    }
    Some((message.encode_to_vec(), left_out))
}

/// The message of definitions, encoded.
#[must_use]
pub fn definitions_message(epoch: u64, first_id: u32, series: Vec<SeriesDef>) -> Vec<u8> {
    AgentMessage {
        body: Some(Body::Definitions(convert::definitions_to_wire(
            epoch, first_id, series,
        ))),
    }
    .encode_to_vec()
}

/// Definitions of an encoded message, with the id of the first.
///
/// # Errors
/// [`FramingError::Decode`] or [`FramingError::Header`] if it is no such message.
pub fn read_definitions(plain: &[u8]) -> Result<(u32, Vec<SeriesDef>), FramingError> {
    match AgentMessage::decode(plain).map_err(FramingError::Decode)?.body {
        Some(Body::Definitions(definitions)) => convert::definitions_from_wire(definitions)
            .map_err(|_| FramingError::Header("definitions break a rule")),
        _ => Err(FramingError::Header("no definitions")),
    }
}

/// As [`cut`], for a message that is encoded already.
///
/// # Errors
/// As [`cut`].
pub fn cut_encoded(plain: &[u8], lane: Lane, sequence: u64) -> Result<Vec<Fragment>, FramingError> {
    if MESSAGE_BYTES_MAX < plain.len() {
        return Err(FramingError::MessageTooLong { bytes: plain.len() });
    }
    let (bytes, compression) = pack(plain)?;
    let count = bytes.len().div_ceil(FRAME_BYTES_MAX).max(1);
    let fragments = (0..count).map(|index| {
        let start = index * FRAME_BYTES_MAX;
        let end = bytes.len().min(start + FRAME_BYTES_MAX);
        Fragment {
            lane: lane.into(),
            data: bytes[start..end].to_vec(),
            last: index + 1 == count,
            compression: compression.into(),
            sequence,
        }
    });
    Ok(fragments.collect())
}

fn pack(plain: &[u8]) -> Result<(Cow<'_, [u8]>, Compression), FramingError> {
    if plain.len() < COMPRESS_FROM_BYTES {
        return Ok((plain.into(), Compression::None));
    }
    let packed = packing::compress(plain, ZSTD_LEVEL).map_err(FramingError::Compress)?;
    if packed.len() < plain.len() {
        return Ok((packed.into(), Compression::Zstd));
    }
    Ok((plain.into(), Compression::None))
}

/// A joined message.
#[derive(Debug)]
pub struct Joined {
    /// The message.
    pub message: AgentMessage,
    /// The message's bytes, decompressed: what the intake stores.
    pub plain: Vec<u8>,
}

/// Joins the frames of one stream.
#[derive(Debug, Default)]
pub struct Joiner {
    lanes: [Option<Partial>; 4],
}

#[derive(Debug)]
struct Partial {
    bytes: Vec<u8>,
    compression: Compression,
}

impl Joiner {
    /// Takes a frame; returns the message that ends with it, if one does.
    ///
    /// # Errors
    /// [`FramingError`] if the frame breaks a rule. The stream is then to be closed: what follows can't be trusted.
    pub fn push(&mut self, fragment: Fragment) -> Result<Option<Joined>, FramingError> {
        if FRAME_BYTES_MAX < fragment.data.len() {
            return Err(FramingError::FrameTooLong {
                bytes: fragment.data.len(),
            });
        }
        let compression = match fragment.compression() {
            Compression::Unspecified => return Err(FramingError::Header("unknown compression")),
            known => known,
        };
        let slot = match fragment.lane() {
            Lane::Unspecified => return Err(FramingError::Header("unknown lane")),
            known => &mut self.lanes[known as usize - 1],
        };
        let partial = slot.get_or_insert_with(|| Partial {
            bytes: Vec::new(),
            compression,
        });
        if partial.compression != compression {
            return Err(FramingError::Header("compression changed within a message"));
        }
        let joined_bytes = partial.bytes.len() + fragment.data.len();
        if MESSAGE_BYTES_MAX < joined_bytes {
            return Err(FramingError::MessageTooLong { bytes: joined_bytes });
        }
        partial.bytes.extend(fragment.data);
        if !fragment.last {
            return Ok(None);
        }
        let Some(Partial { bytes, compression }) = slot.take() else {
            return Ok(None);
        };
        let plain = unpack(bytes, compression)?;
        let message = AgentMessage::decode(plain.as_slice()).map_err(FramingError::Decode)?;
        Ok(Some(Joined { message, plain }))
    }
}

fn unpack(bytes: Vec<u8>, compression: Compression) -> Result<Vec<u8>, FramingError> {
    if compression != Compression::Zstd {
        return Ok(bytes);
    }
    // What `cut` makes.
    if let Some(plain) = packing::decompress_whole(&bytes, MESSAGE_BYTES_MAX) {
        return Ok(plain);
    }
    let decoder =
        zstd::stream::read::Decoder::with_buffer(bytes.as_slice()).map_err(FramingError::Decompress)?;
    let mut plain = Vec::new();
    // One byte more than allowed tells "exactly at the limit" from "over it" without unpacking the rest.
    decoder
        .take(MESSAGE_BYTES_MAX as u64 + 1)
        .read_to_end(&mut plain)
        .map_err(FramingError::Decompress)?;
    if MESSAGE_BYTES_MAX < plain.len() {
        return Err(FramingError::MessageTooLong { bytes: plain.len() });
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::{CollectDone, Report};

    fn message_of(bytes: usize) -> AgentMessage {
        let done = CollectDone {
            message: "x".repeat(bytes),
            ..CollectDone::default()
        };
        AgentMessage {
            body: Some(Body::CollectDone(done)),
        }
    }

    fn join(fragments: Vec<Fragment>) -> Result<Option<Joined>, FramingError> {
        let mut joiner = Joiner::default();
        let mut last = Ok(None);
        for fragment in fragments {
            last = joiner.push(fragment);
        }
        last
    }

    /// A message whose encoding is exactly `bytes` long and does not compress.
    fn exactly(bytes: usize) -> AgentMessage {
        let noise: String = (0..bytes).map(|_| char::from(fastrand::u8(33..127))).collect();
        let overhead = message_of(bytes).encode_to_vec().len() - bytes;
        let done = CollectDone {
            message: noise[overhead..].to_owned(),
            ..CollectDone::default()
        };
        AgentMessage {
            body: Some(Body::CollectDone(done)),
        }
    }

    #[test]
    fn a_message_at_the_limit_travels_in_pieces_and_one_byte_more_is_refused() {
        let message = exactly(MESSAGE_BYTES_MAX);
        let fragments = cut(&message, Lane::Live, 7).unwrap();
        assert!(1 < fragments.len());
        assert!(
            fragments
                .iter()
                .all(|piece| piece.data.len() <= FRAME_BYTES_MAX && piece.sequence == 7)
        );
        assert_eq!(join(fragments).unwrap().unwrap().message, message);
        assert!(matches!(
            cut(&exactly(MESSAGE_BYTES_MAX + 1), Lane::Live, 7),
            Err(FramingError::MessageTooLong { .. })
        ));
    }

    #[test]
    fn a_decompression_bomb_is_refused() {
        let bomb = zstd::bulk::compress(&vec![0; 64 * 1024 * 1024], 3).unwrap();
        let fragment = Fragment {
            lane: Lane::Live.into(),
            data: bomb,
            last: true,
            compression: Compression::Zstd.into(),
            sequence: 1,
        };
        let refused = Joiner::default().push(fragment);
        assert!(
            matches!(refused, Err(FramingError::MessageTooLong { bytes }) if bytes == MESSAGE_BYTES_MAX + 1)
        );
    }

    #[test]
    fn an_endless_message_is_refused_when_it_passes_the_limit() {
        let mut joiner = Joiner::default();
        let piece = Fragment {
            lane: Lane::Backlog.into(),
            data: vec![0; FRAME_BYTES_MAX],
            last: false,
            compression: Compression::None.into(),
            sequence: 1,
        };
        for _ in 0..MESSAGE_BYTES_MAX / FRAME_BYTES_MAX {
            assert!(joiner.push(piece.clone()).unwrap().is_none());
        }
        assert!(matches!(
            joiner.push(piece),
            Err(FramingError::MessageTooLong { .. })
        ));
    }

    #[test]
    fn lanes_are_joined_apart() {
        let big = cut(&exactly(2 * FRAME_BYTES_MAX), Lane::Backlog, 1).unwrap();
        let urgent = AgentMessage {
            body: Some(Body::Report(Report {
                sequence: 9,
                ..Report::default()
            })),
        };
        let mut joiner = Joiner::default();
        assert!(joiner.push(big[0].clone()).unwrap().is_none());
        let between = joiner
            .push(cut(&urgent, Lane::Alert, 9).unwrap().remove(0))
            .unwrap();
        assert_eq!(between.unwrap().message, urgent);
        let mut rest = big.into_iter().skip(1).map(|piece| joiner.push(piece).unwrap());
        assert!(rest.any(|joined| joined.is_some()));
    }

    #[test]
    fn frames_with_unknown_headers_are_refused() {
        let good = cut(&message_of(1), Lane::Live, 0).unwrap().remove(0);
        for bad in [
            Fragment {
                lane: 99,
                ..good.clone()
            },
            Fragment {
                compression: 99,
                ..good.clone()
            },
            Fragment {
                data: vec![0; FRAME_BYTES_MAX + 1],
                ..good
            },
        ] {
            assert!(Joiner::default().push(bad).is_err());
        }
    }
}
