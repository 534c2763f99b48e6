//! Reading: the latest values, and ranges slice by slice.
//!
//! Points far apart, and those of times whose samples are gone, come from roll-ups: each bucket counts as a sample at its
//! end. A range is read in slices of time. One that holds more samples than may be in memory at once is cut in two, so that
//! memory is bounded whatever is asked, and what an answer leaves out is its latest part.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use muster_base::id::ServerId;
use muster_model::is_stale;
use muster_samples::{Filter, Matcher, Reader, Select, Selected, SeriesData, SeriesMeta, SeriesRef};

use super::join::{Joined, job, labels};
use super::source::{Source, plan};
use super::step::at_steps;
use super::{Latest, POINTS_MAX, Place, Range, RangeQuery, RangeSeries};
use crate::app::servers::ServerName;

/// Most samples in memory for one slice of an answer in steps.
const SLICE_SAMPLES_MAX: usize = 4_000_000;
/// How often a slice may be cut in two for one answer.
const CUTS_MAX: usize = 64;

/// The latest values of what any selector takes, by name and labels.
pub(super) fn latest(
    reader: &Reader,
    names: &HashMap<ServerId, ServerName>,
    selectors: Vec<Vec<Matcher>>,
    now_ms: i64,
) -> Vec<Latest> {
    let mut found: HashMap<SeriesRef, Latest> = HashMap::new();
    for selector in selectors {
        let selector = Joined::split(selector);
        if selector.is_empty() {
            continue;
        }
        let servers = selector.servers(names);
        let filter = Filter {
            servers: servers.as_deref(),
            ..Filter::new(&selector.own)
        };
        for sample in reader.latest(&filter, now_ms).samples {
            let meta = sample.meta;
            if found.contains_key(&meta.id) {
                continue;
            }
            if let Some(labels) = labels(&meta, names) {
                let latest = Latest {
                    name: Arc::clone(&meta.name),
                    labels,
                    resource: meta.resource,
                    server: meta.server,
                    metric_type: meta.metric_type,
                    time_ms: sample.time_ms,
                    value: sample.value,
                };
                found.insert(meta.id, latest);
            }
        }
    }
    let mut all: Vec<Latest> = found.into_values().collect();
    all.sort_unstable_by(|a, b| (&a.name, &a.labels).cmp(&(&b.name, &b.labels)));
    all
}

/// Where there are series.
pub(super) fn places(reader: &Reader) -> BTreeSet<Place> {
    let (metas, _) = reader.series(&Filter::new(&[]));
    metas
        .iter()
        .map(|meta| (meta.server, job(&meta.name), meta.resource))
        .collect()
}

/// The samples or points of what a query takes.
pub(super) fn range(reader: &Reader, names: &HashMap<ServerId, ServerName>, query: RangeQuery) -> Range {
    let selector = Joined::split(query.matchers);
    if selector.is_empty() {
        return Range::default();
    }
    let servers = selector.servers(names);
    let resources = query.resource.map(|resource| vec![resource]);
    let filter = Filter {
        servers: servers.as_deref(),
        resources: resources.as_deref(),
        ..Filter::new(&selector.own)
    };
    let mut gathered = Gathered {
        reader,
        filter,
        source: Source::Samples,
        step_ms: query.step_ms,
        lookback_ms: query.step_ms.map_or(0, |_| longest_staleness(reader, &filter)),
        points: HashMap::new(),
        room: POINTS_MAX,
        is_truncated: false,
        damaged: 0,
    };
    for (source, start_ms, end_ms) in plan(reader, (query.start_ms, query.end_ms), query.step_ms) {
        gathered.source = source;
        if !gathered.is_truncated {
            gathered.read(start_ms, end_ms);
        }
    }
    let mut series: Vec<RangeSeries> = gathered
        .points
        .into_values()
        .filter(|(_, points)| !points.is_empty())
        .filter_map(|(meta, points)| {
            Some(RangeSeries {
                name: Arc::clone(&meta.name),
                labels: labels(&meta, names)?,
                resource: meta.resource,
                server: meta.server,
                points,
            })
        })
        .collect();
    series.sort_unstable_by(|a, b| (&a.name, &a.labels).cmp(&(&b.name, &b.labels)));
    Range {
        series,
        is_truncated: gathered.is_truncated,
        damaged: gathered.damaged,
    }
}

fn longest_staleness(reader: &Reader, filter: &Filter<'_>) -> i64 {
    let (metas, _) = reader.series(filter);
    metas.iter().map(|meta| meta.staleness_ms()).max().unwrap_or(0)
}

/// A series and its points so far.
type Points = (Arc<SeriesMeta>, Vec<(i64, f64)>);

/// An answer under construction.
struct Gathered<'a> {
    reader: &'a Reader,
    filter: Filter<'a>,
    source: Source,
    step_ms: Option<i64>,
    /// How long before a step its value may lie.
    lookback_ms: i64,
    points: HashMap<SeriesRef, Points>,
    /// How many points there is room for.
    room: usize,
    is_truncated: bool,
    damaged: usize,
}

