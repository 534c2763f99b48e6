//! One engine as it is read again and again: what is asked anew, and what is still known.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::DESCRIPTOR;
use super::describe::Engine;
use super::inspect::{self, Container};
use super::measured;
use super::usage::{Subject, Usage};
use crate::collect::due::Due;
use crate::host::Host;
use crate::runtime::reader::{Reader, Row, Unanswered};
use crate::runtime::watch::{Changed, Watch};
use crate::runtime::{Endpoint, EngineKind};

/// How long everything that is asked of an engine may take together.
const READ_MAX: Duration = Duration::from_secs(12);
/// What seems unchanged is asked again after so long.
const KEEP: Duration = Duration::from_secs(300);
/// The list of images is asked again after so long.
const IMAGES_KEEP: Duration = Duration::from_secs(60);
/// Most containers, and most images, of an engine.
const CONTAINERS_MAX: usize = 800;
const IMAGES_MAX: usize = 800;
/// Most containers that an engine is asked to measure in a run: it takes long over each.
const MEASURED_MAX: usize = 50;
const MEASURE_MAX: Duration = Duration::from_secs(5);

/// An engine, and what is known of it.
pub(super) struct Known {
    endpoint: Endpoint,
    reader: Option<Reader>,
    watch: Option<Watch>,
    containers: BTreeMap<String, Kept>,
    platforms: BTreeMap<String, Option<String>>,
    about_at: Option<Instant>,
    images_at: Option<Instant>,
    /// What it has, as last read.
    pub(super) engine: Engine,
    /// Whether it has answered since the agent was started.
    pub(super) has_answered: bool,
    /// What could not be read or understood the last time.
    pub(super) problems: Vec<String>,
}

struct Kept {
    marker: String,
    at: Instant,
    container: Container,
}

impl Known {
    pub(super) fn new(name: &str, endpoint: Endpoint) -> Self {
        let engine = Engine {
            name: name.to_owned(),
            kind: match endpoint.kind {
                EngineKind::Docker => "docker",
                EngineKind::Podman => "podman",
            },
            endpoint: Some(endpoint.socket.to_string()),
            ..Engine::default()
        };
        Self {
            endpoint,
            reader: None,
            watch: None,
            containers: BTreeMap::new(),
            platforms: BTreeMap::new(),
            about_at: None,
            images_at: None,
            engine,
            has_answered: false,
            problems: Vec::new(),
        }
    }

    /// Reads it; when it does not answer, says so and keeps what was known.
    pub(super) async fn read(&mut self, host: &Host, due: &Due) {
        let now = host.instant();
        let attempt = tokio::time::timeout(READ_MAX, self.attempt(now, due)).await;
        let silence = match attempt {
            Ok(Ok(())) => None,
            Ok(Err(Unanswered::Gone)) => Some("it does not know its own interface".to_owned()),
            Ok(Err(Unanswered::Failed(why))) => Some(why),
            Err(_) => Some(format!("no answer within {} s", READ_MAX.as_secs())),
        };
        if silence.is_some() {
            // The next one may be of another version.
            self.reader = None;
            self.about_at = None;
        } else {
            self.has_answered = true;
        }
        self.engine.silence = silence;
    }

    async fn attempt(&mut self, now: Instant, due: &Due) -> Result<(), Unanswered> {
        let reader = match &self.reader {
            Some(reader) => reader.clone(),
            None => Reader::connect(&self.endpoint).await?,
        };
        let spoken = reader.spoken().await?;
        let watch = self
            .watch
            .get_or_insert_with(|| Watch::start(&self.endpoint, spoken, due.clone(), DESCRIPTOR.name));
        let mut changed = watch.take();
        if self.reader.is_none() {
            changed.everything = true;
        }
        if self.about_at.is_none_or(|at| KEEP < now.duration_since(at)) {
            let about = reader.about().await?;
            self.engine.version = about.version;
            self.engine.api_version = about.api_version;
            self.engine.storage_driver = about.storage_driver;
            self.engine.root_dir = about.root_dir;
            self.engine.is_rootless = about.is_rootless;
            self.about_at = Some(now);
        }
        self.read_containers(&reader, &changed, now).await?;
        // Of the containers everything is known without them but their digests.
        if let Err(Unanswered::Failed(why)) = self.read_images(&reader, &changed, now).await {
            self.problems.push(format!("{}: images: {why}", self.engine.name));
        }
        self.reader = Some(reader);
        Ok(())
    }

