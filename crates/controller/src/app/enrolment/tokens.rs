//! Enrolment tokens that were made: which there are, and the end of one before its time.

use muster_base::id::ServerId;

use crate::app::{App, AppError, Page, PageRequest, page};
use crate::store::ListedToken;

/// Whether a token still makes agents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenState {
    /// It does.
    Usable,
    /// It has no use left.
    UsedUp,
    /// Its time is over, or somebody ended it.
    Ended,
}

impl TokenState {
    /// The word of the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Usable => "usable",
            Self::UsedUp => "used_up",
            Self::Ended => "ended",
        }
    }
}

/// An enrolment token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnrolmentTokenView {
    /// What names it; no secret.
    pub public_id: String,
    /// Whether it still makes agents.
    pub state: TokenState,
    /// The server it is bound to; without one each use makes a server.
    pub server: Option<ServerId>,
    /// How many agents it could make at first.
    pub uses_total: u32,
    /// How many it can still make, were its time not over.
    pub uses_left: u32,
    /// When it was made, Unix ms.
    pub created_ms: i64,
    /// When it ends or ended, Unix ms.
    pub expires_ms: i64,
    /// Who made it.
    pub created_by: String,
}

impl EnrolmentTokenView {
    fn of(row: ListedToken, now_ms: i64) -> Self {
        let state = if row.expires_ms <= now_ms {
            TokenState::Ended
        } else if row.uses_left == 0 {
            TokenState::UsedUp
        } else {
            TokenState::Usable
        };
        Self {
            public_id: row.public_id,
            state,
            server: row.server,
            uses_total: row.uses_total,
            uses_left: row.uses_left,
            created_ms: row.created_ms,
            expires_ms: row.expires_ms,
            created_by: row.created_by,
        }
    }
}

impl App {
    /// Enrolment tokens in order of their public ids; those that ended stay in the list for a day.
    ///
    /// # Errors
    /// [`AppError::Cursor`] or a failure of the database.
    pub async fn enrolment_tokens(&self, request: PageRequest) -> Result<Page<EnrolmentTokenView>, AppError> {
        let after = request.cursor.as_deref().unwrap_or_default();
        if !after.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(AppError::Cursor);
        }
        let limit = request.limit();
        let (rows, total) = self.store.enrolment_tokens(after, u64::from(limit) + 1).await?;
        let now_ms = self.clock.now_ms();
        let views = rows.into_iter().map(|row| EnrolmentTokenView::of(row, now_ms));
        Ok(page(views.collect(), limit, total, |view| view.public_id.clone()))
    }

    /// Ends an enrolment token: it makes no agent any more. Agents that it made stay. Returns whether there is one.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn end_enrolment_token(&self, public_id: &str) -> Result<bool, AppError> {
        Ok(self
            .store
            .end_enrolment_token(public_id, self.clock.now_ms())
            .await?)
    }
}
