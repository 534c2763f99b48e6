//! `/proc/mdstat`: the arrays of the md driver.
//!
//! `md_seq_show` in drivers/md/md.c and each personality's `status`; Documentation/admin-guide/md.rst. The text grew
//! over 25 years: Linux 2.2 has an array on one line and members without numbers, 2.4 a line `read_ahead`, since 2.6
//! there are bitmaps, `super` and marks at members, since 5.4 `broken`. A word that is not known makes the array
//! not understood ([`Array::is_understood`]), so that nobody takes it for healthy.

mod line;

use crate::problem::{Parsed, Problems, excerpt};

/// What the file says.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
pub struct MdStat {
    /// Levels that the kernel has drivers for at the moment.
    pub personalities: Vec<String>,
    /// The arrays, in order.
    pub arrays: Vec<Array>,
    /// Devices that are set aside, a relic of old kernels.
    pub unused: Vec<String>,
}

/// One array.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
pub struct Array {
    /// Kernel name, such as `md127`.
    pub name: String,
    /// The line it begins on, counted from 1.
    pub line: u32,
    /// Whether it runs.
    pub activity: Activity,
    /// Whether it may be written to.
    pub access: Access,
    /// `raid1`, `raid5`, `linear`, …; absent for an inactive array.
    pub level: Option<String>,
    /// Its members, in order.
    pub members: Vec<Member>,
    /// Size, in KiB; of an inactive array the sum of its members.
    pub size_kib: Option<u64>,
    /// `1.2`, `external:imsm`, `external:/md127/0`, `non-persistent`; absent for 0.90, which is not named.
    pub metadata: Option<String>,
    /// Chunk, in KiB; `rounding` of linear arrays.
    pub chunk_kib: Option<u64>,
    /// Layout of RAID 4, 5 and 6, as a number.
    pub algorithm: Option<u64>,
    /// Copies of RAID 10 beside each other.
    pub near_copies: Option<u64>,
    /// Copies of RAID 10 far from each other.
    pub far_copies: Option<u64>,
    /// Copies of RAID 10 in the next stripe.
    pub offset_copies: Option<u64>,
    /// Devices that far copies of RAID 10 stay within.
    pub devices_per_set: Option<u64>,
    /// Members it should have, of those that hold data; the first number of `[3/2]`.
    pub required: Option<u64>,
    /// Members that work; the second number of `[3/2]`.
    pub working: Option<u64>,
    /// Whether each member is up, by its place; `[UU_]`.
    pub up: Option<Vec<bool>>,
    /// Members that are counted as working and answer with errors; `[UUE]` of Synology's kernels.
    #[serde(skip_serializing_if = "is_zero")]
    pub erring: u64,
    /// What is being synchronised.
    pub sync: Option<Sync>,
    /// The write-intent bitmap.
    pub bitmap: Option<Bitmap>,
    /// Whether every word of it was understood, and everything that has to be there is.
    pub is_understood: bool,
}

/// Whether an array runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Activity {
    /// It runs, which says nothing about its members.
    Active,
    /// It is not started.
    Inactive,
    /// It runs, but can't do its work any more.
    Broken,
    /// The word is not known.
    #[default]
    Unknown,
}

/// Whether an array may be written to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// It may.
    #[default]
    ReadWrite,
    /// Not yet: the first write will make it so.
    AutoReadOnly,
    /// It may not.
    ReadOnly,
}

/// A member.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Member {
    /// Kernel name of the device.
    pub name: String,
    /// Its number in the array's metadata, which is not its place; Linux 2.2 has none.
    pub number: Option<u32>,
    /// `(F)`: it has failed.
    pub is_faulty: bool,
    /// `(S)`: a spare; of an inactive array every member.
    pub is_spare: bool,
    /// `(J)`: the journal.
    pub is_journal: bool,
    /// `(R)`: it is to replace another.
    pub is_replacement: bool,
    /// `(W)`: read only if no other can be.
    pub is_write_mostly: bool,
}

/// What is synchronised.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Sync {
    /// Why.
    pub action: Action,
    /// How far.
    pub progress: Progress,
}

/// Why an array is synchronised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// A spare is filled with what a lost member held.
    Recovery,
    /// Copies or parity are made to agree, after creation or an unclean end.
    Resync,
    /// The array's shape changes.
    Reshape,
    /// Copies or parity are compared and counted.
    Check,
    /// Copies or parity are compared and made to agree.
    Repair,
}

/// How far a synchronisation is.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// It runs.
    Running {
        /// Percent.
        percent: f64,
        /// KiB of each member that are done.
        done_kib: Option<u64>,
        /// KiB of each member.
        total_kib: Option<u64>,
        /// Minutes left.
        finish_min: Option<f64>,
        /// KiB a second.
        speed_kib_per_s: Option<u64>,
    },
    /// It waits for another array on the same disks. The kernel writes `resync=DELAYED` whatever it is that waits.
    Delayed,
    /// It waits for the first write.
    Pending,
    /// Another node of the cluster does it.
    Remote,
}

