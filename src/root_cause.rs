//! Tables of a call graph and its metrics, for [`rank_causes`]: read from CSV, which any monitoring system can write.
//!
//! * **Graph**: either two columns headed `caller,callee`, or a matrix: callees in the first line, a caller in each further
//!   one, 1 where it calls.
//! * **Metrics**: four lines of heads, `microservice`, `metric` (`latency`, `availability`, `requests`), `statistic` and
//!   `unix_timestamp`, then a line for each time. Empty cells are missing data. Of several statistics of one metric `Average`
//!   is taken, `Sum` of requests, else the first.

use evenkeel_dataflows::detectors::{Candidate, Measured, Metric, Period, rank_causes};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::Path;

/// The largest file that is read, bytes.
const MAX_FILE_BYTES: u64 = 1 << 28;

/// Most nodes of a graph.
const MAX_NODES: usize = 10_000;

/// A question: what was measured of a call graph, well and not.
pub struct Question {
    nodes: Vec<String>,
    calls: Vec<(usize, usize)>,
    normal: Metrics,
    incident: Metrics,
}

/// Columns by node and metric, and how many rows they have.
#[derive(Default)]
struct Metrics {
    columns: BTreeMap<(String, Metric), Vec<Option<f64>>>,
    rows: usize,
}

/// An answer: what the alert is taken to be about, and who may have caused it.
#[derive(Debug, serde::Serialize)]
pub struct Answer {
    /// The node of the alert.
    pub target: String,
    /// Its metric.
    pub metric: Metric,
    /// Most likely cause first.
    pub candidates: Vec<Candidate>,
}

impl Question {
    /// Reads the three files.
    ///
    /// # Errors
    /// Says the file, the line, and what should be there.
    pub fn read(graph: &Path, normal: &Path, incident: &Path) -> Result<Self, String> {
        let calls = read_calls(graph)?;
        let (normal, incident) = (read_metrics(normal)?, read_metrics(incident)?);
        let mut nodes = calls.iter().flat_map(|(caller, callee)| [caller, callee]).cloned().collect::<BTreeSet<_>>();
        nodes.extend(
            [&normal, &incident].into_iter().flat_map(|metrics| metrics.columns.keys().map(|(node, _)| node.clone())),
        );
        if nodes.len() > MAX_NODES {
            return Err(format!(
                "{}: more than {MAX_NODES} nodes; leave out those far from the alert",
                graph.display()
            ));
        }
        let nodes = nodes.into_iter().collect::<Vec<_>>();
        let place = |name: &String| nodes.binary_search(name).expect("every name of a call is a node");
        let calls = calls.iter().map(|(caller, callee)| (place(caller), place(callee))).collect();
        Ok(Self { nodes, calls, normal, incident })
    }

    /// Ranks the causes of an alert about `target` and `metric`; what is not given is chosen: of the nodes that nobody
    /// calls, and their metrics, that which surprises most.
    ///
    /// # Errors
    /// If there is no such node, or nothing to choose from.
    pub fn answer(&self, target: Option<&str>, metric: Option<Metric>) -> Result<Answer, String> {
        let targets = match target {
            Some(name) => vec![self.nodes.iter().position(|node| node == name).ok_or_else(|| self.unknown(name))?],
            None => self.entries(),
        };
        let metrics = metric.map_or(vec![Metric::Latency, Metric::Availability], |metric| vec![metric]);
        let asked = targets.iter().flat_map(|target| metrics.iter().map(|metric| (*target, *metric)));
        let rank = |(target, metric)| {
            let candidates = rank_causes(&self.measured(metric), &self.calls, target, metric);
            let seen =
                candidates.iter().find(|it| it.node == self.nodes[target]).map_or(0.0, |it| it.evidence.surprise);
            (seen, Answer { target: self.nodes[target].clone(), metric, candidates })
        };
        let answers = asked.map(rank);
        // Of equals the first.
        let most = answers.reduce(|best, next| if next.0 > best.0 { next } else { best });
        most.map(|(_, answer)| answer).ok_or_else(|| "nothing calls and is not called: give --target NODE".to_owned())
    }

    fn unknown(&self, name: &str) -> String {
        let like = self.nodes.iter().filter(|node| node.to_lowercase().contains(&name.to_lowercase())).take(5);
        let like = like.cloned().collect::<Vec<_>>();
        let hint = if like.is_empty() {
            "the heads of the metrics and the graph name them".to_owned()
        } else {
            format!("did you mean {}?", like.join(", "))
        };
        format!("no node {name:?}; {hint}")
    }

