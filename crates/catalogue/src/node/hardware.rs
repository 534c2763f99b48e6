//! Sensors, power, memory errors, InfiniBand, NFS and XFS, as `node_exporter` names them.

use muster_model::MetricType;

use crate::{Family, metrics};

/// `node_hwmon_…_celsius`: A temperature of a sensor.
pub const NODE_HWMON_CELSIUS: Family = Family {
    prefix: "node_hwmon_",
    suffix: "_celsius",
    metric_type: MetricType::Gauge,
    unit: "celsius",
    help: "A temperature of a sensor",
};

/// `node_hwmon_…_volts`: A voltage of a sensor.
pub const NODE_HWMON_VOLTS: Family = Family {
    prefix: "node_hwmon_",
    suffix: "_volts",
    metric_type: MetricType::Gauge,
    unit: "volts",
    help: "A voltage of a sensor",
};

/// `node_hwmon_…_amps`: A current of a sensor.
pub const NODE_HWMON_AMPS: Family = Family {
    prefix: "node_hwmon_",
    suffix: "_amps",
    metric_type: MetricType::Gauge,
    unit: "amperes",
    help: "A current of a sensor",
};

/// `node_hwmon_…_joule_total`: Energy counted by a sensor.
pub const NODE_HWMON_JOULES: Family = Family {
    prefix: "node_hwmon_",
    suffix: "_joule_total",
    metric_type: MetricType::Counter,
    unit: "joules",
    help: "Energy counted by a sensor",
};

/// `node_hwmon_…_watt`: Power at a sensor.
pub const NODE_HWMON_WATTS: Family = Family {
    prefix: "node_hwmon_",
    suffix: "_watt",
    metric_type: MetricType::Gauge,
    unit: "watts",
    help: "Power at a sensor",
};

/// `node_hwmon_…_rpm`: Turns of a fan in a minute.
pub const NODE_HWMON_RPM: Family = Family {
    prefix: "node_hwmon_",
    suffix: "_rpm",
    metric_type: MetricType::Gauge,
    unit: "",
    help: "Turns of a fan in a minute",
};

/// `node_hwmon_…_seconds`: An interval of a sensor.
pub const NODE_HWMON_SECONDS: Family = Family {
    prefix: "node_hwmon_",
    suffix: "_seconds",
    metric_type: MetricType::Gauge,
    unit: "seconds",
    help: "An interval of a sensor",
};

/// `node_hwmon_…_mhz`: A frequency of a sensor.
pub const NODE_HWMON_MEGAHERTZ: Family = Family {
    prefix: "node_hwmon_",
    suffix: "_mhz",
    metric_type: MetricType::Gauge,
    unit: "megahertz",
    help: "A frequency of a sensor",
};

/// `node_hwmon_…`: A number of a sensor without a unit, such as an alarm.
pub const NODE_HWMON: Family = Family {
    prefix: "node_hwmon_",
    suffix: "",
    metric_type: MetricType::Gauge,
    unit: "",
    help: "A number of a sensor without a unit, such as an alarm",
};

/// `node_rapl_…_joules_total`: Energy that a part of the processor or the memory took.
pub const NODE_RAPL_JOULES: Family = Family {
    prefix: "node_rapl_",
    suffix: "_joules_total",
    metric_type: MetricType::Counter,
    unit: "joules",
    help: "Energy that a part of the processor or the memory took",
};

