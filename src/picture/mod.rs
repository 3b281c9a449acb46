//! Pictures of a series over time, as self-contained SVG: a line, a band it was expected in, marks and shaded
//! intervals.
//!
//! # Decision
//! Own code: axes, one line and a few shapes; the plotting crates bring fonts and rasterisers. A picture has at most
//! some thousand points however long the series is: of every column of pixels the first, lowest, highest and last value
//! are drawn, which looks the same.

mod scale;

use scale::{Axis, time_label};
use std::fmt::Write;

const WIDTH: f64 = 1200.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 78.0;
const RIGHT: f64 = 18.0;
const TOP: f64 = 58.0;
const BOTTOM: f64 = 48.0;
/// Columns that points are gathered in; four points of each are drawn at most.
const COLUMNS: usize = 1_100;
/// Marks and intervals of a picture; what comes after is counted below the title.
const MOST_MARKS: usize = 500;

/// What is drawn. Times are seconds since the Unix epoch, in order.
#[derive(Clone, Debug, Default)]
pub struct Picture {
    /// Above the picture.
    pub title: String,
    /// What the values are, with their unit.
    pub value_label: String,
    /// `(at_s, value)`.
    pub points: Vec<(f64, f64)>,
    /// `(at_s, low, high)`: where values were expected.
    pub band: Vec<(f64, f64, f64)>,
    /// Moments worth a look.
    pub marks: Vec<Mark>,
    /// Intervals that are shaded.
    pub intervals: Vec<Interval>,
}

/// A moment worth a look.
#[derive(Clone, Debug)]
pub struct Mark {
    /// When, s.
    pub at_s: f64,
    /// The value there.
    pub value: f64,
    /// What is said of it, when pointed at.
    pub label: String,
}

/// A shaded interval.
#[derive(Clone, Debug)]
pub struct Interval {
    /// Its begin, s.
    pub from_s: f64,
    /// Its end, s.
    pub to_s: f64,
    /// What is said of it, when pointed at.
    pub label: String,
}

impl Picture {
    /// The picture as SVG.
    pub fn svg(&self) -> String {
        let time = Axis::new(self.points.iter().map(|point| point.0), LEFT, WIDTH - RIGHT);
        // The line sets the height; a band may reach out of the picture, so that one wild forecast does not flatten the line.
        let value = Axis::new(self.points.iter().map(|point| point.1), HEIGHT - BOTTOM, TOP).with_room();
        let mut svg = String::new();
        self.head(&mut svg);
        self.draw_intervals(&mut svg, &time);
        self.draw_axes(&mut svg, &time, &value);
        let _ = write!(svg, "<g clip-path=\"url(#plot)\">");
        self.draw_band(&mut svg, &time, &value);
        self.draw_line(&mut svg, &time, &value);
        let _ = write!(svg, "</g>");
        self.draw_marks(&mut svg, &time, &value);
        svg.push_str("</svg>\n");
        svg
    }

    fn head(&self, svg: &mut String) {
        let (width, height) = (WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM);
        let _ = write!(
            svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
             font-family=\"system-ui, sans-serif\" font-size=\"12\" fill=\"#1f2933\">\
             <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\
             <clipPath id=\"plot\"><rect x=\"{LEFT}\" y=\"{TOP}\" width=\"{width}\" height=\"{height}\"/></clipPath>\
             <text x=\"{LEFT}\" y=\"22\" font-size=\"16\" font-weight=\"600\">{}</text>",
            escape(&self.title)
        );
        self.legend(svg);
    }

    fn legend(&self, svg: &mut String) {
        let mut x = LEFT;
        let mut entry = |shown: bool, swatch: &str, words: String| {
            if shown {
                let _ =
                    write!(svg, "<g transform=\"translate({x} 42)\">{swatch}<text x=\"24\" y=\"4\">{words}</text></g>");
                x += 44.0 + 6.6 * words.len() as f64;
            }
        };
        entry(true, "<path d=\"M0 0H18\" stroke=\"#1d4ed8\" stroke-width=\"2\"/>", escape(&self.value_label));
        entry(
            !self.band.is_empty(),
            "<rect y=\"-6\" width=\"18\" height=\"12\" fill=\"#9fb3c8\" opacity=\"0.6\"/>",
            "expected".into(),
        );
        let count = |count: usize| {
            if count > MOST_MARKS {
                format!("{count} alerts, the first {MOST_MARKS} drawn")
            } else {
                format!("{count} alerts")
            }
        };
        entry(!self.marks.is_empty(), "<circle cx=\"9\" r=\"5\" fill=\"#c81e1e\"/>", count(self.marks.len()));
        let first = self.intervals.first().map_or(String::new(), |interval| escape(&interval.label));
        entry(
            !self.intervals.is_empty(),
            "<rect y=\"-6\" width=\"18\" height=\"12\" fill=\"#f6c344\" opacity=\"0.45\"/>",
            first,
        );
    }

