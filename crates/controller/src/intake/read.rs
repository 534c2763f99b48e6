//! Reading the log back: records for consumers that lag or start, and definitions.
//!
//! Over a connection of its own, so that reading never waits for a commit. A record that can't be read is handed on
//! as damaged: the consumer sets it aside, and what follows is read.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use camino::Utf8Path;
use muster_base::ErrorChain;
use muster_base::id::AgentId;
use muster_model::SeriesDef;
use rusqlite::{Connection, Row, params};

use super::envelope::{self, Envelope};
use super::{Accepted, IntakeError, codec, schema};

/// One record as it was read.
#[derive(Debug, Clone)]
pub enum Record {
    /// It is whole.
    Good(Arc<Accepted>),
    /// It can't be read.
    Damaged {
        /// Its place in the log.
        position: i64,
        /// Why, in words.
        error: String,
    },
}

impl Record {
    /// Its place in the log.
    #[must_use]
    pub fn position(&self) -> i64 {
        match self {
            Self::Good(accepted) => accepted.position,
            Self::Damaged { position, .. } => *position,
        }
    }
}

/// Records in order of position.
#[derive(Debug, Clone)]
pub struct Page {
    /// The records.
    pub records: Vec<Record>,
    /// Whether they had to be read from disk: the reader lags, or starts.
    pub from_disk: bool,
}

/// Definitions of one epoch with consecutive ids.
#[derive(Debug, Clone)]
pub struct Definitions {
    /// Id of the first.
    pub from_id: u32,
    /// The definitions; `None` where one breaks a rule or can't be read.
    pub series: Vec<Option<SeriesDef>>,
}

pub(super) struct Reader {
    connection: Mutex<Connection>,
}

/// Runs a read where it may block.
pub(super) async fn blocking<T: Send + 'static>(
    read: impl FnOnce() -> rusqlite::Result<T> + Send + 'static,
) -> Result<T, IntakeError> {
    match tokio::task::spawn_blocking(read).await {
        Ok(result) => result.map_err(IntakeError::Read),
        Err(_) => Err(IntakeError::Closed),
    }
}

impl Reader {
    pub(super) fn open(path: &Utf8Path) -> Result<Self, IntakeError> {
        Ok(Self {
            connection: Mutex::new(schema::open_reader(path)?),
        })
    }

    /// Reads another file from now on.
    pub(super) fn replace(&self, connection: Connection) {
        *self.lock() = connection;
    }

    pub(super) fn set_aside_count(&self) -> rusqlite::Result<u64> {
        self.lock()
            .query_row("SELECT count(*) FROM set_aside", [], |row| row.get::<_, i64>(0))
            .map(i64::unsigned_abs)
    }

    pub(super) fn page_after(
        &self,
        position: i64,
        count_max: usize,
        bytes_max: usize,
    ) -> rusqlite::Result<Page> {
        let connection = self.lock();
        let sql = "SELECT position, payload
                   FROM record WHERE ?1 < position ORDER BY position LIMIT ?2";
        let mut statement = connection.prepare_cached(sql)?;
        let mut rows = statement.query(params![position, i64::try_from(count_max).unwrap_or(i64::MAX)])?;
        let mut records = Vec::new();
        let mut bytes = 0;
        while bytes < bytes_max
            && let Some(row) = rows.next()?
        {
            let record = record_of(row)?;
            if let Record::Good(accepted) = &record {
                bytes += accepted.size_bytes;
            }
            records.push(record);
        }
        Ok(Page {
            records,
            from_disk: true,
        })
    }

    pub(super) fn definitions(
        &self,
        agent: AgentId,
        epoch: u64,
        from_id: u32,
    ) -> rusqlite::Result<Definitions> {
        let connection = self.lock();
        let sql = "SELECT last_id, payload FROM definition
                   WHERE agent = ?1 AND epoch = ?2 AND ?3 <= last_id ORDER BY id";
        let mut statement = connection.prepare_cached(sql)?;
        let mut rows = statement.query(params![agent.0.as_bytes(), epoch.cast_signed(), from_id])?;
        let mut found = Definitions {
            from_id,
            series: Vec::new(),
        };
        while let Some(row) = rows.next()? {
            let (last_id, payload): (u32, Vec<u8>) = (row.get(0)?, row.get(1)?);
            let packed = match envelope::open(&payload) {
                Some(Envelope::Definitions(_, packed)) => packed,
                _ => Vec::new(),
            };
            match codec::unpack_definitions(&packed) {
                Ok((first_id, series)) => found.add(first_id, last_id, series),
                Err(error) => {
                    tracing::error!(agent.id = %agent, last_id, error = %ErrorChain(&error), "definitions cannot be read back");
                }
            }
            found.fill_to(last_id);
        }
        Ok(found)
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Definitions {
    /// Adds those that are new: what was said first stays.
    fn add(&mut self, first_id: u32, last_id: u32, series: Vec<Option<SeriesDef>>) {
        let next_id = u64::from(self.from_id) + self.series.len() as u64;
        let news = (u64::from(first_id)..=u64::from(last_id)).zip(series);
        self.series
            .extend(news.skip_while(|(id, _)| *id < next_id).map(|(_, series)| series));
    }

    /// Ids that could not be read keep their place.
    fn fill_to(&mut self, last_id: u32) {
        let wanted = (last_id.saturating_sub(self.from_id) as usize).saturating_add(1);
        if self.series.len() < wanted {
            self.series.resize(wanted, None);
        }
    }
}

fn record_of(row: &Row<'_>) -> rusqlite::Result<Record> {
    let position = row.get(0)?;
    let Some(Envelope::Record(head, packed)) = envelope::open(row.get_ref(1)?.as_blob()?) else {
        return Ok(Record::Damaged {
            position,
            error: "record is not as it was written".to_owned(),
        });
    };
    let report = match codec::unpack_report(&packed) {
        Ok(report) => report,
        Err(error) => {
            return Ok(Record::Damaged {
                position,
                error: ErrorChain(&error).to_string(),
            });
        }
    };
    Ok(Record::Good(Arc::new(Accepted {
        position,
        agent: head.agent,
        server: head.server,
        received_ms: head.received_ms,
        report: Arc::new(report),
        size_bytes: head.size_bytes as usize,
    })))
}
