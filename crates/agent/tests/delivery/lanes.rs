//! What goes first on the stream, and how much of it may be on its way.

use std::sync::Arc;
use std::time::Duration;

use muster_agent::outbox::Outbox;
use muster_model::{Report, SampleBlock};
use muster_proto::v1::controller_frame::Body as ControllerBody;
use muster_proto::v1::{Close, CloseReason, Credits, Lane, Welcome};

use crate::controller::{Controller, Link, welcome};
use crate::pki::Pki;
use crate::stream::{Agent, EPOCH, clock, define, report_of};

/// A report whose bytes do not pack.
fn noise(values: u64) -> Report {
    let mut report = Report::empty(0, 0, clock());
    let noise = (0..values).map(|n| f64::from_bits(n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 2));
    let series = (1..=u32::try_from(values).unwrap()).collect();
    report
        .blocks
        .push(SampleBlock::new(vec![1], series, noise.collect()).unwrap());
    report
}

/// A pair of which the agent holds what `fill` has pushed, and all of that is old.
async fn with_backlog(fill: impl FnOnce(&Outbox)) -> (Controller, Agent) {
    let pki = Pki::new();
    let controller = Controller::start(&pki).await;
    let outbox = Arc::new(Outbox::new(EPOCH, None, usize::MAX));
    fill(&outbox);
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(61)).await;
    tokio::time::resume();
    let agent = Agent::start_with(&pki, &controller, outbox);
    (controller, agent)
}

fn six(outbox: &Outbox) {
    for _ in 0..6 {
        outbox.push(report_of(0));
    }
}

async fn sequences(link: &mut Link, count: usize) -> Vec<u64> {
    let mut sequences = Vec::new();
    for _ in 0..count {
        sequences.push(link.report().await.sequence);
    }
    sequences
}

#[tokio::test]
async fn what_is_live_goes_newest_first_and_then_the_backlog_oldest_first() {
    let (mut controller, agent) = with_backlog(six).await;
    agent.push(0);
    agent.push(0);
    let (mut link, _) = controller.accept().await;
    link.welcome(EPOCH, &[], 0).await;
    assert_eq!(sequences(&mut link, 8).await, [8, 7, 1, 2, 3, 4, 5, 6]);
    let lanes: Vec<Lane> = link.fragments.iter().map(|(lane, _)| *lane).collect();
    assert_eq!(lanes[..2], [Lane::Live, Lane::Live]);
    assert!(lanes[2..].iter().all(|lane| *lane == Lane::Backlog), "{lanes:?}");
}

#[tokio::test]
async fn a_live_report_overtakes_a_long_one_of_the_backlog_between_two_frames() {
    let long = |outbox: &Outbox| {
        for _ in 0..40 {
            outbox.push(noise(28_000));
        }
    };
    let (mut controller, agent) = with_backlog(long).await;
    let (mut link, _) = controller.accept().await;
    let credit = 64 * 1024 * 1024;
    link.send(ControllerBody::Welcome(Welcome {
        credit_bytes: credit,
        ..welcome(EPOCH, &[], 0)
    }))
    .await;
    assert_eq!(link.report().await.sequence, 1);
    let live = agent.push(0);
    while !link.fragments.contains(&(Lane::Live, live)) {
        link.message().await;
    }
    let before = link
        .fragments
        .iter()
        .take_while(|(_, number)| *number != live)
        .count();
    let left = 40 * 4 - before;
    println!("the live report went after {before} frames of the backlog, before {left} others");
    assert!(0 < left);
}

/// D4: the controller reads as slowly as a slow link carries.
#[tokio::test]
async fn what_alerts_depend_on_is_acknowledged_while_live_reports_and_backlog_wait() {
    let long = |outbox: &Outbox| {
        for _ in 0..40 {
            outbox.push(noise(28_000));
        }
    };
    let (mut controller, agent) = with_backlog(long).await;
    for _ in 0..40 {
        agent.outbox.push(noise(28_000));
    }
    let (mut link, _) = controller.accept().await;
    link.send(ControllerBody::Welcome(Welcome {
        credit_bytes: 64 * 1024 * 1024,
        ..welcome(EPOCH, &[], 0)
    }))
    .await;
    link.report().await;
    let urgent = agent.outbox.push_urgent(Report::empty(0, 0, clock()));
    while !link.fragments.contains(&(Lane::Alert, urgent)) {
        link.message().await;
    }
    link.ack(EPOCH, &[(urgent, urgent)]).await;
    agent.events.wait_for(&format!("acked {EPOCH} [{urgent}]")).await;
    let before = link.fragments.len() - 1;
    let left = agent.outbox.stats().held_reports;
    println!("acknowledged after {before} frames of others, while {left} of 80 reports were still to be");
    assert_eq!(left, 80);
    assert!(before < 80 * 4 / 2);
}

