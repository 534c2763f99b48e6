use futures::FutureExt as _;
use muster_model::{
    Attribute, Clock, Health, Labels, Link, LinkType, MetricType, RangeSet, Report, Resource, ResourceKind,
    Sample, SequenceRange, is_stale,
};
use muster_proto::convert::report_from_wire;
use muster_proto::v1::AgentMessage;
use muster_proto::v1::agent_message::Body;
use prost::Message as _;

use super::*;
use crate::outbox::StoreMark;

struct Fixture {
    outbox: Arc<Outbox>,
    reporter: Reporter,
    now_ms: i64,
}

impl Fixture {
    fn new() -> Self {
        let outbox = Arc::new(Outbox::new(9, None, usize::MAX));
        let clocks = ClockReader::new(|| Clock {
            wall_ms: 5,
            boottime_ms: 1,
            boot_id: String::new(),
        });
        Self {
            reporter: Reporter::new(Arc::clone(&outbox), clocks),
            outbox,
            now_ms: 0,
        }
    }

    /// Reports one run of `disks` and returns what was pushed.
    fn run(&mut self, outcome: RunOutcome, facts: Option<Facts>) -> Vec<Report> {
        self.run_of("disks", outcome, facts)
    }

    fn run_of(&mut self, collector: &'static str, outcome: RunOutcome, facts: Option<Facts>) -> Vec<Report> {
        self.now_ms += 1_000;
        let tick = Tick {
            outcome,
            facts,
            ..tick(collector, self.now_ms)
        };
        self.reporter.report(vec![tick]);
        self.take()
    }

    fn facts(&mut self, facts: Facts) -> Report {
        let mut reports = self.run(RunOutcome::Facts, Some(facts));
        assert_eq!(reports.len(), 1);
        reports.remove(0)
    }

    fn take(&self) -> Vec<Report> {
        let sent: Vec<_> = std::iter::from_fn(|| self.outbox.next_unsent(u64::MAX)).collect();
        sent.iter()
            .map(|outgoing| {
                assert!(
                    outgoing.bytes.len() < split::REPORT_BYTES_MAX + 1024,
                    "{}",
                    outgoing.bytes.len()
                );
                let Some(Body::Report(report)) = AgentMessage::decode(&*outgoing.bytes).unwrap().body else {
                    panic!("no report");
                };
                report_from_wire(report).expect("the controller takes what the agent makes")
            })
            .collect()
    }
}

fn tick(collector: &'static str, started_ms: i64) -> Tick {
    Tick {
        collector,
        started_ms,
        duration_ms: 3,
        interval_ms: 15_000,
        outcome: RunOutcome::Facts,
        message: String::new(),
        facts: None,
        self_samples: Vec::new(),
    }
}

fn disk(key: &str) -> Resource {
    let mut disk = Resource::new(ResourceKind::Device, ResourceKey::new(key), "sda");
    disk.health = Some(Health::Healthy);
    disk
}

fn disks(keys: &[&str]) -> Facts {
    Facts {
        resources: keys.iter().map(|key| disk(key)).collect(),
        ..Facts::default()
    }
}

fn sample(name: &str, value: f64) -> Sample {
    Sample {
        name: name.to_owned().into(),
        labels: Labels::default(),
        value,
        time_ms: None,
        resource: None,
        metric_type: MetricType::Gauge,
        unit: "",
    }
}

fn samples(names: &[&str]) -> Facts {
    Facts {
        samples: names.iter().map(|name| sample(name, 1.0)).collect(),
        ..Facts::default()
    }
}

fn keys(resources: &[Resource]) -> Vec<&str> {
    resources.iter().map(|resource| resource.key.as_str()).collect()
}

/// Series ids and values of all blocks.
fn values(report: &Report) -> Vec<(u32, f64)> {
    let rows = report
        .blocks
        .iter()
        .flat_map(|block| block.series().iter().copied().zip(block.values().to_vec()));
    rows.collect()
}

#[test]
fn only_changed_resources_are_sent() {
    let mut fixture = Fixture::new();
    let first = fixture.facts(disks(&["a", "b"]));
    assert_eq!(keys(&first.resources), ["a", "b"]);
    assert_eq!(first.inventories[0].keys.len(), 2);
    let same = fixture.facts(disks(&["a", "b"]));
    assert!(same.resources.is_empty() && same.inventories.is_empty());
    assert_eq!(same.runs.len(), 1, "how the collection went is always told");
    let mut facts = disks(&["a", "b"]);
    facts.resources[1].set("size_bytes", Some(7_u64));
    let changed = fixture.facts(facts);
    assert_eq!(keys(&changed.resources), ["b"]);
    assert!(changed.inventories.is_empty());
}

