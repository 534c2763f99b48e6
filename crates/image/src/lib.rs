//! Container images: what they are called, which bytes they are, which platform they are for, and which version a tag
//! says.
//!
//! Pure: text and bytes in, types out. Nothing here asks a registry or an engine; the controller does the one, the agent
//! the other, and both mean the same by a name because they read it here.

pub mod database;
mod digest;
mod expression;
pub mod manifest;
mod platform;
mod reference;
mod requirement;
mod track;
mod version;

pub use digest::{Digest, DigestError};
pub use expression::{ExpressionError, matches_wildcard, whole};
pub use platform::{Platform, PlatformError};
pub use reference::{DEFAULT_REGISTRY, DEFAULT_TAG, Reference, ReferenceError};
pub use requirement::{Requirement, RequirementError};
pub use track::{Candidate, Limit, Track, TrackError};
pub use version::{Step, TagVersion};
