//! The program: the command line decides, and the exit code tells.

use std::process::ExitCode;

/// Freed memory goes back to the system after a burst.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    businessos::cli::run()
}
