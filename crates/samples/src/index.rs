//! The series index: which series there are, and which of them meet a query.
//!
//! Held in memory as a whole; [`IndexDb`] keeps it on disk. New series get their number here and are written
//! with the next flush, which always comes before a chunk that has their samples: a number found in a chunk is
//! therefore known, and what is lost with the memory is made again when the intake is applied again.
//!
//! Invariants: numbers ascend and are not given twice while a chunk may hold them; every posting list ascends;
//! a series is in the lists if and only if it is live.

mod db;
mod identities;
mod lists;
mod quota;
mod shared;

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use muster_base::id::{ResourceId, ServerId};

use crate::NAME_LABEL;
use crate::matcher::Matcher;
use crate::rollup::SERIES_NUMBER_MAX;
use crate::series::{SeriesMeta, SeriesRef, SeriesRefused, SeriesSpec};

pub(crate) use db::{GroupRow, IndexDb, Loaded};
use identities::Identities;
use lists::Lists;
use quota::Quota;
pub use quota::{Cut, Family, SeriesLimits};
use shared::Shared;

/// Retired series whose number still works if samples come for it again.
const RETIRED_MAX: usize = 100_000;

/// What stands under a number.
#[derive(Debug)]
enum Slot {
    /// Nothing that is known.
    Vacant,
    /// A series in use, or resting: it has no samples any more and is not counted, but its roll-ups can be read.
    Live(Arc<SeriesMeta>),
    /// A series that had no samples for so long that it was taken from the lists.
    Retired(Arc<SeriesMeta>),
}

/// Which group a number's samples go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// To this group.
    Group(u32),
    /// The series was retired and has to be revived first.
    Retired,
    /// There is no such series.
    Unknown,
}

/// The index in memory.
#[derive(Debug)]
pub(crate) struct Index {
    quota: Quota,
    slots: Vec<Slot>,
    /// Live series that rest.
    rested: HashSet<u32>,
    /// For each slot the day (since 1970) of its last sealed sample, as far as known.
    last_days: Vec<i32>,
    identities: Identities,
    groups: HashMap<(ServerId, Arc<str>), u32>,
    group_count: u32,
    lists: Lists,
    /// What series have in common.
    shared: Shared,
    retired: VecDeque<u32>,
    /// What differs from the disk.
    dirty: BTreeSet<u32>,
    new_groups: Vec<GroupRow>,
}

impl Index {
    /// The index that was on disk.
    pub(crate) fn new(loaded: Loaded, limits: SeriesLimits) -> Self {
        let mut index = Self {
            quota: Quota::new(limits),
            rested: HashSet::new(),
            // Number 0 is not given, so that differences of numbers in chunks start from it.
            slots: vec![Slot::Vacant],
            last_days: vec![0],
            identities: Identities::default(),
            groups: HashMap::new(),
            group_count: loaded.group_number_max,
            lists: Lists::default(),
            shared: Shared::default(),
            retired: VecDeque::new(),
            dirty: BTreeSet::new(),
            new_groups: Vec::new(),
        };
        let mut groups = HashMap::new();
        for group in loaded.groups {
            let collector = index.shared.text(&group.collector);
            index
                .groups
                .insert((group.server, Arc::clone(&collector)), group.id);
            groups.insert(group.id, (group.server, collector));
        }
        for row in loaded.series {
            // Without its group nobody knows whose series it is; the loader has reported that.
            let Some((server, collector)) = groups.get(&row.group) else {
                continue;
            };
            let meta = SeriesMeta {
                id: SeriesRef(row.id),
                server: *server,
                resource: row.resource,
                name: index.shared.text(&row.name),
                labels: index.shared.labels(&row.labels),
                metric_type: row.metric_type,
                unit: index.shared.text(&row.unit),
                collector: Arc::clone(collector),
                interval_ms: row.interval_ms,
                group: row.group,
            };
            index.vacate_up_to(row.id);
            index.last_days[row.id as usize] = row.last_day;
            index.insert(Arc::new(meta));
        }
        index.vacate_up_to(loaded.series_number_max);
        index
    }

