//! The lines of one array.

use super::{Access, Action, Activity, Array, Bitmap, LEVELS, Member, Progress, Sync};
use crate::problem::excerpt;

/// Notes what is odd about an array.
type Odd<'a> = &'a mut dyn FnMut(&mut Array, String);

/// What follows the name: `active raid1 sdb1[1](F) sda1[0]`. Linux 2.2 goes on with the sizes.
pub(super) fn read_header(array: &mut Array, text: &str, odd: Odd<'_>) {
    let mut words = text.split_whitespace().peekable();
    array.activity = match words.next() {
        Some("active") => Activity::Active,
        Some("inactive") => Activity::Inactive,
        Some("broken") => Activity::Broken,
        found => {
            let found = excerpt(found.unwrap_or_default());
            odd(array, format!("expected active or inactive, found \"{found}\""));
            Activity::Unknown
        }
    };
    while let Some(word) = words.next_if(|word| word.starts_with('(')) {
        match word {
            "(read-only)" => array.access = Access::ReadOnly,
            "(auto-read-only)" => array.access = Access::AutoReadOnly,
            _ => odd(array, format!("unknown state \"{}\"", excerpt(word))),
        }
    }
    let is_active = array.activity != Activity::Inactive;
    let level = words.next_if(|word| LEVELS.contains(word) || (is_active && !word.contains('[')));
    if let Some(level) = level {
        if !LEVELS.contains(&level) {
            odd(array, format!("unknown level \"{}\"", excerpt(level)));
        }
        array.level = Some(level.to_owned());
    }
    while let Some(word) = words.next_if(|word| word.parse::<u64>().is_err()) {
        read_member(array, word, odd);
    }
    let rest: Vec<&str> = words.collect();
    if !rest.is_empty() {
        read_sizes(array, &rest, odd);
    }
}

/// `sda1[0](F)`.
fn read_member(array: &mut Array, word: &str, odd: Odd<'_>) {
    let (name, rest) = match word.split_once('[') {
        Some((name, rest)) => (name, Some(rest)),
        None => (word, None),
    };
    let mut member = Member {
        name: name.to_owned(),
        ..Member::default()
    };
    let mut marks = "";
    if let Some(rest) = rest {
        let (number, after) = rest.split_once(']').unwrap_or((rest, "?"));
        member.number = number.parse().ok();
        marks = after;
        if member.number.is_none() {
            odd(
                array,
                format!("expected a member's number, found \"{}\"", excerpt(word)),
            );
        }
    }
    while let Some((mark, rest)) = marks.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
        match mark {
            // Synology's kernels mark with an E what answers with errors.
            "F" | "E" => member.is_faulty = true,
            "S" => member.is_spare = true,
            "J" => member.is_journal = true,
            "R" => member.is_replacement = true,
            "W" => member.is_write_mostly = true,
            _ => odd(
                array,
                format!("unknown mark \"({})\" at {}", excerpt(mark), excerpt(name)),
            ),
        }
        marks = rest;
    }
    if !marks.is_empty() || name.is_empty() {
        odd(array, format!("expected a member, found \"{}\"", excerpt(word)));
    }
    array.members.push(member);
}

/// A line below the first.
pub(super) fn read_detail(array: &mut Array, line: &str, odd: Odd<'_>) {
    let words: Vec<&str> = line.split_whitespace().collect();
    let first = words.first().copied().unwrap_or_default();
    if let Some(text) = line.strip_prefix("bitmap:") {
        read_bitmap(array, text, odd);
    } else if first.parse::<u64>().is_ok() && words.get(1).is_some_and(|word| word.starts_with("blocks")) {
        read_sizes(array, &words, odd);
    } else if let Some(sync) = read_sync(line) {
        if array.sync.is_some() {
            odd(array, "is synchronised twice: the later line counts".to_owned());
        }
        array.sync = Some(sync);
    } else if line.contains("bitmap") {
        tell_bitmap(array, line, odd);
    } else if let Some(text) = bare_super(line) {
        array.metadata = Some(text.to_owned());
    } else {
        odd(array, format!("unknown line \"{}\"", excerpt(line)));
    }
}

/// `super 1.2` without sizes: an array without members, being put together.
fn bare_super(line: &str) -> Option<&str> {
    let text = line.strip_prefix("super ")?.trim();
    (!text.contains(char::is_whitespace)).then_some(text)
}

