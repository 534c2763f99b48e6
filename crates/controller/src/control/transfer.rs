//! A backup on its way through the control socket: frames of its bytes, of news for whoever waits, and of its end.
//!
//! A frame is one byte of kind, four bytes of length (little-endian), and that many bytes. The file is written by whoever
//! asks, with the rights of that account: the controller's own may write nowhere but in its data folder.

use std::io::{self, Read, Write};

use thiserror::Error;

use super::LINE_BYTES_MAX;
use crate::backup::Manifest;

/// Bytes of the backup.
const DATA: u8 = 1;
/// A line for people.
const PROGRESS: u8 = 2;
/// All of it was sent; the manifest as JSON.
const DONE: u8 = 3;
/// It failed; why, for people.
const FAILED: u8 = 4;
/// Bytes gathered into one frame.
const FRAME_BYTES: usize = 64 * 1024;
/// Longest frame that is read: a manifest may have some thousand files.
const FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Why no backup came.
#[derive(Debug, Error)]
pub enum TransferError {
    /// The controller ended or the socket broke.
    #[error("the controller broke off the backup")]
    Broken(#[source] io::Error),
    /// It could not be written where it should go.
    #[error("write the backup")]
    Write(#[source] io::Error),
    /// The controller says why not.
    #[error("{0}")]
    Refused(String),
    /// What comes is no backup.
    #[error("the controller's answer cannot be read; are both of one version?")]
    Unreadable,
}

/// Sends what is written to it as frames.
pub struct Sender<W: Write> {
    out: W,
    buffer: Vec<u8>,
}

impl<W: Write> Sender<W> {
    /// Frames go to `out`.
    pub fn new(out: W) -> Self {
        Self {
            out,
            buffer: Vec::with_capacity(FRAME_BYTES),
        }
    }

    /// Sends a line for people.
    ///
    /// # Errors
    /// If nobody takes it.
    pub fn progress(&mut self, line: &str) -> io::Result<()> {
        self.frame(PROGRESS, line.as_bytes())
    }

    /// Says that all of it was sent.
    ///
    /// # Errors
    /// If nobody takes it.
    pub fn done(&mut self, manifest: &Manifest) -> io::Result<()> {
        self.flush()?;
        self.frame(DONE, &serde_json::to_vec(manifest)?)
    }

    /// Says why there is no backup.
    ///
    /// # Errors
    /// If nobody takes it.
    pub fn failed(&mut self, why: &str) -> io::Result<()> {
        let end = why.floor_char_boundary(LINE_BYTES_MAX);
        self.frame(FAILED, &why.as_bytes()[..end])
    }

    fn frame(&mut self, kind: u8, content: &[u8]) -> io::Result<()> {
        let length = u32::try_from(content.len()).map_err(io::Error::other)?;
        self.out.write_all(&[kind])?;
        self.out.write_all(&length.to_le_bytes())?;
        self.out.write_all(content)?;
        self.out.flush()
    }
}

impl<W: Write> Write for Sender<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(FRAME_BYTES - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..taken]);
        if self.buffer.len() == FRAME_BYTES {
            self.flush()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let buffer = std::mem::take(&mut self.buffer);
        self.frame(DATA, &buffer)?;
        self.buffer = buffer;
        self.buffer.clear();
        Ok(())
    }
}

/// Takes a backup from `from` to `out`, and hands lines for people to `progress`.
///
/// # Errors
/// [`TransferError`]; what was written is no backup then.
pub fn receive(
    mut from: impl Read,
    mut out: impl Write,
    mut progress: impl FnMut(&str),
) -> Result<Manifest, TransferError> {
    let mut content = Vec::new();
    loop {
        let mut head = [0; 5];
        from.read_exact(&mut head).map_err(TransferError::Broken)?;
        let [kind, length @ ..] = head;
        let length = u32::from_le_bytes(length) as usize;
        if !(DATA..=FAILED).contains(&kind) || FRAME_BYTES_MAX < length {
            return Err(TransferError::Unreadable);
        }
        content.resize(length, 0);
        from.read_exact(&mut content).map_err(TransferError::Broken)?;
        match kind {
            DATA => out.write_all(&content).map_err(TransferError::Write)?,
            PROGRESS => {
                progress(&String::from_utf8_lossy(&content));
            }
            DONE => return serde_json::from_slice(&content).map_err(|_| TransferError::Unreadable),
            _ => {
                return Err(TransferError::Refused(
                    String::from_utf8_lossy(&content).into_owned(),
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        Manifest {
            format: 1,
            controller_version: "1".to_owned(),
            made_ms: 7,
            installation: uuid::Uuid::nil(),
            store_id: uuid::Uuid::nil(),
            store_epoch: u64::MAX,
            schema_step: "m1".to_owned(),
            files: Vec::new(),
        }
    }

    #[test]
    fn what_is_sent_arrives_whole_and_in_order() {
        let content: Vec<u8> = (0..200_000_u32).map(|number| number as u8).collect();
        let mut sender = Sender::new(Vec::new());
        sender.write_all(&content[..100_000]).unwrap();
        sender.progress("half").unwrap();
        sender.write_all(&content[100_000..]).unwrap();
        sender.done(&manifest()).unwrap();
        let (mut got, mut lines) = (Vec::new(), Vec::new());
        let told = receive(sender.out.as_slice(), &mut got, |line| {
            lines.push(line.to_owned());
        })
        .unwrap();
        assert!(got == content, "{} bytes of {}", got.len(), content.len());
        assert_eq!((told, lines), (manifest(), vec!["half".to_owned()]));
    }

    #[test]
    fn what_is_cut_or_refused_or_no_frame_at_all_is_no_backup() {
        let mut sender = Sender::new(Vec::new());
        sender.write_all(b"abc").unwrap();
        sender.flush().unwrap();
        let receive = |bytes: &[u8]| receive(bytes, io::sink(), |_| ()).unwrap_err();
        assert!(matches!(receive(&sender.out), TransferError::Broken(_)));
        sender.failed("no room").unwrap();
        assert_eq!(receive(&sender.out).to_string(), "no room");
        assert!(matches!(
            receive(b"{\"error\":\"what?\"}"),
            TransferError::Unreadable
        ));
    }
}
