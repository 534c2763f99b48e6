//! Channels: setting them up, trying them, and what became of what was sent to them.
//!
//! Secrets go in and never come out: what is shown is which are set. Whoever changes where a channel points to has to
//! give its secrets again, because else the new place would be told those of the old one.

mod deliveries;

use std::collections::BTreeMap;

use muster_notify::{Channel, Kind, Options, Secret, Secrets, SettingProblem};
use serde_json::Value;
use thiserror::Error;

pub use self::deliveries::{DeliveryFilter, DeliveryView, TEST_WAIT_MAX};
use super::{App, AppError, Page, PageRequest, page};
use crate::identity::{IdentityError, random};
use crate::store::{ChannelRow, Kept, StoreError};

/// Most channels.
const CHANNELS_MAX: u64 = 100;
const NAME_CHARS_MAX: usize = 100;
/// Settings that say where a channel points to, and how safe the way there is.
const DESTINATION: [&str; 7] = [
    "url",
    "server",
    "api",
    "host",
    "port",
    "encryption",
    "allow_unencrypted",
];

/// A channel as it is shown; times are Unix ms.
#[derive(Debug, Clone, PartialEq)]
pub struct ChannelView {
    /// Its id.
    pub id: i64,
    /// What people call it.
    pub name: String,
    /// What it is.
    pub kind: String,
    /// Whether it is told anything.
    pub enabled: bool,
    /// What its kind is set to.
    pub settings: Value,
    /// Filter, wording and pace.
    pub options: Value,
    /// Names of the secrets that are set.
    pub secrets: Vec<String>,
    /// Where it points to, without anything secret; empty if that cannot be read.
    pub target: String,
    /// When it was made.
    pub created_ms: i64,
    /// When it was changed last.
    pub changed_ms: i64,
}

/// A channel to be made.
#[derive(Debug, Clone)]
pub struct NewChannel {
    /// What people call it.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Whether it is told anything.
    pub enabled: bool,
    /// What its kind is set to.
    pub settings: Value,
    /// Its secrets.
    pub secrets: BTreeMap<String, String>,
    /// Filter, wording and pace.
    pub options: Options,
}

/// Changes to a channel; `None` leaves a field.
#[derive(Debug, Clone, Default)]
pub struct ChannelPatch {
    /// What people call it.
    pub name: Option<String>,
    /// Whether it is told anything.
    pub enabled: Option<bool>,
    /// What its kind is set to; replaces all settings.
    pub settings: Option<Value>,
    /// Secrets by name; `None` removes one, what is not named stays.
    pub secrets: BTreeMap<String, Option<String>>,
    /// Filter, wording and pace; replaces all of it.
    pub options: Option<Options>,
}

