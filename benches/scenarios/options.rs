//! What is asked for on the command line.

use std::ops::Range;
use std::path::PathBuf;

/// Seeds of a scenario, unless told otherwise.
const SEEDS: u64 = 3;

/// A scenario that lasts for days has a seed for so many of the others.
const LONG_SHARE: u64 = 3;

/// How it is called.
pub const USAGE: &str = "cargo bench --bench scenarios [-- NAME…] [--seeds N] [--first-seed N] [--threads N] [--out DIR] [--data DIR] [-o json]";

/// How to run.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Scenarios to run; none: all of them.
    pub names: Vec<String>,
    pub seeds: u64,
    /// The first of them.
    pub first_seed: u64,
    /// Runs at a time; no output depends on it.
    pub threads: usize,
    /// Where the table and the pictures go, if anywhere.
    pub out: Option<PathBuf>,
    /// Where an embedded log is made of what the first run says, if anywhere: for `evenkeel alert`.
    pub data: Option<PathBuf>,
    pub json: bool,
}

impl Options {
    /// As on the command line; what cannot be understood is said.
    pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let mut options = Self { seeds: SEEDS, first_seed: 1, threads, ..Self::default() };
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
            match argument.as_str() {
                // Cargo's own.
                "--bench" => {}
                "--seeds" => options.seeds = number(&argument, &value()?)?,
                "--first-seed" => options.first_seed = number(&argument, &value()?)?,
                "--threads" => options.threads = number(&argument, &value()?)? as usize,
                "--data" => options.data = Some(PathBuf::from(value()?)),
                "--out" => options.out = Some(PathBuf::from(value()?)),
                "-o" | "--output" => options.json = value()? == "json",
                "--json" => options.json = true,
                flag if flag.starts_with('-') => return Err(format!("{flag} is not known: {USAGE}")),
                name => options.names.push(name.to_owned()),
            }
        }
        if options.out.is_some() && options.first_seed > 1 {
            return Err("--first-seed: what --out keeps is of the seeds from 1 on".to_owned());
        }
        Ok(options)
    }

    /// The seeds that a scenario gets.
    pub fn seeds(&self, is_long: bool) -> Range<u64> {
        let seeds = if is_long { self.seeds.div_ceil(LONG_SHARE) } else { self.seeds };
        self.first_seed..self.first_seed + seeds
    }
}

fn number(flag: &str, value: &str) -> Result<u64, String> {
    let number = value.parse().ok().filter(|number| (1..=10_000).contains(number));
    number.ok_or(format!("{flag} {value}: a number from 1 to 10000"))
}