    /// The series of this identity, if it is live, does not rest, and nothing else about it has changed.
    pub(crate) fn find(&self, spec: &SeriesSpec) -> Option<SeriesRef> {
        let meta = self.live(self.number_of(spec)?)?;
        if self.rested.contains(&meta.id.0) {
            return None;
        }
        is_current(meta, spec).then_some(meta.id)
    }

    /// Finds, changes or makes a series.
    ///
    /// # Errors
    /// [`SeriesRefused`] if it is new and beyond a limit, or badly named.
    pub(crate) fn find_or_create(&mut self, spec: &SeriesSpec) -> Result<SeriesRef, SeriesRefused> {
        let outcome = self.try_find_or_create(spec);
        if let Err(refused) = &outcome {
            self.quota.note(spec.server, &spec.name, refused);
        }
        outcome
    }

    fn try_find_or_create(&mut self, spec: &SeriesSpec) -> Result<SeriesRef, SeriesRefused> {
        if let Some(number) = self.number_of(spec) {
            return self.update(number, spec);
        }
        check_names(spec)?;
        self.quota.check(spec.server, &spec.name)?;
        let number = u32::try_from(self.slots.len()).map_err(|_| SeriesRefused::Exhausted)?;
        if SERIES_NUMBER_MAX < number {
            return Err(SeriesRefused::Exhausted);
        }
        let collector = self.shared.text(&spec.collector);
        let meta = SeriesMeta {
            id: SeriesRef(number),
            server: spec.server,
            resource: spec.resource,
            name: self.shared.text(&spec.name),
            labels: self.shared.labels(&spec.labels),
            metric_type: spec.metric_type,
            unit: self.shared.text(&spec.unit),
            group: self.group(spec.server, &collector)?,
            collector,
            interval_ms: spec.interval_ms,
        };
        self.vacate_up_to(number);
        self.insert(Arc::new(meta));
        self.dirty.insert(number);
        Ok(SeriesRef(number))
    }

    /// Where samples of a series go.
    pub(crate) fn place(&self, series: SeriesRef) -> Place {
        match self.slots.get(series.0 as usize) {
            Some(Slot::Live(_)) if self.rested.contains(&series.0) => Place::Retired,
            Some(Slot::Live(meta)) => Place::Group(meta.group),
            Some(Slot::Retired(_)) => Place::Retired,
            Some(Slot::Vacant) | None => Place::Unknown,
        }
    }

    /// The series under a number, if it is live.
    pub(crate) fn live(&self, number: u32) -> Option<&Arc<SeriesMeta>> {
        match self.slots.get(number as usize) {
            Some(Slot::Live(meta)) => Some(meta),
            _ => None,
        }
    }

