//! The kernel's clock discipline, as adjtimex(2) tells it. Asking changes nothing.

use rtime_clock::adjtime;

/// `STA_NANO` of adjtimex(2): offsets and jitter are in nanoseconds, not microseconds.
const STATUS_NANO: i32 = 0x2000;
/// The state that adjtimex(2) gives back while nothing disciplines the clock.
const TIME_ERROR: i32 = 5;

/// How the clock is kept right. Seconds and ratios.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Timex {
    /// Whether something reliable keeps it right.
    pub is_synchronized: bool,
    /// What it is still wrong by.
    pub offset_s: f64,
    /// How fast it is made to go; 1 is unchanged.
    pub frequency_ratio: f64,
    /// The most it may be wrong by.
    pub error_max_s: f64,
    /// What it is likely wrong by.
    pub error_estimated_s: f64,
    /// The bits of `status`.
    pub status: i32,
    /// Time constant of the control loop.
    pub loop_time_constant: i64,
    /// Between two ticks.
    pub tick_s: f64,
    /// Frequency of a pulse per second.
    pub pps_frequency_hz: f64,
    /// Its jitter.
    pub pps_jitter_s: f64,
    /// How long it is averaged.
    pub pps_shift_s: i32,
    /// How much its frequency wanders.
    pub pps_stability_hz: f64,
    /// How often its jitter was too large.
    pub pps_jitter_count: i64,
    /// How often it was calibrated.
    pub pps_calibration_count: i64,
    /// How often calibrating failed.
    pub pps_error_count: i64,
    /// How often it wandered too far.
    pub pps_stability_count: i64,
    /// International atomic time less UTC.
    pub tai_offset_s: i32,
}

/// Asks the kernel; `None` if it refuses.
#[allow(
    clippy::unnecessary_cast,
    reason = "the kernel's types are narrower on some architectures"
)]
pub(super) fn read() -> Option<Timex> {
    let mut asked = adjtime::Timex::new();
    let state = adjtime::adjtimex(&mut asked).ok()?;
    let found = asked.0;
    let per_second = if found.status & STATUS_NANO == 0 { 1e6 } else { 1e9 };
    // Frequencies are parts per million with 16 bits of fraction.
    let parts = |scaled: f64| scaled / 65_536.0 / 1e6;
    Some(Timex {
        is_synchronized: state != TIME_ERROR,
        offset_s: found.offset as f64 / per_second,
        frequency_ratio: 1.0 + parts(found.freq as f64),
        error_max_s: found.maxerror as f64 / 1e6,
        error_estimated_s: found.esterror as f64 / 1e6,
        status: found.status,
        loop_time_constant: found.constant as i64,
        tick_s: found.tick as f64 / 1e6,
        pps_frequency_hz: parts(found.ppsfreq as f64),
        pps_jitter_s: found.jitter as f64 / per_second,
        pps_shift_s: found.shift,
        pps_stability_hz: parts(found.stabil as f64),
        pps_jitter_count: found.jitcnt as i64,
        pps_calibration_count: found.calcnt as i64,
        pps_error_count: found.errcnt as i64,
        pps_stability_count: found.stbcnt as i64,
        tai_offset_s: found.tai,
    })
}