#[test]
fn a_changed_set_of_keys_or_links_is_sent_in_full() {
    let mut fixture = Fixture::new();
    fixture.facts(disks(&["a", "b"]));
    let fewer = fixture.facts(disks(&["b"]));
    assert_eq!(fewer.inventories[0].keys, [ResourceKey::new("b")]);
    assert!(fewer.resources.is_empty());
    let mut facts = disks(&["b"]);
    facts.links.push(Link {
        from: ResourceKey::new("b"),
        to: ResourceKey::new("a"),
        link_type: LinkType::RestsOn,
    });
    assert_eq!(fixture.facts(facts).inventories[0].links.len(), 1);
    let back = fixture.facts(disks(&["a", "b"]));
    assert_eq!(keys(&back.resources), ["a"], "what returns is described again");
}

#[test]
fn absent_hardware_empties_the_set_and_a_failure_does_not() {
    let mut fixture = Fixture::new();
    fixture.facts(disks(&["a"]));
    for outcome in [RunOutcome::Failed, RunOutcome::TimedOut, RunOutcome::Panicked] {
        let reports = fixture.run(outcome, None);
        assert!(reports[0].inventories.is_empty() && reports[0].resources.is_empty());
        assert_eq!(reports[0].runs[0].outcome, outcome);
        fixture.facts(disks(&["a"]));
    }
    let absent = fixture.run(RunOutcome::Absent, None);
    assert!(absent[0].inventories[0].keys.is_empty());
}

#[test]
fn an_absence_at_the_start_is_told_because_something_may_have_been_there_before() {
    let absent = Fixture::new().run(RunOutcome::Absent, None);
    assert_eq!(absent[0].inventories.len(), 1);
}

#[test]
fn several_collectors_speak_of_one_resource() {
    let mut fixture = Fixture::new();
    fixture.facts(disks(&["a"]));
    let mut other = disk("a");
    other.health = Some(Health::Critical);
    other.set("temperature_celsius", Some(60_i64));
    let facts = Facts {
        resources: vec![other],
        ..Facts::default()
    };
    let reports = fixture.run_of("smart", RunOutcome::Facts, Some(facts));
    assert_eq!(reports[0].resources[0].health, Some(Health::Critical));
    // Now it is gone for one of the two: what this one said of it goes too, the resource stays.
    let reports = fixture.run_of("smart", RunOutcome::Absent, None);
    assert_eq!(reports[0].resources[0].health, Some(Health::Healthy));
    assert!(reports[0].resources[0].attributes.is_empty());
}

#[test]
fn nothing_stays_healthy_on_the_word_of_a_collector_that_fails_on_and_on() {
    let mut fixture = Fixture::new();
    fixture.facts(disks(&["a"]));
    for _ in 0..2 {
        assert!(fixture.run(RunOutcome::TimedOut, None)[0].resources.is_empty());
    }
    let doubted = fixture.run(RunOutcome::TimedOut, None);
    assert_eq!(doubted[0].resources[0].health, Some(Health::Unknown));
    assert!(
        fixture.run(RunOutcome::TimedOut, None)[0].resources.is_empty(),
        "it is told once"
    );
    let again = fixture.facts(disks(&["a"]));
    assert_eq!(again.resources[0].health, Some(Health::Healthy));
}

#[test]
fn another_store_is_told_everything() {
    let mut fixture = Fixture::new();
    fixture.facts(disks(&["a"]));
    let store = |epoch| StoreMark {
        id: uuid::Uuid::nil(),
        epoch,
    };
    let stored: RangeSet = [SequenceRange { first: 1, last: 1 }].into_iter().collect();
    fixture.outbox.welcome(&stored, store(1));
    assert!(fixture.facts(disks(&["a"])).resources.is_empty());
    fixture.outbox.welcome(&RangeSet::default(), store(2));
    let reports = fixture.run(RunOutcome::Failed, None);
    let last = reports.last().unwrap();
    assert_eq!(
        (last.resources.len(), last.inventories.len()),
        (1, 1),
        "even if nothing can be read now"
    );
}

