//! What the expressions of Grafana's dashboard 1860 (Node Exporter Full) ask for: names, the labels they pick by, and how
//! they put series together.

/// One series a word; `name{label=value}` if the dashboard picks by a label.
pub(crate) const ASKED: &str = "
node_cpu_seconds_total{mode=idle} node_cpu_seconds_total{mode=iowait} node_cpu_seconds_total{mode=irq}
node_cpu_seconds_total{mode=nice} node_cpu_seconds_total{mode=softirq} node_cpu_seconds_total{mode=steal}
node_cpu_seconds_total{mode=system} node_cpu_seconds_total{mode=user} node_cpu_guest_seconds_total{mode=user}
node_cpu_guest_seconds_total{mode=nice} node_cpu_scaling_frequency_hertz node_cpu_scaling_frequency_min_hertz
node_cpu_scaling_frequency_max_hertz
node_memory_MemTotal_bytes node_memory_MemFree_bytes node_memory_MemAvailable_bytes node_memory_Cached_bytes
node_memory_Buffers_bytes node_memory_SReclaimable_bytes node_memory_SUnreclaim_bytes node_memory_SwapTotal_bytes
node_memory_SwapFree_bytes node_memory_SwapCached_bytes node_memory_PageTables_bytes node_memory_Slab_bytes
node_memory_Active_bytes node_memory_Inactive_bytes node_memory_Active_anon_bytes node_memory_Active_file_bytes
node_memory_Inactive_anon_bytes node_memory_Inactive_file_bytes node_memory_AnonPages_bytes
node_memory_AnonHugePages_bytes node_memory_Bounce_bytes node_memory_CommitLimit_bytes
node_memory_Committed_AS_bytes node_memory_DirectMap1G_bytes node_memory_DirectMap2M_bytes
node_memory_DirectMap4k_bytes node_memory_Dirty_bytes node_memory_HardwareCorrupted_bytes
node_memory_HugePages_Total node_memory_HugePages_Free node_memory_HugePages_Rsvd node_memory_HugePages_Surp
node_memory_Hugepagesize_bytes node_memory_KernelStack_bytes node_memory_Mapped_bytes node_memory_Mlocked_bytes
node_memory_NFS_Unstable_bytes node_memory_Percpu_bytes node_memory_Shmem_bytes node_memory_ShmemHugePages_bytes
node_memory_ShmemPmdMapped_bytes node_memory_Unevictable_bytes node_memory_VmallocChunk_bytes
node_memory_VmallocTotal_bytes node_memory_VmallocUsed_bytes node_memory_Writeback_bytes
node_memory_WritebackTmp_bytes
node_disk_reads_completed_total node_disk_reads_merged_total node_disk_read_bytes_total
node_disk_read_time_seconds_total node_disk_writes_completed_total node_disk_writes_merged_total
node_disk_written_bytes_total node_disk_write_time_seconds_total node_disk_io_time_seconds_total
node_disk_io_time_weighted_seconds_total node_disk_discards_completed_total node_disk_discards_merged_total
node_disk_io_now
node_filesystem_size_bytes{mountpoint=/} node_filesystem_avail_bytes{mountpoint=/}
node_filesystem_free_bytes{mountpoint=/} node_filesystem_files{mountpoint=/} node_filesystem_files_free{mountpoint=/}
node_filesystem_readonly{mountpoint=/} node_filesystem_device_error{mountpoint=/}
node_hwmon_chip_names node_hwmon_sensor_label node_hwmon_temp_celsius node_hwmon_temp_crit_celsius
node_hwmon_temp_crit_alarm_celsius node_hwmon_temp_max_celsius node_hwmon_fan_rpm node_hwmon_in_volts
node_network_receive_bytes_total node_network_receive_packets_total node_network_receive_errs_total
node_network_receive_drop_total node_network_receive_fifo_total node_network_receive_frame_total
node_network_receive_compressed_total node_network_receive_multicast_total node_network_receive_nohandler_total
node_network_transmit_bytes_total node_network_transmit_packets_total node_network_transmit_errs_total
node_network_transmit_drop_total node_network_transmit_fifo_total node_network_transmit_colls_total
node_network_transmit_carrier_total node_network_transmit_compressed_total node_network_up{operstate=up}
node_network_carrier node_network_mtu_bytes node_network_speed_bytes node_network_transmit_queue_length
node_netstat_Tcp_CurrEstab node_netstat_Tcp_MaxConn node_netstat_Tcp_InSegs node_netstat_Tcp_OutSegs
node_netstat_Tcp_ActiveOpens node_netstat_Tcp_PassiveOpens node_netstat_Tcp_RetransSegs node_netstat_Tcp_InErrs
node_netstat_Tcp_OutRsts node_netstat_TcpExt_ListenOverflows node_netstat_TcpExt_ListenDrops
node_netstat_TcpExt_TCPSynRetrans node_netstat_TcpExt_SyncookiesFailed node_netstat_TcpExt_SyncookiesRecv
node_netstat_TcpExt_SyncookiesSent node_netstat_TcpExt_TCPTimeouts node_netstat_TcpExt_TCPOFOQueue
node_netstat_TcpExt_TCPRcvQDrop node_netstat_Udp_InDatagrams node_netstat_Udp_OutDatagrams node_netstat_Udp_InErrors
node_netstat_Udp_NoPorts node_netstat_Udp_RcvbufErrors node_netstat_Udp_SndbufErrors node_netstat_UdpLite_InErrors
node_netstat_Icmp_InMsgs node_netstat_Icmp_OutMsgs node_netstat_Icmp_InErrors node_netstat_IpExt_InOctets
node_netstat_IpExt_OutOctets node_netstat_Ip_Forwarding
node_sockstat_sockets_used node_sockstat_TCP_alloc node_sockstat_TCP_inuse node_sockstat_TCP_mem
node_sockstat_TCP_mem_bytes node_sockstat_TCP_orphan node_sockstat_TCP_tw node_sockstat_UDP_inuse
node_sockstat_UDP_mem node_sockstat_UDP_mem_bytes node_sockstat_UDPLITE_inuse node_sockstat_RAW_inuse
node_sockstat_FRAG_inuse node_sockstat_FRAG_memory
node_softnet_processed_total node_softnet_dropped_total node_softnet_times_squeezed_total
node_softnet_received_rps_total node_softnet_flow_limit_count_total
node_vmstat_oom_kill node_vmstat_pgfault node_vmstat_pgmajfault node_vmstat_pgpgin node_vmstat_pgpgout
node_vmstat_pswpin node_vmstat_pswpout
node_pressure_cpu_waiting_seconds_total node_pressure_io_waiting_seconds_total node_pressure_io_stalled_seconds_total
node_pressure_memory_waiting_seconds_total node_pressure_memory_stalled_seconds_total
node_pressure_irq_stalled_seconds_total
node_schedstat_running_seconds_total node_schedstat_waiting_seconds_total node_schedstat_timeslices_total
node_timex_estimated_error_seconds node_timex_frequency_adjustment_ratio node_timex_loop_time_constant
node_timex_maxerror_seconds node_timex_offset_seconds node_timex_sync_status node_timex_tick_seconds
node_timex_tai_offset_seconds
node_load1 node_load5 node_load15 node_boot_time_seconds node_time_seconds node_context_switches_total node_intr_total
node_forks_total node_procs_running node_procs_blocked node_entropy_available_bits node_entropy_pool_size_bits
node_filefd_allocated node_filefd_maximum node_nf_conntrack_entries node_nf_conntrack_entries_limit
node_arp_entries node_power_supply_online node_cooling_device_cur_state node_cooling_device_max_state
node_kernel_hung_tasks_total node_udp_queues{queue=rx} node_udp_queues{queue=tx} node_udp_queues{ip=v4}
node_udp_queues{ip=v6}
node_interrupts_total node_processes_pids node_processes_state node_processes_threads node_processes_max_processes
node_processes_max_threads node_systemd_units{state=active} node_systemd_units{state=activating}
node_systemd_units{state=deactivating} node_systemd_units{state=failed} node_systemd_units{state=inactive}
node_systemd_socket_accepted_connections_total node_systemd_socket_current_connections
node_systemd_socket_refused_connections_total node_tcp_connection_states{state=established}
node_tcp_connection_states{state=time_wait} node_tcp_connection_states{state=fin_wait2}
process_cpu_seconds_total process_open_fds process_max_fds process_virtual_memory_bytes
process_virtual_memory_max_bytes process_resident_memory_bytes
node_uname_info node_scrape_collector_success node_scrape_collector_duration_seconds
node_textfile_scrape_error";

