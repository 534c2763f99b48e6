//! SCSI fields. Names changed between 7.0 and 7.3: `vendor`, `product`, `revision` gained the prefix `scsi_`.

use crate::node::Node;
use crate::report::{BackgroundScan, ErrorCounters, Scsi, ScsiSelfTest, StartStop};

pub(super) fn read(root: &Node<'_>) -> Scsi {
    let counters = root.node_with("scsi_error_counter_log", &["read", "write", "verify"]);
    let row = |which: &str| {
        counters
            .as_ref()
            .and_then(|log| log.node(which))
            .map(|node| read_counters(&node))
    };
    Scsi {
        vendor: root.text("scsi_vendor").or_else(|| root.text("vendor")),
        product: root.text("scsi_product").or_else(|| root.text("product")),
        model_name: root.text("scsi_model_name"),
        revision: root.text("scsi_revision").or_else(|| root.text("revision")),
        version: root.text("scsi_version"),
        logical_unit_id: root.text("logical_unit_id"),
        device_type: root.node("device_type").and_then(|node| node.text("name")),
        transport: root
            .node("scsi_transport_protocol")
            .and_then(|node| node.text("name")),
        grown_defects: root.unsigned("scsi_grown_defect_list"),
        pending_defects: root
            .node("scsi_pending_defects")
            .and_then(|node| node.unsigned("count")),
        percentage_used: root.unsigned("scsi_percentage_used_endurance_indicator"),
        read: row("read"),
        write: row("write"),
        verify: row("verify"),
        non_medium_errors: root
            .node("scsi_error_counter_log")
            .and_then(|log| log.unsigned("non_medium_error_count")),
        start_stop: root
            .node("scsi_start_stop_cycle_counter")
            .map(|node| read_start_stop(&node)),
        drive_trip: root
            .node("scsi_temperature")
            .and_then(|node| node.signed("drive_trip")),
        environment_temperature: root
            .node("scsi_environmental_reports")
            .and_then(|reports| reports.node("temperature_1"))
            .and_then(|report| report.signed("current")),
        self_tests: read_self_tests(root),
        background_scan: root
            .node("scsi_background_scan")
            .and_then(|scan| scan.node("status"))
            .map(|node| read_background_scan(&node)),
    }
}

fn read_counters(node: &Node<'_>) -> ErrorCounters {
    node.expect_one_of(&["total_uncorrected_errors"]);
    ErrorCounters {
        corrected_by_ecc_fast: node.unsigned("errors_corrected_by_eccfast"),
        corrected_by_ecc_delayed: node.unsigned("errors_corrected_by_eccdelayed"),
        corrected_by_retry: node.unsigned("errors_corrected_by_rereads_rewrites"),
        total_corrected: node.unsigned("total_errors_corrected"),
        correction_invocations: node.unsigned("correction_algorithm_invocations"),
        gigabytes_processed: node
            .number("gigabytes_processed")
            .filter(|gigabytes| 0.0 <= *gigabytes),
        total_uncorrected: node.unsigned("total_uncorrected_errors"),
    }
}

fn read_start_stop(node: &Node<'_>) -> StartStop {
    StartStop {
        year_of_manufacture: node.text("year_of_manufacture"),
        week_of_manufacture: node.text("week_of_manufacture"),
        specified_cycles: node.unsigned("specified_cycle_count_over_device_lifetime"),
        accumulated_cycles: node.unsigned("accumulated_start_stop_cycles"),
        specified_load_cycles: node.unsigned("specified_load_unload_count_over_device_lifetime"),
        accumulated_load_cycles: node.unsigned("accumulated_load_unload_cycles"),
    }
}

fn read_background_scan(node: &Node<'_>) -> BackgroundScan {
    // "12.50%": a text, because smartctl prints the rounded share.
    let progress = node.text("scan_progress").and_then(|text| {
        let percent = text.trim_end_matches('%').trim().parse::<f64>().ok();
        if percent.is_none() {
            node.problem(
                "scan_progress",
                format!("expected a percentage, found {text:.20}"),
            );
        }
        percent.filter(|percent| (0.0..=100.0).contains(percent))
    });
    BackgroundScan {
        status: node.unsigned("value"),
        status_text: node.text("string"),
        progress_percent: progress,
        scans: node.unsigned("number_scans_performed"),
        medium_scans: node.unsigned("number_medium_scans_performed"),
    }
}

/// The log is not a list but `scsi_self_test_0` (the newest) to `scsi_self_test_19`.
fn read_self_tests(root: &Node<'_>) -> Vec<ScsiSelfTest> {
    const TESTS_MAX: usize = 20;
    (0..TESTS_MAX)
        .map_while(|index| root.node(&format!("scsi_self_test_{index}")))
        .map(|node| {
            node.expect_one_of(&["result"]);
            let result = node.node_with("result", &["value"]);
            ScsiSelfTest {
                kind: node.node("code").and_then(|code| code.text("string")),
                result: result.as_ref().and_then(|result| result.unsigned("value")),
                result_text: result.as_ref().and_then(|result| result.text("string")),
                power_on_hours: node.node("power_on_time").and_then(|time| time.unsigned("hours")),
            }
        })
        .collect()
}