/// Why a channel is as it was.
#[derive(Debug, Error)]
pub enum ChannelError {
    /// There is no such channel.
    #[error("no channel with id {0}")]
    NotFound(i64),
    /// There is no such delivery.
    #[error("no delivery with id {0}")]
    NoDelivery(i64),
    /// It was not given up, or has nowhere to go any more.
    #[error("the delivery was not given up, or its channel is gone or disabled")]
    NotDead,
    /// Another channel has this name.
    #[error("another channel is called so")]
    NameTaken,
    /// There are as many as there may be.
    #[error("there are {CHANNELS_MAX} channels")]
    TooMany,
    /// A disabled channel is told nothing, so it cannot be tried.
    #[error("the channel is disabled")]
    Disabled,
    /// The other side did not take a test.
    #[error("the test was not delivered: {0}")]
    TestFailed(String),
    /// Something of it cannot be taken.
    #[error("{} of the channel cannot be taken", .0.iter().map(|problem| problem.field.as_str()).collect::<Vec<_>>().join(", "))]
    Invalid(Vec<SettingProblem>),
    /// A list was asked for in a wrong way.
    #[error(transparent)]
    App(#[from] AppError),
    /// Sealing failed.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl App {
    /// All channels.
    ///
    /// # Errors
    /// [`AppError::Cursor`] or a failure of the database.
    pub async fn channels(&self, wanted: PageRequest) -> Result<Page<ChannelView>, ChannelError> {
        let (limit, after) = (wanted.limit(), wanted.after()?);
        let rows = self.store.channels().await?;
        let total = rows.len() as u64;
        let rest = rows
            .into_iter()
            .filter(|row| after < row.id)
            .take(limit as usize + 1)
            .collect();
        let rows: Page<ChannelRow> = page(rest, limit, total, |row: &ChannelRow| row.id.to_string());
        Ok(Page {
            items: rows.items.iter().map(|row| self.channel_view(row)).collect(),
            total: rows.total,
            next: rows.next,
        })
    }

    /// One channel.
    ///
    /// # Errors
    /// [`ChannelError::NotFound`] or a failure of the database.
    pub async fn channel(&self, id: i64) -> Result<ChannelView, ChannelError> {
        let row = self.store.channel(id).await?.ok_or(ChannelError::NotFound(id))?;
        Ok(self.channel_view(&row))
    }

    /// Makes a channel.
    ///
    /// # Errors
    /// [`ChannelError`].
    pub async fn create_channel(&self, new: NewChannel) -> Result<ChannelView, ChannelError> {
        let now_ms = self.clock.now_ms();
        let mut secrets = Secrets::default();
        for (name, text) in new.secrets {
            secrets.set(name, Secret::new(text));
        }
        let mut problems = check_name(&new.name);
        check(new.kind, &new.settings, &secrets, &new.options, &mut problems)?;
        let mut row = ChannelRow {
            id: 0,
            name: new.name.trim().to_owned(),
            kind: new.kind.as_str().to_owned(),
            enabled: new.enabled,
            settings: new.settings,
            options: options_json(&new.options),
            secret_names: Vec::new(),
            seal_name: seal_name()?,
            sealed: None,
            created_ms: now_ms,
            changed_ms: now_ms,
        };
        self.seal(&mut row, &secrets)?;
        row.id = kept(self.store.add_channel(&row, CHANNELS_MAX).await?, 0)?;
        tracing::info!(channel = row.id, kind = row.kind, "channel made");
        Ok(self.channel_view(&row))
    }

    /// Changes a channel.
    ///
    /// # Errors
    /// [`ChannelError`].
    pub async fn change_channel(&self, id: i64, patch: ChannelPatch) -> Result<ChannelView, ChannelError> {
        let old = self.store.channel(id).await?.ok_or(ChannelError::NotFound(id))?;
        let mut row = old.clone();
        let mut problems = Vec::new();
        if let Some(name) = patch.name {
            problems = check_name(&name);
            name.trim().clone_into(&mut row.name);
        }
        row.enabled = patch.enabled.unwrap_or(row.enabled);
        row.settings = patch.settings.unwrap_or(row.settings);
        if destination(&old.settings) != destination(&row.settings) {
            let kept = old
                .secret_names
                .iter()
                .filter(|name| !patch.secrets.contains_key(*name));
            problems.extend(kept.map(|name| SettingProblem {
                field: format!("secrets.{name}"),
                message: "give it again: the channel points somewhere else now".to_owned(),
            }));
        }
        let mut secrets = self.open_secrets(&old)?;
        for (name, text) in patch.secrets {
            match text {
                Some(text) => secrets.set(name, Secret::new(text)),
                None => secrets.remove(&name),
            }
        }
        let options = match patch.options {
            Some(options) => options,
            None => serde_json::from_value(row.options.clone()).unwrap_or_default(),
        };
        let kind = kind_of(&row)?;
        check(kind, &row.settings, &secrets, &options, &mut problems)?;
        row.options = options_json(&options);
        // Whoever watches for changes compares this time, so it must differ.
        row.changed_ms = self.clock.now_ms().max(old.changed_ms + 1);
        self.seal(&mut row, &secrets)?;
        kept(self.store.change_channel(&row).await?, id)?;
        tracing::info!(channel = id, "channel changed");
        Ok(self.channel_view(&row))
    }

    /// Removes a channel, and drops what waits for it.
    ///
    /// # Errors
    /// [`ChannelError::NotFound`] or a failure of the database.
    pub async fn remove_channel(&self, id: i64) -> Result<(), ChannelError> {
        if !self.store.remove_channel(id, self.clock.now_ms()).await? {
            return Err(ChannelError::NotFound(id));
        }
        tracing::info!(channel = id, "channel removed");
        Ok(())
    }

    /// A channel, ready to deliver.
    pub(crate) fn build_channel(&self, row: &ChannelRow) -> Result<Channel, ChannelError> {
        let secrets = self.open_secrets(row)?;
        let options = serde_json::from_value(row.options.clone()).map_err(|error| {
            ChannelError::Invalid(vec![SettingProblem {
                field: "options".to_owned(),
                message: error.to_string(),
            }])
        })?;
        Channel::build(kind_of(row)?, &row.settings, secrets, options).map_err(ChannelError::Invalid)
    }

    fn channel_view(&self, row: &ChannelRow) -> ChannelView {
        let target = match self.build_channel(row) {
            Ok(channel) => channel.target(),
            Err(error) => {
                let error = muster_base::ErrorChain(&error).to_string();
                tracing::warn!(channel = row.id, error, "channel cannot be used");
                String::new()
            }
        };
        ChannelView {
            id: row.id,
            name: row.name.clone(),
            kind: row.kind.clone(),
            enabled: row.enabled,
            settings: row.settings.clone(),
            options: row.options.clone(),
            secrets: row.secret_names.clone(),
            target,
            created_ms: row.created_ms,
            changed_ms: row.changed_ms,
        }
    }

    fn seal(&self, row: &mut ChannelRow, secrets: &Secrets) -> Result<(), ChannelError> {
        row.secret_names = secrets.names().map(str::to_owned).collect();
        row.sealed = if row.secret_names.is_empty() {
            None
        } else {
            Some(self.identity.seal_secret(&row.seal_name, &secrets.to_plain())?)
        };
        Ok(())
    }

    fn open_secrets(&self, row: &ChannelRow) -> Result<Secrets, ChannelError> {
        let Some(sealed) = &row.sealed else {
            return Ok(Secrets::default());
        };
        let plain = self.identity.open_secret(&row.seal_name, sealed)?;
        Secrets::from_plain(&plain).ok_or_else(|| {
            ChannelError::Identity(IdentityError::Unseal {
                name: row.seal_name.clone(),
            })
        })
    }
}

/// A name under which no other channel's secrets are, or ever were, sealed.
fn seal_name() -> Result<String, IdentityError> {
    let id: [u8; 16] = random()?;
    Ok(format!("channel/{:032x}", u128::from_be_bytes(id)))
}

fn kind_of(row: &ChannelRow) -> Result<Kind, ChannelError> {
    Kind::from_word(&row.kind).ok_or_else(|| {
        ChannelError::Store(StoreError::Corrupt {
            what: "notification_channel.kind",
            value: row.kind.clone(),
        })
    })
}

fn kept(kept: Kept, id: i64) -> Result<i64, ChannelError> {
    match kept {
        Kept::As(id) => Ok(id),
        Kept::NameTaken => Err(ChannelError::NameTaken),
        Kept::TooMany => Err(ChannelError::TooMany),
        Kept::Gone => Err(ChannelError::NotFound(id)),
    }
}

fn destination(settings: &Value) -> [Option<&Value>; DESTINATION.len()] {
    DESTINATION.map(|name| settings.get(name))
}

fn options_json(options: &Options) -> Value {
    serde_json::to_value(options).expect("options are plain JSON")
}

fn check_name(name: &str) -> Vec<SettingProblem> {
    let name = name.trim();
    if name.is_empty() || NAME_CHARS_MAX < name.chars().count() || name.chars().any(char::is_control) {
        return vec![SettingProblem {
            field: "name".to_owned(),
            message: format!("1 to {NAME_CHARS_MAX} characters are needed, none a control character"),
        }];
    }
    Vec::new()
}

fn check(
    kind: Kind,
    settings: &Value,
    secrets: &Secrets,
    options: &Options,
    problems: &mut Vec<SettingProblem>,
) -> Result<(), ChannelError> {
    if let Err(found) = Channel::build(kind, settings, secrets.clone(), options.clone()) {
        problems.extend(found);
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(ChannelError::Invalid(std::mem::take(problems)))
    }
}
