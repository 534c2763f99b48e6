//! `muster`: the command line of Muster. So far it has `up`, which runs a controller and an agent on this machine.

mod cli;
mod up;

use std::process::ExitCode;

use clap::Parser as _;
use muster_base::{ErrorChain, log, shutdown};

use crate::cli::{Args, Command};

// One thread: `up` ties its children to the life of the thread that starts them.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = Args::parse();
    match args.command {
        Command::Up(up) => {
            log::init(up.log_format, up.log_filter.as_deref());
            run_up(&up).await
        }
        Command::Tether(tether) => {
            let error = up::tether::become_program(tether.parent, &tether.program);
            eprintln!("muster: {}", ErrorChain(&error));
            ExitCode::FAILURE
        }
    }
}

async fn run_up(args: &cli::UpArgs) -> ExitCode {
    let outcome = match shutdown::on_signal() {
        Ok(stop) => up::run(&args.options(), stop).await,
        Err(source) => Err(up::UpError::Signals { source }),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("muster: {}", ErrorChain(&error));
            error.exit_code()
        }
    }
}
