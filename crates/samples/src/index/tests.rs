use muster_model::{Labels, MetricType};

use super::*;
use crate::matcher::MatchOp;

fn spec(server: i64, name: &str, labels: &[(&'static str, &str)]) -> SeriesSpec {
    SeriesSpec {
        server: ServerId(server),
        resource: ResourceId(server),
        name: name.to_owned(),
        labels: Labels::of(labels),
        metric_type: MetricType::Gauge,
        unit: String::new(),
        collector: "cpu".to_owned(),
        interval_ms: 15_000,
    }
}

fn filled() -> Index {
    let mut index = Index::new(Loaded::default(), SeriesLimits::of_server(100));
    for server in 1..=2 {
        for (device, kind) in [("sda", "disk"), ("sdb", "disk"), ("nvme0n1", "")] {
            let labels = [("device", device), ("kind", kind)];
            index
                .find_or_create(&spec(
                    server,
                    "reads",
                    &labels[..if kind.is_empty() { 1 } else { 2 }],
                ))
                .unwrap();
        }
        index.find_or_create(&spec(server, "up", &[])).unwrap();
    }
    index
}

fn matcher(name: &str, op: MatchOp, value: &str) -> Matcher {
    Matcher::new(name, op, value).unwrap()
}

fn numbers(index: &Index, matchers: &[Matcher]) -> Vec<u32> {
    index
        .select(matchers, None, None)
        .iter()
        .map(|meta| meta.id.0)
        .collect()
}

#[test]
fn matchers_select_what_prometheus_would() {
    use MatchOp::{Eq, Ne, Nre, Re};
    let index = filled();
    type Row = (&'static [(&'static str, MatchOp, &'static str)], &'static [u32]);
    let table: &[Row] = &[
        (&[("__name__", Eq, "up")], &[4, 8]),
        (&[("__name__", Re, "up|reads"), ("device", Eq, "sda")], &[1, 5]),
        (&[("device", Re, "sd.")], &[1, 2, 5, 6]),
        (&[("device", Ne, "sda"), ("__name__", Eq, "reads")], &[2, 3, 6, 7]),
        (&[("device", Nre, "sd."), ("__name__", Eq, "reads")], &[3, 7]),
        (&[("kind", Eq, ""), ("device", Re, ".+")], &[3, 7]),
        (&[("kind", Ne, "")], &[1, 2, 5, 6]),
        (
            &[("kind", Re, "disk|"), ("device", Re, "(sda|nvme).*")],
            &[1, 3, 5, 7],
        ),
        (&[("device", Eq, "")], &[4, 8]),
        (&[("nothing", Eq, "x")], &[]),
        (&[("nothing", Ne, "x"), ("__name__", Eq, "up")], &[4, 8]),
        (&[("device", Eq, "sda"), ("device", Eq, "sdb")], &[]),
        (&[], &[1, 2, 3, 4, 5, 6, 7, 8]),
    ];
    for (conditions, expected) in table {
        let matchers: Vec<_> = conditions
            .iter()
            .map(|(name, op, value)| matcher(name, *op, value))
            .collect();
        assert_eq!(numbers(&index, &matchers), *expected, "{conditions:?}");
    }
}

#[test]
fn servers_and_resources_narrow_a_selection() {
    let index = filled();
    let up = [matcher("__name__", MatchOp::Eq, "up")];
    assert_eq!(index.select(&up, Some(&[ServerId(2)]), None)[0].id.0, 8);
    assert_eq!(index.select(&up, None, Some(&[ResourceId(1)]))[0].id.0, 4);
    assert!(index.select(&up, Some(&[]), None).is_empty());
    assert!(index.select(&up, Some(&[ServerId(9)]), None).is_empty());
}

#[test]
fn the_same_identity_has_one_number_and_takes_changes_over() {
    let mut index = filled();
    let mut again = spec(1, "up", &[]);
    assert_eq!(index.find(&again), Some(SeriesRef(4)));
    again.interval_ms = 60_000;
    assert_eq!(index.find(&again), None);
    assert_eq!(index.find_or_create(&again), Ok(SeriesRef(4)));
    assert_eq!(index.live(4).unwrap().interval_ms, 60_000);
    let mut other = again;
    other.resource = ResourceId(77);
    assert_eq!(index.find_or_create(&other), Ok(SeriesRef(9)));
}

#[test]
fn a_server_at_its_limit_is_refused_one_more_and_others_are_not() {
    let mut index = Index::new(Loaded::default(), SeriesLimits::of_server(2));
    index.find_or_create(&spec(1, "a", &[])).unwrap();
    index.find_or_create(&spec(1, "b", &[])).unwrap();
    assert_eq!(
        index.find_or_create(&spec(1, "c", &[])),
        Err(SeriesRefused::TooMany {
            server: ServerId(1),
            limit: 2
        })
    );
    assert_eq!(index.find_or_create(&spec(1, "a", &[])), Ok(SeriesRef(1)));
    assert_eq!(index.find_or_create(&spec(2, "c", &[])), Ok(SeriesRef(3)));
}

#[test]
fn a_label_cannot_contradict_the_name() {
    let mut index = filled();
    assert!(matches!(
        index.find_or_create(&spec(1, "a", &[(NAME_LABEL, "b")])),
        Err(SeriesRefused::Name { .. })
    ));
    assert!(matches!(
        index.find_or_create(&spec(1, "", &[])),
        Err(SeriesRefused::Name { .. })
    ));
}

#[test]
fn a_retired_series_makes_room_and_returns_as_itself() {
    let mut index = Index::new(Loaded::default(), SeriesLimits::of_server(1));
    let old = index.find_or_create(&spec(1, "a", &[("x", "1")])).unwrap();
    index.note_sealed([old.0].into_iter(), 10);
    assert!(index.idle(10).is_empty());
    assert_eq!(index.idle(11), [old.0]);
    assert_eq!(index.retire(&[old.0]), 1);
    assert_eq!((index.idle(11), index.retire(&[old.0])), (vec![], 0));
    assert_eq!((index.place(old), numbers(&index, &[])), (Place::Retired, vec![]));
    let new = index.find_or_create(&spec(1, "b", &[])).unwrap();
    assert!(matches!(
        index.find_or_create(&spec(1, "a", &[("x", "1")])),
        Err(SeriesRefused::TooMany { .. })
    ));
    assert!(index.revive(old));
    assert_eq!(numbers(&index, &[]), [old.0, new.0]);
    assert_eq!(numbers(&index, &[matcher("x", MatchOp::Eq, "1")]), [old.0]);
}

#[test]
fn what_was_written_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = camino::Utf8Path::from_path(folder.path())
        .unwrap()
        .join("index.db");
    let mut index = filled();
    index.note_sealed([4].into_iter(), 20_000);
    let mut database = IndexDb::open(&path).unwrap();
    database.write(&index.take_changes()).unwrap();
    assert!(index.take_changes().series.is_empty());
    index.retire(&[3]);
    database.write(&index.take_changes()).unwrap();
    drop(database);

    let loaded = IndexDb::open(&path).unwrap().load().unwrap();
    assert!(loaded.damaged.is_empty());
    let mut again = Index::new(loaded, SeriesLimits::of_server(100));
    assert_eq!(numbers(&again, &[]), [1, 2, 4, 5, 6, 7, 8]);
    assert_eq!(again.live(4), index.live(4));
    assert_eq!(again.last_days[4], 20_000);
    assert_eq!(again.find_or_create(&spec(3, "new", &[])), Ok(SeriesRef(9)));
    let group = again.live(9).unwrap().group;
    assert!(again.live(1).unwrap().group < group);
}

#[test]
fn beyond_the_bound_the_series_retired_first_are_forgotten() {
    let mut index = Index::new(Loaded::default(), SeriesLimits::of_server(1 << 40));
    let spec = |n: usize| spec(1, "a", &[("n", &n.to_string())]);
    let refs: Vec<_> = (0..=RETIRED_MAX)
        .map(|n| index.find_or_create(&spec(n)).unwrap())
        .collect();
    assert_eq!(index.retire(&index.idle(1)), RETIRED_MAX + 1);
    assert_eq!(
        (index.place(refs[0]), index.place(refs[1])),
        (Place::Unknown, Place::Retired)
    );
    assert_eq!(index.find_or_create(&spec(1)), Ok(refs[1]));
    assert_eq!(
        index.find_or_create(&spec(0)),
        Ok(SeriesRef(refs[RETIRED_MAX].0 + 1))
    );
    assert_eq!(index.live_count(), 2);
}