/// A write-intent bitmap.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Bitmap {
    /// Pages of it in memory.
    pub pages: Option<u64>,
    /// Pages there could be.
    pub pages_total: Option<u64>,
    /// What a bit stands for, in bytes.
    pub chunk_bytes: Option<u64>,
    /// The file it is in, if it is not on the members.
    pub file: Option<String>,
}

impl Array {
    /// Whether it only holds the metadata of other arrays, as those of Intel and DDF controllers do: never active.
    pub fn is_container(&self) -> bool {
        self.activity == Activity::Inactive
            && self.external().is_some_and(|text| !text.starts_with(['/', '-']))
    }

    /// The container whose part it is, by kernel name.
    pub fn container(&self) -> Option<&str> {
        let inside = self.external()?.strip_prefix(['/', '-'])?;
        inside.split('/').next().filter(|name| !name.is_empty())
    }

    fn external(&self) -> Option<&str> {
        self.metadata.as_deref()?.strip_prefix("external:")
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Levels that the kernel has ever had drivers for.
pub const LEVELS: [&str; 9] = [
    "linear",
    "raid0",
    "raid1",
    "raid4",
    "raid5",
    "raid6",
    "raid10",
    "multipath",
    "faulty",
];

/// Reads the file.
pub fn parse(text: &str) -> Parsed<MdStat> {
    let mut reader = Reader::default();
    for (index, line) in text.lines().enumerate() {
        reader.take(index, line);
    }
    if reader.found.personalities_seen || !reader.stat.arrays.is_empty() {
        if !reader.found.end_seen {
            let message = "expected a last line of unused devices: the text may be cut";
            reader.problems.overall(message);
        }
    } else {
        reader
            .problems
            .overall("expected a line of personalities, found none");
    }
    reader.finish_array();
    reader.problems.with(reader.stat)
}

#[derive(Default)]
struct Reader {
    stat: MdStat,
    problems: Problems,
    found: Found,
}

#[derive(Default)]
struct Found {
    personalities_seen: bool,
    end_seen: bool,
    /// The array that lines with a blank before them belong to.
    is_in_array: bool,
}

impl Reader {
    fn take(&mut self, index: usize, line: &str) {
        let trimmed = line.trim();
        if trimmed.is_empty() {
            return;
        }
        if let Some(rest) = trimmed.strip_prefix("Personalities") {
            self.found.personalities_seen = true;
            let words = rest.trim_start_matches([' ', ':']).split_whitespace();
            self.stat.personalities = words
                .map(|word| word.trim_matches(['[', ']']).to_owned())
                .collect();
        } else if let Some(rest) = trimmed.strip_prefix("unused devices") {
            self.finish_array();
            self.found.end_seen = true;
            let words = rest.trim_start_matches([' ', ':']).split_whitespace();
            self.stat.unused = words
                .filter(|word| *word != "<none>")
                .map(str::to_owned)
                .collect();
        } else if trimmed.starts_with("read_ahead") || trimmed.starts_with("Event:") {
            // Linux 2.4 and early 2.6: settings of the whole driver.
        } else if line.starts_with([' ', '\t']) {
            self.take_detail(index, trimmed);
        } else {
            self.take_header(index, trimmed);
        }
    }

    fn take_header(&mut self, index: usize, line: &str) {
        self.finish_array();
        let Some((name, rest)) = line.split_once(':').map(|(name, rest)| (name.trim(), rest)) else {
            let found = excerpt(line);
            self.problems
                .at_index(index, format!("expected an array, found \"{found}\""));
            return;
        };
        if name.is_empty() || name.contains(char::is_whitespace) {
            let found = excerpt(line);
            self.problems
                .at_index(index, format!("expected the name of an array, found \"{found}\""));
            return;
        }
        let mut array = Array {
            name: name.to_owned(),
            line: u32::try_from(index).unwrap_or(u32::MAX).saturating_add(1),
            is_understood: true,
            ..Array::default()
        };
        line::read_header(&mut array, rest, &mut |array, message| {
            array.is_understood = false;
            self.problems
                .at_index(index, format!("{}: {message}", array.name));
        });
        self.stat.arrays.push(array);
        self.found.is_in_array = true;
    }

    fn take_detail(&mut self, index: usize, line: &str) {
        let array = self.stat.arrays.last_mut().filter(|_| self.found.is_in_array);
        let Some(array) = array else {
            let found = excerpt(line);
            self.problems
                .at_index(index, format!("expected an array before \"{found}\""));
            return;
        };
        line::read_detail(array, line, &mut |array, message| {
            array.is_understood = false;
            self.problems
                .at_index(index, format!("{}: {message}", array.name));
        });
    }

    /// What must be there of an array and is not makes it not understood.
    fn finish_array(&mut self) {
        let array = self.stat.arrays.last_mut().filter(|_| self.found.is_in_array);
        self.found.is_in_array = false;
        let Some(array) = array else { return };
        for message in line::missing(array) {
            array.is_understood = false;
            let index = usize::try_from(array.line)
                .unwrap_or(usize::MAX)
                .saturating_sub(1);
            self.problems
                .at_index(index, format!("{}: {message}", array.name));
        }
    }
}

#[cfg(test)]
mod tests;
