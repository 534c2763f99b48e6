//! ATA fields.

use crate::node::Node;
use crate::report::{
    Ata, Attribute, AttributeFlags, ErrorLog, ErrorLogEntry, InterfaceSpeed, PhyEvent, SctErc, SctStatus,
    SelfTest, SelfTestLog, SelfTestStatus, Statistic, StatisticsPage,
};

pub(super) fn read(root: &Node<'_>) -> Ata {
    let speed = root.node("interface_speed");
    let speed = |which: &str| {
        speed
            .as_ref()
            .and_then(|node| node.node(which))
            .map(|node| read_speed(&node))
    };
    let table = |node: Node<'_>| {
        node.expect_one_of(&["table", "revision"]);
        node.nodes("table").iter().filter_map(read_attribute).collect()
    };
    let phy_events = root
        .node("sata_phy_event_counters")
        .map(|node| node.nodes("table"))
        .unwrap_or_default();
    let statistics = |node: Node<'_>| {
        node.expect_one_of(&["pages", "supported_pages"]);
        node.nodes("pages")
            .iter()
            .filter_map(read_statistics_page)
            .collect()
    };
    Ata {
        additional_product_id: root.text("ata_additional_product_id"),
        version: root.node("ata_version").and_then(|node| node.text("string")),
        sata_version: root.node("sata_version").and_then(|node| node.text("string")),
        interface_speed_max: speed("max"),
        interface_speed_current: speed("current"),
        attributes: root.node("ata_smart_attributes").map(table).unwrap_or_default(),
        error_logs: read_error_logs(root),
        self_test_logs: read_self_test_logs(root),
        self_test_status: root
            .node("ata_smart_data")
            .and_then(|node| node.node("self_test"))
            .and_then(|node| node.node("status"))
            .map(|node| read_self_test_status(&node)),
        sct_status: root.node("ata_sct_status").map(|node| read_sct_status(&node)),
        sct_erc: root.node("ata_sct_erc").map(|node| read_sct_erc(&node)),
        statistics: root
            .node("ata_device_statistics")
            .map(statistics)
            .unwrap_or_default(),
        pending_defects: root
            .node("ata_pending_defects_log")
            .and_then(|node| node.unsigned("count")),
        phy_events: phy_events.iter().filter_map(read_phy_event).collect(),
    }
}

fn read_speed(node: &Node<'_>) -> InterfaceSpeed {
    let units = node.unsigned("units_per_second");
    let bits = node.unsigned("bits_per_unit");
    InterfaceSpeed {
        text: node.text("string"),
        bits_per_second: units.zip(bits).map(|(units, bits)| units.saturating_mul(bits)),
    }
}

fn read_attribute(node: &Node<'_>) -> Option<Attribute> {
    node.expect_one_of(&["id"]);
    let raw = node.node("raw");
    let when_failed = node.text("when_failed");
    if let Some(when) = when_failed
        .as_deref()
        .filter(|when| !matches!(*when, "now" | "past"))
    {
        node.problem("when_failed", format!("expected now or past, found {when:.20}"));
    }
    Some(Attribute {
        id: byte(node, "id")?,
        name: node
            .text("name")
            .unwrap_or_else(|| "Unknown_Attribute".to_owned()),
        value: byte(node, "value"),
        worst: byte(node, "worst"),
        thresh: byte(node, "thresh"),
        when_failed,
        flags: node
            .node("flags")
            .map(|flags| read_flags(&flags))
            .unwrap_or_default(),
        raw_value: raw.as_ref().and_then(|raw| raw.unsigned("value")),
        raw_string: raw.as_ref().and_then(|raw| raw.text("string")),
    })
}

fn byte(node: &Node<'_>, key: &str) -> Option<u8> {
    let number = node.unsigned(key)?;
    let byte = u8::try_from(number).ok();
    if byte.is_none() {
        node.problem(key, format!("expected at most 255, found {number}"));
    }
    byte
}

fn read_flags(node: &Node<'_>) -> AttributeFlags {
    let flag = |key| node.flag(key).unwrap_or(false);
    AttributeFlags {
        value: node.unsigned("value"),
        text: node.text("string"),
        prefailure: flag("prefailure"),
        updated_online: flag("updated_online"),
        performance: flag("performance"),
        error_rate: flag("error_rate"),
        event_count: flag("event_count"),
        auto_keep: flag("auto_keep"),
    }
}

