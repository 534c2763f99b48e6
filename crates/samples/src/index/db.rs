//! The index on disk: `index.db`.
//!
//! Each row carries a CRC of its content. A row that does not match is left out and reported: its samples are
//! not shown rather than shown under a wrong name. The *census* says how many rows there are and which numbers
//! were given, so that a row which is not found at all is missed too, and its number is not given again.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use muster_base::id::{ResourceId, ServerId};
use muster_model::{Labels, MetricType};
use rusqlite::{Connection, params};

use super::{Census, Changes};
use crate::damage::{Damage, DamageKind};
use crate::error::StoreError;
use crate::series::SeriesMeta;
use crate::sqlite::{self, Schema};

const SCHEMA: Schema = Schema {
    application_id: 0x4d53_4958,
    version: 1,
    sql: "CREATE TABLE series_group (
              id INTEGER PRIMARY KEY, server INTEGER NOT NULL, collector TEXT NOT NULL, crc INTEGER NOT NULL
          ) STRICT;
          CREATE TABLE series (
              id INTEGER PRIMARY KEY, group_id INTEGER NOT NULL, resource INTEGER NOT NULL, name TEXT NOT NULL,
              labels TEXT NOT NULL, metric_type INTEGER NOT NULL, unit TEXT NOT NULL,
              interval_ms INTEGER NOT NULL, last_day INTEGER NOT NULL, crc INTEGER NOT NULL
          ) STRICT;
          CREATE TABLE census (
              id INTEGER PRIMARY KEY, series_count INTEGER NOT NULL, series_number_max INTEGER NOT NULL,
              group_number_max INTEGER NOT NULL, crc INTEGER NOT NULL
          ) STRICT;",
    upgrades: &[],
};

/// Numbers left out when nobody knows which were given.
const NUMBERS_SKIPPED: u32 = 1 << 20;

/// A group as it is on disk.
#[derive(Debug, Clone)]
pub(crate) struct GroupRow {
    /// Its number.
    pub(crate) id: u32,
    /// The server.
    pub(crate) server: ServerId,
    /// The collector.
    pub(crate) collector: String,
}

/// A series as it is on disk.
#[derive(Debug)]
pub(crate) struct SeriesRow {
    /// Its number.
    pub(crate) id: u32,
    /// Its group.
    pub(crate) group: u32,
    /// Its resource.
    pub(crate) resource: ResourceId,
    /// Metric name.
    pub(crate) name: String,
    /// Its own labels.
    pub(crate) labels: Labels,
    /// Type of the metric.
    pub(crate) metric_type: MetricType,
    /// Base unit.
    pub(crate) unit: String,
    /// How often a sample is expected, in milliseconds.
    pub(crate) interval_ms: u32,
    /// The day of its last sealed sample, or some days less.
    pub(crate) last_day: i32,
}

/// Everything that was on disk.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    /// The groups.
    pub(crate) groups: Vec<GroupRow>,
    /// The series.
    pub(crate) series: Vec<SeriesRow>,
    /// The highest group number there is, readable or not.
    pub(crate) group_number_max: u32,
    /// The highest series number there is, readable or not.
    pub(crate) series_number_max: u32,
    /// Rows that could not be read.
    pub(crate) damaged: Vec<Damage>,
}

/// The file with its connection.
#[derive(Debug)]
pub(crate) struct IndexDb {
    path: Utf8PathBuf,
    connection: Connection,
}

impl IndexDb {
    /// Opens or makes the file.
    pub(crate) fn open(path: &Utf8Path) -> Result<Self, StoreError> {
        if !path.exists() {
            sqlite::create(path, &SCHEMA)?;
        }
        let connection = sqlite::open(path, &SCHEMA)?;
        Ok(Self {
            path: path.to_owned(),
            connection,
        })
    }

    /// Copies the file as it is.
    pub(crate) fn copy_to(&self, path: &Utf8Path) -> Result<(), StoreError> {
        sqlite::copy(&self.path, path)
    }

    /// Reads everything.
    pub(crate) fn load(&self) -> Result<Loaded, StoreError> {
        self.try_load()
            .map_err(|source| StoreError::database("read", &self.path, source))
    }

