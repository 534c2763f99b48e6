//! Verification: everything the sample store has on disk is read about once a day, so that damage is known before
//! somebody asks for what it hit. What is found is counted and told by `/readyz`, and logged once.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{Task, TaskError};

/// Its name.
pub(super) const NAME: &str = "verify_samples";
/// Time from one run to the next.
pub(super) const EVERY: Duration = Duration::from_secs(3_600);

pub(super) struct Verification {
    samples: Arc<muster_samples::Store>,
}

impl Verification {
    pub(super) const fn new(samples: Arc<muster_samples::Store>) -> Self {
        Self { samples }
    }
}

#[async_trait]
impl Task for Verification {
    fn name(&self) -> &'static str {
        NAME
    }

    fn every(&self) -> Duration {
        EVERY
    }

    fn is_essential(&self) -> bool {
        false
    }

    async fn run(&self, _now_ms: i64) -> Result<(), TaskError> {
        let samples = Arc::clone(&self.samples);
        // The store remembers and logs what it finds.
        tokio::task::spawn_blocking(move || samples.verify_next().len()).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use camino::Utf8Path;
    use muster_base::id::{ResourceId, ServerId};
    use muster_model::{Labels, MetricType};
    use muster_samples::{Batch, Options, SeriesSpec, Store};

    use super::*;

    #[tokio::test]
    async fn damage_that_nobody_has_asked_for_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(folder.path()).unwrap();
        let store = Store::open(dir, Options::default()).unwrap();
        let spec = SeriesSpec {
            server: ServerId(1),
            resource: ResourceId(1),
            name: "test_a".to_owned(),
            labels: Labels::default(),
            metric_type: MetricType::Gauge,
            unit: String::new(),
            collector: "test".to_owned(),
            interval_ms: 1_000,
        };
        let series = store.series(&spec).unwrap();
        let times: Vec<i64> = (0..5_000).map(|n| 1_763_769_600_000 + n * 1_000).collect();
        let values: Vec<f64> = times.iter().map(|_| fastrand::f64()).collect();
        let batch = Batch {
            position: 1,
            received_ms: times[4_999],
            times_ms: &times,
            series: &[series],
            values: &values,
        };
        store.append(&batch).unwrap();
        store.flush_all().unwrap();
        drop(store);
        let file = dir
            .read_dir_utf8()
            .unwrap()
            .map(|entry| entry.unwrap().into_path());
        let day = file
            .into_iter()
            .find(|path| path.as_str().contains("raw-"))
            .unwrap();
        let mut bytes = std::fs::read(&day).unwrap();
        let place = bytes.len() - 20_000;
        bytes[place] ^= 1;
        std::fs::write(&day, bytes).unwrap();
        let store = Arc::new(Store::open(dir, Options::default()).unwrap());
        assert_eq!(store.stats().damaged, 0);
        Verification::new(Arc::clone(&store)).run(0).await.unwrap();
        assert!(0 < store.stats().damaged && store.stats().verified == 1);
    }
}