    /// Nodes that call, and that nobody calls.
    fn entries(&self) -> Vec<usize> {
        let callers = self.calls.iter().map(|(caller, _)| *caller).collect::<BTreeSet<_>>();
        let callees = self.calls.iter().map(|(_, callee)| *callee).collect::<BTreeSet<_>>();
        callers.difference(&callees).copied().collect()
    }

    fn measured(&self, metric: Metric) -> Vec<Measured> {
        let column = |metrics: &Metrics, node: &String, metric| {
            metrics.columns.get(&(node.clone(), metric)).cloned().unwrap_or_else(|| vec![None; metrics.rows])
        };
        let period = |metrics: &Metrics, node: &String| Period {
            values: column(metrics, node, metric),
            requests: column(metrics, node, Metric::Requests),
        };
        let measured = |name: &String| Measured {
            name: name.clone(),
            normal: period(&self.normal, name),
            incident: period(&self.incident, name),
        };
        self.nodes.iter().map(measured).collect()
    }
}

/// The lines of a file, with their numbers.
fn read_lines(path: &Path) -> Result<Vec<(u64, Vec<String>)>, String> {
    let shown = path.display();
    let file = File::open(path).map_err(|error| format!("{shown}: {error}"))?;
    if file.metadata().is_ok_and(|metadata| metadata.len() > MAX_FILE_BYTES) {
        return Err(format!("{shown}: over {} MiB; leave out times or nodes", MAX_FILE_BYTES >> 20));
    }
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(file);
    let lines = reader.records().map(|record| {
        let record = record.map_err(|error| format!("{shown}: {error}; write CSV in UTF-8"))?;
        let line = record.position().map_or(0, csv::Position::line);
        Ok((line, record.iter().map(|cell| cell.trim().to_owned()).collect()))
    });
    lines.collect()
}

fn read_calls(path: &Path) -> Result<Vec<(String, String)>, String> {
    let lines = read_lines(path)?;
    let ((_, heads), rest) = lines
        .split_first()
        .ok_or_else(|| format!("{}: empty; its first line should be caller,callee", path.display()))?;
    let place = |line: u64, problem: &str| format!("{}:{line}: {problem}", path.display());
    let is_list = heads.len() == 2 && heads[0] == "caller" && heads[1] == "callee";
    let mut calls = Vec::new();
    for (line, cells) in rest {
        if cells.len() != heads.len() {
            let problem = format!("{} cells where the first line has {}", cells.len(), heads.len());
            return Err(place(*line, &format!("{problem}; write one for each, in quotes if it holds a comma")));
        }
        if is_list {
            calls.push((cells[0].clone(), cells[1].clone()));
            continue;
        }
        for (callee, cell) in heads.iter().zip(cells).skip(1) {
            match cell.parse::<f64>() {
                Ok(calls_it) if calls_it != 0.0 => calls.push((cells[0].clone(), callee.clone())),
                Ok(_) => {}
                Err(_) if cell.is_empty() => {}
                Err(_) => {
                    let problem = format!("{cell:?} where {} calls {callee}; write 1 if it does, else 0", cells[0]);
                    return Err(place(*line, &format!("{problem} (or two columns headed caller,callee)")));
                }
            }
        }
    }
    Ok(calls)
}

