//! A disk with a cache that a power cut empties.
//!
//! It speaks the NBD protocol (`doc/proto.md` of the NBD project) to one machine at a time. What was written is read back
//! at once, but lasts only from the next flush on, as on any drive with a write cache that is switched on. At a power cut
//! each write that was not flushed is there, gone, or torn between two sectors, by chance and whatever the order.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

const SECTOR: usize = 512;
/// Longest request that is taken.
const REQUEST_MAX: u32 = 32 * 1024 * 1024;

const MAGIC: u64 = 0x4e42_444d_4147_4943;
const OPTION_MAGIC: u64 = 0x4948_4156_454f_5054;
const OPTION_REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;
const REQUEST_MAGIC: u32 = 0x2560_9513;
const REPLY_MAGIC: u32 = 0x6744_6698;
/// "Fixed newstyle", and no zeroes after the old way to ask for an export.
const HANDSHAKE_FLAGS: u16 = 0b11;
/// The flags are flags, and there are flushes. Without "force unit access" these are flushes too.
const EXPORT_FLAGS: u16 = 0b101;
const INVALID: u32 = 22;

/// What became of the writes that were not flushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Losses {
    /// Writes that were not flushed.
    pub unflushed: usize,
    /// Those of them that are gone.
    pub gone: usize,
    /// Those of which a part is gone.
    pub torn: usize,
}

/// The disk. It serves from its own threads until the test ends.
#[derive(Debug)]
pub struct Disk {
    socket: PathBuf,
    content: Arc<Mutex<Content>>,
}

#[derive(Debug)]
struct Content {
    /// What is read.
    now: Vec<u8>,
    /// What a power cut leaves for sure.
    durable: Vec<u8>,
    /// Written since the last flush, in order.
    unflushed: Vec<(usize, Vec<u8>)>,
    /// How often the power was cut: nothing of an earlier life is taken.
    life: u32,
}

impl Disk {
    /// A disk with this content, for machines that connect to `socket`.
    ///
    /// # Errors
    /// If the content can't be read or the socket not be made.
    pub fn of(content: &Path, socket: PathBuf) -> Result<Self> {
        let bytes = std::fs::read(content).with_context(|| content.display().to_string())?;
        let content = Arc::new(Mutex::new(Content {
            now: bytes.clone(),
            durable: bytes,
            unflushed: Vec::new(),
            life: 0,
        }));
        let listener = UnixListener::bind(&socket)?;
        let served = Arc::clone(&content);
        std::thread::spawn(move || {
            for machine in listener.incoming().map_while(Result::ok) {
                let content = Arc::clone(&served);
                // A machine that is gone is no error of the disk.
                std::thread::spawn(move || drop(serve(machine, &content)));
            }
        });
        Ok(Self { socket, content })
    }

