use muster_model::{
    Clock, CollectorRun, Gap, GapReason, Health, Inventory, Link, LinkType, PreviousEpoch, Problem, Resource,
    ResourceKind, RunOutcome, SequenceRange, TimeBasis,
};

use super::*;
use crate::app::resources::ResourceFilter;
use crate::store::ServerFields;
use crate::store::tests::{Opened, open};

struct World {
    opened: Opened,
    server: ServerId,
    position: i64,
}

impl World {
    async fn new() -> Self {
        let opened = open().await;
        let server = opened
            .store
            .create_server(ServerFields::named("host-a"), 1)
            .await
            .unwrap()
            .id;
        Self {
            opened,
            server,
            position: 0,
        }
    }

    fn store(&self) -> &Store {
        &self.opened.store
    }

    fn entry(&mut self, report: Report) -> AppliedReport {
        self.position += 1;
        AppliedReport {
            position: self.position,
            server: self.server,
            received_ms: report.observed_ms + 5,
            report: Arc::new(report),
        }
    }

    async fn apply(&mut self, report: Report) -> Applied {
        let entry = self.entry(report);
        self.store().apply_reports(&[entry]).await.unwrap()
    }

    /// Names of devices with whether they are gone.
    async fn devices(&self) -> Vec<(String, bool)> {
        let filter = ResourceFilter {
            kind: Some(ResourceKind::Device),
            include_gone: true,
            ..ResourceFilter::default()
        };
        let (views, _) = self.store().resources(&filter, 0, 100).await.unwrap();
        views
            .into_iter()
            .map(|view| (view.name, view.gone_ms.is_some()))
            .collect()
    }
}

fn report(at_ms: i64) -> Report {
    let clock = Clock {
        wall_ms: at_ms,
        boottime_ms: at_ms,
        boot_id: "boot".to_owned(),
    };
    Report::empty(1, 1, clock)
}

fn key(name: &str) -> ResourceKey {
    ResourceKey::new(format!("device:{name}"))
}

fn disk(name: &str, health: Health) -> Resource {
    let mut disk = Resource::new(ResourceKind::Device, key(name), name);
    disk.health = Some(health);
    disk
}

fn with_disks(at_ms: i64, names: &[&str]) -> Report {
    let mut report = report(at_ms);
    report.resources = names.iter().map(|name| disk(name, Health::Healthy)).collect();
    report
}

fn inventory(collector: &str, observed_ms: i64, names: &[&str]) -> Inventory {
    Inventory {
        collector: collector.to_owned(),
        observed_ms,
        keys: names.iter().map(|name| key(name)).collect(),
        links: Vec::new(),
    }
}

fn run(collector: &str, started_ms: i64, outcome: RunOutcome) -> CollectorRun {
    CollectorRun {
        collector: collector.to_owned(),
        started_ms,
        duration_ms: 3,
        outcome,
        message: if outcome.is_success() {
            String::new()
        } else {
            "no answer".to_owned()
        },
    }
}

#[tokio::test]
async fn a_report_applied_twice_counts_once() {
    let mut world = World::new().await;
    let mut told = with_disks(10, &["sda"]);
    told.problems = vec![Problem {
        collector: "smart".to_owned(),
        message: "odd".to_owned(),
        line: Some(3),
    }];
    let entry = world.entry(told);
    let first = world
        .store()
        .apply_reports(std::slice::from_ref(&entry))
        .await
        .unwrap();
    let second = world.store().apply_reports(&[entry]).await.unwrap();
    assert_eq!((first.skipped, second.skipped), (0, 1));
    assert_eq!(first.ids[&world.server].len(), 1);
    let (errors, total) = world.store().collection_errors(None, None, 10).await.unwrap();
    assert_eq!(
        (total, errors[0].count, errors[0].error_message.as_str()),
        (1, 1, "line 3: odd")
    );
    assert_eq!(world.store().consumer_position(STATE_CONSUMER).await.unwrap(), 1);
}

#[tokio::test]
async fn the_servers_resource_has_the_servers_id() {
    let mut world = World::new().await;
    let mut told = report(10);
    let mut itself = Resource::new(ResourceKind::Server, ResourceKey::server(), "host-a.example");
    itself.set("kernel", Some("6.1"));
    told.resources = vec![itself];
    let applied = world.apply(told).await;
    assert_eq!(
        applied.ids[&world.server][&ResourceKey::server()],
        world.server.resource()
    );
}

