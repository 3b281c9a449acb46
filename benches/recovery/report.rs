//! The tables: Markdown, or a line of JSON an incident.

use crate::play::{COMPLAINT_US, Course};
use crate::users::NORMAL_S;
use evenkeel::shop::{Fault, FaultKind};
use serde_json::{Value, json};
use std::fmt::Write;

/// An incident, and what came of it with automation off and on.
pub struct Row {
    pub number: u64,
    pub fault: Fault,
    pub courses: [Course; 2],
}

impl Row {
    /// How long users were not well, s ascending, of those incidents in which they were again; of one mode.
    pub fn well_s<'r>(rows: impl IntoIterator<Item = &'r Self>, mode: usize) -> Vec<f64> {
        sorted(rows.into_iter().map(|row| row.courses[mode].well_us))
    }

    fn whom(&self) -> &str {
        self.fault.node.as_ref().unwrap_or(&self.fault.service)
    }

    fn helps(&self) -> bool {
        self.fault.expects.is_some()
    }

    /// One line for who watches.
    pub fn line(&self) -> String {
        let [off, on] = &self.courses;
        let well = |course: &Course| course.well_us.map_or("never".to_owned(), |us| duration(us as f64 / 1e6));
        let helps = if self.helps() { "" } else { ", no command helps" };
        let (kind, whom, strength) = (self.fault.kind.name(), self.whom(), self.fault.strength);
        format!("{}: {kind} of {whom} ({strength} %{helps}): well after {} and {}", self.number, well(off), well(on))
    }

    /// All of it.
    pub fn json(&self) -> Value {
        let course = |it: &Course| {
            json!({
                "page_us": it.page_us, "command_us": it.command_us, "well_us": it.well_us, "person_us": it.person_us,
                "escalated_us": it.escalated_us, "commands": it.commands, "wrong": it.wrong, "false_pages": it.false_pages,
                "failed": it.failed, "slow": it.slow, "automatic": it.is_automatic(),
            })
        };
        let Self { number, fault, courses: [off, on] } = self;
        json!({
            "incident": number, "kind": fault.kind.name(), "service": fault.service, "node": fault.node,
            "strength": fault.strength, "helps": self.helps(), "observe": course(off), "auto": course(on),
        })
    }
}

/// Groups of incidents: all, those that some command mends and those that none does, and by kind.
fn groups(rows: &[Row]) -> Vec<(String, Vec<&Row>)> {
    let of = |name: &str, is: &dyn Fn(&Row) -> bool| {
        (name.to_owned(), rows.iter().filter(|row| is(row)).collect::<Vec<_>>())
    };
    let mut groups = vec![
        of("all", &|_| true),
        of("a command mends it", &Row::helps),
        of("only a person mends it", &|row| !row.helps()),
    ];
    for kind in FaultKind::ALL {
        for (single, whose) in [(true, "of a node"), (false, "of a service")] {
            let is = |row: &Row| row.helps() && row.fault.kind == kind && row.fault.node.is_some() == single;
            groups.push(of(&format!("{} {whose}, a command mends it", kind.name()), &is));
        }
    }
    groups.retain(|(_, rows)| !rows.is_empty());
    groups
}

