//! What an engine says that a container uses: for containers whose control groups cannot be seen from here.

use muster_catalogue::*;
use serde_json::Value;

use super::usage::Usage;

/// Takes apart what `GET /containers/{id}/stats` says.
pub(super) fn usage(group: String, stats: &Value) -> Usage {
    let number = |pointer: &str| stats.pointer(pointer).and_then(Value::as_f64);
    let seconds = |pointer: &str| number(pointer).map(|ns| ns / 1e9);
    let mut usage = Usage {
        group,
        ..Usage::default()
    };
    let cpu = seconds("/cpu_stats/cpu_usage/total_usage");
    usage.add_with(CONTAINER_CPU_USAGE_SECONDS_TOTAL, &[("cpu", "total")], cpu);
    let used = number("/memory_stats/usage");
    // Named by the version of the server's control groups.
    let of = |first: &str, second: &str| {
        number(&format!("/memory_stats/stats/total_{first}"))
            .or_else(|| number(&format!("/memory_stats/stats/{second}")))
    };
    let working_set = used.map(|used| (used - of("inactive_file", "inactive_file").unwrap_or(0.0)).max(0.0));
    let samples = [
        (
            CONTAINER_CPU_USER_SECONDS_TOTAL,
            seconds("/cpu_stats/cpu_usage/usage_in_usermode"),
        ),
        (
            CONTAINER_CPU_SYSTEM_SECONDS_TOTAL,
            seconds("/cpu_stats/cpu_usage/usage_in_kernelmode"),
        ),
        (CONTAINER_MEMORY_USAGE_BYTES, used),
        (CONTAINER_MEMORY_WORKING_SET_BYTES, working_set),
        (CONTAINER_MEMORY_RSS, of("rss", "anon")),
        (CONTAINER_MEMORY_CACHE, of("cache", "file")),
        (CONTAINER_THREADS, number("/pids_stats/current")),
    ];
    for (metric, value) in samples {
        usage.add_with(metric, &[], value);
    }
    for (interface, found) in stats
        .get("networks")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        let labels = [("interface", interface.as_str())];
        for (metric, name) in [
            (CONTAINER_NETWORK_RECEIVE_BYTES_TOTAL, "rx_bytes"),
            (CONTAINER_NETWORK_RECEIVE_PACKETS_TOTAL, "rx_packets"),
            (CONTAINER_NETWORK_TRANSMIT_BYTES_TOTAL, "tx_bytes"),
            (CONTAINER_NETWORK_TRANSMIT_PACKETS_TOTAL, "tx_packets"),
        ] {
            usage.add_with(metric, &labels, found.get(name).and_then(Value::as_f64));
        }
    }
    usage
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_engine_measured_becomes_the_same_series() {
        let stats = serde_json::json!({
            "cpu_stats": {"cpu_usage": {"total_usage": 2_500_000_000_u64}},
            "memory_stats": {"usage": 100, "stats": {"inactive_file": 30, "anon": 60}},
            "networks": {"eth0": {"rx_bytes": 7, "tx_bytes": 8}},
        });
        let usage = usage("/x".to_owned(), &stats);
        let value = |name: &str| {
            let mut found = usage
                .readings
                .iter()
                .filter(|reading| reading.metric.name == name);
            found.next().map(|reading| reading.value)
        };
        assert_eq!(value("container_cpu_usage_seconds_total"), Some(2.5));
        assert_eq!(value("container_memory_working_set_bytes"), Some(70.0));
        assert_eq!(value("container_memory_rss"), Some(60.0));
        assert_eq!(value("container_network_receive_bytes_total"), Some(7.0));
        // What it did not say is not zero.
        assert_eq!(value("container_memory_cache"), None);
    }
}
