//! Metrics that `node_exporter` has, under its names.

use muster_model::MetricType;

use crate::{Family, metrics};

pub(crate) mod hardware;
pub(crate) mod kernel;
pub(crate) mod network;
pub(crate) mod system;

pub use hardware::*;
pub use kernel::*;
pub use network::*;
pub use system::*;

/// Lines of `/proc/meminfo` in kB, given in bytes.
pub const NODE_MEMORY_BYTES: Family = Family {
    prefix: "node_memory_",
    suffix: "_bytes",
    metric_type: MetricType::Gauge,
    unit: "bytes",
    help: "A field of /proc/meminfo",
};

/// Lines of `/proc/meminfo` that are plain counts.
pub const NODE_MEMORY_COUNT: Family = Family {
    suffix: "",
    unit: "",
    ..NODE_MEMORY_BYTES
};

/// The families of `node_exporter`, the narrower first.
pub(crate) const FAMILIES_OF_NODE: &[Family] = &[
    NODE_MEMORY_BYTES,
    NODE_MEMORY_COUNT,
    NODE_HWMON_CELSIUS,
    NODE_HWMON_VOLTS,
    NODE_HWMON_AMPS,
    NODE_HWMON_JOULES,
    NODE_HWMON_WATTS,
    NODE_HWMON_RPM,
    NODE_HWMON_SECONDS,
    NODE_HWMON_MEGAHERTZ,
    NODE_HWMON,
    NODE_NETSTAT,
    NODE_RAPL_JOULES,
    NODE_SOCKSTAT_BYTES,
    NODE_SOCKSTAT,
    NODE_VMSTAT,
    crate::NODE_ZFS,
];

