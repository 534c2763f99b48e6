//! Asking a running controller.

use std::io;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;

use super::message::Answer;
use super::{LINE_BYTES_MAX, Request, SOCKET};

/// How long an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// Why a running controller gave no answer.
#[derive(Debug, Error)]
pub enum ClientError {
    /// No controller listens on the socket.
    #[error("no controller is running on {path}")]
    NotRunning {
        /// The socket.
        path: Utf8PathBuf,
    },
    /// The socket is there, but cannot be used.
    #[error("ask the controller through {path}")]
    Io {
        /// The socket.
        path: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The answer is not one.
    #[error("the controller's answer cannot be read; are both of one version?")]
    Unreadable(#[source] serde_json::Error),
    /// The controller says why not.
    #[error("{0}")]
    Refused(String),
}

/// Asks, and waits for the answer.
///
/// # Errors
/// [`ClientError`]; [`ClientError::NotRunning`] if there is nobody to ask.
pub async fn ask<T: DeserializeOwned>(data_dir: &Utf8Path, request: &Request) -> Result<T, ClientError> {
    let path = data_dir.join(SOCKET);
    let failed = |source| ClientError::Io {
        path: path.clone(),
        source,
    };
    let asked = async {
        let stream = connect(data_dir, request).await?;
        read_line(stream).await.map_err(failed)
    };
    let line = tokio::time::timeout(ANSWER_MAX, asked)
        .await
        .map_err(|_| failed(io::ErrorKind::TimedOut.into()))??;
    match serde_json::from_str(&line).map_err(ClientError::Unreadable)? {
        Answer::Ok(answer) => Ok(answer),
        Answer::Error(reason) => Err(ClientError::Refused(reason)),
    }
}

/// Asks for something whose answer is a stream; the caller reads it.
///
/// # Errors
/// [`ClientError`]; [`ClientError::NotRunning`] if there is nobody to ask.
pub async fn connect(data_dir: &Utf8Path, request: &Request) -> Result<UnixStream, ClientError> {
    let path = data_dir.join(SOCKET);
    match send(&path, request).await {
        Ok(stream) => Ok(stream),
        // A socket without a listener is left behind by a controller that was killed.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            Err(ClientError::NotRunning { path })
        }
        Err(source) => Err(ClientError::Io { path, source }),
    }
}

async fn send(path: &Utf8Path, request: &Request) -> io::Result<UnixStream> {
    let mut stream = UnixStream::connect(path.as_std_path()).await?;
    let mut line = serde_json::to_string(request)?;
    line.push('\n');
    stream.write_all(line.as_bytes()).await?;
    Ok(stream)
}

async fn read_line(stream: UnixStream) -> io::Result<String> {
    let mut answer = String::new();
    BufReader::new(stream.take(LINE_BYTES_MAX as u64))
        .read_line(&mut answer)
        .await?;
    Ok(answer)
}
