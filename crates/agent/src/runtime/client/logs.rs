//! The end of a container's log, through the typed bindings: they take the engine's stream apart, and nothing that is
//! read here is written back.

use std::collections::VecDeque;
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::query_parameters::LogsOptions;
use bollard::{ClientVersion, Docker};
use camino::Utf8Path;
use futures::StreamExt as _;
use muster_model::LogRange;

use super::wire;
use crate::runtime::{EngineError, LogChunk};

const CALL: &str = "read the log";
/// What is asked for when no number of lines is.
const TAIL_DEFAULT: u32 = 1_000;

/// Reads it; of more than `bytes_max` the oldest lines are left out.
pub(super) async fn read(
    socket: &Utf8Path,
    version: (usize, usize),
    container: &str,
    range: &LogRange,
    bytes_max: usize,
    limit: Duration,
) -> Result<Vec<LogChunk>, EngineError> {
    let version = ClientVersion {
        major_version: version.0,
        minor_version: version.1,
    };
    let engine = Docker::connect_with_unix(socket.as_str(), limit.as_secs().max(1), &version)
        .map_err(|error| failed(socket, error))?;
    let seconds = |ms: Option<i64>| ms.map_or(0, |ms| i32::try_from(ms / 1_000).unwrap_or(i32::MAX));
    let options = LogsOptions {
        follow: false,
        stdout: true,
        stderr: true,
        since: seconds(range.since_ms),
        // The engine counts in whole seconds, and leaves out what came after the one that is named.
        until: range
            .until_ms
            .map_or(0, |_| seconds(range.until_ms).saturating_add(1)),
        timestamps: true,
        tail: range.tail.unwrap_or(TAIL_DEFAULT).to_string(),
    };
    let all = async {
        let mut stream = Box::pin(engine.logs(container, Some(options)));
        let mut kept = VecDeque::new();
        let mut bytes = 0;
        while let Some(line) = stream.next().await {
            let chunk = chunk(line.map_err(|error| failed(socket, error))?);
            bytes += chunk.text.len();
            kept.push_back(chunk);
            while bytes_max < bytes
                && let Some(oldest) = kept.pop_front()
            {
                bytes -= oldest.text.len();
            }
        }
        Ok(Vec::from(kept))
    };
    tokio::time::timeout(limit, all)
        .await
        .unwrap_or(Err(EngineError::TimedOut {
            call: CALL,
            limit_s: limit.as_secs(),
        }))
}

fn chunk(line: LogOutput) -> LogChunk {
    let is_stderr = matches!(line, LogOutput::StdErr { .. });
    LogChunk {
        is_stderr,
        text: String::from_utf8_lossy(&line.into_bytes()).into_owned(),
    }
}

fn failed(socket: &Utf8Path, error: bollard::errors::Error) -> EngineError {
    use bollard::errors::Error;
    match error {
        Error::DockerResponseServerError {
            status_code: 404,
            message,
        } => EngineError::NotFound {
            call: CALL,
            message: wire::shortened(&message),
        },
        Error::DockerResponseServerError { status_code, message } => EngineError::Refused {
            call: CALL,
            status: status_code,
            message: wire::shortened(&message),
        },
        Error::IOError { err } => wire::unreachable(CALL, socket, err),
        other => wire::unreachable(CALL, socket, std::io::Error::other(other)),
    }
}
