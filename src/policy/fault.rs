//! [`Fault`]: what is wrong with a document, where, and what to write instead.

use serde::Serialize;
use std::fmt;

/// A place in a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Place {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Fault {
    /// The file, as it was named.
    pub file: String,
    /// Where in it.
    #[serde(flatten)]
    pub at: Place,
    /// What is wrong there.
    pub what: String,
    /// What to do about it.
    pub fix: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, at: Place { line, column }, what, fix } = self;
        write!(f, "{file}:{line}:{column}: {what}; {fix}")
    }
}

/// The faults of one file.
#[derive(Debug)]
pub struct Faults {
    file: String,
    /// In the order in which they were found.
    pub all: Vec<Fault>,
}

impl Faults {
    /// None yet.
    pub fn of(file: &str) -> Self {
        Self { file: file.to_owned(), all: Vec::new() }
    }

    /// Adds one.
    pub fn add(&mut self, at: Place, what: impl Into<String>, fix: impl Into<String>) {
        self.all.push(Fault { file: self.file.clone(), at, what: what.into(), fix: fix.into() });
    }

    /// Adds one about a name that is none of `known`: with the nearest of them, or all.
    pub fn unknown(&mut self, at: Place, what: impl Into<String>, name: &str, known: &[&str]) {
        let fix = match nearest(name, known) {
            Some(nearest) => format!("write `{nearest}` instead"),
            None if known.len() == 1 => format!("write `{}` instead", known[0]),
            None => format!("write one of {} instead", known.join(", ")),
        };
        self.add(at, what, fix);
    }
}

/// The known name that is most like `name`, if one is like it.
fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let plain = |text: &str| text.to_lowercase().replace(['_', '-'], "");
    let likeness = |candidate: &&str| strsim::jaro_winkler(&plain(name), &plain(candidate));
    let best = known.iter().copied().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(&best) >= 0.8).then_some(best)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_slip_has_a_nearest_name_and_nonsense_has_none() {
        let known = ["cooldown", "futile", "mode", "max_out_percent"];
        assert_eq!(nearest("cooldwn", &known), Some("cooldown"));
        assert_eq!(nearest("maxOutPercent", &known), Some("max_out_percent"));
        assert_eq!(nearest("quux", &known), None);
        assert_eq!(nearest("x", &[]), None);
    }
}