/// `358400 blocks super 1.2 level 5, 64k chunk, algorithm 2 [3/2] [UU_]`.
fn read_sizes(array: &mut Array, words: &[&str], odd: Odd<'_>) {
    array.size_kib = words.first().and_then(|word| word.parse().ok());
    let mut rest = words.get(2..).unwrap_or_default();
    if !words.get(1).is_some_and(|word| word.starts_with("blocks")) {
        odd(
            array,
            format!("expected blocks, found \"{}\"", excerpt(&words.join(" "))),
        );
        return;
    }
    while let Some((word, after)) = rest.split_first() {
        // Linux 2.2 has all on one line.
        if let Some(sync) = read_sync(&rest.join(" ")) {
            array.sync = Some(sync);
            return;
        }
        let word = word.trim_end_matches(',');
        let next = after.first().map_or("", |next| next.trim_end_matches(','));
        let taken = match (word, next) {
            ("super", _) if !next.is_empty() => {
                array.metadata = Some(next.to_owned());
                2
            }
            // The same as the level's name.
            ("level", _) if next.parse::<u64>().is_ok() => 2,
            ("algorithm", _) if next.parse::<u64>().is_ok() => {
                array.algorithm = next.parse().ok();
                2
            }
            (_, "chunk" | "chunks" | "rounding") if kib(word).is_some() => {
                array.chunk_kib = kib(word);
                2
            }
            (_, "near-copies") if set(&mut array.near_copies, word) => 2,
            (_, "far-copies") if set(&mut array.far_copies, word) => 2,
            (_, "offset-copies") if set(&mut array.offset_copies, word) => 2,
            (_, "devices")
                if after.get(1..3) == Some(&["per", "set"]) && set(&mut array.devices_per_set, word) =>
            {
                4
            }
            _ if read_counts(array, word) => 1,
            _ => {
                // What the personality faulty counts is of no use, but known.
                let is_faulty = array.level.as_deref() == Some("faulty") && word.contains('=');
                if !is_faulty {
                    odd(array, format!("unknown word \"{}\"", excerpt(word)));
                }
                1
            }
        };
        rest = rest.get(taken..).unwrap_or_default();
    }
}

fn set(place: &mut Option<u64>, word: &str) -> bool {
    *place = word.parse().ok().or(*place);
    word.parse::<u64>().is_ok()
}

/// `64k`, `512K`.
fn kib(word: &str) -> Option<u64> {
    word.strip_suffix(['k', 'K'])?.parse().ok()
}

/// `[3/2]` or `[UU_]`.
fn read_counts(array: &mut Array, word: &str) -> bool {
    let Some(inner) = word.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) else {
        return false;
    };
    if let Some((required, working)) = inner.split_once('/') {
        let (Ok(required), Ok(working)) = (required.parse(), working.parse()) else {
            return false;
        };
        array.required = Some(required);
        array.working = Some(working);
        return true;
    }
    let is_map = !inner.is_empty() && inner.bytes().all(|byte| matches!(byte, b'U' | b'_' | b'E'));
    if is_map {
        // Of Synology's kernels: it counts as working, and answers with errors.
        let erring = inner.bytes().filter(|byte| *byte == b'E').count();
        array.erring = u64::try_from(erring).unwrap_or(u64::MAX);
        array.up = Some(inner.bytes().map(|byte| byte == b'U').collect());
    }
    is_map
}

/// `[=>....]  recovery =  8.5% (16775552/195310144) finish=17.0min speed=259783K/sec`, or `resync=DELAYED`.
fn read_sync(line: &str) -> Option<Sync> {
    let text = match line.strip_prefix('[') {
        Some(rest) => {
            let (bar, text) = rest.split_once(']')?;
            let is_bar = bar.bytes().all(|byte| matches!(byte, b'=' | b'>' | b'.'));
            is_bar.then_some(text.trim_start())?
        }
        None => line,
    };
    let (name, rest) = text.split_once('=')?;
    let action = match name.trim_end() {
        "recovery" | "recover" => Action::Recovery,
        "resync" => Action::Resync,
        "reshape" => Action::Reshape,
        "check" => Action::Check,
        "repair" => Action::Repair,
        _ => return None,
    };
    let mut words = rest.split_whitespace();
    let progress = match words.next()? {
        "DELAYED" => Progress::Delayed,
        "PENDING" => Progress::Pending,
        "REMOTE" => Progress::Remote,
        percent => running(percent.strip_suffix('%')?.parse().ok()?, &mut words)?,
    };
    words.next().is_none().then_some(Sync { action, progress })
}

