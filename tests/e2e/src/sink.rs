//! The other side of channels and heartbeats: takes every request and writes down what it was and when it came.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::ledger::now_ms;

/// Longest request.
const REQUEST_BYTES_MAX: usize = 1 << 20;

/// A request.
#[derive(Debug, Clone)]
pub struct Asked {
    /// When its last byte came, Unix ms.
    pub at_ms: i64,
    /// Method and path, such as `POST /message`.
    pub line: String,
    /// Names in small letters, and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Asked {
    /// A header, or nothing.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value)
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// If it is none.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).with_context(|| String::from_utf8_lossy(&self.body).into_owned())
    }
}

/// An HTTP server that answers as each service would, told apart by its path.
#[derive(Debug)]
pub struct Sink {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    asked: Mutex<Vec<Asked>>,
    count_tx: watch::Sender<usize>,
    connections: AtomicU64,
    answer_after_ms: AtomicU64,
    redirect: Option<String>,
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Sink {
    /// One on a port of its own.
    ///
    /// # Errors
    /// If there is none to be had.
    pub async fn start() -> Result<Self> {
        Self::start_on(Ipv4Addr::LOCALHOST.into(), None).await
    }

    /// One on another address, that sends everybody elsewhere if that is given.
    ///
    /// # Errors
    /// As [`Sink::start`].
    pub async fn start_on(address: IpAddr, redirect: Option<String>) -> Result<Self> {
        let listener = TcpListener::bind((address, 0)).await?;
        let shared = Arc::new(Shared {
            asked: Mutex::default(),
            count_tx: watch::channel(0).0,
            connections: AtomicU64::new(0),
            answer_after_ms: AtomicU64::new(0),
            redirect,
        });
        let address = listener.local_addr()?;
        let serving = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                serving.connections.fetch_add(1, Ordering::Relaxed);
                let serving = Arc::clone(&serving);
                // Whoever goes away in the middle has asked nothing.
                tokio::spawn(async move { serving.serve(stream).await.ok() });
            }
        });
        Ok(Self {
            address,
            shared,
            task,
        })
    }

    /// A URL of it.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Answers this long after a request has come.
    pub fn answer_after(&self, delay: Duration) {
        let ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        self.shared.answer_after_ms.store(ms, Ordering::Relaxed);
    }

    /// How many connections there were.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// Changes with each request: how many there were.
    #[must_use]
    pub fn count(&self) -> watch::Receiver<usize> {
        self.shared.count_tx.subscribe()
    }

    /// All requests.
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.lock().clone()
    }

    /// The requests whose path begins so.
    #[must_use]
    pub fn asked_at(&self, path: &str) -> Vec<Asked> {
        let asked = self.asked().into_iter();
        asked
            .filter(|asked| {
                asked
                    .line
                    .split_once(' ')
                    .is_some_and(|(_, rest)| rest.starts_with(path))
            })
            .collect()
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Asked>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn serve(&self, mut stream: TcpStream) -> Result<()> {
        let asked = read(&mut stream).await?;
        let answer = self.answer(&asked.line);
        let count = {
            let mut all = self.lock();
            all.push(asked);
            all.len()
        };
        self.count_tx.send_replace(count);
        let delay = self.answer_after_ms.load(Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(delay)).await;
        stream.write_all(answer.as_bytes()).await?;
        Ok(stream.shutdown().await?)
    }

    fn answer(&self, line: &str) -> String {
        let path = line.split_once(' ').map_or("", |(_, path)| path);
        let (status, body) = if path.starts_with("/bot") {
            (
                "200 OK",
                json!({"ok": true, "result": {"message_id": 1}}).to_string(),
            )
        } else if path.starts_with("/1/messages.json") {
            ("200 OK", json!({"status": 1, "request": "r"}).to_string())
        } else if path.starts_with("/v2/enqueue") {
            ("202 Accepted", json!({"status": "success"}).to_string())
        } else {
            ("200 OK", "ok".to_owned())
        };
        let length = body.len();
        match &self.redirect {
            Some(target) => format!(
                "HTTP/1.1 302 Found\r\nlocation: {target}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            ),
            None => {
                format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
            }
        }
    }
}

/// Reads one request with its body.
async fn read(stream: &mut TcpStream) -> Result<Asked> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at;
        }
        more(stream, &mut bytes).await?;
    };
    let head = String::from_utf8_lossy(&bytes[..head_end]).into_owned();
    let mut lines = head.split("\r\n");
    let first = lines.next().context("a first line")?;
    let line = first.rsplit_once(' ').context("a version")?.0.to_owned();
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length: usize = length.map_or(Ok(0), |(_, value)| value.parse())?;
    while bytes.len() < head_end + 4 + length {
        more(stream, &mut bytes).await?;
    }
    Ok(Asked {
        at_ms: now_ms(),
        line,
        headers,
        body: bytes.split_off(head_end + 4),
    })
}

async fn more(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Result<()> {
    let read = stream.read_buf(bytes).await?;
    anyhow::ensure!(0 < read && bytes.len() < REQUEST_BYTES_MAX, "no whole request");
    Ok(())
}
