//! Commands to agents, from being asked for to what became of them.
//!
//! A command only ever goes forward: what an agent says late or twice changes nothing, but for commands that were ended
//! here without its word, of which its word is the better one. The counter of an agent's commands rises in the
//! transaction that stores the command, so they are committed in the order of their counters.

mod row;

use muster_base::id::AgentId;
use muster_model::{CommandRefusal, CommandState};
use muster_proto::convert::CommandReport;
use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{
    ActiveValue::{Set, Unchanged},
    ColumnTrait as _, DatabaseTransaction, EntityTrait as _, PaginatorTrait as _, QueryFilter as _,
    QueryOrder as _, QuerySelect as _, Select,
};
use uuid::Uuid;

pub use self::row::CommandRow;
use self::row::rows;
pub(crate) use self::row::{CommandFilter, Draft, Issued, Said};
use super::entity::{agent_identity, command, command_counter};
use super::identities::{ACTIVE, agent_id};
use super::{Doing as _, Store, StoreError, commit, corrupt, installation, servers};

/// Most commands that may wait for one agent, sent or not.
pub(crate) const PENDING_MAX: u64 = 64;
/// Commands that are ended by one transaction.
const ENDED_AT_ONCE: u64 = 500;

/// How far a state is; a command never goes back.
const fn rank(state: CommandState) -> u8 {
    match state {
        CommandState::Pending => 0,
        CommandState::Received => 1,
        CommandState::Started => 2,
        _ => 3,
    }
}

/// Words of commands that were ended without the agent's word.
fn is_ended_here(reason: &str) -> bool {
    let reason = CommandRefusal::of_word(reason);
    matches!(reason, CommandRefusal::NotAnswered | CommandRefusal::Restored)
}

impl Store {
    /// Stores a command for the agent of a server. `envelope` signs it, knowing agent, generation and counter.
    pub(crate) async fn issue_command(
        &self,
        draft: Draft,
        envelope: impl FnOnce(&Draft, AgentId, u32, u64) -> Vec<u8>,
    ) -> Result<Issued, StoreError> {
        const DOING: &str = "store a command";
        let transaction = self.begin(DOING).await?;
        if servers::find(&transaction, draft.server).await?.is_none() {
            return Ok(Issued::NoServer);
        }
        let identity = agent_identity::Entity::find()
            .filter(agent_identity::Column::ServerId.eq(draft.server.0))
            .filter(agent_identity::Column::Status.eq(ACTIVE))
            .order_by_desc(agent_identity::Column::CreatedMs)
            .one(&transaction)
            .await
            .doing(DOING)?;
        let Some(identity) = identity else {
            return Ok(Issued::NoAgent);
        };
        let waiting = command::Entity::find()
            .filter(command::Column::Agent.eq(identity.agent.as_str()))
            .filter(command::Column::State.eq(CommandState::Pending.as_str()))
            .count(&transaction)
            .await
            .doing(DOING)?;
        if PENDING_MAX <= waiting {
            return Ok(Issued::TooMany);
        }
        let agent = agent_id(&identity.agent)?;
        let generation = u32::try_from(identity.generation).unwrap_or(0);
        let known = command_counter::Entity::find_by_id(identity.agent.as_str())
            .one(&transaction)
            .await
            .doing(DOING)?;
        let counter = known.map_or(0, |row| row.counter) + 1;
        set_counter(&transaction, &identity.agent, counter).await?;
        let bytes = envelope(&draft, agent, generation, counter.unsigned_abs());
        let row = insert(
            &transaction,
            draft,
            &identity.agent,
            (identity.generation, counter),
            bytes,
        )
        .await?;
        commit(transaction, DOING).await?;
        Ok(Issued::As(Box::new(row.try_into()?)))
    }

    /// Stores the secrets of another key that signs commands, and with them, in one transaction, what waits as that key
    /// signs it: `again` makes another envelope of one, or says that it is not ours and stays as it is.
    pub(crate) async fn rotate_command_key(
        &self,
        secrets: &[(String, Vec<u8>)],
        again: impl Fn(&[u8]) -> Option<Vec<u8>>,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        const DOING: &str = "store another command key";
        let transaction = self.begin(DOING).await?;
        installation::put(&transaction, secrets, now_ms).await?;
        let waiting = command::Entity::find()
            .filter(command::Column::State.eq(CommandState::Pending.as_str()))
            .all(&transaction)
            .await
            .doing(DOING)?;
        for row in waiting {
            let Some(envelope) = again(&row.envelope) else {
                continue;
            };
            let changed = command::ActiveModel {
                id: Unchanged(row.id),
                envelope: Set(envelope),
                ..Default::default()
            };
            command::Entity::update(changed)
                .exec(&transaction)
                .await
                .doing(DOING)?;
        }
        commit(transaction, DOING).await
    }

