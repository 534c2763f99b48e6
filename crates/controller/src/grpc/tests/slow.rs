//! S18, D9: peers that are slow, silent, or never read.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpSocket;
use tokio::time::Instant;

use super::*;

/// Connects from another of this machine's addresses.
async fn connect_from(last: u8, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket
        .bind(SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0)))
        .unwrap();
    socket.connect(to).await.unwrap()
}

/// Waits until the other side has closed the connection.
async fn cut(mut stream: impl tokio::io::AsyncRead + Unpin) {
    let reading = async {
        let mut buffer = [0; 1024];
        while let Ok(1..) = tokio::io::AsyncReadExt::read(&mut stream, &mut buffer).await {}
    };
    tokio::time::timeout(Duration::from_secs(30), reading)
        .await
        .expect("the connection is still open");
}

#[tokio::test]
async fn a_connection_that_gets_nowhere_is_cut() {
    let (_folder, dir) = folder();
    let limits = Options {
        handshake_timeout: Duration::from_millis(300),
        unattended_lifetime: Duration::from_millis(300),
        ..Options::default()
    };
    let world = World::start_with(&dir, limits).await;
    cut(TcpStream::connect(world.address).await.unwrap()).await;
    assert_eq!(count(&world.metrics.accept.handshakes_timed_out), 1);
    // Nor does a handshake without a certificate give the right to stay.
    let tcp = TcpStream::connect(world.address).await.unwrap();
    let name = ServerName::try_from(CONTROLLER_NAME).unwrap();
    cut(TlsConnector::from(world.tls(None))
        .connect(name, tcp)
        .await
        .unwrap())
    .await;
    assert_eq!(count(&world.metrics.accept.handshakes_timed_out), 1);
    world.end().await;
}

#[tokio::test]
async fn silent_connections_take_no_place_of_those_who_shake_hands() {
    let (_folder, dir) = folder();
    let world = World::start_with(
        &dir,
        Options {
            handshakes_max: 1,
            ..Options::default()
        },
    )
    .await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(TcpStream::connect(world.address).await.unwrap());
    }
    world.enrol().await;
    assert_eq!(count(&world.metrics.accept.handshakes_timed_out), 0);
    world.end().await;
}

#[tokio::test]
async fn beyond_the_bound_connections_are_dropped_at_once() {
    let (_folder, dir) = folder();
    let world = World::start_with(
        &dir,
        Options {
            connections_max: 1,
            ..Options::default()
        },
    )
    .await;
    let _first = TcpStream::connect(world.address).await.unwrap();
    cut(TcpStream::connect(world.address).await.unwrap()).await;
    assert_eq!(count(&world.metrics.accept.dropped_full), 1);
    world.end().await;
}

/// S18
#[tokio::test]
async fn silent_and_trickling_sockets_are_cut_in_ten_seconds_and_keep_nobody_out() {
    let (_folder, dir) = folder();
    let world = World::start_with(
        &dir,
        Options {
            strangers_per_address_max: 512,
            ..Options::default()
        },
    )
    .await;
    let sockets = if std::env::var_os("MUSTER_TEST_FULL").is_some() {
        5_000
    } else {
        800
    };
    let identity = world.enrol().await;
    // The first bytes of a ClientHello, of which the rest never comes.
    let beginning = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    let mut slow = tokio::task::JoinSet::new();
    for number in 0..sockets {
        let stream = connect_from(2, world.address).await;
        slow.spawn(async move {
            let came = Instant::now();
            let (reading, mut writing) = stream.into_split();
            let trickling = tokio::spawn(async move {
                if number % 2 == 0 {
                    return std::future::pending().await;
                }
                for byte in beginning {
                    if writing.write_all(&[byte]).await.is_err() {
                        return;
                    }
                    tokio::time::sleep(Duration::from_secs(5)).await;
                }
            });
            cut(reading).await;
            trickling.abort();
            came.elapsed()
        });
    }
    let mut legitimate = Vec::new();
    for _ in 0..10 {
        let began = Instant::now();
        let (mut stream, _) = world.greet(&identity).await;
        stream.report(report(1, vec![])).await;
        stream.acked(&[1]).await;
        legitimate.push(began.elapsed());
    }
    let longest = slow.join_all().await.into_iter().max().unwrap();
    let slowest = legitimate.into_iter().max().unwrap();
    println!("{sockets} sockets: cut after at most {longest:?}, a legitimate agent waits {slowest:?}");
    assert!(longest <= allowed(11) && slowest < allowed(1));
    assert_eq!(count(&world.metrics.accept.evicted), sockets - 512);
    world.end().await;
}

