//! S17: HTTP/2 written by hand, by a peer that means harm.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::Instant;

use super::*;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

fn frame(frame_type: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    frame.extend([frame_type, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// The head of a call of `Connect`, by HPACK's static table and plain literals.
fn request() -> Vec<u8> {
    let mut block = vec![0x83, 0x86];
    let mut literal = |name: &[u8], value: &[u8]| {
        block.extend(name);
        block.push(u8::try_from(value.len()).unwrap());
        block.extend(value);
    };
    literal(&[0x04], b"/muster.v1.AgentLink/Connect");
    literal(&[0x01], b"controller.muster.internal");
    literal(&[0x0f, 0x10], b"application/grpc");
    literal(b"\x00\x02te", b"trailers");
    block
}

/// What is said first, and then again and again.
struct Flood {
    name: &'static str,
    opening: Vec<u8>,
    again: Box<dyn Fn(u32) -> Vec<u8> + Send>,
}

fn floods() -> Vec<Flood> {
    let flood =
        |name, opening: Vec<u8>, again: Box<dyn Fn(u32) -> Vec<u8> + Send>| Flood { name, opening, again };
    vec![
        flood("settings", vec![], Box::new(|_| frame(4, 0, 0, &[]))),
        flood(
            "ping",
            vec![],
            Box::new(|n| frame(6, 0, 0, &u64::from(n).to_be_bytes())),
        ),
        flood(
            "priority",
            vec![],
            Box::new(|n| frame(2, 0, 2 * n + 1, &[0, 0, 0, 0, 1])),
        ),
        flood(
            "rapid reset",
            vec![],
            Box::new(|n| {
                let mut both = frame(1, 4, 2 * n + 1, &request());
                both.extend(frame(3, 0, 2 * n + 1, &8_u32.to_be_bytes()));
                both
            }),
        ),
        flood(
            "continuation",
            frame(1, 0, 1, &request()),
            Box::new(|_| frame(9, 0, 1, &[])),
        ),
        flood(
            "long continuation",
            frame(1, 0, 1, &request()),
            Box::new(|_| frame(9, 0, 1, &[0x20; 4_096])),
        ),
        flood(
            "empty data",
            frame(1, 4, 1, &request()),
            Box::new(|_| frame(0, 0, 1, &[])),
        ),
        flood("unknown frames", vec![], Box::new(|_| frame(99, 0, 0, &[]))),
    ]
}

/// Floods until it is cut; returns how long that took, and how many frames were written.
async fn flood(world: &World, identity: Option<&AgentIdentity>, flood: &Flood) -> (Duration, u32) {
    let (mut reading, mut writing) = tokio::io::split(world.shake(identity).await.unwrap());
    // It reads what it is answered, so that nothing but the flood ends it.
    let reading = tokio::spawn(async move {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(1..) = reading.read(&mut buffer).await {}
    });
    let began = Instant::now();
    let mut bytes = [PREFACE, &frame(4, 0, 0, &[]), &flood.opening].concat();
    let mut written = 0;
    loop {
        for _ in 0..50 {
            bytes.extend((flood.again)(written));
            written += 1;
        }
        let sent = async {
            writing.write_all(&bytes).await?;
            writing.flush().await
        };
        let sent = tokio::time::timeout(Duration::from_secs(30), sent).await;
        if !matches!(sent, Ok(Ok(()))) || reading.is_finished() {
            break;
        }
        bytes.clear();
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "{} goes on",
            flood.name
        );
    }
    reading.abort();
    (began.elapsed(), written)
}

/// S17
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_are_cut_and_delay_nobody() {
    let (_folder, world) = world().await;
    let (bad, good) = (world.enrol().await, world.enrol().await);
    let (mut good, _) = world.greet(&good).await;
    let rss_before = resident_bytes();
    let (done_tx, mut done_rx) = tokio::sync::oneshot::channel::<()>();
    let live = tokio::spawn(async move {
        let mut latencies = Vec::new();
        for sequence in 1.. {
            let began = Instant::now();
            good.report(report(sequence, vec![])).await;
            good.acked(&[sequence]).await;
            latencies.push(began.elapsed());
            if done_rx.try_recv().is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        latencies.sort_unstable();
        latencies
    });
    for known in [None, Some(&bad)] {
        for one in floods() {
            let (took, frames) = flood(&world, known, &one).await;
            println!(
                "{} (certificate: {}): cut after {took:?} and {frames} frames",
                one.name,
                known.is_some()
            );
            assert!(took <= Duration::from_secs(10), "{}", one.name);
        }
    }
    done_tx.send(()).unwrap();
    let latencies = live.await.unwrap();
    let p99 = latencies[latencies.len() * 99 / 100];
    let grown = resident_bytes().saturating_sub(rss_before);
    println!(
        "live reports meanwhile: {} with p99 {p99:?}, {grown} bytes more in use",
        latencies.len()
    );
    assert!(p99 < allowed(1) && grown < 64 * 1024 * 1024);
    world.end().await;
}