#[test]
fn series_keep_their_ids_and_end_when_a_run_lacks_them() {
    let mut fixture = Fixture::new();
    assert_eq!(
        values(&fixture.facts(samples(&["m1", "m2"]))),
        [(1, 1.0), (2, 1.0)]
    );
    let reports = fixture.run(RunOutcome::TimedOut, None);
    assert!(reports[0].blocks.is_empty(), "a run that failed ends nothing");
    let ended = values(&fixture.facts(samples(&["m2"])));
    assert!(
        matches!(ended[..], [(1, value), (2, 1.0)] if is_stale(value)),
        "{ended:?}"
    );
    assert_eq!(
        values(&fixture.facts(samples(&["m2"]))),
        [(2, 1.0)],
        "it ends once"
    );
    assert_eq!(values(&fixture.facts(samples(&["m3", "m1"]))).len(), 3);
    let absent = fixture.run(RunOutcome::Absent, None);
    let ids: Vec<_> = values(&absent[0])
        .into_iter()
        .filter(|(_, value)| is_stale(*value))
        .map(|(id, _)| id)
        .collect();
    assert_eq!(ids, [1, 3]);
}

#[test]
fn a_new_cadence_is_a_new_definition() {
    let mut fixture = Fixture::new();
    fixture.facts(samples(&["m"]));
    let slower = Tick {
        interval_ms: 60_000,
        facts: Some(samples(&["m"])),
        ..tick("disks", 9_000)
    };
    fixture.reporter.report(vec![slower]);
    assert_eq!(
        values(&fixture.take()[0]),
        [(2, 1.0)],
        "and the series does not end under its old id"
    );
    let intervals: Vec<_> = fixture
        .outbox
        .definitions(1, 2)
        .iter()
        .map(|series| series.interval_ms)
        .collect();
    assert_eq!(intervals, [15_000, 60_000]);
}

#[test]
fn what_the_runner_measures_survives_a_failed_run() {
    let mut fixture = Fixture::new();
    for outcome in [RunOutcome::Facts, RunOutcome::Failed, RunOutcome::Absent] {
        let facts = (outcome == RunOutcome::Facts).then(Facts::default);
        let measured = vec![sample("node_scrape_collector_success", 1.0)];
        fixture.now_ms += 1;
        let tick = Tick {
            outcome,
            facts,
            self_samples: measured,
            ..tick("disks", fixture.now_ms)
        };
        fixture.reporter.report(vec![tick]);
        assert_eq!(values(&fixture.take()[0]), [(1, 1.0)]);
    }
}

#[test]
fn of_two_values_at_one_time_the_first_stays_and_the_other_is_a_problem() {
    let mut fixture = Fixture::new();
    let facts = Facts {
        samples: vec![sample("m", 1.0), sample("m", 2.0)],
        ..Facts::default()
    };
    let report = fixture.facts(facts);
    assert_eq!(values(&report), [(1, 1.0)]);
    assert_eq!(report.problems.len(), 1);
}

#[test]
fn samples_beyond_the_limit_of_series_are_counted() {
    let mut fixture = Fixture::new();
    let max = limits::SERIES_PER_AGENT_MAX;
    let many = |count: usize| Facts {
        samples: (0..count)
            .map(|index| sample(&format!("m{index}"), 1.0))
            .collect(),
        ..Facts::default()
    };
    let report = fixture.facts(many(max));
    assert!(report.problems.is_empty());
    assert_eq!(report.sample_count(), max);
    let report = fixture.facts(many(max + 3));
    assert_eq!(report.sample_count(), max);
    assert!(
        report.problems[0].message.starts_with("3 samples dropped"),
        "{:?}",
        report.problems
    );
}

#[test]
fn a_bad_name_is_a_problem_and_defines_nothing() {
    let mut fixture = Fixture::new();
    let report = fixture.facts(samples(&["bad-name", "good"]));
    assert_eq!((values(&report).len(), report.problems.len()), (1, 1));
    assert_eq!(fixture.outbox.defined(), 1);
}

#[test]
fn samples_with_times_of_their_own_keep_them() {
    let mut fixture = Fixture::new();
    let mut facts = samples(&["m1", "m2", "m3"]);
    facts.samples[1].time_ms = Some(42);
    let report = fixture.facts(facts);
    let times: Vec<_> = report
        .blocks
        .iter()
        .map(|block| (block.times_ms()[0], block.values().len()))
        .collect();
    assert_eq!(times, [(42, 1), (1_000, 2)]);
}

