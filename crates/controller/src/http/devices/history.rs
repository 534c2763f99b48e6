//! The history of a disk: how it wears, and how warm it has been.

use std::collections::BTreeMap;

use muster_samples::{MatchOp, Matcher, NAME_LABEL};
use smartmontools_parse::trend::{self, TemperatureTrend, WearOut};

use crate::app::resources::ResourceView;
use crate::app::series::RangeQuery;
use crate::http::HttpState;
use crate::http::error::Problem;

const DAY_MS: i64 = 86_400_000;
/// How far back wear is looked at, and how far apart the points are.
const WEAR: (i64, i64) = (400 * DAY_MS, DAY_MS / 2);
/// The same of temperature.
const TEMPERATURE: (i64, i64) = (30 * DAY_MS, DAY_MS / 24);
/// And of its other figures.
const ATTRIBUTES: (i64, i64) = (30 * DAY_MS, DAY_MS / 4);

/// What the history of a disk comes to.
#[derive(Debug)]
pub(in crate::http) struct Trend {
    /// Endurance used, percent, over at most 400 days.
    pub(in crate::http) wear: Vec<(i64, f64)>,
    /// When all of it will be used.
    pub(in crate::http) wear_out: WearOut,
    /// How warm it was in the last 30 days.
    pub(in crate::http) temperature: Option<TemperatureTrend>,
    /// The readings that this rests on, °C.
    pub(in crate::http) celsius: Vec<(i64, f64)>,
}

/// One of a disk's own figures over the last 30 days.
#[derive(Debug)]
pub(in crate::http) struct AttributeHistory {
    /// What the disk or smartctl calls it.
    pub(in crate::http) name: String,
    /// Unix milliseconds and raw values.
    pub(in crate::http) points: Vec<(i64, f64)>,
}

/// Figures that are metrics of their own.
const FIGURES: &str = "smartctl_device_(attribute|available_spare|critical_warning|error_log_count|media_errors|\
                       num_err_log_entries|percentage_used|power_cycle_count|self_test_log_error_count)|\
                       smartctl_scsi_grown_defect_list|smartctl_(read|write)_total_uncorrected_errors";
/// Most figures of a disk that are read.
const FIGURES_MAX: usize = 64;

/// Reads how a disk's own figures went over the last 30 days, in the order of their numbers or names.
pub(in crate::http) async fn attributes(
    state: &HttpState,
    device: &ResourceView,
) -> Result<Vec<AttributeHistory>, Problem> {
    let (span_ms, step_ms) = ATTRIBUTES;
    let now_ms = state.app.clock().now_ms();
    // On round times, so that the points do not move with now.
    let end_ms = now_ms - now_ms.rem_euclid(step_ms);
    let matcher =
        Matcher::new(NAME_LABEL, MatchOp::Re, FIGURES).map_err(|error| Problem::internal(&error))?;
    let query = RangeQuery {
        matchers: vec![matcher],
        resource: Some(device.id),
        start_ms: end_ms - span_ms,
        end_ms,
        step_ms: Some(step_ms),
    };
    let names = state.app.server_names().await?;
    let range = state.series.range(names, query).await?;
    let mut found: BTreeMap<(u32, String), Vec<(i64, f64)>> = BTreeMap::new();
    for series in range.series {
        let label = |wanted: &str| {
            let found = series.labels.iter().find(|(name, _)| name == wanted);
            found.map(|(_, value)| value.as_str())
        };
        // The other kinds are what the drive makes of the raw value.
        if label("attribute_value_type").is_some_and(|kind| kind != "raw") {
            continue;
        }
        let key = match (label("attribute_id"), label("attribute_name")) {
            (Some(id), Some(name)) => (id.parse().unwrap_or(u32::MAX), format!("{id} {name}")),
            _ => {
                let name = series
                    .name
                    .trim_start_matches("smartctl_")
                    .trim_start_matches("device_");
                (0, name.to_owned())
            }
        };
        // Several under former names of the disk.
        found.entry(key).or_default().extend(series.points);
    }
    let figures = found
        .into_iter()
        .take(FIGURES_MAX)
        .map(|((_, name), mut points)| {
            points.sort_by_key(|point| point.0);
            AttributeHistory { name, points }
        });
    Ok(figures.collect())
}

/// Reads the history of a disk and works out its trends.
pub(in crate::http) async fn trend(state: &HttpState, device: &ResourceView) -> Result<Trend, Problem> {
    let now_ms = state.app.clock().now_ms();
    let wear = points(state, device, "muster_device_wear_used_percent", WEAR, now_ms).await?;
    let celsius = points(state, device, "smartctl_device_temperature", TEMPERATURE, now_ms).await?;
    Ok(Trend {
        wear_out: trend::wear_out(&wear, now_ms),
        wear,
        temperature: trend::temperature(&celsius),
        celsius,
    })
}

/// One history of a disk, whatever it was called at the time.
async fn points(
    state: &HttpState,
    device: &ResourceView,
    metric: &str,
    (span_ms, step_ms): (i64, i64),
    now_ms: i64,
) -> Result<Vec<(i64, f64)>, Problem> {
    // The earliest step of a series of steps is where it begins, so they lie on round times and do not move with now.
    let end_ms = now_ms - now_ms.rem_euclid(step_ms);
    let history = RangeQuery {
        matchers: vec![Matcher::equal(NAME_LABEL, metric)],
        resource: Some(device.id),
        start_ms: end_ms - span_ms,
        end_ms,
        step_ms: Some(step_ms),
    };
    // And the last hours as they are.
    let recent = RangeQuery {
        matchers: vec![Matcher::equal(NAME_LABEL, metric)],
        resource: Some(device.id),
        start_ms: end_ms + 1,
        end_ms: now_ms,
        step_ms: None,
    };
    let names = state.app.server_names().await?;
    let mut points = Vec::new();
    for query in [history, recent] {
        let range = state.series.range(names.clone(), query).await?;
        points.extend(range.series.into_iter().flat_map(|series| series.points));
    }
    points.sort_by_key(|point| point.0);
    Ok(points)
}
