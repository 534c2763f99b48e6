//! Arguments.

use std::net::IpAddr;
use std::time::Duration;

use camino::Utf8PathBuf;
use clap::Parser;
use muster_base::log::Format;
use muster_model::limits;

use crate::fault::Share;

/// Most agents of one process: beyond that ports and open files of one address run out.
const AGENTS_MAX: i64 = 25_000;

/// What samples are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Values {
    /// The number of the tick.
    Tick,
    /// See [`muster_mix::Mix`].
    Mix,
}

/// Simulates many agents in one process.
///
/// Server i (named `sim-<i>`) sends `muster_sim_value{series="<k>"}` = t for each of its series k at its tick t,
/// unless --values says otherwise. When it
/// has produced for the given time, or on SIGTERM, it waits up to 30 s for acknowledgements; the last line of
/// standard output is a summary in JSON. It ends with 1 if not everything was acknowledged.
#[derive(Debug, Parser)]
#[command(name = "muster-agent-sim", version)]
pub(crate) struct Args {
    /// How many agents
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=AGENTS_MAX))]
    pub(crate) agents: u32,

    /// Time between two ticks of an agent: seconds, or with a unit as in 15s, 0.5s, 200ms
    #[arg(long, default_value = "15s", value_parser = parse_interval)]
    pub(crate) interval: Duration,

    /// How many series each agent has
    #[arg(long, default_value_t = 50,
          value_parser = clap::value_parser!(u32).range(1..=limits::SERIES_PER_AGENT_MAX as i64))]
    pub(crate) series: u32,

    /// What the samples are: each tick's number, or a mixture like that of a real server (seeded by the agent's number)
    #[arg(long, value_enum, default_value_t = Values::Tick)]
    pub(crate) values: Values,

    /// The controller's agent port
    #[arg(long, value_name = "HOST:PORT", value_parser = muster_agent::cli::address::parse)]
    pub(crate) controller: String,

    /// File with an enrolment token that has a use for each agent not yet enrolled
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Utf8PathBuf,

    /// How long to produce, once all agents are enrolled; until a signal if not given
    #[arg(long, value_parser = parse_duration)]
    pub(crate) duration: Option<Duration>,

    /// Where identities are kept; a folder below the temporary one if not given
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<Utf8PathBuf>,

    /// File that gets a line `agent,epoch,seq,first_ms,last_ms` for each acknowledged report
    #[arg(long, value_name = "FILE")]
    pub(crate) journal: Option<Utf8PathBuf>,

    /// Addresses of this machine that streams come from, by turns, such as 127.0.0.2,127.0.0.3; one has ports for some
    /// 28,000
    #[arg(long, value_name = "ADDRESS,...", value_delimiter = ',')]
    pub(crate) source: Vec<IpAddr>,

    /// Has a share of all agents misbehave, the first ones: slow, duplicate, reorder, liar, ancient, future-version or
    /// cardinality, as in liar=0.1; may be given several times
    #[arg(long, value_name = "KIND[=SHARE]")]
    pub(crate) fault: Vec<Share>,

    /// Each agent begins with this time's ticks already produced and undelivered, as after a long time without a
    /// controller
    #[arg(long, default_value = "0", value_name = "S", value_parser = parse_duration)]
    pub(crate) backlog: Duration,

    /// How many agents connect per second at the start
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) starts: u32,

    /// How many agents enrol at the same time
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) enrolments: u32,

    /// Log lines as text or json
    #[arg(long, default_value = "text")]
    pub(crate) log_format: Format,

    /// Which log lines are written
    #[arg(long, env = "MUSTER_LOG", value_name = "FILTER")]
    pub(crate) log_filter: Option<String>,
}

fn parse_interval(text: &str) -> Result<Duration, String> {
    let interval = parse_duration(text)?;
    if interval < Duration::from_millis(1) {
        return Err("an interval is at least 1 ms".to_owned());
    }
    Ok(interval)
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits_to = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits_to);
    let seconds_per_unit = match unit {
        "" | "s" => 1.0,
        "ms" => 0.001,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(format!("unknown unit {unit:?}: use ms, s, m or h")),
    };
    let number: f64 = number
        .parse()
        .map_err(|_| format!("{text:?} does not begin with a number"))?;
    Duration::try_from_secs_f64(number * seconds_per_unit).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_unless_they_have_a_unit() {
        let cases = [
            ("15s", 15_000),
            ("0.5s", 500),
            ("15", 15_000),
            ("0.25", 250),
            ("200ms", 200),
            ("2m", 120_000),
        ];
        for (text, ms) in cases {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "s", "1x", "1.2.3s", "-1s", "0"] {
            assert!(parse_interval(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_promised_arguments_are_taken() {
        let args = Args::try_parse_from([
            "muster-agent-sim",
            "--agents",
            "3",
            "--interval",
            "0.5s",
            "--series",
            "7",
            "--controller",
            "c:8481",
            "--token-file",
            "t",
            "--duration",
            "60",
            "--data-dir",
            "d",
            "--journal",
            "j",
            "--source",
            "127.0.0.2,127.0.0.3",
            "--fault",
            "slow=0.5",
            "--fault",
            "liar",
        ]);
        let args = args.unwrap();
        assert_eq!(
            (args.agents, args.series, args.duration),
            (3, 7, Some(Duration::from_secs(60)))
        );
        assert_eq!((args.source.len(), args.fault.len()), (2, 2));
    }
}
