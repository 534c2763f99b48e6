//! Accounts of people: making, changing and removing them, and changing the own password.
//!
//! At any time there is an enabled admin: whatever would take the last one is refused in the transaction itself.

use std::net::IpAddr;

use thiserror::Error;

use super::auth::{AuthError, Credential, Principal, Role, token_hash};
use super::{App, AppError, FieldProblem, Page, PageRequest, page};
use crate::store::{AccountChange, AccountRow, Changed, StoreError};

/// Shortest password, in characters.
pub const PASSWORD_CHARS_MIN: usize = 12;
/// Longest password, in bytes.
const PASSWORD_BYTES_MAX: usize = 1_024;
const USERNAME_BYTES_MAX: usize = 64;
/// Most accounts.
const ACCOUNTS_MAX: u64 = 10_000;

/// An account as it is shown; times are Unix ms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserView {
    /// Its id.
    pub id: i64,
    /// Its name.
    pub username: String,
    /// The word for its role.
    pub role: String,
    /// Whether it may log in at all.
    pub disabled: bool,
    /// When it was made.
    pub created_ms: i64,
    /// When somebody last logged in with it.
    pub last_login_ms: Option<i64>,
}

/// An account to be made.
#[derive(Debug, Clone)]
pub struct NewUser {
    /// Its name.
    pub username: String,
    /// Its password.
    pub password: String,
    /// Its role.
    pub role: Role,
}

/// Changes to an account; `None` leaves a field.
#[derive(Debug, Clone, Default)]
pub struct UserPatch {
    /// Its role.
    pub role: Option<Role>,
    /// Whether it may log in at all.
    pub disabled: Option<bool>,
    /// Its password.
    pub password: Option<String>,
}

/// Why an account is as it was.
#[derive(Debug, Error)]
pub enum UserError {
    /// There is no such account.
    #[error("no account with id {0}")]
    NotFound(i64),
    /// Another account has this name.
    #[error("the name {0} is taken")]
    NameTaken(String),
    /// Nobody would be left who may administer.
    #[error("this is the last enabled admin")]
    LastAdmin,
    /// Only who logged in may change the own password.
    #[error("an API token cannot change a password")]
    NeedsSession,
    /// The current password is wrong.
    #[error("the current password is wrong")]
    WrongPassword,
    /// There are as many accounts as there may be.
    #[error("there are {ACCOUNTS_MAX} accounts")]
    TooMany,
    /// The request has fields that cannot be taken.
    #[error("{} of the request cannot be taken", .0.iter().map(|problem| problem.field).collect::<Vec<_>>().join(", "))]
    Invalid(Vec<FieldProblem>),
    /// Too many tries, or hashing failed.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<AccountRow> for UserView {
    fn from(row: AccountRow) -> Self {
        Self {
            id: row.id,
            username: row.username,
            role: row.role,
            disabled: row.disabled,
            created_ms: row.created_ms,
            last_login_ms: row.last_login_ms,
        }
    }
}

impl App {
    /// Accounts in order of their ids.
    ///
    /// # Errors
    /// [`AppError::Cursor`] or a failure of the database.
    pub async fn users(&self, wanted: PageRequest) -> Result<Page<UserView>, AppError> {
        let limit = wanted.limit();
        let (rows, total) = self.store.accounts(wanted.after()?, u64::from(limit) + 1).await?;
        let rows = page(rows, limit, total, |row| row.id.to_string());
        Ok(Page {
            items: rows.items.into_iter().map(UserView::from).collect(),
            total: rows.total,
            next: rows.next,
        })
    }

    /// One account.
    ///
    /// # Errors
    /// [`UserError::NotFound`] or a failure of the database.
    pub async fn user(&self, id: i64) -> Result<UserView, UserError> {
        let row = self.store.account_by_id(id).await?;
        Ok(row.ok_or(UserError::NotFound(id))?.into())
    }

    /// Makes an account.
    ///
    /// # Errors
    /// [`UserError::Invalid`], [`UserError::NameTaken`], or a failure of the database.
    pub async fn create_user(&self, new: NewUser) -> Result<UserView, UserError> {
        let mut problems = Vec::new();
        if !is_username(&new.username) {
            problems.push(FieldProblem {
                field: "username",
                message: format!(
                    "1 to {USERNAME_BYTES_MAX} letters, digits or . _ - @ are needed, the first a letter or digit"
                ),
            });
        }
        problems.extend(password_problem("password", &new.password, &new.username));
        if !problems.is_empty() {
            return Err(UserError::Invalid(problems));
        }
        if ACCOUNTS_MAX <= self.store.account_count().await? {
            return Err(UserError::TooMany);
        }
        let hash = self.hasher.hash(new.password, true).await?;
        let now_ms = self.clock.now_ms();
        let is_made = self
            .store
            .add_account(&new.username, &hash, new.role.as_str(), now_ms)
            .await?;
        if !is_made {
            return Err(UserError::NameTaken(new.username));
        }
        let row = self.store.account(&new.username).await?;
        let made: UserView = row.ok_or(UserError::NotFound(0))?.into();
        tracing::info!(
            user.id = made.id,
            user = made.username,
            role = made.role,
            "account made"
        );
        Ok(made)
    }

