//! The kernel's tables, clocks and pressure, as `node_exporter` names them.

use muster_model::MetricType;

use crate::{Family, metrics};

/// `node_vmstat_…`: A counter of the kernel's memory management, from /proc/vmstat.
pub const NODE_VMSTAT: Family = Family {
    prefix: "node_vmstat_",
    suffix: "",
    metric_type: MetricType::Untyped,
    unit: "",
    help: "A counter of the kernel's memory management, from /proc/vmstat",
};

metrics! {
    KERNEL:
    NODE_ENTROPY_AVAILABLE_BITS = Gauge "node_entropy_available_bits" "" "Random bits at hand";
    NODE_ENTROPY_POOL_SIZE_BITS = Gauge "node_entropy_pool_size_bits" "" "Random bits the pool can hold";
    NODE_FILEFD_ALLOCATED = Gauge "node_filefd_allocated" "" "Open files of the whole server";
    NODE_FILEFD_MAXIMUM = Gauge "node_filefd_maximum" "" "Most files that may be open";
    NODE_PRESSURE_CPU_WAITING_SECONDS_TOTAL = Counter "node_pressure_cpu_waiting_seconds_total" "seconds" "Time in which tasks waited for a CPU";
    NODE_PRESSURE_IO_STALLED_SECONDS_TOTAL = Counter "node_pressure_io_stalled_seconds_total" "seconds" "Time in which nothing went on for want of I/O";
    NODE_PRESSURE_IO_WAITING_SECONDS_TOTAL = Counter "node_pressure_io_waiting_seconds_total" "seconds" "Time in which tasks waited for I/O";
    NODE_PRESSURE_IRQ_STALLED_SECONDS_TOTAL = Counter "node_pressure_irq_stalled_seconds_total" "seconds" "Time in which nothing went on for interrupts";
    NODE_PRESSURE_MEMORY_STALLED_SECONDS_TOTAL = Counter "node_pressure_memory_stalled_seconds_total" "seconds" "Time in which nothing went on for want of memory";
    NODE_PRESSURE_MEMORY_WAITING_SECONDS_TOTAL = Counter "node_pressure_memory_waiting_seconds_total" "seconds" "Time in which tasks waited for memory";
    NODE_SELINUX_CONFIG_MODE = Gauge "node_selinux_config_mode" "" "SELinux mode as configured: 1 enforcing, 0 permissive, -1 disabled";
    NODE_SELINUX_CURRENT_MODE = Gauge "node_selinux_current_mode" "" "SELinux mode now: 1 enforcing, 0 permissive";
    NODE_SELINUX_ENABLED = Gauge "node_selinux_enabled" "" "Whether SELinux is on: 1 if so";
    NODE_TEXTFILE_MTIME_SECONDS = Gauge "node_textfile_mtime_seconds" "seconds" "When a textfile was last written, Unix time";
    NODE_TEXTFILE_SCRAPE_ERROR = Gauge "node_textfile_scrape_error" "" "Whether a textfile could not be read wholly: 1 if so";
    NODE_TIME_CLOCKSOURCE_AVAILABLE_INFO = Gauge "node_time_clocksource_available_info" "" "Clock sources that could be used; always 1";
    NODE_TIME_CLOCKSOURCE_CURRENT_INFO = Gauge "node_time_clocksource_current_info" "" "The clock source in use; always 1";
    NODE_TIME_ZONE_OFFSET_SECONDS = Gauge "node_time_zone_offset_seconds" "seconds" "The server's time zone, seconds east of UTC";
    NODE_TIMEX_ESTIMATED_ERROR_SECONDS = Gauge "node_timex_estimated_error_seconds" "seconds" "What the clock is likely wrong by";
    NODE_TIMEX_FREQUENCY_ADJUSTMENT_RATIO = Gauge "node_timex_frequency_adjustment_ratio" "" "How fast the clock is made to go; 1 is unchanged";
    NODE_TIMEX_LOOP_TIME_CONSTANT = Gauge "node_timex_loop_time_constant" "" "Time constant of the clock's control loop";
    NODE_TIMEX_MAXERROR_SECONDS = Gauge "node_timex_maxerror_seconds" "seconds" "The most the clock may be wrong by";
    NODE_TIMEX_OFFSET_SECONDS = Gauge "node_timex_offset_seconds" "seconds" "What the clock still has to be set by";
    NODE_TIMEX_PPS_CALIBRATION_TOTAL = Counter "node_timex_pps_calibration_total" "" "Calibrations of the pulse per second";
    NODE_TIMEX_PPS_ERROR_TOTAL = Counter "node_timex_pps_error_total" "" "Failed calibrations of the pulse per second";
    NODE_TIMEX_PPS_FREQUENCY_HERTZ = Gauge "node_timex_pps_frequency_hertz" "hertz" "Frequency of the pulse per second";
    NODE_TIMEX_PPS_JITTER_SECONDS = Gauge "node_timex_pps_jitter_seconds" "seconds" "Jitter of the pulse per second";
    NODE_TIMEX_PPS_JITTER_TOTAL = Counter "node_timex_pps_jitter_total" "" "How often the pulse per second jittered too far";
    NODE_TIMEX_PPS_SHIFT_SECONDS = Gauge "node_timex_pps_shift_seconds" "seconds" "How long the pulse per second is averaged";
    NODE_TIMEX_PPS_STABILITY_EXCEEDED_TOTAL = Counter "node_timex_pps_stability_exceeded_total" "" "How often the frequency of the pulse per second wandered too far";
    NODE_TIMEX_PPS_STABILITY_HERTZ = Gauge "node_timex_pps_stability_hertz" "hertz" "How far the frequency of the pulse per second wanders";
    NODE_TIMEX_STATUS = Gauge "node_timex_status" "" "Status of the clock, as bits of adjtimex(2)";
    NODE_TIMEX_SYNC_STATUS = Gauge "node_timex_sync_status" "" "Whether something reliable keeps the clock right: 1 if so";
    NODE_TIMEX_TAI_OFFSET_SECONDS = Gauge "node_timex_tai_offset_seconds" "seconds" "International atomic time less UTC";
    NODE_TIMEX_TICK_SECONDS = Gauge "node_timex_tick_seconds" "seconds" "Time between two ticks of the clock";
}
