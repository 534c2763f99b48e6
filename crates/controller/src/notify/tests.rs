//! Delivering over a real database to a server that remembers what it was told.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Mutex;

use muster_notify::{Guard, Kind, Network, Options, Roots, SystemResolver, test_news};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::app::PageRequest;
use crate::app::channels::{ChannelError, ChannelPatch, DeliveryFilter, DeliveryView, NewChannel};
use crate::app::tests::TestApp;
use crate::store::deliveries::NewNews;

const KEY: &str = "canary-signing-key-of-24-bytes";
/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a request carried: its id, and its body.
type Told = (String, Value);

/// A server that answers these statuses in order and then 200; 0 means that it never answers.
struct Sink {
    address: SocketAddr,
    told: Arc<Mutex<Vec<Told>>>,
    _accepting: JoinSet<()>,
}

impl Sink {
    async fn start(statuses: &[u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let told = Arc::new(Mutex::new(Vec::new()));
        let statuses = Arc::new(Mutex::new(VecDeque::from(statuses.to_vec())));
        let mut accepting = JoinSet::new();
        let all = Arc::clone(&told);
        accepting.spawn(async move {
            let mut held = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                held.spawn(answer(stream, Arc::clone(&all), Arc::clone(&statuses)));
            }
        });
        Self {
            address,
            told,
            _accepting: accepting,
        }
    }

    fn told(&self) -> Vec<Told> {
        self.told.lock().unwrap().clone()
    }

    /// Waits until it was told as often.
    async fn told_times(&self, count: usize) -> Vec<Told> {
        eventually(|| self.told().len() >= count).await;
        self.told()
    }
}

async fn answer(mut stream: TcpStream, told: Arc<Mutex<Vec<Told>>>, statuses: Arc<Mutex<VecDeque<u16>>>) {
    let mut bytes = Vec::new();
    let (head, body) = loop {
        if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return;
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length: usize = header(head, "content-length").parse().unwrap_or(0);
        if length <= body.len() {
            break (head.to_owned(), body.to_owned());
        }
    };
    told.lock().unwrap().push((
        header(&head, "webhook-id"),
        serde_json::from_str(&body).unwrap_or_default(),
    ));
    let status = statuses.lock().unwrap().pop_front().unwrap_or(200);
    if status == 0 {
        std::future::pending::<()>().await;
    }
    let response = format!("HTTP/1.1 {status} Told\r\ncontent-length: 6\r\n\r\nthanks");
    let _ = stream.write_all(response.as_bytes()).await;
}

fn header(head: &str, name: &str) -> String {
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    let mut found = lines.filter(|(known, _)| known.eq_ignore_ascii_case(name));
    found
        .next()
        .map(|(_, value)| value.to_owned())
        .unwrap_or_default()
}

async fn eventually(is_so: impl Fn() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .expect("it never came so");
}

fn courier() -> Courier {
    let guard = Guard::new(vec!["127.0.0.0/8".parse().unwrap()]);
    Courier::new(
        Network::new(Arc::new(SystemResolver), guard),
        Roots::of_the_system(),
    )
}

/// A worker; it is as good as killed when this goes.
struct Working(JoinHandle<()>);

