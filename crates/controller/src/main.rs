//! The Muster controller.

use std::process::ExitCode;

fn main() -> ExitCode {
    muster_controller::cli::main()
}
