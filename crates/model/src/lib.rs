//! The words of Muster as types.
//!
//! Everything the agent and the controller both speak of: resources and links, metrics and samples, reports,
//! sequence ranges, and the limits that bound them. Pure data: no I/O, no clock, no wire format (that is
//! `muster-proto`) and no table (that is the controller's `store`).
//!
//! Invariants: label sets are sorted and unique; a [`RangeSet`] is sorted, disjoint and never adjacent;
//! a [`SampleBlock`] is a full rectangle of times by series.

mod command;
mod facts;
mod health;
pub mod limits;
mod metric;
mod ranges;
mod refusal;
mod report;
mod resource;
mod series;

pub use command::{CommandState, CommandStatus, ContainerTarget, LogRange, PruneFilter, UpdatePlan, Verb};
pub use facts::{Facts, Problem, Sample};
pub use health::Health;
pub use metric::{MetricType, STALE_NAN, is_stale};
pub use ranges::{RangeSet, RangesFull, SequenceRange};
pub use refusal::CommandRefusal;
pub use report::{
    Clock, CollectorRun, Gap, GapReason, Inventory, PreviousEpoch, Report, RunOutcome, SampleBlock,
    SampleBlockError, TimeBasis,
};
pub use resource::{Attribute, Attributes, Link, LinkType, Resource, ResourceKey, ResourceKind, UnknownKind};
pub use series::{LabelError, LabelPairs, Labels, SeriesDef, check_name};
