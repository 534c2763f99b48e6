//! Messages of newer and of hostile peers: survived, or rejected with a reason; never a panic.

use muster_model::{Health, MetricType, RunOutcome};
use muster_proto::convert::{definitions_from_wire, report_from_wire, report_to_wire};
use muster_proto::v1;
use proptest::prelude::*;
use prost::Message as _;

fn wire_report() -> v1::Report {
    v1::Report {
        epoch: 5,
        sequence: 1,
        clock: Some(v1::Clock::default()),
        ..v1::Report::default()
    }
}

/// A field number that no message of ours uses, as a newer peer might.
const UNKNOWN_FIELD: [u8; 4] = [0xca, 0x3e, 0x01, 0x2a];

#[test]
fn an_unknown_field_of_a_newer_peer_is_survived() {
    let mut bytes = wire_report().encode_to_vec();
    bytes.extend_from_slice(&UNKNOWN_FIELD);
    let read = v1::Report::decode(bytes.as_slice()).unwrap();
    assert_eq!(read, wire_report());

    let mut frame = v1::AgentFrame::default().encode_to_vec();
    frame.extend_from_slice(&UNKNOWN_FIELD);
    assert_eq!(v1::AgentFrame::decode(frame.as_slice()).unwrap().body, None);
}

#[test]
fn a_resource_of_an_unknown_kind_is_left_out_and_named() {
    let resource = |kind| v1::Resource {
        kind,
        key: format!("k{kind}"),
        ..v1::Resource::default()
    };
    let wire = v1::Report {
        resources: vec![resource(999), resource(2)],
        ..wire_report()
    };
    let report = report_from_wire(wire).unwrap();
    assert_eq!(report.resources.len(), 1);
    assert!(
        report.problems[0].message.contains("k999"),
        "{:?}",
        report.problems
    );
}

#[test]
fn an_unknown_health_never_counts_as_good() {
    let resource = v1::Resource {
        kind: 2,
        key: "k".to_owned(),
        health: 77,
        ..v1::Resource::default()
    };
    let report = report_from_wire(v1::Report {
        resources: vec![resource],
        ..wire_report()
    })
    .unwrap();
    assert_eq!(report.resources[0].health, Some(Health::Unknown));
}

#[test]
fn an_unknown_outcome_is_a_failure_and_an_unknown_type_untyped() {
    let run = v1::CollectorRun {
        outcome: 77,
        ..v1::CollectorRun::default()
    };
    let report = report_from_wire(v1::Report {
        runs: vec![run],
        ..wire_report()
    })
    .unwrap();
    assert_eq!(report.runs[0].outcome, RunOutcome::Failed);

    let series = v1::SeriesDef {
        name: "a".to_owned(),
        r#type: 77,
        ..v1::SeriesDef::default()
    };
    let (first, series) = definitions_from_wire(v1::Definitions {
        epoch: 1,
        first_id: 1,
        series: vec![series],
    })
    .unwrap();
    assert_eq!((first, series[0].metric_type), (1, MetricType::Untyped));
}

#[test]
fn blocks_keep_their_times_ids_and_bits() {
    let wire = v1::Report {
        blocks: vec![v1::SampleBlock {
            time_deltas_ms: vec![1_000, 15_000],
            series_deltas: vec![7, -3],
            values: vec![f64::NAN, -0.0, f64::INFINITY, muster_model::STALE_NAN],
        }],
        ..wire_report()
    };
    let report = report_from_wire(wire.clone()).unwrap();
    assert_eq!(report.blocks[0].times_ms(), [1_000, 16_000]);
    assert_eq!(report.blocks[0].series(), [7, 4]);
    let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    assert_eq!(
        bits(&report_to_wire(report).blocks[0].values),
        bits(&wire.blocks[0].values)
    );
}

#[test]
fn contradictions_are_rejected() {
    let block = |values: usize, ids: Vec<i64>| v1::Report {
        blocks: vec![v1::SampleBlock {
            time_deltas_ms: vec![1],
            series_deltas: ids,
            values: vec![0.0; values],
        }],
        ..wire_report()
    };
    for wire in [
        v1::Report {
            sequence: 0,
            ..wire_report()
        },
        v1::Report {
            clock: None,
            ..wire_report()
        },
        block(2, vec![1]),
        block(1, vec![0]),
        block(1, vec![-1]),
        block(1, vec![i64::from(u32::MAX) + 1]),
        v1::Report {
            resources: vec![v1::Resource {
                kind: 2,
                ..v1::Resource::default()
            }],
            ..wire_report()
        },
        v1::Report {
            gaps: vec![v1::Gap {
                range: Some(v1::SequenceRange { first: 2, last: 1 }),
                ..v1::Gap::default()
            }],
            ..wire_report()
        },
    ] {
        assert!(report_from_wire(wire.clone()).is_err(), "{wire:?}");
    }
    let from_zero = v1::Definitions {
        epoch: 1,
        first_id: 0,
        series: vec![],
    };
    assert!(definitions_from_wire(from_zero).is_err());
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        if let Ok(report) = v1::Report::decode(bytes.as_slice()) {
            let _ = report_from_wire(report);
        }
        if let Ok(definitions) = v1::Definitions::decode(bytes.as_slice()) {
            let _ = definitions_from_wire(definitions);
        }
        if let Ok(fragment) = v1::Fragment::decode(bytes.as_slice()) {
            let _ = muster_proto::framing::Joiner::default().push(fragment);
        }
        if let Ok(text) = std::str::from_utf8(&bytes) {
            let _ = muster_proto::token::EnrolmentToken::parse(text);
        }
    }
}
