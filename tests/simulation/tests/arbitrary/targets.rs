//! What is fed: a line each. Whoever adds a parser adds it here.

use muster_controller::identity::{AgentKey, PeerCertificate};
use muster_model::{Clock, Report, SampleBlock};
use muster_parse::{
    btrfs_scrub, btrfs_stats, diskstats, loadavg, lsblk, lvm, mdadm_detail, mdstat, meminfo, mounts,
    os_release, scsi_vpd, stat, swaps, udev, uevent, zfs_list, zpool,
};
use muster_proto::framing::{self, Joiner};
use muster_proto::token::EnrolmentToken;
use muster_proto::{convert, v1};
use prost::Message as _;
use rcgen::{CertificateParams, KeyPair, SanType};
use smartmontools_parse as smart;

use crate::mutate::Corpus;
use crate::{folder, fuzz};

/// A parser of text: the folder with its captures, and the call.
macro_rules! texts {
    ($($test:ident: $folder:literal, $parse:expr;)*) => {$(
        /// S15
        #[test]
        fn $test() {
            let corpus = Corpus::of(folder($folder));
            fuzz(stringify!($test), &corpus, 1, |bytes| {
                let text = String::from_utf8_lossy(bytes);
                let _ = $parse(&text);
            });
        }
    )*};
}

texts! {
    no_diskstats_make_the_parser_panic: "crates/parse/fixtures/diskstats", diskstats::parse;
    no_stat_makes_the_parser_panic: "crates/parse/fixtures/stat", stat::parse;
    no_meminfo_makes_the_parser_panic: "crates/parse/fixtures/meminfo", meminfo::parse;
    no_loadavg_makes_the_parser_panic: "crates/parse/fixtures/loadavg", loadavg::parse;
    no_mounts_make_the_parser_panic: "crates/parse/fixtures/mounts", every_mounts;
    no_os_release_makes_the_parser_panic: "crates/parse/fixtures/os_release", os_release::parse;
    no_lsblk_makes_the_parser_panic: "crates/parse/fixtures/lsblk", every_lsblk;
    no_btrfs_device_stats_make_the_parser_panic: "crates/parse/fixtures/btrfs_stats", btrfs_stats::parse;
    no_btrfs_scrub_makes_the_parser_panic: "crates/parse/fixtures/btrfs_scrub", every_scrub;
    no_mdstat_makes_the_parser_panic: "crates/parse/fixtures/mdstat", mdstat::parse;
    no_mdadm_detail_makes_the_parser_panic: "crates/parse/fixtures/mdadm_detail", mdadm_detail::parse;
    no_udev_record_makes_the_parser_panic: "crates/parse/fixtures/udev", every_udev;
    no_lvm_report_makes_the_parser_panic: "crates/parse/fixtures/lvm", lvm::parse;
    no_zpool_status_makes_the_parser_panic: "crates/parse/fixtures/zpool_status", zpool::status::parse;
    no_zpool_list_makes_the_parser_panic: "crates/parse/fixtures/zpool_list", zpool::list::parse;
    no_zfs_list_makes_the_parser_panic: "crates/parse/fixtures/zfs_list", zfs_list::parse;
    no_smartctl_output_makes_the_parser_panic: "crates/smartmontools-parse/fixtures/lab", every_smartctl;
    no_odd_smartctl_output_makes_the_parser_panic: "crates/smartmontools-parse/fixtures/synthetic", every_smartctl;
    no_smartctl_scan_makes_the_parser_panic: "crates/smartmontools-parse/fixtures/scan", smart::scan::parse;
}

fn every_scrub(text: &str) {
    let _ = btrfs_scrub::parse(text);
    let _ = swaps::parse(text);
}

fn every_mounts(text: &str) {
    let _ = mounts::parse(text);
    let _ = mounts::parse_mounts(text);
    let _ = mounts::parse_mountinfo(text);
}

fn every_lsblk(text: &str) {
    let devices = lsblk::parse(text).value;
    let _ = lsblk::unique(&devices);
}

fn every_udev(text: &str) {
    let _ = udev::parse(text);
    let _ = uevent::parse(text);
}

fn every_smartctl(text: &str) {
    let _ = smart::verdict(&smart::parse(text).report, None);
}

/// S15
#[test]
fn no_scsi_page_makes_the_parser_panic() {
    let pages = [
        &[0, 0x80, 0, 8, b'S', b'E', b'R', b'I', b'A', b'L', b'0', b'1'][..],
        &[0, 0x83, 0, 12, 1, 3, 0, 8, 0x50, 0, 0xc5, 0, 1, 2, 3, 4][..],
    ];
    let corpus = Corpus::of(pages.map(<[u8]>::to_vec));
    fuzz("scsi_vpd", &corpus, 1, |bytes| {
        let _ = scsi_vpd::unit_serial(bytes);
        let _ = scsi_vpd::worldwide_name(&scsi_vpd::designators(bytes).value);
    });
}

fn report() -> Report {
    let clock = Clock {
        wall_ms: 1_800_000_000_000,
        boottime_ms: 5_000,
        boot_id: "5f1c2e10".to_owned(),
    };
    let mut report = Report::empty(7, 9, clock);
    let times = vec![1_800_000_000_000, 1_800_000_015_000];
    let block = SampleBlock::new(times, vec![1, 2, 3], vec![1.0, f64::NAN, -0.0, 1e300, 5.0, 6.5]).unwrap();
    report.blocks.push(block);
    report
}