/// S18: also from the address that is crowded.
#[tokio::test]
async fn an_agent_behind_the_crowded_address_still_gets_in() {
    let (_folder, dir) = folder();
    let world = World::start_with(
        &dir,
        Options {
            strangers_per_address_max: 4,
            ..Options::default()
        },
    )
    .await;
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(TcpStream::connect(world.address).await.unwrap());
    }
    let identity = world.enrol().await;
    let (mut stream, _) = world.greet(&identity).await;
    stream.report(report(1, vec![])).await;
    stream.acked(&[1]).await;
    // What has shown who it is, is evicted by nobody.
    for _ in 0..50 {
        silent.push(TcpStream::connect(world.address).await.unwrap());
    }
    stream.report(report(2, vec![])).await;
    stream.acked(&[2]).await;
    world.end().await;
}

/// S18: a certificate gives no right to sit there without a stream.
#[tokio::test]
async fn a_certified_peer_that_opens_no_stream_is_cut() {
    let (_folder, dir) = folder();
    let limits = Options {
        handshake_timeout: Duration::from_millis(400),
        unattended_lifetime: Duration::from_millis(900),
        ..Options::default()
    };
    let world = World::start_with(&dir, limits).await;
    let identity = world.enrol().await;
    cut(world.shake(Some(&identity)).await.unwrap()).await;
    // One that has a stream may be silent for longer.
    let (mut stream, _) = world.greet(&identity).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    stream.report(report(1, vec![])).await;
    stream.acked(&[1]).await;
    world.end().await;
}

/// D9
#[tokio::test]
async fn a_peer_that_stops_in_the_middle_or_never_reads_is_dropped_in_thirty_seconds() {
    let (_folder, world) = world().await;
    let (half, deaf, good) = (world.enrol().await, world.enrol().await, world.enrol().await);
    let (half_stream, _) = world.greet(&half).await;
    let (deaf_stream, _) = world.greet(&deaf).await;
    let (mut good_stream, _) = world.greet(&good).await;
    let piece = Fragment {
        lane: Lane::Live.into(),
        data: vec![0; muster_model::limits::FRAME_BYTES_MAX],
        last: false,
        compression: muster_proto::v1::Compression::None.into(),
        sequence: 1,
    };
    half_stream.send(agent_frame::Body::Fragment(piece)).await;
    // One sends as fast as it can and reads no answer.
    let sending = tokio::spawn(async move {
        for sequence in 1.. {
            if deaf_stream.frame_tx.is_closed() {
                return;
            }
            deaf_stream.report(report(sequence, vec![])).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let rss_before = resident_bytes();
    let others = tokio::spawn(async move {
        let mut sequence = 0;
        loop {
            sequence += 1;
            let began = Instant::now();
            good_stream.report(report(sequence, vec![])).await;
            good_stream.acked(&[sequence]).await;
            assert!(began.elapsed() < allowed(1));
            // Pings are answered while it waits.
            let _ = tokio::time::timeout(Duration::from_millis(500), good_stream.next()).await;
        }
    });
    let began = Instant::now();
    while 1 < count(&world.metrics.session.open) {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(began.elapsed() < allowed(31), "they are still there");
    }
    let grown = resident_bytes().saturating_sub(rss_before);
    println!(
        "both dropped after {:?}, {grown} bytes more in use",
        began.elapsed()
    );
    assert!(Duration::from_secs(20) < began.elapsed() && grown < 64 * 1024 * 1024);
    assert!(!others.is_finished(), "the other one goes on");
    others.abort();
    sending.abort();
    drop(half_stream);
    world.end().await;
}

/// S18: a ClientHello and then nothing holds up no other's handshake.
#[tokio::test]
async fn handshakes_that_stall_half_way_keep_nobody_out() {
    let (_folder, world) = world().await;
    let identity = world.enrol().await;
    let name = || ServerName::try_from(CONTROLLER_NAME).unwrap();
    let mut stalled = Vec::new();
    for _ in 0..100 {
        let mut stream = TcpStream::connect(world.address).await.unwrap();
        let mut client = rustls::ClientConnection::new(world.tls(None), name()).unwrap();
        let mut hello = Vec::new();
        client.write_tls(&mut hello).unwrap();
        stream.write_all(&hello).await.unwrap();
        stalled.push(stream);
    }
    let began = Instant::now();
    let (mut stream, _) = world.greet(&identity).await;
    stream.report(report(1, vec![])).await;
    stream.acked(&[1]).await;
    println!(
        "behind 100 stalled handshakes an agent waits {:?}",
        began.elapsed()
    );
    assert!(began.elapsed() < allowed(5));
    for stream in stalled {
        cut(stream).await;
    }
    assert!(began.elapsed() < allowed(12));
    world.end().await;
}
