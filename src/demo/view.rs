//! What the demo shows while it runs: a redrawn screen on a terminal, plain lines elsewhere.

use evenkeel_dataflows::Changes;
use evenkeel_schemas::{Baseline, Command, Dataset, Incident, IncidentState};
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;
use std::io::{IsTerminal, Write as _};
use std::time::{Duration, Instant};

/// Lines of news kept on the screen.
const NEWS: usize = 12;

/// The newest of everything that is shown.
pub struct View {
    start_us: i64,
    shown: Option<Instant>,
    started: Instant,
    services: BTreeMap<String, (f64, f64, u64)>,
    news: VecDeque<String>,
    fresh: Vec<String>,
    open: BTreeMap<String, String>,
    records: u64,
    now_us: i64,
    mode: Mode,
}

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Screen,
    Lines,
    Silent,
}

impl View {
    /// A view of a run that begins at `start_us`; silent for scripts.
    pub fn new(start_us: i64, silent: bool) -> Self {
        let mode = match (silent, std::io::stdout().is_terminal()) {
            (true, _) => Mode::Silent,
            (false, true) => Mode::Screen,
            (false, false) => Mode::Lines,
        };
        let (services, news, open) = (BTreeMap::new(), VecDeque::new(), BTreeMap::new());
        let (shown, started, fresh) = (None, Instant::now(), Vec::new());
        Self { start_us, shown, started, services, news, fresh, open, records: 0, now_us: start_us, mode }
    }

    /// Takes in committed epochs.
    pub fn take(&mut self, epochs: &[Changes]) {
        for changes in epochs {
            self.records += changes.records;
            self.now_us = changes.binding.now_us;
            for output in &changes.outputs {
                match output.dataset {
                    Dataset::Baselines => self.baseline(&output.value),
                    Dataset::Incidents => self.incident(&output.value),
                    Dataset::Commands => self.command(&output.value),
                    _ => {}
                }
            }
        }
    }

    fn baseline(&mut self, value: &[u8]) {
        let Ok(baseline) = serde_json::from_slice::<Baseline>(value) else { return };
        if baseline.key.0.len() == 1 {
            let (_, window) = &baseline.windows[0];
            let errors = window.errors as f64 * 100.0 / window.requests.max(1) as f64;
            let row = (window.requests as f64 / 10.0, errors, window.p99_us);
            self.services.insert(baseline.key.service().to_owned(), row);
        }
    }

    fn incident(&mut self, value: &[u8]) {
        let Ok(incident) = serde_json::from_slice::<Incident>(value) else { return };
        let what = format!("{:?} on {}", incident.cause.detector, incident.cause.key);
        if incident.state == IncidentState::Resolved {
            self.open.remove(&incident.incident_id);
        } else {
            self.open.insert(incident.incident_id.clone(), what.clone());
        }
        let state = format!("{:?}", incident.state).to_lowercase();
        self.tell(incident.at_us, format!("{} {state}: {what} — {}", incident.incident_id, incident.cause.evidence));
    }

    fn command(&mut self, value: &[u8]) {
        let Ok(command) = serde_json::from_slice::<Command>(value) else { return };
        let Command { command_id, kind, target, mode, state, .. } = &command;
        let text = format!("{command_id} {kind:?} {target} {state:?} ({mode:?})");
        self.tell(command.at_us, text);
    }

    fn tell(&mut self, at_us: i64, text: String) {
        let line = format!("{:>7.1} s  {text}", (at_us - self.start_us) as f64 / 1e6);
        if self.news.len() == NEWS {
            self.news.pop_front();
        }
        self.news.push_back(line.clone());
        self.fresh.push(line);
    }

    /// Shows what is new, if it is time.
    pub fn show(&mut self, behind_us: i64) {
        let every = Duration::from_millis(if self.mode == Mode::Screen { 250 } else { 5_000 });
        let due = self.shown.is_none_or(|shown| shown.elapsed() >= every);
        match self.mode {
            Mode::Silent => {}
            Mode::Lines => {
                for line in self.fresh.drain(..) {
                    println!("{line}");
                }
                if due {
                    println!("{}", self.headline(behind_us));
                }
            }
            Mode::Screen if due => {
                let mut out = std::io::stdout().lock();
                // Home, draw, clear what is below: no flicker. A closed terminal ends the demo elsewhere.
                drop(write!(out, "\x1b[H{}\x1b[J", self.screen(behind_us).replace('\n', "\x1b[K\n")));
                drop(out.flush());
            }
            Mode::Screen => {}
        }
        if due {
            self.shown = Some(Instant::now());
        }
    }

    fn headline(&self, behind_us: i64) -> String {
        let second = (self.now_us - self.start_us) as f64 / 1e6;
        let rate = self.records as f64 / self.started.elapsed().as_secs_f64().max(0.001);
        format!(
            "{second:>7.1} s  {} events, {rate:.0} events/s, lag {:.2} s, {} open incidents",
            self.records,
            behind_us as f64 / 1e6,
            self.open.len()
        )
    }

    fn screen(&self, behind_us: i64) -> String {
        let mut text = format!("evenkeel demo\n{}\n\n", self.headline(behind_us));
        let _ = writeln!(text, "{:<12} {:>10} {:>9} {:>10}", "service", "requests/s", "errors", "p99");
        for (service, (rate, errors, p99_us)) in &self.services {
            let troubled = self.open.values().any(|what| what.contains(service.as_str()));
            let mark = if troubled { " ◄" } else { "" };
            let p99_ms = *p99_us as f64 / 1e3;
            let _ = writeln!(text, "{service:<12} {rate:>10.0} {errors:>8.1}% {p99_ms:>7.1} ms{mark}");
        }
        text.push('\n');
        self.news.iter().for_each(|line| text = std::mem::take(&mut text) + line + "\n");
        text
    }
}
