//! The one that knows everything that was produced, acknowledged and stored, and judges. It is never faulted.

use std::collections::{BTreeMap, BTreeSet};

use muster_controller::intake::{Accepted, Definitions};
use muster_model::{GapReason, RangeSet, Report, SampleBlock, SeriesDef};

/// Which report: agent, epoch, number.
pub(crate) type Key = (usize, u64, u64);

/// A report as it was made.
#[derive(Debug)]
struct Produced {
    blocks: Vec<SampleBlock>,
    /// What the agent's wall clock was ahead of true time, ms.
    skew_ms: i64,
}

/// An epoch of an agent.
#[derive(Debug, Default)]
struct Epoch {
    definitions: Vec<SeriesDef>,
    last_sequence: u64,
    /// It was ended in order, and the agent said that all of it is kept.
    ended_cleanly: bool,
    /// The numbers that were on disk when it ended.
    kept: BTreeSet<u64>,
    /// Bits of its files were flipped, or its disk failed to give back what it had taken.
    is_damaged: bool,
}

/// What the runs of one seed have shown.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Figures {
    pub(crate) produced_reports: u64,
    pub(crate) produced_samples: u64,
    pub(crate) stored_reports: u64,
    pub(crate) stored_samples: u64,
    pub(crate) told_lost_samples: u64,
    pub(crate) unclean_lost_samples: u64,
    pub(crate) restored_away: u64,
    /// Samples that the sample store has, each once and to the bit.
    pub(crate) samples_in_store: u64,
    pub(crate) acked: u64,
    pub(crate) faults: u64,
}

impl Figures {
    pub(crate) fn add(&mut self, other: &Self) {
        self.produced_reports += other.produced_reports;
        self.produced_samples += other.produced_samples;
        self.stored_reports += other.stored_reports;
        self.stored_samples += other.stored_samples;
        self.told_lost_samples += other.told_lost_samples;
        self.unclean_lost_samples += other.unclean_lost_samples;
        self.restored_away += other.restored_away;
        self.samples_in_store += other.samples_in_store;
        self.acked += other.acked;
        self.faults += other.faults;
    }
}

#[derive(Debug, Default)]
pub(crate) struct Oracle {
    produced: BTreeMap<Key, Produced>,
    epochs: BTreeMap<(usize, u64), Epoch>,
    acked: BTreeSet<Key>,
    /// What the controller's store has now: reports with what they tell, and numbers that gaps have closed.
    stored: BTreeMap<Key, Told>,
    closed: BTreeMap<(usize, u64), RangeSet>,
    /// What was on the disks when their agents ended last.
    on_disk: BTreeMap<(usize, u64), BTreeSet<u64>>,
    /// Acknowledged, and then lost to the restore of an older copy.
    restored_away: BTreeSet<Key>,
    /// Epochs of which a restore has taken away that something is lost, or that they ended uncleanly.
    untold_again: BTreeSet<(usize, u64)>,
    pub(crate) faults: u64,
    /// Some clock of this run jumps, so that times may be judged to be wrong.
    pub(crate) do_clocks_jump: bool,
}

/// What a report says of others.
#[derive(Debug, Clone, Default)]
struct Told {
    gaps: Vec<u64>,
    unclean: Option<u64>,
}

/// The store's content at one time, to go back to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Snapshot {
    stored: BTreeMap<Key, Told>,
    closed: BTreeMap<(usize, u64), RangeSet>,
}

impl Oracle {
    pub(crate) fn began(&mut self, agent: usize, epoch: u64) {
        let known = self.epochs.insert((agent, epoch), Epoch::default());
        assert!(known.is_none(), "an epoch's number was used twice");
    }

    pub(crate) fn defined(&mut self, agent: usize, epoch: u64, series: SeriesDef) {
        self.epoch(agent, epoch).definitions.push(series);
    }

