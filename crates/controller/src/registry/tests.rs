//! Registries of the tests' own: what is asked of them, and what becomes of their answers.

mod ages;
mod fake;
mod protocol;
mod real;
mod rounds;

use std::sync::Arc;
use std::time::Duration;

use muster_base::id::ServerId;
use muster_model::{Clock, Inventory, Report, Resource, ResourceKey, ResourceKind};
use muster_notify::{Guard, Network, Roots, SystemResolver};

use super::*;
use crate::app::servers::NewServer;
use crate::app::tests::{TestApp, quick};
use crate::store::apply::AppliedReport;

/// An app with servers that run containers, and what registries say to it.
struct Fleet {
    test: TestApp,
    registries: Registries,
    position: i64,
}

/// A container: name, image, what its image is known as, and its image's id.
type Container<'a> = (&'a str, &'a str, Vec<String>, &'a str);

impl Fleet {
    async fn new() -> Self {
        Self::with(Duration::from_secs(60)).await
    }

    async fn with(total_max: Duration) -> Self {
        let test = TestApp::with(quick()).await;
        let outbound = Outbound {
            total_max,
            ..outbound(vec!["127.0.0.0/8".parse().unwrap()])
        };
        let registries = Registries::new(Arc::clone(&test.app), outbound);
        Self {
            test,
            registries,
            position: 0,
        }
    }

    async fn server(&self, hostname: &str) -> ServerId {
        let new = NewServer {
            hostname: hostname.to_owned(),
            ..NewServer::default()
        };
        self.test.app.create_server(new, "admin").await.unwrap().server.id
    }

    /// What a server runs from now on.
    async fn runs(&mut self, server: ServerId, containers: &[Container<'_>]) {
        self.position += 1;
        let now_ms = self.test.clock.now_ms();
        let clock = Clock {
            wall_ms: now_ms,
            boottime_ms: 1,
            boot_id: "boot".to_owned(),
        };
        let mut report = Report::empty(1, u64::try_from(self.position).unwrap(), clock);
        report.resources = containers.iter().map(container).collect();
        report.inventories = vec![Inventory {
            collector: "containers".to_owned(),
            observed_ms: now_ms,
            keys: report
                .resources
                .iter()
                .map(|resource| resource.key.clone())
                .collect(),
            links: Vec::new(),
        }];
        let applied = AppliedReport {
            position: self.position,
            server,
            report: Arc::new(report),
            received_ms: now_ms,
        };
        self.test.app.store().apply_reports(&[applied]).await.unwrap();
    }

    /// What could be done with a container.
    async fn decide(&self, (_, image, repo_digests, image_id): &Container<'_>, track: &str) -> Decision {
        self.decide_aged((image, repo_digests, image_id), track, Duration::ZERO)
            .await
    }

    async fn decide_aged(
        &self,
        (image, repo_digests, image_id): (&str, &[String], &str),
        track: &str,
        min_age: Duration,
    ) -> Decision {
        let wanted = Wanted {
            reference: &image.parse().unwrap(),
            platform: &"linux/amd64".parse().unwrap(),
            repo_digests,
            image_id: Some(image_id),
            created_ms: None,
            track: &track.parse().unwrap(),
            min_age,
            allowed: &[],
            excluded: &[],
            bad: &[],
            now_ms: self.test.clock.now_ms(),
        };
        self.registries.candidate(&wanted).await.unwrap()
    }

    async fn latest(&self, image: &str) -> ImageCheck {
        let image = image.parse().unwrap();
        let platform = "linux/amd64".parse().unwrap();
        self.registries.latest(&image, &platform).await.unwrap().unwrap()
    }
}

fn container((name, image, repo_digests, image_id): &Container<'_>) -> Resource {
    let key = ResourceKey::new(format!("container:docker:{name}"));
    let mut container = Resource::new(ResourceKind::Container, key, *name);
    container
        .set("image", Some(*image))
        .set("image_id", Some(*image_id))
        .set("platform", Some("linux/amd64"))
        .set("repo_digests", Some(repo_digests.clone()));
    container
}

fn offered(decision: Decision) -> Box<Offer> {
    match decision {
        Decision::Update(offer) => offer,
        other => panic!("no update: {other:?}"),
    }
}

fn unknown(decision: Decision) -> String {
    match decision {
        Decision::Unknown(why) => why,
        other => panic!("known: {other:?}"),
    }
}

/// Reaches nothing: for tests that are about something else.
pub(crate) fn unreachable(app: &Arc<App>) -> Registries {
    Registries::new(Arc::clone(app), outbound(Vec::new()))
}

fn outbound(allowed: Vec<ipnet::IpNet>) -> Outbound {
    Outbound {
        allow_loopback: !allowed.is_empty(),
        network: Network::new(Arc::new(SystemResolver), Guard::new(allowed)),
        roots: Roots::of_pem(&authority()).unwrap(),
        total_max: Duration::from_secs(60),
        pause: Duration::ZERO,
    }
}

/// Somebody whom nobody trusts.
fn authority() -> String {
    let key = rcgen::KeyPair::generate().unwrap();
    let names = vec!["nobody.example.org".to_owned()];
    let params = rcgen::CertificateParams::new(names).unwrap();
    params.self_signed(&key).unwrap().pem()
}
