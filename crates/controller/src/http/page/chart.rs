//! Charts and meters as inline SVG: no script, no style attribute (the page's policy forbids both). Pure.

use maud::{Markup, html};

use super::format;

/// Width of the drawing's own coordinates; the browser stretches it.
const WIDTH: f64 = 600.0;
/// Height of the drawing's own coordinates.
const HEIGHT: f64 = 100.0;

/// Where the lines of a grid are.
const GRID: [f64; 4] = [0.0, 1.0 / 3.0, 2.0 / 3.0, 1.0];

/// Least time that a chart shows.
const LEAST_MS: i64 = 300_000;

/// What is drawn: points in order of time, within a frame.
#[derive(Debug, Clone)]
pub(super) struct Line<'a> {
    /// Unix milliseconds and values.
    pub(super) points: &'a [(i64, f64)],
    /// Left edge, Unix ms.
    pub(super) start_ms: i64,
    /// Right edge, Unix ms.
    pub(super) end_ms: i64,
    /// Lower edge.
    pub(super) low: f64,
    /// Upper edge.
    pub(super) high: f64,
    /// Points farther apart than this are not joined: nothing is known in between.
    pub(super) gap_ms: i64,
}

impl Line<'_> {
    /// A small chart without scales, as tall as a line of text or two.
    pub(super) fn sparkline(&self, title: &str) -> Markup {
        self.draw(title, "chart", &[], &html! {})
    }

    /// A chart with a grid of four lines; the caller writes the scales beside it.
    pub(super) fn chart(&self, title: &str) -> Markup {
        self.draw(title, "chart tall", &GRID, &html! {})
    }

    /// The same with the bounds that the values are judged by, and where something began.
    pub(super) fn judged(&self, title: &str, bounds: &[f64], since_ms: Option<i64>) -> Markup {
        let marks = html! {
            @for bound in bounds.iter().filter(|bound| (self.low..=self.high).contains(*bound)) {
                @let y = number(self.y(*bound));
                line class="bound" x1="0" x2="600" y1=(y) y2=(y) {}
            }
            @if let Some(since_ms) = since_ms.filter(|since_ms| (self.start_ms..=self.end_ms).contains(since_ms)) {
                @let x = number(self.x(since_ms));
                line class="since" x1=(x) x2=(x) y1="0" y2="100" {}
            }
        };
        self.draw(title, "chart tall", &GRID, &marks)
    }

    fn draw(&self, title: &str, class: &str, grid: &[f64], marks: &Markup) -> Markup {
        let runs = self.runs();
        html! {
            svg class=(class) viewBox="0 0 600 100" preserveAspectRatio="none" role="img" aria-label=(title) {
                title { (title) }
                @for share in grid {
                    @let y = number(share * HEIGHT);
                    line class="grid" x1="0" x2="600" y1=(y) y2=(y) {}
                }
                (marks)
                @for run in &runs {
                    @if let (Some(first), Some(last)) = (run.first(), run.last()) {
                        @let joined = join(run);
                        @if 1 < run.len() {
                            path class="area" d=(format!(
                                "M{} {HEIGHT}L{joined}L{} {HEIGHT}Z", number(first.0), number(last.0)
                            )) {}
                        }
                        // A single point has no length; a round cap makes it a dot.
                        path class="line" d=(if run.len() == 1 { format!("M{joined}h0") } else { format!("M{joined}") }) {}
                    }
                }
            }
        }
    }

    /// The points in the drawing's coordinates, cut where nothing is known.
    fn runs(&self) -> Vec<Vec<(f64, f64)>> {
        let mut runs: Vec<Vec<(f64, f64)>> = Vec::new();
        let mut before: Option<i64> = None;
        for &(time_ms, value) in self.points {
            if !value.is_finite() || !(self.start_ms..=self.end_ms).contains(&time_ms) {
                continue;
            }
            let place = (self.x(time_ms), self.y(value));
            let is_joined = before.is_some_and(|before| time_ms - before <= self.gap_ms);
            match runs.last_mut() {
                Some(run) if is_joined => run.push(place),
                _ => runs.push(vec![place]),
            }
            before = Some(time_ms);
        }
        runs
    }

    #[expect(clippy::cast_precision_loss, reason = "a pixel is far coarser")]
    fn x(&self, time_ms: i64) -> f64 {
        let span = (self.end_ms - self.start_ms).max(1) as f64;
        (time_ms - self.start_ms) as f64 / span * WIDTH
    }

    fn y(&self, value: f64) -> f64 {
        let span = self.high - self.low;
        let share = if 0.0 < span {
            (value - self.low) / span
        } else {
            0.5
        };
        HEIGHT - share.clamp(0.0, 1.0) * HEIGHT
    }
}

/// Where a chart begins: with the first point, but it shows five minutes at least and `most_ms` at most. A server that
/// was just enrolled is so not shown as a dot at the right edge of an empty hour.
pub(super) fn start_ms(points: &[(i64, f64)], now_ms: i64, most_ms: i64) -> i64 {
    let first_ms = points.first().map_or(now_ms, |point| point.0);
    first_ms.clamp(now_ms - most_ms, now_ms - LEAST_MS)
}

fn join(run: &[(f64, f64)]) -> String {
    let places: Vec<String> = run
        .iter()
        .map(|(x, y)| format!("{} {}", number(*x), number(*y)))
        .collect();
    places.join("L")
}

fn number(value: f64) -> String {
    format!("{value:.1}")
}