    /// Changes an account. A new password and disabling end its sessions.
    ///
    /// # Errors
    /// [`UserError::NotFound`], [`UserError::LastAdmin`], [`UserError::Invalid`], or a failure of the database.
    pub async fn change_user(&self, id: i64, patch: UserPatch) -> Result<UserView, UserError> {
        let before = self.user(id).await?;
        let password_hash = match patch.password {
            None => None,
            Some(password) => {
                if let Some(problem) = password_problem("password", &password, &before.username) {
                    return Err(UserError::Invalid(vec![problem]));
                }
                Some(self.hasher.hash(password, true).await?)
            }
        };
        let change = AccountChange {
            role: patch.role.map(Role::as_str),
            disabled: patch.disabled,
            password_hash,
            kept_session: None,
        };
        let changed = self.apply(id, change).await?;
        tracing::info!(
            user.id = id,
            user = changed.username,
            role = changed.role,
            disabled = changed.disabled,
            "account changed"
        );
        Ok(changed)
    }

    /// Removes an account with its sessions and API tokens. Its id is never given again.
    ///
    /// # Errors
    /// [`UserError::NotFound`], [`UserError::LastAdmin`], or a failure of the database.
    pub async fn remove_user(&self, id: i64) -> Result<UserView, UserError> {
        let removed = self.store.remove_account(id, Role::Admin.as_str()).await?;
        let removed = done(id, removed)?;
        tracing::info!(user.id = id, user = removed.username, "account removed");
        Ok(removed)
    }

    /// Changes the caller's own password; all other sessions of the account end. `session` is the caller's.
    ///
    /// # Errors
    /// [`UserError::WrongPassword`], [`UserError::Invalid`], [`UserError::NeedsSession`], [`AuthError::TooMany`], or a
    /// failure of the database.
    pub async fn change_own_password(
        &self,
        by: &Principal,
        session: &str,
        current: String,
        new: String,
        peer: IpAddr,
    ) -> Result<(), UserError> {
        if by.credential != Credential::Session {
            return Err(UserError::NeedsSession);
        }
        let row = self.store.account_by_id(by.user_id).await?;
        let row = row.ok_or(UserError::NotFound(by.user_id))?;
        // Somebody who took a session over must not find out the password by it.
        let is_known = self.limit_logins(Some(&row), &row.username, peer).await?;
        let hash = Some(row.password_hash).filter(|_| current.len() <= PASSWORD_BYTES_MAX);
        if !self.hasher.verify(hash, current, is_known).await? {
            return Err(UserError::WrongPassword);
        }
        if let Some(problem) = password_problem("new_password", &new, &row.username) {
            return Err(UserError::Invalid(vec![problem]));
        }
        let change = AccountChange {
            password_hash: Some(self.hasher.hash(new, is_known).await?),
            kept_session: Some(token_hash(session)),
            ..AccountChange::default()
        };
        self.apply(by.user_id, change).await?;
        tracing::info!(user.id = by.user_id, user = by.username, "password changed");
        Ok(())
    }

    async fn apply(&self, id: i64, change: AccountChange) -> Result<UserView, UserError> {
        let changed = self
            .store
            .change_account(id, change, Role::Admin.as_str())
            .await?;
        done(id, changed)
    }
}

fn done(id: i64, changed: Changed) -> Result<UserView, UserError> {
    match changed {
        Changed::Done(row) => Ok(row.into()),
        Changed::Unknown => Err(UserError::NotFound(id)),
        Changed::LastAdmin => Err(UserError::LastAdmin),
    }
}

fn is_username(name: &str) -> bool {
    let is_first = |byte: &u8| byte.is_ascii_alphanumeric();
    name.len() <= USERNAME_BYTES_MAX
        && name.as_bytes().first().is_some_and(is_first)
        && name
            .bytes()
            .all(|byte| is_first(&byte) || b"._-@".contains(&byte))
}

/// What is wrong with a password; no sentence repeats any of it.
fn password_problem(field: &'static str, password: &str, username: &str) -> Option<FieldProblem> {
    let chars = password.chars().count();
    let is_one_char = password.chars().skip(1).all(|c| password.starts_with(c));
    let message = if chars < PASSWORD_CHARS_MIN {
        format!("at least {PASSWORD_CHARS_MIN} characters are needed")
    } else if PASSWORD_BYTES_MAX < password.len() {
        format!("at most {PASSWORD_BYTES_MAX} bytes are taken")
    } else if password.eq_ignore_ascii_case(username) {
        "it must not be the user name".to_owned()
    } else if is_one_char {
        "it must not be one character over and over".to_owned()
    } else {
        return None;
    };
    Some(FieldProblem { field, message })
}

#[cfg(test)]
mod tests;
