//! Messages on the socket: four bytes of length, little-endian, then so many bytes.
//!
//! A length beyond the bound is refused before anything of it is read, and memory grows only with the bytes that have
//! really come.

use std::io;

use hyper::body::Buf;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// Longest message to a part: its settings.
pub(crate) const TO_PART_BYTES_MAX: usize = 1024 * 1024;
/// Longest message from a part, and the most that one answer of several may have: the facts of one collection. Far above
/// the largest there are: 100 drives with a document of 128 KiB each.
pub(crate) const FROM_PART_BYTES_MAX: usize = 16 * 1024 * 1024;
/// What is read at once of short messages.
pub(crate) const READ_BYTES: usize = 4096;
/// What is set aside before the bytes have come.
const FIRST_BYTES: usize = 64 * 1024;

/// Why no message could be read or written.
#[derive(Debug, Error)]
pub(crate) enum FrameError {
    /// The socket failed.
    #[error("use the socket between the agent's processes")]
    Socket(#[from] io::Error),
    /// The length is beyond the bound.
    #[error("a message of {length} bytes is over the bound of {limit}")]
    TooLong {
        /// What was announced.
        length: usize,
        /// The bound.
        limit: usize,
    },
    /// The other side ended in the middle of a message.
    #[error("a message broke off after {got} of {length} bytes")]
    Cut {
        /// What came.
        got: usize,
        /// What was announced.
        length: usize,
    },
}

/// Writes one message.
///
/// # Errors
/// [`FrameError`] if it is too long or the socket fails.
pub(crate) async fn write(
    socket: &mut (impl AsyncWrite + Unpin),
    message: &[u8],
    limit: usize,
) -> Result<(), FrameError> {
    let too_long = FrameError::TooLong {
        length: message.len(),
        limit,
    };
    if limit < message.len() {
        return Err(too_long);
    }
    let Ok(length) = u32::try_from(message.len()) else {
        return Err(too_long);
    };
    let length = length.to_le_bytes();
    // Together: the other side is woken once.
    socket
        .write_all_buf(&mut Buf::chain(length.as_slice(), message))
        .await?;
    Ok(socket.flush().await?)
}

/// Reads one message; `None` if the other side ended before another began. Not to be given up half way: what was read
/// of a message would be lost.
///
/// # Errors
/// [`FrameError`] if the message is too long or cut, or the socket fails.
pub(crate) async fn read(
    socket: &mut (impl AsyncRead + Unpin),
    limit: usize,
) -> Result<Option<Vec<u8>>, FrameError> {
    let mut head = Vec::with_capacity(4);
    fill(socket, 4, &mut head).await?;
    let Ok(head) = <[u8; 4]>::try_from(head.as_slice()) else {
        return match head.len() {
            0 => Ok(None),
            got => Err(FrameError::Cut { got, length: 4 }),
        };
    };
    let announced = u32::from_le_bytes(head);
    let length = usize::try_from(announced).unwrap_or(usize::MAX);
    if limit < length {
        return Err(FrameError::TooLong { length, limit });
    }
    let mut message = Vec::with_capacity(length.min(FIRST_BYTES));
    fill(socket, announced.into(), &mut message).await?;
    match message.len() {
        got if got == length => Ok(Some(message)),
        got => Err(FrameError::Cut { got, length }),
    }
}

/// Reads up to so many bytes, fewer only at the end. Whoever ends with something unread is heard of as a reset.
async fn fill(socket: &mut (impl AsyncRead + Unpin), count: u64, into: &mut Vec<u8>) -> io::Result<()> {
    match socket.take(count).read_to_end(into).await {
        Err(error) if error.kind() != io::ErrorKind::ConnectionReset => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read_all(bytes: &[u8], limit: usize) -> Result<Option<Vec<u8>>, FrameError> {
        read(&mut &*bytes, limit).await
    }

    #[tokio::test]
    async fn what_was_written_is_read_and_the_end_is_seen() {
        let mut bytes = Vec::new();
        write(&mut bytes, b"one", 3).await.unwrap();
        write(&mut bytes, b"", 3).await.unwrap();
        let mut socket = bytes.as_slice();
        assert_eq!(read(&mut socket, 3).await.unwrap().unwrap(), b"one");
        assert_eq!(read(&mut socket, 3).await.unwrap().unwrap(), b"");
        assert_eq!(read(&mut socket, 3).await.unwrap(), None);
    }

    #[tokio::test]
    async fn what_is_too_long_or_cut_is_refused_with_the_figures() {
        let too_long = read_all(b"\xff\xff\xff\xffabc", 8).await.unwrap_err();
        assert!(
            matches!(too_long, FrameError::TooLong { limit: 8, .. }),
            "{too_long}"
        );
        let cut = read_all(b"\x08\0\0\0abc", 8).await.unwrap_err();
        assert!(matches!(cut, FrameError::Cut { got: 3, length: 8 }), "{cut}");
        let cut = read_all(b"\x08\0", 8).await.unwrap_err();
        assert!(matches!(cut, FrameError::Cut { got: 2, length: 4 }), "{cut}");
        let too_long = write(&mut Vec::new(), b"four", 3).await.unwrap_err();
        assert!(
            matches!(too_long, FrameError::TooLong { length: 4, limit: 3 }),
            "{too_long}"
        );
    }
}