#[test]
fn large_facts_become_several_reports_with_the_outcome_in_the_last() {
    let mut fixture = Fixture::new();
    let mut facts = Facts::default();
    for index in 0..40 {
        let mut disk = disk(&format!("device:{index}"));
        disk.set("smart_raw", Some("x".repeat(20 * 1024)));
        facts.resources.push(disk);
    }
    facts.samples = (0..5_000)
        .map(|index| sample(&format!("m{index}"), 0.5))
        .collect();
    let reports = fixture.run(RunOutcome::Facts, Some(facts));
    assert!(3 < reports.len());
    assert_eq!(
        reports.iter().map(|report| report.resources.len()).sum::<usize>(),
        40
    );
    assert_eq!(reports.iter().map(Report::sample_count).sum::<usize>(), 5_000);
    let (last, before) = reports.split_last().unwrap();
    assert_eq!(last.runs.len(), 1);
    assert!(before.iter().all(|report| report.runs.is_empty()));
    let inventory_at = reports
        .iter()
        .position(|report| !report.inventories.is_empty())
        .unwrap();
    let resources_to = reports
        .iter()
        .rposition(|report| !report.resources.is_empty())
        .unwrap();
    assert!(
        resources_to <= inventory_at,
        "a set comes after the resources that it names"
    );
}

#[test]
fn what_is_too_long_is_left_out_and_named() {
    let mut fixture = Fixture::new();
    let mut facts = disks(&["good"]);
    facts
        .resources
        .push(disk(&"k".repeat(limits::RESOURCE_KEY_BYTES_MAX + 1)));
    facts.resources.push(disk(""));
    let mut long = disk("long");
    long.set("raw", Some("x".repeat(limits::ATTRIBUTE_BYTES_MAX + 1)));
    long.set("size_bytes", Some(1_u64));
    facts.resources.push(long);
    let mut wide = disk("wide");
    for index in 0..3 {
        wide.set(
            &format!("raw{index}"),
            Some("x".repeat(limits::ATTRIBUTE_BYTES_MAX)),
        );
    }
    for index in 0..limits::ATTRIBUTES_PER_RESOURCE_MAX {
        wide.set(&format!("a{index}"), Some(1_u64));
    }
    wide.health_reasons = vec!["ä".repeat(2_000)];
    facts.resources.push(wide);
    facts.problems.push(problem("disks", "p".repeat(5_000)));
    let report = fixture.facts(facts);
    assert_eq!(keys(&report.resources), ["good", "long", "wide"]);
    assert_eq!(
        report.resources[1].attributes.get("size_bytes"),
        Some(&Attribute::Int(1))
    );
    assert_eq!(report.resources[1].attributes.len(), 1);
    assert!(report.resources[2].attributes.len() <= limits::ATTRIBUTES_PER_RESOURCE_MAX);
    assert_eq!(report.problems.len(), 5);
}

#[test]
fn beyond_the_limits_of_a_set_the_rest_is_left_out_and_counted() {
    let mut fixture = Fixture::new();
    let count = limits::RESOURCES_PER_COLLECTOR_MAX + 5;
    let facts = Facts {
        resources: (0..count).map(|index| disk(&format!("device:{index}"))).collect(),
        links: (0..limits::LINKS_PER_COLLECTOR_MAX + 1)
            .map(|index| Link {
                from: ResourceKey::new(format!("fs:{index}:{}", "f".repeat(40))),
                to: ResourceKey::new("device:1"),
                link_type: LinkType::RestsOn,
            })
            .collect(),
        ..Facts::default()
    };
    let reports = fixture.run(RunOutcome::Facts, Some(facts));
    let inventories: Vec<_> = reports.iter().flat_map(|report| &report.inventories).collect();
    assert_eq!(inventories[0].keys.len(), limits::RESOURCES_PER_COLLECTOR_MAX);
    assert!(inventories[0].links.len() < limits::LINKS_PER_COLLECTOR_MAX);
    let problems: Vec<_> = reports.iter().flat_map(|report| &report.problems).collect();
    assert_eq!(problems.len(), 2, "{problems:?}");
}

