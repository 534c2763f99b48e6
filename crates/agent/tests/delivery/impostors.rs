//! Those who would like to be the controller: none of them is shown a byte of the token, and each is given up in time.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use camino::Utf8PathBuf;
use muster_agent::enrol::{EnrolError, Options, enrol};
use muster_base::ErrorChain;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::controller::Controller;
use crate::pki::{Chain, Pki, expired_server_params, self_signed, server_params};

/// An agent gives up within this time.
const GIVEN_UP: Duration = Duration::from_secs(10);

/// What a listener does that speaks no TLS 1.3.
#[derive(Debug, Clone, Copy)]
enum Raw {
    /// Takes the connection and says nothing.
    Silent,
    /// Closes it.
    Closes,
    /// Says bytes that are no TLS.
    Says(&'static [u8]),
    /// Chooses TLS 1.2.
    Tls12,
    /// Says back what it hears.
    Echoes,
}

/// Bytes as they came over the wire, of all connections.
type Recorded = Arc<Mutex<Vec<u8>>>;

/// A listener that records what it hears.
async fn listen(tasks: &mut JoinSet<()>, raw: Raw, recorded: &Recorded) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let recorded = Arc::clone(recorded);
    tasks.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, raw, Arc::clone(&recorded)));
        }
    });
    address
}

async fn serve(mut stream: TcpStream, raw: Raw, recorded: Recorded) {
    let mut buffer = vec![0; 4096];
    match raw {
        Raw::Closes => return,
        Raw::Says(bytes) => drop(stream.write_all(bytes).await),
        Raw::Tls12 => {
            let heard = stream.read(&mut buffer).await.unwrap_or(0);
            recorded.lock().unwrap().extend(&buffer[..heard]);
            drop(stream.write_all(&server_hello_of_tls12()).await);
        }
        Raw::Silent | Raw::Echoes => {}
    }
    while let Ok(heard @ 1..) = stream.read(&mut buffer).await {
        recorded.lock().unwrap().extend(&buffer[..heard]);
        if matches!(raw, Raw::Echoes) && stream.write_all(&buffer[..heard]).await.is_err() {
            return;
        }
    }
}

/// A ServerHello of TLS 1.2 (RFC 5246): ECDHE with AES-GCM, no extension that says otherwise.
fn server_hello_of_tls12() -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0, 0xc0, 0x2b, 0]);
    let mut record = vec![22, 3, 3, 0, u8::try_from(body.len() + 4).unwrap()];
    record.extend([2, 0, 0, u8::try_from(body.len()).unwrap()]);
    record.extend(body);
    record
}

