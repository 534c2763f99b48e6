//! From reports to rows and news, over restarts.

mod clocks;

use camino::Utf8PathBuf;
use muster_base::clock::WallClock;
use muster_base::id::ServerId;
use muster_model::SampleBlock;
use serde_json::json;

use super::*;
use crate::app::servers::NewServer;
use crate::app::{self, App};
use crate::intake::tests::{EPOCH, NOW, agent, define, open_in, quick, report_of, series};
use crate::store::AlertFilter;
use crate::store::deliveries::DeliveryQuery;

struct World {
    app: Arc<App>,
    alerts: Alerts,
    running: Running,
    stop: CancellationToken,
    server: ServerId,
    position: i64,
    _folder: tempfile::TempDir,
    intake: Intake,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dir = Utf8PathBuf::from_path_buf(folder.path().to_owned()).unwrap();
        let clock = WallClock::fixed(NOW);
        let (database, key_file) = (dir.join("state.db"), dir.join("secret.key"));
        let opened = app::open(&database, &key_file, clock, app::tests::quick());
        let app = Arc::new(opened.await.unwrap());
        let new = NewServer {
            hostname: "db1".to_owned(),
            ..NewServer::default()
        };
        let server = app.create_server(new, "admin").await.unwrap().server.id;
        let intake = open_in(&dir, quick());
        define(&intake, 1, vec![series("node_load1")]).await;
        let stop = CancellationToken::new();
        let (alerts, running) = Alerts::start(Arc::clone(&app), intake.clone(), stop.clone())
            .await
            .unwrap();
        Self {
            app,
            alerts,
            running,
            stop,
            server,
            position: 0,
            _folder: folder,
            intake,
        }
    }

    /// Stops without any order, and starts from what is kept.
    async fn restart(mut self) -> Self {
        self.running.task.abort();
        let _ = self.running.task.await;
        self.stop = CancellationToken::new();
        let started = Alerts::start(Arc::clone(&self.app), self.intake.clone(), self.stop.clone()).await;
        (self.alerts, self.running) = started.unwrap();
        self
    }

    /// A report with this load.
    async fn load(&mut self, value: f64) {
        self.position += 1;
        let position = self.position;
        let time_ms = NOW + position * 10_000;
        let mut report = report_of(EPOCH, u64::try_from(position).unwrap());
        report.clock.wall_ms = time_ms;
        report.clock.boottime_ms = 1_000_000 + position * 10_000;
        report
            .blocks
            .push(SampleBlock::new(vec![time_ms], vec![1], vec![value]).unwrap());
        let record = Accepted {
            position,
            agent: agent(),
            server: self.server,
            received_ms: time_ms,
            report: Arc::new(report),
            size_bytes: 100,
        };
        self.alerts.judge(vec![Arc::new(record)]).await.unwrap();
    }

    async fn states(&self) -> Vec<(i64, &'static str)> {
        let (alerts, _) = self
            .app
            .store()
            .alerts(&AlertFilter::default(), None, 100)
            .await
            .unwrap();
        alerts
            .iter()
            .map(|alert| (alert.id, alert.state.as_str()))
            .collect()
    }

    async fn news(&self) -> Vec<String> {
        let all = DeliveryQuery::default();
        let (rows, _) = self.app.store().deliveries(all, None, 100).await.unwrap();
        rows.into_iter().rev().map(|row| row.notification_id).collect()
    }
}

fn busy() -> Rule {
    rule::read(
        json!({"name": "busy", "metric_name": "load_1m", "condition": "gt", "threshold": 4, "cooldown": 0}),
    )
    .unwrap()
}

#[tokio::test]
async fn a_report_opens_an_alert_and_another_ends_it_and_each_is_told_once_over_restarts() {
    let mut world = World::new().await;
    let rule = world.alerts.create_rule(busy(), "admin").await.unwrap().rule.id;
    assert!(0 < rule);
    world.load(1.0).await;
    assert!(world.states().await.is_empty());
    let mut changed = world.alerts.changed();
    world.load(9.0).await;
    assert_eq!(changed.try_recv().unwrap().id, 1);
    assert_eq!(world.states().await, [(1, "active")]);
    assert_eq!(world.news().await, ["1-1-firing"]);
    let mut world = world.restart().await;
    world.load(9.0).await;
    assert_eq!(world.news().await, ["1-1-firing"]);
    world.load(1.0).await;
    assert_eq!(world.states().await, [(1, "resolved")]);
    assert_eq!(world.news().await, ["1-1-firing", "1-2-resolved"]);
    world.stop.cancel();
}

#[tokio::test]
async fn reports_that_were_judged_are_not_judged_again_and_what_was_not_is() {
    let mut world = World::new().await;
    world.alerts.create_rule(busy(), "admin").await.unwrap();
    world.load(9.0).await;
    let mut world = world.restart().await;
    world.position -= 1;
    world.load(1.0).await;
    assert_eq!(world.states().await, [(1, "active")], "position 1 was judged");
    world.load(1.0).await;
    assert_eq!(world.states().await, [(1, "resolved")]);
    world.stop.cancel();
}

#[tokio::test]
async fn rules_that_come_along_are_there_once_and_do_not_come_again_when_deleted() {
    let world = World::new().await;
    let rules = world.alerts.rules().await.unwrap();
    let count = muster_alert::defaults::all().len();
    assert_eq!(rules.len(), count);
    world.alerts.delete_rule(rules[0].rule.id).await.unwrap();
    let world = world.restart().await;
    assert_eq!(world.alerts.rules().await.unwrap().len(), count - 1);
    world.stop.cancel();
}

#[tokio::test]
async fn people_acknowledge_by_their_own_name_and_a_deleted_rule_ends_its_alerts() {
    let mut world = World::new().await;
    let rule = world.alerts.create_rule(busy(), "admin").await.unwrap().rule.id;
    world.load(9.0).await;
    let note = Some("on it".to_owned());
    world.alerts.act(1, Deed::Acknowledge, "ada", note).await.unwrap();
    let alert = world.app.store().alert(1).await.unwrap().unwrap();
    assert_eq!(
        alert.acknowledgement.map(|known| known.by),
        Some("ada".to_owned())
    );
    let again = world.alerts.act(1, Deed::Acknowledge, "bob", None).await;
    assert!(matches!(again, Err(AlertError::Person(_))));
    let unknown = world.alerts.act(77, Deed::Resolve, "bob", None).await;
    assert!(matches!(unknown, Err(AlertError::NotFound { .. })));
    world.alerts.delete_rule(rule).await.unwrap();
    assert_eq!(world.states().await, [(1, "resolved")]);
    assert_eq!(
        world.news().await,
        ["1-1-firing", "1-2-acknowledged", "1-3-resolved"]
    );
    world.stop.cancel();
}