/// S15, S20
#[test]
fn no_message_of_an_agent_makes_the_controller_panic() {
    let corpus = Corpus::of([
        framing::report_message(report()),
        framing::definitions_message(7, 1, vec![]),
    ]);
    fuzz("agent message", &corpus, 1, |bytes| {
        let Ok(message) = v1::AgentMessage::decode(bytes) else {
            return;
        };
        match message.body {
            Some(v1::agent_message::Body::Report(report)) => {
                if let Ok(report) = convert::report_from_wire(report) {
                    // What was taken can be stored and read back.
                    let again = convert::report_from_wire(convert::report_to_wire(report));
                    assert!(again.is_ok(), "{again:?}");
                }
            }
            Some(v1::agent_message::Body::Definitions(definitions)) => {
                let _ = convert::definitions_from_wire(definitions);
            }
            _ => {}
        }
        let _ = framing::read_definitions(bytes);
    });
}

/// S15, S17
#[test]
fn no_frames_make_the_joiner_panic_or_grow() {
    let plain = framing::report_message(report());
    let long: Vec<u8> = (0..200_000_u32)
        .flat_map(u32::to_le_bytes)
        .take(200_000)
        .collect();
    let frames = [plain, long].into_iter().flat_map(|plain| {
        let fragments = framing::cut_encoded(&plain, v1::Lane::Live, 9).unwrap();
        fragments.into_iter().map(|fragment| fragment.encode_to_vec())
    });
    // Frames behind one another, as a stream would bring them: length, then frame.
    let stream: Vec<u8> = frames
        .flat_map(|frame| [(frame.len() as u32).to_le_bytes().to_vec(), frame].concat())
        .collect();
    fuzz("frames", &Corpus::of([stream]), 4, |mut bytes| {
        let mut joiner = Joiner::default();
        while let Some((head, rest)) = bytes.split_first_chunk::<4>() {
            let length = (u32::from_le_bytes(*head) as usize).min(rest.len());
            let Ok(fragment) = v1::Fragment::decode(&rest[..length]) else {
                return;
            };
            match joiner.push(fragment) {
                Ok(Some(joined)) => assert!(joined.plain.len() <= muster_model::limits::MESSAGE_BYTES_MAX),
                Ok(None) => {}
                Err(_) => return,
            }
            bytes = &rest[length..];
        }
    });
}

/// S15
#[test]
fn no_frame_of_a_controller_makes_the_agent_panic() {
    let welcome = v1::Welcome {
        protocol: 1,
        store_id: vec![7; 16],
        epochs: vec![v1::EpochState {
            epoch: 3,
            stored: vec![v1::SequenceRange { first: 1, last: 9 }],
            definitions: 4,
        }],
        ..v1::Welcome::default()
    };
    let frame = v1::ControllerFrame {
        body: Some(v1::controller_frame::Body::Welcome(welcome)),
    };
    fuzz(
        "controller frame",
        &Corpus::of([frame.encode_to_vec()]),
        1,
        |bytes| {
            let Ok(frame) = v1::ControllerFrame::decode(bytes) else {
                return;
            };
            if let Some(v1::controller_frame::Body::Welcome(welcome)) = frame.body {
                for epoch in welcome.epochs {
                    let _ = convert::ranges_from_wire(&epoch.stored);
                }
                let _ = convert::uuid_from_wire("store_id", &welcome.store_id);
            }
        },
    );
}

/// S15
#[test]
fn no_enrolment_token_makes_the_parser_panic() {
    let token = EnrolmentToken {
        public_id: "0123456789abcdef".to_owned(),
        secret: [7; 32],
        pin: [9; 32],
    };
    let text = token.to_text();
    fuzz("enrolment token", &Corpus::text(&[&text]), 1, |bytes| {
        if let Ok(read) = EnrolmentToken::parse(&String::from_utf8_lossy(bytes)) {
            // Nothing that is damaged is taken for a token.
            assert!(read == token);
        }
    });
}

/// S15
#[test]
fn no_certificate_or_request_makes_the_controller_panic() {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    let name = "spiffe://2f0a1f6e-6d55-4a52-8a8e-6f0a3a1b7c11/agent/5f1c2e10-0c1d-4b6e-9a53-1d8f4a2b3c4d";
    params.subject_alt_names = vec![SanType::URI(name.try_into().unwrap())];
    let certificate = params.self_signed(&key).unwrap().der().to_vec();
    let request = params.serialize_request(&key).unwrap().der().to_vec();
    let proven = AgentKey::from_request(&request).unwrap();
    fuzz("certificate", &Corpus::of([certificate, request]), 2, |bytes| {
        let _ = PeerCertificate::parse(bytes, 1_800_000_000_000);
        if let Ok(key) = AgentKey::from_request(bytes) {
            assert_eq!(
                key.sha256(),
                proven.sha256(),
                "another key was proven without its signature"
            );
        }
    });
}

/// S15
#[test]
fn no_selector_makes_the_parser_panic() {
    let corpus = Corpus::text(&[
        "node_load1",
        "{__name__=~\"node_.*\",device!=\"sda\",x!~\"a|b\"}",
        "smartctl_device_temperature{temperature_type=\"current\"}",
        "{a=\"\\\"\\n\\\\\"}",
        "m{a=~\"(((((a*)*)*)*)*)\"}",
    ]);
    fuzz("selector", &corpus, 1, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let Ok(matchers) = muster_samples::selector::parse(&text) else {
            return;
        };
        for matcher in &matchers {
            let _ = matcher.matches("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!");
        }
    });
}
