//! The stream of an enrolled agent.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use muster_agent::clocks::ClockReader;
use muster_agent::outbox::Outbox;
use muster_agent::uplink::{Cadence, Collected, Config, Control, Observer, Uplink, UplinkEvent};
use muster_base::shutdown::CancellationToken;
use muster_model::{Clock, Labels, MetricType, Report, ResourceKey, SampleBlock, SeriesDef};
use muster_proto::v1::agent_message::Body as MessageBody;
use muster_proto::v1::controller_frame::Body as ControllerBody;
use muster_proto::v1::{
    Close, CloseReason, CollectNow, Command, CommandEnvelope, CommandState, Interval, NeedDefinitions, Ping,
};
use prost::Message as _;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use crate::controller::{Controller, welcome};
use crate::pki::Pki;

pub(crate) const EPOCH: u64 = 4711;

#[derive(Default)]
pub(crate) struct Events(Mutex<Vec<String>>);

impl Events {
    pub(crate) async fn wait_for(&self, wanted: &str) {
        let seen = async {
            while !self.0.lock().unwrap().iter().any(|event| event == wanted) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), seen)
            .await
            .expect(wanted);
    }
}

impl Observer for Events {
    fn on_event(&self, event: &UplinkEvent) {
        let told = match event {
            UplinkEvent::Connected => "connected".to_owned(),
            UplinkEvent::Disconnected => "disconnected".to_owned(),
            UplinkEvent::Acked { epoch, reports } => {
                let numbers: Vec<_> = reports.iter().map(|acked| acked.sequence).collect();
                format!("acked {epoch} {numbers:?}")
            }
        };
        self.0.lock().unwrap().push(told);
    }
}

pub(crate) struct Agent {
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) events: Arc<Events>,
    control_rx: mpsc::Receiver<Control>,
    shutdown: CancellationToken,
    task: AbortOnDropHandle<()>,
}

pub(crate) fn clock() -> Clock {
    Clock {
        wall_ms: 1_700_000_000_000,
        boottime_ms: 99,
        boot_id: "boot".to_owned(),
    }
}

impl Agent {
    /// An agent of `pki` that connects to `controller`.
    fn start(pki: &Pki, controller: &Controller) -> Self {
        Self::start_with(pki, controller, Arc::new(Outbox::new(EPOCH, None, usize::MAX)))
    }

    /// One that holds something already.
    pub(crate) fn start_with(pki: &Pki, controller: &Controller, outbox: Arc<Outbox>) -> Self {
        let config = Config {
            controller: controller.address.to_string(),
            hostname: "host-a".to_owned(),
        };
        let (control_tx, control_rx) = mpsc::channel(1);
        let events = Arc::new(Events::default());
        let uplink = Uplink::new(config, &pki.agent(), Arc::clone(&outbox), ClockReader::new(clock))
            .unwrap()
            .with_control(control_tx)
            .with_observer(Arc::clone(&events) as Arc<dyn Observer>);
        let shutdown = CancellationToken::new();
        let task = AbortOnDropHandle::new(tokio::spawn(uplink.run(shutdown.clone())));
        Self {
            outbox,
            events,
            control_rx,
            shutdown,
            task,
        }
    }

    fn define(&self, name: &str) -> u32 {
        define(&self.outbox, name)
    }

    /// Pushes a report with a sample of series `id`.
    pub(crate) fn push(&self, id: u32) -> u64 {
        self.outbox.push(report_of(id))
    }
}

pub(crate) fn define(outbox: &Outbox, name: &str) -> u32 {
    let series = SeriesDef {
        name: name.to_owned().into(),
        labels: Labels::of(&[("device", "sda")]),
        metric_type: MetricType::Gauge,
        unit: "".into(),
        collector: "test".into(),
        resource_key: ResourceKey::server(),
        interval_ms: 15_000,
    };
    outbox.define(series.into()).unwrap()
}

pub(crate) fn report_of(id: u32) -> Report {
    let mut report = Report::empty(0, 0, clock());
    report
        .blocks
        .push(SampleBlock::new(vec![1], vec![id], vec![f64::from(id)]).unwrap());
    report
}

async fn pair() -> (Controller, Agent) {
    let pki = Pki::new();
    let controller = Controller::start(&pki).await;
    let agent = Agent::start(&pki, &controller);
    (controller, agent)
}

#[tokio::test]
async fn a_controller_of_another_root_gets_no_byte() {
    let (ours, theirs) = (Pki::new(), Pki::new());
    let controller = Controller::start(&theirs).await;
    let agent = Agent::start(&ours, &controller);
    agent.push(0);
    controller.refused_handshakes(2).await;
    assert_eq!(controller.plain_bytes(), 0);
    assert_eq!(agent.outbox.stats().held_reports, 1);
}