    async fn read_containers(
        &mut self,
        reader: &Reader,
        changed: &Changed,
        now: Instant,
    ) -> Result<(), Unanswered> {
        let mut rows = reader.containers().await?;
        if CONTAINERS_MAX < rows.len() {
            self.problems.push(format!(
                "{}: {} of {} containers left out",
                self.engine.name,
                rows.len() - CONTAINERS_MAX,
                rows.len()
            ));
            rows.truncate(CONTAINERS_MAX);
        }
        let mut containers = BTreeMap::new();
        for row in rows {
            let kept = self.containers.remove(&row.id).filter(|kept| {
                let is_changed = changed.everything || changed.containers.contains(&row.id);
                !is_changed && kept.marker == row.marker && now.duration_since(kept.at) < KEEP
            });
            let kept = match kept {
                Some(kept) => Some(kept),
                None => self.inspect(reader, &row, now).await?,
            };
            if let Some(kept) = kept {
                containers.insert(row.id, kept);
            }
        }
        self.containers = containers;
        self.engine.containers = self
            .containers
            .values()
            .map(|kept| kept.container.clone())
            .collect();
        self.engine.containers.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(())
    }

    /// Asks for a container; `None` if it has gone since it was listed.
    async fn inspect(
        &mut self,
        reader: &Reader,
        row: &Row,
        now: Instant,
    ) -> Result<Option<Kept>, Unanswered> {
        let value = match reader.inspect(&row.id).await {
            Ok(value) => value,
            Err(Unanswered::Gone) => return Ok(None),
            Err(error) => return Err(error),
        };
        let Some(mut container) = inspect::container(&value, &mut self.problems) else {
            return Ok(None);
        };
        container.pod.clone_from(&row.pod);
        if container.labels.contains_key("PODMAN_SYSTEMD_UNIT") {
            match reader.create_command(&row.id).await {
                Ok(command) => container.create_command = command,
                Err(Unanswered::Gone) => return Ok(None),
                // Only whether quadlet made it depends on that.
                Err(Unanswered::Failed(why)) => {
                    self.problems.push(format!("{}: {why}", container.name));
                }
            }
        }
        Ok(Some(Kept {
            marker: row.marker.clone(),
            at: now,
            container,
        }))
    }

    async fn read_images(
        &mut self,
        reader: &Reader,
        changed: &Changed,
        now: Instant,
    ) -> Result<(), Unanswered> {
        let known: BTreeSet<&str> = self.engine.images.iter().map(|image| image.id.as_str()).collect();
        let used = self
            .engine
            .containers
            .iter()
            .filter_map(|container| container.image_id.as_deref());
        let is_new = used
            .into_iter()
            .any(|id| !known.contains(id) && !self.platforms.contains_key(id));
        let is_old = self
            .images_at
            .is_none_or(|at| IMAGES_KEEP < now.duration_since(at));
        if !(changed.images || changed.everything || is_new || is_old) {
            return Ok(());
        }
        let mut listed = reader.images().await?;
        if IMAGES_MAX < listed.len() {
            let over = listed.len() - IMAGES_MAX;
            self.problems
                .push(format!("{}: {over} images left out", self.engine.name));
            listed.truncate(IMAGES_MAX);
        }
        let mut images: Vec<_> = listed
            .iter()
            .filter_map(|value| inspect::image(value, &mut self.problems))
            .collect();
        let mut platforms = BTreeMap::new();
        for image in &mut images {
            let platform = match self.platforms.remove(&image.id) {
                Some(platform) => platform,
                None => match reader.inspect_image(&image.id).await {
                    Ok(value) => inspect::image(&value, &mut self.problems).and_then(|image| image.platform),
                    Err(Unanswered::Gone) => None,
                    Err(error) => return Err(error),
                },
            };
            image.platform.clone_from(&platform);
            platforms.insert(image.id.clone(), platform);
        }
        // An image that is gone while containers still run it is asked for only once.
        for id in self
            .engine
            .containers
            .iter()
            .filter_map(|container| container.image_id.as_ref())
        {
            platforms.entry(id.clone()).or_insert(None);
        }
        self.platforms = platforms;
        images.sort_by(|a, b| a.id.cmp(&b.id));
        self.engine.images = images;
        self.images_at = Some(now);
        Ok(())
    }

    /// What the engine says that these use.
    pub(super) async fn ask_for_usage(&self, unseen: &[Subject]) -> Vec<(String, Usage)> {
        let Some(reader) = self.reader.as_ref().filter(|_| !unseen.is_empty()) else {
            return Vec::new();
        };
        let asks = unseen.iter().take(MEASURED_MAX).map(async |subject| {
            let stats = reader.stats(&subject.id).await.ok()??;
            let group = format!("/{}/{}", self.engine.kind, subject.id);
            Some((subject.id.clone(), measured::usage(group, &stats)))
        });
        // Those that come too late are left out, as what does not run is.
        let all = tokio::time::timeout(MEASURE_MAX, futures::future::join_all(asks)).await;
        all.unwrap_or_default().into_iter().flatten().collect()
    }
}