/// The tables as Markdown.
pub fn table(rows: &[Row]) -> String {
    let mut out = String::from(
        "Time to recovery, from the onset:\n\n| incidents | | off: p50 | mean | p90 | p99 | on: p50 | mean | p90 | p99 |\n\
         |---|---|---|---|---|---|---|---|---|---|\n",
    );
    for (name, rows) in groups(rows) {
        let times = [0, 1].map(|mode| {
            let well_s = Row::well_s(rows.iter().copied(), mode);
            [at(&well_s, 0.5), mean(&well_s), at(&well_s, 0.9), at(&well_s, 0.99)].map(cell).join(" | ")
        });
        writeln!(out, "| {name} | {} | {} | {} |", rows.len(), times[0], times[1]).expect("memory takes every byte");
    }
    out.push_str(
        "\nThe machine alone, and what it spared users:\n\n| incidents | | to the page p50 / p90 | to the first command | \
         users well without a person | escalated | commands | wrong | false pages | failed requests off | on | slow off | on |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for (name, rows) in groups(rows) {
        let sum = |mode: usize, of: fn(&Course) -> u64| rows.iter().map(|row| of(&row.courses[mode])).sum::<u64>();
        let count = |is: fn(&Course) -> bool| rows.iter().filter(|row| is(&row.courses[1])).count();
        let pages = sorted(rows.iter().map(|row| row.courses[1].page_us));
        let unpaged = rows.len() - pages.len();
        let unpaged = if unpaged > 0 { format!(" ({unpaged} nobody)") } else { String::new() };
        let first = sorted(rows.iter().map(|row| row.courses[1].command_us));
        let automatic = count(Course::is_automatic) as f64 * 100.0 / rows.len() as f64;
        let false_pages = sum(0, |it| it.false_pages) + sum(1, |it| it.false_pages);
        writeln!(
            out,
            "| {name} | {} | {} / {}{unpaged} | {} / {} | {automatic:.0} % | {} | {} | {} | {false_pages} | {} | {} | {} | {} |",
            rows.len(),
            cell(at(&pages, 0.5)),
            cell(at(&pages, 0.9)),
            cell(at(&first, 0.5)),
            cell(at(&first, 0.9)),
            count(|it| it.escalated_us.is_some()),
            sum(1, |it| it.commands),
            sum(1, |it| it.wrong),
            sum(0, |it| it.failed),
            sum(1, |it| it.failed),
            sum(0, |it| it.slow),
            sum(1, |it| it.slow),
        )
        .expect("memory takes every byte");
    }
    out
}

/// The page.
pub fn page(rows: &[Row], seed: u64, person_min: f64) -> String {
    let complaint_min = COMPLAINT_US / 60_000_000;
    format!(
        "# Recovery with automation off and on\n\n\
         `cargo bench --bench recovery -- --incidents {} --seed {seed} --person {person_min} --out benches/recovery`\n\n\
         ![distributions of the time to recovery](recovery.svg)\n\n\
         Each incident is one fault of the simulated shop ([`src/shop/`](../../src/shop)): an error burst of a node or a \
         service, a latency step, a pool that runs out, a dead node; its service, strength (40 to 200 % of the kind's own), \
         onset and the load are drawn from the seed. It is played twice through the engine with its default tuning: *off* is \
         mode `observe`, *on* is mode `auto`.\n\n\
         **What is assumed, not measured:** the fault that is not mended by a command lasts until a person mends it. A person \
         starts with the page (without one: with users' complaints after {complaint_min} min) and takes a log-normal time, \
         median {person_min} min, a tenth 2.8 times as long or longer; the same time for the same incident off and on. All of \
         the columns *off* rest on it, and in *on* those of incidents that only a person mends. The shop's faults leave when \
         the right command takes effect, which those of a real system may not; that 15 % are beyond every command is drawn, \
         too. What does not rest on people is in the second table: when somebody was paged, when the first command was \
         issued, what was wrong.\n\n\
         **Recovered** is when users of the service at fault are well again, for {NORMAL_S} s: in each of three times ten \
         seconds at most 5 % of requests failed, were turned away by an open circuit, or took longer than 99 of 100 did on \
         their route before, and every node gave its heartbeat every second. What was mended before users noticed lasted until \
         it was mended. A circuit that keeps a failing node from users is a recovery for users, not the end of the fault.\n\n\
         **Wrong** is a command for another service, of a kind that mends no such fault, or for more than is at fault. Commands \
         that came in vain, since only a person could mend it, are counted under commands. False pages of *off* are those until somebody was paged. Failed and slow requests are those \
         of seconds in which more than 5 % (and two) were so.\n\n{}",
        rows.len(),
        table(rows)
    )
}

fn sorted(us: impl Iterator<Item = Option<i64>>) -> Vec<f64> {
    let mut seconds = us.flatten().map(|us| us as f64 / 1e6).collect::<Vec<_>>();
    seconds.sort_by(f64::total_cmp);
    seconds
}

/// The nearest rank.
fn at(sorted: &[f64], part: f64) -> Option<f64> {
    let rank = libm::ceil(part * sorted.len() as f64) as usize;
    sorted.get(rank.max(1) - 1).copied()
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

fn cell(seconds: Option<f64>) -> String {
    seconds.map_or("–".to_owned(), duration)
}

fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 99.95 => format!("{s:.1} s"),
        s if s < 5_970.0 => format!("{:.1} min", s / 60.0),
        s => format!("{:.1} h", s / 3_600.0),
    }
}
