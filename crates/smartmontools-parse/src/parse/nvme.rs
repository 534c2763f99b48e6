//! NVMe fields.

use crate::node::Node;
use crate::report::{Nvme, NvmeErrorLog, NvmeHealthLog, NvmeNamespace, NvmeSelfTest};

pub(super) fn read(root: &Node<'_>) -> Nvme {
    let vendor = root.node("nvme_pci_vendor");
    let thresholds = root.node("nvme_composite_temperature_threshold");
    let self_tests = root.node_with("nvme_self_test_log", &["current_self_test_operation", "table"]);
    Nvme {
        pci_vendor_id: vendor.as_ref().and_then(|node| node.unsigned("id")),
        pci_subsystem_id: vendor.as_ref().and_then(|node| node.unsigned("subsystem_id")),
        ieee_oui: root.unsigned("nvme_ieee_oui_identifier"),
        controller_id: root.unsigned("nvme_controller_id"),
        version: root.node("nvme_version").and_then(|node| node.text("string")),
        namespace_count: root.unsigned("nvme_number_of_namespaces"),
        namespaces: root
            .nodes("nvme_namespaces")
            .iter()
            .filter_map(read_namespace)
            .collect(),
        total_capacity_bytes: root.unsigned("nvme_total_capacity"),
        unallocated_capacity_bytes: root.unsigned("nvme_unallocated_capacity"),
        health: root
            .node("nvme_smart_health_information_log")
            .map(|node| read_health(&node)),
        warning_temperature: thresholds.as_ref().and_then(|node| node.signed("warning")),
        critical_temperature: thresholds.as_ref().and_then(|node| node.signed("critical")),
        error_log: root.node("nvme_error_information_log").map(|node| NvmeErrorLog {
            size: node.unsigned("size"),
            read: node.unsigned("read"),
            unread: node.unsigned("unread"),
        }),
        self_tests: self_tests
            .as_ref()
            .map(|node| node.nodes("table").iter().map(read_self_test).collect())
            .unwrap_or_default(),
        self_test_completion_percent: self_tests
            .as_ref()
            .and_then(|node| node.unsigned("current_self_test_completion_percent")),
        self_test_running: self_tests
            .and_then(|node| node.node("current_self_test_operation"))
            .and_then(|node| node.unsigned("value")),
    }
}

fn read_namespace(node: &Node<'_>) -> Option<NvmeNamespace> {
    let bytes = |key: &str| node.node(key).and_then(|amount| amount.unsigned("bytes"));
    let eui64 = node
        .node("eui64")
        .and_then(|eui| Some((eui.unsigned("oui")?, eui.unsigned("ext_id")?)));
    Some(NvmeNamespace {
        id: node.unsigned("id")?,
        size_bytes: bytes("size"),
        capacity_bytes: bytes("capacity"),
        utilization_bytes: bytes("utilization"),
        lba_bytes: node.unsigned("formatted_lba_size"),
        eui64: eui64
            .filter(|(oui, extension)| *oui < 1 << 24 && *extension < 1 << 40 && (*oui, *extension) != (0, 0))
            .map(|(oui, extension)| format!("{oui:06x}{extension:010x}")),
    })
}

fn read_health(node: &Node<'_>) -> NvmeHealthLog {
    node.expect_one_of(&["critical_warning"]);
    NvmeHealthLog {
        critical_warning: node.unsigned("critical_warning"),
        temperature: node.signed("temperature"),
        available_spare: node.unsigned("available_spare"),
        available_spare_threshold: node.unsigned("available_spare_threshold"),
        percentage_used: node.unsigned("percentage_used"),
        data_units_read: node.unsigned("data_units_read"),
        data_units_written: node.unsigned("data_units_written"),
        host_reads: node.unsigned("host_reads"),
        host_writes: node.unsigned("host_writes"),
        controller_busy_minutes: node.unsigned("controller_busy_time"),
        power_cycles: node.unsigned("power_cycles"),
        power_on_hours: node.unsigned("power_on_hours"),
        unsafe_shutdowns: node.unsigned("unsafe_shutdowns"),
        media_errors: node.unsigned("media_errors"),
        error_log_entries: node.unsigned("num_err_log_entries"),
        warning_temperature_minutes: node.unsigned("warning_temp_time"),
        critical_temperature_minutes: node.unsigned("critical_comp_time"),
        temperature_sensors: node.numbers("temperature_sensors"),
    }
}

fn read_self_test(node: &Node<'_>) -> NvmeSelfTest {
    node.expect_one_of(&["self_test_result"]);
    let result = node.node_with("self_test_result", &["value"]);
    NvmeSelfTest {
        kind: node.node("self_test_code").and_then(|code| code.text("string")),
        result: result.as_ref().and_then(|result| result.unsigned("value")),
        result_text: result.as_ref().and_then(|result| result.text("string")),
        power_on_hours: node.unsigned("power_on_hours"),
    }
}
