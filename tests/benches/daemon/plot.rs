//! A small plot by hand: two lines on logarithmic axes, readable on light and on dark pages.

use std::fmt::Write as _;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 360.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 48.0;

/// The plot of the milliseconds that a status of one machine and one of all machines takes, by machines in the cluster.
pub(crate) fn of(one: &[(f64, f64)], all: &[(f64, f64)]) -> String {
    let times = || one.iter().chain(all).map(|(_, time)| time.log10());
    let low = times().fold(f64::INFINITY, f64::min).floor();
    let high = times().fold(f64::NEG_INFINITY, f64::max).ceil();
    let most = all.iter().map(|(machines, _)| machines.log10()).fold(1.0, f64::max).ceil();
    let x = |machines: f64| LEFT + machines.log10() / most * (WIDTH - LEFT - RIGHT);
    let y = |time: f64| HEIGHT - BOTTOM - (time.log10() - low) / (high - low) * (HEIGHT - TOP - BOTTOM);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" \
         height=\"{HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\" role=\"img\">\n\
         <title>Time of a status call by machines in the cluster</title>\n<style>\n\
         text {{ fill: #24292f }} .grid {{ stroke: #8c959f; stroke-opacity: .35 }}\n\
         .one {{ stroke: #0969da; fill: #0969da }} .all {{ stroke: #bc4c00; fill: #bc4c00 }}\n\
         .line {{ fill: none; stroke-width: 2 }} text.one, text.all {{ stroke: none }}\n\
         @media (prefers-color-scheme: dark) {{ text {{ fill: #d1d7e0 }}\n\
         .one {{ stroke: #58a6ff; fill: #58a6ff }} .all {{ stroke: #f0883e; fill: #f0883e }}\n\
         .line {{ fill: none }} }}\n</style>\n"
    );
    let mut put = |text: String| writeln!(svg, "{text}").expect("a string takes everything");
    let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
    for power in decades(low, high) {
        let (at, label) = (y(power), label(power));
        put(format!("<path class=\"grid\" d=\"M{LEFT} {at:.1}H{right}\"/>"));
        put(format!("<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{label} ms</text>", LEFT - 8.0, at + 4.0));
    }
    for power in decades(0.0, most) {
        let (at, label) = (x(power), label(power));
        put(format!("<path class=\"grid\" d=\"M{at:.1} {TOP}V{bottom}\"/>"));
        put(format!("<text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{label}</text>", bottom + 18.0));
    }
    put(format!(
        "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">machines in the cluster</text>",
        f64::midpoint(LEFT, right),
        HEIGHT - 8.0
    ));
    for (class, points) in [("one", one), ("all", all)] {
        let path: Vec<_> =
            points.iter().map(|(machines, time)| format!("{:.1} {:.1}", x(*machines), y(*time))).collect();
        put(format!("<path class=\"{class} line\" d=\"M{}\"/>", path.join("L")));
        for (machines, time) in points {
            put(format!("<circle class=\"{class}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\"/>", x(*machines), y(*time)));
        }
    }
    put(format!("<text class=\"all\" x=\"{LEFT}\" y=\"24\">status of all machines</text>"));
    put(format!("<text class=\"one\" x=\"{}\" y=\"24\">status of one machine</text>", LEFT + 170.0));
    svg.push_str("</svg>\n");
    svg
}

fn decades(low: f64, high: f64) -> impl Iterator<Item = f64> {
    #[expect(clippy::cast_possible_truncation, reason = "a few powers of ten")]
    let (low, high) = (low as i32, high as i32);
    (low..=high).map(|power| 10_f64.powi(power))
}

fn label(number: f64) -> String {
    // Thousands in groups, and no more digits than a power of ten needs.
    match number {
        10_000.0.. => format!("{},000", number / 1000.0),
        _ => number.to_string(),
    }
}
