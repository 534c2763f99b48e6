//! Every sound envelope in a file, wherever it lies: pages are read as they are, not as the structure says.
//!
//! An envelope lies within a page, or begins in one and goes on in overflow pages, each of which begins with the number
//! of the next (<https://www.sqlite.org/fileformat.html>, 1.5 and 1.6). How much of it lies in the first page follows
//! from the length of the whole row, of which only the few bytes before the envelope are unknown: they are tried. Free
//! pages are read too; what they hold is old, and whoever plans the new file knows that.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use camino::{Utf8Path, Utf8PathBuf};

use crate::intake::batch::highest_series;
use crate::intake::codec;
use crate::intake::envelope::{
    self, CursorBody, DefinitionsHead, Envelope, HEAD_BYTES, LedgerBody, MARK, RecordHead,
};
use crate::intake::schema::PAGE_BYTES;

/// Bytes of a row before its envelope: header and other columns, all short.
const ROW_BEGIN_MAX: usize = 160;
/// Header of the log, and of each page in it.
const WAL_HEAD_BYTES: u64 = 32;
const FRAME_HEAD_BYTES: u64 = 24;

/// A sound envelope. What may be long is not held in memory but said where it lies: a file may be gigabytes.
#[derive(Debug)]
pub(super) enum Sound {
    /// A record, and the highest series that it names, if it can be read.
    Record(RecordHead, At, Option<u32>),
    Definitions(DefinitionsHead, At),
    Cursor(CursorBody),
    Ledger(LedgerBody),
}

/// Where an envelope begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct At {
    place: Place,
    begin: usize,
}

/// Where marks are in a page.
fn marks(page: &[u8]) -> impl Iterator<Item = usize> + '_ {
    page.windows(MARK.len())
        .enumerate()
        .filter(|(_, window)| *window == MARK)
        .map(|(begin, _)| begin)
}

/// Where a page lies.
#[derive(Debug, Clone, Copy)]
enum Place {
    Main(u64),
    Log(u64),
}

/// The pages of a database file and its log.
pub(super) struct Pages {
    main: File,
    main_bytes: u64,
    log: Option<File>,
    log_bytes: u64,
    /// The last version of a page in the log, by its number.
    logged: HashMap<u32, u64>,
}

impl Pages {
    /// Everything sound in the file and its log, in no order, the same perhaps several times.
    pub(super) fn scan(&self, mut take: impl FnMut(Sound)) -> io::Result<()> {
        for place in self.places() {
            let page = self.read(place)?;
            for begin in marks(&page) {
                let at = At { place, begin };
                match self.envelope(&page, begin) {
                    Some(Envelope::Record(head, packed)) => {
                        let report = codec::unpack_report(&packed).ok();
                        take(Sound::Record(head, at, report.as_ref().map(highest_series)));
                    }
                    Some(Envelope::Definitions(head, _)) => take(Sound::Definitions(head, at)),
                    Some(Envelope::Cursor(cursor)) => take(Sound::Cursor(cursor)),
                    Some(Envelope::Ledger(ledger)) => take(Sound::Ledger(ledger)),
                    None => {}
                }
            }
        }
        Ok(())
    }

    /// What the record or the definitions at this place hold.
    ///
    /// # Errors
    /// If it can't be read any more.
    pub(super) fn packed(&self, at: At) -> io::Result<Vec<u8>> {
        match self.envelope(&self.read(at.place)?, at.begin) {
            Some(Envelope::Record(_, packed) | Envelope::Definitions(_, packed)) => Ok(packed),
            _ => Err(io::Error::other("what was sound a moment ago is not any more")),
        }
    }