    /// One command.
    pub(crate) async fn command(&self, id: Uuid) -> Result<Option<CommandRow>, StoreError> {
        let row = command::Entity::find_by_id(id.to_string())
            .one(&self.reader)
            .await
            .doing("find a command")?;
        row.map(CommandRow::try_from).transpose()
    }

    /// Commands before `before`, newest first, at most `limit`, and how many there are in all.
    pub(crate) async fn commands(
        &self,
        filter: &CommandFilter,
        before: Option<Uuid>,
        limit: u64,
    ) -> Result<(Vec<CommandRow>, u64), StoreError> {
        const DOING: &str = "list commands";
        let total = matching(filter).count(&self.reader).await.doing(DOING)?;
        let mut wanted = matching(filter);
        if let Some(before) = before {
            wanted = wanted.filter(command::Column::Id.lt(before.to_string()));
        }
        let found = wanted
            .order_by_desc(command::Column::Id)
            .limit(limit)
            .all(&self.reader)
            .await
            .doing(DOING)?;
        Ok((rows(found)?, total))
    }

    /// What waits for an agent and is still in time, in the order in which it is to be sent.
    pub(crate) async fn pending_commands(
        &self,
        agent: AgentId,
        now_ms: i64,
    ) -> Result<Vec<CommandRow>, StoreError> {
        let found = command::Entity::find()
            .filter(command::Column::Agent.eq(agent.to_string()))
            .filter(command::Column::State.eq(CommandState::Pending.as_str()))
            .filter(command::Column::ExpiresMs.gt(now_ms))
            .order_by_asc(command::Column::Counter)
            .limit(PENDING_MAX)
            .all(&self.reader)
            .await
            .doing("find what waits for an agent")?;
        rows(found)
    }

    /// Notes that a command was sent, in this envelope.
    pub(crate) async fn command_sent(
        &self,
        id: Uuid,
        generation: u32,
        envelope: &[u8],
        now_ms: i64,
    ) -> Result<(), StoreError> {
        let generation = i32::try_from(generation).unwrap_or(i32::MAX);
        command::Entity::update_many()
            .col_expr(command::Column::SentMs, Expr::value(now_ms))
            .col_expr(command::Column::ChangedMs, Expr::value(now_ms))
            .col_expr(command::Column::Generation, Expr::value(generation))
            .col_expr(command::Column::Envelope, Expr::value(envelope.to_vec()))
            .filter(command::Column::Id.eq(id.to_string()))
            .exec(&self.writer)
            .await
            .doing("note that a command was sent")?;
        Ok(())
    }

    /// Takes an agent's word of a command that is its own.
    pub(crate) async fn command_said(
        &self,
        agent: AgentId,
        report: &CommandReport,
        now_ms: i64,
    ) -> Result<Said, StoreError> {
        const DOING: &str = "store what an agent says of a command";
        let status = &report.status;
        let transaction = self.begin(DOING).await?;
        let found = command::Entity::find_by_id(status.id.to_string())
            .one(&transaction)
            .await
            .doing(DOING)?;
        let Some(found) = found.filter(|row| row.agent == agent.to_string()) else {
            return Ok(Said::NotTheirs);
        };
        let row = CommandRow::try_from(found.clone())?;
        // Whoever said that it can't be told may find out later.
        let is_found_out = row.state == CommandState::Unknown
            && status.state.is_final()
            && status.state != CommandState::Unknown;
        let is_open = !row.state.is_final() || is_ended_here(&row.reason) || is_found_out;
        // Of one that runs, news may come again and again.
        let is_ahead = rank(row.state) < rank(status.state)
            || (row.state == CommandState::Started && status.state == CommandState::Started);
        if !is_open
            || !(is_ahead || is_found_out || is_ended_here(&row.reason))
            || status.state == CommandState::Pending
        {
            return Ok(Said::Known);
        }
        let mut changed = command::ActiveModel {
            id: Unchanged(found.id),
            state: Set(status.state.as_str().to_owned()),
            progress: Set(status.progress),
            step: Set(status.step.clone()),
            message: Set(status.message.clone()),
            reason: Set(report.reason.clone()),
            result: Set(status.result.as_ref().map(serde_json::Value::to_string)),
            changed_ms: Set(now_ms),
            audit_entries: Set(report.audit.and_then(|audit| i64::try_from(audit.entries).ok())),
            audit_head: Set(report.audit.map(|audit| audit.hash.to_vec())),
            ..Default::default()
        };
        let at_ms = Some(status.at_ms);
        match status.state {
            CommandState::Received => changed.received_ms = Set(at_ms),
            CommandState::Started if row.started_ms.is_none() => changed.started_ms = Set(at_ms),
            state if state.is_final() => changed.finished_ms = Set(at_ms),
            _ => {}
        }
        let stored = command::Entity::update(changed)
            .exec(&transaction)
            .await
            .doing(DOING)?;
        commit(transaction, DOING).await?;
        Ok(Said::News(Box::new(stored.try_into()?)))
    }