metrics! {
    NODE:
    NODE_BOOT_TIME_SECONDS = Gauge "node_boot_time_seconds" "seconds" "When the server was booted, Unix time";
    NODE_CONTEXT_SWITCHES_TOTAL = Counter "node_context_switches_total" "" "Context switches since boot";
    NODE_CPU_GUEST_SECONDS_TOTAL = Counter "node_cpu_guest_seconds_total" "seconds" "Time each CPU ran virtual CPUs of guests";
    NODE_CPU_SECONDS_TOTAL = Counter "node_cpu_seconds_total" "seconds" "Time each CPU spent in each mode";
    NODE_DISK_ATA_ROTATION_RATE_RPM = Gauge "node_disk_ata_rotation_rate_rpm" "" "How often an ATA disk turns in a minute; 0 for one that does not";
    NODE_DISK_ATA_WRITE_CACHE = Gauge "node_disk_ata_write_cache" "" "1 if an ATA disk has a write cache";
    NODE_DISK_ATA_WRITE_CACHE_ENABLED = Gauge "node_disk_ata_write_cache_enabled" "" "1 if an ATA disk uses its write cache";
    NODE_DISK_DEVICE_MAPPER_INFO = Gauge "node_disk_device_mapper_info" "" "What a device of device mapper is; always 1";
    NODE_DISK_DISCARD_TIME_SECONDS_TOTAL = Counter "node_disk_discard_time_seconds_total" "seconds" "Time spent discarding, summed over requests";
    NODE_DISK_DISCARDED_SECTORS_TOTAL = Counter "node_disk_discarded_sectors_total" "" "Sectors of 512 bytes discarded";
    NODE_DISK_DISCARDS_COMPLETED_TOTAL = Counter "node_disk_discards_completed_total" "" "Discards completed";
    NODE_DISK_DISCARDS_MERGED_TOTAL = Counter "node_disk_discards_merged_total" "" "Discards merged into others before they were queued";
    NODE_DISK_FILESYSTEM_INFO = Gauge "node_disk_filesystem_info" "" "What filesystem or member of a pool lies on a whole block device; always 1";
    NODE_DISK_FLUSH_REQUESTS_TIME_SECONDS_TOTAL = Counter "node_disk_flush_requests_time_seconds_total" "seconds" "Time spent flushing";
    NODE_DISK_FLUSH_REQUESTS_TOTAL = Counter "node_disk_flush_requests_total" "" "Flushes completed";
    NODE_DISK_INFO = Gauge "node_disk_info" "" "What a block device is; always 1";
    NODE_DISK_IO_NOW = Gauge "node_disk_io_now" "" "Requests in flight";
    NODE_DISK_IO_TIME_SECONDS_TOTAL = Counter "node_disk_io_time_seconds_total" "seconds" "Time during which anything was in flight";
    NODE_DISK_IO_TIME_WEIGHTED_SECONDS_TOTAL = Counter "node_disk_io_time_weighted_seconds_total" "seconds" "Time in flight weighted by the number of requests";
    NODE_DISK_READ_BYTES_TOTAL = Counter "node_disk_read_bytes_total" "bytes" "Bytes read";
    NODE_DISK_READ_TIME_SECONDS_TOTAL = Counter "node_disk_read_time_seconds_total" "seconds" "Time spent reading, summed over requests";
    NODE_DISK_READS_COMPLETED_TOTAL = Counter "node_disk_reads_completed_total" "" "Reads completed";
    NODE_DISK_READS_MERGED_TOTAL = Counter "node_disk_reads_merged_total" "" "Reads merged into others before they were queued";
    NODE_DISK_WRITE_TIME_SECONDS_TOTAL = Counter "node_disk_write_time_seconds_total" "seconds" "Time spent writing, summed over requests";
    NODE_DISK_WRITES_COMPLETED_TOTAL = Counter "node_disk_writes_completed_total" "" "Writes completed";
    NODE_DISK_WRITES_MERGED_TOTAL = Counter "node_disk_writes_merged_total" "" "Writes merged into others before they were queued";
    NODE_DISK_WRITTEN_BYTES_TOTAL = Counter "node_disk_written_bytes_total" "bytes" "Bytes written";
    NODE_FILESYSTEM_AVAIL_BYTES = Gauge "node_filesystem_avail_bytes" "bytes" "Space that a normal user may still fill";
    NODE_FILESYSTEM_DEVICE_ERROR = Gauge "node_filesystem_device_error" "" "Whether the filesystem could not be asked: 1 if so";
    NODE_FILESYSTEM_FILES = Gauge "node_filesystem_files" "" "Inodes in all";
    NODE_FILESYSTEM_FILES_FREE = Gauge "node_filesystem_files_free" "" "Inodes still free";
    NODE_FILESYSTEM_FREE_BYTES = Gauge "node_filesystem_free_bytes" "bytes" "Space that is free, what is kept for root included";
    NODE_FILESYSTEM_MOUNT_INFO = Gauge "node_filesystem_mount_info" "" "Which device is mounted where; always 1";
    NODE_FILESYSTEM_READONLY = Gauge "node_filesystem_readonly" "" "Whether writing is refused: 1 if so";
    NODE_FILESYSTEM_SIZE_BYTES = Gauge "node_filesystem_size_bytes" "bytes" "Size of the filesystem";
    NODE_FORKS_TOTAL = Counter "node_forks_total" "" "Processes and threads made since boot";
    NODE_INTR_TOTAL = Counter "node_intr_total" "" "Interrupts served since boot";
    NODE_LOAD1 = Gauge "node_load1" "" "Tasks running or waiting for CPU or disk, averaged over 1 minute";
    NODE_LOAD15 = Gauge "node_load15" "" "Tasks running or waiting for CPU or disk, averaged over 15 minutes";
    NODE_LOAD5 = Gauge "node_load5" "" "Tasks running or waiting for CPU or disk, averaged over 5 minutes";
    NODE_OS_INFO = Gauge "node_os_info" "" "The operating system, from os-release; always 1";
    NODE_OS_VERSION = Gauge "node_os_version" "" "Major and minor number of the operating system's version";
    NODE_PROCS_BLOCKED = Gauge "node_procs_blocked" "" "Processes waiting for I/O";
    NODE_PROCS_RUNNING = Gauge "node_procs_running" "" "Processes that can run";
    NODE_SCRAPE_COLLECTOR_DURATION_SECONDS = Gauge "node_scrape_collector_duration_seconds" "seconds" "How long the collector's last run took";
    NODE_SCRAPE_COLLECTOR_SUCCESS = Gauge "node_scrape_collector_success" "" "Whether the collector's last run did what it should: 1 if so";
    NODE_TIME_SECONDS = Gauge "node_time_seconds" "seconds" "The server's clock, Unix time";
    NODE_UNAME_INFO = Gauge "node_uname_info" "" "The kernel's name, version and machine; always 1";
}
