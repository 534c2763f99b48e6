//! A report as the series of smartctl_exporter.
//!
//! Names, labels and types are that exporter's, with one change on purpose: `smartctl_device_temperature` has only the
//! temperature now, and the drive's limits have a name of their own, because dashboards average over all of them.

use muster_catalogue::{
    MUSTER_DEVICE_WEAR_USED_PERCENT, MUSTER_SMART_TEMPERATURE_LIMIT_CELSIUS, Metric, SMARTCTL_DEVICE,
    SMARTCTL_DEVICE_ATTRIBUTE, SMARTCTL_DEVICE_AVAILABLE_SPARE, SMARTCTL_DEVICE_AVAILABLE_SPARE_THRESHOLD,
    SMARTCTL_DEVICE_BLOCK_SIZE, SMARTCTL_DEVICE_BYTES_READ, SMARTCTL_DEVICE_BYTES_WRITTEN,
    SMARTCTL_DEVICE_CAPACITY_BLOCKS, SMARTCTL_DEVICE_CAPACITY_BYTES, SMARTCTL_DEVICE_CRITICAL_WARNING,
    SMARTCTL_DEVICE_ERC_SECONDS, SMARTCTL_DEVICE_ERROR_LOG_COUNT, SMARTCTL_DEVICE_INTERFACE_SPEED,
    SMARTCTL_DEVICE_MEDIA_ERRORS, SMARTCTL_DEVICE_NUM_ERR_LOG_ENTRIES, SMARTCTL_DEVICE_NVME_CAPACITY_BYTES,
    SMARTCTL_DEVICE_PERCENTAGE_USED, SMARTCTL_DEVICE_POWER_CYCLE_COUNT, SMARTCTL_DEVICE_POWER_ON_SECONDS,
    SMARTCTL_DEVICE_ROTATION_RATE, SMARTCTL_DEVICE_SELF_TEST_LOG_COUNT,
    SMARTCTL_DEVICE_SELF_TEST_LOG_ERROR_COUNT, SMARTCTL_DEVICE_SMART_STATUS, SMARTCTL_DEVICE_STATE,
    SMARTCTL_DEVICE_STATISTICS, SMARTCTL_DEVICE_TEMPERATURE, SMARTCTL_READ_ERRORS_CORRECTED_BY_ECCDELAYED,
    SMARTCTL_READ_ERRORS_CORRECTED_BY_ECCFAST, SMARTCTL_READ_ERRORS_CORRECTED_BY_REREADS_REWRITES,
    SMARTCTL_READ_TOTAL_UNCORRECTED_ERRORS, SMARTCTL_SCSI_GROWN_DEFECT_LIST, SMARTCTL_VERSION,
    SMARTCTL_WRITE_ERRORS_CORRECTED_BY_ECCDELAYED, SMARTCTL_WRITE_ERRORS_CORRECTED_BY_ECCFAST,
    SMARTCTL_WRITE_ERRORS_CORRECTED_BY_REREADS_REWRITES, SMARTCTL_WRITE_TOTAL_UNCORRECTED_ERRORS,
};
use muster_model::ResourceKey;
use smartmontools_parse::Report;
use smartmontools_parse::report::{AttributeFlags, ErrorCounters, Smartctl};

use crate::collect::draft::Draft;

/// The program's version.
pub(super) fn version(draft: &mut Draft, (smartctl, format): &(Smartctl, Option<(u32, u32)>)) {
    let dotted = |version: &Option<(u32, u32)>| {
        version
            .map(|(major, minor)| format!("{major}.{minor}"))
            .unwrap_or_default()
    };
    let labels = [
        ("json_format_version", dotted(format)),
        ("smartctl_version", dotted(&smartctl.version)),
        ("svn_revision", smartctl.svn_revision.clone().unwrap_or_default()),
        ("build_info", smartctl.build_info.clone().unwrap_or_default()),
    ];
    let labels = labels.each_ref().map(|(name, value)| (*name, value.as_str()));
    draft.sample(&SMARTCTL_VERSION, &labels, 1.0);
}

/// Series of one drive.
struct Series<'a> {
    draft: &'a mut Draft,
    device: &'a str,
    key: &'a ResourceKey,
}

