//! `muster query`: how metrics went.

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use crate::client::{ClientError, Common};
use crate::render::{Column, Output, clean, print, say, spark, table};

const PATH: &str = "/api/infrastructure/metrics/range";
/// Points that one line of bars is drawn from, unless a step is given.
const POINTS: i64 = 240;
/// Steps are no shorter than that: nothing is collected more often.
const STEP_MIN_S: i64 = 15;
/// Most series that a table shows.
const ROWS_MAX: usize = 200;

/// Shows how metrics went: a line for each series, with a drawing in a terminal.
///
/// SELECTOR is as in Prometheus, such as `node_load1`, `smartctl_device_temperature{instance="web"}` or
/// `{__name__=~"node_memory_.*",server_id="3"}`. Expressions are not.
#[derive(Debug, Args)]
pub(crate) struct Query {
    #[command(flatten)]
    common: Common,
    /// Which series.
    selector: String,
    /// From how long ago on.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "1h", conflicts_with_all = ["start", "end"])]
    since: Duration,
    /// First time, RFC 3339 or Unix seconds.
    #[arg(long, value_name = "TIME", requires = "end")]
    start: Option<String>,
    /// Last time, RFC 3339 or Unix seconds.
    #[arg(long, value_name = "TIME", requires = "start")]
    end: Option<String>,
    /// Distance of the points; JSON and YAML have every sample if it is not given.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    step: Option<Duration>,
}

impl Query {
    pub(crate) async fn run(self) -> Result<(), ClientError> {
        let client = self.common.connect()?;
        let now_ms = jiff::Timestamp::now().as_millisecond();
        let since_ms = i64::try_from(self.since.as_millis()).unwrap_or(i64::MAX);
        let (start_ms, end_ms) = match (&self.start, &self.end) {
            (Some(start), Some(end)) => (time_ms(start)?, time_ms(end)?),
            _ => (now_ms.saturating_sub(since_ms).max(0), now_ms),
        };
        let mut query = vec![
            ("match", self.selector),
            ("start", seconds(start_ms)),
            ("end", seconds(end_ms)),
        ];
        let step = match self.step {
            Some(step) => Some(format!("{}", step.as_secs_f64())),
            None if self.common.output == Output::Table => {
                Some(((end_ms - start_ms) / 1_000 / POINTS).max(STEP_MIN_S).to_string())
            }
            None => None,
        };
        query.extend(step.map(|step| ("step", step)));
        let answer = client.get(PATH, &query).await?;
        warn(&answer)?;
        if self.common.output != Output::Table {
            return self.common.output.value(&answer);
        }
        show(&answer, (start_ms, end_ms))
    }
}

/// A time as the API takes it.
fn seconds(ms: i64) -> String {
    format!("{}.{:03}", ms / 1_000, ms % 1_000)
}

fn time_ms(text: &str) -> Result<i64, ClientError> {
    if let Ok(seconds) = text.parse::<f64>()
        && (0.0..2.5e11).contains(&seconds)
    {
        #[expect(clippy::cast_possible_truncation, reason = "checked to be within range")]
        return Ok((seconds * 1_000.0) as i64);
    }
    text.parse::<jiff::Timestamp>()
        .map(jiff::Timestamp::as_millisecond)
        .map_err(|_| ClientError::Usage(format!("{text:?} is no time in RFC 3339 or Unix seconds")))
}

/// What an answer lacks is said, whatever form it has.
pub(super) fn warn(answer: &Value) -> Result<(), ClientError> {
    if answer["truncated"] == true {
        say(
            "there is more than one answer may have: the latest part is missing; ask for less, or a longer step",
        )?;
    }
    if let Some(damaged) = answer["damaged"].as_u64().filter(|damaged| 0 < *damaged) {
        say(&format!(
            "{damaged} parts of the sample store cannot be read: what was in them is missing"
        ))?;
    }
    Ok(())
}

/// A point's value: a number, or a word for what JSON has no number for.
pub(super) fn number(value: &Value) -> f64 {
    match value {
        Value::String(word) if word == "+Inf" => f64::INFINITY,
        Value::String(word) if word == "-Inf" => f64::NEG_INFINITY,
        other => other.as_f64().unwrap_or(f64::NAN),
    }
}

