//! Delivery under one seeded scheduler: agents, links, disks, clocks and a controller, with everything that can go
//! wrong with them.
//!
//! Real are the agent's outbox, spool, keeper and session, the wire's framing and conversion, and the controller's
//! judgement, intake and sample store. Simulated are time, disks, links and the loops that wait. `MUSTER_SIM_SEED=N`
//! runs one seed and prints what happens; `MUSTER_SIM_SEEDS=N` runs as many as wanted.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]
#![allow(
    clippy::print_stdout,
    reason = "figures and traces are for whoever runs the test"
)]

mod agent;
mod controller;
mod disk;
mod faults;
mod oracle;
mod sabotage;
mod samples;
mod trace;
mod world;

use std::cell::OnceCell;
use std::panic::AssertUnwindSafe;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::oracle::Figures;
use crate::sabotage::Sabotage;
use crate::trace::Trace;
use crate::world::World;

/// Starts of agents that one run may have.
const STARTS_MAX: usize = 2_000;
/// Seeds of the ordinary run, and of the long one.
const SEEDS: u64 = 100;
const SEEDS_FULL: u64 = 2_000;
/// One seed in so many is run twice.
const TWICE_EVERY: u64 = 10;

struct Failure {
    seed: u64,
    message: String,
    tail: String,
}

/// Runs one seed, with the code broken if so wanted; returns what it came to and the digest of all that happened.
fn run(seed: u64, sabotage: Option<Sabotage>, is_verbose: bool) -> Result<(Figures, (u64, u64)), Failure> {
    let trace = Trace::new(is_verbose);
    let world = AssertUnwindSafe(|| {
        let identity = agent::identity();
        let uplinks: Vec<_> = (0..STARTS_MAX).map(|_| OnceCell::new()).collect();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(World::new((seed, sabotage), &identity, &uplinks, trace.clone()).run())
    });
    match std::panic::catch_unwind(world) {
        Ok(figures) => Ok((figures, trace.digest())),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            Err(Failure {
                seed,
                message: text.unwrap_or("a panic without words").to_owned(),
                tail: trace.tail(),
            })
        }
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var_os(name)?.to_str()?.parse().ok()
}

fn seeds() -> std::ops::Range<u64> {
    if let Some(seed) = number("MUSTER_SIM_SEED") {
        return seed..seed + 1;
    }
    let is_full = std::env::var_os("MUSTER_TEST_FULL").is_some();
    0..number("MUSTER_SIM_SEEDS").unwrap_or(if is_full { SEEDS_FULL } else { SEEDS })
}

fn fail(failures: &[Failure]) {
    let Some(first) = failures.iter().min_by_key(|failure| failure.seed) else {
        return;
    };
    let seeds: Vec<u64> = failures.iter().map(|failure| failure.seed).collect();
    panic!(
        "{}\nseed {} says: {}\nseeds that fail: {seeds:?}\nreplay it with\n  MUSTER_SIM_SEED={} cargo nextest run -p \
         muster-simulation --no-capture\n",
        first.tail, first.seed, first.message, first.seed
    );
}

/// O6
#[test]
fn nothing_acknowledged_is_lost_or_doubled_whatever_goes_wrong() {
    let seeds = seeds();
    let is_verbose = number("MUSTER_SIM_SEED").is_some();
    let (next, failures) = (AtomicU64::new(seeds.start), Mutex::new(Vec::new()));
    let sum = Mutex::new((0_u64, Figures::default(), 0_u64));
    std::panic::set_hook(Box::new(|_| {}));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if !seeds.contains(&seed) {
                        return;
                    }
                    match run(seed, None, is_verbose) {
                        Ok((figures, digest)) => {
                            let mut sum = sum.lock().unwrap();
                            (sum.0, sum.2) = (sum.0 + 1, sum.2 + digest.1);
                            sum.1.add(&figures);
                        }
                        Err(failure) => failures.lock().unwrap().push(failure),
                    }
                }
            });
        }
    });
    let _ = std::panic::take_hook();
    let (count, figures, events) = *sum.lock().unwrap();
    println!("{count} seeds, {events} events, {figures:?}");
    fail(&failures.into_inner().unwrap());
    let is_whole = 100 < count;
    assert!(
        !is_whole || 0 < figures.told_lost_samples,
        "the runs are too tame"
    );
}

/// O6
#[test]
fn the_same_seed_does_the_same_to_the_byte() {
    let seeds = seeds();
    for seed in seeds.step_by(usize::try_from(TWICE_EVERY).unwrap()).take(200) {
        let digests = [run(seed, None, false), run(seed, None, false)].map(|run| match run {
            Ok((_, digest)) => digest,
            // What goes wrong is the other test's; that it goes wrong in the same way is this one's.
            Err(failure) => (failure.message.len() as u64, failure.tail.len() as u64),
        });
        assert_eq!(digests[0], digests[1], "seed {seed} did two different things");
    }
}

/// O6: whoever breaks the code so that something is lost or doubled is told by one of the first seeds.
#[test]
fn every_way_to_break_delivery_on_purpose_is_found_by_one_of_the_first_seeds() {
    const SEEDS_MAX: u64 = 60;
    std::panic::set_hook(Box::new(|_| {}));
    let found = Sabotage::ALL.map(|sabotage| {
        let failure = (0..SEEDS_MAX).find_map(|seed| run(seed, Some(sabotage), false).err());
        (sabotage, failure)
    });
    let _ = std::panic::take_hook();
    for (sabotage, failure) in &found {
        match failure {
            Some(failure) => println!(
                "O6: {sabotage:?}: seed {} says: {}",
                failure.seed, failure.message
            ),
            None => println!("O6: {sabotage:?}: not found by {SEEDS_MAX} seeds"),
        }
    }
    assert!(found.iter().all(|(_, failure)| failure.is_some()));
}