    /// Where machines connect.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Returns in the middle of writing: when something was written and not flushed yet; or after `limit`.
    pub async fn unflushed(&self, limit: Duration) {
        let began = Instant::now();
        while lock(&self.content).unflushed.is_empty() && began.elapsed() < limit {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Writes what lasts to a file.
    ///
    /// # Errors
    /// If the file can't be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        Ok(std::fs::write(path, &lock(&self.content).durable)?)
    }

    /// Takes nothing any more, ends the machine with `end`, and loses what was not flushed.
    pub(super) fn cut_power(&self, end: impl FnOnce() -> Result<()>) -> Result<Losses> {
        let mut content = lock(&self.content);
        content.life += 1;
        end()?;
        Ok(content.lose())
    }
}

fn lock(content: &Mutex<Content>) -> MutexGuard<'_, Content> {
    // Nothing is half changed: requests are checked before anything is written.
    content.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Content {
    fn write(&mut self, at: usize, bytes: Vec<u8>) {
        self.now[at..at + bytes.len()].copy_from_slice(&bytes);
        self.unflushed.push((at, bytes));
    }

    fn flush(&mut self) {
        for (at, bytes) in self.unflushed.drain(..) {
            self.durable[at..at + bytes.len()].copy_from_slice(&bytes);
        }
    }

    fn lose(&mut self) -> Losses {
        let mut losses = Losses {
            unflushed: self.unflushed.len(),
            ..Losses::default()
        };
        for (at, bytes) in std::mem::take(&mut self.unflushed) {
            let sectors = bytes.len().div_ceil(SECTOR);
            let kept = match fastrand::u8(..4) {
                0 | 1 => sectors,
                2 => 0,
                _ => fastrand::usize(..=sectors),
            };
            let kept_bytes = (kept * SECTOR).min(bytes.len());
            losses.gone += usize::from(kept == 0);
            losses.torn += usize::from(0 < kept && kept < sectors);
            self.durable[at..at + kept_bytes].copy_from_slice(&bytes[..kept_bytes]);
        }
        self.now.copy_from_slice(&self.durable);
        losses
    }
}

/// Serves one machine to its end.
fn serve(mut machine: UnixStream, content: &Mutex<Content>) -> io::Result<()> {
    let (size, life) = {
        let content = lock(content);
        (content.now.len(), content.life)
    };
    if greet(&mut machine, size as u64)? {
        while request(&mut machine, content, life)? {}
    }
    Ok(())
}

/// Agrees with a machine; whether requests follow.
fn greet(machine: &mut UnixStream, size: u64) -> io::Result<bool> {
    let mut hello = Vec::new();
    hello.extend(MAGIC.to_be_bytes());
    hello.extend(OPTION_MAGIC.to_be_bytes());
    hello.extend(HANDSHAKE_FLAGS.to_be_bytes());
    machine.write_all(&hello)?;
    take::<4>(machine)?;
    loop {
        if u64::from_be_bytes(take(machine)?) != OPTION_MAGIC {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let option = u32::from_be_bytes(take(machine)?);
        let length = u32::from_be_bytes(take(machine)?).min(REQUEST_MAX);
        machine.read_exact(&mut vec![0; length as usize])?;
        let mut export = size.to_be_bytes().to_vec();
        export.extend(EXPORT_FLAGS.to_be_bytes());
        match option {
            // The old way to ask: no answer but the export itself.
            1 => return machine.write_all(&export).map(|()| true),
            2 => return answer(machine, option, 1, &[]).map(|()| false),
            7 => {
                answer(machine, option, 3, &[&[0, 0], &export[..]].concat())?;
                return answer(machine, option, 1, &[]).map(|()| true);
            }
            _ => answer(machine, option, 0x8000_0001, &[])?,
        }
    }
}

fn answer(machine: &mut UnixStream, option: u32, kind: u32, data: &[u8]) -> io::Result<()> {
    let mut reply = OPTION_REPLY_MAGIC.to_be_bytes().to_vec();
    reply.extend(option.to_be_bytes());
    reply.extend(kind.to_be_bytes());
    reply.extend(u32::try_from(data.len()).unwrap_or_default().to_be_bytes());
    reply.extend_from_slice(data);
    machine.write_all(&reply)
}

/// Serves one request; whether more may follow.
fn request(machine: &mut UnixStream, content: &Mutex<Content>, life: u32) -> io::Result<bool> {
    let magic = u32::from_be_bytes(take(machine)?);
    let [_, _, _, kind] = take(machine)?;
    let cookie: [u8; 8] = take(machine)?;
    let at = u64::from_be_bytes(take(machine)?);
    let length = u32::from_be_bytes(take(machine)?);
    if magic != REQUEST_MAGIC || REQUEST_MAX < length {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let length = length as usize;
    let mut written = vec![0; if kind == 1 { length } else { 0 }];
    machine.read_exact(&mut written)?;
    let mut reply = REPLY_MAGIC.to_be_bytes().to_vec();
    {
        let mut content = lock(content);
        if content.life != life {
            return Ok(false);
        }
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        let is_inside = at.checked_add(length).is_some_and(|end| end <= content.now.len());
        let error = match kind {
            0 | 1 if !is_inside => INVALID,
            0 | 1 | 3 => 0,
            2 => return Ok(false),
            _ => INVALID,
        };
        reply.extend(error.to_be_bytes());
        reply.extend(cookie);
        match kind {
            0 if error == 0 => reply.extend_from_slice(&content.now[at..at + length]),
            1 if error == 0 => content.write(at, written),
            3 => content.flush(),
            _ => {}
        }
    }
    machine.write_all(&reply)?;
    Ok(true)
}

fn take<const N: usize>(machine: &mut UnixStream) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    machine.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk_of(sectors: usize) -> Content {
        Content {
            now: vec![0; sectors * SECTOR],
            durable: vec![0; sectors * SECTOR],
            unflushed: Vec::new(),
            life: 0,
        }
    }

    #[test]
    fn what_was_flushed_is_there_after_a_power_cut_and_the_rest_only_by_chance() {
        let (mut gone, mut torn) = (0, 0);
        for _ in 0..200 {
            let mut disk = disk_of(8);
            disk.write(0, vec![1; 4 * SECTOR]);
            disk.flush();
            disk.write(2 * SECTOR, vec![2; 4 * SECTOR]);
            assert_eq!(disk.now[2 * SECTOR], 2, "it is read at once");
            let losses = disk.lose();
            assert_eq!(disk.now, disk.durable);
            assert_eq!(disk.now[..2 * SECTOR], vec![1; 2 * SECTOR]);
            let kept = disk.now.iter().filter(|byte| **byte == 2).count();
            assert_eq!(kept % SECTOR, 0, "sectors are whole");
            assert_eq!((losses.unflushed, losses.gone), (1, usize::from(kept == 0)));
            gone += losses.gone;
            torn += losses.torn;
        }
        assert!(
            0 < gone && 0 < torn && gone + torn < 200,
            "{gone} gone, {torn} torn"
        );
    }
}