#[tokio::test]
async fn an_older_observation_never_replaces_a_newer_one() {
    let mut world = World::new().await;
    let mut failing = report(20);
    failing.resources = vec![disk("sda", Health::Failed)];
    world.apply(failing).await;
    let applied = world.apply(with_disks(10, &["sda"])).await;
    let id = applied.ids[&world.server][&key("sda")];
    let stored = world.store().resource(id).await.unwrap().unwrap();
    assert_eq!((stored.health, stored.observed_ms), (Health::Failed, 20));
}

#[tokio::test]
async fn a_resource_nobody_judged_is_stored_as_unknown() {
    let mut world = World::new().await;
    let mut told = report(10);
    told.resources = vec![Resource::new(ResourceKind::Device, key("sda"), "sda")];
    let applied = world.apply(told).await;
    let id = applied.ids[&world.server][&key("sda")];
    assert_eq!(
        world.store().resource(id).await.unwrap().unwrap().health,
        Health::Unknown
    );
}

#[tokio::test]
async fn raw_documents_come_with_the_resource_and_not_with_lists() {
    let mut world = World::new().await;
    let mut told = report(10);
    let mut sda = disk("sda", Health::Healthy);
    sda.set("smart_data_raw", Some("{}"));
    sda.set("temperature_celsius", Some(30_i64));
    sda.set("odd", Some(f64::NAN));
    told.resources = vec![sda];
    let applied = world.apply(told).await;
    let id = applied.ids[&world.server][&key("sda")];
    let whole = world.store().resource(id).await.unwrap().unwrap();
    let names: Vec<_> = whole.attributes.keys().map(String::as_str).collect();
    assert_eq!(names, ["smart_data_raw", "temperature_celsius"]);
    let filter = ResourceFilter {
        kind: Some(ResourceKind::Device),
        ..ResourceFilter::default()
    };
    let (listed, _) = world.store().resources(&filter, 0, 10).await.unwrap();
    assert_eq!(listed[0].attributes.len(), 1);
}

#[tokio::test]
async fn what_no_collector_lists_any_more_is_gone_and_returns_as_itself() {
    let mut world = World::new().await;
    let mut first = with_disks(10, &["sda", "sdb"]);
    first.inventories = vec![
        inventory("block", 10, &["sda", "sdb"]),
        inventory("smart", 10, &["sdb"]),
    ];
    let ids = world.apply(first).await.ids.remove(&world.server).unwrap();
    let mut without = report(20);
    without.inventories = vec![inventory("smart", 21, &["sdb"]), inventory("block", 20, &[])];
    world.apply(without).await;
    // SMART still lists sdb, since it was gone from the other list.
    let gone = |sda, sdb| vec![("sda".to_owned(), sda), ("sdb".to_owned(), sdb)];
    assert_eq!(world.devices().await, gone(true, false));
    let mut nothing = report(30);
    nothing.inventories = vec![inventory("smart", 30, &[])];
    world.apply(nothing).await;
    assert_eq!(world.devices().await, gone(true, true));
    // What was seen before it went does not bring it back.
    world.apply(with_disks(15, &["sda"])).await;
    assert_eq!(world.devices().await, gone(true, true));
    let mut back = with_disks(40, &["sda"]);
    back.inventories = vec![inventory("block", 40, &["sda"])];
    let again = world.apply(back).await.ids.remove(&world.server).unwrap();
    assert_eq!(world.devices().await, gone(false, true));
    assert_eq!(again[&key("sda")], ids[&key("sda")]);
}

#[tokio::test]
async fn a_disk_that_the_kernel_does_not_show_any_more_is_gone_before_smart_looks_again() {
    let mut world = World::new().await;
    let mut first = with_disks(10, &["sda", "sdb"]);
    first.inventories = vec![
        inventory("block", 10, &["sda", "sdb"]),
        inventory("smart", 11, &["sda", "sdb", "raid-7"]),
    ];
    world.apply(first).await;
    let mut pulled = report(70);
    pulled.inventories = vec![inventory("block", 70, &["sdb"])];
    world.apply(pulled).await;
    let gone = |sda, sdb| vec![("sda".to_owned(), sda), ("sdb".to_owned(), sdb)];
    assert_eq!(world.devices().await, gone(true, false));
    // It was there after all, as whoever looks later sees.
    let mut seen = report(80);
    seen.inventories = vec![inventory("smart", 80, &["sda", "sdb"])];
    world.apply(seen).await;
    assert_eq!(world.devices().await, gone(false, false));
    // And another's list says nothing about what it never listed.
    let mut other = report(90);
    other.inventories = vec![inventory("smart", 90, &[])];
    world.apply(other).await;
    assert_eq!(world.devices().await, gone(true, false));
}

