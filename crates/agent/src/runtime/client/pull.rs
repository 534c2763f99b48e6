//! Pulling an image by its digest.
//!
//! Not through the typed bindings: they write credentials in the base64 alphabet that engines do not decode (RFC 4648
//! section 4 instead of 5), and know no bound on what a registry makes an engine say.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use camino::Utf8Path;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use super::wire::{self, Ask};
use crate::runtime::{EngineError, PullProgress, RegistryAuth};

const CALL: &str = "pull the image";
/// The longest line of progress.
const LINE_MAX: usize = 1024 * 1024;
/// So many layers are told apart; an image has at most 127.
const LAYERS_MAX: usize = 1_024;

/// What `X-Registry-Auth` says.
pub(super) fn header(auth: &RegistryAuth) -> String {
    let said = if auth.username.is_empty() {
        json!({"identitytoken": auth.password, "serveraddress": auth.registry})
    } else {
        json!({"username": auth.username, "password": auth.password, "serveraddress": auth.registry})
    };
    URL_SAFE.encode(said.to_string())
}

/// Follows a pull to its end. `idle`: how long nothing may come.
pub(super) async fn follow(
    socket: &Utf8Path,
    ask: Ask<'_>,
    idle: Duration,
    progress: &(dyn Fn(PullProgress) + Send + Sync),
) -> Result<(), EngineError> {
    let limit = ask.limit;
    let all = async {
        let mut body = within(idle, wire::begin(socket, &ask)).await?.into_body();
        let mut lines = Lines::default();
        loop {
            let Some(frame) = within(idle, async { Ok(body.frame().await) }).await? else {
                return lines.end();
            };
            let frame = frame.map_err(|error| wire::lost(CALL, socket, error))?;
            if let Some(data) = frame.data_ref() {
                lines.take(data)?;
                progress(lines.progress());
            }
        }
    };
    within(limit, all).await
}

async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, EngineError>>,
) -> Result<T, EngineError> {
    tokio::time::timeout(limit, work)
        .await
        .unwrap_or(Err(EngineError::TimedOut {
            call: CALL,
            limit_s: limit.as_secs(),
        }))
}

/// What came so far.
#[derive(Default)]
struct Lines {
    rest: Vec<u8>,
    layers: BTreeMap<String, (u64, u64)>,
}

impl Lines {
    fn take(&mut self, data: &[u8]) -> Result<(), EngineError> {
        self.rest.extend_from_slice(data);
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            self.line(&line)?;
        }
        if LINE_MAX < self.rest.len() {
            return Err(EngineError::Unreadable {
                call: CALL,
                message: format!("a line is longer than {LINE_MAX} bytes"),
            });
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), EngineError> {
        let rest = std::mem::take(&mut self.rest);
        self.line(&rest)
    }

    fn line(&mut self, line: &[u8]) -> Result<(), EngineError> {
        if line.iter().all(u8::is_ascii_whitespace) {
            return Ok(());
        }
        let said: Value = serde_json::from_slice(line).map_err(|error| EngineError::Unreadable {
            call: CALL,
            message: error.to_string(),
        })?;
        // The head said 200 before the pull failed: the failure comes in the stream.
        let failure = said
            .pointer("/errorDetail/message")
            .or_else(|| said.get("error"))
            .and_then(Value::as_str)
            .filter(|message| !message.is_empty());
        if let Some(message) = failure {
            return Err(EngineError::Refused {
                call: CALL,
                status: 200,
                message: wire::shortened(message),
            });
        }
        let Some(id) = said.get("id").and_then(Value::as_str) else {
            return Ok(());
        };
        let number = |name: &str| said.pointer(name).and_then(Value::as_u64);
        let status = said.get("status").and_then(Value::as_str).unwrap_or_default();
        let is_known = self.layers.contains_key(id);
        if is_known || self.layers.len() < LAYERS_MAX {
            let layer = self.layers.entry(id.to_owned()).or_default();
            if status == "Downloading"
                && let Some(done) = number("/progressDetail/current")
            {
                *layer = (done, number("/progressDetail/total").unwrap_or(layer.1).max(done));
            } else if matches!(status, "Download complete" | "Pull complete" | "Already exists") {
                layer.0 = layer.1;
            }
        }
        Ok(())
    }

    fn progress(&self) -> PullProgress {
        self.layers
            .values()
            .fold(PullProgress::default(), |sum, layer| PullProgress {
                done_bytes: sum.done_bytes.saturating_add(layer.0),
                total_bytes: sum.total_bytes.saturating_add(layer.1),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_summed_over_layers_however_lines_are_cut() {
        let text = concat!(
            "{\"status\":\"Pulling from x\",\"id\":\"latest\"}\n",
            "{\"status\":\"Downloading\",\"id\":\"a\",\"progressDetail\":{\"current\":5,\"total\":10}}\n",
            "{\"status\":\"Downloading\",\"id\":\"b\",\"progressDetail\":{\"current\":1,\"total\":4}}\n",
            "{\"status\":\"Download complete\",\"id\":\"b\",\"progressDetail\":{}}\n",
        );
        for step in 1..40 {
            let mut lines = Lines::default();
            for part in text.as_bytes().chunks(step) {
                lines.take(part).expect("good lines");
            }
            let seen = lines.progress();
            assert_eq!((seen.done_bytes, seen.total_bytes), (9, 14));
        }
    }

    #[test]
    fn a_failure_in_the_stream_is_a_failure() {
        for line in [
            r#"{"errorDetail":{"message":"manifest unknown"},"error":"manifest unknown"}"#,
            r#"{"error":"denied"}"#,
            "no json",
        ] {
            let mut lines = Lines::default();
            let taken = lines.take(line.as_bytes()).and_then(|()| lines.end());
            assert!(taken.is_err(), "{line}");
        }
        assert!(Lines::default().take(&vec![b'x'; LINE_MAX + 1]).is_err());
    }

    #[test]
    fn credentials_use_the_alphabet_that_engines_decode() {
        let auth = RegistryAuth {
            registry: "r".to_owned(),
            username: "u".to_owned(),
            password: "????>>>>".to_owned(),
        };
        let header = header(&auth);
        assert!(!header.contains(['+', '/']), "{header}");
        assert!(!format!("{auth:?}").contains(">>>>"));
    }
}
