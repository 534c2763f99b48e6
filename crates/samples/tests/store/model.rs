//! Whatever happens in whatever order, reading gives what a map would give that keeps the first sample.

use muster_samples::{Batch, Options, SeriesRef, Store};
use proptest::prelude::*;

use crate::world::{DAY, HOUR, MIDNIGHT, Samples, World, all, samples, select, spec};

const SERVERS: i64 = 2;
const METRICS: [(&str, &str); 5] = [
    ("a", "fast"),
    ("b", "fast"),
    ("c", "fast"),
    ("d", "slow"),
    ("moved", "other"),
];

/// A record of the intake.
#[derive(Debug, Clone)]
struct Record {
    server: i64,
    metrics: Vec<usize>,
    times_ms: Vec<i64>,
    values: Vec<f64>,
    received_ms: i64,
}

#[derive(Debug, Clone)]
enum Step {
    Append {
        server: i64,
        metrics: Vec<usize>,
        ages_ms: Vec<i64>,
        seed: u64,
    },
    /// A record that came before comes again under a new position, with other values.
    Again {
        back: usize,
        seed: u64,
    },
    Advance {
        ms: i64,
    },
    Seal,
    Flush,
    /// The process dies; a new one applies the intake, but dies after so many records and begins once more.
    Crash {
        applied: usize,
    },
    /// The consumer notes how far it need not go back.
    Note,
    Read {
        from: i64,
        length: i64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let age = prop_oneof![
        6 => 0..20_000_i64,
        2 => -30 * 60_000..3 * HOUR,
        1 => 0..2 * DAY,
        // Few different ones, so that the same series and time come again.
        3 => (0..6_i64).prop_map(|n| n * 15_000),
    ];
    let metrics = prop::sample::subsequence((0..METRICS.len()).collect::<Vec<_>>(), 1..=METRICS.len());
    prop_oneof![
        8 => (0..SERVERS, metrics.prop_shuffle(), prop::collection::vec(age, 1..6), any::<u64>())
            .prop_map(|(server, metrics, ages_ms, seed)| Step::Append { server, metrics, ages_ms, seed }),
        2 => (0..10_usize, any::<u64>()).prop_map(|(back, seed)| Step::Again { back, seed }),
        3 => (0..40 * 60_000_i64).prop_map(|ms| Step::Advance { ms }),
        3 => Just(Step::Seal),
        1 => Just(Step::Flush),
        1 => (0..20_usize).prop_map(|applied| Step::Crash { applied }),
        2 => Just(Step::Note),
        2 => (-2 * DAY..HOUR, 0..DAY).prop_map(|(from, length)| Step::Read { from, length }),
    ]
}

fn value(random: &mut fastrand::Rng) -> f64 {
    match random.u8(0..6) {
        0 => f64::from_bits(random.u64(..)),
        1 => muster_model::STALE_NAN,
        2 => f64::from(random.u32(..1_000)) / 100.0,
        _ => f64::from(random.u32(..100_000)),
    }
}

struct Run {
    world: World,
    intake: Vec<Record>,
    oracle: Samples,
    /// What the consumer wrote down: records before it are never applied again.
    noted: i64,
}

impl Run {
    fn new() -> Self {
        // A crowded group is sealed early, so that windows are sealed in several chunks.
        let options = Options {
            group_samples_max: 40,
            ..Options::default()
        };
        let mut world = World::with(options);
        world.now_ms = MIDNIGHT + HOUR / 2;
        Self {
            world,
            intake: Vec::new(),
            oracle: Samples::new(),
            noted: 0,
        }
    }

    fn refs(store: &Store, record: &Record) -> Vec<SeriesRef> {
        let of = |metric: &usize| {
            let (name, collector) = METRICS[*metric];
            store
                .series(&spec(record.server, name, collector, 15_000))
                .unwrap()
        };
        record.metrics.iter().map(of).collect()
    }

    fn apply(&self, position: usize) {
        let record = &self.intake[position];
        let series = Self::refs(&self.world.store, record);
        let batch = Batch {
            position: position as i64,
            received_ms: record.received_ms,
            times_ms: &record.times_ms,
            series: &series,
            values: &record.values,
        };
        let outcome = self.world.store.append(&batch).unwrap();
        assert_eq!(
            outcome.appended + outcome.duplicates,
            record.values.len() as u64,
            "{outcome:?}"
        );
    }

    fn accept(&mut self, record: Record) {
        for (row, time_ms) in record.times_ms.iter().enumerate() {
            for (column, metric) in record.metrics.iter().enumerate() {
                let bits = record.values[row * record.metrics.len() + column].to_bits();
                let key = (record.server, METRICS[*metric].0.to_owned(), *time_ms);
                self.oracle.entry(key).or_insert(bits);
            }
        }
        self.intake.push(record);
        self.apply(self.intake.len() - 1);
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Append {
                server,
                metrics,
                ages_ms,
                seed,
            } => {
                let mut random = fastrand::Rng::with_seed(seed);
                let values = (0..ages_ms.len() * metrics.len())
                    .map(|_| value(&mut random))
                    .collect();
                let times_ms = ages_ms.iter().map(|age| self.world.now_ms - age).collect();
                self.accept(Record {
                    server,
                    metrics,
                    times_ms,
                    values,
                    received_ms: self.world.now_ms,
                });
            }
            Step::Again { back, seed } => {
                let Some(index) = self.intake.len().checked_sub(1 + back) else {
                    return;
                };
                let mut random = fastrand::Rng::with_seed(seed);
                let mut record = self.intake[index].clone();
                record.values.iter_mut().for_each(|old| *old = value(&mut random));
                self.accept(record);
            }
            Step::Advance { ms } => self.world.now_ms += ms,
            Step::Seal => drop(self.world.store.seal(self.world.now_ms).unwrap()),
            Step::Flush => drop(self.world.store.flush_all().unwrap()),
            Step::Note => self.noted = self.world.store.safe_position(),
            Step::Crash { applied } => {
                for count in [applied, self.intake.len()] {
                    self.world.reopen();
                    (self.noted as usize..self.intake.len())
                        .take(count)
                        .for_each(|n| self.apply(n));
                }
                assert_eq!(self.world.store.damaged(), []);
            }
            Step::Read { from, length } => {
                let (start, end) = (self.world.now_ms + from, self.world.now_ms + from + length);
                let read = samples(&select(&self.world.store.snapshot(), start, end));
                let expected: Samples = self
                    .oracle
                    .clone()
                    .into_iter()
                    .filter(|((.., time), _)| (start..=end).contains(time))
                    .collect();
                assert_eq!(read, expected);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn the_store_is_a_map_that_keeps_the_first_sample(steps in prop::collection::vec(step(), 1..60)) {
        let mut run = Run::new();
        for step in steps {
            run.step(step);
        }
        assert_eq!(all(&run.world.store), run.oracle);
        run.step(Step::Flush);
        assert_eq!(all(&run.world.store), run.oracle);
        // Everything is on disk, so nothing has to be applied again.
        run.noted = run.world.store.safe_position().max(run.noted);
        run.world.reopen();
        assert_eq!(all(&run.world.store), run.oracle);
        assert_eq!(run.world.store.verify(), []);
    }
}
