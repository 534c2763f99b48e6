//! What XFS filesystems have done.

use muster_catalogue::{
    Metric, NODE_XFS_ALLOCATION_BTREE_COMPARES_TOTAL, NODE_XFS_ALLOCATION_BTREE_LOOKUPS_TOTAL,
    NODE_XFS_ALLOCATION_BTREE_RECORDS_DELETED_TOTAL, NODE_XFS_ALLOCATION_BTREE_RECORDS_INSERTED_TOTAL,
    NODE_XFS_BLOCK_MAP_BTREE_COMPARES_TOTAL, NODE_XFS_BLOCK_MAP_BTREE_LOOKUPS_TOTAL,
    NODE_XFS_BLOCK_MAP_BTREE_RECORDS_DELETED_TOTAL, NODE_XFS_BLOCK_MAP_BTREE_RECORDS_INSERTED_TOTAL,
    NODE_XFS_BLOCK_MAPPING_EXTENT_LIST_COMPARES_TOTAL, NODE_XFS_BLOCK_MAPPING_EXTENT_LIST_DELETIONS_TOTAL,
    NODE_XFS_BLOCK_MAPPING_EXTENT_LIST_INSERTIONS_TOTAL, NODE_XFS_BLOCK_MAPPING_EXTENT_LIST_LOOKUPS_TOTAL,
    NODE_XFS_BLOCK_MAPPING_READS_TOTAL, NODE_XFS_BLOCK_MAPPING_UNMAPS_TOTAL,
    NODE_XFS_BLOCK_MAPPING_WRITES_TOTAL, NODE_XFS_DIRECTORY_OPERATION_CREATE_TOTAL,
    NODE_XFS_DIRECTORY_OPERATION_GETDENTS_TOTAL, NODE_XFS_DIRECTORY_OPERATION_LOOKUP_TOTAL,
    NODE_XFS_DIRECTORY_OPERATION_REMOVE_TOTAL, NODE_XFS_EXTENT_ALLOCATION_BLOCKS_ALLOCATED_TOTAL,
    NODE_XFS_EXTENT_ALLOCATION_BLOCKS_FREED_TOTAL, NODE_XFS_EXTENT_ALLOCATION_EXTENTS_ALLOCATED_TOTAL,
    NODE_XFS_EXTENT_ALLOCATION_EXTENTS_FREED_TOTAL, NODE_XFS_INODE_OPERATION_ATTEMPTS_TOTAL,
    NODE_XFS_INODE_OPERATION_ATTRIBUTE_CHANGES_TOTAL, NODE_XFS_INODE_OPERATION_DUPLICATES_TOTAL,
    NODE_XFS_INODE_OPERATION_FOUND_TOTAL, NODE_XFS_INODE_OPERATION_MISSED_TOTAL,
    NODE_XFS_INODE_OPERATION_RECLAIMS_TOTAL, NODE_XFS_INODE_OPERATION_RECYCLED_TOTAL,
    NODE_XFS_READ_CALLS_TOTAL, NODE_XFS_VNODE_ACTIVE_TOTAL, NODE_XFS_VNODE_ALLOCATE_TOTAL,
    NODE_XFS_VNODE_GET_TOTAL, NODE_XFS_VNODE_HOLD_TOTAL, NODE_XFS_VNODE_RECLAIM_TOTAL,
    NODE_XFS_VNODE_RELEASE_TOTAL, NODE_XFS_VNODE_REMOVE_TOTAL, NODE_XFS_WRITE_CALLS_TOTAL,
};
use muster_parse::rows;

use super::Descriptor;
use super::reading::{FileCollector, Reading, every_15s};
use crate::host::HostError;

/// Filesystems told of.
const FILESYSTEMS_MAX: usize = 64;
const ROOT: &str = "/sys/fs/xfs";

/// The xfs collector.
pub const DESCRIPTOR: Descriptor =
    every_15s("xfs", "what XFS filesystems have done, from /sys/fs/xfs", |_| {
        Box::new(XFS)
    });

const XFS: FileCollector = FileCollector {
    name: DESCRIPTOR.name,
    absent: "no XFS filesystem is mounted",
    read,
};