    pub(super) fn open(path: &Utf8Path) -> io::Result<Self> {
        let main = File::open(path)?;
        let main_bytes = main.metadata()?.len();
        let log = match File::open(Utf8PathBuf::from(format!("{path}-wal"))) {
            Ok(log) => Some(log),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let log_bytes = match &log {
            Some(log) => log.metadata()?.len(),
            None => 0,
        };
        let mut pages = Self {
            main,
            main_bytes,
            log,
            log_bytes,
            logged: HashMap::new(),
        };
        for offset in pages.frames() {
            let mut number = [0; 4];
            if let Some(log) = &pages.log {
                log.read_exact_at(&mut number, offset - FRAME_HEAD_BYTES)?;
            }
            pages.logged.insert(u32::from_be_bytes(number), offset);
        }
        Ok(pages)
    }

    fn frames(&self) -> Vec<u64> {
        let step = PAGE_BYTES as u64 + FRAME_HEAD_BYTES;
        let mut offsets = Vec::new();
        let mut offset = WAL_HEAD_BYTES + FRAME_HEAD_BYTES;
        while offset + PAGE_BYTES as u64 <= self.log_bytes {
            offsets.push(offset);
            offset += step;
        }
        offsets
    }

    fn places(&self) -> Vec<Place> {
        let main = (0..self.main_bytes.div_ceil(PAGE_BYTES as u64)).map(|page| page * PAGE_BYTES as u64);
        main.map(Place::Main)
            .chain(self.frames().into_iter().map(Place::Log))
            .collect()
    }

    /// A page; what the file has not is zero.
    fn read(&self, place: Place) -> io::Result<Vec<u8>> {
        let mut page = vec![0; PAGE_BYTES];
        let (file, offset) = match (place, &self.log) {
            (Place::Log(offset), Some(log)) => (log, offset),
            (Place::Log(offset) | Place::Main(offset), _) => (&self.main, offset),
        };
        let mut filled = 0;
        while filled < PAGE_BYTES {
            match file.read_at(&mut page[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(page)
    }

    /// The envelope that begins here, if it is sound.
    fn envelope(&self, page: &[u8], begin: usize) -> Option<Envelope> {
        let length = envelope::length(&page[begin..])?;
        if begin + length <= PAGE_BYTES
            && let Some(found) = envelope::open(&page[begin..begin + length])
        {
            return Some(found);
        }
        // Of tables, and of indexes: they keep different shares of a long row in the first page.
        let local_max = [PAGE_BYTES - 35, (PAGE_BYTES - 12) * 64 / 255 - 23];
        local_max.into_iter().find_map(|local_max| {
            (1..ROW_BEGIN_MAX.min(begin))
                .find_map(|row_begin| self.assemble(page, begin, row_begin, length, local_max))
        })
    }

    /// The envelope, if so many bytes of its row come before it.
    fn assemble(
        &self,
        page: &[u8],
        begin: usize,
        row_begin: usize,
        length: usize,
        local_max: usize,
    ) -> Option<Envelope> {
        let row = row_begin + length;
        if row <= local_max {
            return None;
        }
        let local_min = (PAGE_BYTES - 12) * 32 / 255 - 23;
        let share = local_min + (row - local_min) % (PAGE_BYTES - 4);
        let local = if share <= local_max { share } else { local_min };
        let end = begin
            + local
                .checked_sub(row_begin)
                .filter(|bytes| HEAD_BYTES <= *bytes)?;
        let mut next = page_number(page.get(end..end + 4)?)?;
        let mut sealed = page[begin..end].to_vec();
        while sealed.len() < length {
            let overflow = self.page(next)?;
            let wanted = (length - sealed.len()).min(PAGE_BYTES - 4);
            sealed.extend(&overflow[4..4 + wanted]);
            if sealed.len() < length {
                next = page_number(&overflow)?;
            }
        }
        envelope::open(&sealed)
    }

    fn page(&self, number: u32) -> Option<Vec<u8>> {
        let place = match self.logged.get(&number) {
            Some(offset) => Place::Log(*offset),
            None => {
                let offset = u64::from(number - 1) * PAGE_BYTES as u64;
                (offset < self.main_bytes).then_some(Place::Main(offset))?
            }
        };
        self.read(place).ok()
    }
}

/// The number of a page; 0 is none.
fn page_number(bytes: &[u8]) -> Option<u32> {
    let number = u32::from_be_bytes(bytes.get(..4)?.try_into().ok()?);
    (0 < number).then_some(number)
}
