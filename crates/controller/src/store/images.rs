//! What is known of images: how checks went, which digests tags had, which tags there are.

use sea_orm::{
    ActiveValue::{NotSet, Set},
    ColumnTrait as _, DatabaseTransaction, EntityTrait as _, QueryFilter as _, QueryOrder as _,
};

use super::entity::{image_check, image_digest, image_tag};
use super::{Doing as _, ROWS_PER_STATEMENT, Store, StoreError, commit};

/// Digests of one tag that are kept for a platform before they are thinned out.
const DIGESTS_BEFORE_THINNING: usize = 100;
/// The most that are kept.
const DIGESTS_MAX: usize = 500;
/// Younger ones are never thinned out.
const THINNED_AFTER_MS: i64 = 48 * 3_600_000;
/// Of older ones one in this time is kept.
const KEPT_EVERY_MS: i64 = 6 * 3_600_000;

/// How the checks of an image for one platform went. Times are Unix ms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CheckRow {
    /// In normal form, with the tag.
    pub(crate) reference: String,
    pub(crate) platform: String,
    /// What the last check that succeeded found.
    pub(crate) digest: Option<String>,
    /// When that was.
    pub(crate) checked_ms: Option<i64>,
    pub(crate) tried_ms: i64,
    /// Why the last check failed.
    pub(crate) error: Option<String>,
    /// How many have failed since one succeeded.
    pub(crate) failures: i32,
}

/// A digest that a tag had, or that a container runs (with an empty tag). Times are Unix ms.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DigestRow {
    pub(crate) repository: String,
    pub(crate) platform: String,
    pub(crate) tag: String,
    pub(crate) digest: String,
    /// What of it is for the platform, if somebody had to know.
    pub(crate) platform_digest: Option<String>,
    pub(crate) config_digest: Option<String>,
    /// Nothing of it is for the platform.
    pub(crate) is_missing: bool,
    pub(crate) first_seen_ms: i64,
    /// When it last became what the tag names.
    pub(crate) since_ms: i64,
    pub(crate) details: Option<serde_json::Value>,
}

/// Tags of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TagsRow {
    pub(crate) repository: String,
    pub(crate) tags: Vec<String>,
    /// There are more than are read.
    pub(crate) is_cut: bool,
    pub(crate) listed_ms: i64,
}

impl From<image_check::Model> for CheckRow {
    fn from(row: image_check::Model) -> Self {
        Self {
            reference: row.reference,
            platform: row.platform,
            digest: row.digest,
            checked_ms: row.checked_ms,
            tried_ms: row.tried_ms,
            error: row.error,
            failures: row.failures,
        }
    }
}

impl From<image_digest::Model> for DigestRow {
    fn from(row: image_digest::Model) -> Self {
        Self {
            repository: row.repository,
            platform: row.platform,
            tag: row.tag,
            digest: row.digest,
            platform_digest: row.platform_digest,
            config_digest: row.config_digest,
            is_missing: row.is_missing,
            first_seen_ms: row.first_seen_ms,
            since_ms: row.since_ms,
            details: row.details,
        }
    }
}

impl From<image_tag::Model> for TagsRow {
    fn from(row: image_tag::Model) -> Self {
        Self {
            repository: row.repository,
            tags: row.tags.lines().map(str::to_owned).collect(),
            is_cut: row.is_cut,
            listed_ms: row.listed_ms,
        }
    }
}

impl Store {
    /// How all checks went, by reference and platform.
    pub(crate) async fn image_checks(&self) -> Result<Vec<CheckRow>, StoreError> {
        let rows = image_check::Entity::find()
            .order_by_asc(image_check::Column::Reference)
            .order_by_asc(image_check::Column::Platform)
            .all(&self.reader)
            .await;
        Ok(rows
            .doing("list checks of images")?
            .into_iter()
            .map(CheckRow::from)
            .collect())
    }

    /// How the checks of one image went.
    pub(crate) async fn image_check(
        &self,
        reference: &str,
        platform: &str,
    ) -> Result<Option<CheckRow>, StoreError> {
        let row = image_check::Entity::find()
            .filter(image_check::Column::Reference.eq(reference))
            .filter(image_check::Column::Platform.eq(platform))
            .one(&self.reader)
            .await;
        Ok(row.doing("read the check of an image")?.map(CheckRow::from))
    }

