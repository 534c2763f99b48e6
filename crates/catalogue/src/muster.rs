//! Metrics for which no stock exporter has a name.

use crate::metrics;

metrics! {
    MUSTER:
    MUSTER_AGENT_DROPPED_REPORTS_TOTAL = Counter "muster_agent_dropped_reports_total" "" "Reports dropped because the agent had no room for them";
    MUSTER_AGENT_INFO = Gauge "muster_agent_info" "" "1, with the agent's version as label";
    MUSTER_AGENT_OUTBOX_BYTES = Gauge "muster_agent_outbox_bytes" "bytes" "Memory that unacknowledged reports take";
    MUSTER_AGENT_PRIVILEGED_RESTARTS_TOTAL = Counter "muster_agent_privileged_restarts_total" "" "How often the agent's process with rights had to be started again";
    MUSTER_AGENT_RECONNECTS_TOTAL = Counter "muster_agent_reconnects_total" "" "How often the agent has connected again";
    MUSTER_AGENT_SPOOL_BYTES = Gauge "muster_agent_spool_bytes" "bytes" "Room on disk that unacknowledged reports take";
    MUSTER_AGENT_SPOOL_FAILURES_TOTAL = Counter "muster_agent_spool_failures_total" "" "How often the disk refused to keep reports";
    MUSTER_AGENT_SPOOL_FSYNC_SECONDS = Gauge "muster_agent_spool_fsync_seconds" "seconds" "How long the disk took to keep reports the last time";
    MUSTER_AGENT_SPOOL_GAPS = Gauge "muster_agent_spool_gaps" "" "Losses that the controller has not acknowledged";
    MUSTER_AGENT_SPOOL_LOST_REPORTS_TOTAL = Counter "muster_agent_spool_lost_reports_total" "" "Reports lost to the controller, by reason";
    MUSTER_AGENT_SPOOL_OLDEST_UNACKED_SECONDS = Gauge "muster_agent_spool_oldest_unacked_seconds" "seconds" "Since when the oldest unacknowledged report waits; from before this start of the agent, since the start";
    MUSTER_AGENT_SPOOL_PAST_REPORTS = Gauge "muster_agent_spool_past_reports" "" "Unacknowledged reports from before this start of the agent";
    MUSTER_AGENT_SPOOL_THINNED_SAMPLES_TOTAL = Counter "muster_agent_spool_thinned_samples_total" "" "Samples left out of kept reports for want of room on disk";
    MUSTER_AGENT_UNACKED_REPORTS = Gauge "muster_agent_unacked_reports" "" "Reports that the controller has not acknowledged";
    MUSTER_DEVICE_WEAR_USED_PERCENT = Gauge "muster_device_wear_used_percent" "" "Share of the endurance a solid state drive is rated for that is used, percent; may exceed 100";
    MUSTER_EMMC_LIFE_USED_PERCENT = Gauge "muster_emmc_life_used_percent" "" "Upper end of the class of life used that an eMMC card estimates for its cells of one type, percent; 110 for more than 100";
    MUSTER_EMMC_PRE_EOL_INFO = Gauge "muster_emmc_pre_eol_info" "" "Reserved blocks of an eMMC card: 1 enough, 2 80 % used up, 3 90 % used up";
    MUSTER_PROCESS_CPU_RATIO = Gauge "muster_process_cpu_ratio" "" "CPUs that the processes of one name took since the run before; 1 is a whole CPU";
    MUSTER_PROCESS_IO_BYTES_PER_SECOND = Gauge "muster_process_io_bytes_per_second" "bytes" "What the processes of one name read from and wrote to storage in a second, since the run before";
    MUSTER_PROCESS_RESIDENT_BYTES = Gauge "muster_process_resident_bytes" "bytes" "Memory in RAM of the processes of one name";
    MUSTER_SERVER_CPU_LIMIT = Gauge "muster_server_cpu_limit" "" "CPUs' worth of time that control groups allow the server; absent if they do not limit it";
    MUSTER_SERVER_CPU_SECONDS_TOTAL = Counter "muster_server_cpu_seconds_total" "seconds" "CPU time that a server took that is a container";
    MUSTER_SERVER_CPU_THROTTLED_SECONDS_TOTAL = Counter "muster_server_cpu_throttled_seconds_total" "seconds" "How long control groups held a server back that had used up its CPU time";
    MUSTER_SERVER_CPUS = Gauge "muster_server_cpus" "" "CPUs that a container or limited server may use: the least of those there are, those it may run on, and its limit of time";
    MUSTER_SERVER_INFO = Gauge "muster_server_info" "" "What kind of container the server is; always 1; none if it is only limited";
    MUSTER_SERVER_MEMORY_AVAILABLE_BYTES = Gauge "muster_server_memory_available_bytes" "bytes" "Memory that a container or limited server can still take without swapping";
    MUSTER_SERVER_MEMORY_LIMIT_BYTES = Gauge "muster_server_memory_limit_bytes" "bytes" "Memory that control groups allow the server; absent if they do not limit it";
    MUSTER_SERVER_MEMORY_TOTAL_BYTES = Gauge "muster_server_memory_total_bytes" "bytes" "Memory that a container or limited server may use at all";
    MUSTER_SERVER_MEMORY_USED_BYTES = Gauge "muster_server_memory_used_bytes" "bytes" "Memory that a container or limited server uses, without files that nobody has used for long";
    MUSTER_SERVER_SWAP_FREE_BYTES = Gauge "muster_server_swap_free_bytes" "bytes" "Swap that a container or limited server can still take";
    MUSTER_SERVER_SWAP_TOTAL_BYTES = Gauge "muster_server_swap_total_bytes" "bytes" "Swap that a container or limited server may use at all";
    MUSTER_SIM_VALUE = Gauge "muster_sim_value" "" "The tick number, as a simulated agent sends it";
    MUSTER_SMART_TEMPERATURE_LIMIT_CELSIUS = Gauge "muster_smart_temperature_limit_celsius" "celsius" "A temperature the drive names as one of its limits";
    MUSTER_UPS_BATTERY_CHARGE_RATIO = Gauge "muster_ups_battery_charge_ratio" "" "Charge of a power supply's battery; 1 is full";
    MUSTER_UPS_BATTERY_RUNTIME_SECONDS = Gauge "muster_ups_battery_runtime_seconds" "seconds" "How long a power supply's battery lasts";
    MUSTER_UPS_BATTERY_VOLTS = Gauge "muster_ups_battery_volts" "volts" "Voltage of a power supply's battery";
    MUSTER_UPS_INFO = Gauge "muster_ups_info" "" "What an uninterruptible power supply is; always 1";
    MUSTER_UPS_INPUT_VOLTS = Gauge "muster_ups_input_volts" "volts" "Voltage that a power supply gets";
    MUSTER_UPS_LOAD_RATIO = Gauge "muster_ups_load_ratio" "" "How loaded a power supply is; 1 is fully";
    MUSTER_UPS_OUTPUT_VOLTS = Gauge "muster_ups_output_volts" "volts" "Voltage that a power supply gives";
    MUSTER_UPS_POWER_WATTS = Gauge "muster_ups_power_watts" "watts" "Power that is drawn from a power supply";
    MUSTER_UPS_STATUS = Gauge "muster_ups_status" "" "Whether a power supply says this of itself: 1 if so; OL is on line, OB on battery, LB low battery";
    MUSTER_UPS_TEMPERATURE_CELSIUS = Gauge "muster_ups_temperature_celsius" "celsius" "Temperature of a power supply";
}
