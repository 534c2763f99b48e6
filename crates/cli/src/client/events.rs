//! A stream of events as the controller sends them (server-sent events, HTML Living Standard 9.2).

use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::Method;
use hyper::body::Incoming;
use serde_json::Value;

use super::{ANSWER_BYTES_MAX, ANSWER_MAX, Client, ClientError, Refusal, Sent};

/// A stream that says nothing for so long, not even that it is there, is taken for lost.
const SILENCE_MAX: Duration = Duration::from_secs(90);
/// Most bytes of one event.
const EVENT_BYTES_MAX: usize = 4 << 20;

/// A stream of events.
pub(crate) struct Events {
    path: String,
    url: String,
    body: Incoming,
    lines: Lines,
}

impl Client {
    /// Begins to listen; what happens from here on is in the stream.
    pub(crate) async fn listen(&self, path: &str, query: &[(&str, String)]) -> Result<Events, ClientError> {
        let request = self.request(Method::GET, path, query, Sent::Nothing, "text/event-stream")?;
        let answer = tokio::time::timeout(ANSWER_MAX, self.http.request(request))
            .await
            .map_err(|elapsed| self.unreachable(elapsed))?
            .map_err(|error| self.unreachable(error))?;
        let status = answer.status();
        if !status.is_success() {
            let refusal = http_body_util::Limited::new(answer.into_body(), ANSWER_BYTES_MAX);
            let bytes = refusal.collect().await.map_err(|error| self.unreachable(error))?;
            return Err(ClientError::Refused(Refusal::of(status, &bytes.to_bytes())));
        }
        Ok(Events {
            path: path.to_owned(),
            url: self.base.to_string(),
            body: answer.into_body(),
            lines: Lines::default(),
        })
    }
}

impl Events {
    /// The next event's name and data; nothing once the stream has ended.
    pub(crate) async fn next(&mut self) -> Result<Option<(String, Value)>, ClientError> {
        loop {
            if let Some((name, data)) = self.lines.event() {
                let data = serde_json::from_str(&data).map_err(|_| ClientError::Unclear {
                    path: self.path.clone(),
                })?;
                return Ok(Some((name, data)));
            }
            if EVENT_BYTES_MAX < self.lines.rest.len() + self.lines.data.len() {
                return Err(ClientError::TooLong {
                    path: self.path.clone(),
                });
            }
            let frame = tokio::time::timeout(SILENCE_MAX, self.body.frame())
                .await
                .map_err(|elapsed| lost(&self.url, elapsed))?;
            match frame {
                None => return Ok(None),
                Some(Err(error)) => return Err(lost(&self.url, error)),
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        self.lines.rest.extend_from_slice(&bytes);
                    }
                }
            }
        }
    }
}

fn lost(url: &str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ClientError {
    ClientError::Unreachable {
        url: url.to_owned(),
        source: source.into(),
    }
}

/// What was read and is no event yet.
#[derive(Default)]
struct Lines {
    rest: Vec<u8>,
    name: String,
    data: String,
}

impl Lines {
    /// Takes the next event that is whole.
    fn event(&mut self) -> Option<(String, String)> {
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches(['\r', '\n']);
            if line.is_empty() {
                let (name, data) = (std::mem::take(&mut self.name), std::mem::take(&mut self.data));
                if !data.is_empty() {
                    return Some((name, data));
                }
                continue;
            }
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => value.clone_into(&mut self.name),
                "data" => {
                    if !self.data.is_empty() {
                        self.data.push('\n');
                    }
                    self.data.push_str(value);
                }
                // A comment, which says only that the stream is there, or a field that is not needed.
                _ => {}
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_however_they_are_cut_and_comments_are_none() {
        let text = ": keep-alive\n\nevent: alert\r\ndata: {\"id\":\ndata: 7}\r\n\r\n:\nid: 5\ndata:x\n\nevent: cut\n";
        for size in [1, 2, 7, text.len()] {
            let mut lines = Lines::default();
            let mut events = Vec::new();
            for part in text.as_bytes().chunks(size) {
                lines.rest.extend_from_slice(part);
                while let Some(event) = lines.event() {
                    events.push(event);
                }
            }
            let expected = [
                ("alert".to_owned(), "{\"id\":\n7}".to_owned()),
                (String::new(), "x".to_owned()),
            ];
            assert_eq!(events, expected, "{size}");
        }
    }
}