    /// Writes down how a check went.
    pub(crate) async fn put_image_check(&self, row: &CheckRow) -> Result<(), StoreError> {
        const DOING: &str = "store the check of an image";
        let transaction = self.begin(DOING).await?;
        let old = image_check::Entity::find()
            .filter(image_check::Column::Reference.eq(&row.reference))
            .filter(image_check::Column::Platform.eq(&row.platform))
            .one(&transaction)
            .await
            .doing(DOING)?;
        let mut active = image_check::ActiveModel {
            id: NotSet,
            reference: Set(row.reference.clone()),
            platform: Set(row.platform.clone()),
            digest: Set(row.digest.clone()),
            checked_ms: Set(row.checked_ms),
            tried_ms: Set(row.tried_ms),
            error: Set(row.error.clone()),
            failures: Set(row.failures),
        };
        match old {
            Some(old) => {
                active.id = Set(old.id);
                let updated = image_check::Entity::update(active).exec(&transaction).await;
                updated.map(|_| ()).doing(DOING)?;
            }
            None => {
                let inserted = image_check::Entity::insert(active).exec(&transaction).await;
                inserted.map(|_| ()).doing(DOING)?;
            }
        }
        commit(transaction, DOING).await
    }

    /// Forgets checks that were last tried before this: nothing of it runs any more.
    pub(crate) async fn forget_image_checks(&self, before_ms: i64) -> Result<u64, StoreError> {
        let deleted = image_check::Entity::delete_many()
            .filter(image_check::Column::TriedMs.lt(before_ms))
            .exec(&self.writer)
            .await;
        Ok(deleted.doing("forget checks of images")?.rows_affected)
    }

    /// Everything known of a repository for a platform, the newest first.
    pub(crate) async fn image_digests(
        &self,
        repository: &str,
        platform: &str,
    ) -> Result<Vec<DigestRow>, StoreError> {
        let rows = image_digest::Entity::find()
            .filter(image_digest::Column::Repository.eq(repository))
            .filter(image_digest::Column::Platform.eq(platform))
            .order_by_desc(image_digest::Column::SinceMs)
            .order_by_desc(image_digest::Column::Id)
            .all(&self.reader)
            .await;
        Ok(rows
            .doing("read digests of an image")?
            .into_iter()
            .map(DigestRow::from)
            .collect())
    }

    /// Writes down a digest. When it was first seen stays; what is known of its content stays if nothing new is brought.
    pub(crate) async fn put_image_digest(&self, row: &DigestRow) -> Result<(), StoreError> {
        const DOING: &str = "store a digest of an image";
        let transaction = self.begin(DOING).await?;
        let old = image_digest::Entity::find()
            .filter(image_digest::Column::Repository.eq(&row.repository))
            .filter(image_digest::Column::Platform.eq(&row.platform))
            .filter(image_digest::Column::Tag.eq(&row.tag))
            .filter(image_digest::Column::Digest.eq(&row.digest))
            .one(&transaction)
            .await
            .doing(DOING)?;
        let old_of = |new: &Option<String>, old: &Option<String>| Set(new.clone().or_else(|| old.clone()));
        match old {
            Some(old) => {
                let active = image_digest::ActiveModel {
                    id: Set(old.id),
                    platform_digest: old_of(&row.platform_digest, &old.platform_digest),
                    config_digest: old_of(&row.config_digest, &old.config_digest),
                    is_missing: Set(row.is_missing || old.is_missing),
                    since_ms: Set(row.since_ms),
                    details: Set(row.details.clone().or(old.details)),
                    ..Default::default()
                };
                let updated = image_digest::Entity::update(active).exec(&transaction).await;
                updated.map(|_| ()).doing(DOING)?;
            }
            None => {
                let active = image_digest::ActiveModel {
                    id: NotSet,
                    repository: Set(row.repository.clone()),
                    platform: Set(row.platform.clone()),
                    tag: Set(row.tag.clone()),
                    digest: Set(row.digest.clone()),
                    platform_digest: Set(row.platform_digest.clone()),
                    config_digest: Set(row.config_digest.clone()),
                    is_missing: Set(row.is_missing),
                    first_seen_ms: Set(row.first_seen_ms),
                    since_ms: Set(row.since_ms),
                    details: Set(row.details.clone()),
                };
                let inserted = image_digest::Entity::insert(active).exec(&transaction).await;
                inserted.map(|_| ()).doing(DOING)?;
                thin_out(&transaction, row).await?;
            }
        }
        commit(transaction, DOING).await
    }

    /// The tags of a repository when they were last listed.
    pub(crate) async fn image_tags(&self, repository: &str) -> Result<Option<TagsRow>, StoreError> {
        let row = image_tag::Entity::find()
            .filter(image_tag::Column::Repository.eq(repository))
            .one(&self.reader)
            .await;
        Ok(row.doing("read the tags of an image")?.map(TagsRow::from))
    }

