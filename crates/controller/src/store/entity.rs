//! The tables as sea-orm sees them; a file a table, in the order of the migrations.
//!
//! Columns are explained in the migrations. Only `store` may name these types.
#![expect(
    unreachable_pub,
    reason = "the derives need rows to be as public as the entities they make"
)]

pub(crate) mod installation;
pub(crate) mod secret;

pub(crate) mod api_token;
pub(crate) mod login_origin;
pub(crate) mod session;
pub(crate) mod user_account;

pub(crate) mod device_judgement;
pub(crate) mod resource;
pub(crate) mod server;

pub(crate) mod agent_identity;
pub(crate) mod enrolment_token;
pub(crate) mod held_agent;
pub(crate) mod revocation;
pub(crate) mod token_redemption;

pub(crate) mod collector_inventory;
pub(crate) mod collector_resource;
pub(crate) mod link;

pub(crate) mod collection_error;
pub(crate) mod collector_status;
pub(crate) mod gap;

pub(crate) mod boot_clock;
pub(crate) mod consumer_position;

pub(crate) mod audit_entry;
pub(crate) mod audit_start;

pub(crate) mod alert;
pub(crate) mod alert_mute;
pub(crate) mod alert_rule;
pub(crate) mod notification_channel;
pub(crate) mod notification_delivery;

pub(crate) mod bad_digest;
pub(crate) mod command;
pub(crate) mod command_counter;
pub(crate) mod container_update;
pub(crate) mod image_check;
pub(crate) mod image_digest;
pub(crate) mod image_tag;
pub(crate) mod maintenance_window;
pub(crate) mod registry;
pub(crate) mod rollout;
pub(crate) mod update_history;
pub(crate) mod update_notification;
pub(crate) mod update_policy;
pub(crate) mod update_setting;