    /// How many series are in use, and how many rest.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.quota.total(), self.rested.len())
    }

    /// What was refused.
    pub(crate) fn cut(&self) -> Vec<Cut> {
        self.quota.cut()
    }

    fn live_count(&self) -> usize {
        self.quota.total() + self.rested.len()
    }

    /// Live series that meet every matcher and belong to one of the servers and resources, if any are named;
    /// by number.
    pub(crate) fn select(
        &self,
        matchers: &[Matcher],
        servers: Option<&[ServerId]>,
        resources: Option<&[ResourceId]>,
    ) -> Vec<Arc<SeriesMeta>> {
        // A condition that the empty value meets is also met by series without the label, which no list has.
        let (loose, strict): (Vec<_>, Vec<_>) = matchers.iter().partition(|matcher| matcher.matches(""));
        let meets = |meta: &&Arc<SeriesMeta>| {
            loose
                .iter()
                .all(|matcher| matcher.matches(meta.label(matcher.name()).unwrap_or_default()))
        };
        let live = |number: u32| self.live(number);
        match self.lists.select(&strict, servers, resources) {
            Some(numbers) => numbers
                .into_iter()
                .filter_map(live)
                .filter(meets)
                .cloned()
                .collect(),
            None => (1..self.slots.len() as u32)
                .filter_map(live)
                .filter(meets)
                .cloned()
                .collect(),
        }
    }

    /// Takes what has to be written; [`Index::give_back`] undoes it if writing fails.
    pub(crate) fn take_changes(&mut self) -> Changes {
        let numbers = std::mem::take(&mut self.dirty);
        let rows = numbers
            .iter()
            .map(|number| {
                (
                    *number,
                    self.live(*number).cloned(),
                    self.last_days[*number as usize],
                )
            })
            .collect();
        let census = Census {
            series_count: self.live_count() as u32,
            series_number_max: (self.slots.len() - 1) as u32,
            group_number_max: self.group_count,
        };
        Changes {
            groups: std::mem::take(&mut self.new_groups),
            series: rows,
            census,
        }
    }

    /// Has the changes written next time.
    pub(crate) fn give_back(&mut self, changes: Changes) {
        self.dirty
            .extend(changes.series.iter().map(|(number, ..)| *number));
        self.new_groups.splice(0..0, changes.groups);
    }

    /// Remembers that these series had samples sealed on a day, and revives those that were retired.
    pub(crate) fn note_sealed(&mut self, numbers: impl Iterator<Item = u32>, day: i32) {
        for number in numbers {
            if let Some(last) = self
                .last_days
                .get_mut(number as usize)
                .filter(|last| **last < day)
            {
                *last = day;
                // Written once a day and series: retention must not forget a series whose samples are there.
                self.dirty.insert(number);
            }
            self.revive(SeriesRef(number));
        }
    }

    /// Puts a retired series back into the lists; says whether the series is live now.
    pub(crate) fn revive(&mut self, series: SeriesRef) -> bool {
        let slot = self.slots.get_mut(series.0 as usize);
        if let Some(Slot::Retired(meta)) = slot {
            let meta = Arc::clone(meta);
            self.insert(meta);
            self.dirty.insert(series.0);
        } else if self.rested.remove(&series.0)
            && let Some(meta) = self.live(series.0).cloned()
        {
            self.quota.add(&meta);
        }
        self.live(series.0).is_some()
    }

    /// Live series whose last sealed sample, if any, is from before `day`.
    pub(crate) fn idle(&self, day: i32) -> Vec<u32> {
        let is_idle = |number: &u32| self.last_days[*number as usize] < day && self.live(*number).is_some();
        (1..self.slots.len() as u32).filter(is_idle).collect()
    }

    /// Lets series rest; returns how many of them did not.
    pub(crate) fn rest(&mut self, numbers: &[u32]) -> usize {
        let mut count = 0;
        for number in numbers {
            if let Some(meta) = self.live(*number).cloned()
                && self.rested.insert(*number)
            {
                self.quota.remove(&meta);
                count += 1;
            }
        }
        count
    }

    /// The series that have rested longest, beyond so many that may.
    pub(crate) fn rested_beyond(&self, rested_max: usize) -> Vec<u32> {
        let beyond = self.rested.len().saturating_sub(rested_max);
        if beyond == 0 {
            return Vec::new();
        }
        let mut rested: Vec<u32> = self.rested.iter().copied().collect();
        rested.sort_unstable_by_key(|number| (self.last_days[*number as usize], *number));
        rested.truncate(beyond);
        rested
    }

    /// Retires series; returns how many of them were live.
    pub(crate) fn retire(&mut self, numbers: &[u32]) -> usize {
        let idle: Vec<Arc<SeriesMeta>> = numbers
            .iter()
            .filter_map(|number| self.live(*number))
            .cloned()
            .collect();
        if idle.is_empty() {
            return 0;
        }
        let numbers: HashSet<u32> = idle.iter().map(|meta| meta.id.0).collect();
        self.lists.remove(&numbers);
        for meta in &idle {
            let number = meta.id.0;
            if !self.rested.remove(&number) {
                self.quota.remove(meta);
            }
            self.slots[number as usize] = Slot::Retired(Arc::clone(meta));
            self.retired.push_back(number);
            self.dirty.insert(number);
        }
        while RETIRED_MAX < self.retired.len() {
            self.vacate_oldest();
        }
        idle.len()
    }

    fn vacate_oldest(&mut self) {
        let Some(oldest) = self.retired.pop_front() else {
            return;
        };
        // It may have been revived since.
        if let Slot::Retired(meta) = &self.slots[oldest as usize] {
            self.identities.remove(meta);
            self.slots[oldest as usize] = Slot::Vacant;
        }
    }

    fn number_of(&self, spec: &SeriesSpec) -> Option<u32> {
        let is_it = |number: &u32| match &self.slots[*number as usize] {
            Slot::Live(meta) | Slot::Retired(meta) => meta.is(spec),
            Slot::Vacant => false,
        };
        self.identities.find(spec, is_it)
    }

    fn update(&mut self, number: u32, spec: &SeriesSpec) -> Result<SeriesRef, SeriesRefused> {
        if self.live(number).is_none() || self.rested.contains(&number) {
            self.quota.check(spec.server, &spec.name)?;
            self.revive(SeriesRef(number));
        }
        let unit = self.shared.text(&spec.unit);
        if let Some(Slot::Live(meta)) = self.slots.get_mut(number as usize)
            && !is_current(meta, spec)
        {
            let changed = SeriesMeta {
                metric_type: spec.metric_type,
                unit,
                interval_ms: spec.interval_ms,
                ..(**meta).clone()
            };
            *meta = Arc::new(changed);
            self.dirty.insert(number);
        }
        Ok(SeriesRef(number))
    }

    fn group(&mut self, server: ServerId, collector: &Arc<str>) -> Result<u32, SeriesRefused> {
        if let Some(group) = self.groups.get(&(server, Arc::clone(collector))) {
            return Ok(*group);
        }
        let id = self.group_count.checked_add(1).ok_or(SeriesRefused::Exhausted)?;
        self.group_count = id;
        self.groups.insert((server, Arc::clone(collector)), id);
        self.new_groups.push(GroupRow {
            id,
            server,
            collector: collector.to_string(),
        });
        Ok(id)
    }

    fn vacate_up_to(&mut self, number: u32) {
        let length = (number as usize + 1).max(self.slots.len());
        self.slots.resize_with(length, || Slot::Vacant);
        self.last_days.resize(length, 0);
    }

    /// Makes a series live under its number, which must have a slot.
    fn insert(&mut self, meta: Arc<SeriesMeta>) {
        self.lists.insert(&meta);
        self.identities.insert(&meta);
        let slot = meta.id.0 as usize;
        if !matches!(self.slots[slot], Slot::Live(_)) {
            self.quota.add(&meta);
        }
        self.slots[slot] = Slot::Live(meta);
    }
}