/// D4
#[tokio::test]
async fn what_alerts_depend_on_has_credit_of_its_own() {
    let long = |outbox: &Outbox| {
        for _ in 0..8 {
            outbox.push(noise(10_000));
        }
    };
    let (mut controller, agent) = with_backlog(long).await;
    let (mut link, _) = controller.accept().await;
    link.send(ControllerBody::Welcome(Welcome {
        credit_bytes: 100_000,
        alert_bytes: Some(100),
        ..welcome(EPOCH, &[], 0)
    }))
    .await;
    let old = link.report().await.sequence;
    agent.outbox.push(noise(10_000));
    let live = link.report().await.sequence;
    agent.outbox.push(noise(10_000));
    // Nothing is acknowledged: neither live reports nor backlog may go.
    let urgent: Vec<u64> = (0..3)
        .map(|_| agent.outbox.push_urgent(Report::empty(0, 0, clock())))
        .collect();
    let first = link.report().await.sequence;
    assert!(urgent.contains(&first) && !urgent.contains(&old) && !urgent.contains(&live));
    link.ack(EPOCH, &[(first, first)]).await;
    let second = link.report().await.sequence;
    assert!(urgent.contains(&second) && second != first);
    let alerts = link.fragments.iter().filter(|(lane, _)| *lane == Lane::Alert);
    assert!(alerts.count() <= 3);
    link.ack(EPOCH, &[(live, live)]).await;
    while link.report().await.sequence != live + 1 {}
}

#[tokio::test]
async fn the_backlog_has_half_of_the_credit_and_live_reports_the_rest() {
    // Each has some 90 kB.
    let long = |outbox: &Outbox| {
        for _ in 0..8 {
            outbox.push(noise(10_000));
        }
    };
    let (mut controller, agent) = with_backlog(long).await;
    let (mut link, _) = controller.accept().await;
    link.send(ControllerBody::Welcome(Welcome {
        credit_bytes: 520_000,
        ..welcome(EPOCH, &[], 0)
    }))
    .await;
    assert_eq!(sequences(&mut link, 2).await, [1, 2]);
    let live = agent.push(0);
    assert_eq!(
        link.report().await.sequence,
        live,
        "a third old one is beyond the half"
    );
    link.ack(EPOCH, &[(1, 1)]).await;
    assert_eq!(link.report().await.sequence, 3);
    // A controller that is under pressure takes the share away; one report may always be on its way.
    link.send(ControllerBody::Credits(Credits {
        credit_bytes: 520_000,
        backlog_bytes: Some(0),
    }))
    .await;
    agent.events.wait_for("connected").await;
    link.ack(EPOCH, &[(2, 2)]).await;
    let live = agent.push(0);
    assert_eq!(link.report().await.sequence, live);
    link.ack(EPOCH, &[(3, 3)]).await;
    assert_eq!(link.report().await.sequence, 4);
}

#[tokio::test]
async fn definitions_go_once_and_in_order_whichever_lane_needs_them() {
    let many = |outbox: &Outbox| {
        for id in 0..3_000 {
            define(outbox, &format!("old_{id}"));
        }
        outbox.push(report_of(3_000));
    };
    let (mut controller, agent) = with_backlog(many).await;
    let (mut link, _) = controller.accept().await;
    link.welcome(EPOCH, &[], 0).await;
    link.definitions().await;
    let live = agent.push(0);
    let mut definitions = 1;
    let reports = loop {
        match link.message().await {
            muster_proto::v1::agent_message::Body::Definitions(_) => definitions += 1,
            muster_proto::v1::agent_message::Body::Report(report) => break report.sequence,
            other => panic!("{other:?}"),
        }
    };
    // Whichever report is first by then: it uses them all, so it waits for them.
    assert!([1, live].contains(&reports));
    assert_eq!(definitions, 3_000_usize.div_ceil(256));
}

#[tokio::test]
async fn a_controller_that_names_the_lowest_hole_gets_reports_in_order() {
    let (mut controller, agent) = with_backlog(six).await;
    agent.push(0);
    agent.push(0);
    let (mut link, _) = controller.accept().await;
    link.welcome(EPOCH, &[], 0).await;
    assert_eq!(link.report().await.sequence, 8);
    link.send(ControllerBody::Close(Close {
        reason: CloseReason::Overloaded.into(),
        sequence: 1,
        ..Close::default()
    }))
    .await;
    let (mut link, _) = controller.accept().await;
    link.welcome(EPOCH, &[], 0).await;
    assert_eq!(sequences(&mut link, 8).await, [1, 2, 3, 4, 5, 6, 7, 8]);
}
