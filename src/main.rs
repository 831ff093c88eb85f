//! The program: the command line decides, and the exit code tells.

use std::process::ExitCode;

/// Freed memory goes back to the system after a burst. Without transparent huge pages (the feature `no_thp`): with them an idle
/// server holds twice the memory, for a gain that nobody has measured.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    businessos::cli::run()
}
