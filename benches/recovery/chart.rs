//! The two distributions as one picture: which part of the incidents was over how soon, on a logarithmic axis of time.

use crate::report::Row;
use crate::svg::{BOTTOM, LEFT, Page, RIGHT, TOP};

/// From left to right, s.
const TICKS: [(f64, &str); 7] = [
    (1.0, "1 s"),
    (10.0, "10 s"),
    (60.0, "1 min"),
    (600.0, "10 min"),
    (3_600.0, "1 h"),
    (21_600.0, "6 h"),
    (86_400.0, "24 h"),
];

const COLOURS: [&str; 2] = ["#c62828", "#2e7d32"];

/// Draws how soon users were well again, with automation off and on.
pub fn draw(rows: &[Row]) -> String {
    let mut page = Page::new((0, along(86_400.0) as i64), 100.0, 2);
    page.words((LEFT, 24.0), "start", "font-size=\"15\"", "From the onset of a fault until users are well again");
    let about = format!("part of {} seeded incidents of the simulated shop that was over by then, %", rows.len());
    page.words((LEFT, 44.0), "start", "fill=\"#555\"", &about);
    for percent in [0.0, 25.0, 50.0, 75.0, 100.0] {
        let y = page.y(percent);
        page.put(format_args!("<path d=\"M{LEFT} {y:.1}H{RIGHT}\" stroke=\"#e4e4e4\"/>"));
        page.words((LEFT - 6.0, y + 4.0), "end", "", &format!("{percent}"));
    }
    for (at_s, label) in TICKS {
        let x = page.x(along(at_s));
        page.put(format_args!("<path d=\"M{x:.1} {TOP}V{BOTTOM}\" stroke=\"#efefef\"/>"));
        page.words((x, BOTTOM + 16.0), "middle", "", label);
    }
    let words = ["automation off (observe): a person mends it, 30 min median assumed", "automation on (auto)"];
    for (mode, colour) in COLOURS.into_iter().enumerate() {
        let over_s = Row::well_s(rows, mode);
        page.line(&steps(&over_s, rows.len()), &format!("stroke=\"{colour}\" stroke-width=\"2\""));
        let y = Page::lane(mode) + 12.0;
        page.rect((LEFT, LEFT + 24.0), (y - 6.0, y - 3.0), &format!("fill=\"{colour}\""));
        page.words((LEFT + 32.0, y), "start", "", words[mode]);
    }
    page.finish()
}

/// Where a time lies: a second at 0, ten times as long 1,000 further.
fn along(at_s: f64) -> f64 {
    1_000.0 * libm::log10(at_s.max(1.0))
}

/// The empirical distribution of `over_s`, ascending, of which `all` could be: a stair.
fn steps(over_s: &[f64], all: usize) -> Vec<(f64, f64)> {
    let share = |count: usize| 100.0 * count as f64 / all as f64;
    let stairs = over_s.iter().enumerate().flat_map(|(before, at_s)| {
        let x = along(*at_s);
        [(x, share(before)), (x, share(before + 1))]
    });
    std::iter::once((0.0, 0.0)).chain(stairs).chain([(along(86_400.0), share(over_s.len()))]).collect()
}
