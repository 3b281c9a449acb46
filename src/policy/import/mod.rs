//! Imports: objectives and alerting rules of others, as documents of ours.
//!
//! | from | what becomes of it |
//! |---|---|
//! | [OpenSLO v1](https://github.com/OpenSLO/OpenSLO): `SLO` with a ratio metric | an `SLO` of its service |
//! | [Sloth v1](https://sloth.dev/specs/default/v1/): `slos`, also as `PrometheusServiceLevel` | an `SLO` of its service |
//! | Prometheus alerting rules, also as `PrometheusRule`: see [`promql`] | a `Scenario`: what fires the rule must open an incident, no later than the rule would; a share of errors of all services is a limit of a `Detector`, too |
//!
//! Whatever cannot be said in documents of ours is refused with line and column; what is only said otherwise here is a note.
//! The rest is imported all the same.

pub mod promql;
mod rules;
mod slo;

use super::document::{API_VERSION, mended};
use super::fault::{Fault, Faults, Place};
use super::fields::Fields;
use super::yaml::{Node, Value, documents};
use std::collections::BTreeSet;
use std::fmt::Write;

/// What became of a file.
#[derive(Debug, Default)]
pub struct Imported {
    /// Documents of ours, as YAML.
    pub documents: Vec<String>,
    /// What is said otherwise here, and where it stands.
    pub notes: Vec<(Place, String)>,
    /// What was refused.
    pub faults: Vec<Fault>,
    /// Kinds and names that are taken.
    names: BTreeSet<(&'static str, String)>,
}

/// Imports the text of a file.
pub fn import(file: &str, text: &str) -> Imported {
    let mut faults = Faults::of(file);
    let nodes = documents(text, &mut faults);
    let mut imported = Imported::default();
    let roots = nodes.iter().filter_map(|node| match Fields::checked(node) {
        Some(fields) => Some(fields),
        None => {
            faults.add(
                node.at,
                format!("{} is no document", node.words()),
                "name a file of OpenSLO, Sloth or Prometheus",
            );
            None
        }
    });
    let roots = roots.collect::<Vec<_>>();
    for root in &roots {
        let is = |name: &str, value: &str| root.text(name).is_some_and(|text| text == value);
        let spec = || root.get("spec").and_then(Fields::checked);
        if is("apiVersion", "openslo/v1") {
            slo::openslo(root, &roots, &mut imported, &mut faults);
        } else if is("version", "prometheus/v1") {
            slo::sloth(root, &mut imported, &mut faults);
        } else if is("apiVersion", "sloth.slok.dev/v1") {
            spec().iter().for_each(|spec| slo::sloth(spec, &mut imported, &mut faults));
        } else if root.get("groups").is_some() {
            rules::groups(root, &mut imported, &mut faults);
        } else if is("kind", "PrometheusRule") {
            spec().iter().for_each(|spec| rules::groups(spec, &mut imported, &mut faults));
        } else {
            let fix =
                "name a file with `apiVersion: openslo/v1`, `version: prometheus/v1` (Sloth) or `groups:` (Prometheus)";
            faults.add(root.at, "it is unknown what this is", fix);
        }
    }
    faults.all.sort();
    imported.faults = faults.all;
    imported
}

impl Imported {
    /// A document of `kind` whose name is like `name`; `spec` is indented by two, `from` says where it comes from.
    fn add(&mut self, kind: &'static str, name: &str, from: &str, spec: &str) {
        let name = mended(name, "imported");
        let numbered = |number: usize| if number == 1 { name.clone() } else { format!("{name:.59}-{number}") };
        let free =
            (1..).map(numbered).find(|name| self.names.insert((kind, name.clone()))).unwrap_or_else(|| name.clone());
        let mut text = format!("# {}\n", from.replace(['\n', '\r'], " "));
        write!(text, "apiVersion: {API_VERSION}\nkind: {kind}\nmetadata: {{name: \"{free}\"}}\nspec:\n{spec}")
            .expect("writing to a string");
        self.documents.push(text);
    }

    /// All documents, with the notes before them.
    pub fn text(&self) -> String {
        let note = |(at, note): &(Place, String)| format!("# {}:{}: {note}\n", at.line, at.column);
        let notes = self.notes.iter().map(note).collect::<String>();
        format!("{notes}{}", self.documents.join("---\n"))
    }
}

/// A number with a decimal point, times a power of ten; `None` if it has more decimals than that.
fn decimal(node: &Node, places: u32) -> Option<i64> {
    let text = match &node.value {
        Value::Number(number) => return number.checked_mul(10_i64.pow(places)),
        Value::Text(text) => text,
        _ => return None,
    };
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let decimals = decimals.trim_end_matches('0');
    let all_digits = [whole, decimals].iter().all(|part| part.bytes().all(|byte| byte.is_ascii_digit()));
    if !all_digits || whole.len() > 9 || decimals.len() > places as usize {
        return None;
    }
    let width = places as usize;
    format!("{whole}{decimals:0<width$}").parse().ok()
}

/// A text in YAML, whatever is in it.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
