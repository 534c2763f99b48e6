//! Where reports and pongs get the agent's clocks from.

use std::fmt;
use std::sync::Arc;

use muster_model::Clock;

/// When this program was built, Unix milliseconds, if the build says so (`SOURCE_DATE_EPOCH`); else a time before
/// which none was. A wall clock that shows less is wrong.
pub const BUILT_MS: i64 = built_ms(option_env!("SOURCE_DATE_EPOCH"));

/// 2025-01-01T00:00:00Z.
const NOT_BUILT_BEFORE_MS: i64 = 1_735_689_600_000;

const fn built_ms(epoch_s: Option<&str>) -> i64 {
    let Some(text) = epoch_s else {
        return NOT_BUILT_BEFORE_MS;
    };
    match i64::from_str_radix(text, 10) {
        Ok(seconds) if NOT_BUILT_BEFORE_MS / 1_000 < seconds && seconds < 1 << 40 => seconds * 1_000,
        _ => NOT_BUILT_BEFORE_MS,
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_the_build_is_never_before_the_first_one() {
        assert_eq!(built_ms(Some("1800000000")), 1_800_000_000_000);
        for nonsense in [None, Some(""), Some("-5"), Some("yesterday"), Some("0")] {
            assert_eq!(built_ms(nonsense), NOT_BUILT_BEFORE_MS);
        }
    }
}
