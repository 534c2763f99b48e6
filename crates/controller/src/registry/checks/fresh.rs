//! Images that nobody has asked for yet: soon, and not with the next round.

use std::collections::HashMap;

use super::Progress;
use super::gather::Pair;
use crate::registry::Registries;
use crate::store::{CheckRow, StoreError};

/// So many are checked at once; the rest is a minute later, or in the next round.
const NEW_MAX: usize = 20;
/// What was tried is not tried again before this for being newer than the check, ms: a server's clock may be ahead.
const TRIED_MS: i64 = 15 * 60_000;

impl Registries {
    /// Checks images that containers run and that were never tried, and those of which something newer was started than
    /// the last check knew. A few at once, in no order; nothing while a round is under way. Returns how many were
    /// checked and how many could not be.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn check_new(&self) -> Result<(usize, usize), StoreError> {
        let Ok(_only) = self.shared.round.try_lock() else {
            return Ok((0, 0));
        };
        let (mut pairs, _) = self.gather().await?;
        let checks = self.app.store().image_checks().await?;
        let known: HashMap<(&str, &str), &CheckRow> = checks
            .iter()
            .map(|row| ((row.reference.as_str(), row.platform.as_str()), row))
            .collect();
        let now_ms = self.app.clock().now_ms();
        pairs.retain(|pair| {
            let (reference, platform) = (pair.reference.to_string(), pair.platform.to_string());
            known
                .get(&(reference.as_str(), platform.as_str()))
                .is_none_or(|row| is_older(row, pair, now_ms))
        });
        fastrand::shuffle(&mut pairs);
        pairs.truncate(NEW_MAX);
        if pairs.is_empty() {
            return Ok((0, 0));
        }
        let asked = pairs.len();
        let (checked, failed) = self.check_pairs(pairs, &Progress::default()).await?;
        tracing::debug!(asked, checked, failed, "new images checked");
        Ok((checked, failed))
    }
}

/// Whether something was started after the last try that may be newer than all that it has found.
fn is_older(row: &CheckRow, pair: &Pair, now_ms: i64) -> bool {
    let is_started_later = pair.newest_ms.is_some_and(|made_ms| row.tried_ms < made_ms);
    let names_it = row
        .digest
        .as_deref()
        .is_some_and(|digest| pair.running.iter().all(|running| running.is(digest)));
    is_started_later && !names_it && row.tried_ms.saturating_add(TRIED_MS) <= now_ms
}
