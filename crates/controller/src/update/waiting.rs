//! What waits and what goes on, with why each is where it is.

use muster_update::{Candidate, Explanation};

use super::engine::{approval_of, offer_of, read_all};
use super::{Seen, Update, UpdateError, Updates};
use crate::store::UpdateQuery;

/// Most updates that are judged for one look.
const JUDGED_MAX: u64 = 2_000;

/// An update that waits, with why.
#[derive(Debug, Clone)]
pub struct Waiting {
    /// It.
    pub update: Update,
    /// Its container.
    pub seen: Seen,
    /// What is decided about it, and by what.
    pub explanation: Explanation,
}

/// What waits and what goes on.
#[derive(Debug, Clone, Default)]
pub struct Outlook {
    /// What waits, by number.
    pub waiting: Vec<Waiting>,
    /// What was begun and is not over, by number.
    pub going: Vec<Update>,
    /// How many wait or go on that were not looked at, because there are so many.
    pub left_out: u64,
}

impl Updates {
    /// What waits and what goes on: of the 2,000 that were offered first. Asks no registry.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn outlook(&self) -> Result<Outlook, UpdateError> {
        let query = UpdateQuery {
            states: vec!["pending", "approved", "in_progress", "unknown"],
            ..UpdateQuery::default()
        };
        let (rows, total) = self.app().store().updates(&query, 0, JUDGED_MAX).await?;
        let updates = read_all(rows)?;
        let mut outlook = Outlook {
            left_out: total.saturating_sub(updates.len() as u64),
            ..Outlook::default()
        };
        let mut basis = self.basis().await?;
        let seen = self.seen_of(&updates).await?;
        for update in updates {
            if update.is_under_way() {
                outlook.going.push(update);
                continue;
            }
            if !update.state.is_open() {
                continue;
            }
            // One whose container is gone is forgotten with the next look at the fleet.
            let Some(seen) = seen.get(&update.container_id).cloned() else {
                continue;
            };
            let candidate = Candidate::Available(offer_of(&update));
            let approval = approval_of(&update);
            let explanation = self
                .judge(&mut basis, &seen, &candidate, Some(&update), &approval)
                .await?;
            outlook.waiting.push(Waiting {
                update,
                seen,
                explanation,
            });
        }
        Ok(outlook)
    }
}
