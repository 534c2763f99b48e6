//! The Muster controller.

use std::process::ExitCode;

/// Work wanders over the controller's threads and what it holds grows and shrinks with the windows of samples. The C
/// library's heaps keep most of what was ever needed; this one gives back what is free. It is SQLite's and zstd's as
/// well, because its functions go by the C library's names. Where pages may be larger than those of the machine
/// that built it, as on ARM, it would not start.
#[cfg(target_arch = "x86_64")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    muster_controller::cli::main()
}
