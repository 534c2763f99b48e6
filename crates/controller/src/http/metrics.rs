//! The controller's own metrics, in the OpenMetrics text format.
//!
//! Requests are counted here. Everything else is counted where it happens and only read here, at each scrape, as
//! [`Figure`]s of a [`Source`]; so no other part knows of any metrics library.

mod sources;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::HttpState;
use super::error::{Problem, ProblemBody};
pub use sources::{Sources, of_the_controller};

/// Upper bounds of the request duration's buckets, in seconds.
const BUCKETS_S: [f64; 9] = [0.001, 0.005, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0];

/// One number of another part, as it is right now.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    name: &'static str,
    help: &'static str,
    label: Option<(&'static str, &'static str)>,
    value: Value,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Value {
    Counter(u64),
    Gauge(f64),
}

impl Figure {
    /// A number that only goes up; the format adds `_total` to its name and a full stop to its help.
    #[must_use]
    pub const fn counter(name: &'static str, help: &'static str, value: u64) -> Self {
        Self {
            name,
            help,
            label: None,
            value: Value::Counter(value),
        }
    }

    /// A number that may go anywhere; the format adds a full stop to its help.
    #[must_use]
    pub const fn gauge(name: &'static str, help: &'static str, value: f64) -> Self {
        Self {
            name,
            help,
            label: None,
            value: Value::Gauge(value),
        }
    }

    /// The same with a label, for figures of which several share a name. Those must follow one another.
    #[must_use]
    pub const fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.label = Some((name, value));
        self
    }

    const fn metric_type(&self) -> MetricType {
        match self.value {
            Value::Counter(_) => MetricType::Counter,
            Value::Gauge(_) => MetricType::Gauge,
        }
    }

    fn encode(&self, encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        match self.value {
            Value::Counter(value) => ConstCounter::new(value).encode(encoder),
            Value::Gauge(value) => ConstGauge::new(value).encode(encoder),
        }
    }
}

/// Reads the figures of one part; must be quick.
pub type Source = Box<dyn Fn() -> Vec<Figure> + Send + Sync>;

struct Figures(Source);

impl fmt::Debug for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Figures").finish_non_exhaustive()
    }
}

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let figures = (self.0)();
        for group in figures.chunk_by(|left, right| left.name == right.name) {
            let first = &group[0];
            let mut metric = encoder.encode_descriptor(first.name, first.help, None, first.metric_type())?;
            if first.label.is_none() {
                first.encode(metric)?;
                continue;
            }
            for figure in group {
                let label = figure.label.map_or_else(Vec::new, |label| vec![label]);
                figure.encode(metric.encode_family(&label)?)?;
            }
        }
        Ok(())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: String,
    route: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: String,
}

/// Everything that `/metrics` shows.
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    durations: Family<RouteLabels, Histogram>,
}

impl Metrics {
    /// Shows requests and what these sources give.
    #[must_use]
    pub fn new(sources: Vec<Source>) -> Arc<Self> {
        let mut registry = Registry::default();
        let requests = Family::default();
        let durations = Family::new_with_constructor((|| Histogram::new(BUCKETS_S)) as fn() -> Histogram);
        registry.register(
            "muster_http_requests",
            "HTTP requests by method, route and status",
            requests.clone(),
        );
        registry.register(
            "muster_http_request_duration_seconds",
            "Time from a request's head to its answer's",
            durations.clone(),
        );
        for source in sources {
            registry.register_collector(Box::new(Figures(source)));
        }
        Arc::new(Self {
            registry,
            requests,
            durations,
        })
    }

    /// Counts a request. Routes are templates, so the labels are bounded; so are methods, since unknown ones are
    /// counted together.
    pub(super) fn request(&self, method: &Method, route: &str, status: StatusCode, took: Duration) {
        let known = [
            Method::GET,
            Method::HEAD,
            Method::POST,
            Method::PATCH,
            Method::PUT,
            Method::DELETE,
            Method::OPTIONS,
        ];
        let method = if known.contains(method) {
            method.as_str()
        } else {
            "other"
        };
        let labels = RequestLabels {
            method: method.to_owned(),
            route: route.to_owned(),
            status: status.as_u16(),
        };
        self.requests.get_or_create(&labels).inc();
        let route = RouteLabels {
            route: route.to_owned(),
        };
        self.durations.get_or_create(&route).observe(took.as_secs_f64());
    }

    fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// The controller's own metrics.
#[utoipa::path(
    get, path = "/metrics", tag = "metrics",
    responses(
        (status = 200, body = String, content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8"),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn metrics(State(state): State<HttpState>) -> Result<Response, Problem> {
    let text = state.metrics.text().map_err(|error| Problem::internal(&error))?;
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, content_type)], text).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_figures_are_shown() {
        let source: Source = Box::new(|| {
            vec![
                Figure::counter("muster_intake_reports_stored", "Reports stored", 7),
                Figure::gauge("muster_sessions_open", "Streams open now", 2.0),
                Figure::counter("muster_task_runs_failed", "Runs that failed", 1).with("task", "sealing"),
                Figure::counter("muster_task_runs_failed", "Runs that failed", 0).with("task", "retention"),
            ]
        });
        let metrics = Metrics::new(vec![source]);
        metrics.request(
            &Method::GET,
            "/api/x/{id}",
            StatusCode::OK,
            Duration::from_millis(3),
        );
        let made_up = Method::from_bytes(b"BREW").unwrap();
        metrics.request(&made_up, "none", StatusCode::NOT_FOUND, Duration::from_millis(3));
        let text = metrics.text().unwrap();
        // The order of the rows within a family is not fixed.
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_unstable();
        insta::assert_snapshot!(lines.join("\n"));
    }
}