impl Gathered<'_> {
    /// Reads a closed range of time, the earliest slice first.
    fn read(&mut self, start_ms: i64, end_ms: i64) {
        let mut slices = vec![(start_ms, end_ms)];
        let mut cuts = 0;
        while let Some((start_ms, end_ms)) = slices.pop() {
            let select = Select {
                filter: self.filter,
                start_ms: start_ms.saturating_sub(self.lookback_ms),
                end_ms,
                samples_max: self.step_ms.map_or(self.room, |_| SLICE_SAMPLES_MAX),
            };
            let selected = self.select(&select);
            if selected.is_truncated {
                let Some(middle_ms) = self.middle(start_ms, end_ms).filter(|_| cuts < CUTS_MAX) else {
                    self.is_truncated = true;
                    return;
                };
                cuts += 1;
                slices.push((middle_ms, end_ms));
                slices.push((start_ms, middle_ms - self.step_ms.unwrap_or(1)));
                continue;
            }
            self.damaged += selected.damaged.len();
            for data in selected.series {
                if !self.take(data, start_ms, end_ms) {
                    self.is_truncated = true;
                    return;
                }
            }
        }
    }

    fn select(&self, select: &Select<'_>) -> Selected {
        let Source::Rolled(resolution) = self.source else {
            return self.reader.select(select);
        };
        let bucket_ms = resolution.bucket_ms();
        let wanted = Select {
            start_ms: select.start_ms.saturating_sub(bucket_ms),
            ..*select
        };
        let rolled = self.reader.rolled(&wanted, resolution);
        let series = rolled.series.into_iter().map(|series| SeriesData {
            meta: series.meta,
            // The last sample is of some time before the bucket's end, from which on it is surely known.
            times_ms: series
                .times_ms
                .iter()
                .map(|begin| begin + bucket_ms - 1)
                .collect(),
            values: series.last,
        });
        Selected {
            series: series.collect(),
            is_truncated: rolled.is_truncated,
            damaged: rolled.damaged,
        }
    }

    /// Where the second half of a slice begins: at a step, if there are steps.
    fn middle(&self, start_ms: i64, end_ms: i64) -> Option<i64> {
        let unit_ms = self.step_ms.unwrap_or(1);
        let units = (end_ms - start_ms) / unit_ms;
        (0 < units).then(|| start_ms + (units / 2 + units % 2) * unit_ms)
    }

    /// Takes the points of a series over; says whether there was room for all.
    fn take(&mut self, data: SeriesData, start_ms: i64, end_ms: i64) -> bool {
        let (points, is_cut) = match self.step_ms {
            Some(step_ms) => at_steps(
                (&data.times_ms, &data.values),
                (start_ms, end_ms, step_ms),
                data.meta.staleness_ms() + self.source.bucket_ms(),
                self.room,
            ),
            None => samples(&data, (start_ms, end_ms), self.room),
        };
        self.room -= points.len();
        let entry = self
            .points
            .entry(data.meta.id)
            .or_insert_with(|| (data.meta, Vec::new()));
        entry.1.extend(points);
        !is_cut
    }
}

/// Samples as they are, without the markers.
fn samples(data: &SeriesData, (start_ms, end_ms): (i64, i64), room: usize) -> (Vec<(i64, f64)>, bool) {
    let mut kept = data
        .times_ms
        .iter()
        .copied()
        .zip(data.values.iter().copied())
        .filter(|(time_ms, value)| (start_ms..=end_ms).contains(time_ms) && !is_stale(*value));
    let points: Vec<(i64, f64)> = kept.by_ref().take(room).collect();
    (points, kept.next().is_some())
}

#[cfg(test)]
mod tests {
    use muster_base::id::ResourceId;
    use muster_model::{Labels, MetricType, STALE_NAN};
    use muster_samples::{Batch, Options, SeriesSpec, Store};

    use super::*;

    const START: i64 = 1_700_000_000_000;

    struct World {
        store: Store,
        names: HashMap<ServerId, ServerName>,
        _folder: tempfile::TempDir,
    }

    impl World {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let dir = camino::Utf8Path::from_path(folder.path()).unwrap();
            let names = [(1, "web"), (2, "db")].map(|(id, hostname)| {
                let name = ServerName {
                    hostname: hostname.to_owned(),
                    tags: Vec::new(),
                };
                (ServerId(id), name)
            });
            Self {
                store: Store::open(dir, Options::default()).unwrap(),
                names: names.into(),
                _folder: folder,
            }
        }

        fn put(&self, server: i64, name: &str, rows: &[(i64, f64)]) {
            let series = self
                .store
                .series(&SeriesSpec {
                    server: ServerId(server),
                    resource: ResourceId(server),
                    name: name.to_owned(),
                    labels: Labels::of(&[("job", "own")]),
                    metric_type: MetricType::Gauge,
                    unit: String::new(),
                    collector: "test".to_owned(),
                    interval_ms: 15_000,
                })
                .unwrap();
            for (position, (time_ms, value)) in rows.iter().enumerate() {
                let batch = Batch {
                    position: i64::try_from(position).unwrap() + 1,
                    received_ms: START,
                    times_ms: &[*time_ms],
                    series: &[series],
                    values: &[*value],
                };
                self.store.append(&batch).unwrap();
            }
        }

