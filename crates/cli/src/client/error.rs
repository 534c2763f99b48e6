//! Why a command did not do what it should: in words that say what to do next, and as an exit code.

use std::io;

use camino::Utf8PathBuf;
use hyper::StatusCode;
use serde::Deserialize;
use thiserror::Error;

/// What a program that calls `muster` can tell apart. 0 is success.
pub(crate) mod exit {
    /// It did not work.
    pub(crate) const FAILED: u8 = 1;
    /// The command line, the settings or the contexts cannot be used.
    pub(crate) const USAGE: u8 = 2;
    /// A login is needed, or this login may not do that.
    pub(crate) const DENIED: u8 = 3;
    /// There is no such thing.
    pub(crate) const NOT_FOUND: u8 = 4;
    /// The controller cannot be reached, or cannot be trusted.
    pub(crate) const UNREACHABLE: u8 = 5;
    /// It was begun and is not over.
    pub(crate) const UNDER_WAY: u8 = 6;
}

/// A refusal of the controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The HTTP status.
    pub(crate) status: StatusCode,
    /// The stable code; empty if somebody else than a controller answered.
    pub(crate) code: String,
    /// For people.
    pub(crate) text: String,
}

/// What of a problem+json body matters here.
#[derive(Debug, Default, Deserialize)]
struct Problem {
    #[serde(default)]
    code: String,
    #[serde(default)]
    title: String,
    #[serde(default)]
    detail: String,
    #[serde(default)]
    request_id: String,
}

impl Refusal {
    /// Reads what a refusal says of itself.
    pub(super) fn of(status: StatusCode, body: &[u8]) -> Self {
        let problem: Problem = serde_json::from_slice(body).unwrap_or_default();
        if problem.code.is_empty() {
            let text = format!("something that is no controller answered {status}");
            return Self {
                status,
                code: String::new(),
                text,
            };
        }
        let mut text = problem.title;
        if !problem.detail.is_empty() {
            text = format!("{text}: {}", problem.detail);
        }
        if status.is_server_error() && !problem.request_id.is_empty() {
            text = format!("{text} (request {})", problem.request_id);
        }
        Self {
            status,
            code: problem.code,
            text,
        }
    }

    fn hint(&self) -> &'static str {
        match self.code.as_str() {
            "unauthenticated" => "; log in again with `muster login`",
            "session_needed" => "; log in with a password: `muster login` without --keep and --token-file",
            "forbidden" => "; ask an admin, or log in as somebody who may",
            "agent_not_connected" => "; look at the server with `muster servers show`",
            _ => "",
        }
    }

    fn exit_code(&self) -> u8 {
        match self.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => exit::DENIED,
            StatusCode::NOT_FOUND => exit::NOT_FOUND,
            StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
                exit::UNREACHABLE
            }
            _ => exit::FAILED,
        }
    }
}

/// Why a command did not do what it should.
#[derive(Debug, Error)]
pub(crate) enum ClientError {
    #[error("no controller is known yet; log in with `muster login URL`, or give --server and --token-file")]
    NoContext,
    #[error("there is no context {0:?}; `muster contexts list` shows them")]
    UnknownContext(String),
    #[error("a token is needed for {0}: log in with `muster login {0}`, or give --token-file")]
    NoToken(String),
    #[error("{path} can be read by others, and there are tokens in it; `chmod 600` it")]
    Exposed { path: Utf8PathBuf },
    #[error("read {path}")]
    Read { path: Utf8PathBuf, source: io::Error },
    #[error("write {path}")]
    Write { path: Utf8PathBuf, source: io::Error },
    #[error("{path} is not what `muster login` wrote")]
    Contexts {
        path: Utf8PathBuf,
        source: toml::de::Error,
    },
    #[error("there is no folder for contexts: set XDG_CONFIG_HOME or HOME")]
    NoConfigDir,
    #[error("{text:?} is no controller's address: {why}")]
    Url { text: String, why: &'static str },
    #[error("the certificates of --ca cannot be used")]
    Ca { source: rustls::Error },
    #[error("the file of --ca cannot be read as PEM")]
    CaPem { source: rustls::pki_types::pem::Error },
    #[error("there are no certificates in the file of --ca")]
    NoCa,
    #[error("{url} cannot be asked; is the controller running, and is this its address?")]
    Unreachable {
        url: String,
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("{0}")]
    Untrusted(String),
    #[error("the answer to {path} is not understood; is the controller of this version?")]
    Unclear { path: String },
    #[error("the answer to {path} is too long; ask for less")]
    TooLong { path: String },
    #[error("{}{}", .0.text, .0.hint())]
    Refused(Refusal),
    #[error("{0}")]
    Usage(String),
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    UnderWay(String),
    #[error("{0}")]
    Failed(String),
    #[error("read from the terminal")]
    Terminal { source: io::Error },
    #[error("write the answer")]
    Output { source: io::Error },
}

impl ClientError {
    /// What the process ends with.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Refused(refusal) => refusal.exit_code(),
            Self::NoContext | Self::NoToken(_) => exit::DENIED,
            Self::NotFound(_) => exit::NOT_FOUND,
            Self::Unreachable { .. } | Self::Untrusted(_) => exit::UNREACHABLE,
            Self::UnderWay(_) => exit::UNDER_WAY,
            Self::UnknownContext(_)
            | Self::Exposed { .. }
            | Self::Contexts { .. }
            | Self::NoConfigDir
            | Self::Url { .. }
            | Self::Ca { .. }
            | Self::CaPem { .. }
            | Self::NoCa
            | Self::Read { .. }
            | Self::Usage(_) => exit::USAGE,
            Self::Write { .. }
            | Self::Unclear { .. }
            | Self::TooLong { .. }
            | Self::Failed(_)
            | Self::Terminal { .. }
            | Self::Output { .. } => exit::FAILED,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_the_controller_said_and_what_to_do() {
        let body = br#"{"code":"unauthenticated","title":"A valid access token is needed","detail":"send it","request_id":"r"}"#;
        let error = ClientError::Refused(Refusal::of(StatusCode::UNAUTHORIZED, body));
        assert_eq!(
            error.to_string(),
            "A valid access token is needed: send it; log in again with `muster login`"
        );
        assert_eq!(error.exit_code(), exit::DENIED);
    }

    #[test]
    fn somebody_else_s_refusal_is_not_taken_for_a_controller_s() {
        let refusal = Refusal::of(StatusCode::BAD_GATEWAY, b"<html>no</html>");
        assert!(refusal.text.contains("no controller"), "{}", refusal.text);
        assert_eq!(ClientError::Refused(refusal).exit_code(), exit::UNREACHABLE);
    }
}