#[tokio::test]
async fn reports_follow_welcome_and_their_definitions() {
    let (mut controller, agent) = pair().await;
    agent.define("m1");
    agent.push(1);
    agent.define("m2");
    agent.push(2);
    let (mut link, hello) = controller.accept().await;
    assert_eq!((hello.epoch, hello.hostname.as_str()), (EPOCH, "host-a"));
    assert_eq!(
        (hello.epochs[0].held[0].first, hello.epochs[0].held[0].last),
        (1, 2)
    );
    assert_eq!((hello.epochs[0].definitions, hello.store_epoch), (2, 0));
    link.welcome(EPOCH, &[], 0).await;
    let first = link.definitions().await;
    assert_eq!((first.epoch, first.first_id, first.series.len()), (EPOCH, 1, 2));
    assert_eq!(link.report().await.sequence, 2);
    assert_eq!(link.report().await.sequence, 1);
    agent.define("m3");
    assert_eq!(agent.push(3), 3);
    let second = link.definitions().await;
    assert_eq!((second.first_id, second.series[0].name.as_str()), (3, "m3"));
    assert_eq!(link.report().await.sequence, 3);
    link.ack(EPOCH, &[(1, 3)]).await;
    agent.events.wait_for(&format!("acked {EPOCH} [1, 2, 3]")).await;
    assert!(agent.outbox.is_settled());
}

#[tokio::test]
async fn definitions_that_the_controller_has_are_not_sent() {
    let (mut controller, agent) = pair().await;
    for name in ["m1", "m2", "m3"] {
        agent.define(name);
    }
    agent.push(3);
    let (mut link, _) = controller.accept().await;
    link.welcome(EPOCH, &[], 2).await;
    assert_eq!(link.definitions().await.first_id, 3);
    assert_eq!(link.report().await.sequence, 1);
}

#[tokio::test]
async fn after_a_cut_what_is_not_listed_is_sent_again() {
    let (mut controller, agent) = pair().await;
    for _ in 0..4 {
        agent.push(0);
    }
    let (mut link, _) = controller.accept().await;
    link.welcome(EPOCH, &[], 0).await;
    for sequence in [4, 3, 2, 1] {
        assert_eq!(link.report().await.sequence, sequence, "the newest goes first");
    }
    link.ack(EPOCH, &[(1, 1)]).await;
    agent.events.wait_for(&format!("acked {EPOCH} [1]")).await;
    controller.cut();
    agent.events.wait_for("disconnected").await;
    let (mut link, hello) = controller.accept().await;
    assert_eq!((hello.epochs[0].held[0].first, hello.store_epoch), (2, 1));
    // The acknowledgement of 3 was lost with the connection.
    link.welcome(EPOCH, &[(1, 1), (3, 3)], 0).await;
    assert_eq!(link.report().await.sequence, 4);
    assert_eq!(link.report().await.sequence, 2);
    agent.events.wait_for(&format!("acked {EPOCH} [3]")).await;
}

#[tokio::test]
async fn missing_definitions_are_sent_again_before_the_reports() {
    let (mut controller, agent) = pair().await;
    agent.define("m1");
    agent.define("m2");
    agent.push(2);
    let (mut link, _) = controller.accept().await;
    // A controller that believes to have more than it has.
    link.welcome(EPOCH, &[], 2).await;
    assert_eq!(link.report().await.sequence, 1);
    link.send(ControllerBody::NeedDefinitions(NeedDefinitions {
        epoch: EPOCH,
        from_id: 2,
    }))
    .await;
    assert_eq!(link.definitions().await.first_id, 2);
    assert_eq!(link.report().await.sequence, 1);
}

#[tokio::test]
async fn a_controller_that_never_keeps_definitions_is_left() {
    let (mut controller, agent) = pair().await;
    agent.define("m1");
    agent.push(1);
    let (mut link, _) = controller.accept().await;
    link.welcome(EPOCH, &[], 0).await;
    for _ in 0..6 {
        link.definitions().await;
        link.report().await;
        link.send(ControllerBody::NeedDefinitions(NeedDefinitions {
            epoch: EPOCH,
            from_id: 1,
        }))
        .await;
    }
    agent.events.wait_for("disconnected").await;
}