/// Passes a connection on and records what the agent says, as it is on the wire.
async fn tap(tasks: &mut JoinSet<()>, to: SocketAddr, recorded: &Recorded) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let recorded = Arc::clone(recorded);
    tasks.spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let recorded = Arc::clone(&recorded);
            tokio::spawn(async move {
                let far = TcpStream::connect(to).await.unwrap();
                let (mut from_agent, mut to_agent) = near.into_split();
                let (mut from_far, mut to_far) = far.into_split();
                tokio::spawn(async move {
                    let _ = tokio::io::copy(&mut from_far, &mut to_agent).await;
                });
                let mut buffer = vec![0; 4096];
                while let Ok(heard @ 1..) = from_agent.read(&mut buffer).await {
                    recorded.lock().unwrap().extend(&buffer[..heard]);
                    if to_far.write_all(&buffer[..heard]).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

/// A try to enrol, and what came of it.
struct Try {
    error: EnrolError,
    took: Duration,
}

async fn try_at(pki: &Pki, address: SocketAddr) -> Try {
    let dir = tempfile::tempdir().unwrap();
    let path = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
    std::fs::write(path.join("token"), pki.token().to_text()).unwrap();
    let options = Options {
        controller: address.to_string(),
        token_file: path.join("token"),
        data_dir: path.join("data"),
        hostname: "host-a".to_owned(),
        machine: None,
    };
    let started = Instant::now();
    let error = enrol(&options).await.unwrap_err();
    let took = started.elapsed();
    assert!(path.join("token").exists(), "the token is still good");
    assert!(!path.join("data/identity/identity.json").exists());
    Try { error, took }
}

/// Whether any part of the token that is a secret, or names one, can be found.
fn has_token(pki: &Pki, wire: &[u8]) -> bool {
    let token = pki.token();
    let text = token.to_text();
    let parts: Vec<&[u8]> = text
        .split('.')
        .map(str::as_bytes)
        .chain([&token.secret[..]])
        .collect();
    parts
        .iter()
        .any(|part| wire.windows(part.len()).any(|window| window == *part))
}

/// Chains that a false controller may present, given the true one's.
fn false_chains(pki: &Pki) -> Vec<(&'static str, Chain)> {
    let another = Pki::new();
    let mut with_true_root = Pki::new().server();
    with_true_root.certificates.push(pki.root.der().clone());
    let mut without_root = pki.server();
    without_root.certificates.pop();
    let mut client = server_params(muster_proto::CONTROLLER_NAME);
    client.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    vec![
        ("a pin of another root", another.server()),
        ("a certificate signed by itself", self_signed()),
        (
            "the right name below another root, the true root beside it",
            with_true_root,
        ),
        ("a chain without its root", without_root),
        (
            "the true root, another name",
            pki.server_of(&server_params("www.example.com")),
        ),
        (
            "the true root, long expired",
            pki.server_of(&expired_server_params()),
        ),
        ("the true root, a client's certificate", pki.server_of(&client)),
    ]
}

/// S2
#[tokio::test]
async fn no_false_controller_is_shown_a_byte_of_the_token_and_each_is_given_up_in_time_with_a_reason() {
    let pki = Arc::new(Pki::new());
    let mut tasks = JoinSet::new();
    let (mut cases, mut slowest) = (0, Duration::ZERO);
    let mut judge = |case: &str, tried: &Try, wire: &[u8], plain: usize| {
        let reason = ErrorChain(&tried.error).to_string();
        assert_eq!(plain, 0, "{case}: {reason}");
        assert!(!has_token(&pki, wire), "{case}: {reason}");
        assert!(matches!(tried.error, EnrolError::Call(_)), "{case}: {reason}");
        assert!(
            !reason.is_empty() && tried.took < GIVEN_UP,
            "{case}: {:?}, {reason}",
            tried.took
        );
        cases += 1;
        slowest = slowest.max(tried.took);
    };
    for (case, chain) in false_chains(&pki) {
        // Whoever gets that far would be an enrolment's controller; it must never be asked.
        let enrol = Box::new(move |_| panic!("{case} was shown the token"));
        let controller = Controller::start_with(&chain, &pki, enrol).await;
        let recorded = Recorded::default();
        let address = tap(&mut tasks, controller.address, &recorded).await;
        let tried = try_at(&pki, address).await;
        judge(case, &tried, &recorded.lock().unwrap(), controller.plain_bytes());
    }
    let raw = [
        ("silence", Raw::Silent),
        ("a closed connection", Raw::Closes),
        ("TLS 1.2", Raw::Tls12),
        ("an echo", Raw::Echoes),
        ("plain HTTP", Raw::Says(b"HTTP/1.1 400 Bad Request\r\n\r\n")),
        ("plain HTTP/2", Raw::Says(b"\0\0\0\x04\0\0\0\0\0")),
        ("nonsense", Raw::Says(&[0xff; 100])),
        ("an alert", Raw::Says(&[21, 3, 3, 0, 2, 2, 40])),
    ];
    let tries = raw.map(|(case, raw)| {
        let pki = Arc::clone(&pki);
        async move {
            let (mut tasks, recorded) = (JoinSet::new(), Recorded::default());
            let address = listen(&mut tasks, raw, &recorded).await;
            let tried = try_at(&pki, address).await;
            let wire = recorded.lock().unwrap().clone();
            (case, tried, wire)
        }
    });
    // Beside each other: the silent one takes its time.
    for (case, tried, wire) in futures::future::join_all(tries).await {
        // What is heard in the clear is the agent's greeting and perhaps an alert, and nothing else.
        judge(case, &tried, &wire, wire.len() / 2_000);
    }
    println!("{cases} false controllers, 0 bytes of a token said, given up after {slowest:?} at most");
}