#[test]
fn a_set_whose_keys_are_too_long_together_is_not_sent_in_part() {
    let mut fixture = Fixture::new();
    let facts = Facts {
        resources: (0..600).map(|index| disk(&format!("{index:0>500}"))).collect(),
        ..Facts::default()
    };
    let reports = fixture.run(RunOutcome::Facts, Some(facts));
    assert!(reports.iter().all(|report| report.inventories.is_empty()));
    assert_eq!(
        reports.iter().map(|report| report.resources.len()).sum::<usize>(),
        600
    );
    assert_eq!(
        reports.iter().map(|report| report.problems.len()).sum::<usize>(),
        1
    );
}

#[test]
fn problems_beyond_their_limit_are_counted_in_the_last() {
    let mut fixture = Fixture::new();
    let of = |count: usize| Facts {
        problems: (0..count)
            .map(|index| problem("disks", format!("p{index}")))
            .collect(),
        ..Facts::default()
    };
    let max = limits::PROBLEMS_PER_REPORT_MAX;
    assert_eq!(fixture.facts(of(max)).problems.last().unwrap().message, "p199");
    let report = fixture.facts(of(max + 10));
    assert_eq!(report.problems.len(), max);
    assert_eq!(
        report.problems.last().unwrap().message,
        "11 more problems are not listed"
    );
}

#[test]
fn estimated_lengths_are_never_too_small() {
    let mut fixture = Fixture::new();
    let mut resource = disk("k");
    resource
        .set("flag", Some(true))
        .set("list", Some(vec![String::new(), "b".to_owned()]));
    resource
        .set("integer", Some(i64::MIN))
        .set("number", Some(-0.5))
        .set("text", Some("t"));
    resource.health_reasons.push("r".to_owned());
    let mut content = Content::new(fixture.reporter.clocks.now());
    let estimated = size::resource(&resource);
    content.resources.push(resource);
    let block =
        muster_model::SampleBlock::new(vec![i64::MIN, i64::MAX], vec![u32::MAX, 1], vec![f64::MAX; 4]);
    let block = block.unwrap();
    let estimated = estimated + size::block(&block) + 512;
    content.blocks.push(block);
    for report in content.split() {
        fixture.outbox.push(report);
    }
    fixture.now_ms += 1;
    let encoded = fixture.outbox.next_unsent(u64::MAX).unwrap().bytes.len();
    assert!(encoded <= estimated, "{encoded} bytes, estimated {estimated}");
}

#[tokio::test(start_paused = true)]
async fn ticks_that_come_together_are_one_report_and_a_flush_waits_for_none() {
    let fixture = Fixture::new();
    let (ticks_tx, ticks_rx) = mpsc::channel(8);
    let (flushes_tx, flushes_rx) = mpsc::channel(1);
    for collector in ["cpu", "load"] {
        ticks_tx
            .send(Tick {
                facts: Some(Facts::default()),
                ..tick(collector, 1)
            })
            .await
            .unwrap();
    }
    let outbox = Arc::clone(&fixture.outbox);
    let reporter = tokio::spawn(fixture.reporter.run(ticks_rx, flushes_rx));
    outbox.changed().await;
    assert_eq!(outbox.stats().last_sequence, 1);
    let (flush, flushed) = oneshot::channel();
    ticks_tx
        .send(Tick {
            facts: Some(Facts::default()),
            ..tick("cpu", 2)
        })
        .await
        .unwrap();
    flushes_tx.send(flush).await.unwrap();
    assert_eq!(flushed.await, Ok(2));
    drop(ticks_tx);
    reporter.await.unwrap();
}

fn hold(fixture: &mut Fixture, facts: Facts) -> Vec<Report> {
    fixture.now_ms += 15_000;
    let tick = Tick {
        facts: Some(facts),
        ..tick("disks", fixture.now_ms)
    };
    fixture.reporter.hold(vec![tick]);
    fixture.take()
}

