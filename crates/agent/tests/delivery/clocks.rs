//! Clocks that are wrong right after a boot, before any controller has named its time.

use std::sync::Arc;

use muster_agent::clocks::ClockReader;
use muster_agent::outbox::Outbox;
use muster_agent::uplink::{Config, Observer, Uplink};
use muster_base::shutdown::CancellationToken;
use muster_model::Clock;
use tokio_util::task::AbortOnDropHandle;
use tonic::Status;

use crate::controller::Controller;
use crate::pki::{Pki, server_params_of};
use crate::stream::{EPOCH, Events};

/// The year 4200: no certificate is valid for so long.
const FAR_AHEAD_MS: i64 = 70_372_000_000_000;
/// The year 2041: the controller's certificates have expired, the agent's has not.
const AHEAD_MS: i64 = 2_240_000_000_000;

/// An agent on a machine whose wall clock shows `wall_ms`, and what becomes of it.
fn start(
    pki: &Pki,
    controller: &Controller,
    wall_ms: i64,
) -> (Arc<Events>, AbortOnDropHandle<()>, tempfile::TempDir) {
    let clocks = ClockReader::new(move || Clock {
        wall_ms,
        boottime_ms: 20_000,
        boot_id: "just-booted".to_owned(),
    });
    let config = Config {
        controller: controller.address.to_string(),
        hostname: "host-a".to_owned(),
    };
    let folder = tempfile::tempdir().unwrap();
    let kept = camino::Utf8PathBuf::from_path_buf(folder.path().join("last-good-time")).unwrap();
    let (identity, events) = (pki.agent(), Arc::new(Events::default()));
    let outbox = Arc::new(Outbox::new(EPOCH, None, usize::MAX));
    let uplink = Uplink::new(config, &identity, outbox, clocks)
        .unwrap()
        .with_good_time(kept, &identity)
        .with_observer(Arc::clone(&events) as Arc<dyn Observer>);
    let task = tokio::spawn(uplink.run(CancellationToken::new()));
    (events, AbortOnDropHandle::new(task), folder)
}

async fn controller_of(pki: &Pki, from: i32, to: i32) -> Controller {
    let chain = pki.server_of(&server_params_of(from, to));
    Controller::start_with(&chain, pki, Box::new(|_| Err(Status::unauthenticated("no")))).await
}

/// D12
#[tokio::test]
async fn an_agent_whose_clock_is_centuries_ahead_after_a_boot_finds_its_controller() {
    let pki = Pki::new();
    // One whose certificate is of the time that the agent knows of, and one whose certificate has begun since.
    for (from, to) in [(2020, 2040), (2035, 2040)] {
        let mut controller = controller_of(&pki, from, to).await;
        let (events, _agent, _folder) = start(&pki, &controller, FAR_AHEAD_MS);
        let (link, _) = controller.accept().await;
        link.welcome(EPOCH, &[], 0).await;
        events.wait_for("connected").await;
    }
}

/// D12
#[tokio::test]
async fn a_clock_that_may_be_right_still_refuses_a_certificate_that_has_expired() {
    let pki = Pki::new();
    // The year 2002 is before this program was built, whatever the clock shows.
    for (from, to, wall_ms) in [(2020, 2040, AHEAD_MS), (2001, 2002, FAR_AHEAD_MS)] {
        let controller = controller_of(&pki, from, to).await;
        let (_events, _agent, _folder) = start(&pki, &controller, wall_ms);
        controller.refused_handshakes(2).await;
        assert_eq!(controller.plain_bytes(), 0, "{from} to {to} at {wall_ms}");
    }
}
