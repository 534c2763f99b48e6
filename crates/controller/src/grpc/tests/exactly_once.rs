//! D5: whatever the way does to frames and acknowledgements, what is stored is what was made, once, to the bit.

use std::collections::BTreeMap;

use super::*;
use crate::intake::{IntakeMetrics, Record};

/// A generator of our own, so that a seed says everything.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

fn produced(sequence: u64, random: &mut Random) -> Report {
    let mut made = report(sequence, vec![]);
    let rows = 1 + random.below(4);
    let times = (0..rows)
        .map(|row| NOW - 1_000 * (sequence * 10 + row) as i64)
        .collect();
    // Any finite bits are a value: also those that no decimal says exactly.
    let mut value = || loop {
        let value = f64::from_bits(random.next() << 31 ^ random.next());
        if value.is_finite() {
            return value;
        }
    };
    let values = (0..rows * 5).map(|_| value()).collect();
    made.blocks
        .push(SampleBlock::new(times, vec![1, 2, 3, 4, 5], values).unwrap());
    made
}

/// One stream: sends what is missing in any order and often, and breaks off somewhere.
async fn go(world: &World, identity: &AgentIdentity, made: &[Report], random: &mut Random) -> usize {
    let (mut stream, welcome) = world.greet(identity).await;
    let listed = ranges_from_wire(&welcome.epochs[0].stored).unwrap();
    if welcome.epochs[0].definitions < 5 {
        stream.define(1, &["a", "b", "c", "d", "e"]).await;
    }
    let missing: Vec<&Report> = made
        .iter()
        .filter(|report| !listed.contains(report.sequence))
        .collect();
    if missing.is_empty() {
        return 0;
    }
    // What is listed comes again as well: an acknowledgement may be lost.
    let mut sent: Vec<&Report> = made.iter().filter(|_| random.below(8) == 0).collect();
    sent.extend(&missing);
    let mut order = Vec::new();
    for report in sent {
        for _ in 0..random.below(6) {
            order.insert(random.below(order.len() as u64 + 1) as usize, report);
        }
    }
    let stop_at = random.below(order.len() as u64 + 2) as usize;
    for (index, report) in order.into_iter().enumerate() {
        let sequence = report.sequence;
        let message = AgentMessage {
            body: Some(MessageBody::Report(report_to_wire(report.clone()))),
        };
        let lane = [Lane::Live, Lane::Alert, Lane::Backlog][random.below(3) as usize];
        let mut fragments = framing::cut(&message, lane, sequence).unwrap();
        if index == stop_at {
            // In the middle of a message.
            fragments[0].last = false;
            fragments.truncate(1);
            stream
                .send(agent_frame::Body::Fragment(fragments.remove(0)))
                .await;
            break;
        }
        for fragment in fragments {
            stream.send(agent_frame::Body::Fragment(fragment)).await;
        }
    }
    // Sometimes an acknowledgement is waited for and sometimes all of them are lost.
    if random.below(2) == 0 {
        let _ = tokio::time::timeout(Duration::from_millis(50), stream.next()).await;
    }
    missing.len()
}

/// D5
#[tokio::test]
async fn frames_repeated_reordered_and_cut_are_stored_once_to_the_bit() {
    let seeds = if std::env::var_os("MUSTER_TEST_FULL").is_some() {
        40
    } else {
        3
    };
    for seed in 1..=seeds {
        let (_folder, world) = world().await;
        let identity = world.enrol().await;
        let mut random = Random(seed);
        let made: Vec<Report> = (1..=300)
            .map(|sequence| produced(sequence, &mut random))
            .collect();
        let mut streams = 0;
        while go(&world, &identity, &made, &mut random).await != 0 {
            streams += 1;
            assert!(streams < 500, "seed {seed} never ends");
        }
        let page = world.intake.page_after(0, 10_000, usize::MAX).await.unwrap();
        let mut stored = BTreeMap::new();
        for record in page.records {
            let Record::Good(accepted) = record else {
                panic!("damaged")
            };
            let before = stored.insert(accepted.report.sequence, (*accepted.report).clone());
            assert!(before.is_none(), "seed {seed}: stored twice");
        }
        assert_eq!(stored.len(), made.len());
        for report in &made {
            let bits = |report: &Report| -> Vec<u64> {
                report.blocks[0]
                    .values()
                    .iter()
                    .map(|value| value.to_bits())
                    .collect()
            };
            assert_eq!(bits(&stored[&report.sequence]), bits(report), "seed {seed}");
            assert_eq!(
                stored[&report.sequence].blocks[0].times_ms(),
                report.blocks[0].times_ms()
            );
        }
        let metrics = world.intake.metrics();
        let samples: usize = made.iter().map(Report::sample_count).sum();
        assert_eq!(IntakeMetrics::get(&metrics.samples_stored), samples as u64);
        println!(
            "seed {seed}: {samples} samples in 300 reports over {streams} streams, {} repeats taken for what they are",
            IntakeMetrics::get(&metrics.reports_duplicate)
        );
        world.end().await;
    }
}
