//! What growth and forecast look back on: the numbers of a window, thinned so that they stay few.

/// Most numbers kept of a window.
const POINTS_MAX: usize = 64;
/// A straight line through fewer numbers says nothing.
const FIT_MIN: usize = 8;

#[derive(Debug, Clone, Default)]
pub(super) struct Window {
    /// Times (`t`, ms) and numbers, in order.
    points: Vec<(i64, f64)>,
    /// When the first number ever came: a window is whole once that is as long ago as it is long.
    since_t: Option<i64>,
}

impl Window {
    pub(super) fn push(&mut self, t: i64, value: f64, window_ms: i64) {
        self.since_t.get_or_insert(t);
        let begin = t.saturating_sub(window_ms);
        // The last number before the window stays: it is what the window began with.
        let keep_from = self.points.iter().rposition(|(at, _)| *at <= begin).unwrap_or(0);
        self.points.drain(..keep_from);
        let step = (window_ms / POINTS_MAX as i64).max(1);
        match self.points.as_mut_slice() {
            // The newest one is replaced until it is a step from the one before it.
            [.., (before, _), last] if last.0 - *before < step => *last = (t, value),
            _ => self.points.push((t, value)),
        }
        debug_assert!(self.points.len() <= POINTS_MAX + 3);
    }

    /// Whether it has been filled for as long as it is long.
    pub(super) fn is_whole(&self, t: i64, window_ms: i64) -> bool {
        self.since_t.is_some_and(|since| window_ms <= t - since)
    }

    /// How much the number has grown over its least in the window: what is counted may have started anew.
    pub(super) fn growth(&self) -> Option<f64> {
        let (_, last) = self.points.last()?;
        let least = self
            .points
            .iter()
            .map(|(_, value)| *value)
            .fold(f64::INFINITY, f64::min);
        Some(last - least)
    }

    /// How much the number has fallen below its most in the window, as a negative number.
    pub(super) fn decline(&self) -> Option<f64> {
        let (_, last) = self.points.last()?;
        let most = self
            .points
            .iter()
            .map(|(_, value)| *value)
            .fold(f64::NEG_INFINITY, f64::max);
        Some(last - most)
    }

    /// The number at `t + horizon_ms` on the straight line through the window; `None` while less than half of the
    /// window is known.
    pub(super) fn forecast(&self, t: i64, window_ms: i64, horizon_ms: i64) -> Option<f64> {
        let (first_t, _) = self.points.first()?;
        if self.points.len() < FIT_MIN || t - first_t < window_ms / 2 {
            return None;
        }
        let count = self.points.len() as f64;
        // Relative to the end, so that squares stay small.
        let at = |point: &(i64, f64)| (point.0 - t) as f64 / 1_000.0;
        let mean_x = self.points.iter().map(at).sum::<f64>() / count;
        let mean_y = self.points.iter().map(|(_, value)| value).sum::<f64>() / count;
        let (mut covariance, mut variance) = (0.0, 0.0);
        for point in &self.points {
            let x = at(point) - mean_x;
            covariance += x * (point.1 - mean_y);
            variance += x * x;
        }
        let slope = covariance / variance;
        let ahead = mean_y + slope * (horizon_ms as f64 / 1_000.0 - mean_x);
        ahead.is_finite().then_some(ahead)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    fn filled(minutes: i64, value: impl Fn(i64) -> f64) -> Window {
        let mut window = Window::default();
        for minute in 0..=minutes {
            window.push(minute * 60_000, value(minute), HOUR);
        }
        window
    }

    #[test]
    fn growth_is_over_the_least_of_the_window_and_forgets_what_is_older() {
        let window = filled(30, |minute| if minute < 10 { 5.0 } else { 8.0 });
        assert_eq!(window.growth(), Some(3.0));
        assert!(!window.is_whole(30 * 60_000, HOUR));
        let window = filled(180, |minute| if minute < 10 { 5.0 } else { 8.0 });
        assert_eq!(window.growth(), Some(0.0));
        assert!(window.is_whole(180 * 60_000, HOUR));
    }

    #[test]
    fn what_starts_anew_grows_from_there() {
        let window = filled(
            20,
            |minute| if minute < 10 { 100.0 } else { minute as f64 - 10.0 },
        );
        assert_eq!(window.growth(), Some(10.0));
        assert_eq!(window.decline(), Some(-90.0));
    }

    #[test]
    fn a_straight_line_goes_on_and_too_little_says_nothing() {
        let window = filled(60, |minute| minute as f64);
        let ahead = window.forecast(60 * 60_000, HOUR, HOUR).unwrap();
        assert!((ahead - 120.0).abs() < 0.5, "{ahead}");
        assert_eq!(filled(5, |_| 1.0).forecast(5 * 60_000, HOUR, HOUR), None);
    }

    #[test]
    fn a_window_stays_small_however_much_comes() {
        let mut window = Window::default();
        for second in 0..200_000 {
            window.push(second * 1_000, second as f64, HOUR);
            assert!(window.points.len() <= POINTS_MAX + 3);
        }
        assert!((window.growth().unwrap() - 3_600.0).abs() < 60.0);
    }
}
