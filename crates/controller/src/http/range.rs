//! The history of metrics, as samples or at regular steps.

use axum::extract::State;
use muster_base::id::ResourceId;
use muster_samples::{Matcher, selector};
use serde::ser::{Serialize, SerializeSeq as _, Serializer};
use utoipa::ToSchema;

use super::HttpState;
use super::error::{Problem, ProblemBody};
use super::exposition::special;
use super::extract::{Json, Query, duration_ms, time_ms};
use crate::app::series::{Range, RangeQuery, RangeSeries};

/// Most steps from start to end.
const STEPS_MAX: i64 = 50_000;
/// How much is answered if nothing is said of the start.
const HOUR_MS: i64 = 3_600_000;

/// History of metrics.
#[derive(Debug, serde::Serialize, ToSchema)]
#[schema(title = "Range")]
pub(super) struct RangeBody {
    /// The series, by name and labels.
    series: Vec<SeriesBody>,
    /// Whether there would have been more points than one answer may have.
    truncated: bool,
    /// How many parts of the sample store could not be read; absent if all could.
    #[serde(skip_serializing_if = "is_zero")]
    damaged: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// One series.
#[derive(Debug, serde::Serialize, ToSchema)]
#[schema(title = "Series")]
struct SeriesBody {
    /// Name of the metric.
    metric: String,
    /// Labels, with `job`, `instance` and `server_id`.
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    labels: Labels,
    /// The resource it belongs to.
    resource_id: i64,
    /// `[unix_ms, value]`; the values `NaN`, `+Inf` and `-Inf` are texts.
    #[schema(value_type = Vec<Vec<f64>>)]
    points: Points,
}

#[derive(Debug)]
struct Labels(Vec<(String, String)>);

impl Serialize for Labels {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

#[derive(Debug)]
struct Points(Vec<(i64, f64)>);

impl Serialize for Points {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut points = serializer.serialize_seq(Some(self.0.len()))?;
        for &(time_ms, value) in &self.0 {
            // JSON has no word for these, so they are texts.
            match special(value) {
                Some(word) => points.serialize_element(&(time_ms, word))?,
                None => points.serialize_element(&(time_ms, value))?,
            }
        }
        points.end()
    }
}

impl From<Range> for RangeBody {
    fn from(range: Range) -> Self {
        Self {
            series: range.series.into_iter().map(SeriesBody::from).collect(),
            truncated: range.is_truncated,
            damaged: range.damaged,
        }
    }
}

impl From<RangeSeries> for SeriesBody {
    fn from(series: RangeSeries) -> Self {
        Self {
            metric: series.name.to_string(),
            labels: Labels(series.labels),
            resource_id: series.resource.0,
            points: Points(series.points),
        }
    }
}

/// History of metrics: samples as they are, or with `step` the last value at each step.
#[utoipa::path(
    get, path = "/api/infrastructure/metrics/range", tag = "metrics",
    params(
        ("metric" = Option<String>, Query, description = "name of the metric; this or match is needed"),
        ("match" = Option<String>, Query, description = "a selector such as node_cpu_seconds_total{mode=\"idle\",instance=~\"web.*\"}"),
        ("resource_id" = Option<i64>, Query, description = "only series of this resource"),
        ("start" = Option<String>, Query, description = "first time, RFC 3339 or Unix seconds; an hour before end if not given"),
        ("end" = Option<String>, Query, description = "last time, RFC 3339 or Unix seconds; now if not given"),
        ("step" = Option<String>, Query, description = "distance of the points, such as 15s or 60"),
    ),
    responses(
        (status = 200, body = RangeBody),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn range(
    State(state): State<HttpState>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Json<RangeBody>, Problem> {
    let query = parse(pairs, state.app.clock().now_ms())?;
    let names = state.app.server_names().await?;
    let range = state.series.range(names, query).await?;
    Ok(Json(range.into()))
}

fn parse(pairs: Vec<(String, String)>, now_ms: i64) -> Result<RangeQuery, Problem> {
    let mut given = Given::default();
    for (name, value) in pairs {
        let place = match name.as_str() {
            "metric" => &mut given.metric,
            "match" | "match[]" => &mut given.selector,
            "resource_id" => &mut given.resource_id,
            "start" => &mut given.start,
            "end" => &mut given.end,
            "step" => &mut given.step,
            other => return Err(Problem::parameter(other, "there is no such parameter here")),
        };
        if place.replace(value).is_some() {
            return Err(Problem::parameter(&name, "it is given twice"));
        }
    }
    given.check(now_ms)
}

#[derive(Debug, Default)]
struct Given {
    metric: Option<String>,
    selector: Option<String>,
    resource_id: Option<String>,
    start: Option<String>,
    end: Option<String>,
    step: Option<String>,
}

impl Given {
    fn check(self, now_ms: i64) -> Result<RangeQuery, Problem> {
        let (start_ms, end_ms, step_ms) = span(
            self.start.as_deref(),
            self.end.as_deref(),
            self.step.as_deref(),
            now_ms,
            HOUR_MS,
        )?;
        let resource = match self.resource_id {
            None => None,
            Some(text) => {
                Some(ResourceId(text.parse().map_err(|_| {
                    Problem::parameter("resource_id", "a whole number is needed")
                })?))
            }
        };
        let matchers = matchers(self.metric.as_deref(), self.selector.as_deref())?;
        Ok(RangeQuery {
            matchers,
            resource,
            start_ms,
            end_ms,
            step_ms,
        })
    }
}

/// Reads start, end and step. Without `end` it is now, without `start` it is `span_ms` before the end.
pub(super) fn span(
    start: Option<&str>,
    end: Option<&str>,
    step: Option<&str>,
    now_ms: i64,
    span_ms: i64,
) -> Result<(i64, i64, Option<i64>), Problem> {
    let end_ms = end.map_or(Ok(now_ms), |text| time_ms("end", text))?;
    let start_ms = start.map_or(Ok(end_ms - span_ms), |text| time_ms("start", text))?;
    if end_ms < start_ms {
        return Err(Problem::parameter("end", "it lies before start"));
    }
    let step_ms = step.map(|text| duration_ms("step", text)).transpose()?;
    if step_ms.is_some_and(|step_ms| STEPS_MAX < (end_ms - start_ms) / step_ms) {
        let least_s = (end_ms - start_ms) / STEPS_MAX / 1_000 + 1;
        return Err(Problem::parameter(
            "step",
            format!("that would be more than {STEPS_MAX} points a series; {least_s}s or more is possible"),
        ));
    }
    Ok((start_ms, end_ms, step_ms))
}

/// Joins a metric's name and a selector. Beside a name the selector may be as wide as it likes, `{}` included.
fn matchers(metric: Option<&str>, selector: Option<&str>) -> Result<Vec<Matcher>, Problem> {
    let Some(metric) = metric else {
        let missing = || Problem::parameter("metric", "the name of a metric, or match, is needed");
        return parse_selector("match", selector.ok_or_else(missing)?);
    };
    if metric.is_empty() {
        return Err(Problem::parameter("metric", "it is empty"));
    }
    let name = Matcher::equal(muster_samples::NAME_LABEL, metric);
    let Some(selector) = selector else {
        return Ok(vec![name]);
    };
    let is_empty = |text: &str| {
        text.trim()
            .strip_prefix('{')
            .is_some_and(|rest| rest.trim() == "}")
    };
    let mut matchers = match selector {
        wide if is_empty(wide) => Vec::new(),
        narrow => parse_selector("match", narrow)?,
    };
    matchers.push(name);
    Ok(matchers)
}

/// Reads a selector; the refusal says where it went wrong, and why an expression is none.
pub(super) fn parse_selector(parameter: &str, text: &str) -> Result<Vec<Matcher>, Problem> {
    selector::parse(text).map_err(|error| Problem::parameter(parameter, muster_base::ErrorChain(&error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_700_000_000_000;

    fn query(pairs: &[(&str, &str)]) -> Result<RangeQuery, Problem> {
        let pairs = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        parse(pairs.collect(), NOW)
    }

    #[test]
    fn without_times_the_last_hour_is_meant() {
        let query = query(&[("metric", "node_load1")]).unwrap();
        assert_eq!(
            (query.start_ms, query.end_ms, query.step_ms),
            (NOW - 3_600_000, NOW, None)
        );
        assert_eq!(query.matchers, [Matcher::equal("__name__", "node_load1")]);
    }

    #[test]
    fn beside_a_metric_the_selector_may_be_empty() {
        let query = query(&[("metric", "node_load1"), ("match", "{ }")]).unwrap();
        assert_eq!(query.matchers, [Matcher::equal("__name__", "node_load1")]);
    }

    #[test]
    fn a_wrong_parameter_is_named() {
        for (pairs, name) in [
            (&[][..], "metric"),
            (&[("metric", "")], "metric"),
            (&[("metric", "m"), ("start", "x")], "start"),
            (&[("metric", "m"), ("end", "")], "end"),
            (&[("metric", "m"), ("start", "20"), ("end", "10")], "end"),
            (&[("metric", "m"), ("step", "0")], "step"),
            (&[("metric", "m"), ("start", "0"), ("step", "1")], "step"),
            (&[("metric", "m"), ("resource_id", "sda")], "resource_id"),
            (&[("match", "{")], "match"),
            (&[("match", "m{a=~\"(\"}")], "match"),
            (&[("metric", "m"), ("metric", "n")], "metric"),
            (&[("metric", "m"), ("stepp", "1")], "stepp"),
        ] {
            let problem = query(pairs).unwrap_err();
            assert_eq!(problem.parameter.as_deref(), Some(name), "{pairs:?}");
            assert_eq!(problem.code, super::super::error::Code::InvalidParameter);
        }
    }

    #[test]
    fn values_that_json_has_no_word_for_are_texts() {
        let body = RangeBody::from(Range {
            series: vec![RangeSeries {
                name: "m".into(),
                labels: vec![("a".to_owned(), "\"".to_owned())],
                resource: ResourceId(7),
                server: muster_base::id::ServerId(1),
                points: vec![
                    (1, 0.5),
                    (2, f64::NAN),
                    (3, f64::INFINITY),
                    (4, f64::NEG_INFINITY),
                    (5, 3.0),
                ],
            }],
            is_truncated: true,
            damaged: 0,
        });
        assert_eq!(
            serde_json::to_string(&body).unwrap(),
            r#"{"series":[{"metric":"m","labels":{"a":"\""},"resource_id":7,"points":[[1,0.5],[2,"NaN"],[3,"+Inf"],[4,"-Inf"],[5,3.0]]}],"truncated":true}"#
        );
    }
}
