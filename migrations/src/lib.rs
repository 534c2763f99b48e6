//! Schema of the controller's state database, one file a step.
//!
//! A step that was released is never edited: what changes comes as a new step. Times are Unix milliseconds in 64 bits;
//! text columns hold words that the controller's `app` defines. Statements must run on SQLite and on PostgreSQL.

mod m20261122_000001_installation;
mod m20261122_000002_people;
mod m20261122_000003_servers;
mod m20261122_000004_identities;
mod m20261122_000005_resources;
mod m20261122_000006_collections;
mod m20261122_000007_positions;
mod m20261122_000008_renewals;
mod m20261122_000009_audit;
mod m20261122_000010_access;
mod m20261122_000011_agent_states;
mod m20261122_000012_device_judgements;
mod m20261122_000013_link_history;
mod m20261122_000014_alerts;
mod m20261122_000015_alert_mutes;
mod m20261122_000016_notifications;
mod m20261122_000017_commands;
mod m20261122_000018_registries;
mod m20261122_000019_updates;

use sea_orm_migration::MigrationTrait;
pub use sea_orm_migration::MigratorTrait;

/// All steps, in order.
pub struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261122_000001_installation::Migration),
            Box::new(m20261122_000002_people::Migration),
            Box::new(m20261122_000003_servers::Migration),
            Box::new(m20261122_000004_identities::Migration),
            Box::new(m20261122_000005_resources::Migration),
            Box::new(m20261122_000006_collections::Migration),
            Box::new(m20261122_000007_positions::Migration),
            Box::new(m20261122_000008_renewals::Migration),
            Box::new(m20261122_000009_audit::Migration),
            Box::new(m20261122_000010_access::Migration),
            Box::new(m20261122_000011_agent_states::Migration),
            Box::new(m20261122_000012_device_judgements::Migration),
            Box::new(m20261122_000013_link_history::Migration),
            Box::new(m20261122_000014_alerts::Migration),
            Box::new(m20261122_000015_alert_mutes::Migration),
            Box::new(m20261122_000016_notifications::Migration),
            Box::new(m20261122_000017_commands::Migration),
            Box::new(m20261122_000018_registries::Migration),
            Box::new(m20261122_000019_updates::Migration),
        ]
    }
}
