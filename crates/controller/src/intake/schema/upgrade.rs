//! From the first version to the second: every row gets its envelope, and every record its place in the ledger.

use muster_base::id::{AgentId, ServerId};
use muster_model::SequenceRange;
use rusqlite::{Connection, params};

use super::{floor, insert_ledger};
use crate::intake::envelope::{self, CursorBody, DefinitionsHead, LedgerBody, RecordHead};

/// Records rewritten in one step.
const STEP_RECORDS: i64 = 1_000;

/// Rewrites everything; to be called in a transaction.
pub(super) fn seal_all(connection: &Connection) -> rusqlite::Result<()> {
    seal_records(connection)?;
    seal_definitions(connection)?;
    seal_cursors(connection)
}

fn seal_records(connection: &Connection) -> rusqlite::Result<()> {
    let floor = floor(connection)?;
    let mut after = 0;
    loop {
        let step = records_after(connection, after)?;
        let Some((last, _)) = step.last() else {
            return Ok(());
        };
        after = last.position;
        let mut entries = Vec::with_capacity(step.len());
        for (head, packed) in &step {
            let payload = envelope::seal_record(head, packed);
            connection
                .prepare_cached("UPDATE record SET payload = ?2 WHERE position = ?1")?
                .execute(params![head.position, payload])?;
            entries.push(head.entry());
        }
        insert_ledger(connection, &LedgerBody { floor, entries })?;
    }
}

fn records_after(connection: &Connection, after: i64) -> rusqlite::Result<Vec<(RecordHead, Vec<u8>)>> {
    let sql = "SELECT position, agent, server, epoch, sequence, received_ms, kind, size_bytes, payload
               FROM record WHERE ?1 < position ORDER BY position LIMIT ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(params![after, STEP_RECORDS], |row| {
        let head = RecordHead {
            position: row.get(0)?,
            agent: AgentId(uuid::Uuid::from_bytes(row.get(1)?)),
            server: ServerId(row.get(2)?),
            epoch: row.get::<_, i64>(3)?.cast_unsigned(),
            sequence: row.get::<_, i64>(4)?.cast_unsigned(),
            received_ms: row.get(5)?,
            kind: row.get(6)?,
            size_bytes: row.get(7)?,
        };
        Ok((head, row.get(8)?))
    })?;
    rows.collect()
}

fn seal_definitions(connection: &Connection) -> rusqlite::Result<()> {
    let mut statement =
        connection.prepare("SELECT id, agent, epoch, first_id, last_id, payload FROM definition")?;
    let rows: Vec<(i64, DefinitionsHead, Vec<u8>)> = statement
        .query_map([], |row| {
            let head = DefinitionsHead {
                agent: AgentId(uuid::Uuid::from_bytes(row.get(1)?)),
                epoch: row.get::<_, i64>(2)?.cast_unsigned(),
                first_id: row.get(3)?,
                last_id: row.get(4)?,
            };
            Ok((row.get(0)?, head, row.get(5)?))
        })?
        .collect::<Result<_, _>>()?;
    for (id, head, packed) in rows {
        let payload = envelope::seal_definitions(&head, &packed);
        connection
            .prepare_cached("UPDATE definition SET payload = ?2 WHERE id = ?1")?
            .execute(params![id, payload])?;
    }
    connection.execute(
        "INSERT INTO definition_copy (agent, epoch, first_id, last_id, payload)
         SELECT agent, epoch, first_id, last_id, payload FROM definition ORDER BY id",
        [],
    )?;
    Ok(())
}

fn seal_cursors(connection: &Connection) -> rusqlite::Result<()> {
    let mut statement =
        connection.prepare("SELECT agent, epoch, ranges, definitions, last_ms FROM cursor")?;
    let cursors: Vec<CursorBody> = statement
        .query_map([], |row| {
            Ok(CursorBody {
                agent: AgentId(uuid::Uuid::from_bytes(row.get(0)?)),
                epoch: row.get::<_, i64>(1)?.cast_unsigned(),
                written_at: 0,
                definitions: row.get(3)?,
                last_ms: row.get(4)?,
                ranges: ranges_of(row.get_ref(2)?.as_blob()?).collect(),
            })
        })?
        .collect::<Result<_, _>>()?;
    cursors
        .iter()
        .try_for_each(|cursor| super::put_cursor(connection, cursor))
}

/// Ranges as the first version wrote them.
fn ranges_of(bytes: &[u8]) -> impl Iterator<Item = SequenceRange> + '_ {
    let number = |bytes: &[u8]| bytes.try_into().map(u64::from_le_bytes).unwrap_or_default();
    bytes.chunks_exact(16).map(move |pair| SequenceRange {
        first: number(&pair[..8]),
        last: number(&pair[8..]),
    })
}