/// Rows of the statistics and what their numbers are, in order (fs/xfs/xfs_stats.h of the kernel).
const ROWS: [(&str, &[&Metric]); 8] = [
    (
        "extent_alloc",
        &[
            &NODE_XFS_EXTENT_ALLOCATION_EXTENTS_ALLOCATED_TOTAL,
            &NODE_XFS_EXTENT_ALLOCATION_BLOCKS_ALLOCATED_TOTAL,
            &NODE_XFS_EXTENT_ALLOCATION_EXTENTS_FREED_TOTAL,
            &NODE_XFS_EXTENT_ALLOCATION_BLOCKS_FREED_TOTAL,
        ],
    ),
    (
        "abt",
        &[
            &NODE_XFS_ALLOCATION_BTREE_LOOKUPS_TOTAL,
            &NODE_XFS_ALLOCATION_BTREE_COMPARES_TOTAL,
            &NODE_XFS_ALLOCATION_BTREE_RECORDS_INSERTED_TOTAL,
            &NODE_XFS_ALLOCATION_BTREE_RECORDS_DELETED_TOTAL,
        ],
    ),
    (
        "blk_map",
        &[
            &NODE_XFS_BLOCK_MAPPING_READS_TOTAL,
            &NODE_XFS_BLOCK_MAPPING_WRITES_TOTAL,
            &NODE_XFS_BLOCK_MAPPING_UNMAPS_TOTAL,
            &NODE_XFS_BLOCK_MAPPING_EXTENT_LIST_INSERTIONS_TOTAL,
            &NODE_XFS_BLOCK_MAPPING_EXTENT_LIST_DELETIONS_TOTAL,
            &NODE_XFS_BLOCK_MAPPING_EXTENT_LIST_LOOKUPS_TOTAL,
            &NODE_XFS_BLOCK_MAPPING_EXTENT_LIST_COMPARES_TOTAL,
        ],
    ),
    (
        "bmbt",
        &[
            &NODE_XFS_BLOCK_MAP_BTREE_LOOKUPS_TOTAL,
            &NODE_XFS_BLOCK_MAP_BTREE_COMPARES_TOTAL,
            &NODE_XFS_BLOCK_MAP_BTREE_RECORDS_INSERTED_TOTAL,
            &NODE_XFS_BLOCK_MAP_BTREE_RECORDS_DELETED_TOTAL,
        ],
    ),
    (
        "dir",
        &[
            &NODE_XFS_DIRECTORY_OPERATION_LOOKUP_TOTAL,
            &NODE_XFS_DIRECTORY_OPERATION_CREATE_TOTAL,
            &NODE_XFS_DIRECTORY_OPERATION_REMOVE_TOTAL,
            &NODE_XFS_DIRECTORY_OPERATION_GETDENTS_TOTAL,
        ],
    ),
    (
        "ig",
        &[
            &NODE_XFS_INODE_OPERATION_ATTEMPTS_TOTAL,
            &NODE_XFS_INODE_OPERATION_FOUND_TOTAL,
            &NODE_XFS_INODE_OPERATION_RECYCLED_TOTAL,
            &NODE_XFS_INODE_OPERATION_MISSED_TOTAL,
            &NODE_XFS_INODE_OPERATION_DUPLICATES_TOTAL,
            &NODE_XFS_INODE_OPERATION_RECLAIMS_TOTAL,
            &NODE_XFS_INODE_OPERATION_ATTRIBUTE_CHANGES_TOTAL,
        ],
    ),
    ("rw", &[&NODE_XFS_WRITE_CALLS_TOTAL, &NODE_XFS_READ_CALLS_TOTAL]),
    (
        "vnodes",
        &[
            &NODE_XFS_VNODE_ACTIVE_TOTAL,
            &NODE_XFS_VNODE_ALLOCATE_TOTAL,
            &NODE_XFS_VNODE_GET_TOTAL,
            &NODE_XFS_VNODE_HOLD_TOTAL,
            &NODE_XFS_VNODE_RELEASE_TOTAL,
            &NODE_XFS_VNODE_RECLAIM_TOTAL,
            &NODE_XFS_VNODE_REMOVE_TOTAL,
        ],
    ),
];

fn read(reading: &mut Reading<'_>) -> Result<(), HostError> {
    let devices = reading.files.names(ROOT);
    // Beside the folders of filesystems there are files of the driver itself.
    for device in reading.first(ROOT, devices, FILESYSTEMS_MAX) {
        let path = format!("{ROOT}/{device}/stats/stats");
        let Some(text) = reading.side_text(&path) else {
            continue;
        };
        let parsed = rows::parse(&text);
        for (row, metrics) in ROWS {
            for (metric, value) in metrics.iter().zip(parsed.value.get(row).unwrap_or_default()) {
                reading.sample(metric, &[("device", &device)], *value);
            }
        }
        reading.draft.parser_problems(&path, parsed.problems);
    }
    Ok(())
}
