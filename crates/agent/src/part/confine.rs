//! What a part gives up before it does anything: its parent's files, new rights, the network.

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::UnixStream;

use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, chdir, close, dup2_stdin, getppid};
use thiserror::Error;

/// Standard input, output and error; only what is above is closed.
const STANDARD_MAX: i32 = 2;

/// Why a part does not start.
#[derive(Debug, Error)]
pub(crate) enum ConfineError {
    /// A person started it.
    #[error("this part is started by the agent itself, with its socket as standard input")]
    NoSocket,
    /// Its parent is gone.
    #[error("the agent that started this has ended already")]
    Orphan,
    /// A system call failed.
    #[error("{attempt}")]
    Refused {
        /// What was attempted.
        attempt: &'static str,
        /// Why not.
        source: io::Error,
    },
}

/// What is left.
#[derive(Debug)]
pub(crate) struct Confined {
    /// The way to the parent.
    pub socket: UnixStream,
    /// Why there is still a network, if there is.
    pub network: Option<nix::Error>,
}

/// Gives up what is not needed.
///
/// # Errors
/// [`ConfineError`] if that cannot be done, or nobody is there to work for.
pub(crate) fn confine(parent: i32) -> Result<Confined, ConfineError> {
    let refused = |attempt| {
        move |error: nix::Error| ConfineError::Refused {
            attempt,
            source: error.into(),
        }
    };
    let is_socket = std::fs::metadata("/proc/self/fd/0").is_ok_and(|found| found.file_type().is_socket());
    if !is_socket {
        return Err(ConfineError::NoSocket);
    }
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(refused("ask to end with the agent"))?;
    // Had the parent died before the request, no signal would ever come.
    if getppid() != Pid::from_raw(parent) {
        return Err(ConfineError::Orphan);
    }
    prctl::set_no_new_privs().map_err(refused("give up new rights"))?;
    chdir("/").map_err(refused("go to /"))?;
    close_others().map_err(|source| ConfineError::Refused {
        attempt: "list open files",
        source,
    })?;
    let taken = take_socket().map_err(|source| ConfineError::Refused {
        attempt: "take the socket over",
        source,
    })?;
    Ok(Confined {
        socket: taken,
        // Refused without rights, or by a service manager; what is asked of the part stays the same then.
        network: unshare(CloneFlags::CLONE_NEWNET).err(),
    })
}

/// Closes whatever the parent had open and did not mark.
fn close_others() -> io::Result<()> {
    let mut open = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let number = entry?.file_name().to_string_lossy().parse::<i32>();
        open.extend(number.ok().filter(|&number| STANDARD_MAX < number));
    }
    for number in open {
        // The folder's own is closed already.
        let _ = close(number);
    }
    Ok(())
}

/// Moves the socket away from standard input, where a program could be given it by mistake.
fn take_socket() -> io::Result<UnixStream> {
    let socket = io::stdin().as_fd().try_clone_to_owned()?;
    dup2_stdin(File::open("/dev/null")?)?;
    Ok(socket.into())
}
