//! The agent's program: see [`muster_agent::cli`].

use std::process::ExitCode;

// What is read on one thread is told of on another, hundreds of short texts at a time: the system's allocator takes a
// quarter of the agent's own time for it. Elsewhere pages may be larger than those it is built for.
#[cfg(target_arch = "x86_64")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    muster_agent::cli::main()
}
