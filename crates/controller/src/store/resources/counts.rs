//! How many resources are how well.

use muster_model::{Health, ResourceKind};
use sea_orm::sea_query::ExprTrait as _;
use sea_orm::{ColumnTrait as _, Condition, QueryFilter as _, QuerySelect as _};

use super::super::entity::resource;
use super::super::{Doing as _, Store, StoreError, corrupt};
use super::{kind, select};
use crate::app::resources::{NO_DISKS, ResourceFilter};

impl Store {
    /// How many resources of these kinds, which are not gone, have which health; devices only if they are disks.
    pub(crate) async fn health_counts(
        &self,
        kinds: &[ResourceKind],
    ) -> Result<Vec<(ResourceKind, Health, u64)>, StoreError> {
        let is_disk = NO_DISKS.iter().fold(Condition::all(), |all, stem| {
            all.add(resource::Column::Name.not_like(format!("{stem}%")))
        });
        let is_device = resource::Column::Kind.eq(ResourceKind::Device.as_str());
        let counts = Condition::any().add(is_device.not()).add(is_disk);
        let rows: Vec<(String, String, i64)> =
            select(&ResourceFilter::default(), self.reader.get_database_backend())
                .select_only()
                .column(resource::Column::Kind)
                .column(resource::Column::Health)
                .column_as(resource::Column::Id.count(), "count")
                .filter(resource::Column::Kind.is_in(kinds.iter().map(|kind| kind.as_str())))
                .filter(counts)
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