fn read_metrics(path: &Path) -> Result<Metrics, String> {
    let lines = read_lines(path)?;
    let place = |line: u64, problem: &str| format!("{}:{line}: {problem}", path.display());
    let expected = ["microservice", "metric", "statistic", "unix_timestamp"];
    for (at, name) in expected.iter().enumerate() {
        let first = lines.get(at).and_then(|(_, cells)| cells.first()).map_or("", String::as_str);
        if first != *name {
            return Err(place(
                at as u64 + 1,
                &format!("begins with {first:?}; the first four lines begin with {}", expected.join(", ")),
            ));
        }
    }
    let (nodes, metrics, statistics) = (&lines[0].1, &lines[1].1, &lines[2].1);
    let mut chosen = BTreeMap::<(String, Metric), (usize, bool)>::new();
    for (column, node) in nodes.iter().enumerate().skip(1) {
        let cell = |cells: &[String]| cells.get(column).cloned().unwrap_or_default();
        let (metric, usual) = match cell(metrics).as_str() {
            "latency" => (Metric::Latency, "Average"),
            "availability" => (Metric::Availability, "Average"),
            "requests" => (Metric::Requests, "Sum"),
            other => {
                let problem = format!("metric {other:?} in column {}", column + 1);
                return Err(place(2, &format!("{problem}; write latency (s), availability (percent) or requests")));
            }
        };
        let is_usual = cell(statistics) == usual;
        let choice = chosen.entry((node.clone(), metric)).or_insert((column, is_usual));
        if is_usual && !choice.1 {
            *choice = (column, true);
        }
    }
    let rows = &lines[expected.len()..];
    let mut read = Metrics { columns: BTreeMap::new(), rows: rows.len() };
    for (key, (column, _)) in chosen {
        let value = |(line, cells): &(u64, Vec<String>)| match cells.get(column).map(String::as_str) {
            None | Some("" | "nan" | "NaN" | "null") => Ok(None),
            Some(cell) => cell.parse::<f64>().map(Some).map_err(|_| {
                let problem = format!("{cell:?} in column {} ({})", column + 1, key.0);
                place(*line, &format!("{problem}; write a number, or nothing where there is no data"))
            }),
        };
        let values = rows.iter().map(value).collect::<Result<Vec<_>, String>>()?;
        read.columns.insert(key, values);
    }
    if rows.is_empty() {
        return Err(place(5, "no rows; write a time and a value for each column"));
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    /// Files of a test in a folder of their own.
    struct Files(PathBuf);

    impl Files {
        fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("evenkeel-{}-{name}", std::process::id()));
            std::fs::create_dir_all(&folder).expect("there is room");
            Self(folder)
        }

        fn write(&self, name: &str, text: &str) -> PathBuf {
            let path = self.0.join(name);
            std::fs::write(&path, text).expect("there is room");
            path
        }
    }

    impl Drop for Files {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    const HEADS: &str = "microservice,a,b,a,b\nmetric,latency,latency,requests,requests\n\
                         statistic,Average,Average,Sum,Sum\nunix_timestamp,,,,\n";

    fn metrics(rows: usize, slow: &str) -> String {
        (0..rows).fold(HEADS.to_owned(), |text, row| format!("{text}{row},{slow},{slow},10,\n"))
    }

    #[test]
    fn a_list_and_a_matrix_say_the_same() {
        let files = Files::new("list");
        let normal = files.write("normal.csv", &metrics(12, "0.1"));
        let incident = files.write("incident.csv", &metrics(2, "0.4"));
        let graphs =
            [files.write("list.csv", "caller,callee\na,b\n"), files.write("matrix.csv", ",a,b\na,0,1\nb,0.0,\n")];
        for graph in graphs {
            let answer = Question::read(&graph, &normal, &incident).and_then(|it| it.answer(None, None));
            let answer = answer.expect("it is in its layout");
            let nodes = answer.candidates.iter().map(|it| it.node.as_str()).collect::<Vec<_>>();
            assert_eq!((answer.target.as_str(), answer.metric, nodes), ("a", Metric::Latency, vec!["a", "b"]));
            // b has no requests, and so no excess: what is missing is not made up.
            assert!((answer.candidates[0].inference.own - 1.0).abs() < 1e-9);
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place_and_what_to_write() {
        let files = Files::new("wrong");
        let normal = files.write("normal.csv", &metrics(12, "0.1"));
        let list = files.write("graph.csv", "caller,callee\na,b\n");
        let read = |graph: &Path, incident: &str| {
            let incident = files.write("incident.csv", incident);
            Question::read(graph, &normal, &incident).err().unwrap_or_default()
        };
        let cases = [
            (read(&list, &metrics(1, "fast")), ["incident.csv:5: \"fast\" in column 2 (a)", "write a number"]),
            (read(&list, HEADS), ["incident.csv:5: no rows", "write a time"]),
            (read(&list, "node,a\n"), ["incident.csv:1: begins with \"node\"", "microservice, metric, statistic"]),
            (
                read(&list, &HEADS.replacen("latency", "speed", 1)),
                ["incident.csv:2: metric \"speed\"", "write latency (s)"],
            ),
            (read(&files.write("m.csv", ",a,b\na,yes,0\n"), HEADS), ["m.csv:2: \"yes\" where a calls a", "write 1"]),
            (
                read(&files.write("m.csv", ",a,b\na,1\n"), HEADS),
                ["m.csv:2: 2 cells where the first line has 3", "write one"],
            ),
            (read(&files.write("m.csv", ""), HEADS), ["m.csv: empty", "caller,callee"]),
            (read(Path::new("/nowhere.csv"), HEADS), ["/nowhere.csv", "No such file"]),
        ];
        for (error, parts) in cases {
            assert!(parts.iter().all(|part| error.contains(part)), "{error:?} lacks one of {parts:?}");
        }
        let incident = files.write("incident.csv", &metrics(1, "0.2"));
        let question = Question::read(&list, &normal, &incident).expect("it is in its layout");
        let error = question.answer(Some("A"), None).err().unwrap_or_default();
        assert_eq!(error, "no node \"A\"; did you mean a?");
    }
}
