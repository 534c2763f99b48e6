//! Every bound that agent and controller must agree on.
//!
//! The agent keeps within them; the controller refuses what is beyond them, counts it, and says so.

/// Longest report, definitions or other message, decompressed, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 256 * 1024;
/// Longest piece of a message in one stream frame, in bytes.
pub const FRAME_BYTES_MAX: usize = 64 * 1024;
/// Most series one agent may define in an epoch unless the controller's setting says otherwise.
pub const SERIES_PER_AGENT_MAX: usize = 10_000;
/// Most labels of a series.
pub const LABELS_PER_SERIES_MAX: usize = 64;
/// Longest metric or label name, in bytes.
pub const NAME_BYTES_MAX: usize = 128;
/// Longest label value, in bytes.
pub const LABEL_VALUE_BYTES_MAX: usize = 256;
/// Longest resource key, in bytes.
pub const RESOURCE_KEY_BYTES_MAX: usize = 512;
/// Most resources one collector of one server may list.
pub const RESOURCES_PER_COLLECTOR_MAX: usize = 2_000;
/// Most links one collector of one server may list.
pub const LINKS_PER_COLLECTOR_MAX: usize = 4_000;
/// Most attributes of a resource.
pub const ATTRIBUTES_PER_RESOURCE_MAX: usize = 128;
/// Longest attribute value, in bytes; raw SMART documents are the longest there are.
pub const ATTRIBUTE_BYTES_MAX: usize = 128 * 1024;
/// Most samples of one block: times by series.
pub const SAMPLES_PER_BLOCK_MAX: usize = 32_768;
/// Most problems of one report; what is beyond is counted in the last one.
pub const PROBLEMS_PER_REPORT_MAX: usize = 200;
/// Longest problem message, in bytes.
pub const PROBLEM_BYTES_MAX: usize = 1_024;
/// What is younger than this is live, in milliseconds; what is older is history.
pub const LIVE_MS: u32 = 60_000;
/// Most ranges kept per (agent, epoch).
pub const RANGES_PER_EPOCH_MAX: usize = 1_024;