metrics! {
    HARDWARE:
    NODE_BONDING_ACTIVE = Gauge "node_bonding_active" "" "Interfaces of a bond that work";
    NODE_BONDING_SLAVES = Gauge "node_bonding_slaves" "" "Interfaces that belong to a bond";
    NODE_COOLING_DEVICE_CUR_STATE = Gauge "node_cooling_device_cur_state" "" "How hard something cools";
    NODE_COOLING_DEVICE_MAX_STATE = Gauge "node_cooling_device_max_state" "" "How hard something can cool";
    NODE_CPU_CORE_THROTTLES_TOTAL = Counter "node_cpu_core_throttles_total" "" "How often heat held a core back";
    NODE_CPU_FREQUENCY_HERTZ = Gauge "node_cpu_frequency_hertz" "hertz" "Frequency of a CPU, as the hardware tells it";
    NODE_CPU_FREQUENCY_MAX_HERTZ = Gauge "node_cpu_frequency_max_hertz" "hertz" "Highest frequency of a CPU";
    NODE_CPU_FREQUENCY_MIN_HERTZ = Gauge "node_cpu_frequency_min_hertz" "hertz" "Lowest frequency of a CPU";
    NODE_CPU_PACKAGE_THROTTLES_TOTAL = Counter "node_cpu_package_throttles_total" "" "How often heat held a processor back";
    NODE_CPU_SCALING_FREQUENCY_HERTZ = Gauge "node_cpu_scaling_frequency_hertz" "hertz" "Frequency of a CPU, as the kernel set it";
    NODE_CPU_SCALING_FREQUENCY_MAX_HERTZ = Gauge "node_cpu_scaling_frequency_max_hertz" "hertz" "Highest frequency the kernel may set";
    NODE_CPU_SCALING_FREQUENCY_MIN_HERTZ = Gauge "node_cpu_scaling_frequency_min_hertz" "hertz" "Lowest frequency the kernel may set";
    NODE_CPU_SCALING_GOVERNOR = Gauge "node_cpu_scaling_governor" "" "Which governor chooses the frequency: 1 for the one that does";
    NODE_DMI_INFO = Gauge "node_dmi_info" "" "What the firmware says the machine is; always 1";
    NODE_EDAC_CHANNEL_CORRECTABLE_ERRORS_TOTAL = Counter "node_edac_channel_correctable_errors_total" "" "Errors of a memory channel that were mended";
    NODE_EDAC_CHANNEL_UNCORRECTABLE_ERRORS_TOTAL = Counter "node_edac_channel_uncorrectable_errors_total" "" "Errors of a memory channel that could not be mended";
    NODE_EDAC_CORRECTABLE_ERRORS_TOTAL = Counter "node_edac_correctable_errors_total" "" "Errors of memory that were mended";
    NODE_EDAC_CSROW_CORRECTABLE_ERRORS_TOTAL = Counter "node_edac_csrow_correctable_errors_total" "" "Errors of a memory row that were mended";
    NODE_EDAC_CSROW_UNCORRECTABLE_ERRORS_TOTAL = Counter "node_edac_csrow_uncorrectable_errors_total" "" "Errors of a memory row that could not be mended";
    NODE_EDAC_UNCORRECTABLE_ERRORS_TOTAL = Counter "node_edac_uncorrectable_errors_total" "" "Errors of memory that could not be mended";
    NODE_HWMON_BEEP_ENABLED = Gauge "node_hwmon_beep_enabled" "" "Whether the chip may beep: 1 if so";
    NODE_HWMON_CHIP_NAMES = Gauge "node_hwmon_chip_names" "" "What a sensor chip is called; always 1";
    NODE_HWMON_SENSOR_LABEL = Gauge "node_hwmon_sensor_label" "" "What a sensor is called; always 1";
    NODE_HWMON_VOLTAGE_REGULATOR_VERSION = Gauge "node_hwmon_voltage_regulator_version" "" "Which voltages the processor expects";
    NODE_INFINIBAND_EXCESSIVE_BUFFER_OVERRUN_ERRORS_TOTAL = Counter "node_infiniband_excessive_buffer_overrun_errors_total" "" "Excessive buffer overrun errors of an InfiniBand port";
    NODE_INFINIBAND_INFO = Gauge "node_infiniband_info" "" "What an InfiniBand device is; always 1";
    NODE_INFINIBAND_LEGACY_DATA_RECEIVED_BYTES_TOTAL = Counter "node_infiniband_legacy_data_received_bytes_total" "bytes" "Data received bytes of an InfiniBand port, from the counters of old kernels";
    NODE_INFINIBAND_LEGACY_DATA_TRANSMITTED_BYTES_TOTAL = Counter "node_infiniband_legacy_data_transmitted_bytes_total" "bytes" "Data transmitted bytes of an InfiniBand port, from the counters of old kernels";
    NODE_INFINIBAND_LEGACY_MULTICAST_PACKETS_RECEIVED_TOTAL = Counter "node_infiniband_legacy_multicast_packets_received_total" "" "Multicast packets received of an InfiniBand port, from the counters of old kernels";
    NODE_INFINIBAND_LEGACY_MULTICAST_PACKETS_TRANSMITTED_TOTAL = Counter "node_infiniband_legacy_multicast_packets_transmitted_total" "" "Multicast packets transmitted of an InfiniBand port, from the counters of old kernels";
    NODE_INFINIBAND_LEGACY_PACKETS_RECEIVED_TOTAL = Counter "node_infiniband_legacy_packets_received_total" "" "Packets received of an InfiniBand port, from the counters of old kernels";
    NODE_INFINIBAND_LEGACY_PACKETS_TRANSMITTED_TOTAL = Counter "node_infiniband_legacy_packets_transmitted_total" "" "Packets transmitted of an InfiniBand port, from the counters of old kernels";
    NODE_INFINIBAND_LEGACY_UNICAST_PACKETS_RECEIVED_TOTAL = Counter "node_infiniband_legacy_unicast_packets_received_total" "" "Unicast packets received of an InfiniBand port, from the counters of old kernels";
    NODE_INFINIBAND_LEGACY_UNICAST_PACKETS_TRANSMITTED_TOTAL = Counter "node_infiniband_legacy_unicast_packets_transmitted_total" "" "Unicast packets transmitted of an InfiniBand port, from the counters of old kernels";
    NODE_INFINIBAND_LINK_DOWNED_TOTAL = Counter "node_infiniband_link_downed_total" "" "Link downed of an InfiniBand port";
    NODE_INFINIBAND_LINK_ERROR_RECOVERY_TOTAL = Counter "node_infiniband_link_error_recovery_total" "" "Link error recovery of an InfiniBand port";
    NODE_INFINIBAND_LOCAL_LINK_INTEGRITY_ERRORS_TOTAL = Counter "node_infiniband_local_link_integrity_errors_total" "" "Local link integrity errors of an InfiniBand port";
    NODE_INFINIBAND_MULTICAST_PACKETS_RECEIVED_TOTAL = Counter "node_infiniband_multicast_packets_received_total" "" "Multicast packets received of an InfiniBand port";
    NODE_INFINIBAND_MULTICAST_PACKETS_TRANSMITTED_TOTAL = Counter "node_infiniband_multicast_packets_transmitted_total" "" "Multicast packets transmitted of an InfiniBand port";
    NODE_INFINIBAND_PHYSICAL_STATE_ID = Gauge "node_infiniband_physical_state_id" "" "Physical state of an InfiniBand port: 5 is linked";
    NODE_INFINIBAND_PORT_CONSTRAINT_ERRORS_RECEIVED_TOTAL = Counter "node_infiniband_port_constraint_errors_received_total" "" "Port constraint errors received of an InfiniBand port";
    NODE_INFINIBAND_PORT_CONSTRAINT_ERRORS_TRANSMITTED_TOTAL = Counter "node_infiniband_port_constraint_errors_transmitted_total" "" "Port constraint errors transmitted of an InfiniBand port";
    NODE_INFINIBAND_PORT_DATA_RECEIVED_BYTES_TOTAL = Counter "node_infiniband_port_data_received_bytes_total" "bytes" "Port data received bytes of an InfiniBand port";
    NODE_INFINIBAND_PORT_DATA_TRANSMITTED_BYTES_TOTAL = Counter "node_infiniband_port_data_transmitted_bytes_total" "bytes" "Port data transmitted bytes of an InfiniBand port";
    NODE_INFINIBAND_PORT_DISCARDS_RECEIVED_TOTAL = Counter "node_infiniband_port_discards_received_total" "" "Port discards received of an InfiniBand port";
    NODE_INFINIBAND_PORT_DISCARDS_TRANSMITTED_TOTAL = Counter "node_infiniband_port_discards_transmitted_total" "" "Port discards transmitted of an InfiniBand port";
    NODE_INFINIBAND_PORT_ERRORS_RECEIVED_TOTAL = Counter "node_infiniband_port_errors_received_total" "" "Port errors received of an InfiniBand port";
    NODE_INFINIBAND_PORT_PACKETS_RECEIVED_TOTAL = Counter "node_infiniband_port_packets_received_total" "" "Port packets received of an InfiniBand port";
    NODE_INFINIBAND_PORT_PACKETS_TRANSMITTED_TOTAL = Counter "node_infiniband_port_packets_transmitted_total" "" "Port packets transmitted of an InfiniBand port";
    NODE_INFINIBAND_PORT_RECEIVE_REMOTE_PHYSICAL_ERRORS_TOTAL = Counter "node_infiniband_port_receive_remote_physical_errors_total" "" "Port receive remote physical errors of an InfiniBand port";
    NODE_INFINIBAND_PORT_RECEIVE_SWITCH_RELAY_ERRORS_TOTAL = Counter "node_infiniband_port_receive_switch_relay_errors_total" "" "Port receive switch relay errors of an InfiniBand port";
    NODE_INFINIBAND_PORT_TRANSMIT_WAIT_TOTAL = Counter "node_infiniband_port_transmit_wait_total" "" "Port transmit wait of an InfiniBand port";
    NODE_INFINIBAND_RATE_BYTES_PER_SECOND = Gauge "node_infiniband_rate_bytes_per_second" "bytes" "Speed of an InfiniBand port in bytes per second";
    NODE_INFINIBAND_STATE_ID = Gauge "node_infiniband_state_id" "" "State of an InfiniBand port: 4 is active";
    NODE_INFINIBAND_SYMBOL_ERROR_TOTAL = Counter "node_infiniband_symbol_error_total" "" "Symbol error of an InfiniBand port";
    NODE_INFINIBAND_UNICAST_PACKETS_RECEIVED_TOTAL = Counter "node_infiniband_unicast_packets_received_total" "" "Unicast packets received of an InfiniBand port";
    NODE_INFINIBAND_UNICAST_PACKETS_TRANSMITTED_TOTAL = Counter "node_infiniband_unicast_packets_transmitted_total" "" "Unicast packets transmitted of an InfiniBand port";
    NODE_INFINIBAND_VL15_DROPPED_TOTAL = Counter "node_infiniband_vl15_dropped_total" "" "VL15 dropped of an InfiniBand port";
    NODE_INTERRUPTS_TOTAL = Counter "node_interrupts_total" "" "Interrupts, by CPU";
    NODE_KERNEL_HUNG_TASKS_TOTAL = Counter "node_kernel_hung_tasks_total" "" "Tasks that the kernel found hanging since boot";
    NODE_NFS_CONNECTIONS_TOTAL = Counter "node_nfs_connections_total" "" "Connections the NFS client made";
    NODE_NFS_PACKETS_TOTAL = Counter "node_nfs_packets_total" "" "Packets of the NFS client, by protocol";
    NODE_NFS_REQUESTS_TOTAL = Counter "node_nfs_requests_total" "" "Requests of the NFS client, by procedure";
    NODE_NFS_RPC_AUTHENTICATION_REFRESHES_TOTAL = Counter "node_nfs_rpc_authentication_refreshes_total" "" "How often the NFS client refreshed its authentication";
    NODE_NFS_RPC_RETRANSMISSIONS_TOTAL = Counter "node_nfs_rpc_retransmissions_total" "" "Requests the NFS client sent again";
    NODE_NFS_RPCS_TOTAL = Counter "node_nfs_rpcs_total" "" "Requests the NFS client sent";
    NODE_NFSD_CONNECTIONS_TOTAL = Counter "node_nfsd_connections_total" "" "Connections the NFS server took";
    NODE_NFSD_DISK_BYTES_READ_TOTAL = Counter "node_nfsd_disk_bytes_read_total" "bytes" "Bytes the NFS server read";
    NODE_NFSD_DISK_BYTES_WRITTEN_TOTAL = Counter "node_nfsd_disk_bytes_written_total" "bytes" "Bytes the NFS server wrote";
    NODE_NFSD_FILE_HANDLES_STALE_TOTAL = Counter "node_nfsd_file_handles_stale_total" "" "Requests for files that are gone";
    NODE_NFSD_PACKETS_TOTAL = Counter "node_nfsd_packets_total" "" "Packets of the NFS server, by protocol";
    NODE_NFSD_READ_AHEAD_CACHE_NOT_FOUND_TOTAL = Counter "node_nfsd_read_ahead_cache_not_found_total" "" "Searches of the read-ahead cache that found nothing";
    NODE_NFSD_READ_AHEAD_CACHE_SIZE_BLOCKS = Gauge "node_nfsd_read_ahead_cache_size_blocks" "" "Size of the read-ahead cache";
    NODE_NFSD_REPLY_CACHE_HITS_TOTAL = Counter "node_nfsd_reply_cache_hits_total" "" "Repeated requests answered from the cache";
    NODE_NFSD_REPLY_CACHE_MISSES_TOTAL = Counter "node_nfsd_reply_cache_misses_total" "" "Requests not in the reply cache";
    NODE_NFSD_REPLY_CACHE_NOCACHE_TOTAL = Counter "node_nfsd_reply_cache_nocache_total" "" "Requests that need no reply cache";
    NODE_NFSD_REQUESTS_TOTAL = Counter "node_nfsd_requests_total" "" "Requests to the NFS server, by procedure";
    NODE_NFSD_RPC_ERRORS_TOTAL = Counter "node_nfsd_rpc_errors_total" "" "Requests the NFS server refused, by error";
    NODE_NFSD_SERVER_RPCS_TOTAL = Counter "node_nfsd_server_rpcs_total" "" "Requests to the NFS server";
    NODE_NFSD_SERVER_THREADS = Gauge "node_nfsd_server_threads" "" "Threads of the NFS server";
    NODE_NVME_INFO = Gauge "node_nvme_info" "" "What an NVMe controller is; always 1";
    NODE_POWER_SUPPLY_AUTHENTIC = Gauge "node_power_supply_authentic" "" "Authentic of a power supply";
    NODE_POWER_SUPPLY_CALIBRATE = Gauge "node_power_supply_calibrate" "" "Calibrate of a power supply";
    NODE_POWER_SUPPLY_CAPACITY = Gauge "node_power_supply_capacity" "" "Charge of the battery in percent";
    NODE_POWER_SUPPLY_CAPACITY_ALERT_MAX = Gauge "node_power_supply_capacity_alert_max" "" "Capacity alert max of a power supply";
    NODE_POWER_SUPPLY_CAPACITY_ALERT_MIN = Gauge "node_power_supply_capacity_alert_min" "" "Capacity alert min of a power supply";
    NODE_POWER_SUPPLY_CHARGE_AMPERE = Gauge "node_power_supply_charge_ampere" "" "Charge of the battery, in ampere hours";
    NODE_POWER_SUPPLY_CHARGE_CONTROL_LIMIT = Gauge "node_power_supply_charge_control_limit" "" "Charge control limit of a power supply, in ampere hours";
    NODE_POWER_SUPPLY_CHARGE_CONTROL_LIMIT_MAX = Gauge "node_power_supply_charge_control_limit_max" "" "Charge control limit max of a power supply, in ampere hours";
    NODE_POWER_SUPPLY_CHARGE_COUNTER = Gauge "node_power_supply_charge_counter" "" "Charge counter of a power supply, in ampere hours";
    NODE_POWER_SUPPLY_CHARGE_EMPTY = Gauge "node_power_supply_charge_empty" "" "Charge empty of a power supply, in ampere hours";
    NODE_POWER_SUPPLY_CHARGE_EMPTY_DESIGN = Gauge "node_power_supply_charge_empty_design" "" "Charge empty design of a power supply, in ampere hours";
    NODE_POWER_SUPPLY_CHARGE_FULL = Gauge "node_power_supply_charge_full" "" "Charge full of a power supply, in ampere hours";
    NODE_POWER_SUPPLY_CHARGE_FULL_DESIGN = Gauge "node_power_supply_charge_full_design" "" "Charge full design of a power supply, in ampere hours";
    NODE_POWER_SUPPLY_CHARGE_TERM_CURRENT = Gauge "node_power_supply_charge_term_current" "amperes" "Charge term current of a power supply";
    NODE_POWER_SUPPLY_CONSTANT_CHARGE_CURRENT = Gauge "node_power_supply_constant_charge_current" "amperes" "Constant charge current of a power supply";
    NODE_POWER_SUPPLY_CONSTANT_CHARGE_CURRENT_MAX = Gauge "node_power_supply_constant_charge_current_max" "amperes" "Constant charge current max of a power supply";
    NODE_POWER_SUPPLY_CONSTANT_CHARGE_VOLTAGE = Gauge "node_power_supply_constant_charge_voltage" "volts" "Constant charge voltage of a power supply";
    NODE_POWER_SUPPLY_CONSTANT_CHARGE_VOLTAGE_MAX = Gauge "node_power_supply_constant_charge_voltage_max" "volts" "Constant charge voltage max of a power supply";
    NODE_POWER_SUPPLY_CURRENT_AMPERE = Gauge "node_power_supply_current_ampere" "amperes" "Current now of a power supply";
    NODE_POWER_SUPPLY_CURRENT_BOOT = Gauge "node_power_supply_current_boot" "amperes" "Current boot of a power supply";
    NODE_POWER_SUPPLY_CURRENT_MAX = Gauge "node_power_supply_current_max" "amperes" "Current max of a power supply";
    NODE_POWER_SUPPLY_CYCLECOUNT = Gauge "node_power_supply_cyclecount" "" "How often the battery was charged";
    NODE_POWER_SUPPLY_ENERGY_EMPTY = Gauge "node_power_supply_energy_empty" "" "Energy empty of a power supply, in watt hours";
    NODE_POWER_SUPPLY_ENERGY_EMPTY_DESIGN = Gauge "node_power_supply_energy_empty_design" "" "Energy empty design of a power supply, in watt hours";
    NODE_POWER_SUPPLY_ENERGY_FULL = Gauge "node_power_supply_energy_full" "" "Energy full of a power supply, in watt hours";
    NODE_POWER_SUPPLY_ENERGY_FULL_DESIGN = Gauge "node_power_supply_energy_full_design" "" "Energy full design of a power supply, in watt hours";
    NODE_POWER_SUPPLY_ENERGY_WATTHOUR = Gauge "node_power_supply_energy_watthour" "" "Energy in the battery, in watt hours";
    NODE_POWER_SUPPLY_INFO = Gauge "node_power_supply_info" "" "What a power supply is; always 1";
    NODE_POWER_SUPPLY_INPUT_CURRENT_LIMIT = Gauge "node_power_supply_input_current_limit" "amperes" "Input current limit of a power supply";
    NODE_POWER_SUPPLY_ONLINE = Gauge "node_power_supply_online" "" "Whether the supply gives power: 1 if so";
    NODE_POWER_SUPPLY_POWER_WATT = Gauge "node_power_supply_power_watt" "watts" "Power that is drawn from or given to the supply";
    NODE_POWER_SUPPLY_PRECHARGE_CURRENT = Gauge "node_power_supply_precharge_current" "amperes" "Precharge current of a power supply";
    NODE_POWER_SUPPLY_PRESENT = Gauge "node_power_supply_present" "" "Whether there is a battery: 1 if so";
    NODE_POWER_SUPPLY_TEMP_ALERT_MAX_CELSIUS = Gauge "node_power_supply_temp_alert_max_celsius" "celsius" "Temp alert max of a power supply";
    NODE_POWER_SUPPLY_TEMP_ALERT_MIN_CELSIUS = Gauge "node_power_supply_temp_alert_min_celsius" "celsius" "Temp alert min of a power supply";
    NODE_POWER_SUPPLY_TEMP_AMBIENT_CELSIUS = Gauge "node_power_supply_temp_ambient_celsius" "celsius" "Temp ambient of a power supply";
    NODE_POWER_SUPPLY_TEMP_AMBIENT_MAX_CELSIUS = Gauge "node_power_supply_temp_ambient_max_celsius" "celsius" "Temp ambient alert max of a power supply";
    NODE_POWER_SUPPLY_TEMP_AMBIENT_MIN_CELSIUS = Gauge "node_power_supply_temp_ambient_min_celsius" "celsius" "Temp ambient alert min of a power supply";
    NODE_POWER_SUPPLY_TEMP_CELSIUS = Gauge "node_power_supply_temp_celsius" "celsius" "Temp of a power supply";
    NODE_POWER_SUPPLY_TEMP_MAX_CELSIUS = Gauge "node_power_supply_temp_max_celsius" "celsius" "Temp max of a power supply";
    NODE_POWER_SUPPLY_TEMP_MIN_CELSIUS = Gauge "node_power_supply_temp_min_celsius" "celsius" "Temp min of a power supply";
    NODE_POWER_SUPPLY_TIME_TO_EMPTY_SECONDS = Gauge "node_power_supply_time_to_empty_seconds" "seconds" "Time until the battery is empty";
    NODE_POWER_SUPPLY_TIME_TO_FULL_SECONDS = Gauge "node_power_supply_time_to_full_seconds" "seconds" "Time until the battery is full";
    NODE_POWER_SUPPLY_VOLTAGE_BOOT = Gauge "node_power_supply_voltage_boot" "volts" "Voltage boot of a power supply";
    NODE_POWER_SUPPLY_VOLTAGE_MAX = Gauge "node_power_supply_voltage_max" "volts" "Voltage max of a power supply";
    NODE_POWER_SUPPLY_VOLTAGE_MAX_DESIGN = Gauge "node_power_supply_voltage_max_design" "volts" "Voltage max design of a power supply";
    NODE_POWER_SUPPLY_VOLTAGE_MIN = Gauge "node_power_supply_voltage_min" "volts" "Voltage min of a power supply";
    NODE_POWER_SUPPLY_VOLTAGE_MIN_DESIGN = Gauge "node_power_supply_voltage_min_design" "volts" "Voltage min design of a power supply";
    NODE_POWER_SUPPLY_VOLTAGE_OCV = Gauge "node_power_supply_voltage_ocv" "volts" "Voltage ocv of a power supply";
    NODE_POWER_SUPPLY_VOLTAGE_VOLT = Gauge "node_power_supply_voltage_volt" "volts" "Voltage now of a power supply";
    NODE_SCHEDSTAT_RUNNING_SECONDS_TOTAL = Counter "node_schedstat_running_seconds_total" "seconds" "Time that tasks ran, by CPU";
    NODE_SCHEDSTAT_TIMESLICES_TOTAL = Counter "node_schedstat_timeslices_total" "" "Timeslices that tasks ran, by CPU";
    NODE_SCHEDSTAT_WAITING_SECONDS_TOTAL = Counter "node_schedstat_waiting_seconds_total" "seconds" "Time that tasks waited to run, by CPU";
    NODE_THERMAL_ZONE_TEMP = Gauge "node_thermal_zone_temp" "celsius" "Temperature of a thermal zone";
    NODE_WATCHDOG_ACCESS_CS0 = Gauge "node_watchdog_access_cs0" "" "Which of its two boot sources the board uses";
    NODE_WATCHDOG_BOOTSTATUS = Gauge "node_watchdog_bootstatus" "" "Why the watchdog restarted the machine last, as bits";
    NODE_WATCHDOG_FW_VERSION = Gauge "node_watchdog_fw_version" "" "Firmware version of the watchdog";
    NODE_WATCHDOG_INFO = Gauge "node_watchdog_info" "" "What a watchdog is; always 1";
    NODE_WATCHDOG_NOWAYOUT = Gauge "node_watchdog_nowayout" "" "Whether the watchdog cannot be stopped: 1 if so";
    NODE_WATCHDOG_PRETIMEOUT_SECONDS = Gauge "node_watchdog_pretimeout_seconds" "seconds" "How long before the restart the watchdog warns";
    NODE_WATCHDOG_TIMELEFT_SECONDS = Gauge "node_watchdog_timeleft_seconds" "seconds" "Time until the watchdog restarts the machine";
    NODE_WATCHDOG_TIMEOUT_SECONDS = Gauge "node_watchdog_timeout_seconds" "seconds" "How long the watchdog waits for a sign of life";
    NODE_XFS_ALLOCATION_BTREE_COMPARES_TOTAL = Counter "node_xfs_allocation_btree_compares_total" "" "Compares in the tree of free space, by XFS filesystem";
    NODE_XFS_ALLOCATION_BTREE_LOOKUPS_TOTAL = Counter "node_xfs_allocation_btree_lookups_total" "" "Lookups in the tree of free space, by XFS filesystem";
    NODE_XFS_ALLOCATION_BTREE_RECORDS_DELETED_TOTAL = Counter "node_xfs_allocation_btree_records_deleted_total" "" "Records deleted in the tree of free space, by XFS filesystem";
    NODE_XFS_ALLOCATION_BTREE_RECORDS_INSERTED_TOTAL = Counter "node_xfs_allocation_btree_records_inserted_total" "" "Records inserted in the tree of free space, by XFS filesystem";
    NODE_XFS_BLOCK_MAP_BTREE_COMPARES_TOTAL = Counter "node_xfs_block_map_btree_compares_total" "" "Compares in the tree of block maps, by XFS filesystem";
    NODE_XFS_BLOCK_MAP_BTREE_LOOKUPS_TOTAL = Counter "node_xfs_block_map_btree_lookups_total" "" "Lookups in the tree of block maps, by XFS filesystem";
    NODE_XFS_BLOCK_MAP_BTREE_RECORDS_DELETED_TOTAL = Counter "node_xfs_block_map_btree_records_deleted_total" "" "Records deleted in the tree of block maps, by XFS filesystem";
    NODE_XFS_BLOCK_MAP_BTREE_RECORDS_INSERTED_TOTAL = Counter "node_xfs_block_map_btree_records_inserted_total" "" "Records inserted in the tree of block maps, by XFS filesystem";
    NODE_XFS_BLOCK_MAPPING_EXTENT_LIST_COMPARES_TOTAL = Counter "node_xfs_block_mapping_extent_list_compares_total" "" "Extent list compares of block maps, by XFS filesystem";
    NODE_XFS_BLOCK_MAPPING_EXTENT_LIST_DELETIONS_TOTAL = Counter "node_xfs_block_mapping_extent_list_deletions_total" "" "Extent list deletions of block maps, by XFS filesystem";
    NODE_XFS_BLOCK_MAPPING_EXTENT_LIST_INSERTIONS_TOTAL = Counter "node_xfs_block_mapping_extent_list_insertions_total" "" "Extent list insertions of block maps, by XFS filesystem";
    NODE_XFS_BLOCK_MAPPING_EXTENT_LIST_LOOKUPS_TOTAL = Counter "node_xfs_block_mapping_extent_list_lookups_total" "" "Extent list lookups of block maps, by XFS filesystem";
    NODE_XFS_BLOCK_MAPPING_READS_TOTAL = Counter "node_xfs_block_mapping_reads_total" "" "Reads of block maps, by XFS filesystem";
    NODE_XFS_BLOCK_MAPPING_UNMAPS_TOTAL = Counter "node_xfs_block_mapping_unmaps_total" "" "Unmaps of block maps, by XFS filesystem";
    NODE_XFS_BLOCK_MAPPING_WRITES_TOTAL = Counter "node_xfs_block_mapping_writes_total" "" "Writes of block maps, by XFS filesystem";
    NODE_XFS_DIRECTORY_OPERATION_CREATE_TOTAL = Counter "node_xfs_directory_operation_create_total" "" "Create of directories, by XFS filesystem";
    NODE_XFS_DIRECTORY_OPERATION_GETDENTS_TOTAL = Counter "node_xfs_directory_operation_getdents_total" "" "Getdents of directories, by XFS filesystem";
    NODE_XFS_DIRECTORY_OPERATION_LOOKUP_TOTAL = Counter "node_xfs_directory_operation_lookup_total" "" "Lookup of directories, by XFS filesystem";
    NODE_XFS_DIRECTORY_OPERATION_REMOVE_TOTAL = Counter "node_xfs_directory_operation_remove_total" "" "Remove of directories, by XFS filesystem";
    NODE_XFS_EXTENT_ALLOCATION_BLOCKS_ALLOCATED_TOTAL = Counter "node_xfs_extent_allocation_blocks_allocated_total" "" "Blocks allocated, by XFS filesystem";
    NODE_XFS_EXTENT_ALLOCATION_BLOCKS_FREED_TOTAL = Counter "node_xfs_extent_allocation_blocks_freed_total" "" "Blocks freed, by XFS filesystem";
    NODE_XFS_EXTENT_ALLOCATION_EXTENTS_ALLOCATED_TOTAL = Counter "node_xfs_extent_allocation_extents_allocated_total" "" "Extents allocated, by XFS filesystem";
    NODE_XFS_EXTENT_ALLOCATION_EXTENTS_FREED_TOTAL = Counter "node_xfs_extent_allocation_extents_freed_total" "" "Extents freed, by XFS filesystem";
    NODE_XFS_INODE_OPERATION_ATTEMPTS_TOTAL = Counter "node_xfs_inode_operation_attempts_total" "" "Attempts of inodes, by XFS filesystem";
    NODE_XFS_INODE_OPERATION_ATTRIBUTE_CHANGES_TOTAL = Counter "node_xfs_inode_operation_attribute_changes_total" "" "Attribute changes of inodes, by XFS filesystem";
    NODE_XFS_INODE_OPERATION_DUPLICATES_TOTAL = Counter "node_xfs_inode_operation_duplicates_total" "" "Duplicates of inodes, by XFS filesystem";
    NODE_XFS_INODE_OPERATION_FOUND_TOTAL = Counter "node_xfs_inode_operation_found_total" "" "Found of inodes, by XFS filesystem";
    NODE_XFS_INODE_OPERATION_MISSED_TOTAL = Counter "node_xfs_inode_operation_missed_total" "" "Missed of inodes, by XFS filesystem";
    NODE_XFS_INODE_OPERATION_RECLAIMS_TOTAL = Counter "node_xfs_inode_operation_reclaims_total" "" "Reclaims of inodes, by XFS filesystem";
    NODE_XFS_INODE_OPERATION_RECYCLED_TOTAL = Counter "node_xfs_inode_operation_recycled_total" "" "Recycled of inodes, by XFS filesystem";
    NODE_XFS_READ_CALLS_TOTAL = Counter "node_xfs_read_calls_total" "" "Calls to read, by XFS filesystem";
    NODE_XFS_VNODE_ACTIVE_TOTAL = Counter "node_xfs_vnode_active_total" "" "Active of inodes in memory, by XFS filesystem";
    NODE_XFS_VNODE_ALLOCATE_TOTAL = Counter "node_xfs_vnode_allocate_total" "" "Allocate of inodes in memory, by XFS filesystem";
    NODE_XFS_VNODE_GET_TOTAL = Counter "node_xfs_vnode_get_total" "" "Get of inodes in memory, by XFS filesystem";
    NODE_XFS_VNODE_HOLD_TOTAL = Counter "node_xfs_vnode_hold_total" "" "Hold of inodes in memory, by XFS filesystem";
    NODE_XFS_VNODE_RECLAIM_TOTAL = Counter "node_xfs_vnode_reclaim_total" "" "Reclaim of inodes in memory, by XFS filesystem";
    NODE_XFS_VNODE_RELEASE_TOTAL = Counter "node_xfs_vnode_release_total" "" "Release of inodes in memory, by XFS filesystem";
    NODE_XFS_VNODE_REMOVE_TOTAL = Counter "node_xfs_vnode_remove_total" "" "Remove of inodes in memory, by XFS filesystem";
    NODE_XFS_WRITE_CALLS_TOTAL = Counter "node_xfs_write_calls_total" "" "Calls to write, by XFS filesystem";
}
