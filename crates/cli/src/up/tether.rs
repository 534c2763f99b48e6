//! A child that cannot outlive its parent.
//!
//! The kernel sends a signal at the death of the thread that started a process, if that process asked for it. Asking
//! between fork and exec would need unsafe code, so `up` starts this program again as a go-between: it asks, sees that
//! the parent is still there, and then becomes the real program. The request survives exec; the process id stays.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getppid};
use thiserror::Error;

/// Why the program was not started.
#[derive(Debug, Error)]
pub(crate) enum TetherError {
    #[error("ask to end with the parent process")]
    Ask { source: nix::Error },
    #[error("the parent process has ended already")]
    Orphan,
    #[error("start {program}")]
    Start { program: String, source: io::Error },
}

/// Becomes the program, or says why not. `program` holds its path and arguments.
#[expect(clippy::disallowed_methods, reason = "`up` starts Muster's own programs")]
pub(crate) fn become_program(parent: i32, program: &[String]) -> TetherError {
    // SIGTERM, so that a child whose `up` was killed still ends in good order.
    if let Err(source) = prctl::set_pdeathsig(Signal::SIGTERM) {
        return TetherError::Ask { source };
    }
    // Had the parent died before the request, no signal would ever come.
    if getppid() != Pid::from_raw(parent) {
        return TetherError::Orphan;
    }
    let (path, arguments) = program
        .split_first()
        .expect("the command line requires a program");
    let source = Command::new(path).args(arguments).exec();
    TetherError::Start {
        program: path.clone(),
        source,
    }
}