impl Working {
    fn start(test: &TestApp) -> Self {
        Self(spawn(Arc::clone(&test.app), courier(), CancellationToken::new()))
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn new_webhook(url: &str) -> NewChannel {
    NewChannel {
        name: "hook".to_owned(),
        kind: Kind::Webhook,
        enabled: true,
        settings: json!({"allow_unencrypted": true}),
        secrets: BTreeMap::from([
            ("url".to_owned(), url.to_owned()),
            ("signing_key".to_owned(), KEY.to_owned()),
        ]),
        options: Options::default(),
    }
}

async fn webhook(test: &TestApp, sink: &Sink) -> i64 {
    let url = format!("http://{}/canary-path", sink.address);
    test.app.create_channel(new_webhook(&url)).await.unwrap().id
}

/// News of an alert, made up.
fn news(id: &str, alert: i64, kind: NotificationKind) -> Notification {
    let mut news = test_news("none", 0);
    (news.id, news.kind) = (id.to_owned(), kind);
    (news.alert.id, news.severity) = (alert, Severity::Warning);
    news
}

async fn hand_over(test: &TestApp, news: &[&Notification]) {
    let new: Vec<NewNews<'_>> = news
        .iter()
        .map(|notification| NewNews {
            notification,
            channels: &[],
            muted: None,
        })
        .collect();
    let now_ms = test.app.clock().now_ms();
    test.app.store().add_news(&new, now_ms).await.unwrap();
}

async fn deliveries(test: &TestApp) -> Vec<DeliveryView> {
    let all = test
        .app
        .deliveries(DeliveryFilter::default(), PageRequest::default())
        .await
        .unwrap();
    all.items
}

/// Waits until every delivery is in one of these states.
async fn all_are(test: &TestApp, states: &[&str]) -> Vec<DeliveryView> {
    let waiting = async {
        loop {
            let all = deliveries(test).await;
            if !all.is_empty() && all.iter().all(|delivery| states.contains(&delivery.state)) {
                return all;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .expect("deliveries never came so")
}

#[tokio::test]
async fn news_are_told_once_and_the_answer_is_kept() {
    let (test, sink) = (TestApp::new().await, Sink::start(&[]).await);
    let channel = webhook(&test, &sink).await;
    let _working = Working::start(&test);
    let firing = news("a1", 1, NotificationKind::Firing);
    hand_over(&test, &[&firing, &firing]).await;
    hand_over(&test, &[&firing]).await;
    let all = all_are(&test, &["sent"]).await;
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].answer.as_deref(), Some("200 thanks"));
    assert_eq!((all[0].channel_id, all[0].attempts), (Some(channel), 1));
    let told = sink.told();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].0, format!("a1.c{channel}"));
    assert_eq!(told[0].1["type"], "alert.firing");
}

/// D14: at least once, and at most twice for a crash, whatever the crash comes between.
#[tokio::test]
async fn whoever_is_killed_while_telling_tells_again_with_the_same_id() {
    // The other side has it and does not answer: a crash between sending and writing down.
    let (test, sink) = (TestApp::new().await, Sink::start(&[0, 0, 0]).await);
    webhook(&test, &sink).await;
    let firing = news("a1", 1, NotificationKind::Firing);
    hand_over(&test, &[&firing]).await;
    for crash in 1..=3 {
        let working = Working::start(&test);
        sink.told_times(crash).await;
        drop(working);
        assert_eq!(deliveries(&test).await[0].state, "waiting");
    }
    let _working = Working::start(&test);
    all_are(&test, &["sent"]).await;
    let told = sink.told();
    println!("told {} times for 3 crashes", told.len());
    assert_eq!(told.len(), 4, "once for each crash, and once in the end");
    assert!(told.iter().all(|(id, _)| *id == told[0].0));
}

#[tokio::test]
async fn a_resolve_waits_for_its_alert_while_other_news_go_on() {
    let (test, sink) = (TestApp::new().await, Sink::start(&[500]).await);
    webhook(&test, &sink).await;
    let firing = news("a1", 1, NotificationKind::Firing);
    let resolved = news("a2", 1, NotificationKind::Resolved);
    let other = news("b1", 2, NotificationKind::Firing);
    hand_over(&test, &[&firing, &resolved, &other]).await;
    let _working = Working::start(&test);
    sink.told_times(2).await;
    // The clock stands still, so the first is not tried again.
    eventually_async(async || {
        deliveries(&test)
            .await
            .iter()
            .filter(|one| one.state == "sent")
            .count()
            == 1
    })
    .await;
    let all = deliveries(&test).await;
    let of = |id: &str| all.iter().find(|one| one.notification_id == id).unwrap().clone();
    assert_eq!((of("a1").state, of("a1").attempts), ("waiting", 1));
    assert_eq!(of("a1").answer.as_deref(), Some("500 thanks"));
    assert_eq!((of("a2").state, of("a2").attempts), ("waiting", 0));
    assert_eq!(of("b1").state, "sent");
    test.pass(60_000);
    test.app.store().outbox_wake().notify_one();
    all_are(&test, &["sent"]).await;
    let order: Vec<String> = sink.told().iter().map(|(id, _)| id[..2].to_owned()).collect();
    assert_eq!(order, ["a1", "b1", "a1", "a2"]);
}

async fn eventually_async(is_so: impl AsyncFn() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .expect("it never came so");
}

#[tokio::test]
async fn what_is_refused_is_given_up_shown_and_can_be_sent_again() {
    let (test, sink) = (TestApp::new().await, Sink::start(&[404]).await);
    webhook(&test, &sink).await;
    let _working = Working::start(&test);
    hand_over(&test, &[&news("a1", 1, NotificationKind::Firing)]).await;
    let dead = all_are(&test, &["dead"]).await.remove(0);
    assert_eq!(dead.answer.as_deref(), Some("404 thanks"));
    test.app.retry_delivery(dead.id).await.unwrap();
    let sent = all_are(&test, &["sent"]).await.remove(0);
    assert_eq!(sent.id, dead.id);
    assert!(matches!(
        test.app.retry_delivery(sent.id).await,
        Err(ChannelError::NotDead)
    ));
    assert!(matches!(
        test.app.retry_delivery(999).await,
        Err(ChannelError::NoDelivery(999))
    ));
}

#[tokio::test]
async fn news_that_go_nowhere_are_written_down_with_the_reason() {
    let (test, sink) = (TestApp::new().await, Sink::start(&[]).await);
    let firing = |id| news(id, 1, NotificationKind::Firing);
    hand_over(&test, &[&firing("n1")]).await;
    let channel = webhook(&test, &sink).await;
    let now_ms = test.app.clock().now_ms();
    let muted = NewNews {
        notification: &firing("n2"),
        channels: &[],
        muted: Some("silence 4"),
    };
    let unknown = NewNews {
        notification: &firing("n3"),
        channels: &[77],
        muted: None,
    };
    test.app
        .store()
        .add_news(&[muted, unknown], now_ms)
        .await
        .unwrap();
    let critical = Options {
        filter: serde_json::from_value(json!({"severity_min": "critical"})).unwrap(),
        ..Options::default()
    };
    let patch = ChannelPatch {
        options: Some(critical),
        ..ChannelPatch::default()
    };
    test.app.change_channel(channel, patch).await.unwrap();
    let working = Working::start(&test);
    hand_over(&test, &[&firing("n4")]).await;
    all_are(&test, &["dropped", "muted", "skipped"]).await;
    drop(working);
    hand_over(&test, &[&firing("n5")]).await;
    let disable = ChannelPatch {
        enabled: Some(false),
        ..ChannelPatch::default()
    };
    test.app.change_channel(channel, disable).await.unwrap();
    let all = deliveries(&test).await;
    let told: Vec<(&str, &str, &str)> = all
        .iter()
        .rev()
        .map(|one| {
            (
                one.notification_id.as_str(),
                one.state,
                one.answer.as_deref().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("n1", "dropped", "there is no enabled channel"),
            ("n2", "muted", "silence 4"),
            ("n3", "dropped", "there is no such channel"),
            ("n4", "skipped", "the channel's filter does not want it"),
            ("n5", "dropped", "the channel was disabled"),
        ]
    );
    assert_eq!(sink.told().len(), 0);
}

#[tokio::test]
async fn a_test_goes_the_way_of_every_alert_and_says_what_the_other_side_said() {
    let (test, sink) = (TestApp::new().await, Sink::start(&[200, 500]).await);
    let channel = webhook(&test, &sink).await;
    let _working = Working::start(&test);
    let tested = test.app.test_channel(channel).await.unwrap();
    assert_eq!(
        (tested.state, tested.answer.as_deref()),
        ("sent", Some("200 thanks"))
    );
    let failed = test.app.test_channel(channel).await;
    assert!(
        matches!(&failed, Err(ChannelError::TestFailed(answer)) if answer == "500 thanks"),
        "{failed:?}"
    );
    // Nobody goes on trying for days.
    assert!(deliveries(&test).await.iter().all(|one| one.state != "waiting"));
    assert!(matches!(
        test.app.test_channel(99).await,
        Err(ChannelError::NotFound(99))
    ));
}

/// S26
#[tokio::test]
async fn secrets_are_sealed_at_rest_and_never_come_back() {
    let (test, sink) = (TestApp::new().await, Sink::start(&[]).await);
    let channel = webhook(&test, &sink).await;
    let _working = Working::start(&test);
    test.app.test_channel(channel).await.unwrap();
    let view = test.app.channel(channel).await.unwrap();
    assert_eq!(view.secrets, ["signing_key", "url"]);
    assert_eq!(view.target, "127.0.0.1");
    assert!(!format!("{view:?}").contains("canary"));
    let row = test.app.store().channel(channel).await.unwrap().unwrap();
    assert!(row.sealed.is_some() && !format!("{row:?}").contains("canary"));
    let mut looked_at = 0;
    for entry in std::fs::read_dir(&test.folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            looked_at += bytes.len();
            let is_there = bytes.windows(7).any(|window| window == b"canary-");
            assert!(!is_there, "{}", path.display());
        }
    }
    println!("bytes looked at: {looked_at}, canaries: 0");
    // Sealed for one channel, they open for no other.
    let other = ChannelPatch::default();
    let mut stolen = row.clone();
    "channel/other".clone_into(&mut stolen.seal_name);
    test.app.store().change_channel(&stolen).await.unwrap();
    assert!(matches!(
        test.app.change_channel(channel, other).await,
        Err(ChannelError::Identity(_))
    ));
}

#[tokio::test]
async fn whoever_points_a_channel_elsewhere_has_to_know_its_secrets() {
    let test = TestApp::new().await;
    let new = NewChannel {
        kind: Kind::Gotify,
        settings: json!({"url": "https://gotify.example.org"}),
        secrets: BTreeMap::from([("token".to_owned(), "canary-token".to_owned())]),
        ..new_webhook("")
    };
    let id = test.app.create_channel(new).await.unwrap().id;
    let moved = |token: Option<&str>| ChannelPatch {
        settings: Some(json!({"url": "https://evil.example.org"})),
        secrets: token
            .map(|token| ("token".to_owned(), Some(token.to_owned())))
            .into_iter()
            .collect(),
        ..ChannelPatch::default()
    };
    let refused = test.app.change_channel(id, moved(None)).await;
    let Err(ChannelError::Invalid(problems)) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(problems[0].field, "secrets.token");
    let changed = test
        .app
        .change_channel(id, moved(Some("another-token")))
        .await
        .unwrap();
    assert_eq!(changed.target, "evil.example.org");
    let renamed = ChannelPatch {
        name: Some("other".to_owned()),
        ..ChannelPatch::default()
    };
    assert_eq!(
        test.app.change_channel(id, renamed).await.unwrap().secrets,
        ["token"]
    );
}

/// D16: the sign stays away as soon as the work does, not only when the process is gone.
#[tokio::test]
async fn a_sign_of_life_is_given_only_while_the_work_is_done() {
    let sink = Sink::start(&[]).await;
    let url = format!("http://{}/ping/canary", sink.address);
    let heartbeat = muster_notify::Heartbeat::parse(&url).unwrap();
    assert!(!format!("{heartbeat:?}").contains("canary"));
    let well = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let is_well = {
        let well = Arc::clone(&well);
        move || well.load(std::sync::atomic::Ordering::SeqCst)
    };
    let stop = CancellationToken::new();
    let every = Duration::from_millis(50);
    let beating = spawn_heartbeat(heartbeat, every, courier(), is_well, stop.clone());
    eventually(|| beats(&sink) >= 3).await;
    well.store(false, std::sync::atomic::Ordering::SeqCst);
    // One may be on its way.
    tokio::time::sleep(every * 4).await;
    let given = beats(&sink);
    tokio::time::sleep(every * 10).await;
    assert_eq!(beats(&sink), given);
    well.store(true, std::sync::atomic::Ordering::SeqCst);
    eventually(|| beats(&sink) > given).await;
    stop.cancel();
    beating.await.unwrap();
}

fn beats(sink: &Sink) -> usize {
    sink.told().len()
}
