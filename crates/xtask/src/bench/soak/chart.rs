//! Memory over time as a picture.

use std::fmt::Write as _;

use super::Sample;

const WIDTH: f64 = 800.0;
const HEIGHT: f64 = 320.0;
/// Room for the numbers at the left and below.
const MARGIN: f64 = 48.0;

/// An SVG with lines for agent and controller, with pages of files and without, and for what of the latter's are samples of
/// windows that are not over. A line stands where warming up ends.
pub(super) fn svg(samples: &[Sample]) -> String {
    type Line = (&'static str, &'static str, fn(&Sample) -> f64);
    const LINES: [Line; 5] = [
        ("agent", "#0b6", |sample| sample.agent.own_bytes),
        ("with files", "#8dc", |sample| sample.agent.bytes),
        ("controller", "#06b", |sample| sample.controller.own_bytes),
        ("with files", "#8be", |sample| sample.controller.bytes),
        ("open windows", "#999", |sample| sample.heads_bytes),
    ];
    let start_s = samples.first().map_or(0.0, |sample| sample.at_s);
    let end_s = samples.last().map_or(1.0, |sample| sample.at_s.max(1.0));
    let highest = samples
        .iter()
        .map(|sample| sample.controller.bytes.max(sample.agent.bytes));
    let top_mib = (highest.fold(0.0, f64::max) / f64::from(1 << 20) / 10.0)
        .ceil()
        .max(1.0)
        * 10.0;
    let x = |at_s: f64| MARGIN + (at_s - start_s) / (end_s - start_s) * (WIDTH - 2.0 * MARGIN);
    let y = |mib: f64| HEIGHT - MARGIN - mib / top_mib * (HEIGHT - 2.0 * MARGIN);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n"
    );
    for step in 0..=5 {
        let mib = top_mib * f64::from(step) / 5.0;
        let (left, right, line) = (x(0.0), x(end_s), y(mib));
        let _ = writeln!(
            text,
            "<path d=\"M{left:.0} {line:.0}H{right:.0}\" stroke=\"#ddd\"/><text x=\"4\" y=\"{line:.0}\">{mib:.0} MiB</text>"
        );
    }
    for step in 0..=4 {
        let at_s = start_s + (end_s - start_s) * f64::from(step) / 4.0;
        let (at, below) = (x(at_s), HEIGHT - MARGIN + 16.0);
        let _ = writeln!(
            text,
            "<text x=\"{at:.0}\" y=\"{below:.0}\">{:.0} min</text>",
            at_s / 60.0
        );
    }
    let (begin, below) = (x(0.0), HEIGHT - MARGIN);
    let _ = writeln!(
        text,
        "<path d=\"M{begin:.0} {MARGIN}V{below:.0}\" stroke=\"#f80\" stroke-dasharray=\"4\"/>"
    );
    for (index, (name, colour, bytes)) in LINES.iter().enumerate() {
        let points = samples.iter().fold(String::new(), |mut points, sample| {
            let _ = write!(
                points,
                "{:.1},{:.1} ",
                x(sample.at_s),
                y(bytes(sample) / f64::from(1 << 20))
            );
            points
        });
        let _ = writeln!(
            text,
            "<polyline fill=\"none\" stroke=\"{colour}\" points=\"{}\"/>",
            points.trim_end()
        );
        let left = MARGIN + 140.0 * f64::from(u8::try_from(index).unwrap_or(0));
        let _ = writeln!(
            text,
            "<text x=\"{left:.0}\" y=\"20\" fill=\"{colour}\">{name}</text>"
        );
    }
    text.push_str("</svg>\n");
    text
}
