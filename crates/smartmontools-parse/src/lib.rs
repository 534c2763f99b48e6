//! `smartctl --json` as types, values derived from them, and a verdict on the drive's health.
//!
//! ```
//! let parsed = smartmontools_parse::parse(r#"{"smartctl":{"exit_status":8},"device":{"protocol":"ATA"},
//!     "serial_number":"Z1","smart_status":{"passed":false}}"#);
//! let verdict = smartmontools_parse::verdict(&parsed.report, None);
//! assert_eq!(parsed.report.serial_number.as_deref(), Some("Z1"));
//! assert_eq!(verdict.health, smartmontools_parse::Health::Failed);
//! ```
//!
//! Pure: no file, program, clock or network is touched. [`parse`] never panics and never fails as a whole: a field
//! of an unexpected type costs that field and leaves a [`Problem`], and text that is not a whole JSON document
//! gives an empty [`Report`], whose health is [`Health::Unknown`]. Nothing unread is ever called healthy.
//!
//! Facts about the output come from smartmontools 7.0 to 7.5 and its manual page smartctl(8); facts about drives
//! from the standard or the vendor convention named beside each rule.

mod baseline;
mod derived;
mod exit_status;
mod node;
mod overrides;
mod parse;
mod power;
mod problem;
pub mod report;
pub mod scan;
pub mod trend;
mod verdict;

pub use baseline::{Baseline, Counter};
pub use derived::{DeviceType, SelfTestState};
pub use exit_status::ExitStatus;
pub use overrides::{AttributeRule, Overrides};
pub use parse::{Parsed, parse};
pub use power::PowerMode;
pub use problem::Problem;
pub use report::Report;
pub use verdict::{Health, Reason, Verdict, verdict, verdict_with};
