//! `muster`: the command line of Muster: a client of the controller's API, and `up`, which runs a controller and an
//! agent on this machine.

mod cli;
mod client;
mod command;
mod render;
mod up;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};
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
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Args::command(), "muster", &mut std::io::stdout());
            ExitCode::SUCCESS
        }
        client => match run_client(client).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("muster: {}", ErrorChain(&error));
                error.exit_code().into()
            }
        },
    }
}

async fn run_client(command: Command) -> Result<(), client::ClientError> {
    match command {
        Command::Login(command) => command.run().await,
        Command::Logout(command) => command.run().await,
        Command::Contexts(command) => command.run(),
        Command::Servers(command) => command.run().await,
        Command::Devices(command) => command.run().await,
        Command::Pools(command) => command.run().await,
        Command::Containers(command) => command.run().await,
        Command::Updates(command) => command.run().await,
        Command::Tokens(command) => command.run().await,
        Command::Alerts(command) => command.run().await,
        Command::Rules(command) => command.run().await,
        Command::Silences(command) => command.run().await,
        Command::Channels(command) => command.run().await,
        Command::Registries(command) => command.run().await,
        Command::Commands(command) => command.run().await,
        Command::Tasks(command) => command.run().await,
        Command::Users(command) => command.run().await,
        Command::Query(command) => command.run().await,
        Command::Top(command) => command.run().await,
        Command::Up(_) | Command::Tether(_) | Command::Completions { .. } => {
            unreachable!("these are no questions to a controller")
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
