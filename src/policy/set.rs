//! [`Policies`]: the documents of files and folders, held against each other, and what they amount to.

use super::document::{Document, Spec};
use super::fault::{Fault, Faults, Place};
use super::tuned::Setting;
use super::yaml;
use crate::ports::PortError;
use evenkeel_dataflows::{Tuning, documents_sha256};
use evenkeel_schemas::{Control, MAX_DOCUMENTS_BYTES, MAX_SETTINGS_BYTES};
use serde_json::{Map, Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Where the tuning has the names of signals that page.
const PAGING_SIGNALS: [&str; 2] = ["detection", "paging_signals"];

/// Files read at most.
const MAX_FILES: usize = 1_000;

/// Receivers at most.
const MAX_RECEIVERS: usize = 64;

/// Documents, and what is wrong with them.
#[derive(Debug, Default)]
pub struct Policies {
    /// Those that can be read, by kind and name.
    pub documents: Vec<Document>,
    /// What is wrong, by place.
    pub faults: Vec<Fault>,
    /// Files that were read.
    pub files: usize,
}

/// What documents amount to, as an order brings it.
#[derive(Clone, Debug, PartialEq)]
pub struct Compiled {
    /// All but scenarios as one JSON array, sorted, without spaces.
    pub documents: String,
    /// Its SHA-256, lower-case hexadecimal.
    pub sha256: String,
    /// The part of the tuning that is set, as a JSON object.
    pub settings: String,
    /// Maintenance: the service, and from and to, µs since the Unix epoch.
    pub maintenance: Vec<(String, (i64, i64))>,
}

impl Compiled {
    /// The orders that bring it into force as version `version`, by the name of `by`.
    pub fn orders(&self, event_time_us: i64, version: u64, by: &str) -> Vec<Control> {
        let Self { documents, sha256, settings, maintenance } = self.clone();
        let name = || by.to_owned();
        let apply = Control::ApplyPolicy { event_time_us, by: name(), version, sha256, documents, settings };
        let maintenance = maintenance.into_iter().map(|(service, (from_us, to_us))| {
            let by = name();
            Control::Maintenance { event_time_us, by, service, from_us, to_us }
        });
        [apply].into_iter().chain(maintenance).collect()
    }
}

impl Policies {
    /// Reads files, and of folders every file below that ends with `.yaml` or `.yml`; what they set is held against `base`.
    ///
    /// # Errors
    /// `Fatal` if a file or folder cannot be read; what is wrong inside is in the faults.
    pub fn read(paths: &[PathBuf], base: &Tuning) -> Result<Self, PortError> {
        let mut files = Vec::new();
        for path in paths {
            find(path, true, &mut files)?;
        }
        files.sort();
        files.dedup();
        let mut policies = Self { files: files.len(), ..Self::default() };
        for path in &files {
            let text = std::fs::read(path).map_err(|error| unreadable(path, &error))?;
            policies.add(&path.display().to_string(), &text);
        }
        policies.check(base);
        Ok(policies)
    }

    /// Those of which nothing is wrong.
    ///
    /// # Errors
    /// `Fatal`: what is wrong, one line a fault.
    pub fn sound(self) -> Result<Self, PortError> {
        if self.faults.is_empty() {
            return Ok(self);
        }
        let faults = self.faults.iter().map(ToString::to_string).collect::<Vec<_>>();
        Err(PortError::Fatal(faults.join("\n")))
    }

    /// Adds the documents of one file's text; they are to be checked then.
    pub fn add(&mut self, file: &str, text: &[u8]) {
        let mut faults = Faults::of(file);
        let start = Place { line: 1, column: 1 };
        if text.len() > yaml::MAX_FILE_BYTES {
            faults.add(start, format!("the file has more than {} bytes", yaml::MAX_FILE_BYTES), "split it instead");
        } else if let Ok(text) = std::str::from_utf8(text) {
            let nodes = yaml::documents(text, &mut faults);
            if nodes.is_empty() && faults.all.is_empty() {
                faults.add(start, "there is no document here", "write one, or remove the file, instead");
            }
            self.documents.extend(nodes.iter().filter_map(|node| Document::read(node, file, &mut faults)));
        } else {
            faults.add(start, "the file is not UTF-8", "save it as UTF-8 instead");
        }
        self.faults.extend(faults.all);
    }

    /// Holds documents against each other, and what they set over `base` against the bounds.
    pub fn check(&mut self, base: &Tuning) {
        self.documents.sort_by(|a, b| (a.kind, &a.name, &a.file, a.at).cmp(&(b.kind, &b.name, &b.file, b.at)));
        let found = [self.twice(), self.too_many(), self.dangling(), self.together(base)].concat();
        self.faults.extend(found);
        self.faults.sort();
    }

    /// Names that are there twice, and what is set twice.
    fn twice(&self) -> Vec<Fault> {
        let mut found = Vec::new();
        let mut say = |document: &Document, at: Place, what: String, fix: &str| {
            found.push(Fault { file: document.file.clone(), at, what, fix: fix.to_owned() });
        };
        for pair in self.documents.windows(2).filter(|pair| pair[0].id() == pair[1].id()) {
            let what = format!("there is a {} already, in {}:{}", pair[1].id(), pair[0].file, pair[0].at.line);
            say(&pair[1], pair[1].at, what, "give one of them another name instead");
        }
        let mut set = BTreeMap::<String, (&Document, Place)>::new();
        for document in &self.documents {
            let settings = document.settings().iter().map(|setting| (setting.name(), setting.at));
            let series = match &document.spec {
                Spec::Signal(signal) => Some((format!("the signal {}", signal.series), document.at)),
                _ => None,
            };
            for (name, at) in settings.chain(series) {
                let Some((other, first)) = set.insert(name.clone(), (document, at)) else { continue };
                let place = format!("{} ({}:{})", other.id(), other.file, first.line);
                say(document, at, format!("{name} is set by {place}, too"), "set it once instead");
            }
        }
        let has_signals = self.documents.iter().any(|it| matches!(it.spec, Spec::Signal(_)));
        if let Some((document, at)) = set.get(&PAGING_SIGNALS.join(".")).filter(|_| has_signals) {
            let what = "there are Signals, and they say which of them page".to_owned();
            say(document, *at, what, "write a Signal for each of these instead");
        }
        found
    }

    /// More receivers than are told.
    fn too_many(&self) -> Vec<Fault> {
        let receivers = self.documents.iter().filter(|it| matches!(it.spec, Spec::Receiver(_)));
        let beyond = receivers.skip(MAX_RECEIVERS).take(1).map(|it| Fault {
            file: it.file.clone(),
            at: it.at,
            what: format!("there are more than {MAX_RECEIVERS} receivers"),
            fix: "write fewer of them".to_owned(),
        });
        beyond.collect()
    }

    /// Policies that a scenario names, and that are not there.
    fn dangling(&self) -> Vec<Fault> {
        let known = self.documents.iter().filter(|it| !matches!(it.spec, Spec::Scenario(_))).map(Document::id);
        let known = known.collect::<Vec<_>>();
        let known = known.iter().map(String::as_str).collect::<Vec<_>>();
        let mut found = Vec::new();
        for document in &self.documents {
            let Spec::Scenario(scenario) = &document.spec else { continue };
            let mut faults = Faults::of(&document.file);
            for (name, at) in scenario.policies.iter().filter(|(name, _)| !known.contains(&name.as_str())) {
                faults.unknown(*at, format!("there is no `{name}` among what was read"), name, &known);
            }
            found.extend(faults.all);
        }
        found
    }

    /// Bounds that are broken over `base`, at the setting that breaks them.
    fn together(&self, base: &Tuning) -> Vec<Fault> {
        let Ok(tuning) = base.with_unchecked(&self.settings()) else { return Vec::new() };
        let settings = || self.documents.iter().flat_map(|it| it.settings().iter().map(move |setting| (it, setting)));
        let mut found = Vec::new();
        for rule in tuning.faults() {
            let field = rule.split(':').next().unwrap_or_default();
            let is_meant = |name: &str| name == field || name.starts_with(&format!("{field}."));
            // Of several settings that one bound speaks of, the one that breaks it alone.
            let breaks = |setting: &Setting| {
                base.with_unchecked(&setting.alone()).is_ok_and(|tuning| tuning.faults().contains(&rule))
            };
            let meant = || settings().filter(|(_, setting)| is_meant(&setting.name()));
            let meant = meant().find(|(_, setting)| breaks(setting)).or_else(|| meant().next());
            if let Some((document, setting)) = meant {
                let mut faults = Faults::of(&document.file);
                setting.breaks(rule, &mut faults);
                found.extend(faults.all);
            } else if let Some((document, setting)) = settings().find(|(_, setting)| rule.contains(&setting.name())) {
                let what = format!("with {}: {} another field is out of range", setting.name(), setting.value);
                let fix = format!("write that one, too: {rule}");
                found.push(Fault { file: document.file.clone(), at: setting.at, what, fix });
            }
        }
        found
    }

    fn settings(&self) -> String {
        let mut settings = Map::new();
        self.documents.iter().flat_map(Document::settings).for_each(|setting| setting.put(&mut settings));
        let signals = self.documents.iter().filter_map(|document| match &document.spec {
            Spec::Signal(signal) => Some((document, signal)),
            _ => None,
        });
        if let Some((document, _)) = signals.clone().next() {
            let paging = signals.filter(|(_, signal)| signal.pages).map(|(_, signal)| signal.series.as_str());
            let paging = paging.collect::<BTreeSet<_>>();
            Setting::new(&PAGING_SIGNALS, document.at, json!(paging)).put(&mut settings);
        }
        Json::Object(settings).to_string()
    }

    /// Only the documents with these names (`Kind/name`), without what is wrong.
    pub fn only(&self, names: &[String]) -> Self {
        let documents = self.documents.iter().filter(|document| names.contains(&document.id())).cloned();
        Self { documents: documents.collect(), faults: Vec::new(), files: self.files }
    }

    /// What they amount to over `base`.
    ///
    /// # Errors
    /// `Fatal` if there is more than an order can bring, or it breaks a bound of `base`.
    pub fn compile(&self, base: &Tuning) -> Result<Compiled, PortError> {
        let rules = self.documents.iter().filter(|document| !matches!(document.spec, Spec::Scenario(_)));
        let documents = rules.clone().map(|document| document.json.clone()).collect::<Json>().to_string();
        let settings = self.settings();
        if documents.len() > MAX_DOCUMENTS_BYTES || settings.len() > MAX_SETTINGS_BYTES {
            let what = format!("a policy has at most {MAX_DOCUMENTS_BYTES} bytes of documents: write fewer of them");
            return Err(PortError::Fatal(what));
        }
        base.with(&settings).map_err(PortError::Fatal)?;
        let maintenance = rules.filter_map(|document| match &document.spec {
            Spec::Maintenance { service, interval_us } => Some((service.clone(), *interval_us)),
            _ => None,
        });
        let sha256 = documents_sha256(&documents);
        Ok(Compiled { maintenance: maintenance.collect(), documents, sha256, settings })
    }
}

/// The text of a file.
///
/// # Errors
/// `Fatal` if it cannot be read, is too long or not UTF-8.
pub fn text_of(path: &Path) -> Result<String, PortError> {
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(path, &error))?;
    if text.len() > yaml::MAX_FILE_BYTES {
        return Err(PortError::Fatal(format!("{} has more than {} bytes", path.display(), yaml::MAX_FILE_BYTES)));
    }
    Ok(text)
}

/// Files below `path`; one that was `named` is read whatever it is called.
fn find(path: &Path, named: bool, files: &mut Vec<PathBuf>) -> Result<(), PortError> {
    if path.is_dir() {
        for entry in path.read_dir().map_err(|error| unreadable(path, &error))? {
            find(&entry.map_err(|error| unreadable(path, &error))?.path(), false, files)?;
        }
    } else if named || path.extension().is_some_and(|end| end == "yaml" || end == "yml") {
        files.push(path.to_owned());
    }
    if files.len() > MAX_FILES {
        return Err(PortError::Fatal(format!("more than {MAX_FILES} files: name the folder with the policies alone")));
    }
    Ok(())
}

fn unreadable(path: &Path, error: &std::io::Error) -> PortError {
    PortError::Fatal(format!("reading {}: {error}", path.display()))
}
