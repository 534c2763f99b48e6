//! The whole agent: collectors, reporter, outbox and stream, from start to end.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use muster_agent::collect::runner::Plan;
use muster_agent::collect::{ALL, Context};
use muster_agent::epoch::Epoch;
use muster_agent::host::Host;
use muster_agent::identity::{Identity, IdentityDir};
use muster_agent::run::{Options, RunError, run};
use muster_base::shutdown::CancellationToken;
use muster_proto::v1::agent_message::Body as MessageBody;
use muster_proto::v1::controller_frame::Body as ControllerBody;
use muster_proto::v1::{CollectNow, Report, RunOutcome};
use rcgen::KeyPair;
use tempfile::TempDir;
use tokio_util::task::AbortOnDropHandle;

use crate::controller::{Controller, Link};
use crate::pki::Pki;

pub(crate) struct Agent {
    dir: TempDir,
    shutdown: CancellationToken,
    task: AbortOnDropHandle<Result<(), RunError>>,
}

impl Agent {
    /// An enrolled agent on a server that has a name and a load.
    pub(crate) fn start(pki: &Pki, controller: &str) -> Self {
        Self::start_as(controller, |key| pki.agent_with(key))
    }

    /// The same with an identity for the key that it is given.
    pub(crate) fn start_as(controller: &str, identity: impl FnOnce(&KeyPair) -> Identity) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(dir.path()).unwrap();
        for (file, text) in [
            ("proc/sys/kernel/hostname", "host-w\n"),
            ("proc/loadavg", "0.10 0.20 0.30 1/100 4242\n"),
        ] {
            let file = path.join("root").join(file);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        }
        let dir_of_identity = IdentityDir::below(path);
        let mut enrolled = identity(&dir_of_identity.key_or_new().unwrap());
        controller.clone_into(&mut enrolled.controller);
        dir_of_identity.store(&enrolled).unwrap();
        let options = Options {
            data_dir: path.to_owned(),
            controller: None,
            host: Host::under(&path.join("root")).unwrap(),
            context: Context::new(Arc::default()),
            plans: plans(),
            outbox_bytes_max: 1024 * 1024,
            privileged: None,
            user: None,
            alarm: None,
            executor: None,
        };
        let shutdown = CancellationToken::new();
        let task = AbortOnDropHandle::new(tokio::spawn(run(options, shutdown.clone())));
        Self { dir, shutdown, task }
    }

    pub(crate) fn path(&self) -> Utf8PathBuf {
        Utf8PathBuf::from_path_buf(self.dir.path().to_owned()).unwrap()
    }

    /// Ends the agent; returns whether its epoch counts as ended in order.
    async fn end(self) -> bool {
        let path = self.path();
        self.shutdown.cancel();
        self.task.await.unwrap().unwrap();
        Epoch::begin(&path).unwrap().previous().unwrap().ended_cleanly
    }
}

/// Every collector at its own interval, but one every second, so that no test waits long for a report.
fn plans() -> Vec<Plan> {
    let interval = |name, usual| match name {
        "load" => Duration::from_secs(1),
        _ => usual,
    };
    ALL.iter()
        .map(|descriptor| Plan::new(descriptor, interval(descriptor.name, descriptor.interval)))
        .collect()
}

/// Takes and acknowledges reports until `enough`.
async fn take_until(link: &mut Link, mut enough: impl FnMut(&MessageBody) -> bool) {
    loop {
        let message = link.message().await;
        if let MessageBody::Report(Report { epoch, sequence, .. }) = message {
            link.ack(epoch, &[(sequence, sequence)]).await;
        }
        if enough(&message) {
            return;
        }
    }
}

#[tokio::test]
async fn every_collector_is_heard_of_and_the_end_is_in_order() {
    let pki = Pki::new();
    let mut controller = Controller::start(&pki).await;
    let agent = Agent::start(&pki, &controller.address.to_string());
    let (mut link, hello) = controller.accept().await;
    assert_eq!(hello.hostname, "host-w");
    link.welcome(hello.epoch, &[], 0).await;
    let mut missing: BTreeSet<&str> = ALL.iter().map(|descriptor| descriptor.name).collect();
    missing.insert("agent");
    take_until(&mut link, |message| {
        if let MessageBody::Report(report) = message {
            for run in &report.runs {
                assert_ne!(run.outcome(), RunOutcome::Unspecified);
                missing.remove(run.collector.as_str());
            }
        }
        missing.is_empty()
    })
    .await;

    let now = CollectNow {
        request_id: 8,
        collectors: vec!["load".to_owned()],
    };
    link.send(ControllerBody::CollectNow(now)).await;
    let (mut done, mut carried) = (None, 0);
    take_until(&mut link, |message| {
        match message {
            MessageBody::CollectDone(message) => done = Some(message.clone()),
            MessageBody::Report(report) if report.runs.iter().any(|run| run.collector == "load") => {
                carried = report.sequence;
            }
            _ => {}
        }
        done.as_ref().is_some_and(|done| done.last_sequence <= carried)
    })
    .await;
    let done = done.unwrap();
    assert!(done.success, "{}", done.message);
    assert_eq!((done.request_id, done.epoch), (8, hello.epoch));

    let acking = tokio::spawn(async move { take_until(&mut link, |_| false).await });
    assert!(agent.end().await);
    acking.abort();
}

#[tokio::test]
async fn what_could_not_be_delivered_is_kept_and_the_end_is_clean() {
    let pki = Pki::new();
    let mut controller = Controller::start(&pki).await;
    let agent = Agent::start(&pki, &controller.address.to_string());
    let (mut link, hello) = controller.accept().await;
    link.welcome(hello.epoch, &[], 0).await;
    while !matches!(link.message().await, MessageBody::Report(_)) {}
    assert!(agent.end().await);
}

#[tokio::test]
async fn without_an_identity_nothing_starts() {
    let dir = tempfile::tempdir().unwrap();
    let path = Utf8Path::from_path(dir.path()).unwrap();
    let options = Options {
        data_dir: path.join("data"),
        controller: None,
        host: Host::under(path).unwrap(),
        context: Context::default(),
        plans: Vec::new(),
        outbox_bytes_max: 1024 * 1024,
        privileged: None,
        user: None,
        alarm: None,
        executor: None,
    };
    let error = run(options, CancellationToken::new()).await.unwrap_err();
    assert!(error.to_string().contains("muster-agent enroll"), "{error}");
    assert!(!path.join("data/epoch").exists());
}