#[tokio::test(start_paused = true)]
async fn without_a_controller_sixteen_ticks_are_one_report() {
    let mut fixture = Fixture::new();
    // What is there at all is told at once.
    assert_eq!(hold(&mut fixture, samples(&["a", "b"])).len(), 1);
    for _ in 1..15 {
        assert!(hold(&mut fixture, samples(&["a", "b"])).is_empty());
    }
    let reports = hold(&mut fixture, samples(&["a", "b"]));
    assert_eq!(reports.len(), 1);
    assert_eq!(reports[0].blocks.len(), 1);
    assert_eq!(reports[0].blocks[0].times_ms().len(), 16);
    assert_eq!(reports[0].sample_count(), 32);
    assert_eq!(reports[0].runs.len(), 16);
    assert!(hold(&mut fixture, samples(&["a"])).is_empty());
    fixture.reporter.finish();
    assert_eq!(fixture.take()[0].runs.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_alerts_depend_on_does_not_wait() {
    let mut fixture = Fixture::new();
    hold(&mut fixture, disks(&["a", "b"]));
    assert!(hold(&mut fixture, disks(&["a", "b"])).is_empty());
    let mut failed = disks(&["a", "b"]);
    failed.resources[1].health = Some(Health::Failed);
    let reports = hold(&mut fixture, failed.clone());
    assert_eq!(reports.len(), 1);
    assert_eq!(keys(&reports[0].resources), ["b"]);
    assert!(reports[0].blocks.is_empty() && reports[0].runs.is_empty());
    let urgent: Vec<_> = fixture.outbox.to_keep(true);
    assert!(
        urgent
            .iter()
            .all(|record| record.is_urgent && record.definitions == 0)
    );
    assert!(hold(&mut fixture, failed).is_empty());
    assert_eq!(hold(&mut fixture, disks(&["a"])).len(), 1, "one is gone");
}

#[tokio::test(start_paused = true)]
async fn nothing_waits_longer_than_sixteen_usual_ticks_or_across_a_step_of_the_clock() {
    let now = Arc::new(std::sync::atomic::AtomicI64::new(5));
    let outbox = Arc::new(Outbox::new(9, None, usize::MAX));
    let wall = Arc::clone(&now);
    let clocks = ClockReader::new(move || Clock {
        wall_ms: wall.load(std::sync::atomic::Ordering::Relaxed),
        boottime_ms: 1,
        boot_id: String::new(),
    });
    let mut reporter = Reporter::new(Arc::clone(&outbox), clocks);
    reporter.hold(vec![tick("slow", 1_000)]);
    reporter.hold(vec![tick("slow", 2_000)]);
    assert_eq!(outbox.stats().last_sequence, 0);
    now.store(60_000, std::sync::atomic::Ordering::Relaxed);
    reporter.hold(vec![tick("slow", 3_000)]);
    assert_eq!(outbox.stats().last_sequence, 1, "the clock was set");
    let (ticks_tx, ticks) = mpsc::channel(4);
    let (_flushes_tx, flushes) = mpsc::channel(1);
    let running = tokio::spawn(reporter.run(ticks, flushes));
    tokio::time::sleep(Duration::from_secs(239)).await;
    assert_eq!(outbox.stats().last_sequence, 1);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(outbox.stats().last_sequence, 2, "it waited long enough");
    ticks_tx.send(tick("slow", 4_000)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(outbox.stats().last_sequence, 2);
    let store = StoreMark {
        id: uuid::Uuid::from_u128(1),
        epoch: 1,
    };
    outbox.welcome(&RangeSet::default(), store);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(outbox.stats().last_sequence, 3, "there is a stream again");
    drop(ticks_tx);
    running.await.unwrap();
}

#[tokio::test]
async fn disks_that_swap_names_come_or_go_are_news_and_those_that_stay_are_not() {
    let mut fixture = Fixture::new();
    let changed = fixture.reporter.disks_changed();
    let mut look = |names: &[(&str, &str)], health| {
        let named = |(key, name): &(&str, &str)| Resource {
            name: (*name).to_owned(),
            health: Some(health),
            ..disk(key)
        };
        let facts = Facts {
            resources: names.iter().map(named).collect(),
            ..Facts::default()
        };
        fixture.run_of("block", RunOutcome::Facts, Some(facts));
        changed.notified().now_or_never().is_some()
    };
    let both = [("1", "sda"), ("2", "sdb")];
    assert!(!look(&both, Health::Healthy), "the first look is no news");
    assert!(!look(&both, Health::Failed));
    assert!(look(&[("1", "sdb"), ("2", "sda")], Health::Failed));
    assert!(!look(&[("1", "sdb"), ("2", "sda")], Health::Failed));
    assert!(look(&[("2", "sda")], Health::Failed));
    assert!(look(&both, Health::Failed));
}
