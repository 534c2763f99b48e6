//! What no agent of ours sends: each is refused or cut to size with a counted reason, is never asked for again, and
//! other agents go on. O4: fields and values of a newer agent.

use std::collections::BTreeSet;

use muster_model::{STALE_NAN, is_stale};
use muster_proto::v1::Compression;
use prost::Message as _;

use super::*;
use crate::intake::{IntakeMetrics, Record};

/// Sends a report with the agent that keeps to the rules.
async fn goes_on(good: &mut Stream, sequence: u64) {
    good.report(report(sequence, vec![])).await;
    good.acked(&[sequence]).await;
}

fn encoded(report: muster_proto::v1::Report) -> Vec<u8> {
    AgentMessage {
        body: Some(MessageBody::Report(report)),
    }
    .encode_to_vec()
}

/// A field of number `number` that nobody knows: a varint.
fn unknown_field(number: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    prost::encoding::encode_key(number, prost::encoding::WireType::Varint, &mut bytes);
    prost::encoding::encode_varint(77, &mut bytes);
    bytes
}

/// The stored reports of an agent, in order of their place in the log.
async fn stored(world: &World, agent: AgentId) -> Vec<Report> {
    let page = world.intake.page_after(0, 10_000, usize::MAX).await.unwrap();
    let reports = page.records.into_iter().filter_map(|record| match record {
        Record::Good(accepted) if accepted.agent == agent => Some((*accepted.report).clone()),
        _ => None,
    });
    reports.collect()
}

#[tokio::test]
async fn what_cannot_be_read_closes_the_stream_with_a_counted_reason_and_others_go_on() {
    let (_folder, world) = world().await;
    let (bad, good) = (world.enrol().await, world.enrol().await);
    let (mut good, _) = world.greet(&good).await;
    let fragment = |data: Vec<u8>, compression: Compression| Fragment {
        lane: Lane::Live.into(),
        data,
        last: true,
        compression: compression.into(),
        sequence: 9,
    };
    let mut text = report_to_wire(report(9, vec![]));
    text.problems.push(muster_proto::v1::Problem {
        collector: "plain ascii".to_owned(),
        ..Default::default()
    });
    let mut not_utf8 = encoded(text);
    let at = not_utf8.windows(5).position(|window| window == b"plain").unwrap();
    not_utf8[at] = 0xff;
    // Groups of an unknown field in each other, which end in nothing.
    let nested = [0xf3, 0x3e].repeat(50_000);
    let bomb = zstd::bulk::compress(&vec![0; 64 * 1024 * 1024], 3).unwrap();
    let mut unknown_lane = fragment(vec![], Compression::None);
    unknown_lane.lane = 99;
    let cases = [
        (
            "frame_too_long",
            fragment(vec![0; 100 * 1024 * 1024], Compression::None),
        ),
        ("message_unreadable", fragment(not_utf8, Compression::None)),
        (
            "message_unreadable",
            fragment(nested[..60_000].to_vec(), Compression::None),
        ),
        (
            "message_unreadable",
            fragment(b"no zstd".to_vec(), Compression::Zstd),
        ),
        ("message_too_long", fragment(bomb, Compression::Zstd)),
        ("header", unknown_lane),
        ("header", fragment(vec![], Compression::Unspecified)),
    ];
    for (number, (reason, fragment)) in (1..).zip(cases) {
        let before = world.breaches(reason);
        let rss_before = resident_bytes();
        let (mut stream, _) = world.greet(&bad).await;
        stream.send(agent_frame::Body::Fragment(fragment)).await;
        let close = stream.closed().await;
        assert_eq!(close.reason(), CloseReason::BadFrame, "{reason}");
        assert!(!close.message.is_empty());
        // A gRPC frame that is too long is not read as far as the number.
        assert!(close.sequence == 9 || reason == "frame_too_long", "{close:?}");
        assert_eq!(world.breaches(reason), before + 1, "{reason}");
        let grown = resident_bytes().saturating_sub(rss_before);
        println!("{reason}: {grown} bytes more in use");
        goes_on(&mut good, number).await;
    }
    world.end().await;
}

