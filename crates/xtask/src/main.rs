//! `cargo xtask`: what `make` calls to check, generate and measure.
//!
//! Knows the workspace from outside, as files and `cargo metadata`; no program of Muster depends on it.
#![expect(clippy::print_stdout, reason = "a developer's tool talks on its terminal")]

mod bench;
mod docs;
mod lint;
mod process;
mod source;
mod test_deps;
mod tidy;
mod venv;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "Checks and generators of the Muster workspace")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Checks boundaries, sizes, names, dependencies, licences, comments and the paths named in documents.
    Tidy,
    /// Writes docs/collectors.md, docs/default-rules.md, docs/metrics.md and deploy/*.toml from the code.
    Docs {
        /// Only says whether they are current.
        #[arg(long)]
        check: bool,
    },
    /// Runs `buf lint` and `typos`.
    Lint,
    /// Installs the programs that the tests need: with apt as root, else names what is missing.
    TestDeps,
    /// Measures release builds and writes docs/benchmarks.md.
    Bench {
        /// Leaves the benches of the sample store out.
        #[arg(long)]
        only_processes: bool,
    },
    /// Runs controller and agents at many times their pace, sees whether their memory stays flat, and writes
    /// docs/soak.md.
    Soak {
        /// How long; in 32 minutes the agent has the ticks of 8 hours
        #[arg(long, default_value_t = 32)]
        minutes: u64,
        /// How long before that it runs without being judged; windows of the controller take 36 minutes to fill
        #[arg(long, default_value_t = bench::soak::WARM_UP_MINUTES)]
        warm_up: u64,
    },
}

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    let root = workspace::find_root()?;
    let clean = match args.command {
        Command::Tidy => tidy::run(&Workspace::load(&root)?)?,
        Command::Docs { check } => docs::run(&root, check)?,
        Command::Lint => lint::run(&root)?,
        Command::TestDeps => test_deps::run(&root)?,
        Command::Bench { only_processes } => bench::run(&root, only_processes)?,
        Command::Soak { minutes, warm_up } => bench::soak::run(&root, minutes, warm_up)?,
    };
    Ok(if clean {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