/// How series are put together; `$of` stands for the labels that name one server.
pub(crate) const PUT_TOGETHER: &[&str] = &[
    // Processors and load.
    "100 * (1 - avg(rate(node_cpu_seconds_total{mode=\"idle\",$of}[1m])))",
    "sum by (mode) (irate(node_cpu_seconds_total{$of}[1m])) / scalar(count(count by (cpu) (node_cpu_seconds_total{$of})))",
    "sum by (instance) (irate(node_cpu_guest_seconds_total{mode=\"user\",$of}[1m])) / on (instance) group_left sum by (instance) (irate(node_cpu_seconds_total{$of}[1m]))",
    "scalar(node_load1{$of}) * 100 / count(count by (cpu) (node_cpu_seconds_total{$of}))",
    "avg_over_time(node_load5{$of}[1m])",
    "max_over_time(node_procs_running{$of}[1m])",
    "topk(5, irate(node_interrupts_total{$of}[1m]))",
    "irate(node_schedstat_running_seconds_total{$of}[1m])",
    "irate(node_schedstat_waiting_seconds_total{$of}[1m]) / clamp_min(irate(node_schedstat_timeslices_total{$of}[1m]), 1)",
    "node_cpu_scaling_frequency_hertz{$of} / on (instance, cpu) node_cpu_scaling_frequency_max_hertz{$of}",
    // Memory.
    "(1 - node_memory_MemAvailable_bytes{$of} / node_memory_MemTotal_bytes{$of}) * 100",
    "node_memory_MemTotal_bytes{$of} - node_memory_MemFree_bytes{$of} - (node_memory_Cached_bytes{$of} + node_memory_Buffers_bytes{$of} + node_memory_SReclaimable_bytes{$of})",
    "(node_memory_SwapTotal_bytes{$of} - node_memory_SwapFree_bytes{$of}) / clamp_min(node_memory_SwapTotal_bytes{$of}, 1) * 100",
    "irate(node_vmstat_pgpgin{$of}[1m])",
    "irate(node_vmstat_pgfault{$of}[1m]) - irate(node_vmstat_pgmajfault{$of}[1m])",
    "increase(node_vmstat_oom_kill{$of}[1m])",
    // Filesystems and disks.
    "100 - node_filesystem_avail_bytes{mountpoint=\"/\",fstype!=\"rootfs\",$of} * 100 / node_filesystem_size_bytes{mountpoint=\"/\",fstype!=\"rootfs\",$of}",
    "node_filesystem_files{device!~\"rootfs\",$of} - node_filesystem_files_free{device!~\"rootfs\",$of}",
    "sum(node_filesystem_readonly{device!~\"rootfs\",$of}) or sum(node_filesystem_device_error{$of})",
    "predict_linear(node_filesystem_avail_bytes{fstype!=\"\",$of}[1m], 24 * 3600) < bool 0",
    "irate(node_disk_read_bytes_total{device=~\"[a-z]+|nvme[0-9]+n[0-9]+|mmcblk[0-9]+\",$of}[1m])",
    "irate(node_disk_read_time_seconds_total{device=~\"[a-z]+|nvme[0-9]+n[0-9]+|mmcblk[0-9]+\",$of}[1m]) / irate(node_disk_reads_completed_total{device=~\"[a-z]+|nvme[0-9]+n[0-9]+|mmcblk[0-9]+\",$of}[1m])",
    "irate(node_disk_io_time_weighted_seconds_total{$of}[1m])",
    // Sensors: one row a chip and one a sensor to take the names from.
    "node_hwmon_temp_celsius{$of} * on (chip) group_left (chip_name) node_hwmon_chip_names{$of}",
    "node_hwmon_fan_rpm{$of} * on (chip) group_left (chip_name) node_hwmon_chip_names{$of}",
    "node_hwmon_temp_celsius{$of} * on (chip, sensor) group_left (label) node_hwmon_sensor_label{$of}",
    "node_cooling_device_cur_state{$of} / clamp_min(node_cooling_device_max_state{$of}, 1)",
    // Network.
    "irate(node_network_receive_bytes_total{$of}[1m]) * 8",
    "sum without (device) (rate(node_network_transmit_packets_total{$of}[1m]))",
    "node_network_up{operstate=\"up\",$of}",
    "node_network_speed_bytes{$of} * 8",
    "irate(node_netstat_Tcp_RetransSegs{$of}[1m]) / clamp_min(irate(node_netstat_Tcp_OutSegs{$of}[1m]), 1)",
    "node_nf_conntrack_entries{$of} / node_nf_conntrack_entries_limit{$of}",
    "sum by (ip, queue) (node_udp_queues{$of})",
    "node_tcp_connection_states{state=\"established\",$of}",
    "node_sockstat_TCP_mem_bytes{$of} / on (instance) node_memory_MemTotal_bytes{$of}",
    // The system.
    "node_time_seconds{$of} - node_boot_time_seconds{$of}",
    "time() - node_boot_time_seconds{$of}",
    "rate(node_pressure_cpu_waiting_seconds_total{$of}[1m])",
    "node_filefd_allocated{$of} * 100 / node_filefd_maximum{$of}",
    "abs(node_timex_offset_seconds{$of}) and deriv(node_timex_offset_seconds{$of}[1m]) >= 0",
    "node_processes_pids{$of} / node_processes_max_processes{$of}",
    "sum by (state) (node_processes_state{$of})",
    "irate(node_systemd_socket_accepted_connections_total{$of}[1m])",
    "node_systemd_units{state=\"failed\",$of}",
    "sort_desc(node_scrape_collector_duration_seconds{$of})",
    "min(node_scrape_collector_success{$of})",
    "irate(process_cpu_seconds_total{$of}[1m])",
    "process_open_fds{$of} / process_max_fds{$of}",
    "count(node_uname_info{$of}) unless count(node_uname_info{$of}) > 1",
];

/// Each of [`ASKED`] as a panel asks: a counter's growth, a gauge's number.
pub(crate) fn panels() -> impl Iterator<Item = String> {
    ASKED.split_ascii_whitespace().map(|series| {
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let labels: String = labels
            .trim_end_matches('}')
            .split(',')
            .filter_map(|pair| pair.split_once('='))
            .map(|(label, value)| format!("{label}=\"{value}\","))
            .collect();
        let selected = format!("{name}{{{labels}$of}}");
        if name.ends_with("_total") {
            format!("irate({selected}[1m])")
        } else {
            selected
        }
    })
}