    fn draw_intervals(&self, svg: &mut String, time: &Axis) {
        for interval in self.intervals.iter().take(MOST_MARKS) {
            let (from, to) = (time.at(interval.from_s).max(LEFT), time.at(interval.to_s).min(WIDTH - RIGHT));
            let (width, height) = ((to - from).max(1.0), HEIGHT - TOP - BOTTOM);
            let _ = write!(
                svg,
                "<rect x=\"{from:.1}\" y=\"{TOP}\" width=\"{width:.1}\" height=\"{height}\" fill=\"#f6c344\" opacity=\"0.35\">\
                 <title>{}</title></rect>",
                escape(&interval.label)
            );
        }
    }

    fn draw_axes(&self, svg: &mut String, time: &Axis, value: &Axis) {
        let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
        for (number, label) in value.ticks() {
            let y = value.at(number);
            let _ = write!(
                svg,
                "<path d=\"M{LEFT} {y:.1}H{right}\" stroke=\"#e4e7eb\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
                LEFT - 8.0,
                y + 4.0
            );
        }
        for (at_s, label) in time.time_ticks() {
            let x = time.at(at_s);
            let _ = write!(
                svg,
                "<path d=\"M{x:.1} {bottom}v5\" stroke=\"#52606d\"/>\
                 <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>",
                bottom + 19.0
            );
        }
        let _ = write!(svg, "<path d=\"M{LEFT} {TOP}V{bottom}H{right}\" fill=\"none\" stroke=\"#52606d\"/>");
        let _ = write!(
            svg,
            "<text x=\"{right}\" y=\"{}\" text-anchor=\"end\" fill=\"#52606d\">time, UTC</text>",
            HEIGHT - 8.0
        );
    }

    fn draw_band(&self, svg: &mut String, time: &Axis, value: &Axis) {
        let column = |at_s: f64| time.at(at_s).round() as i64;
        let mut edges: Vec<(f64, f64, f64)> = Vec::new();
        for (at_s, low, high) in &self.band {
            match edges.last_mut() {
                Some(last) if column(last.0) == column(*at_s) => {
                    (last.1, last.2) = (last.1.min(*low), last.2.max(*high))
                }
                _ => edges.push((*at_s, *low, *high)),
            }
        }
        let upper = edges.iter().map(|(at_s, _, high)| (*at_s, *high));
        let lower = edges.iter().rev().map(|(at_s, low, _)| (*at_s, *low));
        let path = path(upper.chain(lower), time, value);
        if !path.is_empty() {
            let _ = write!(svg, "<path d=\"{path}Z\" fill=\"#9fb3c8\" opacity=\"0.5\"/>");
        }
    }

    fn draw_line(&self, svg: &mut String, time: &Axis, value: &Axis) {
        let line = path(thinned(&self.points, time).into_iter(), time, value);
        let _ = write!(
            svg,
            "<path d=\"{line}\" fill=\"none\" stroke=\"#1d4ed8\" stroke-width=\"1\" stroke-linejoin=\"round\"/>"
        );
    }

    fn draw_marks(&self, svg: &mut String, time: &Axis, value: &Axis) {
        for mark in self.marks.iter().take(MOST_MARKS) {
            let (x, y) = (time.at(mark.at_s), value.at(mark.value));
            let _ = write!(
                svg,
                "<path d=\"M{x:.1} {TOP}V{y:.1}\" stroke=\"#c81e1e\" stroke-dasharray=\"2 3\"/>\
                 <circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4.5\" fill=\"#c81e1e\" stroke=\"#ffffff\"><title>{} {}</title></circle>",
                time_label(mark.at_s),
                escape(&mark.label)
            );
        }
    }
}

/// Of every column of pixels the first, lowest, highest and last point, in order of time.
fn thinned(points: &[(f64, f64)], time: &Axis) -> Vec<(f64, f64)> {
    if points.len() <= 4 * COLUMNS {
        return points.to_vec();
    }
    let column = |point: &(f64, f64)| time.at(point.0).floor() as i64;
    let of_column = |points: &[(f64, f64)]| {
        let index = |better: fn(f64, f64) -> bool| {
            (0..points.len()).fold(0, |best, at| if better(points[at].1, points[best].1) { at } else { best })
        };
        let mut kept = [0, index(|value, best| value < best), index(|value, best| value > best), points.len() - 1];
        kept.sort_unstable();
        kept.map(|at| points[at])
    };
    points.chunk_by(|one, other| column(one) == column(other)).flat_map(of_column).collect()
}

fn path(points: impl Iterator<Item = (f64, f64)>, time: &Axis, value: &Axis) -> String {
    let mut path = String::new();
    for (at_s, number) in points {
        // Far outside is as good as farther outside, and some programs cannot draw there.
        let y = value.at(number).clamp(-10.0 * HEIGHT, 10.0 * HEIGHT);
        let _ = write!(path, "{}{:.1} {y:.1}", if path.is_empty() { 'M' } else { 'L' }, time.at(at_s));
    }
    path
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
