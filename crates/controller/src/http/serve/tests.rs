//! S17, S18 on the port for people: what slow and abusive peers get, and what others notice of it.

use std::time::Duration;

use axum::routing::get;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::Instant;

use super::*;

/// How long something may take that is promised within so many seconds: five times as long in the ordinary run, which
/// shares its machine with other tests; the long form holds it to the letter.
fn allowed(promised_s: u64) -> Duration {
    let is_full = std::env::var_os("MUSTER_TEST_FULL").is_some();
    Duration::from_secs(promised_s) * if is_full { 1 } else { 5 }
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

async fn served() -> (SocketAddr, CancellationToken) {
    let router = Router::new()
        .route("/", get(async || "here"))
        .route("/long", get(async || vec![0_u8; 64 * 1024 * 1024]));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    tokio::spawn(serve(listener, None, router, stop.clone()));
    (address, stop)
}

/// Asks as a browser does; how long that takes.
async fn ask(address: SocketAddr) -> Duration {
    let began = Instant::now();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = b"GET / HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("here"), "{answer}");
    began.elapsed()
}

/// Reads until the other side closes; how long that takes.
async fn cut(mut stream: impl AsyncRead + Unpin) -> Duration {
    let began = Instant::now();
    let mut buffer = [0; 4_096];
    while let Ok(1..) = stream.read(&mut buffer).await {}
    began.elapsed()
}

/// S18
#[tokio::test]
async fn sockets_that_ask_for_nothing_are_cut_in_ten_seconds_and_keep_nobody_out() {
    let (address, stop) = served().await;
    let sockets = if std::env::var_os("MUSTER_TEST_FULL").is_some() {
        5_000
    } else {
        600
    };
    let mut slow = tokio::task::JoinSet::new();
    for number in 0..sockets {
        let stream = TcpStream::connect(address).await.unwrap();
        slow.spawn(async move {
            let (reading, mut writing) = stream.into_split();
            let trickling = tokio::spawn(async move {
                for byte in b"GET / HTTP/1.1\r\n" {
                    if number % 2 == 0 || writing.write_all(&[*byte]).await.is_err() {
                        return std::future::pending().await;
                    }
                    tokio::time::sleep(Duration::from_secs(5)).await;
                }
            });
            let took = cut(reading).await;
            trickling.abort();
            took
        });
    }
    let mut slowest = Duration::ZERO;
    for _ in 0..20 {
        slowest = slowest.max(ask(address).await);
    }
    let longest = slow.join_all().await.into_iter().max().unwrap();
    println!("{sockets} sockets cut after at most {longest:?}, a request meanwhile takes {slowest:?}");
    assert!(longest <= allowed(11) && slowest < allowed(1));
    stop.cancel();
}

/// S18
#[tokio::test(start_paused = true)]
async fn whoever_does_not_read_its_answer_is_cut() {
    let (address, stop) = served().await;
    let mut deaf = TcpStream::connect(address).await.unwrap();
    let request = b"GET /long HTTP/1.1\r\nhost: here\r\n\r\n";
    deaf.write_all(request).await.unwrap();
    tokio::time::sleep(Duration::from_secs(30)).await;
    let mut read = 0;
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = deaf.read(&mut buffer).await {
        read += count;
    }
    println!("{read} bytes of 67108864 were in buffers when it was cut");
    assert!(read < 64 * 1024 * 1024);
    stop.cancel();
}

/// S17
#[tokio::test]
async fn floods_without_encryption_are_cut_too() {
    let (address, stop) = served().await;
    for frame_type in [4_u8, 6, 99] {
        let (reading, mut writing) = TcpStream::connect(address).await.unwrap().into_split();
        let reading = tokio::spawn(cut(reading));
        writing.write_all(PREFACE).await.unwrap();
        let length = if frame_type == 6 { 8 } else { 0 };
        let mut frame = vec![0, 0, length, frame_type, 0, 0, 0, 0, 0];
        frame.resize(9 + usize::from(length), 0);
        let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
        writing.write_all(&settings).await.unwrap();
        let flood = frame.repeat(100);
        let mut written = 0;
        while writing.write_all(&flood).await.is_ok() {
            written += 100;
            assert!(written < 1_000_000, "type {frame_type} goes on");
        }
        let took = reading.await.unwrap();
        println!("type {frame_type}: cut after {took:?} and {written} frames");
        assert!(took <= Duration::from_secs(10));
    }
    assert!(ask(address).await < allowed(1));
    stop.cancel();
}
