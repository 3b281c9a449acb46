//! The `evenkeel-objects` binary; see `evenkeel-objects --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    evenkeel::cli::cold_main(evenkeel_objects::open)
}
