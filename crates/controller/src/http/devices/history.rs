//! The history of a disk: how it wears, and how warm it has been.

use muster_samples::{Matcher, NAME_LABEL};
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

/// What the history of a disk comes to.
#[derive(Debug)]
pub(in crate::http) struct Trend {
    /// Endurance used, percent, over at most 400 days.
    pub(in crate::http) wear: Vec<(i64, f64)>,
    /// When all of it will be used.
    pub(in crate::http) wear_out: WearOut,
    /// How warm it was in the last 30 days.
    pub(in crate::http) temperature: Option<TemperatureTrend>,
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
