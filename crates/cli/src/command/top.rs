//! `muster top`: which servers work hardest.

mod figures;

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::Value;

use super::query::warn;
use crate::client::{Client, ClientError, Common};
use crate::render::{Column, Output, print, table, word};
use figures::{Figures, rows};

const RANGE: &str = "/api/infrastructure/metrics/range";
/// How often servers collect unless told otherwise, in seconds.
const INTERVAL_S: u64 = 15;
/// The longest look back for a rate, in seconds.
const LOOK_BACK_MAX_S: u64 = 3_600;

/// Shows which servers work hardest, again and again until ctrl-c.
#[derive(Debug, Args)]
pub(crate) struct Top {
    #[command(flatten)]
    common: Common,
    /// What they are ordered by, the greatest first.
    #[arg(long, value_enum, default_value_t = Key::Cpu)]
    sort: Key,
    /// Shows it once and ends; so does an answer that no terminal sees.
    #[arg(long)]
    once: bool,
    /// Time between two looks.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "5s")]
    every: Duration,
    /// At most this many servers; if not given, as many as the terminal has lines.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Key {
    /// Share of the processors' time that was not idle.
    Cpu,
    /// Share of memory that is not available.
    Mem,
    /// The fullest filesystem.
    Disk,
    /// Load of the last minute.
    Load,
    /// Name.
    Name,
}

impl Key {
    const fn field(self) -> &'static str {
        match self {
            Self::Cpu => "cpu_used_ratio",
            Self::Mem => "memory_used_ratio",
            Self::Disk => "filesystem_used_ratio",
            Self::Load => "load1",
            Self::Name => "hostname",
        }
    }
}

impl Top {
    pub(crate) async fn run(self) -> Result<(), ClientError> {
        let client = self.common.connect()?;
        let is_watched = !self.once && self.common.output == Output::Table && io::stdout().is_terminal();
        loop {
            let (shown, total) = self.look(&client, is_watched).await?;
            if !is_watched {
                return match self.common.output {
                    Output::Table => print(&table(&shown, &columns())),
                    other => other.value(&Value::Array(shown)),
                };
            }
            let head = format!("{total} servers, {}", jiff::Zoned::now().strftime("%H:%M:%S"));
            // Home, the new picture, and what is left of the old one away.
            let picture = format!("{head}\n{}", table(&shown, &columns())).replace('\n', "\x1b[K\n");
            print(&format!("\x1b[H{picture}\x1b[J"))?;
            tokio::time::sleep(self.every.max(Duration::from_secs(1))).await;
        }
    }

    /// The servers to be shown, and how many there are.
    async fn look(&self, client: &Client, is_watched: bool) -> Result<(Vec<Value>, usize), ClientError> {
        let servers = client.list("/api/infrastructure/servers", &[]).await?;
        let figures = read(client, &servers).await?;
        let mut all = rows(&servers, &figures);
        let field = self.sort.field();
        match self.sort {
            Key::Name => all.sort_by_key(|row| word(&row[field])),
            // What is not known is at the end.
            _ => all.sort_by(|a, b| {
                let value = |row: &Value| row[field].as_f64().unwrap_or(-1.0);
                value(b).total_cmp(&value(a))
            }),
        }
        let lines = terminal_size::terminal_size().map_or(24, |(_, height)| usize::from(height.0));
        let limit = match self.limit {
            Some(limit) => limit,
            None if is_watched => lines.saturating_sub(3).max(1),
            None => usize::MAX,
        };
        let total = all.len();
        all.truncate(limit);
        Ok((all, total))
    }
}

fn columns() -> [Column; 7] {
    let percent = |heading, field: &'static str| {
        Column::new(heading, move |row| {
            row[field]
                .as_f64()
                .map_or_else(|| "-".to_owned(), |ratio| format!("{:.0} %", ratio * 100.0))
        })
    };
    [
        Column::field("SERVER", "hostname"),
        Column::field("STATUS", "status"),
        percent("CPU", "cpu_used_ratio"),
        percent("MEM", "memory_used_ratio"),
        percent("DISK", "filesystem_used_ratio"),
        Column::field("FULLEST", "fullest_mountpoint"),
        Column::new("LOAD", |row| {
            row["load1"]
                .as_f64()
                .map_or_else(|| "-".to_owned(), |load| format!("{load:.2}"))
        }),
    ]
}

/// Reads what the figures are made of: the last values, and enough samples for a rate.
async fn read(client: &Client, servers: &[Value]) -> Result<Figures, ClientError> {
    let longest = servers
        .iter()
        .filter_map(|server| server["collection_interval"].as_u64());
    let interval_s = longest.max().unwrap_or(INTERVAL_S).max(INTERVAL_S);
    let look_back_s = (interval_s * 5 / 2).clamp(5 * INTERVAL_S, LOOK_BACK_MAX_S);
    let now_s = jiff::Timestamp::now().as_second();
    let rates = [
        (
            "match",
            "node_cpu_seconds_total{mode=~\"idle|iowait\"}".to_owned(),
        ),
        (
            "start",
            (now_s - i64::try_from(look_back_s).unwrap_or(0)).to_string(),
        ),
    ];
    let pattern = "node_load1|node_memory_Mem(Total|Available)_bytes|node_filesystem_(size|avail)_bytes";
    let last = [
        ("match", format!("{{__name__=~\"{pattern}\"}}")),
        ("start", now_s.to_string()),
        ("end", now_s.to_string()),
        ("step", "1".to_owned()),
    ];
    let (rates, last) = (client.get(RANGE, &rates).await?, client.get(RANGE, &last).await?);
    for answer in [&rates, &last] {
        warn(answer)?;
    }
    Ok(Figures::of(&rates, &last))
}