    pub(crate) fn produced(&mut self, key: Key, report: &Report, skew_ms: i64) {
        let epoch = self.epoch(key.0, key.1);
        assert!(
            epoch.last_sequence < key.2,
            "number {} of epoch {:x} was given again",
            key.2,
            key.1
        );
        epoch.last_sequence = key.2;
        let blocks = report.blocks.clone();
        let before = self.produced.insert(key, Produced { blocks, skew_ms });
        assert!(before.is_none(), "number {key:?} was used twice");
    }

    /// The highest number that was given, also to reports that only carry gaps.
    pub(crate) fn numbered(&mut self, agent: usize, epoch: u64, last_sequence: u64) {
        let epoch = self.epoch(agent, epoch);
        epoch.last_sequence = epoch.last_sequence.max(last_sequence);
    }

    /// An epoch has ended, with `kept` on disk.
    pub(crate) fn ended(
        &mut self,
        agent: usize,
        epoch: u64,
        kept: Vec<(u64, BTreeSet<u64>)>,
        ended_cleanly: bool,
        had_spool: bool,
    ) {
        self.epoch(agent, epoch).ended_cleanly = ended_cleanly;
        // An agent that could not open its spool knows nothing of what lies there.
        if had_spool {
            self.on_disk.retain(|(owner, _), _| *owner != agent);
        }
        for (past, mut kept) in kept {
            let known = &mut self.epoch(agent, past).kept;
            if past == epoch {
                known.extend(&kept);
            } else {
                // What a start finds may be in the kernel's memory only: written, and never synced.
                kept.retain(|number| known.contains(number));
            }
            self.on_disk.insert((agent, past), kept);
        }
    }

    /// What is on disk of the agent may be damaged from here on.
    pub(crate) fn damaged(&mut self, agent: usize) {
        for ((owner, _), epoch) in &mut self.epochs {
            if *owner == agent {
                epoch.is_damaged = true;
            }
        }
    }

    /// What an agent's disk gave back at a start.
    pub(crate) fn recovered(&self, agent: usize, found: &[(u64, BTreeSet<u64>)]) {
        for ((owner, epoch), kept) in &self.on_disk {
            if *owner != agent || self.epochs[&(agent, *epoch)].is_damaged {
                continue;
            }
            let here = found.iter().find(|(found, _)| found == epoch);
            let missing = kept
                .iter()
                .filter(|number| here.is_none_or(|(_, here)| !here.contains(number)));
            let missing: Vec<_> = missing.collect();
            assert!(
                missing.is_empty(),
                "reports {missing:?} of epoch {epoch:x} were on disk and are neither held nor told as lost"
            );
        }
    }

    /// The intake has stored a report, by its answer.
    pub(crate) fn stored(&mut self, agent: usize, report: &Report, is_duplicate: bool) {
        let key = (agent, report.epoch, report.sequence);
        if is_duplicate {
            let is_closed = self
                .closed
                .get(&(agent, report.epoch))
                .is_some_and(|closed| closed.contains(report.sequence));
            assert!(
                self.stored.contains_key(&key) || is_closed,
                "{key:?} is called a duplicate and was never stored"
            );
            return;
        }
        let told = Told {
            gaps: report.gaps.iter().map(|gap| gap.epoch).collect(),
            unclean: report.previous_epoch.map(|previous| previous.epoch),
        };
        let before = self.stored.insert(key, told);
        assert!(before.is_none(), "{key:?} was stored twice");
        for gap in &report.gaps {
            let closed = self.closed.entry((agent, gap.epoch)).or_default();
            closed.insert_range(gap.range).unwrap();
        }
    }

    /// An agent was told that a report is stored.
    pub(crate) fn acked(&mut self, key: Key) {
        let is_closed = self
            .closed
            .get(&(key.0, key.1))
            .is_some_and(|closed| closed.contains(key.2));
        assert!(
            self.stored.contains_key(&key) || is_closed,
            "{key:?} was acknowledged and is not stored"
        );
        self.acked.insert(key);
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot {
            stored: self.stored.clone(),
            closed: self.closed.clone(),
        }
    }

