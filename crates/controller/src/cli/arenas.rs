//! How many heaps the C library keeps.
//!
//! glibc gives threads heaps of their own, up to eight for each CPU, and what is freed in one is not used by the others:
//! a controller whose work wanders over its threads holds a third more memory for nothing, and goes on growing for an hour
//! (mallopt(3), `M_ARENA_MAX`). That can be said without unsafe code only before a process begins, so that the program
//! starts itself once more, as the same process.

use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// What glibc reads it from.
const VARIABLE: &str = "MALLOC_ARENA_MAX";
/// As many as threads allocate at once on a small machine.
const ARENAS: &str = "2";

/// Begins anew with few heaps, unless the number is given already. Comes back only if there is nothing to do, or if it
/// can't be done: memory is all that is lost then.
pub(super) fn limit() {
    if std::env::var_os(VARIABLE).is_some() {
        return;
    }
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_else(|| "muster-controller".into());
    #[expect(
        clippy::disallowed_methods,
        reason = "it is this program, and no other is started"
    )]
    let again = std::env::current_exe().map(Command::new);
    let error = match again {
        Ok(mut again) => again.arg0(name).args(arguments).env(VARIABLE, ARENAS).exec(),
        Err(error) => error,
    };
    let _ = writeln!(
        io::stderr(),
        "muster-controller: go on with the heaps there are: {error}"
    );
}
