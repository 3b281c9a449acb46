//! The Numenta Anomaly Benchmark: `data/CATEGORY/NAME.csv` with `timestamp,value`. What is scored is `alert`: the
//! benchmark rewards one alert early in a window, and counts every one outside.

use crate::{Arguments, assess, files, print_row, write_scores};
use arrow::compute::kernels::cast_utils::string_to_timestamp_nanos;
use std::path::Path;

/// Runs it over the folder that holds `data/`, or over `data/` itself.
pub fn run(arguments: &Arguments) -> Result<(), String> {
    let folder = arguments.folder("https://github.com/numenta/NAB")?;
    let data = Some(folder.join("data")).filter(|data| data.is_dir()).unwrap_or(folder.to_owned());
    for path in files(&data, ".csv")? {
        let rows = read(&path).map_err(|error| format!("reading {}: {error}", path.display()))?;
        let said = assess(rows.into_iter());
        let name = path.strip_prefix(&data).expect("it was found below").to_owned();
        print_row(&name.to_string_lossy(), &said);
        if let Some(scores) = &arguments.scores {
            let alerts = said.iter().map(|said| said.map_or(0.0, |said| said.alert));
            write_scores(&scores.join(name), "anomaly_score", alerts)?;
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<(i64, f64)>, String> {
    let mut reader = csv::Reader::from_path(path).map_err(|error| error.to_string())?;
    let row = |record: csv::StringRecord| -> Option<(i64, f64)> {
        let at_ns = string_to_timestamp_nanos(record.get(0)?).ok()?;
        Some((at_ns.div_euclid(1_000_000_000), record.get(1)?.parse().ok()?))
    };
    let rows = reader.records().zip(2..);
    rows.map(|(record, line)| record.ok().and_then(row).ok_or(format!("line {line} is no time and value"))).collect()
}