fn running<'a>(percent: f64, words: &mut impl Iterator<Item = &'a str>) -> Option<Progress> {
    let (mut done, mut total, mut finish, mut speed) = (None, None, None, None);
    for word in words {
        if let Some(inner) = word.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) {
            let (first, second) = inner.split_once('/')?;
            (done, total) = (Some(first.parse().ok()?), Some(second.parse().ok()?));
        } else if let Some(text) = word.strip_prefix("finish=") {
            let minutes: f64 = text.strip_suffix("min")?.parse().ok()?;
            // Without any speed there is no end in sight.
            finish = Some(minutes).filter(|minutes| minutes.is_finite());
        } else if let Some(text) = word.strip_prefix("speed=") {
            // A clock that jumped makes it negative.
            let number: i64 = text.strip_suffix("K/sec")?.parse().ok()?;
            speed = u64::try_from(number).ok();
        } else {
            return None;
        }
    }
    percent.is_finite().then_some(Progress::Running {
        percent,
        done_kib: done,
        total_kib: total,
        finish_min: finish,
        speed_kib_per_s: speed,
    })
}

/// `0/8 pages [0KB], 65536KB chunk, file: /var/md0.bitmap`.
fn read_bitmap(array: &mut Array, text: &str, odd: Odd<'_>) {
    let mut bitmap = Bitmap::default();
    let mut is_known = false;
    for part in text.split(',').map(str::trim) {
        if let Some((counts, _)) = part.split_once(" pages") {
            let (pages, total) = counts.split_once('/').unwrap_or((counts, ""));
            bitmap.pages = pages.trim().parse().ok();
            bitmap.pages_total = total.trim().parse().ok();
            is_known |= bitmap.pages.is_some();
        } else if let Some(size) = part.strip_suffix(" chunk") {
            bitmap.chunk_bytes = size
                .strip_suffix("KB")
                .and_then(|number| number.parse::<u64>().ok()?.checked_mul(1024))
                .or_else(|| size.strip_suffix('B')?.parse().ok());
        } else if let Some(file) = part.strip_prefix("file: ") {
            bitmap.file = Some(file.to_owned());
        }
    }
    if !is_known {
        tell_bitmap(array, text.trim(), odd);
    }
    array.bitmap = Some(bitmap);
}

/// A bitmap says nothing about health: newer kinds of it are only told of.
fn tell_bitmap(array: &mut Array, text: &str, odd: Odd<'_>) {
    let was_understood = array.is_understood;
    odd(array, format!("unknown bitmap \"{}\"", excerpt(text)));
    array.is_understood = was_understood;
}

/// What has to be there of an array and is not, or does not agree.
pub(super) fn missing(array: &Array) -> Vec<String> {
    let mut found = Vec::new();
    if array.activity == Activity::Unknown {
        return found;
    }
    if array.size_kib.is_none() && !array.members.is_empty() {
        found.push("expected a line of sizes, found none".to_owned());
        return found;
    }
    if array.activity == Activity::Inactive {
        return found;
    }
    let has_counts = !matches!(array.level.as_deref(), Some("linear" | "raid0" | "faulty"));
    if array.level.is_none() {
        found.push("expected a level, found none".to_owned());
    } else if has_counts && (array.required.is_none() || array.up.is_none()) {
        found.push("expected counts such as [2/2] [UU], found none".to_owned());
    }
    if let (Some(required), Some(working), Some(up)) = (array.required, array.working, &array.up) {
        let places = u64::try_from(up.len()).unwrap_or(u64::MAX);
        let up = up.iter().filter(|up| **up).count();
        let counted = u64::try_from(up).unwrap_or(u64::MAX).saturating_add(array.erring);
        if places != required || counted != working {
            found.push(format!(
                "[{required}/{working}] does not agree with {up} of {places} members up"
            ));
        }
    }
    found
}
