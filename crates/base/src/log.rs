//! Logging: to standard error, as text or JSON, filtered by `MUSTER_LOG`.

use std::io::IsTerminal as _;

use serde::{Deserialize, Serialize};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// How log lines look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl std::str::FromStr for Format {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(format!("unknown log format {word:?}: use text or json")),
        }
    }
}

/// Starts logging; a second call changes nothing. A filter is a level, or levels by module (`info,muster_agent=debug`); one
/// that does not parse is replaced by `info`, and said so.
pub fn init(format: Format, filter: Option<&str>) {
    let wanted = filter.unwrap_or("info");
    let (targets, problem) = match wanted.parse::<Targets>() {
        Ok(parsed) => (parsed, None),
        Err(error) => (Targets::new().with_default(LevelFilter::INFO), Some(error)),
    };
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let registry = tracing_subscriber::registry().with(targets);
    let started = match format {
        Format::Text => registry
            .with(lines.with_ansi(std::io::stderr().is_terminal()))
            .try_init(),
        Format::Json => registry.with(lines.json()).try_init(),
    };
    if let (Ok(()), Some(error)) = (started, problem) {
        tracing::warn!(filter = wanted, error = %error, "log filter does not parse, using info");
    }
}
