//! The little of SVG that a picture needs: a chart over time with lanes below it.

use std::fmt::Write;

/// Where the chart lies on the page, px.
pub const WIDTH: f64 = 960.0;
pub const LEFT: f64 = 118.0;
pub const RIGHT: f64 = 940.0;
pub const TOP: f64 = 64.0;
pub const BOTTOM: f64 = 250.0;

/// Height of a lane, px.
pub const LANE: f64 = 16.0;

/// A page with a span of time from left to right and values up to `high`.
pub struct Page {
    text: String,
    from_s: f64,
    to_s: f64,
    high: f64,
    height: f64,
}

impl Page {
    pub fn new((from_s, to_s): (i64, i64), high: f64, lanes: usize) -> Self {
        let height = BOTTOM + 34.0 + lanes as f64 * LANE + 10.0;
        let text = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
             height=\"{height}\" font-family=\"sans-serif\" font-size=\"12\" fill=\"#222\">\n\
             <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>\n"
        );
        Self { text, from_s: from_s as f64, to_s: to_s as f64, high, height }
    }

    pub fn x(&self, at_s: f64) -> f64 {
        let share = (at_s - self.from_s) / (self.to_s - self.from_s);
        LEFT + share.clamp(0.0, 1.0) * (RIGHT - LEFT)
    }

    pub fn y(&self, value: f64) -> f64 {
        BOTTOM - (value / self.high).clamp(0.0, 1.0) * (BOTTOM - TOP)
    }

    /// Where lane `number` begins, px.
    pub fn lane(number: usize) -> f64 {
        BOTTOM + 30.0 + number as f64 * LANE
    }

    pub fn put(&mut self, words: std::fmt::Arguments<'_>) {
        self.text.write_fmt(words).expect("memory takes every byte");
        self.text.push('\n');
    }

    pub fn words(&mut self, (x, y): (f64, f64), anchor: &str, style: &str, words: &str) {
        let words = words.replace('&', "&amp;").replace('<', "&lt;");
        self.put(format_args!("<text x=\"{x:.0}\" y=\"{y:.0}\" text-anchor=\"{anchor}\" {style}>{words}</text>"));
    }

    pub fn rect(&mut self, (x0, x1): (f64, f64), (y0, y1): (f64, f64), style: &str) {
        let (width, height) = ((x1 - x0).max(1.0), y1 - y0);
        self.put(format_args!(
            "<rect x=\"{x0:.1}\" y=\"{y0:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" {style}/>"
        ));
    }

    /// A line through points (s, value).
    pub fn line(&mut self, points: &[(f64, f64)], style: &str) {
        let path = self.path(points.iter().copied());
        self.put(format_args!("<polyline points=\"{path}\" fill=\"none\" {style}/>"));
    }

    /// An area between low and high values: (s, low, high).
    pub fn area(&mut self, points: &[(f64, f64, f64)], style: &str) {
        let there = points.iter().map(|(at, _, high)| (*at, *high));
        let back = points.iter().rev().map(|(at, low, _)| (*at, *low));
        let path = self.path(there.chain(back));
        self.put(format_args!("<polygon points=\"{path}\" {style}/>"));
    }

    fn path(&self, points: impl Iterator<Item = (f64, f64)>) -> String {
        let mut path = String::new();
        for (at_s, value) in points {
            write!(path, "{:.1},{:.1} ", self.x(at_s), self.y(value)).expect("memory takes every byte");
        }
        path.trim_end().to_owned()
    }

    /// Grid and labels of values and of times; times are of the week that begins at 0.
    pub fn axes(&mut self, unit: &str) {
        for (value, label) in ticks(self.high) {
            let y = self.y(value);
            self.put(format_args!("<path d=\"M{LEFT} {y:.1}H{RIGHT}\" stroke=\"#e4e4e4\"/>"));
            self.words((LEFT - 6.0, y + 4.0), "end", "", &label);
        }
        self.words((LEFT - 6.0, TOP - 10.0), "end", "fill=\"#555\"", unit);
        let span_s = (self.to_s - self.from_s) as i64;
        let steps = [300, 600, 900, 1_800, 3_600, 7_200, 14_400, 43_200, 86_400, 172_800];
        let step_s = steps.into_iter().find(|step| span_s / step <= 10).unwrap_or(604_800);
        let first = (self.from_s as i64).div_euclid(step_s) + 1;
        let foot = self.height - 10.0;
        let to_s = self.to_s;
        for at_s in (first..).map(|step| step * step_s).take_while(|at_s| (*at_s as f64) < to_s) {
            let x = self.x(at_s as f64);
            self.put(format_args!("<path d=\"M{x:.1} {TOP}V{foot}\" stroke=\"#efefef\"/>"));
            let days = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
            let (day, minutes) = (at_s / 86_400, at_s % 86_400 / 60);
            let clock = format!("{:02}:{:02}", minutes / 60, minutes % 60);
            let label = if step_s >= 86_400 { days[day as usize % 7].to_owned() } else { clock };
            self.words((x, BOTTOM + 16.0), "middle", "", &label);
        }
        self.put(format_args!("<path d=\"M{LEFT} {BOTTOM}H{RIGHT}\" stroke=\"#666\"/>"));
    }

    /// The whole page.
    pub fn finish(mut self) -> String {
        self.text.push_str("</svg>\n");
        self.text
    }
}

/// Round values up to `high`, with their labels.
fn ticks(high: f64) -> Vec<(f64, String)> {
    let power = libm::pow(10.0, libm::floor(libm::log10(high / 4.0)));
    let step = [1.0, 2.0, 5.0, 10.0].map(|it| it * power).into_iter().find(|step| high / step <= 5.0);
    let step = step.unwrap_or(power * 10.0);
    let digits = if step >= 1.0 { 0 } else { (-libm::floor(libm::log10(step))) as usize };
    let count = (high / step) as usize;
    (0..=count).map(|tick| tick as f64 * step).map(|value| (value, format!("{value:.digits$}"))).collect()
}