/// Bars for days, each of three parts from below: bad, warned, and the rest. `most` is how high the frame is.
pub(super) fn bars(title: &str, days: &[(i64, [u64; 3])], most: u64) -> Markup {
    const CLASSES: [&str; 3] = ["bad", "warn", "dim"];
    #[expect(clippy::cast_precision_loss, reason = "a pixel is far coarser")]
    let share = |count: u64| count as f64 / most.max(1) as f64 * HEIGHT;
    #[expect(clippy::cast_precision_loss, reason = "a number of days")]
    let width = WIDTH / days.len().max(1) as f64;
    html! {
        svg class="chart bars" viewBox="0 0 600 100" preserveAspectRatio="none" role="img" aria-label=(title) {
            line class="grid" x1="0" x2="600" y1="0" y2="0" {}
            line class="grid" x1="0" x2="600" y1="100" y2="100" {}
            @for (place, (day_ms, counts)) in (0_u32..).zip(days) {
                g {
                    title {
                        (format::day(*day_ms)) ": " (counts[0]) " critical, " (counts[1]) " warning, " (counts[2]) " info"
                    }
                    @for (part, class) in CLASSES.iter().enumerate() {
                        @let below: u64 = counts[..part].iter().sum();
                        @if 0 < counts[part] {
                            rect class=(class) x=(number(f64::from(place) * width + width * 0.15)) width=(number(width * 0.7))
                                y=(number(HEIGHT - share(below + counts[part]))) height=(number(share(counts[part]))) {}
                        }
                    }
                }
            }
        }
    }
}

/// A bar that is filled to `share` (0 to 1) and coloured by how full it is.
pub(super) fn meter(share: f64) -> Markup {
    let share = if share.is_finite() {
        share.clamp(0.0, 1.0)
    } else {
        0.0
    };
    let class = if share < 0.8 {
        "good"
    } else if share < 0.92 {
        "warn"
    } else {
        "bad"
    };
    html! {
        svg class="meter" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true" {
            rect class="track" x="0" y="0" width="100" height="8" {}
            rect class=(class) x="0" y="0" width=(number(share * 100.0)) height="8" {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(points: &[(i64, f64)]) -> Line<'_> {
        Line {
            points,
            start_ms: 0,
            end_ms: 100,
            low: 0.0,
            high: 10.0,
            gap_ms: 20,
        }
    }

    #[test]
    fn a_hole_in_the_data_is_a_hole_in_the_line() {
        let points = [(0, 0.0), (10, 5.0), (60, 5.0), (80, f64::NAN), (70, 10.0)];
        assert_eq!(
            line(&points).runs(),
            [
                vec![(0.0, 100.0), (60.0, 50.0)],
                vec![(360.0, 50.0), (420.0, 0.0)]
            ]
        );
    }

    #[test]
    fn values_beyond_the_frame_are_held_at_its_edge() {
        assert_eq!(line(&[(50, 99.0)]).runs(), [vec![(300.0, 0.0)]]);
        assert!(line(&[(101, 1.0)]).runs().is_empty());
    }

    #[test]
    fn a_chart_begins_with_its_first_point() {
        assert_eq!(start_ms(&[], 9_000_000, 3_600_000), 8_700_000);
        assert_eq!(start_ms(&[(8_000_000, 1.0)], 9_000_000, 3_600_000), 8_000_000);
        assert_eq!(start_ms(&[(1, 1.0)], 9_000_000, 3_600_000), 5_400_000);
    }

    #[test]
    fn a_flat_frame_draws_in_the_middle() {
        let mut flat = line(&[(0, 10.0)]);
        flat.low = 10.0;
        assert_eq!(flat.runs(), [vec![(0.0, 50.0)]]);
    }

    #[test]
    fn titles_are_escaped_and_no_style_is_inline() {
        let drawn = line(&[(1, 1.0)]).chart("<b>\"x\"").into_string();
        assert!(!drawn.contains("<b>") && !drawn.contains("style="), "{drawn}");
    }

    #[test]
    fn bars_of_a_day_stand_upon_each_other_and_fill_the_frame_at_most() {
        let drawn = bars("x", &[(0, [1, 1, 2]), (86_400_000, [0, 0, 0])], 4).into_string();
        for part in [
            "class=\"bad\" x=\"45.0\" width=\"210.0\" y=\"75.0\" height=\"25.0\"",
            "class=\"warn\" x=\"45.0\" width=\"210.0\" y=\"50.0\" height=\"25.0\"",
            "class=\"dim\" x=\"45.0\" width=\"210.0\" y=\"0.0\" height=\"50.0\"",
            "1970-01-02: 0 critical",
        ] {
            assert!(drawn.contains(part), "{part} in {drawn}");
        }
        assert_eq!(drawn.matches("<rect").count(), 3);
        assert!(!bars("x", &[], 0).into_string().contains("NaN"));
    }

    #[test]
    fn bounds_outside_the_frame_are_not_drawn_at_its_edge() {
        let points = [(0, 1.0)];
        let frame = line(&points);
        let drawn = frame.judged("x", &[5.0, 50.0], Some(50)).into_string();
        assert_eq!(drawn.matches("class=\"bound\"").count(), 1);
        assert!(drawn.contains("class=\"since\" x1=\"300.0\""), "{drawn}");
        assert!(!frame.judged("x", &[], Some(500)).into_string().contains("since"));
    }

    #[test]
    fn a_meter_stays_within_its_frame() {
        for (share, width) in [(-1.0, "0.0"), (0.5, "50.0"), (7.0, "100.0"), (f64::NAN, "0.0")] {
            assert!(meter(share).into_string().contains(&format!("width=\"{width}\"")));
        }
    }
}