/// What has to be written: new groups, and each changed series (`None`: it is to be deleted).
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// New groups.
    pub(crate) groups: Vec<GroupRow>,
    /// Changed series by number, with the day of the last sealed sample.
    pub(crate) series: Vec<(u32, Option<Arc<SeriesMeta>>, i32)>,
    /// What is there once they are written.
    pub(crate) census: Census,
}

/// How many series there are and which numbers were given.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Census {
    /// How many series there are.
    pub(crate) series_count: u32,
    /// The highest number given to a series.
    pub(crate) series_number_max: u32,
    /// The highest number given to a group.
    pub(crate) group_number_max: u32,
}

fn is_current(meta: &SeriesMeta, spec: &SeriesSpec) -> bool {
    meta.metric_type == spec.metric_type && meta.interval_ms == spec.interval_ms && *meta.unit == *spec.unit
}

fn check_names(spec: &SeriesSpec) -> Result<(), SeriesRefused> {
    let refuse = |name: &str| {
        Err(SeriesRefused::Name {
            name: name.to_owned(),
        })
    };
    if spec.name.is_empty() {
        return refuse(&spec.name);
    }
    // As a label it would contradict the metric's name.
    if spec.labels.get(NAME_LABEL).is_some() {
        refuse(NAME_LABEL)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
