//! Logging: to standard error, as text or JSON, filtered by `MUSTER_LOG`.

use std::io::IsTerminal as _;

use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

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

/// Starts logging; a second call changes nothing. A filter that does not parse is replaced by `info`, and said so.
pub fn init(format: Format, filter: Option<&str>) {
    let wanted = filter.unwrap_or("info");
    let (env_filter, problem) = match EnvFilter::try_new(wanted) {
        Ok(parsed) => (parsed, None),
        Err(error) => (EnvFilter::new("info"), Some(error)),
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(env_filter)
        .with_writer(std::io::stderr);
    let started = match format {
        Format::Text => builder.with_ansi(std::io::stderr().is_terminal()).try_init(),
        Format::Json => builder.json().try_init(),
    };
    if let (Ok(()), Some(error)) = (started, problem) {
        tracing::warn!(filter = wanted, error = %error, "log filter does not parse, using info");
    }
}