    fn try_load(&self) -> rusqlite::Result<Loaded> {
        let mut loaded = Loaded::default();
        let mut statement = self
            .connection
            .prepare("SELECT id, server, collector, crc FROM series_group")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let id: i64 = row.get(0)?;
            loaded.group_number_max = loaded.group_number_max.max(u32::try_from(id).unwrap_or(0));
            match group_row(row) {
                Some(group) => loaded.groups.push(group),
                None => loaded.damaged.push(self.damage(DamageKind::Group { id })),
            }
        }
        let mut statement = self.connection.prepare(
            "SELECT id, group_id, resource, name, labels, metric_type, unit, interval_ms, last_day, crc FROM series",
        )?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let id: i64 = row.get(0)?;
            loaded.series_number_max = loaded.series_number_max.max(u32::try_from(id).unwrap_or(0));
            match series_row(row) {
                Some(series) => loaded.series.push(series),
                None => loaded.damaged.push(self.damage(DamageKind::Series { id })),
            }
        }
        self.find_missing(&mut loaded)?;
        Ok(loaded)
    }

    /// Reports rows that were not found at all, and keeps their numbers from being given again.
    fn find_missing(&self, loaded: &mut Loaded) -> rusqlite::Result<()> {
        let groups: HashSet<u32> = loaded.groups.iter().map(|group| group.id).collect();
        let of_no_group = loaded
            .series
            .iter()
            .filter(|series| !groups.contains(&series.group));
        let missing: BTreeSet<u32> = of_no_group.map(|series| series.group).collect();
        loaded.damaged.extend(
            missing
                .iter()
                .map(|id| self.damage(DamageKind::Group { id: i64::from(*id) })),
        );

        let mut statement = self.connection.prepare(
            "SELECT series_count, series_number_max, group_number_max, crc FROM census WHERE id = 1",
        )?;
        let census = match statement.query([])?.next()? {
            Some(row) => census_row(row),
            None if loaded.series.is_empty() => Some(Census::default()),
            None => None,
        };
        let Some(census) = census else {
            let reason = "its census cannot be read".to_owned();
            loaded.damaged.push(self.damage(DamageKind::File { reason }));
            // Nobody knows which numbers were given beyond those that were found.
            loaded.series_number_max = loaded.series_number_max.saturating_add(NUMBERS_SKIPPED);
            loaded.group_number_max = loaded.group_number_max.saturating_add(NUMBERS_SKIPPED);
            return Ok(());
        };
        loaded.series_number_max = loaded.series_number_max.max(census.series_number_max);
        loaded.group_number_max = loaded.group_number_max.max(census.group_number_max);
        let missing = usize::try_from(census.series_count)
            .unwrap_or(usize::MAX)
            .saturating_sub(loaded.series.len() + loaded.damaged.len());
        if 0 < missing {
            let reason = format!("{missing} series are not found");
            loaded.damaged.push(self.damage(DamageKind::File { reason }));
        }
        Ok(())
    }

    /// Writes changes in one transaction, synced when this returns.
    pub(crate) fn write(&mut self, changes: &Changes) -> Result<(), StoreError> {
        if changes.groups.is_empty() && changes.series.is_empty() {
            return Ok(());
        }
        self.try_write(changes)
            .map_err(|source| StoreError::database("write", &self.path, source))
    }

    fn try_write(&mut self, changes: &Changes) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction()?;
        {
            let mut insert =
                transaction.prepare_cached("INSERT OR REPLACE INTO series_group VALUES (?1, ?2, ?3, ?4)")?;
            for group in &changes.groups {
                insert.execute(params![
                    group.id,
                    group.server.0,
                    group.collector,
                    group_crc(group)
                ])?;
            }
            let mut insert = transaction.prepare_cached(
                "INSERT OR REPLACE INTO series VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            )?;
            let mut delete = transaction.prepare_cached("DELETE FROM series WHERE id = ?1")?;
            for (number, meta, last_day) in &changes.series {
                let Some(meta) = meta else {
                    delete.execute([number])?;
                    continue;
                };
                let labels = labels_text(meta);
                let stored = Stored {
                    meta,
                    labels: &labels,
                    last_day: *last_day,
                };
                insert.execute(params![
                    number,
                    meta.group,
                    meta.resource.0,
                    meta.name,
                    labels,
                    type_code(meta.metric_type),
                    meta.unit,
                    meta.interval_ms,
                    last_day,
                    stored.crc(),
                ])?;
            }
            let Census {
                series_count,
                series_number_max,
                group_number_max,
            } = changes.census;
            transaction.execute(
                "INSERT OR REPLACE INTO census VALUES (1, ?1, ?2, ?3, ?4)",
                params![
                    series_count,
                    series_number_max,
                    group_number_max,
                    changes.census.crc()
                ],
            )?;
        }
        transaction.commit()
    }

    fn damage(&self, kind: DamageKind) -> Damage {
        Damage {
            file: self.path.clone(),
            kind,
        }
    }
}

