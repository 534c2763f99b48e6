//! How many resources are how well.

use muster_model::{Health, ResourceKind};
use sea_orm::{ColumnTrait as _, QueryFilter as _, QuerySelect as _};

use super::super::entity::resource;
use super::super::{Doing as _, Store, StoreError, corrupt};
use super::{counts_as_disk, kind, select};
use crate::app::resources::ResourceFilter;

impl Store {
    /// How many resources of these kinds, which are not gone, have which health; devices only if they are disks.
    pub(crate) async fn health_counts(
        &self,
        kinds: &[ResourceKind],
    ) -> Result<Vec<(ResourceKind, Health, u64)>, StoreError> {
        let rows: Vec<(String, String, i64)> =
            select(&ResourceFilter::default(), self.reader.get_database_backend())
                .select_only()
                .column(resource::Column::Kind)
                .column(resource::Column::Health)
                .column_as(resource::Column::Id.count(), "count")
                .filter(resource::Column::Kind.is_in(kinds.iter().map(|kind| kind.as_str())))
                .filter(counts_as_disk())
                .group_by(resource::Column::Kind)
                .group_by(resource::Column::Health)
                .into_tuple()
                .all(&self.reader)
                .await
                .doing("count resources by health")?;
        rows.into_iter()
            .map(|(word, health, count)| {
                let known = Health::from_word(&health).ok_or_else(|| corrupt("resource.health", health))?;
                Ok((kind(&word)?, known, u64::try_from(count).unwrap_or(0)))
            })
            .collect()
    }
}