/// The points of a series.
pub(super) fn points(series: &Value) -> Vec<(i64, f64)> {
    let point = |point: &Value| Some((point[0].as_i64()?, number(&point[1])));
    series["points"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(point)
        .collect()
}

fn show(answer: &Value, range: (i64, i64)) -> Result<(), ClientError> {
    let all = answer["series"].as_array().cloned().unwrap_or_default();
    if all.is_empty() {
        return say("no series has samples there; `--since` looks further back");
    }
    let width = terminal_size::terminal_size().map_or(100, |(width, _)| usize::from(width.0));
    let is_drawn = io::stdout().is_terminal();
    let rows: Vec<Value> = all
        .iter()
        .take(ROWS_MAX)
        .map(|series| row(series, range, width))
        .collect();
    let mut columns = vec![
        Column::field("LAST", "last"),
        Column::field("LOW", "low"),
        Column::field("HIGH", "high"),
        Column::field("SERIES", "name"),
    ];
    if is_drawn {
        columns.insert(3, Column::field("", "drawing"));
    }
    print(&table(&rows, &columns))?;
    match all.len() - rows.len() {
        0 => Ok(()),
        more => say(&format!(
            "and {more} more series; narrow the selector, or take -o json"
        )),
    }
}

fn row(series: &Value, range: (i64, i64), width: usize) -> Value {
    let points = points(series);
    let finite = || {
        points
            .iter()
            .map(|point| point.1)
            .filter(|value| value.is_finite())
    };
    let last = points.last().map_or(f64::NAN, |point| point.1);
    json!({
        "last": brief(last),
        "low": brief(finite().fold(f64::NAN, f64::min)),
        "high": brief(finite().fold(f64::NAN, f64::max)),
        "drawing": spark::line(&points, range, (width / 3).clamp(8, 60)),
        "name": name(series),
    })
}

/// A series as Prometheus writes it, without the labels that every one has.
fn name(series: &Value) -> String {
    let labels: Vec<String> = series["labels"]
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(name, _)| !["job", "server_id"].contains(&name.as_str()))
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    clean(&format!(
        "{}{{{}}}",
        series["metric"].as_str().unwrap_or_default(),
        labels.join(",")
    ))
}

/// A number in at most ten characters or so.
fn brief(value: f64) -> String {
    if value.is_nan() {
        "-".to_owned()
    } else if value == 0.0 || !value.is_finite() {
        format!("{value}")
    } else if (1e-3..1e9).contains(&value.abs()) {
        let text = format!("{value:.3}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        format!("{value:.3e}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_shown_with_its_last_lowest_and_highest_value() {
        let series = json!({
            "metric": "m", "labels": {"device": "sda", "instance": "web", "job": "node", "server_id": "1"},
            "points": [[0, 3.5], [1_000, "NaN"], [2_000, 1_000_000_000_000.0_f64], [3_000, "+Inf"]],
        });
        let row = row(&series, (0, 4_000), 24);
        assert_eq!(row["low"], "3.5");
        assert_eq!(row["high"], "1.000e12");
        assert_eq!(row["last"], "inf");
        assert_eq!(row["name"], "m{device=\"sda\",instance=\"web\"}");
    }

    #[test]
    fn numbers_are_brief_and_nothing_is_a_dash() {
        let texts = [0.0, 1.0, 0.25, 123_456.0, 1e-7, f64::NAN].map(brief);
        assert_eq!(texts, ["0", "1", "0.25", "123456", "1.000e-7", "-"]);
    }

    #[test]
    fn times_are_read_as_the_api_reads_them() {
        assert_eq!(time_ms("2026-01-02T03:04:05Z").unwrap(), 1_767_323_045_000);
        assert_eq!(time_ms("1767323045.25").unwrap(), 1_767_323_045_250);
        assert_eq!(seconds(1_767_323_045_250), "1767323045.250");
        for text in ["yesterday", "-1", "NaN", "1767323045000", ""] {
            assert!(time_ms(text).is_err(), "{text}");
        }
    }
}
