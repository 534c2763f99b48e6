//! Metrics that `smartctl_exporter` has, under its names and, odd as some are, its types.

use crate::metrics;

metrics! {
    SMARTCTL:
    SMARTCTL_DEVICE = Gauge "smartctl_device" "" "A drive: model, serial and the like as labels; always 1";
    SMARTCTL_DEVICE_ATTRIBUTE = Gauge "smartctl_device_attribute" "" "A SMART attribute's normalised value, worst, threshold or raw value";
    SMARTCTL_DEVICE_AVAILABLE_SPARE = Counter "smartctl_device_available_spare" "" "Spare capacity still available, percent";
    SMARTCTL_DEVICE_AVAILABLE_SPARE_THRESHOLD = Counter "smartctl_device_available_spare_threshold" "" "Spare capacity below which the drive warns, percent";
    SMARTCTL_DEVICE_BLOCK_SIZE = Gauge "smartctl_device_block_size" "bytes" "Size of a logical or physical block";
    SMARTCTL_DEVICE_BYTES_READ = Counter "smartctl_device_bytes_read" "bytes" "Bytes read by the host";
    SMARTCTL_DEVICE_BYTES_WRITTEN = Counter "smartctl_device_bytes_written" "bytes" "Bytes written by the host";
    SMARTCTL_DEVICE_CAPACITY_BLOCKS = Gauge "smartctl_device_capacity_blocks" "" "Capacity in logical blocks";
    SMARTCTL_DEVICE_CAPACITY_BYTES = Gauge "smartctl_device_capacity_bytes" "bytes" "Capacity";
    SMARTCTL_DEVICE_CRITICAL_WARNING = Counter "smartctl_device_critical_warning" "" "Critical warning bits of the NVMe controller";
    SMARTCTL_DEVICE_ERC_SECONDS = Gauge "smartctl_device_erc_seconds" "seconds" "How long the drive tries to recover from an error";
    SMARTCTL_DEVICE_ERROR_LOG_COUNT = Gauge "smartctl_device_error_log_count" "" "Entries of an error log";
    SMARTCTL_DEVICE_INTERFACE_SPEED = Gauge "smartctl_device_interface_speed" "" "Speed of the interface, bits per second";
    SMARTCTL_DEVICE_MEDIA_ERRORS = Counter "smartctl_device_media_errors" "" "Unrecovered data integrity errors";
    SMARTCTL_DEVICE_NUM_ERR_LOG_ENTRIES = Counter "smartctl_device_num_err_log_entries" "" "Entries ever made in the error log";
    SMARTCTL_DEVICE_NVME_CAPACITY_BYTES = Gauge "smartctl_device_nvme_capacity_bytes" "bytes" "Capacity of all namespaces of the NVMe subsystem";
    SMARTCTL_DEVICE_PERCENTAGE_USED = Counter "smartctl_device_percentage_used" "" "Estimate of the life used, percent; may exceed 100";
    SMARTCTL_DEVICE_POWER_CYCLE_COUNT = Counter "smartctl_device_power_cycle_count" "" "How often the drive was powered on";
    SMARTCTL_DEVICE_POWER_ON_SECONDS = Counter "smartctl_device_power_on_seconds" "seconds" "Time powered on";
    SMARTCTL_DEVICE_ROTATION_RATE = Gauge "smartctl_device_rotation_rate" "" "Rotations per minute";
    SMARTCTL_DEVICE_SELF_TEST_LOG_COUNT = Gauge "smartctl_device_self_test_log_count" "" "Entries of a self-test log";
    SMARTCTL_DEVICE_SELF_TEST_LOG_ERROR_COUNT = Gauge "smartctl_device_self_test_log_error_count" "" "Entries of a self-test log that report an error";
    SMARTCTL_DEVICE_SMART_STATUS = Gauge "smartctl_device_smart_status" "" "Whether the drive says of itself that it passes: 1 if so";
    SMARTCTL_DEVICE_SMARTCTL_EXIT_STATUS = Gauge "smartctl_device_smartctl_exit_status" "" "Exit status of smartctl, a bit mask";
    SMARTCTL_DEVICE_STATE = Gauge "smartctl_device_state" "" "State of the drive: 0 active, 1 standby, 2 sleep, 3 self-test, 4 offline, 5 SCT command";
    SMARTCTL_DEVICE_STATISTICS = Gauge "smartctl_device_statistics" "" "A device statistic";
    SMARTCTL_DEVICE_TEMPERATURE = Gauge "smartctl_device_temperature" "celsius" "Temperature";
    SMARTCTL_DEVICES = Gauge "smartctl_devices" "" "How many drives smartctl is asked about";
    SMARTCTL_READ_ERRORS_CORRECTED_BY_ECCDELAYED = Gauge "smartctl_read_errors_corrected_by_eccdelayed" "" "Read errors corrected by ECC with delay";
    SMARTCTL_READ_ERRORS_CORRECTED_BY_ECCFAST = Gauge "smartctl_read_errors_corrected_by_eccfast" "" "Read errors corrected by ECC without delay";
    SMARTCTL_READ_ERRORS_CORRECTED_BY_REREADS_REWRITES = Gauge "smartctl_read_errors_corrected_by_rereads_rewrites" "" "Read errors corrected by rereading";
    SMARTCTL_READ_TOTAL_UNCORRECTED_ERRORS = Gauge "smartctl_read_total_uncorrected_errors" "" "Read errors that were not corrected";
    SMARTCTL_SCSI_GROWN_DEFECT_LIST = Gauge "smartctl_scsi_grown_defect_list" "" "Entries of the grown defect list";
    SMARTCTL_VERSION = Gauge "smartctl_version" "" "The version of smartctl; always 1";
    SMARTCTL_WRITE_ERRORS_CORRECTED_BY_ECCDELAYED = Gauge "smartctl_write_errors_corrected_by_eccdelayed" "" "Write errors corrected by ECC with delay";
    SMARTCTL_WRITE_ERRORS_CORRECTED_BY_ECCFAST = Gauge "smartctl_write_errors_corrected_by_eccfast" "" "Write errors corrected by ECC without delay";
    SMARTCTL_WRITE_ERRORS_CORRECTED_BY_REREADS_REWRITES = Gauge "smartctl_write_errors_corrected_by_rereads_rewrites" "" "Write errors corrected by rewriting";
    SMARTCTL_WRITE_TOTAL_UNCORRECTED_ERRORS = Gauge "smartctl_write_total_uncorrected_errors" "" "Write errors that were not corrected";
}
