//! A line of small bars: how a series went, in as many characters as there are.

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Draws points (Unix ms and values) between two times in `width` characters: the mean of each part, a blank where
/// there is nothing. The lowest value has the lowest bar; a series that never changes is drawn in the middle.
pub(crate) fn line(points: &[(i64, f64)], (start_ms, end_ms): (i64, i64), width: usize) -> String {
    let parts = i64::try_from(width.max(1)).unwrap_or(1);
    let span_ms = end_ms.saturating_sub(start_ms).max(1);
    let mut sums = vec![(0.0, 0_u32); width.max(1)];
    for (time_ms, value) in points.iter().filter(|(_, value)| value.is_finite()) {
        let part = (time_ms.saturating_sub(start_ms).saturating_mul(parts) / span_ms).clamp(0, parts - 1);
        let slot = &mut sums[usize::try_from(part).unwrap_or(0)];
        *slot = (slot.0 + value, slot.1 + 1);
    }
    let means: Vec<Option<f64>> = sums
        .into_iter()
        .map(|(sum, count)| (0 < count).then(|| sum / f64::from(count)))
        .collect();
    let known = || means.iter().flatten().copied();
    let (low, high) = (
        known().fold(f64::INFINITY, f64::min),
        known().fold(f64::NEG_INFINITY, f64::max),
    );
    means
        .iter()
        .map(|mean| mean.map_or(' ', |mean| bar(mean, low, high)))
        .collect()
}

fn bar(value: f64, low: f64, high: f64) -> char {
    if high <= low {
        return BARS[3];
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and 7"
    )]
    let height = ((value - low) / (high - low) * 7.0).round().clamp(0.0, 7.0) as usize;
    BARS[height]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_rises_where_the_series_rises_and_is_blank_where_there_is_nothing() {
        let points: Vec<(i64, f64)> = (0..8)
            .map(|n| (n * 10, f64::from(i32::try_from(n).unwrap())))
            .collect();
        assert_eq!(line(&points, (0, 80), 8), "▁▂▃▄▅▆▇█");
        assert_eq!(line(&points[6..], (0, 80), 8), "      ▁█");
    }

    #[test]
    fn what_never_changes_or_is_no_number_is_no_trouble() {
        assert_eq!(line(&[(0, 5.0), (10, 5.0)], (0, 20), 2), "▄▄");
        assert_eq!(line(&[(0, f64::NAN), (10, f64::INFINITY)], (0, 20), 2), "  ");
        assert_eq!(line(&[], (0, 0), 3), "   ");
        assert_eq!(line(&[(5, 1.0)], (5, 5), 0), "▄");
        assert_eq!(line(&[(i64::MAX / 4, 1.0)], (0, 1_000), 2), " ▄");
    }
}
