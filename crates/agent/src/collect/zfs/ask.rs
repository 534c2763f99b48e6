//! Calls of zpool and zfs. A suspended pool can hang them: each has its own deadline, and what hangs is not asked again
//! until it is gone.

use std::time::Duration;

use muster_base::ErrorChain;
use muster_parse::zpool::{self, Pool, list::Listed};
use muster_parse::{Parsed, zfs_list};

use crate::collect::draft::Draft;
use crate::host::{Host, ProgramCall, ProgramError};

/// When a call is given up unless told otherwise.
const DEADLINE: Duration = Duration::from_secs(15);
/// How zpool and zfs end when they do not know an option or property.
const USAGE: i32 = 2;

/// Forms of `zpool status`, best first: JSON since 2.3, plain numbers since 0.8. Names of damaged files come with each.
const STATUS_FORMS: [&[&str]; 3] = [
    &["status", "-j", "--json-int", "-v"],
    &["status", "-P", "-p", "-v"],
    &["status", "-P", "-v"],
];
/// Forms of `zpool list`: with all columns, and what every release knows.
const LIST_FORMS: [&[&str]; 2] = [
    &["list", "-H", "-p", "-o", zpool::list::COLUMNS],
    &["list", "-H", "-p"],
];
/// Forms of `zfs list`, likewise.
const ZFS_FORMS: [&[&str]; 2] = [
    &[
        "list",
        "-H",
        "-p",
        "-t",
        "filesystem,volume",
        "-o",
        zfs_list::COLUMNS,
    ],
    &["list", "-H", "-p", "-t", "filesystem,volume"],
];
/// Names alone, in the order that needs no properties to be read.
const SNAPSHOTS: [&[&str]; 1] = [&["list", "-H", "-t", "snapshot", "-o", "name", "-s", "name"]];

/// What a call came to.
#[derive(Debug)]
pub(super) enum Answer<T> {
    /// This.
    Read(T),
    /// Nothing, for this reason.
    Failed(String),
    /// There is no such program.
    NotInstalled,
}

impl<T> Answer<T> {
    /// What was read.
    pub(super) fn read(self) -> Option<T> {
        match self {
            Self::Read(value) => Some(value),
            _ => None,
        }
    }
}

/// Which form of each call the installed release understands; found out once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Forms {
    status: usize,
    list: usize,
    zfs: usize,
    /// When a call is given up.
    pub(super) deadline: Duration,
}

impl Default for Forms {
    fn default() -> Self {
        Self {
            status: 0,
            list: 0,
            zfs: 0,
            deadline: DEADLINE,
        }
    }
}

impl Forms {
    /// Takes over what was found out beside.
    pub(super) fn take(&mut self, for_list: Self, for_zfs: Self) {
        self.list = for_list.list;
        self.zfs = for_zfs.zfs;
    }
}

/// The pools.
pub(super) async fn status(host: &Host, forms: &mut Forms) -> Answer<Parsed<Vec<Pool>>> {
    match ask(
        host,
        "zpool",
        "zpool/status",
        &STATUS_FORMS,
        &mut forms.status,
        forms.deadline,
    )
    .await
    {
        Ok(Some((text, complaint))) => Answer::Read(with(zpool::status::parse(&text), complaint)),
        Ok(None) => Answer::NotInstalled,
        Err(message) => Answer::Failed(message),
    }
}

/// Their sizes.
pub(super) async fn list(host: &Host, forms: &mut Forms) -> Answer<Parsed<Vec<Listed>>> {
    match ask(
        host,
        "zpool",
        "zpool/list",
        &LIST_FORMS,
        &mut forms.list,
        forms.deadline,
    )
    .await
    {
        Ok(Some((text, complaint))) => Answer::Read(with(zpool::list::parse(&text), complaint)),
        Ok(None) => Answer::NotInstalled,
        Err(message) => Answer::Failed(message),
    }
}

/// Datasets and volumes.
pub(super) async fn datasets(host: &Host, forms: &mut Forms) -> Answer<Parsed<zfs_list::List>> {
    match ask(
        host,
        "zfs",
        "zfs/list",
        &ZFS_FORMS,
        &mut forms.zfs,
        forms.deadline,
    )
    .await
    {
        Ok(Some((text, complaint))) => Answer::Read(with(zfs_list::parse(&text), complaint)),
        Ok(None) => Answer::NotInstalled,
        Err(message) => Answer::Failed(message),
    }
}

/// How many snapshots each dataset has; a server without the recording has none.
pub(super) async fn snapshots(
    host: &Host,
    deadline: Duration,
) -> Answer<std::collections::BTreeMap<String, u64>> {
    match ask(host, "zfs", "zfs/snapshots", &SNAPSHOTS, &mut 0, deadline).await {
        Ok(Some((text, _))) => Answer::Read(zfs_list::count_snapshots(&text)),
        Ok(None) => Answer::NotInstalled,
        Err(message) => Answer::Failed(message),
    }
}

/// Adds what the tool complained of to what could not be read.
fn with<T>(mut parsed: Parsed<T>, complaint: Option<String>) -> Parsed<T> {
    parsed
        .problems
        .extend(complaint.map(|message| muster_parse::Problem {
            line: None,
            message: format!("this may not be all: {message}"),
        }));
    parsed
}

/// Notes a failed call.
pub(super) fn note<T>(draft: &mut Draft, what: &str, answer: &Answer<T>) {
    if let Answer::Failed(message) = answer {
        draft.problem(format!("{what}: {message}"));
    }
}

async fn ask(
    host: &Host,
    program: &'static str,
    record: &str,
    forms: &[&[&'static str]],
    form: &mut usize,
    deadline: Duration,
) -> Result<Option<(String, Option<String>)>, String> {
    loop {
        let Some(args) = forms.get(*form) else {
            *form = 0;
            return Err("it understands none of our questions: is it older than 0.7?".to_owned());
        };
        let call = ProgramCall {
            program,
            args: args.to_vec(),
            record,
            deadline,
        };
        let output = match host.run(&call).await {
            Ok(output) => output,
            Err(ProgramError::NotInstalled { .. }) => return Ok(None),
            Err(error) => return Err(ErrorChain(&error).to_string()),
        };
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status == Some(USAGE) && text.trim().is_empty() && *form + 1 < forms.len() {
            *form += 1;
            continue;
        }
        // Whatever was said counts: a pool that stands still makes zpool end badly, and still tells of it.
        let complaint = (output.status != Some(0)).then(|| {
            let said = String::from_utf8_lossy(&output.stderr);
            let said: String = said.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
            let status = output
                .status
                .map_or("a signal".to_owned(), |status| format!("status {status}"));
            format!("ended with {status}: {said:.300}")
        });
        return match complaint {
            Some(message) if text.trim().is_empty() => Err(message),
            complaint => Ok(Some((text, complaint))),
        };
    }
}
