//! The Muster controller.

use std::process::ExitCode;

/// Work wanders over the controller's threads and what it holds grows and shrinks with the windows of samples. The C
/// library's heaps keep most of what was ever needed; this one gives back what is free. It is SQLite's and zstd's as
/// well, because its functions go by the C library's names.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    muster_controller::cli::main()
}
