//! ZFS: pools and datasets as `zfs_exporter` names them, the kernel's counters as `node_exporter` does, and ours.

use muster_model::MetricType;

use crate::{Family, metrics};

/// `node_zfs_…`: A counter of ZFS, from /proc/spl/kstat/zfs.
pub const NODE_ZFS: Family = Family {
    prefix: "node_zfs_",
    suffix: "",
    metric_type: MetricType::Untyped,
    unit: "",
    help: "A counter of ZFS, from /proc/spl/kstat/zfs",
};

metrics! {
    ZFS:
    MUSTER_ZFS_POOL_DATA_ERRORS = Gauge "muster_zfs_pool_data_errors" "" "Places of a pool where data is lost";
    MUSTER_ZFS_POOL_SCAN_BYTES_PER_SECOND = Gauge "muster_zfs_pool_scan_bytes_per_second" "bytes" "How fast a scrub or resilver is";
    MUSTER_ZFS_POOL_SCAN_END_SECONDS = Gauge "muster_zfs_pool_scan_end_seconds" "seconds" "When the last scrub or resilver of a pool ended, Unix time";
    MUSTER_ZFS_POOL_SCAN_ERRORS = Gauge "muster_zfs_pool_scan_errors" "" "Errors that the last scrub or resilver could not repair";
    MUSTER_ZFS_POOL_SCAN_PROCESSED_BYTES = Gauge "muster_zfs_pool_scan_processed_bytes" "bytes" "Bytes that the last scrub repaired, or the last resilver filled in";
    MUSTER_ZFS_POOL_SCAN_PROGRESS_RATIO = Gauge "muster_zfs_pool_scan_progress_ratio" "" "How much of a running scrub or resilver is done, 0 to 1";
    MUSTER_ZFS_POOL_SCAN_REMAINING_SECONDS = Gauge "muster_zfs_pool_scan_remaining_seconds" "seconds" "How long a running scrub or resilver goes on, as it looks";
    MUSTER_ZFS_POOL_SCAN_STATE = Gauge "muster_zfs_pool_scan_state" "" "Whether the last scrub or resilver of a pool is in this state: 1 if so";
    MUSTER_ZFS_VDEV_CHECKSUM_ERRORS = Gauge "muster_zfs_vdev_checksum_errors" "" "Checksum errors of a vdev since they were last cleared";
    MUSTER_ZFS_VDEV_HEALTH = Gauge "muster_zfs_vdev_health" "" "State of a vdev: 0 online, 1 degraded, 2 faulted, 3 offline, 4 unavail, 5 removed";
    MUSTER_ZFS_VDEV_READ_ERRORS = Gauge "muster_zfs_vdev_read_errors" "" "Read errors of a vdev since they were last cleared";
    MUSTER_ZFS_VDEV_SLOW_IOS = Gauge "muster_zfs_vdev_slow_ios" "" "Requests of a vdev that took too long";
    MUSTER_ZFS_VDEV_WRITE_ERRORS = Gauge "muster_zfs_vdev_write_errors" "" "Write errors of a vdev since they were last cleared";
    NODE_ZFS_ZPOOL_DATASET_NREAD = Untyped "node_zfs_zpool_dataset_nread" "bytes" "Bytes read from a dataset";
    NODE_ZFS_ZPOOL_DATASET_NUNLINKED = Untyped "node_zfs_zpool_dataset_nunlinked" "" "Files of a dataset that were deleted for good";
    NODE_ZFS_ZPOOL_DATASET_NUNLINKS = Untyped "node_zfs_zpool_dataset_nunlinks" "" "Files of a dataset that were to be deleted";
    NODE_ZFS_ZPOOL_DATASET_NWRITTEN = Untyped "node_zfs_zpool_dataset_nwritten" "bytes" "Bytes written to a dataset";
    NODE_ZFS_ZPOOL_DATASET_READS = Untyped "node_zfs_zpool_dataset_reads" "" "Reads of a dataset";
    NODE_ZFS_ZPOOL_DATASET_WRITES = Untyped "node_zfs_zpool_dataset_writes" "" "Writes to a dataset";
    NODE_ZFS_ZPOOL_NREAD = Untyped "node_zfs_zpool_nread" "bytes" "Bytes a pool read, up to OpenZFS 2.0";
    NODE_ZFS_ZPOOL_NWRITTEN = Untyped "node_zfs_zpool_nwritten" "bytes" "Bytes a pool wrote, up to OpenZFS 2.0";
    NODE_ZFS_ZPOOL_RCNT = Untyped "node_zfs_zpool_rcnt" "" "Reads a pool has under way, up to OpenZFS 2.0";
    NODE_ZFS_ZPOOL_READS = Untyped "node_zfs_zpool_reads" "" "Reads of a pool, up to OpenZFS 2.0";
    NODE_ZFS_ZPOOL_RLENTIME = Untyped "node_zfs_zpool_rlentime" "" "Time in which reads of a pool ran, times their number, nanoseconds, up to OpenZFS 2.0";
    NODE_ZFS_ZPOOL_RTIME = Untyped "node_zfs_zpool_rtime" "" "Time in which reads of a pool ran, nanoseconds, up to OpenZFS 2.0";
    NODE_ZFS_ZPOOL_RUPDATE = Untyped "node_zfs_zpool_rupdate" "" "When reads of a pool were last counted, nanoseconds, up to OpenZFS 2.0";
    NODE_ZFS_ZPOOL_STATE = Gauge "node_zfs_zpool_state" "" "Whether a pool is in this state: 1 if so";
    NODE_ZFS_ZPOOL_WCNT = Untyped "node_zfs_zpool_wcnt" "" "Requests of a pool that wait, up to OpenZFS 2.0";
    NODE_ZFS_ZPOOL_WLENTIME = Untyped "node_zfs_zpool_wlentime" "" "Time in which requests of a pool waited, times their number, nanoseconds, up to OpenZFS 2.0";
    NODE_ZFS_ZPOOL_WRITES = Untyped "node_zfs_zpool_writes" "" "Writes of a pool, up to OpenZFS 2.0";
    NODE_ZFS_ZPOOL_WTIME = Untyped "node_zfs_zpool_wtime" "" "Time in which requests of a pool waited, nanoseconds, up to OpenZFS 2.0";
    NODE_ZFS_ZPOOL_WUPDATE = Untyped "node_zfs_zpool_wupdate" "" "When waiting requests of a pool were last counted, nanoseconds, up to OpenZFS 2.0";
    ZFS_DATASET_AVAILABLE_BYTES = Gauge "zfs_dataset_available_bytes" "bytes" "Bytes that a dataset may still take";
    ZFS_DATASET_COMPRESSION_RATIO = Gauge "zfs_dataset_compression_ratio" "" "What is stored for each byte of data below a dataset: 0.5 for a ratio of 2.00x";
    ZFS_DATASET_CREATION_TIMESTAMP = Gauge "zfs_dataset_creation_timestamp" "" "When a dataset was made, Unix time";
    ZFS_DATASET_LOGICAL_REFERENCED_BYTES = Gauge "zfs_dataset_logical_referenced_bytes" "bytes" "Bytes of data in a dataset before compression";
    ZFS_DATASET_LOGICAL_USED_BYTES = Gauge "zfs_dataset_logical_used_bytes" "bytes" "Bytes of data in a dataset and all below before compression";
    ZFS_DATASET_QUOTA_BYTES = Gauge "zfs_dataset_quota_bytes" "bytes" "Most bytes that a dataset and all below may take; 0 is no limit";
    ZFS_DATASET_REFERENCED_BYTES = Gauge "zfs_dataset_referenced_bytes" "bytes" "Bytes of data in a dataset";
    ZFS_DATASET_REFERENCED_COMPRESSION_RATIO = Gauge "zfs_dataset_referenced_compression_ratio" "" "What is stored for each byte of data in a dataset: 0.5 for a ratio of 2.00x";
    ZFS_DATASET_REFERENCED_QUOTA_BYTES = Gauge "zfs_dataset_referenced_quota_bytes" "bytes" "Most bytes that a dataset alone may take; 0 is no limit";
    ZFS_DATASET_REFERENCED_RESERVATION_BYTES = Gauge "zfs_dataset_referenced_reservation_bytes" "bytes" "Bytes kept free for a dataset alone";
    ZFS_DATASET_RESERVATION_BYTES = Gauge "zfs_dataset_reservation_bytes" "bytes" "Bytes kept free for a dataset and all below";
    ZFS_DATASET_SNAPSHOT_COUNT_TOTAL = Gauge "zfs_dataset_snapshot_count_total" "" "Snapshots of a dataset";
    ZFS_DATASET_USED_BY_CHILDREN_BYTES = Gauge "zfs_dataset_used_by_children_bytes" "bytes" "Bytes that what is below a dataset takes";
    ZFS_DATASET_USED_BY_DATASET_BYTES = Gauge "zfs_dataset_used_by_dataset_bytes" "bytes" "Bytes that a dataset itself takes";
    ZFS_DATASET_USED_BY_REFERENCED_RESERVATION_BYTES = Gauge "zfs_dataset_used_by_referenced_reservation_bytes" "bytes" "Bytes that are kept free for a dataset alone and not used";
    ZFS_DATASET_USED_BY_SNAPSHOT_BYTES = Gauge "zfs_dataset_used_by_snapshot_bytes" "bytes" "Bytes that only snapshots of a dataset take";
    ZFS_DATASET_USED_BYTES = Gauge "zfs_dataset_used_bytes" "bytes" "Bytes that a dataset and all below take";
    ZFS_DATASET_VOLUME_SIZE_BYTES = Gauge "zfs_dataset_volume_size_bytes" "bytes" "Size that a volume shows";
    ZFS_DATASET_WRITTEN_BYTES = Gauge "zfs_dataset_written_bytes" "bytes" "Bytes written to a dataset since its last snapshot";
    ZFS_POOL_ALLOCATED_BYTES = Gauge "zfs_pool_allocated_bytes" "bytes" "Bytes of a pool that hold something";
    ZFS_POOL_DEDUPLICATION_RATIO = Gauge "zfs_pool_deduplication_ratio" "" "What is stored for each byte of deduplicated data: 0.667 for a ratio of 1.50x";
    ZFS_POOL_FRAGMENTATION_RATIO = Gauge "zfs_pool_fragmentation_ratio" "" "How cut up the free room of a pool is, 0 to 1";
    ZFS_POOL_FREE_BYTES = Gauge "zfs_pool_free_bytes" "bytes" "Bytes of a pool that hold nothing";
    ZFS_POOL_FREEING_BYTES = Gauge "zfs_pool_freeing_bytes" "bytes" "Bytes of a pool that are still to be freed";
    ZFS_POOL_HEALTH = Gauge "zfs_pool_health" "" "State of a pool: 0 online, 1 degraded, 2 faulted, 3 offline, 4 unavail, 5 removed, 6 suspended";
    ZFS_POOL_LEAKED_BYTES = Gauge "zfs_pool_leaked_bytes" "bytes" "Bytes of a pool that were lost";
    ZFS_POOL_READONLY = Gauge "zfs_pool_readonly" "" "Whether a pool can only be read: 1 if so";
    ZFS_POOL_SIZE_BYTES = Gauge "zfs_pool_size_bytes" "bytes" "Bytes of a pool in all";
}