    /// The controller was given an older copy of its store.
    pub(crate) fn restored(&mut self, older: Snapshot) {
        let lost = self
            .stored
            .iter()
            .filter(|(key, _)| !older.stored.contains_key(key));
        for (key, told) in lost {
            self.restored_away.insert(*key);
            let epochs = told.gaps.iter().chain(&told.unclean);
            self.untold_again.extend(epochs.map(|epoch| (key.0, *epoch)));
        }
        self.stored = older.stored;
        self.closed = older.closed;
    }

    fn epoch(&mut self, agent: usize, epoch: u64) -> &mut Epoch {
        self.epochs.entry((agent, epoch)).or_default()
    }

    /// Judges what is in the log after everything was healed and delivered.
    pub(crate) fn judge(
        &self,
        log: &[(usize, std::sync::Arc<Accepted>)],
        definitions: &BTreeMap<(usize, u64), Definitions>,
    ) -> Figures {
        let mut figures = Figures {
            produced_reports: self.produced.len() as u64,
            acked: self.acked.len() as u64,
            restored_away: self.restored_away.len() as u64,
            faults: self.faults,
            ..Figures::default()
        };
        let mut found = BTreeSet::new();
        let mut unclean = BTreeSet::new();
        let mut gaps = Gaps::default();
        for (agent, accepted) in log {
            let report = &accepted.report;
            let key = (*agent, report.epoch, report.sequence);
            assert!(found.insert(key), "{key:?} is in the log twice");
            figures.stored_reports += 1;
            figures.stored_samples += report.sample_count() as u64;
            self.judge_report(key, report, definitions.get(&(*agent, report.epoch)));
            if let Some(previous) = report.previous_epoch
                && !previous.ended_cleanly
            {
                unclean.insert((*agent, previous.epoch));
            }
            for gap in &report.gaps {
                // The controller's own: a part of this very report was refused.
                let is_own = gap.epoch == report.epoch && gap.range.first == report.sequence;
                if is_own {
                    continue;
                }
                gaps.add(*agent, gap.epoch, gap.range.first, gap.range.last, gap.reason);
                self.judge_count(*agent, gap, &self.restored_away);
                figures.told_lost_samples += gap.sample_count.unwrap_or(0);
            }
        }
        let stored: BTreeSet<Key> = self.stored.keys().copied().collect();
        assert_eq!(found, stored, "the log is not what the answers said");
        for key in &found {
            assert!(
                !gaps.contains(*key) || self.restored_away.contains(key),
                "{key:?} is stored and told as lost as well"
            );
        }
        for (key, produced) in &self.produced {
            let samples: usize = produced.blocks.iter().map(|block| block.values().len()).sum();
            figures.produced_samples += samples as u64;
            if found.contains(key) || gaps.contains(*key) {
                continue;
            }
            figures.unclean_lost_samples += samples as u64;
            self.judge_missing(*key, &unclean);
        }
        figures
    }

    /// A stored report says what was produced, or less and tells how much.
    fn judge_report(&self, key: Key, report: &Report, definitions: Option<&Definitions>) {
        let (agent, epoch, _) = key;
        let Some(made) = self.epochs.get(&(agent, epoch)) else {
            panic!("{key:?} is of an epoch that never was");
        };
        let Some(produced) = self.produced.get(&key) else {
            assert!(
                report.blocks.is_empty() && key.2 <= made.last_sequence,
                "{key:?} is stored and was never produced"
            );
            return;
        };
        for id in report.blocks.iter().flat_map(|block| block.series()) {
            let stored = definitions.and_then(|known| known.series.get(*id as usize - 1));
            let stored = stored.and_then(Option::as_ref);
            assert_eq!(
                stored,
                made.definitions.get(*id as usize - 1),
                "series {id} of {key:?} is not what was defined"
            );
        }
        let refused: u64 = report
            .gaps
            .iter()
            .filter(|gap| gap.epoch == epoch && gap.range.first == key.2)
            .filter(|gap| matches!(gap.reason, GapReason::Refused | GapReason::Thinned))
            .filter_map(|gap| gap.sample_count)
            .sum();
        let count =
            |blocks: &[SampleBlock]| blocks.iter().map(|block| block.values().len()).sum::<usize>() as u64;
        assert_eq!(
            count(&report.blocks) + refused,
            count(&produced.blocks),
            "{key:?}: samples stored and refused are not those produced"
        );
        if refused == 0 {
            same_samples(key, &report.blocks, produced, self.do_clocks_jump);
        }
    }

