//! Where reports and pongs get the agent's clocks from.

use std::fmt;
use std::sync::Arc;

use muster_model::Clock;

/// Reads wall clock, boot clock and boot id; cheap to clone.
///
/// Delivery takes this instead of the whole host, because it must not be able to read anything else of the server.
#[derive(Clone)]
pub struct ClockReader(Arc<dyn Fn() -> Clock + Send + Sync>);

impl ClockReader {
    /// Reads the clocks with `read`.
    pub fn new(read: impl Fn() -> Clock + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    /// The clocks now.
    #[must_use]
    pub fn now(&self) -> Clock {
        (self.0)()
    }
}

impl fmt::Debug for ClockReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClockReader")
    }
}