#[tokio::test]
async fn a_list_that_comes_late_does_not_undo_a_newer_one() {
    let mut world = World::new().await;
    let mut newer = with_disks(20, &["sda"]);
    newer.inventories = vec![inventory("block", 20, &["sda"])];
    world.apply(newer).await;
    let mut late = report(10);
    late.inventories = vec![inventory("block", 10, &[])];
    world.apply(late).await;
    assert_eq!(world.devices().await, [("sda".to_owned(), false)]);
}

#[tokio::test]
async fn the_server_itself_never_goes() {
    let mut world = World::new().await;
    let mut listed = report(10);
    listed.inventories = vec![Inventory {
        keys: vec![ResourceKey::server()],
        ..inventory("uname", 10, &[])
    }];
    world.apply(listed).await;
    let mut unlisted = report(20);
    unlisted.inventories = vec![inventory("uname", 20, &[])];
    world.apply(unlisted).await;
    let itself = world
        .store()
        .resource(world.server.resource())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(itself.gone_ms, None);
}

#[tokio::test]
async fn links_of_a_collector_are_replaced_and_may_come_before_their_resources() {
    let mut world = World::new().await;
    let link = |from: &str, to: &str| Link {
        from: key(from),
        to: key(to),
        link_type: LinkType::RestsOn,
    };
    let mut early = report(10);
    early.inventories = vec![Inventory {
        links: vec![link("md0", "sda"), link("md0", "sda"), link("md0", "sdb")],
        ..inventory("md", 10, &[])
    }];
    world.apply(early).await;
    // Nobody described what they name, and still they are there.
    assert_eq!(world.store().links(world.server, false).await.unwrap().len(), 2);
    world.apply(with_disks(11, &["md0", "sda", "sdb"])).await;
    assert_eq!(world.store().links(world.server, false).await.unwrap().len(), 2);
    let mut later = report(20);
    later.inventories = vec![Inventory {
        links: vec![link("md0", "sdb")],
        ..inventory("md", 20, &[])
    }];
    world.apply(later).await;
    let links = world.store().links(world.server, false).await.unwrap();
    assert_eq!(links.len(), 1);
    assert_eq!((&links[0].from, &links[0].to), (&key("md0"), &key("sdb")));
    let links = world.store().links(world.server, true).await.unwrap();
    let gone: Vec<_> = links
        .iter()
        .map(|link| (link.to.as_str(), link.gone_ms))
        .collect();
    assert_eq!(
        gone,
        [("device:sda", Some(20)), ("device:sdb", None)],
        "what was is kept with its end"
    );
    let mut back = report(30);
    back.inventories = vec![Inventory {
        links: vec![link("md0", "sda"), link("md0", "sdb")],
        ..inventory("md", 30, &[])
    }];
    world.apply(back).await;
    assert_eq!(world.store().links(world.server, false).await.unwrap().len(), 2);
    assert_eq!(world.store().links(world.server, true).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_link_is_there_while_one_collector_tells_it_and_what_was_is_bounded() {
    let mut world = World::new().await;
    let link = |from: String, to: &str| Link {
        from: key(&from),
        to: key(to),
        link_type: LinkType::RestsOn,
    };
    for (collector, at) in [("md", 10), ("block", 11)] {
        let mut told = report(at);
        told.inventories = vec![Inventory {
            links: vec![link("md0".to_owned(), "sda")],
            ..inventory(collector, at, &[])
        }];
        world.apply(told).await;
    }
    let mut less = report(20);
    less.inventories = vec![inventory("md", 20, &[])];
    world.apply(less).await;
    let links = world.store().links(world.server, true).await.unwrap();
    assert_eq!((links.len(), links[0].gone_ms), (1, None), "block tells it still");
    let mut none = report(21);
    none.inventories = vec![inventory("block", 21, &[])];
    world.apply(none).await;
    let links = world.store().links(world.server, true).await.unwrap();
    assert_eq!((links.len(), links[0].gone_ms), (1, Some(21)));
    let many = GONE_LINKS_MAX + 50;
    let mut told = report(30);
    told.inventories = vec![Inventory {
        links: (0..many).map(|n| link(format!("v{n:05}"), "sda")).collect(),
        ..inventory("md", 30, &[])
    }];
    world.apply(told).await;
    assert_eq!(
        world.store().links(world.server, false).await.unwrap().len(),
        many
    );
    let mut none = report(40);
    none.inventories = vec![inventory("md", 40, &[])];
    world.apply(none).await;
    let links = world.store().links(world.server, true).await.unwrap();
    let of_md = links.iter().filter(|link| link.gone_ms == Some(40)).count();
    assert_eq!(of_md, GONE_LINKS_MAX);
}

#[tokio::test]
async fn runs_make_the_status_of_their_collectors_and_failures_are_counted() {
    let mut world = World::new().await;
    let mut told = report(100);
    told.runs = vec![
        run("smart", 30, RunOutcome::TimedOut),
        run("smart", 10, RunOutcome::Facts),
        run("smart", 20, RunOutcome::Failed),
        run("mdraid", 10, RunOutcome::Absent),
    ];
    world.apply(told).await;
    let collectors = world.store().collectors(world.server).await.unwrap();
    assert_eq!(collectors.len(), 2);
    let smart = &collectors[1];
    assert_eq!(
        (smart.outcome.as_str(), smart.failures, smart.last_success_ms),
        ("timed_out", 2, Some(10))
    );
    assert_eq!(
        world.store().failing(None).await.unwrap()[&world.server],
        "smart: no answer"
    );
    let mut late = report(110);
    late.runs = vec![run("smart", 25, RunOutcome::Facts)];
    world.apply(late).await;
    assert_eq!(
        world.store().collectors(world.server).await.unwrap()[1].failures,
        2
    );
    let mut well = report(120);
    well.runs = vec![run("smart", 40, RunOutcome::Facts)];
    world.apply(well).await;
    assert!(
        world
            .store()
            .failing(Some(&[world.server]))
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn collection_errors_are_bounded_and_the_oldest_give_way() {
    let mut world = World::new().await;
    for batch in 0..11 {
        let mut told = report(1_000 + batch);
        told.problems = (0..100)
            .map(|n| Problem {
                collector: "c".to_owned(),
                message: format!("{batch}/{n}"),
                line: None,
            })
            .collect();
        world.apply(told).await;
    }
    let (latest, total) = world
        .store()
        .collection_errors(Some(world.server), None, 2_000)
        .await
        .unwrap();
    assert_eq!(total, ERRORS_PER_SERVER_MAX);
    assert!(latest.iter().all(|error| !error.error_message.starts_with("0/")));
}

#[tokio::test]
async fn collectors_beyond_the_bound_are_refused_and_said() {
    let mut world = World::new().await;
    let mut told = report(100);
    told.runs = (0..=COLLECTORS_PER_SERVER_MAX)
        .map(|n| run(&format!("c{n:04}"), 10, RunOutcome::Facts))
        .collect();
    world.apply(told).await;
    assert_eq!(
        world.store().collectors(world.server).await.unwrap().len(),
        COLLECTORS_PER_SERVER_MAX
    );
    let (errors, _) = world.store().collection_errors(None, None, 10).await.unwrap();
    assert_eq!((errors.len(), errors[0].error_type.as_str()), (1, "refused"));
}

#[tokio::test]
async fn resources_beyond_the_bound_are_refused_and_said_while_known_ones_go_on() {
    let mut world = World::new().await;
    // One is the server itself.
    let room = RESOURCES_PER_SERVER_MAX - 1;
    let mut full = report(10);
    full.resources = (0..=room)
        .map(|n| disk(&format!("d{n}"), Health::Healthy))
        .collect();
    let applied = world.apply(full).await;
    assert_eq!(applied.ids[&world.server].len(), room);
    let (errors, _) = world.store().collection_errors(None, None, 10).await.unwrap();
    assert_eq!((errors[0].error_type.as_str(), errors[0].count), ("refused", 1));
    let mut worse = report(20);
    let known = applied.ids[&world.server].keys().next().unwrap().clone();
    let mut resource = Resource::new(ResourceKind::Device, known.clone(), "x");
    resource.health = Some(Health::Critical);
    worse.resources = vec![resource];
    world.apply(worse).await;
    let id = applied.ids[&world.server][&known];
    assert_eq!(
        world.store().resource(id).await.unwrap().unwrap().health,
        Health::Critical
    );
}

/// D12
#[tokio::test]
async fn reports_whose_times_are_not_their_clocks_are_shown_as_what_they_are() {
    let mut world = World::new().await;
    for (at_ms, basis) in [
        (10, TimeBasis::Wall),
        (20, TimeBasis::Unknown),
        (30, TimeBasis::Boot),
        (40, TimeBasis::Unknown),
    ] {
        let mut told = report(at_ms);
        told.time_basis = basis;
        world.apply(told).await;
    }
    let (errors, _) = world
        .store()
        .collection_errors(Some(world.server), None, 10)
        .await
        .unwrap();
    let shown: Vec<_> = errors
        .iter()
        .map(|error| {
            (
                error.error_type.as_str(),
                error.service_name.as_str(),
                error.occurred_ms,
                error.count,
            )
        })
        .collect();
    assert_eq!(
        shown,
        [("time_unknown", "clock", 40, 2), ("time_rebuilt", "clock", 30, 1)]
    );
}

#[tokio::test]
async fn gaps_are_kept_once_with_their_whole_numbers() {
    let mut world = World::new().await;
    let lost = Gap {
        epoch: u64::MAX,
        range: SequenceRange {
            first: 1,
            last: u64::MAX,
        },
        sample_count: None,
        reason: GapReason::BufferFull,
    };
    for at_ms in [10, 20] {
        let mut told = report(at_ms);
        told.gaps = vec![lost.clone()];
        world.apply(told).await;
    }
    let gaps = world.store().gaps(world.server).await.unwrap();
    assert_eq!(gaps.len(), 1);
    assert_eq!(
        (gaps[0].epoch, gaps[0].last, gaps[0].reason.as_str()),
        (u64::MAX, u64::MAX, "buffer_full")
    );
}

#[tokio::test]
async fn an_agent_that_ended_without_a_word_leaves_a_gap_up_to_its_new_start() {
    let mut world = World::new().await;
    let mut before = report(100);
    before.runs = vec![
        run("cpu", 95, RunOutcome::Facts),
        run("smart", 40, RunOutcome::Facts),
    ];
    world.apply(before).await;
    for (epoch, at_ms, ended_cleanly) in [(6, 300, true), (7, 500, false)] {
        let mut first = report(at_ms);
        first.previous_epoch = Some(PreviousEpoch { epoch, ended_cleanly });
        first.runs = vec![run("cpu", at_ms, RunOutcome::Facts)];
        world.apply(first).await;
    }
    let gaps = world.store().gaps(world.server).await.unwrap();
    assert_eq!(gaps.len(), 1);
    let gap = &gaps[0];
    assert_eq!(
        (gap.epoch, gap.first, gap.last, gap.sample_count),
        (7, 0, 0, None)
    );
    assert_eq!((gap.from_ms, gap.to_ms), (Some(300), Some(500)));
    assert_eq!(gap.reason, "unclean_end");
}

#[tokio::test]
async fn a_report_of_an_unknown_server_is_passed_over_and_the_rest_is_applied() {
    let mut world = World::new().await;
    let mut stray = world.entry(with_disks(10, &["sda"]));
    stray.server = ServerId(99);
    let good = world.entry(with_disks(10, &["sdb"]));
    let applied = world.store().apply_reports(&[stray, good]).await.unwrap();
    assert_eq!(applied.orphaned, 1);
    assert_eq!(world.devices().await, [("sdb".to_owned(), false)]);
    assert_eq!(world.store().consumer_position(STATE_CONSUMER).await.unwrap(), 2);
}

#[tokio::test]
async fn when_a_server_was_heard_only_rises() {
    let mut world = World::new().await;
    world.apply(report(50)).await;
    world.store().note_seen(&[(world.server, 20)]).await.unwrap();
    assert_eq!(
        world
            .store()
            .server(world.server)
            .await
            .unwrap()
            .unwrap()
            .last_seen_ms,
        Some(55)
    );
    world.store().note_seen(&[(world.server, 60)]).await.unwrap();
    assert_eq!(
        world
            .store()
            .server(world.server)
            .await
            .unwrap()
            .unwrap()
            .last_seen_ms,
        Some(60)
    );
}

#[tokio::test]
async fn a_resource_that_samples_named_first_is_described_under_its_id() {
    let mut world = World::new().await;
    let (server, named) = (world.server, key("late"));
    let held = world
        .store()
        .hold_resources(server, [&named].into_iter(), 5)
        .await
        .unwrap();
    // Nobody sees it before it is described.
    assert!(world.devices().await.is_empty());
    assert!(
        !world
            .store()
            .resource_ids(server)
            .await
            .unwrap()
            .contains_key(&named)
    );
    let again = world
        .store()
        .hold_resources(server, [&named].into_iter(), 9)
        .await
        .unwrap();
    assert_eq!(again, held);
    world.apply(with_disks(100, &["late"])).await;
    assert_eq!(world.devices().await, [("late".to_owned(), false)]);
    assert_eq!(
        world.store().resource_ids(server).await.unwrap()[&named],
        held[&named]
    );
    let after = world
        .store()
        .hold_resources(server, [&named].into_iter(), 9)
        .await
        .unwrap();
    assert_eq!(after[&named], held[&named]);
}
