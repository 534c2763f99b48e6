//! VictoriaMetrics: a process of its own on loopback with its own data, written by remote write.
//!
//! Remote write is protobuf (`WriteRequest` of `prometheus/prompb/remote.proto`) in a snappy block over HTTP.

use std::fs;
use std::net::TcpListener;
use std::ops::Range;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::Client;
use tokio::runtime::Runtime;

use crate::Rows;
use crate::process::{cpu_s, disk_bytes};

/// How long it may take to start, or to merge.
const PATIENCE: Duration = Duration::from_secs(60);

/// The metric's name of a series.
pub(crate) fn name(index: usize) -> String {
    format!("node_metric_{}_total", index / 5)
}

/// The device of a series.
pub(crate) fn device(index: usize) -> String {
    format!("device{}", index % 5)
}

/// A running one; its end is this value's.
pub(crate) struct Peer {
    process: Child,
    folder: tempfile::TempDir,
    address: String,
    client: Client,
    runtime: Runtime,
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Peer {
    /// Starts one; `None` where it is not installed.
    pub(crate) fn start(what: &str) -> Option<Self> {
        let program = find("victoria-metrics")?;
        let folder = tempfile::Builder::new()
            .prefix(&format!("muster-bench-{what}-"))
            .tempdir()
            .expect("a folder");
        // Free a moment ago; nothing else here asks for ports.
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a port")
            .port();
        let address = format!("127.0.0.1:{port}");
        let process = Command::new(program)
            .arg(format!(
                "-storageDataPath={}",
                folder.path().join("data").display()
            ))
            .arg(format!("-httpListenAddr={address}"))
            .args([
                "-retentionPeriod=100y",
                "-loggerLevel=ERROR",
                "-search.maxPointsPerTimeseries=1000000",
            ])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("VictoriaMetrics starts");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let peer = Self {
            process,
            folder,
            address,
            client: Client::new(),
            runtime,
        };
        let started = Instant::now();
        while peer.get("health").is_none() {
            assert!(started.elapsed() < PATIENCE, "VictoriaMetrics does not answer");
            std::thread::sleep(Duration::from_millis(50));
        }
        Some(peer)
    }

    /// Processor seconds so far.
    pub(crate) fn cpu_s(&self) -> f64 {
        cpu_s(&self.process.id().to_string())
    }

    /// Writes some ticks of a server in one request.
    pub(crate) fn write(&self, instance: &str, rows: &Rows, ticks: Range<usize>) {
        let body = snap::raw::Encoder::new()
            .compress_vec(&write_request(instance, rows, ticks))
            .expect("a request is short");
        let url = format!("http://{}/api/v1/write", self.address);
        let status = self.runtime.block_on(async {
            let response = self.client.post(url).body(body).send().await.expect("an answer");
            response.status()
        });
        assert!(status.is_success(), "{status}");
    }

    /// Merges everything; what it takes on disk then.
    pub(crate) fn settled_bytes(&self) -> u64 {
        self.get("internal/force_flush").expect("flushed");
        // It merges what it has written; what was just flushed comes a moment later.
        std::thread::sleep(Duration::from_secs(2));
        self.get("internal/force_merge").expect("merging");
        let started = Instant::now();
        let (mut bytes, mut since) = (0, Instant::now());
        while since.elapsed() < Duration::from_secs(4) && started.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(200));
            let now = disk_bytes(self.folder.path(), "");
            if now != bytes || 1.0 < self.active_merges() {
                (bytes, since) = (now, Instant::now());
            }
        }
        bytes
    }

    fn active_merges(&self) -> f64 {
        let metrics = self.get("metrics").unwrap_or_default();
        let metrics = String::from_utf8_lossy(&metrics);
        let merges = metrics
            .lines()
            .filter(|line| line.starts_with("vm_active_merges"));
        merges
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    /// Raw samples in one of its forms.
    pub(crate) fn export(&self, form: &str, matcher: &str, (start_ms, end_ms): (i64, i64)) -> Vec<u8> {
        let encoded: String = matcher.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let seconds = |ms: i64| format!("{}.{:03}", ms / 1_000, ms % 1_000);
        let path = format!(
            "api/v1/{form}?match[]={encoded}&start={}&end={}",
            seconds(start_ms),
            seconds(end_ms)
        );
        self.get(&path).expect("an answer")
    }

    /// The share of exported samples that have exactly the bits of those that were written.
    pub(crate) fn exact_share(&self, matcher: &str, range_ms: (i64, i64), rows: &Rows) -> f64 {
        let text = self.export("export", matcher, range_ms);
        let (mut exact, mut all) = (0_u64, 0_u64);
        for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let series: serde_json::Value = serde_json::from_slice(line).expect("JSON");
            let index = (0..rows.series).find(|index| {
                series["metric"]["__name__"] == name(*index) && series["metric"]["device"] == device(*index)
            });
            let index = index.expect("a series that was written");
            let times = series["timestamps"].as_array().expect("times");
            let values = series["values"].as_array().expect("values");
            for (time, value) in times.iter().zip(values) {
                let tick = rows.times_ms.binary_search(&time.as_i64().unwrap_or(0));
                let written = tick.ok().map(|tick| rows.tick(tick)[index].to_bits());
                all += 1;
                exact += u64::from(written == value.as_f64().map(f64::to_bits));
            }
        }
        exact as f64 / all.max(1) as f64
    }

    fn get(&self, path: &str) -> Option<Vec<u8>> {
        let url = format!("http://{}/{path}", self.address);
        self.runtime.block_on(async {
            let response = self.client.get(url).send().await.ok()?;
            let response = response.error_for_status().ok()?;
            Some(response.bytes().await.ok()?.to_vec())
        })
    }
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|directory| directory.join(program))
        .find(|candidate| fs::metadata(candidate).is_ok_and(|metadata| metadata.is_file()))
}

/// A `WriteRequest`.
fn write_request(instance: &str, rows: &Rows, ticks: Range<usize>) -> Vec<u8> {
    let mut request = Vec::new();
    let (mut series, mut sample) = (Vec::new(), Vec::new());
    for index in 0..rows.series {
        series.clear();
        for (key, value) in [
            ("__name__", name(index).as_str()),
            ("device", &device(index)),
            ("instance", instance),
            ("mode", "idle"),
        ] {
            let mut label = Vec::new();
            field(&mut label, 1, key.as_bytes());
            field(&mut label, 2, value.as_bytes());
            field(&mut series, 1, &label);
        }
        for tick in ticks.clone() {
            sample.clear();
            // Field 1, eight bytes.
            sample.push(1 << 3 | 1);
            sample.extend_from_slice(&rows.tick(tick)[index].to_le_bytes());
            // Field 2, a number.
            sample.push(2 << 3);
            varint(&mut sample, rows.times_ms[tick] as u64);
            field(&mut series, 2, &sample);
        }
        field(&mut request, 1, &series);
    }
    request
}

/// A field of bytes.
fn field(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    out.push(number << 3 | 2);
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while 0x80 <= value {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