impl Series<'_> {
    fn add(&mut self, metric: &Metric, labels: &[(&'static str, &str)], value: Option<f64>) {
        let Some(value) = value else { return };
        let mut all = vec![("device", self.device)];
        all.extend_from_slice(labels);
        self.draft.sample_of(Some(self.key), metric, &all, value);
    }

    fn count(&mut self, metric: &Metric, value: Option<u64>) {
        self.add(metric, &[], value.map(|value| value as f64));
    }
}

/// Every series of a drive but its exit status.
pub(super) fn drive(draft: &mut Draft, device: &str, report: &Report, key: &ResourceKey) {
    // A run that read nothing has no series to give: those of before end.
    if report
        .smartctl
        .exit_status
        .is_some_and(|status| status.nothing_read())
    {
        return;
    }
    let mut series = Series { draft, device, key };
    identity(&mut series, report);
    sizes(&mut series, report);
    state(&mut series, report);
    attributes(&mut series, report);
    statistics(&mut series, report);
    logs(&mut series, report);
    nvme(&mut series, report);
    scsi(&mut series, report);
}

fn identity(series: &mut Series<'_>, report: &Report) {
    fn text(value: Option<&String>) -> &str {
        value.map_or("", String::as_str)
    }
    let or_unknown = |value: Option<&String>| value.cloned().unwrap_or_else(|| "unknown".to_owned());
    let family = or_unknown(report.model_family.as_ref());
    let product_id = or_unknown(report.ata.additional_product_id.as_ref());
    let model = report.model_name.as_ref().or(report.scsi.model_name.as_ref());
    let labels = [
        ("interface", text(report.device.kind.as_ref())),
        ("protocol", text(report.device.protocol.as_ref())),
        ("model_family", family.as_str()),
        ("model_name", text(model)),
        ("serial_number", text(report.serial_number.as_ref())),
        ("ata_additional_product_id", product_id.as_str()),
        ("firmware_version", text(report.firmware_version.as_ref())),
        ("ata_version", text(report.ata.version.as_ref())),
        ("sata_version", text(report.ata.sata_version.as_ref())),
        ("form_factor", text(report.form_factor.as_ref())),
        ("scsi_vendor", text(report.scsi.vendor.as_ref())),
        ("scsi_product", text(report.scsi.product.as_ref())),
        ("scsi_revision", text(report.scsi.revision.as_ref())),
        ("scsi_version", text(report.scsi.version.as_ref())),
    ];
    series.add(&SMARTCTL_DEVICE, &labels, Some(1.0));
}

fn sizes(series: &mut Series<'_>, report: &Report) {
    // An NVMe drive with several namespaces has no capacity of its own: the exporter gives 0.
    let or_zero = |value: Option<u64>| value.or_else(|| report.is_nvme().then_some(0));
    series.count(&SMARTCTL_DEVICE_CAPACITY_BYTES, or_zero(report.capacity_bytes));
    series.count(&SMARTCTL_DEVICE_CAPACITY_BLOCKS, or_zero(report.capacity_blocks));
    series.count(
        &SMARTCTL_DEVICE_NVME_CAPACITY_BYTES,
        report.nvme.total_capacity_bytes,
    );
    for (blocks, bytes) in [
        ("logical", report.logical_block_bytes),
        ("physical", report.physical_block_bytes),
    ] {
        let value = bytes.map(|bytes| bytes as f64);
        series.add(&SMARTCTL_DEVICE_BLOCK_SIZE, &[("blocks_type", blocks)], value);
    }
    let speeds = [
        ("max", &report.ata.interface_speed_max),
        ("current", &report.ata.interface_speed_current),
    ];
    for (kind, speed) in speeds {
        let value = speed
            .as_ref()
            .and_then(|speed| speed.bits_per_second)
            .map(|bits| bits as f64);
        series.add(&SMARTCTL_DEVICE_INTERFACE_SPEED, &[("speed_type", kind)], value);
    }
}

fn state(series: &mut Series<'_>, report: &Report) {
    let on = report
        .power_on_time
        .and_then(|time| Some(time.hours? * 3600 + time.minutes.unwrap_or(0) * 60));
    series.count(
        &SMARTCTL_DEVICE_POWER_ON_SECONDS,
        on.filter(|_| report.power_on_hours().is_some()),
    );
    series.count(
        &SMARTCTL_DEVICE_ROTATION_RATE,
        report.rotation_rate.filter(|rate| 0 < *rate),
    );
    series.count(&SMARTCTL_DEVICE_POWER_CYCLE_COUNT, report.power_cycles());
    // Under one name for all kinds of drives, so that one question asks for the wear of a fleet.
    series.add(&MUSTER_DEVICE_WEAR_USED_PERCENT, &[], report.wear_level_percent());
    let celsius = report.temperature_celsius().map(|celsius| celsius as f64);
    series.add(
        &SMARTCTL_DEVICE_TEMPERATURE,
        &[("temperature_type", "current")],
        celsius,
    );
    let limits = [
        ("op_limit_max", report.temperature.op_limit_max),
        ("limit_max", report.temperature.limit_max),
        (
            "critical_limit_max",
            report
                .temperature
                .critical_limit_max
                .or(report.nvme.critical_temperature),
        ),
        ("warning", report.nvme.warning_temperature),
        // 0 means that the limit is not set.
        (
            "drive_trip",
            report
                .temperature
                .drive_trip
                .or(report.scsi.drive_trip)
                .filter(|celsius| *celsius != 0),
        ),
    ];
    for (limit, celsius) in limits {
        let value = celsius.map(|celsius| celsius as f64);
        series.add(
            &MUSTER_SMART_TEMPERATURE_LIMIT_CELSIUS,
            &[("limit", limit)],
            value,
        );
    }
    let passed = report.smart_status.as_ref().and_then(|status| status.passed);
    series.add(
        &SMARTCTL_DEVICE_SMART_STATUS,
        &[],
        passed.map(|passed| if passed { 1.0 } else { 0.0 }),
    );
    series.count(
        &SMARTCTL_DEVICE_STATE,
        report.ata.sct_status.as_ref().and_then(|status| status.state),
    );
}

fn attributes(series: &mut Series<'_>, report: &Report) {
    for attribute in &report.ata.attributes {
        let id = attribute.id.to_string();
        let long = flags_long(&attribute.flags);
        let short = attribute.flags.text.as_deref().unwrap_or_default().trim();
        let values = [
            ("value", attribute.value.map(f64::from)),
            ("worst", attribute.worst.map(f64::from)),
            ("thresh", attribute.thresh.map(f64::from)),
            ("raw", attribute.raw_value.map(|raw| raw as f64)),
        ];
        for (kind, value) in values {
            let labels = [
                ("attribute_name", attribute.name.as_str()),
                ("attribute_flags_short", short),
                ("attribute_flags_long", long.as_str()),
                ("attribute_value_type", kind),
                ("attribute_id", id.as_str()),
            ];
            series.add(&SMARTCTL_DEVICE_ATTRIBUTE, &labels, value);
        }
    }
}

fn flags_long(flags: &AttributeFlags) -> String {
    let named = [
        (flags.prefailure, "prefailure"),
        (flags.updated_online, "updated_online"),
        (flags.performance, "performance"),
        (flags.error_rate, "error_rate"),
        (flags.event_count, "event_count"),
        (flags.auto_keep, "auto_keep"),
    ];
    named
        .iter()
        .filter(|(is_set, _)| *is_set)
        .map(|(_, name)| *name)
        .collect::<Vec<_>>()
        .join(",")
}

fn statistics(series: &mut Series<'_>, report: &Report) {
    const VENDOR_PAGE: u64 = 255;
    let pages = report
        .ata
        .statistics
        .iter()
        .filter(|page| page.number != VENDOR_PAGE);
    for (page, entry) in pages.flat_map(|page| page.entries.iter().map(move |entry| (page, entry))) {
        let short = entry.flags.as_deref().unwrap_or_default().trim();
        let labels = [
            ("statistic_table", page.name.as_deref().unwrap_or_default()),
            ("statistic_name", entry.name.as_deref().unwrap_or_default()),
            ("statistic_flags_short", short),
            ("statistic_flags_long", &statistic_flags_long(short)),
        ];
        series.add(
            &SMARTCTL_DEVICE_STATISTICS,
            &labels,
            entry.value.map(|value| value as f64),
        );
    }
    for event in &report.ata.phy_events {
        let labels = [
            ("statistic_table", "SATA PHY Event Counters"),
            ("statistic_name", event.name.as_deref().unwrap_or_default()),
            ("statistic_flags_short", "V---"),
            ("statistic_flags_long", "valid"),
        ];
        series.add(
            &SMARTCTL_DEVICE_STATISTICS,
            &labels,
            event.value.map(|value| value as f64),
        );
    }
}

/// The letters of `VNDC` in words.
fn statistic_flags_long(short: &str) -> String {
    const WORDS: [(char, &str); 4] = [
        ('V', "valid"),
        ('N', "normalized"),
        ('D', "supports_dsn"),
        ('C', "monitored_condition_met"),
    ];
    let set = WORDS.iter().filter(|(letter, _)| short.contains(*letter));
    set.map(|(_, word)| *word).collect::<Vec<_>>().join(",")
}

fn logs(series: &mut Series<'_>, report: &Report) {
    for log in &report.ata.error_logs {
        let value = log.count.map(|count| count as f64);
        series.add(
            &SMARTCTL_DEVICE_ERROR_LOG_COUNT,
            &[("error_log_type", &log.kind)],
            value,
        );
    }
    for log in &report.ata.self_test_logs {
        let labels = [("self_test_log_type", log.kind.as_str())];
        series.add(
            &SMARTCTL_DEVICE_SELF_TEST_LOG_COUNT,
            &labels,
            log.count.map(|count| count as f64),
        );
        let errors = log.error_count.map(|count| count as f64);
        series.add(&SMARTCTL_DEVICE_SELF_TEST_LOG_ERROR_COUNT, &labels, errors);
    }
    let Some(erc) = report.ata.sct_erc else { return };
    for (operation, deciseconds) in [("read", erc.read_deciseconds), ("write", erc.write_deciseconds)] {
        let seconds = deciseconds.map(|tenths| tenths as f64 / 10.0);
        series.add(&SMARTCTL_DEVICE_ERC_SECONDS, &[("op_type", operation)], seconds);
    }
}

fn nvme(series: &mut Series<'_>, report: &Report) {
    let Some(health) = &report.nvme.health else { return };
    series.count(&SMARTCTL_DEVICE_PERCENTAGE_USED, health.percentage_used);
    series.count(&SMARTCTL_DEVICE_AVAILABLE_SPARE, health.available_spare);
    series.count(
        &SMARTCTL_DEVICE_AVAILABLE_SPARE_THRESHOLD,
        health.available_spare_threshold,
    );
    series.count(&SMARTCTL_DEVICE_CRITICAL_WARNING, health.critical_warning);
    series.count(&SMARTCTL_DEVICE_MEDIA_ERRORS, health.media_errors);
    series.count(&SMARTCTL_DEVICE_NUM_ERR_LOG_ENTRIES, health.error_log_entries);
    const UNIT_BYTES: u64 = 512_000;
    let bytes = |units: Option<u64>| units.map(|units| units.saturating_mul(UNIT_BYTES));
    series.count(&SMARTCTL_DEVICE_BYTES_READ, bytes(health.data_units_read));
    series.count(&SMARTCTL_DEVICE_BYTES_WRITTEN, bytes(health.data_units_written));
}

fn scsi(series: &mut Series<'_>, report: &Report) {
    series.count(&SMARTCTL_SCSI_GROWN_DEFECT_LIST, report.scsi.grown_defects);
    const GIGABYTE: f64 = 1e9;
    if let Some(read) = &report.scsi.read {
        series.add(
            &SMARTCTL_DEVICE_BYTES_READ,
            &[],
            read.gigabytes_processed.map(|count| count * GIGABYTE),
        );
        let metrics = [
            &SMARTCTL_READ_ERRORS_CORRECTED_BY_REREADS_REWRITES,
            &SMARTCTL_READ_ERRORS_CORRECTED_BY_ECCFAST,
            &SMARTCTL_READ_ERRORS_CORRECTED_BY_ECCDELAYED,
            &SMARTCTL_READ_TOTAL_UNCORRECTED_ERRORS,
        ];
        error_counters(series, read, metrics);
    }
    if let Some(write) = &report.scsi.write {
        series.add(
            &SMARTCTL_DEVICE_BYTES_WRITTEN,
            &[],
            write.gigabytes_processed.map(|count| count * GIGABYTE),
        );
        let metrics = [
            &SMARTCTL_WRITE_ERRORS_CORRECTED_BY_REREADS_REWRITES,
            &SMARTCTL_WRITE_ERRORS_CORRECTED_BY_ECCFAST,
            &SMARTCTL_WRITE_ERRORS_CORRECTED_BY_ECCDELAYED,
            &SMARTCTL_WRITE_TOTAL_UNCORRECTED_ERRORS,
        ];
        error_counters(series, write, metrics);
    }
}

fn error_counters(series: &mut Series<'_>, counters: &ErrorCounters, metrics: [&Metric; 4]) {
    let values = [
        counters.corrected_by_retry,
        counters.corrected_by_ecc_fast,
        counters.corrected_by_ecc_delayed,
        counters.total_uncorrected,
    ];
    for (metric, value) in metrics.into_iter().zip(values) {
        series.count(metric, value);
    }
}