/// O4
#[tokio::test]
async fn fields_and_values_of_a_newer_agent_lose_nothing() {
    let (_folder, world) = world().await;
    let identity = world.enrol().await;
    let (mut stream, _) = world.greet(&identity).await;
    stream.define(1, &["test_a"]).await;
    let mut newer = encoded(report_to_wire(report(1, vec![1])));
    newer.extend(unknown_field(500));
    stream.raw(newer, 1).await;
    // A kind of message, and a kind of frame, that there are not yet.
    stream.raw(unknown_field(99), 0).await;
    let frame = AgentFrame { body: None };
    stream.frame_tx.send(frame).await.unwrap();
    let mut odd = report_to_wire(report(2, vec![1]));
    odd.runs.push(muster_proto::v1::CollectorRun {
        collector: "new".to_owned(),
        outcome: 99,
        ..Default::default()
    });
    odd.gaps.push(muster_proto::v1::Gap {
        epoch: 5,
        range: Some(muster_proto::v1::SequenceRange { first: 1, last: 2 }),
        sample_count: None,
        reason: 99,
    });
    odd.resources.push(muster_proto::v1::Resource {
        kind: 99,
        key: "wormhole:1".to_owned(),
        ..Default::default()
    });
    stream.message(MessageBody::Report(odd), 2).await;
    stream.acked(&[1, 2]).await;
    let reports = stored(&world, identity.agent).await;
    let samples: usize = reports.iter().map(Report::sample_count).sum();
    assert_eq!((reports.len(), samples), (2, 2));
    assert_eq!(reports[1].runs[0].outcome, muster_model::RunOutcome::Failed);
    assert_eq!(reports[1].gaps[0].reason, muster_model::GapReason::Other);
    world.end().await;
}

#[tokio::test]
async fn odd_values_and_times_are_cut_to_size_counted_and_never_asked_for_again() {
    let (_folder, world) = world().await;
    let (bad, good) = (world.enrol().await, world.enrol().await);
    let (mut good, _) = world.greet(&good).await;
    let (mut stream, _) = world.greet(&bad).await;
    stream.define(1, &["test_a", "test_b", "test_c"]).await;
    let mut not_finite = report(1, vec![1, 2, 3]);
    not_finite.blocks[0]
        .values_mut()
        .copy_from_slice(&[f64::NAN, f64::INFINITY, STALE_NAN]);
    let at = |sequence, time_ms| {
        let mut report = report(sequence, vec![]);
        let block = SampleBlock::new(vec![time_ms, NOW], vec![1], vec![1.0, 2.0]);
        report.blocks.push(block.unwrap());
        report
    };
    stream.report(not_finite).await;
    stream.report(at(2, 1_000)).await;
    stream.report(at(3, 4_102_444_800_000)).await;
    stream.report(at(4, i64::MIN)).await;
    stream.acked(&[1, 2, 3, 4]).await;
    goes_on(&mut good, 1).await;
    let reports = stored(&world, bad.agent).await;
    assert!(reports[0].blocks[0].values().iter().all(|value| is_stale(*value)));
    for cut in &reports[1..] {
        // The good time stays, and what was cut off is told.
        assert_eq!(
            (cut.sample_count(), cut.gaps.len(), cut.problems.len()),
            (1, 1, 1)
        );
    }
    let metrics = world.intake.metrics();
    let counts = [
        &metrics.samples_not_finite,
        &metrics.samples_refused_old,
        &metrics.samples_refused_ahead,
    ];
    assert_eq!(counts.map(IntakeMetrics::get), [2, 2, 1]);
    // Whoever comes back is asked for none of them again.
    let (_stream, welcome) = world.greet(&bad).await;
    let listed = ranges_from_wire(&welcome.epochs[0].stored).unwrap();
    assert!((1..=4).all(|sequence| listed.contains(sequence)));
    world.end().await;
}