fn read_error_logs(root: &Node<'_>) -> Vec<ErrorLog> {
    let Some(logs) = root.node("ata_smart_error_log") else {
        return Vec::new();
    };
    logs.expect_one_of(&["summary", "extended"]);
    let read_entry = |entry: &Node<'_>| {
        entry.expect_one_of(&["error_number", "lifetime_hours"]);
        ErrorLogEntry {
            number: entry.unsigned("error_number"),
            lifetime_hours: entry.unsigned("lifetime_hours"),
            description: entry.text("error_description"),
        }
    };
    let read_log = |kind: &str| {
        let log = logs.node(kind)?;
        log.expect_one_of(&["count", "table"]);
        let entries = log.nodes("table").iter().map(read_entry).collect();
        Some(ErrorLog {
            kind: kind.to_owned(),
            count: log.unsigned("count"),
            entries,
        })
    };
    ["summary", "extended"].into_iter().filter_map(read_log).collect()
}

fn read_self_test_logs(root: &Node<'_>) -> Vec<SelfTestLog> {
    let Some(logs) = root.node("ata_smart_self_test_log") else {
        return Vec::new();
    };
    logs.expect_one_of(&["standard", "extended"]);
    let read_log = |kind: &str| {
        let log = logs.node(kind)?;
        log.expect_one_of(&["count", "table"]);
        Some(SelfTestLog {
            kind: kind.to_owned(),
            count: log.unsigned("count"),
            error_count: log.unsigned("error_count_total"),
            error_count_outdated: log.unsigned("error_count_outdated"),
            tests: log.nodes("table").iter().map(read_self_test).collect(),
        })
    };
    ["standard", "extended"]
        .into_iter()
        .filter_map(read_log)
        .collect()
}

fn read_self_test(node: &Node<'_>) -> SelfTest {
    node.expect_one_of(&["status"]);
    SelfTest {
        kind: node.node("type").and_then(|kind| kind.text("string")),
        status: node
            .node("status")
            .map(|status| read_self_test_status(&status))
            .unwrap_or_default(),
        lifetime_hours: node.unsigned("lifetime_hours"),
        lba: node.unsigned("lba"),
    }
}

fn read_self_test_status(node: &Node<'_>) -> SelfTestStatus {
    node.expect_one_of(&["value", "passed"]);
    SelfTestStatus {
        value: byte(node, "value"),
        text: node.text("string"),
        passed: node.flag("passed"),
        remaining_percent: node.unsigned("remaining_percent"),
    }
}

fn read_sct_status(node: &Node<'_>) -> SctStatus {
    let state = node.node("device_state");
    SctStatus {
        state: state.as_ref().and_then(|state| state.unsigned("value")),
        state_text: state.as_ref().and_then(|state| state.text("string")),
        over_limit_count: node
            .node("temperature")
            .and_then(|node| node.unsigned("over_limit_count")),
    }
}

fn read_sct_erc(node: &Node<'_>) -> SctErc {
    let limit = |which: &str| node.node(which).and_then(|limit| limit.unsigned("deciseconds"));
    SctErc {
        read_deciseconds: limit("read"),
        write_deciseconds: limit("write"),
    }
}

fn read_statistics_page(node: &Node<'_>) -> Option<StatisticsPage> {
    node.expect_one_of(&["number"]);
    let number = node.unsigned("number")?;
    let entries = node
        .nodes("table")
        .iter()
        .filter_map(|entry| read_statistic(entry, number))
        .collect();
    Some(StatisticsPage {
        number,
        name: node.text("name"),
        entries,
    })
}

fn read_statistic(node: &Node<'_>, page: u64) -> Option<Statistic> {
    const VENDOR_PAGE: u64 = 255;
    node.expect_one_of(&["offset"]);
    let flags = node.node_with("flags", &["valid"]);
    Some(Statistic {
        offset: node.unsigned("offset")?,
        name: node.text("name"),
        // Vendors fill all 64 bits with whatever they like.
        value: if page == VENDOR_PAGE {
            None
        } else {
            statistic_value(node)
        },
        flags: flags.as_ref().and_then(|flags| flags.text("string")),
        is_valid: flags
            .as_ref()
            .and_then(|flags| flags.flag("valid"))
            .unwrap_or(false),
    })
}

/// A value that fills all 64 bits is "unset", not a count.
fn statistic_value(node: &Node<'_>) -> Option<i64> {
    node.value("value")
        .filter(|value| !value.is_u64() || value.is_i64())?;
    node.signed("value")
}

fn read_phy_event(node: &Node<'_>) -> Option<PhyEvent> {
    Some(PhyEvent {
        id: node.unsigned("id")?,
        name: node.text("name"),
        value: node.unsigned("value"),
    })
}