    /// Replaces the tags of a repository.
    pub(crate) async fn put_image_tags(&self, row: &TagsRow) -> Result<(), StoreError> {
        const DOING: &str = "store the tags of an image";
        let transaction = self.begin(DOING).await?;
        image_tag::Entity::delete_many()
            .filter(image_tag::Column::Repository.eq(&row.repository))
            .exec(&transaction)
            .await
            .doing(DOING)?;
        let active = image_tag::ActiveModel {
            id: NotSet,
            repository: Set(row.repository.clone()),
            tags: Set(row.tags.join("\n")),
            is_cut: Set(row.is_cut),
            listed_ms: Set(row.listed_ms),
        };
        let inserted = image_tag::Entity::insert(active).exec(&transaction).await;
        inserted.map(|_| ()).doing(DOING)?;
        commit(transaction, DOING).await
    }

    /// Forgets what is known of repositories that no check names any more, `since_ms` and older alone.
    pub(crate) async fn forget_images(&self, kept: &[String], before_ms: i64) -> Result<(), StoreError> {
        const DOING: &str = "forget images that nothing runs";
        let known: Vec<String> = image_digest::Entity::find()
            .filter(image_digest::Column::SinceMs.lt(before_ms))
            .all(&self.reader)
            .await
            .doing(DOING)?
            .into_iter()
            .map(|row| row.repository)
            .collect();
        let mut gone: Vec<String> = known.into_iter().filter(|name| !kept.contains(name)).collect();
        gone.sort_unstable();
        gone.dedup();
        for chunk in gone.chunks(ROWS_PER_STATEMENT) {
            let digests = image_digest::Entity::delete_many()
                .filter(image_digest::Column::Repository.is_in(chunk))
                .exec(&self.writer)
                .await;
            digests.map(|_| ()).doing(DOING)?;
            let tags = image_tag::Entity::delete_many()
                .filter(image_tag::Column::Repository.is_in(chunk))
                .exec(&self.writer)
                .await;
            tags.map(|_| ()).doing(DOING)?;
        }
        Ok(())
    }
}

/// Keeps the digests of one tag few: of those older than two days one in six hours stays, and at most 500 in all. A
/// minimum age of weeks still finds a digest that is old enough, however often a tag is rebuilt.
async fn thin_out(transaction: &DatabaseTransaction, of: &DigestRow) -> Result<(), StoreError> {
    const DOING: &str = "thin out digests of an image";
    let rows = image_digest::Entity::find()
        .filter(image_digest::Column::Repository.eq(&of.repository))
        .filter(image_digest::Column::Platform.eq(&of.platform))
        .filter(image_digest::Column::Tag.eq(&of.tag))
        .order_by_desc(image_digest::Column::SinceMs)
        .order_by_desc(image_digest::Column::Id)
        .all(transaction)
        .await
        .doing(DOING)?;
    let times: Vec<i64> = rows.iter().map(|row| row.since_ms).collect();
    let surplus = surplus(&times);
    if surplus.is_empty() {
        return Ok(());
    }
    let ids = surplus.into_iter().map(|index| rows[index].id);
    let deleted = image_digest::Entity::delete_many()
        .filter(image_digest::Column::Id.is_in(ids))
        .exec(transaction)
        .await;
    deleted.map(|_| ()).doing(DOING)
}

/// Which of these times, the newest first, need not be kept.
fn surplus(times: &[i64]) -> Vec<usize> {
    let Some(newest) = times.first() else {
        return Vec::new();
    };
    if times.len() <= DIGESTS_BEFORE_THINNING {
        return Vec::new();
    }
    // From the oldest on, so that each time of six hours keeps what was there first.
    let mut bucket = None;
    let mut doubles = vec![false; times.len()];
    for (time, is_double) in times.iter().zip(&mut doubles).rev() {
        let own = time.div_euclid(KEPT_EVERY_MS);
        *is_double = *time < newest - THINNED_AFTER_MS && bucket.replace(own) == Some(own);
    }
    let mut kept = 0;
    (0..times.len())
        .filter(|&index| {
            kept += usize::from(!doubles[index]);
            doubles[index] || DIGESTS_MAX < kept
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    #[test]
    fn a_tag_that_is_rebuilt_every_hour_keeps_few_digests_and_old_ones_among_them() {
        let mut times: Vec<i64> = Vec::new();
        for hour in 0..24 * 120 {
            times.insert(0, hour * HOUR);
            for index in surplus(&times).into_iter().rev() {
                times.remove(index);
            }
            assert!(times.len() <= DIGESTS_MAX, "{}", times.len());
            let newest = times[0];
            for age in (0..=60.min(hour / 24)).map(|days| days * 24 * HOUR) {
                let wanted = newest - age;
                // Something that is at most six hours older than the age asked for is still there.
                assert!(
                    times
                        .iter()
                        .any(|time| *time <= wanted && wanted - time <= KEPT_EVERY_MS),
                    "{hour} {age}"
                );
            }
        }
    }
}