#[tokio::test]
async fn a_report_that_is_refused_twice_becomes_a_gap() {
    let (mut controller, agent) = pair().await;
    agent.push(0);
    agent.push(0);
    for _ in 0..2 {
        let (mut link, _) = controller.accept().await;
        link.welcome(EPOCH, &[], 0).await;
        assert_eq!(link.report().await.sequence, 2);
        assert_eq!(link.report().await.sequence, 1);
        let close = Close {
            reason: CloseReason::BadFrame.into(),
            sequence: 1,
            ..Close::default()
        };
        link.send(ControllerBody::Close(close)).await;
    }
    let (mut link, hello) = controller.accept().await;
    assert_eq!(hello.epochs[0].held[0].first, 2);
    link.welcome(EPOCH, &[], 0).await;
    let carrier = link.report().await;
    assert_eq!(link.report().await.sequence, 2);
    let range = carrier.gaps[0].range.unwrap();
    assert_eq!(
        (carrier.sequence, carrier.gaps[0].epoch, range.first, range.last),
        (3, EPOCH, 1, 1)
    );
    assert_eq!(carrier.gaps[0].sample_count, Some(1));
}

#[tokio::test]
async fn a_busy_controller_is_left_alone_for_as_long_as_it_asks() {
    let (mut controller, agent) = pair().await;
    agent.push(0);
    let (mut link, _) = controller.accept().await;
    link.welcome(EPOCH, &[], 0).await;
    link.report().await;
    link.ack(EPOCH, &[(1, 1)]).await;
    let close = Close {
        reason: CloseReason::Overloaded.into(),
        retry_after_ms: 1_500,
        ..Close::default()
    };
    let closed = Instant::now();
    link.send(ControllerBody::Close(close)).await;
    controller.accept().await;
    assert!(Duration::from_millis(1_500) <= closed.elapsed());
}

#[tokio::test]
async fn a_ping_is_answered_with_the_agents_clocks() {
    let (mut controller, agent) = pair().await;
    let (mut link, hello) = controller.accept().await;
    assert_eq!(hello.clock.unwrap().wall_ms, clock().wall_ms);
    link.welcome(EPOCH, &[], 0).await;
    link.send(ControllerBody::Ping(Ping {
        id: 12,
        wall_ms: 5,
        fleet_size: 0,
    }))
    .await;
    agent.events.wait_for("connected").await;
    while link.pongs.is_empty() {
        match link.frame().await.unwrap() {
            muster_proto::v1::agent_frame::Body::Pong(pong) => link.pongs.push(pong),
            other => panic!("{other:?}"),
        }
    }
    let pong_clock = link.pongs[0].clock.clone().unwrap();
    assert_eq!(
        (
            link.pongs[0].id,
            pong_clock.boottime_ms,
            pong_clock.boot_id.as_str()
        ),
        (12, 99, "boot")
    );
}

#[tokio::test]
async fn a_command_is_refused_and_never_silently() {
    let (mut controller, _agent) = pair().await;
    let (mut link, _) = controller.accept().await;
    link.welcome(EPOCH, &[], 0).await;
    let command = Command {
        id: vec![9; 16],
        ..Command::default()
    }
    .encode_to_vec();
    link.send(ControllerBody::Command(CommandEnvelope {
        command,
        ..CommandEnvelope::default()
    }))
    .await;
    let MessageBody::CommandStatus(status) = link.message().await else {
        panic!("no status");
    };
    assert_eq!(
        (status.id.as_slice(), status.state()),
        (&[9; 16][..], CommandState::Refused)
    );
    assert_eq!(status.message, "this agent takes no commands");
}

#[tokio::test]
async fn a_collection_is_handed_on_and_its_end_told() {
    let (mut controller, mut agent) = pair().await;
    let (mut link, _) = controller.accept().await;
    link.welcome(EPOCH, &[], 0).await;
    let now = CollectNow {
        request_id: 31,
        collectors: vec!["cpu".to_owned()],
    };
    link.send(ControllerBody::CollectNow(now)).await;
    let Some(Control::CollectNow { collectors, reply }) = agent.control_rx.recv().await else {
        panic!("no collection");
    };
    assert_eq!(collectors, ["cpu"]);
    let last_sequence = agent.push(0);
    reply
        .send(Collected {
            success: true,
            message: "ran".to_owned(),
            last_sequence,
        })
        .unwrap();
    let mut done = None;
    while done.is_none() {
        if let MessageBody::CollectDone(message) = link.message().await {
            done = Some(message);
        }
    }
    let done = done.unwrap();
    assert_eq!(
        (done.request_id, done.success, done.epoch, done.last_sequence),
        (31, true, EPOCH, 1)
    );
}