    /// The newest head of an agent's own audit log that is known.
    pub(crate) async fn agent_audit_head(
        &self,
        agent: AgentId,
    ) -> Result<Option<(u64, Vec<u8>)>, StoreError> {
        let found = command::Entity::find()
            .filter(command::Column::Agent.eq(agent.to_string()))
            .filter(command::Column::AuditEntries.is_not_null())
            .order_by_desc(command::Column::AuditEntries)
            .one(&self.reader)
            .await
            .doing("find the head of an agent's audit log")?;
        Ok(found.and_then(|row| {
            let entries = u64::try_from(row.audit_entries?).ok()?;
            Some((entries, row.audit_head?))
        }))
    }

    /// Ends a command that no agent has said anything of. `None` if that is not so any more.
    pub(crate) async fn end_command(
        &self,
        id: Uuid,
        (state, reason): (CommandState, CommandRefusal),
        message: &str,
        now_ms: i64,
    ) -> Result<Option<CommandRow>, StoreError> {
        const DOING: &str = "end a command";
        let transaction = self.begin(DOING).await?;
        let found = command::Entity::find_by_id(id.to_string())
            .filter(command::Column::State.eq(CommandState::Pending.as_str()))
            .one(&transaction)
            .await
            .doing(DOING)?;
        let Some(found) = found else { return Ok(None) };
        let changed = ended(found.id, state, reason, message, now_ms);
        let stored = command::Entity::update(changed)
            .exec(&transaction)
            .await
            .doing(DOING)?;
        commit(transaction, DOING).await?;
        Ok(Some(stored.try_into()?))
    }

    /// Ends what was not begun in time: expired if it was never sent, unknown if it was sent and not answered.
    pub(crate) async fn expire_commands(&self, now_ms: i64) -> Result<Vec<CommandRow>, StoreError> {
        const DOING: &str = "end commands whose time is over";
        let due = command::Entity::find()
            .filter(command::Column::State.eq(CommandState::Pending.as_str()))
            .filter(command::Column::ExpiresMs.lte(now_ms))
            .limit(ENDED_AT_ONCE);
        if due.clone().count(&self.reader).await.doing(DOING)? == 0 {
            return Ok(Vec::new());
        }
        let transaction = self.begin(DOING).await?;
        let mut over = Vec::new();
        for row in due.all(&transaction).await.doing(DOING)? {
            let changed = if row.sent_ms.is_some() {
                let message = "it was sent, and the agent has not answered; what it says later counts";
                ended(
                    row.id,
                    CommandState::Unknown,
                    CommandRefusal::NotAnswered,
                    message,
                    now_ms,
                )
            } else {
                let message = "the agent was not connected in time";
                ended(
                    row.id,
                    CommandState::Expired,
                    CommandRefusal::Expired,
                    message,
                    now_ms,
                )
            };
            let stored = command::Entity::update(changed)
                .exec(&transaction)
                .await
                .doing(DOING)?;
            over.push(stored.try_into()?);
        }
        commit(transaction, DOING).await?;
        Ok(over)
    }

    /// Commands to this agent have a counter above this from now on.
    pub(crate) async fn raise_command_counter(&self, agent: AgentId, counter: u64) -> Result<(), StoreError> {
        const DOING: &str = "raise the counter of an agent's commands";
        let counter = i64::try_from(counter).unwrap_or(i64::MAX - 1);
        let agent = agent.to_string();
        let is_above = |row: Option<command_counter::Model>| row.is_some_and(|row| counter <= row.counter);
        let known = command_counter::Entity::find_by_id(agent.as_str());
        if counter == 0 || is_above(known.clone().one(&self.reader).await.doing(DOING)?) {
            return Ok(());
        }
        let transaction = self.begin(DOING).await?;
        if !is_above(known.one(&transaction).await.doing(DOING)?) {
            set_counter(&transaction, &agent, counter).await?;
        }
        commit(transaction, DOING).await
    }

