//! `muster-agent-sim`: many simulated agents in one process, for load and for tests that count.
//!
//! Each has its own identity, outbox, stream and renewal, which are the real agent's; only what they report is made up.
//! Those that are to misbehave make streams of their own (`rogue`).
//! Standard output is for the summary, standard error for logs.

mod agent;
mod backlog;
mod cli;
mod enrolment;
mod fault;
mod fleet;
mod journal;
mod latency;
mod rogue;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use muster_base::{log, shutdown};

use crate::cli::Args;

/// Unless told otherwise: ten thousand agents would write ten thousand warnings when a controller restarts.
const LOG_FILTER: &str = "error,muster_agent_sim=info";

fn main() -> ExitCode {
    let args = Args::parse();
    log::init(
        args.log_format,
        Some(args.log_filter.as_deref().unwrap_or(LOG_FILTER)),
    );
    match run(args) {
        Ok(code) => code,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "agents can't be simulated");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let shutdown = shutdown::on_signal()?;
    let summary = fleet::run(args, shutdown).await?;
    let line = serde_json::to_string(&summary)?;
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{line}")?;
    stdout.flush()?;
    if !summary.is_settled() {
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}
