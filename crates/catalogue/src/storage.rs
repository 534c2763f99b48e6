//! Metrics of arrays and of BTRFS: those of `node_exporter` under its names, and what it has no name for.

use crate::metrics;

metrics! {
    STORAGE:
    MUSTER_BTRFS_DEVICE_MISSING = Gauge "muster_btrfs_device_missing" "" "Whether a device of a BTRFS filesystem is missing: 1 if so";
    MUSTER_BTRFS_SCRUB_AGE_SECONDS = Gauge "muster_btrfs_scrub_age_seconds" "seconds" "How long ago the last scrub began";
    MUSTER_BTRFS_SCRUB_ERRORS = Gauge "muster_btrfs_scrub_errors" "" "Errors that the last scrub found, by what became of them";
    MUSTER_BTRFS_SCRUB_PROGRESS_RATIO = Gauge "muster_btrfs_scrub_progress_ratio" "" "How far a scrub is; 1 is done";
    MUSTER_BTRFS_SCRUB_RUNNING = Gauge "muster_btrfs_scrub_running" "" "Whether a scrub runs: 1 if so";
    MUSTER_BTRFS_UNALLOCATED_BYTES = Gauge "muster_btrfs_unallocated_bytes" "bytes" "Bytes of all devices that belong to no block group yet";
    MUSTER_MD_BITMAP_PAGES = Gauge "muster_md_bitmap_pages" "" "Pages of the write-intent bitmap that are in use";
    MUSTER_MD_MEMBER_READ_ERRORS = Gauge "muster_md_member_read_errors" "" "Read errors of a member that were put right from the others";
    MUSTER_MD_MISMATCH_SECTORS = Gauge "muster_md_mismatch_sectors" "" "Sectors whose copies or parity did not agree when last compared";
    MUSTER_MD_SPARE_MEMBERS = Gauge "muster_md_spare_members" "" "Spares that wait";
    MUSTER_MD_SYNC_ACTION = Gauge "muster_md_sync_action" "" "What is synchronised and whether it runs, as labels; always 1, and there only meanwhile";
    MUSTER_MD_SYNC_PROGRESS_RATIO = Gauge "muster_md_sync_progress_ratio" "" "How far a synchronisation is; 1 is done";
    MUSTER_MD_SYNC_REMAINING_SECONDS = Gauge "muster_md_sync_remaining_seconds" "seconds" "How long a synchronisation will take, as the kernel guesses";
    MUSTER_MD_SYNC_SPEED_BYTES_PER_SECOND = Gauge "muster_md_sync_speed_bytes_per_second" "bytes" "What is synchronised of each member in a second";
    NODE_BTRFS_ALLOCATION_RATIO = Gauge "node_btrfs_allocation_ratio" "" "Bytes on disk for each byte of data, by the profile of a block group";
    NODE_BTRFS_COMMIT_SECONDS_TOTAL = Counter "node_btrfs_commit_seconds_total" "seconds" "Time that commits took in all";
    NODE_BTRFS_COMMITS_TOTAL = Counter "node_btrfs_commits_total" "" "Commits of transactions";
    NODE_BTRFS_DEVICE_ERRORS_TOTAL = Counter "node_btrfs_device_errors_total" "" "Errors of a device that BTRFS has counted, by type";
    NODE_BTRFS_DEVICE_SIZE_BYTES = Gauge "node_btrfs_device_size_bytes" "bytes" "Size of a device";
    NODE_BTRFS_DEVICE_UNUSED_BYTES = Gauge "node_btrfs_device_unused_bytes" "bytes" "Bytes of a device that belong to no block group yet";
    NODE_BTRFS_GLOBAL_RSV_SIZE_BYTES = Gauge "node_btrfs_global_rsv_size_bytes" "bytes" "Size of the global reserve";
    NODE_BTRFS_INFO = Gauge "node_btrfs_info" "" "The label of a BTRFS filesystem; always 1";
    NODE_BTRFS_LAST_COMMIT_SECONDS = Gauge "node_btrfs_last_commit_seconds" "seconds" "How long the last commit took";
    NODE_BTRFS_MAX_COMMIT_SECONDS = Gauge "node_btrfs_max_commit_seconds" "seconds" "How long the longest commit took";
    NODE_BTRFS_RESERVED_BYTES = Gauge "node_btrfs_reserved_bytes" "bytes" "Bytes reserved, by type of block group";
    NODE_BTRFS_SIZE_BYTES = Gauge "node_btrfs_size_bytes" "bytes" "Bytes that block groups hold, by type and profile";
    NODE_BTRFS_USED_BYTES = Gauge "node_btrfs_used_bytes" "bytes" "Bytes used of block groups, by type and profile";
    NODE_MD_BLOCKS = Gauge "node_md_blocks" "" "Size of an array, in blocks of 1 KiB";
    NODE_MD_BLOCKS_SYNCED = Gauge "node_md_blocks_synced" "" "Blocks of 1 KiB that are synchronised";
    NODE_MD_DEGRADED = Gauge "node_md_degraded" "" "Members that an array lacks";
    NODE_MD_DISKS = Gauge "node_md_disks" "" "Members of an array, by state";
    NODE_MD_DISKS_REQUIRED = Gauge "node_md_disks_required" "" "Members that an array should have";
    NODE_MD_RAID_DISKS = Gauge "node_md_raid_disks" "" "Members that an array is made for";
    NODE_MD_STATE = Gauge "node_md_state" "" "What an array does: 1 for the state it is in";
    NODE_SWAP_PRIORITY = Gauge "node_swap_priority" "" "Priority of a swap area; higher ones are filled first";
    NODE_SWAP_SIZE_BYTES = Gauge "node_swap_size_bytes" "bytes" "Size of a swap area";
    NODE_SWAP_USED_BYTES = Gauge "node_swap_used_bytes" "bytes" "What is used of a swap area";
}
