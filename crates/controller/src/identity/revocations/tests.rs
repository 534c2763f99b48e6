use std::os::unix::fs::PermissionsExt as _;

use uuid::Uuid;

use super::*;

const NOW_MS: i64 = 1_800_000_000_000;

struct Folder {
    _dir: tempfile::TempDir,
    path: Utf8PathBuf,
    key: RevocationKey,
}

impl Folder {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(dir.path().join(FILE)).unwrap();
        Self {
            _dir: dir,
            path,
            key: RevocationKey::of(&Seal::new(&[7; 32])),
        }
    }

    fn open(&self, known: &Entries) -> Result<Revocations, RevocationsError> {
        Revocations::open(&self.path, self.key.clone(), known, NOW_MS)
    }

    fn load(&self) -> Loaded {
        load(&self.path, &self.key).unwrap()
    }
}

fn agent(n: u128) -> AgentId {
    AgentId(Uuid::from_u128(n << 64 | n))
}

fn entries(agents: std::ops::RangeInclusive<u128>) -> Entries {
    agents.map(|n| (agent(n), NOW_MS + n as i64)).collect()
}

#[test]
fn what_is_revoked_is_on_disk_and_read_again() {
    let folder = Folder::new();
    let mut revocations = folder.open(&Entries::new()).unwrap();
    assert!(!folder.path.exists(), "nobody is revoked yet");
    revocations.add(entries(1..=2)).unwrap();
    revocations.add(entries(2..=3)).unwrap();
    let loaded = folder.load();
    assert_eq!((loaded.entries, loaded.lines), (entries(1..=3), 3));
    assert!(loaded.damaged.is_empty());
    let mode = fs::metadata(&folder.path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let again = folder.open(&Entries::new()).unwrap();
    assert_eq!(again.agents(), [agent(1), agent(2), agent(3)].into());
}

#[test]
fn the_database_and_the_file_are_brought_together() {
    let folder = Folder::new();
    folder.open(&Entries::new()).unwrap().add(entries(1..=2)).unwrap();
    let opened = folder.open(&entries(2..=4)).unwrap();
    assert_eq!(opened.agents().len(), 4);
    assert_eq!(folder.load().entries, entries(1..=4));
}

#[test]
fn a_merge_is_a_union_and_takes_nothing_away() {
    let (ours, theirs) = (Folder::new(), Folder::new());
    append(&ours.path, &ours.key, entries(1..=3)).unwrap();
    append(&theirs.path, &theirs.key, entries(3..=5)).unwrap();
    let merged = merge(&ours.path, &theirs.path, &ours.key).unwrap();
    assert_eq!((merged.added, merged.damaged), (2, vec![]));
    assert_eq!(ours.load().entries, entries(1..=5));
    assert_eq!(merge(&ours.path, &theirs.path, &ours.key).unwrap().added, 0);
    let nothing = ours.path.with_file_name("none");
    assert_eq!(merge(&ours.path, &nothing, &ours.key).unwrap().added, 0);
    assert_eq!(ours.load().entries, entries(1..=5));
}

#[test]
fn lines_of_another_key_are_damage_and_still_revoke() {
    let folder = Folder::new();
    append(&folder.path, &folder.key, entries(1..=2)).unwrap();
    let stranger = RevocationKey::of(&Seal::new(&[8; 32]));
    let loaded = load(&folder.path, &stranger).unwrap();
    assert!(loaded.entries.is_empty());
    assert_eq!((loaded.damaged.len(), loaded.suspected().len()), (2, 2));
}

/// S4: no damage of the file un-revokes anybody in silence.
#[test]
fn a_byte_changed_or_cut_anywhere_never_lets_a_revoked_agent_back() {
    let folder = Folder::new();
    let known = entries(1..=4);
    folder.open(&known).unwrap();
    let good = fs::read(&folder.path).unwrap();
    let older: Entries = entries(1..=2);
    let (mut healed, mut refused, mut kept) = (0, 0, 0);
    let mut judge = |bytes: &[u8]| {
        fs::write(&folder.path, bytes).unwrap();
        // With a database that knows them all, every damage heals.
        let has_all = |opened: &Revocations| known.keys().all(|agent| opened.agents().contains(agent));
        assert!(has_all(&folder.open(&known).unwrap()));
        assert!(folder.load().damaged.is_empty());
        healed += 1;
        // With an older one, either everybody stays revoked or the file is refused.
        fs::write(&folder.path, bytes).unwrap();
        match folder.open(&older) {
            Ok(opened) => {
                assert!(has_all(&opened));
                kept += 1;
            }
            Err(RevocationsError::Unaccounted { .. }) => refused += 1,
            Err(other) => panic!("{other}"),
        }
    };
    for index in 0..good.len() {
        let mut changed = good.clone();
        changed[index] ^= 1 << (index % 7);
        judge(&changed);
    }
    for line in 0..3 {
        let mut lines: Vec<&[u8]> = good.split_inclusive(|byte| *byte == b'\n').collect();
        lines.remove(line);
        judge(&lines.concat());
    }
    println!(
        "damaged {healed} ways: {kept} kept everybody revoked, {refused} were refused, 0 let anybody back"
    );
    assert!(0 < kept && 0 < refused);
}

#[test]
fn a_line_cut_short_by_a_crash_does_not_swallow_the_next() {
    let folder = Folder::new();
    let known = entries(1..=2);
    folder.open(&known).unwrap();
    let good = fs::read(&folder.path).unwrap();
    for end in 0..good.len() {
        fs::write(&folder.path, &good[..end]).unwrap();
        let mut revocations = folder.open(&known).unwrap();
        revocations.add(entries(3..=3)).unwrap();
        let loaded = folder.load();
        assert_eq!(
            (loaded.entries, loaded.damaged),
            (entries(1..=3), vec![]),
            "cut at {end}"
        );
    }
}

#[test]
fn a_revocation_that_could_not_be_written_is_written_with_the_next() {
    let folder = Folder::new();
    let mut revocations = folder.open(&Entries::new()).unwrap();
    fs::create_dir(&folder.path).unwrap();
    assert!(revocations.add(entries(1..=1)).is_err());
    assert!(revocations.agents().contains(&agent(1)));
    fs::remove_dir(&folder.path).unwrap();
    revocations.add(entries(2..=2)).unwrap();
    assert_eq!(folder.load().entries, entries(1..=2));
}

#[test]
fn a_long_file_forgets_what_no_certificate_can_outlive() {
    let folder = Folder::new();
    let old_ms = NOW_MS - MATTERS_MS;
    let old = (1..=LINES_MAX as u128 + 1).map(|n| (agent(n), old_ms));
    append(&folder.path, &folder.key, old).unwrap();
    append(&folder.path, &folder.key, [(agent(u64::MAX.into()), NOW_MS)]).unwrap();
    let opened = folder.open(&Entries::new()).unwrap();
    assert_eq!(opened.agents(), [agent(u64::MAX.into())].into());
    assert_eq!(folder.load().lines, 1);
}

#[test]
fn nonsense_is_damage_and_no_panic() {
    let key = RevocationKey::of(&Seal::new(&[7; 32]));
    for bytes in [
        &b"\n"[..],
        b"\n\n\n",
        b"x",
        b" ",
        "ä ö ü".as_bytes(),
        &[0xff; 300],
        b"muster-revocation-1 1 2 3 4 5 6",
        b"muster-revocation-1 18446744073709551615 0 00000000-0000-0000-0000-000000000001 00",
    ] {
        let loaded = line::parse(bytes, &key);
        assert!(
            loaded.entries.is_empty() && !loaded.damaged.is_empty(),
            "{bytes:?}"
        );
    }
    assert!(line::parse(b"", &key).damaged.is_empty());
}
