//! How well the clock is kept.

use async_trait::async_trait;
use muster_catalogue::{
    NODE_TIMEX_ESTIMATED_ERROR_SECONDS, NODE_TIMEX_FREQUENCY_ADJUSTMENT_RATIO, NODE_TIMEX_LOOP_TIME_CONSTANT,
    NODE_TIMEX_MAXERROR_SECONDS, NODE_TIMEX_OFFSET_SECONDS, NODE_TIMEX_PPS_CALIBRATION_TOTAL,
    NODE_TIMEX_PPS_ERROR_TOTAL, NODE_TIMEX_PPS_FREQUENCY_HERTZ, NODE_TIMEX_PPS_JITTER_SECONDS,
    NODE_TIMEX_PPS_JITTER_TOTAL, NODE_TIMEX_PPS_SHIFT_SECONDS, NODE_TIMEX_PPS_STABILITY_EXCEEDED_TOTAL,
    NODE_TIMEX_PPS_STABILITY_HERTZ, NODE_TIMEX_STATUS, NODE_TIMEX_SYNC_STATUS, NODE_TIMEX_TAI_OFFSET_SECONDS,
    NODE_TIMEX_TICK_SECONDS,
};

use super::draft::Draft;
use super::reading::every_15s;
use super::{CollectError, Collector, Descriptor, Outcome};
use crate::host::Host;

/// The timex collector.
pub const DESCRIPTOR: Descriptor = every_15s("timex", "how well the clock is kept, from adjtimex(2)", |_| {
    Box::new(Timex)
});

struct Timex;

#[async_trait]
impl Collector for Timex {
    async fn collect(&mut self, host: &Host) -> Result<Outcome, CollectError> {
        let Some(found) = host.timex() else {
            return Ok(Outcome::absent("the kernel's clock cannot be asked"));
        };
        let rows = [
            (
                &NODE_TIMEX_SYNC_STATUS,
                if found.is_synchronized { 1.0 } else { 0.0 },
            ),
            (&NODE_TIMEX_OFFSET_SECONDS, found.offset_s),
            (&NODE_TIMEX_FREQUENCY_ADJUSTMENT_RATIO, found.frequency_ratio),
            (&NODE_TIMEX_MAXERROR_SECONDS, found.error_max_s),
            (&NODE_TIMEX_ESTIMATED_ERROR_SECONDS, found.error_estimated_s),
            (&NODE_TIMEX_STATUS, f64::from(found.status)),
            (&NODE_TIMEX_LOOP_TIME_CONSTANT, found.loop_time_constant as f64),
            (&NODE_TIMEX_TICK_SECONDS, found.tick_s),
            (&NODE_TIMEX_PPS_FREQUENCY_HERTZ, found.pps_frequency_hz),
            (&NODE_TIMEX_PPS_JITTER_SECONDS, found.pps_jitter_s),
            (&NODE_TIMEX_PPS_SHIFT_SECONDS, f64::from(found.pps_shift_s)),
            (&NODE_TIMEX_PPS_STABILITY_HERTZ, found.pps_stability_hz),
            (&NODE_TIMEX_PPS_JITTER_TOTAL, found.pps_jitter_count as f64),
            (
                &NODE_TIMEX_PPS_CALIBRATION_TOTAL,
                found.pps_calibration_count as f64,
            ),
            (&NODE_TIMEX_PPS_ERROR_TOTAL, found.pps_error_count as f64),
            (
                &NODE_TIMEX_PPS_STABILITY_EXCEEDED_TOTAL,
                found.pps_stability_count as f64,
            ),
            (&NODE_TIMEX_TAI_OFFSET_SECONDS, f64::from(found.tai_offset_s)),
        ];
        let mut draft = Draft::new(DESCRIPTOR.name);
        for (metric, value) in rows {
            draft.sample(metric, &[], value);
        }
        Ok(Outcome::Facts(draft.finish()))
    }
}
