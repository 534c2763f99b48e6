//! The agent's program: see [`muster_agent::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    muster_agent::cli::main()
}