#[tokio::test]
async fn names_that_look_like_paths_are_only_names() {
    let (_folder, world) = world().await;
    let identity = world.enrol().await;
    let files = |world: &World| -> BTreeSet<String> {
        let parent = world.dir.parent().unwrap();
        let names = |dir: &Utf8Path| -> Vec<String> {
            let entries = dir.read_dir_utf8().unwrap();
            entries.map(|entry| entry.unwrap().path().to_string()).collect()
        };
        let beside = names(parent).into_iter().filter(|name| name.contains("evil"));
        names(&world.dir).into_iter().chain(beside).collect()
    };
    let before = files(&world);
    let (mut stream, _) = world.greet(&identity).await;
    let mut evil = series("test_a");
    evil.labels = Labels::of(&[("path", "../../evil"), ("zero", "a\u{0}b")]);
    evil.collector = "../../../evil".into();
    let definitions = definitions_to_wire(EPOCH, 1, vec![evil]);
    stream.message(MessageBody::Definitions(definitions), 0).await;
    let mut told = report(1, vec![1]);
    told.problems.push(muster_model::Problem {
        collector: "../../evil".to_owned(),
        message: "/../../evil".to_owned(),
        line: None,
    });
    stream.report(told).await;
    stream.acked(&[1]).await;
    let mut keyed = report_to_wire(report(2, vec![]));
    keyed.resources.push(muster_proto::v1::Resource {
        kind: muster_proto::v1::ResourceKind::Device.into(),
        key: "../../evil".to_owned(),
        name: "../../evil".to_owned(),
        ..Default::default()
    });
    stream.message(MessageBody::Report(keyed), 2).await;
    stream.acked(&[2]).await;
    let mut applied = world.consumers.applied.clone();
    applied.wait_for(|position| 2 <= *position).await.unwrap();
    assert_eq!(files(&world), before);
    world.end().await;
}

#[tokio::test]
async fn label_values_without_end_are_counted_and_left_out() {
    let (_folder, world) = world().await;
    let (bad, good) = (world.enrol().await, world.enrol().await);
    let (mut stream, _) = world.greet(&bad).await;
    let values = if std::env::var_os("MUSTER_TEST_FULL").is_some() {
        10_000_000
    } else {
        50_000
    };
    let per_message = 1_000;
    let rss_before = resident_bytes();
    let frame_tx = stream.frame_tx.clone();
    let flood = async move {
        for first in (1..=values).step_by(per_message) {
            let defined = (first..first + per_message as u32).map(|number| {
                let mut one = series("test_flood");
                one.labels = Labels::of(&[("value", &number.to_string())]);
                one
            });
            let body = MessageBody::Definitions(definitions_to_wire(EPOCH, first, defined.collect()));
            send_message(&frame_tx, Lane::Live, body, 0).await;
        }
        let body = MessageBody::Report(report_to_wire(report(1, vec![1])));
        send_message(&frame_tx, Lane::Live, body, 1).await;
    };
    // It takes longer than a stream is left alone with a ping.
    tokio::join!(flood, stream.acked(&[1]));
    let grown = resident_bytes().saturating_sub(rss_before);
    let refused = IntakeMetrics::get(&world.intake.metrics().definitions_refused);
    println!("{values} label values: {refused} left out, {grown} bytes more in use");
    assert_eq!(refused, u64::from(values) - 5);
    assert!(grown < 64 * 1024 * 1024);
    let (mut good, _) = world.greet(&good).await;
    goes_on(&mut good, 1).await;
    world.end().await;
}

/// A hole too many is refused by name, and what is named is always taken.
#[tokio::test]
async fn an_agent_with_too_many_holes_is_told_which_report_to_send_first() {
    let (_folder, world) = world().await;
    let identity = world.enrol().await;
    let (mut stream, _) = world.greet(&identity).await;
    let bound = muster_model::limits::RANGES_PER_EPOCH_MAX as u64;
    let odd: Vec<u64> = (0..bound).map(|n| 1 + 2 * n).collect();
    for &sequence in &odd {
        stream.report(report(sequence, vec![])).await;
    }
    stream.acked(&odd).await;
    stream.report(report(2 * bound + 10, vec![])).await;
    let close = stream.closed().await;
    assert_eq!((close.reason(), close.sequence), (CloseReason::Overloaded, 2));
    assert!(0 < close.retry_after_ms);
    let (mut stream, _) = world.greet(&identity).await;
    stream.report(report(2, vec![])).await;
    stream.report(report(2 * bound + 10, vec![])).await;
    stream.acked(&[2, 2 * bound + 10]).await;
    world.end().await;
}
