//! What stays is a part of what was there, and the last of each series in each period is in it.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// Samples by series and time.
type Samples = BTreeMap<(u32, i64), u64>;

fn samples(reports: &[Vec<SampleBlock>]) -> Samples {
    let blocks = reports.iter().flatten();
    let rows = blocks.flat_map(|block| block.rows().map(move |(time_ms, row)| (block, time_ms, row)));
    let each = rows.flat_map(|(block, time_ms, row)| {
        let values = block.series().iter().zip(row);
        values.map(move |(id, value)| ((*id, time_ms), value.to_bits()))
    });
    each.collect()
}

/// Thins reports, given from the oldest to the newest.
fn thin(reports: &[Vec<SampleBlock>], period_ms: i64) -> Vec<Vec<SampleBlock>> {
    let mut thinner = Thinner::new(period_ms);
    let mut thinned: Vec<_> = reports.iter().rev().map(|blocks| thinner.thin(blocks)).collect();
    thinned.reverse();
    thinned
}

prop_compose! {
    /// Collectors of different cadences, their runs cut into reports anywhere.
    fn collections()(
        collectors in prop::collection::vec((1_u32..5, 1_000_i64..90_000, 0_i64..100_000), 1..4),
        ticks_per_report in 1_usize..20,
        ticks in 1_usize..120,
        seed: u64,
    ) -> Vec<Vec<SampleBlock>> {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut reports = vec![Vec::new(); ticks.div_ceil(ticks_per_report)];
        for (index, (columns, interval_ms, start_ms)) in (0_u32..).zip(&collectors) {
            let ids: Vec<u32> = (1..=*columns).map(|column| index * 10 + column).collect();
            for first in (0..ticks).step_by(ticks_per_report) {
                let of_report = first..ticks.min(first + ticks_per_report);
                let times: Vec<i64> = of_report
                    .map(|tick| start_ms + interval_ms * i64::try_from(tick).unwrap())
                    .collect();
                let values = (0..times.len() * ids.len()).map(|_| random.f64()).collect();
                let block = SampleBlock::new(times, ids.clone(), values).unwrap();
                reports[first / ticks_per_report].push(block);
            }
        }
        reports
    }
}

proptest! {
    #[test]
    fn of_each_series_the_last_sample_of_each_period_stays_and_no_other(
        reports in collections(),
        period_ms in prop::sample::select(vec![60_000_i64, 600_000]),
    ) {
        let before = samples(&reports);
        let after = samples(&thin(&reports, period_ms));
        let mut wanted = Samples::new();
        for (&(id, time_ms), &value) in &before {
            let period = time_ms.div_euclid(period_ms);
            let later = before.range((id, time_ms + 1)..=(id, i64::MAX)).next();
            if later.is_none_or(|((_, later_ms), _)| later_ms.div_euclid(period_ms) != period) {
                wanted.insert((id, time_ms), value);
            }
        }
        prop_assert_eq!(after, wanted);
    }

    #[test]
    fn thinning_again_for_the_same_period_changes_nothing(reports in collections()) {
        let once = thin(&reports, 60_000);
        prop_assert_eq!(thin(&once, 60_000), once);
    }
}

#[test]
fn a_row_stays_while_one_of_its_series_has_nothing_later_in_the_period() {
    let together = SampleBlock::new(vec![1_000, 2_000], vec![1, 2], vec![1.0, 2.0, 3.0, 4.0]).unwrap();
    let alone = SampleBlock::new(vec![3_000], vec![1], vec![5.0]).unwrap();
    let thinned = thin(&[vec![together], vec![alone]], 60_000);
    assert_eq!(
        samples(&thinned).keys().copied().collect::<Vec<_>>(),
        [(1, 2_000), (1, 3_000), (2, 2_000)]
    );
}

#[test]
fn clocks_that_were_set_back_lose_no_period() {
    let block = |time_ms| vec![SampleBlock::new(vec![time_ms], vec![1], vec![0.5]).unwrap()];
    let reports = [block(10_000), block(70_000), block(20_000), block(-30_000)];
    let thinned = thin(&reports, 60_000);
    let periods: std::collections::BTreeSet<i64> = samples(&thinned)
        .keys()
        .map(|(_, time_ms)| time_ms.div_euclid(60_000))
        .collect();
    assert_eq!(periods.into_iter().collect::<Vec<_>>(), [-1, 0, 1]);
}