#[tokio::test]
async fn a_collection_that_nobody_can_take_is_answered_at_once() {
    let (mut controller, agent) = pair().await;
    let (mut link, _) = controller.accept().await;
    drop(agent.control_rx);
    link.welcome(EPOCH, &[], 0).await;
    link.send(ControllerBody::CollectNow(CollectNow {
        request_id: 1,
        collectors: Vec::new(),
    }))
    .await;
    let MessageBody::CollectDone(done) = link.message().await else {
        panic!("no answer");
    };
    assert!(!done.success && !done.message.is_empty());
}

#[tokio::test]
async fn intervals_come_with_the_welcome_and_later() {
    let (mut controller, mut agent) = pair().await;
    let (link, _) = controller.accept().await;
    let of = |interval_ms| {
        vec![Interval {
            collector: "smart".to_owned(),
            interval_ms,
        }]
    };
    let greeting = muster_proto::v1::Welcome {
        intervals: of(60_000),
        ..welcome(EPOCH, &[], 0)
    };
    link.send(ControllerBody::Welcome(greeting)).await;
    for wanted_ms in [60_000, 30_000] {
        let Some(Control::SetCadence(cadence)) = agent.control_rx.recv().await else {
            panic!("no intervals");
        };
        let wanted = Cadence {
            intervals: vec![("smart".to_owned(), Some(Duration::from_millis(wanted_ms)))],
            heartbeat_only: wanted_ms == 30_000,
        };
        assert_eq!(cadence, wanted);
        let later = muster_proto::v1::SetIntervals {
            intervals: of(30_000),
            heartbeat_only: true,
        };
        link.send(ControllerBody::SetIntervals(later)).await;
    }
}

#[tokio::test]
async fn a_long_report_travels_in_short_frames() {
    let (mut controller, agent) = pair().await;
    let mut report = Report::empty(0, 0, clock());
    let noise: Vec<f64> = (0..28_000_u64)
        .map(|n| f64::from_bits(n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 2))
        .collect();
    report
        .blocks
        .push(SampleBlock::new(vec![1], (1..=28_000).collect(), noise.clone()).unwrap());
    agent.outbox.push(report);
    let (mut link, _) = controller.accept().await;
    link.welcome(EPOCH, &[], 0).await;
    // The joiner refuses frames and messages beyond their limits.
    let received = link.report().await;
    assert_eq!(received.blocks[0].values, noise);
}

#[tokio::test]
async fn a_report_beyond_the_limit_is_given_up_and_the_stream_goes_on() {
    let (mut controller, agent) = pair().await;
    let mut report = Report::empty(0, 0, clock());
    for _ in 0..2 {
        report
            .blocks
            .push(SampleBlock::new(vec![1], (1..=20_000).collect(), vec![0.5; 20_000]).unwrap());
    }
    agent.outbox.push(report);
    agent.push(0);
    let (mut link, _) = controller.accept().await;
    link.welcome(EPOCH, &[], 0).await;
    assert_eq!(link.report().await.sequence, 2);
    agent.push(0);
    let carrier = link.report().await;
    assert_eq!(
        (carrier.sequence, carrier.gaps[0].sample_count),
        (3, Some(40_000))
    );
}

#[tokio::test]
async fn a_silent_controller_is_left() {
    let (mut controller, agent) = pair().await;
    let (link, _) = controller.accept().await;
    link.welcome(EPOCH, &[], 0).await;
    agent.events.wait_for("connected").await;
    // From here time passes as fast as nothing happens, and nothing does.
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    agent.events.wait_for("disconnected").await;
    tokio::time::resume();
    assert!(Duration::from_secs(29) <= began.elapsed());
}

#[tokio::test]
async fn a_controller_that_says_anything_else_first_is_left() {
    let (mut controller, agent) = pair().await;
    let (link, _) = controller.accept().await;
    link.ack(EPOCH, &[(1, 1)]).await;
    controller.accept().await;
    assert!(agent.events.0.lock().unwrap().is_empty());
}

#[tokio::test]
async fn frames_of_a_newer_controller_are_survived() {
    let (mut controller, agent) = pair().await;
    agent.push(0);
    let (mut link, _) = controller.accept().await;
    link.welcome(EPOCH, &[], 0).await;
    let close = Close {
        reason: 99,
        ..Close::default()
    };
    assert_eq!(link.report().await.sequence, 1);
    link.send(ControllerBody::Close(close)).await;
    controller.accept().await;
}

#[tokio::test]
async fn a_shutdown_ends_the_stream() {
    let (mut controller, agent) = pair().await;
    let (mut link, _) = controller.accept().await;
    link.welcome(EPOCH, &[], 0).await;
    agent.events.wait_for("connected").await;
    agent.shutdown.cancel();
    agent.task.await.unwrap();
    assert!(link.frame().await.is_none());
}
