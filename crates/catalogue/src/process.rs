//! What a process says of itself, under the names that Prometheus' client libraries use.

use crate::metrics;

metrics! {
    PROCESS:
    PROCESS_CPU_SECONDS_TOTAL = Counter "process_cpu_seconds_total" "seconds" "Processor time that the agent took";
    PROCESS_RESIDENT_MEMORY_BYTES = Gauge "process_resident_memory_bytes" "bytes" "Memory of the agent in RAM";
}
