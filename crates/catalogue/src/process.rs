//! What a process says of itself, under the names that Prometheus' client libraries use.

use crate::metrics;

metrics! {
    PROCESS:
    PROCESS_CPU_SECONDS_TOTAL = Counter "process_cpu_seconds_total" "seconds" "Processor time that the agent took";
    PROCESS_MAX_FDS = Gauge "process_max_fds" "" "Most files that the agent may have open";
    PROCESS_OPEN_FDS = Gauge "process_open_fds" "" "Files that the agent has open";
    PROCESS_RESIDENT_MEMORY_BYTES = Gauge "process_resident_memory_bytes" "bytes" "Memory of the agent in RAM";
    PROCESS_START_TIME_SECONDS = Gauge "process_start_time_seconds" "seconds" "When the agent was started, Unix time";
    PROCESS_VIRTUAL_MEMORY_BYTES = Gauge "process_virtual_memory_bytes" "bytes" "Address space of the agent";
    PROCESS_VIRTUAL_MEMORY_MAX_BYTES = Gauge "process_virtual_memory_max_bytes" "bytes" "Most address space that the agent may have; infinite without a limit";
}
