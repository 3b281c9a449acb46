//! The `evenkeel` binary; see `evenkeel --help`.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    evenkeel::pages::small();
    evenkeel::cli::main()
}
