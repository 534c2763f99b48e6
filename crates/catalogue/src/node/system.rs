//! Processes, units of systemd and graphics processors, as `node_exporter` names them.

use crate::metrics;

metrics! {
    SYSTEM:
    NODE_DRM_CARD_INFO = Gauge "node_drm_card_info" "" "What a graphics processor is; always 1";
    NODE_DRM_GPU_BUSY_PERCENT = Gauge "node_drm_gpu_busy_percent" "" "How busy a graphics processor is, in percent";
    NODE_DRM_MEMORY_GTT_SIZE_BYTES = Gauge "node_drm_memory_gtt_size_bytes" "bytes" "Main memory that a graphics processor may use";
    NODE_DRM_MEMORY_GTT_USED_BYTES = Gauge "node_drm_memory_gtt_used_bytes" "bytes" "Main memory that a graphics processor uses";
    NODE_DRM_MEMORY_VIS_VRAM_SIZE_BYTES = Gauge "node_drm_memory_vis_vram_size_bytes" "bytes" "Own memory of a graphics processor that the CPU sees";
    NODE_DRM_MEMORY_VIS_VRAM_USED_BYTES = Gauge "node_drm_memory_vis_vram_used_bytes" "bytes" "Own memory of a graphics processor that the CPU sees and that is used";
    NODE_DRM_MEMORY_VRAM_SIZE_BYTES = Gauge "node_drm_memory_vram_size_bytes" "bytes" "Own memory of a graphics processor";
    NODE_DRM_MEMORY_VRAM_USED_BYTES = Gauge "node_drm_memory_vram_used_bytes" "bytes" "Own memory of a graphics processor that is used";
    NODE_PROCESSES_MAX_PROCESSES = Gauge "node_processes_max_processes" "" "Most processes there may be";
    NODE_PROCESSES_MAX_THREADS = Gauge "node_processes_max_threads" "" "Most threads there may be";
    NODE_PROCESSES_PIDS = Gauge "node_processes_pids" "" "Processes there are";
    NODE_PROCESSES_STATE = Gauge "node_processes_state" "" "Processes in each state, by the letters of ps(1)";
    NODE_PROCESSES_THREADS = Gauge "node_processes_threads" "" "Threads there are";
    NODE_SYSTEMD_SERVICE_RESTART_TOTAL = Counter "node_systemd_service_restart_total" "" "How often systemd started a service again";
    NODE_SYSTEMD_SOCKET_ACCEPTED_CONNECTIONS_TOTAL = Counter "node_systemd_socket_accepted_connections_total" "" "Connections a socket took";
    NODE_SYSTEMD_SOCKET_CURRENT_CONNECTIONS = Gauge "node_systemd_socket_current_connections" "" "Connections of a socket now";
    NODE_SYSTEMD_SOCKET_REFUSED_CONNECTIONS_TOTAL = Gauge "node_systemd_socket_refused_connections_total" "" "Connections a socket refused";
    NODE_SYSTEMD_SYSTEM_RUNNING = Gauge "node_systemd_system_running" "" "Whether systemd has nothing to complain of: 1 if so";
    NODE_SYSTEMD_TIMER_LAST_TRIGGER_SECONDS = Gauge "node_systemd_timer_last_trigger_seconds" "seconds" "When a timer last ran, Unix time";
    NODE_SYSTEMD_UNIT_START_TIME_SECONDS = Gauge "node_systemd_unit_start_time_seconds" "seconds" "Since when a unit is active, Unix time";
    NODE_SYSTEMD_UNIT_STATE = Gauge "node_systemd_unit_state" "" "In which state a unit is: 1 for that one";
    NODE_SYSTEMD_UNITS = Gauge "node_systemd_units" "" "Units in each state";
    NODE_SYSTEMD_VERSION = Gauge "node_systemd_version" "" "Version of systemd";
}
