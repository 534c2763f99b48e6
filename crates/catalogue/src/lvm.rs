//! LVM, for which there is no stock exporter.

use crate::metrics;

metrics! {
    LVM:
    MUSTER_LVM_LV_ACTIVE = Gauge "muster_lvm_lv_active" "" "Whether a logical volume is switched on: 1 if so";
    MUSTER_LVM_LV_CACHE_DIRTY_BLOCKS = Gauge "muster_lvm_lv_cache_dirty_blocks" "" "Blocks of a cache that are not written back";
    MUSTER_LVM_LV_CACHE_USED_RATIO = Gauge "muster_lvm_lv_cache_used_ratio" "" "How full a cache is, 0 to 1; full is normal";
    MUSTER_LVM_LV_DATA_USED_RATIO = Gauge "muster_lvm_lv_data_used_ratio" "" "How full a pool is, or how much of what a thin volume shows is taken, 0 to 1";
    MUSTER_LVM_LV_METADATA_USED_RATIO = Gauge "muster_lvm_lv_metadata_used_ratio" "" "How full the metadata of a pool is, 0 to 1";
    MUSTER_LVM_LV_MISMATCHES = Gauge "muster_lvm_lv_mismatches" "" "Places where the copies of a RAID volume differ";
    MUSTER_LVM_LV_SIZE_BYTES = Gauge "muster_lvm_lv_size_bytes" "bytes" "Size of a logical volume";
    MUSTER_LVM_LV_SNAPSHOT_USED_RATIO = Gauge "muster_lvm_lv_snapshot_used_ratio" "" "How full the room for changes of a snapshot is, 0 to 1";
    MUSTER_LVM_LV_SYNC_RATIO = Gauge "muster_lvm_lv_sync_ratio" "" "How much of a RAID volume or mirror is in step, 0 to 1";
    MUSTER_LVM_PV_FREE_BYTES = Gauge "muster_lvm_pv_free_bytes" "bytes" "Bytes of a physical volume that nothing uses";
    MUSTER_LVM_PV_MISSING = Gauge "muster_lvm_pv_missing" "" "Whether a physical volume is not there: 1 if so";
    MUSTER_LVM_PV_SIZE_BYTES = Gauge "muster_lvm_pv_size_bytes" "bytes" "Bytes of a physical volume that can be used";
    MUSTER_LVM_VG_FREE_BYTES = Gauge "muster_lvm_vg_free_bytes" "bytes" "Bytes of a volume group that no volume uses";
    MUSTER_LVM_VG_MISSING_PVS = Gauge "muster_lvm_vg_missing_pvs" "" "Physical volumes of a group that are not there";
    MUSTER_LVM_VG_SIZE_BYTES = Gauge "muster_lvm_vg_size_bytes" "bytes" "Bytes of a volume group in all";
}
