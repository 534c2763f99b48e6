//! Reading series with what is joined to them: `job`, `instance` and `server_id`.
//!
//! The sample store keeps a series under its server and its own labels only, so that renaming a server rewrites
//! nothing. Here the joined labels are added when reading, and conditions on them are turned into a choice of servers
//! before the store is asked. Series of servers that are deleted are not shown. Reading is work for the processor, so it
//! runs off the async threads, a few at a time.

mod join;
mod read;
mod source;
mod step;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

pub use self::join::JOBS;
use muster_base::id::{ResourceId, ServerId};
use muster_model::MetricType;
use muster_samples::Matcher;
use thiserror::Error;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::Instant;

use super::servers::ServerName;

/// Most points of one answer.
pub const POINTS_MAX: usize = 1_000_000;
/// How many reads run at once; further ones wait.
const READS_MAX: usize = 4;

/// Names of all servers, as [`super::App::server_names`] gives them.
pub type Names = Arc<HashMap<ServerId, ServerName>>;

/// Why series could not be read.
#[derive(Debug, Error)]
pub enum SeriesError {
    /// The thread that read panicked or was stopped.
    #[error("read the sample store")]
    Interrupted(#[source] tokio::task::JoinError),
}

/// Which samples are wanted.
#[derive(Debug, Clone)]
pub struct RangeQuery {
    /// Conditions on name and labels, joined ones included.
    pub matchers: Vec<Matcher>,
    /// Only series of this resource.
    pub resource: Option<ResourceId>,
    /// First time, Unix ms.
    pub start_ms: i64,
    /// Last time, Unix ms.
    pub end_ms: i64,
    /// Distance of the points in ms; without one, the samples as they are.
    pub step_ms: Option<i64>,
}

/// One series of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct RangeSeries {
    /// The metric's name.
    pub name: Arc<str>,
    /// Labels by name, joined ones included.
    pub labels: Vec<(String, String)>,
    /// The resource it belongs to.
    pub resource: ResourceId,
    /// The server it was measured on.
    pub server: ServerId,
    /// Unix ms and values; staleness markers are not among them.
    pub points: Vec<(i64, f64)>,
}

/// An answer to a [`RangeQuery`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Range {
    /// The series, by name and labels.
    pub series: Vec<RangeSeries>,
    /// Whether there would have been more; what is here is then the earliest part.
    pub is_truncated: bool,
    /// How many parts of the store could not be read.
    pub damaged: usize,
}

/// The latest value of a series.
#[derive(Debug, Clone, PartialEq)]
pub struct Latest {
    /// The metric's name.
    pub name: Arc<str>,
    /// Labels by name, joined ones included.
    pub labels: Vec<(String, String)>,
    /// The resource it belongs to.
    pub resource: ResourceId,
    /// The server it was measured on.
    pub server: ServerId,
    /// Type of the metric.
    pub metric_type: MetricType,
    /// When it was measured, Unix ms.
    pub time_ms: i64,
    /// The value.
    pub value: f64,
}

/// Where there are series: a server, a scrape job, and a resource.
pub type Place = (ServerId, &'static str, ResourceId);

/// A list of places, and when it was made.
type KeptPlaces = (Instant, Arc<BTreeSet<Place>>);

/// How long a list of places is good enough.
const PLACES_AGE_MAX: Duration = Duration::from_secs(30);

/// Reads series. Cheap to clone.
#[derive(Clone)]
pub struct Series {
    store: Arc<muster_samples::Store>,
    reads: Arc<Semaphore>,
    places: Arc<Mutex<Option<KeptPlaces>>>,
}

impl Series {
    /// Reads from `store`.
    #[must_use]
    pub fn new(store: Arc<muster_samples::Store>) -> Self {
        Self {
            store,
            reads: Arc::new(Semaphore::new(READS_MAX)),
            places: Arc::default(),
        }
    }

    /// Where there are series, whether they have a value now or not. Looks at no sample, and at the series once in half
    /// a minute at most, however often it is asked.
    ///
    /// # Errors
    /// [`SeriesError`] if reading was interrupted.
    pub async fn places(&self) -> Result<Arc<BTreeSet<Place>>, SeriesError> {
        // Held meanwhile: whoever asks at the same time gets the same list.
        let mut kept = self.places.lock().await;
        if let Some((at, places)) = &*kept
            && at.elapsed() < PLACES_AGE_MAX
        {
            return Ok(Arc::clone(places));
        }
        let places = Arc::new(self.read(|store| read::places(&store.snapshot())).await?);
        *kept = Some((Instant::now(), Arc::clone(&places)));
        Ok(places)
    }

    /// The latest values of all series that at least one of `selectors` takes, by name and labels.
    ///
    /// # Errors
    /// [`SeriesError`] if reading was interrupted.
    pub async fn latest(
        &self,
        names: Names,
        selectors: Vec<Vec<Matcher>>,
        now_ms: i64,
    ) -> Result<Vec<Latest>, SeriesError> {
        self.read(move |store| read::latest(&store.snapshot(), &names, selectors, now_ms))
            .await
    }

    /// Samples, or points at regular steps, of the series that a query takes.
    ///
    /// # Errors
    /// [`SeriesError`] if reading was interrupted.
    pub async fn range(&self, names: Names, query: RangeQuery) -> Result<Range, SeriesError> {
        self.read(move |store| read::range(&store.snapshot(), &names, query))
            .await
    }

    /// Does work on the samples as they are now, off the async threads.
    pub(crate) async fn with_reader<T, F>(&self, work: F) -> Result<T, SeriesError>
    where
        T: Send + 'static,
        F: FnOnce(&muster_samples::Reader) -> T + Send + 'static,
    {
        self.read(move |store| work(&store.snapshot())).await
    }

    /// How many parts of the store were found damaged since it was opened.
    #[must_use]
    pub fn damaged(&self) -> u64 {
        self.store.damaged().len() as u64
    }

    async fn read<T, F>(&self, work: F) -> Result<T, SeriesError>
    where
        T: Send + 'static,
        F: FnOnce(&muster_samples::Store) -> T + Send + 'static,
    {
        let permit = Arc::clone(&self.reads)
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        let store = Arc::clone(&self.store);
        tokio::task::spawn_blocking(move || {
            let _permit = permit; // Held until the work is done, also when nobody waits for it any more.
            work(&store)
        })
        .await
        .map_err(SeriesError::Interrupted)
    }
}