struct Stored<'a> {
    meta: &'a Arc<SeriesMeta>,
    labels: &'a str,
    last_day: i32,
}

impl Stored<'_> {
    fn crc(&self) -> u32 {
        let meta = self.meta;
        series_crc(
            [
                meta.id.0.into(),
                meta.group.into(),
                meta.resource.0,
                type_code(meta.metric_type).into(),
                meta.interval_ms.into(),
                self.last_day.into(),
            ],
            [&meta.name, self.labels, &meta.unit],
        )
    }
}

impl Census {
    fn crc(&self) -> u32 {
        let numbers = [self.series_count, self.series_number_max, self.group_number_max];
        crc32fast::hash(&numbers.map(u32::to_le_bytes).concat())
    }
}

fn census_row(row: &rusqlite::Row<'_>) -> Option<Census> {
    let census = Census {
        series_count: row.get(0).ok()?,
        series_number_max: row.get(1).ok()?,
        group_number_max: row.get(2).ok()?,
    };
    (row.get::<_, u32>(3).ok()? == census.crc()).then_some(census)
}

fn group_row(row: &rusqlite::Row<'_>) -> Option<GroupRow> {
    let group = GroupRow {
        id: row.get(0).ok()?,
        server: ServerId(row.get(1).ok()?),
        collector: row.get(2).ok()?,
    };
    (row.get::<_, u32>(3).ok()? == group_crc(&group)).then_some(group)
}

/// The row, if its CRC is right and everything in it can be understood.
fn series_row(row: &rusqlite::Row<'_>) -> Option<SeriesRow> {
    let (name, labels, unit): (String, String, String) =
        (row.get(3).ok()?, row.get(4).ok()?, row.get(6).ok()?);
    let mut numbers = [0_i64; 6];
    for (number, column) in numbers.iter_mut().zip([0, 1, 2, 5, 7, 8]) {
        *number = row.get(column).ok()?;
    }
    if row.get::<_, u32>(9).ok()? != series_crc(numbers, [&name, &labels, &unit]) {
        return None;
    }
    Some(SeriesRow {
        id: row.get(0).ok()?,
        group: row.get(1).ok()?,
        resource: ResourceId(row.get(2).ok()?),
        name,
        labels: serde_json::from_str(&labels).ok()?,
        metric_type: type_of(row.get(5).ok()?)?,
        unit,
        interval_ms: row.get(7).ok()?,
        last_day: row.get(8).ok()?,
    })
}

fn group_crc(group: &GroupRow) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&group.id.to_le_bytes());
    hasher.update(&group.server.0.to_le_bytes());
    hasher.update(group.collector.as_bytes());
    hasher.finalize()
}

fn series_crc(numbers: [i64; 6], texts: [&str; 3]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    for number in numbers {
        hasher.update(&number.to_le_bytes());
    }
    for text in texts {
        // With its length, so that no letter can move from one text to the next.
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    }
    hasher.finalize()
}

fn labels_text(meta: &SeriesMeta) -> String {
    serde_json::to_string(&meta.labels).expect("pairs of texts are always JSON")
}

const fn type_code(metric_type: MetricType) -> u8 {
    match metric_type {
        MetricType::Counter => 1,
        MetricType::Gauge => 2,
        MetricType::Untyped => 3,
    }
}

const fn type_of(code: u8) -> Option<MetricType> {
    match code {
        1 => Some(MetricType::Counter),
        2 => Some(MetricType::Gauge),
        3 => Some(MetricType::Untyped),
        _ => None,
    }
}
