//! The KPI set of the 2018 AIOps challenge: `SERIES.csv.gz` with a line `# t0=… step=… train_rows=…`, then
//! `value,label`. What is scored is `score`, row by row: a segment is found by a row among its first eight at or above
//! the threshold.

use crate::{Arguments, assess, files, print_row, write_scores};
use flate2::read::MultiGzDecoder;
use std::io::{BufRead, BufReader};
use std::path::Path;

/// Runs it over a folder.
pub fn run(arguments: &Arguments) -> Result<(), String> {
    let folder = arguments.folder("https://github.com/NetManAIOps/KPI-Anomaly-Detection (a file a series, in the form of `benches/accuracy/kpi.rs`)")?;
    for path in files(folder, ".csv.gz")? {
        let rows = read(&path).map_err(|error| format!("reading {}: {error}", path.display()))?;
        let said = assess(rows.into_iter());
        let name = path.file_name().expect("a file has a name").to_string_lossy().into_owned();
        print_row(&name, &said);
        if let Some(scores) = &arguments.scores {
            let column = said.iter().map(|said| said.map_or(0.0, |said| said.score));
            write_scores(&scores.join(name.trim_end_matches(".gz")), "score", column)?;
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<(i64, f64)>, String> {
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let mut lines = BufReader::new(MultiGzDecoder::new(file)).lines();
    let head = lines.next().ok_or("it is empty")?.map_err(|error| error.to_string())?;
    let field = |name: &str| -> Result<i64, String> {
        let value = head.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        value.and_then(|value| value.parse().ok()).ok_or(format!("the first line has no {name}"))
    };
    let (first_s, step_s) = (field("t0")?, field("step")?);
    // A missing value is an empty one: not a number, and skipped.
    let value = |line: String| line.split(',').next().and_then(|value| value.parse().ok()).unwrap_or(f64::NAN);
    let rows = lines.skip(1).zip(0..).map(|(line, row)| line.map(|line| (first_s + row * step_s, value(line))));
    rows.collect::<Result<_, _>>().map_err(|error| error.to_string())
}