        fn range(&self, selector: &str, step_ms: Option<i64>) -> Range {
            let query = RangeQuery {
                matchers: muster_samples::selector::parse(selector).unwrap(),
                resource: None,
                start_ms: START,
                end_ms: START + 60_000,
                step_ms,
            };
            range(&self.store.snapshot(), &self.names, query)
        }
    }

    #[test]
    fn joined_labels_are_added_and_an_own_one_of_that_name_is_kept_aside() {
        let world = World::new();
        world.put(1, "smartctl_device_temperature", &[(START, 31.0)]);
        let range = world.range("smartctl_device_temperature", None);
        let labels = &range.series[0].labels;
        let expected = [
            ("exported_job", "own"),
            ("instance", "web"),
            ("job", "smartctl"),
            ("server_id", "1"),
        ];
        assert_eq!(
            *labels,
            expected
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .to_vec()
        );
    }

    #[test]
    fn markers_are_no_points_and_series_of_deleted_servers_are_not_shown() {
        let world = World::new();
        world.put(
            1,
            "m",
            &[(START, 1.0), (START + 15_000, STALE_NAN), (START + 30_000, 2.0)],
        );
        world.put(9, "m", &[(START, 1.0)]);
        let range = world.range("m", None);
        assert_eq!(range.series.len(), 1);
        assert_eq!(range.series[0].points, [(START, 1.0), (START + 30_000, 2.0)]);
        assert!(!range.is_truncated);
    }

    #[test]
    fn the_value_before_the_start_counts_at_the_first_step() {
        let world = World::new();
        world.put(1, "m", &[(START - 200_000, 7.0)]);
        let range = world.range("m{instance=\"web\"}", Some(30_000));
        assert_eq!(
            range.series[0].points,
            [(START, 7.0), (START + 30_000, 7.0), (START + 60_000, 7.0)]
        );
        assert!(world.range("m{instance=\"db\"}", Some(30_000)).series.is_empty());
    }

    #[test]
    fn what_is_left_out_is_the_latest_part() {
        let world = World::new();
        let rows: Vec<(i64, f64)> = (0..100).map(|tick| (START + 1_000 * tick, 1.0)).collect();
        world.put(1, "a", &rows);
        world.put(1, "b", &rows);
        let reader = world.store.snapshot();
        for (step_ms, room) in [
            (None, 50),
            (None, 1),
            (Some(1_000), 50),
            (None, 200),
            (Some(1_000), 200),
        ] {
            let mut gathered = Gathered {
                reader: &reader,
                filter: Filter::new(&[]),
                source: Source::Samples,
                step_ms,
                lookback_ms: 0,
                points: HashMap::new(),
                room,
                is_truncated: false,
                damaged: 0,
            };
            gathered.read(START, START + 99_000);
            let counts: Vec<usize> = gathered.points.values().map(|(_, points)| points.len()).collect();
            let total: usize = counts.iter().sum();
            assert!(
                total <= room && gathered.is_truncated == (total < 200),
                "{step_ms:?} {room} {total}"
            );
            for (_, points) in gathered.points.values() {
                assert_eq!(points.first().map(|point| point.0), Some(START));
                assert!(points.windows(2).all(|pair| pair[1].0 - pair[0].0 == 1_000));
            }
        }
    }

    #[test]
    fn slices_join_at_steps_without_loss_or_repeat() {
        let world = World::new();
        let reader = world.store.snapshot();
        for step_ms in [None, Some(7)] {
            let gathered = Gathered {
                reader: &reader,
                filter: Filter::new(&[]),
                source: Source::Samples,
                step_ms,
                lookback_ms: 0,
                points: HashMap::new(),
                room: 1,
                is_truncated: false,
                damaged: 0,
            };
            for end_ms in [7, 8, 14, 20, 21, 49] {
                let unit_ms = step_ms.unwrap_or(1);
                let middle_ms = gathered.middle(0, end_ms).unwrap();
                assert!(
                    middle_ms % unit_ms == 0 && 0 < middle_ms && middle_ms <= end_ms,
                    "{end_ms}"
                );
            }
            assert_eq!(gathered.middle(5, 5), None);
        }
    }

    #[test]
    fn what_several_selectors_take_is_there_once() {
        let world = World::new();
        world.put(1, "a", &[(START, 1.0)]);
        world.put(2, "b", &[(START, 2.0)]);
        let selectors = ["{__name__=~\".+\"}", "a", "{instance=\"db\"}"]
            .map(|text| muster_samples::selector::parse(text).unwrap_or_default());
        let all = latest(
            &world.store.snapshot(),
            &world.names,
            selectors.to_vec(),
            START + 1_000,
        );
        let names: Vec<&str> = all.iter().map(|series| &*series.name).collect();
        assert_eq!(names, ["a", "b"]);
    }
}