    /// Forgets commands that were over before this time. Returns how many.
    pub(crate) async fn forget_commands(&self, before_ms: i64) -> Result<u64, StoreError> {
        let open = [
            CommandState::Pending,
            CommandState::Received,
            CommandState::Started,
        ];
        let gone = command::Entity::delete_many()
            .filter(command::Column::ChangedMs.lt(before_ms))
            .filter(command::Column::State.is_not_in(open.map(CommandState::as_str)))
            .exec(&self.writer)
            .await
            .doing("forget old commands")?;
        Ok(gone.rows_affected)
    }
}

/// Ends what was under way in a state that was restored: what waits is void, because it may have been done since, and
/// of what had begun nobody here knows the end.
pub(super) async fn end_restored(transaction: &DatabaseTransaction, now_ms: i64) -> Result<(), StoreError> {
    const DOING: &str = "end the commands of a restored state";
    let restored = CommandRefusal::Restored.as_str();
    for (from, to) in [
        (CommandState::Pending, CommandState::Expired),
        (CommandState::Received, CommandState::Unknown),
        (CommandState::Started, CommandState::Unknown),
    ] {
        command::Entity::update_many()
            .col_expr(command::Column::State, Expr::value(to.as_str()))
            .col_expr(command::Column::Reason, Expr::value(restored))
            .col_expr(
                command::Column::Message,
                Expr::value("the controller was restored from a backup"),
            )
            .col_expr(command::Column::ChangedMs, Expr::value(now_ms))
            .col_expr(command::Column::FinishedMs, Expr::value(now_ms))
            .filter(command::Column::State.eq(from.as_str()))
            .exec(transaction)
            .await
            .doing(DOING)?;
    }
    Ok(())
}

fn matching(filter: &CommandFilter) -> Select<command::Entity> {
    let mut wanted = command::Entity::find();
    if let Some(server) = filter.server {
        wanted = wanted.filter(command::Column::ServerId.eq(server.0));
    }
    if let Some(state) = filter.state {
        wanted = wanted.filter(command::Column::State.eq(state.as_str()));
    }
    if let Some(verb) = &filter.verb {
        wanted = wanted.filter(command::Column::Verb.eq(verb.as_str()));
    }
    wanted
}

fn ended(
    id: String,
    state: CommandState,
    reason: CommandRefusal,
    message: &str,
    now_ms: i64,
) -> command::ActiveModel {
    command::ActiveModel {
        id: Unchanged(id),
        state: Set(state.as_str().to_owned()),
        reason: Set(reason.as_str().to_owned()),
        message: Set(message.to_owned()),
        finished_ms: Set(Some(now_ms)),
        changed_ms: Set(now_ms),
        ..Default::default()
    }
}

async fn set_counter(transaction: &DatabaseTransaction, agent: &str, counter: i64) -> Result<(), StoreError> {
    let row = command_counter::ActiveModel {
        agent: Set(agent.to_owned()),
        counter: Set(counter),
    };
    let replace = OnConflict::column(command_counter::Column::Agent)
        .update_column(command_counter::Column::Counter)
        .to_owned();
    command_counter::Entity::insert(row)
        .on_conflict(replace)
        .exec_without_returning(transaction)
        .await
        .doing("count an agent's commands")?;
    Ok(())
}

async fn insert(
    transaction: &DatabaseTransaction,
    draft: Draft,
    agent: &str,
    (generation, counter): (i32, i64),
    envelope: Vec<u8>,
) -> Result<command::Model, StoreError> {
    let body = serde_json::to_string(&draft.verb).map_err(|_| corrupt("command.body", "no JSON"))?;
    let row = command::Model {
        id: draft.id.to_string(),
        server_id: draft.server.0,
        agent: agent.to_owned(),
        generation,
        counter,
        verb: draft.verb.name().to_owned(),
        body,
        issuer: draft.issuer,
        state: CommandState::Pending.as_str().to_owned(),
        progress: None,
        step: String::new(),
        message: String::new(),
        reason: String::new(),
        result: None,
        needs_credential: draft.needs_credential,
        created_ms: draft.created_ms,
        expires_ms: draft.expires_ms,
        sent_ms: None,
        received_ms: None,
        started_ms: None,
        finished_ms: None,
        changed_ms: draft.created_ms,
        envelope,
        audit_entries: None,
        audit_head: None,
    };
    let model = sea_orm::IntoActiveModel::into_active_model(row.clone());
    command::Entity::insert(sea_orm::ActiveModelTrait::reset_all(model))
        .exec_without_returning(transaction)
        .await
        .doing("store a command")?;
    Ok(row)
}