    /// The count of a gap is what was in its reports.
    fn judge_count(&self, agent: usize, gap: &muster_model::Gap, restored_away: &BTreeSet<Key>) {
        let Some(count) = gap.sample_count else { return };
        let range = (agent, gap.epoch, gap.range.first)..=(agent, gap.epoch, gap.range.last);
        let sum: usize = self
            .produced
            .range(range.clone())
            .flat_map(|(_, produced)| &produced.blocks)
            .map(|block| block.values().len())
            .sum();
        let is_exact = count == sum as u64 || restored_away.range(range).next().is_some();
        assert!(
            is_exact,
            "{gap:?} of agent {agent} counts {count} samples, and {sum} were produced"
        );
    }

    fn judge_missing(&self, key: Key, unclean: &BTreeSet<(usize, u64)>) {
        let (agent, epoch, sequence) = key;
        let made = &self.epochs[&(agent, epoch)];
        if self.restored_away.contains(&key) || self.untold_again.contains(&(agent, epoch)) {
            return;
        }
        assert!(!self.acked.contains(&key), "{key:?} was acknowledged and is lost");
        assert!(
            !made.kept.contains(&sequence) || made.is_damaged,
            "{key:?} was on disk and is neither stored nor told as lost"
        );
        assert!(
            !made.ended_cleanly,
            "{key:?} is missing, and its epoch ended in order"
        );
        assert!(
            unclean.contains(&(agent, epoch)),
            "{key:?} is missing, and nobody was told that its epoch ended uncleanly"
        );
    }
}

/// The same values of the same series in the same order; times too, unless the agent's clock was off.
fn same_samples(key: Key, stored: &[SampleBlock], produced: &Produced, do_clocks_jump: bool) {
    let values = |blocks: &[SampleBlock]| {
        let rows = blocks.iter().flat_map(|block| {
            block
                .rows()
                .map(|(time, row)| (time, block.series().to_vec(), row.to_vec()))
        });
        rows.collect::<Vec<_>>()
    };
    let (stored, produced_rows) = (values(stored), values(&produced.blocks));
    assert_eq!(stored.len(), produced_rows.len(), "{key:?}");
    let shift = match (stored.first(), produced_rows.first()) {
        (Some(stored), Some(produced)) => stored.0 - produced.0,
        _ => 0,
    };
    assert!(
        shift == 0 || produced.skew_ms != 0 || do_clocks_jump,
        "{key:?} was moved in time although the agent's clock was right"
    );
    for (stored, produced) in stored.iter().zip(&produced_rows) {
        assert!(
            stored.0 == produced.0 + shift && stored.1 == produced.1 && stored.2 == produced.2,
            "{key:?}: {stored:?} was stored for {produced:?}"
        );
    }
}

/// Numbers that were told as lost.
#[derive(Default)]
struct Gaps(BTreeMap<(usize, u64), BTreeMap<u64, (u64, GapReason)>>);

impl Gaps {
    fn add(&mut self, agent: usize, epoch: u64, first: u64, last: u64, reason: GapReason) {
        let of_epoch = self.0.entry((agent, epoch)).or_default();
        let before = of_epoch.range(..=last).next_back();
        // Told twice is told too much: what is lost would be counted twice.
        if let Some((other, (end, why))) = before
            && first <= *end
        {
            panic!(
                "reports {first}..={last} of epoch {epoch:x} are told as lost ({reason:?}), and {other}..={end} were before ({why:?})"
            );
        }
        of_epoch.insert(first, (last, reason));
    }

    fn contains(&self, (agent, epoch, sequence): Key) -> bool {
        self.0
            .get(&(agent, epoch))
            .and_then(|gaps| gaps.range(..=sequence).next_back())
            .is_some_and(|(_, (last, _))| sequence <= *last)
    }
}
