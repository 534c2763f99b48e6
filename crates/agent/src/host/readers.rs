//! Threads that read files: one while nothing hangs, more while something does.
//!
//! Collectors are due together and their reads are short, so that one thread does them one after the other without
//! being woken for each, and tells answers together; the runtime's own pool would start a thread for every read that
//! comes while others are under way. A read may hang, though: whoever has waited for [`PATIENCE`] asks for relief, is
//! told what is known, and gets a further thread if all that there are have been at one read for that long. Threads
//! beyond the first end when there is nothing to do. With [`THREADS_MAX`] of them hanging no further read is done; the
//! caller's list of what is outstanding bounds the queue. Nobody waits for these threads when the agent ends.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, oneshot};

/// How long a read may take before another thread does what waits behind it.
const PATIENCE: Duration = Duration::from_millis(100);
/// Most threads, all but one of them hanging or about to end.
const THREADS_MAX: usize = 64;
/// Answers that are told together: the runtime is woken once for all of them.
const TOLD_TOGETHER: usize = 16;

/// Work, which gives back how its answer is told.
type Job = Box<dyn FnOnce() -> Telling + Send>;
type Telling = Box<dyn FnOnce() + Send>;

/// The threads. Clones share them.
#[derive(Clone)]
pub(super) struct Readers(Arc<Shared>);

struct Shared {
    name: &'static str,
    patience: Duration,
    state: Mutex<State>,
    came: Condvar,
    /// There are answers to tell. One of those that wait tells them all, so that the others are woken on its thread.
    answered: Notify,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Job>,
    /// Answers that are not told yet.
    answers: Vec<Telling>,
    threads: usize,
    idle: usize,
    /// How many of the idle ones have been called and have not come yet: for what comes meanwhile none is called.
    called: usize,
    /// When work was last taken from the queue.
    taken: Option<Instant>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Unread {
    /// The work panicked.
    Panicked,
    /// There is no thread, and none could be started.
    NoThread(io::Error),
}

impl Default for Readers {
    fn default() -> Self {
        Self::new("reader", PATIENCE)
    }
}

impl Readers {
    /// No threads yet; those to come have this name, and another is started when one takes longer than `patience`.
    pub(super) fn new(name: &'static str, patience: Duration) -> Self {
        Self(Arc::new(Shared {
            name,
            patience,
            state: Mutex::default(),
            came: Condvar::new(),
            answered: Notify::new(),
        }))
    }

    /// Does work on one of the threads and waits for it.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Unread> {
        let (answer_tx, mut answer_rx) = oneshot::channel();
        self.submit(Box::new(move || {
            let answer = work();
            Box::new(move || {
                // Nobody waits any more for what took too long.
                let _ = answer_tx.send(answer);
            })
        }))
        .map_err(Unread::NoThread)?;
        loop {
            let waiting = async {
                tokio::select! {
                    biased;
                    answer = &mut answer_rx => Some(answer),
                    () = self.0.answered.notified() => None,
                }
            };
            match tokio::time::timeout(self.0.patience, waiting).await {
                Ok(Some(answer)) => return answer.map_err(|_| Unread::Panicked),
                Ok(None) => self.0.tell(),
                Err(_) => self.relieve(),
            }
        }
    }

    fn submit(&self, job: Job) -> io::Result<()> {
        let mut state = self.0.lock();
        if state.threads == 0 {
            self.start(&mut state)?;
        }
        state.queue.push_back(job);
        // One that was called takes whatever is there when it comes.
        if state.called == 0 && 0 < state.idle {
            state.called += 1;
            self.0.came.notify_one();
        }
        Ok(())
    }

    /// Tells what is known, and starts a further thread if work waits and no thread has come back for some.
    fn relieve(&self) {
        self.0.tell();
        let mut state = self.0.lock();
        let is_stalled = state
            .taken
            .is_some_and(|taken| self.0.patience <= taken.elapsed());
        if state.queue.is_empty() || 0 < state.idle || !is_stalled || THREADS_MAX <= state.threads {
            return;
        }
        // If there can be none, the next one who has waited asks again.
        if let Err(error) = self.start(&mut state) {
            tracing::warn!(error = %error, "no further thread to read files");
        }
    }

    fn start(&self, state: &mut State) -> io::Result<()> {
        let shared = Arc::clone(&self.0);
        std::thread::Builder::new()
            .name(self.0.name.to_owned())
            .spawn(move || shared.work())?;
        state.threads += 1;
        // Others are not started before this one had its time.
        state.taken = Some(Instant::now());
        Ok(())
    }
}

impl Shared {
    /// A thread's life.
    fn work(&self) {
        let mut state = self.lock();
        loop {
            while let Some(job) = state.queue.pop_front() {
                state.taken = Some(Instant::now());
                drop(state);
                // Whoever waits for one that panics is told, for its channel is dropped.
                let telling = catch_unwind(AssertUnwindSafe(job));
                state = self.lock();
                match telling {
                    Ok(telling) => state.answers.push(telling),
                    // Its channel is gone, which has woken whoever waited.
                    Err(_) => continue,
                }
                if state.answers.len().is_multiple_of(TOLD_TOGETHER) {
                    self.answered.notify_one();
                }
            }
            if !state.answers.is_empty() {
                self.answered.notify_one();
            }
            if 0 < state.idle {
                state.threads -= 1;
                return;
            }
            state.idle += 1;
            state = self.came.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
            state.called = state.called.saturating_sub(1);
        }
    }

    /// Tells the answers, without holding the lock meanwhile.
    fn tell(&self) {
        let answers = std::mem::take(&mut self.lock().answers);
        answers.into_iter().for_each(|telling| telling());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing can panic while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Readers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.lock();
        f.debug_struct("Readers")
            .field("threads", &state.threads)
            .field("waiting", &state.queue.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn one_thread_does_what_does_not_hang() {
        let readers = Readers::default();
        let reads = (0..200).map(|_| readers.run(|| std::thread::current().id()));
        let answers = futures::future::join_all(reads).await;
        let threads: HashSet<_> = answers.into_iter().map(Result::unwrap).collect();
        // A machine that stands still for a tenth of a second may take a second one.
        assert!(threads.len() < 20, "{threads:?}");
    }

    #[tokio::test]
    async fn what_hangs_holds_up_nothing_else() {
        let readers = Readers::default();
        let mut hanging = Vec::new();
        let mut release = Vec::new();
        for _ in 0..3 {
            let (let_go_tx, let_go_rx) = mpsc::channel::<()>();
            let readers = readers.clone();
            hanging.push(tokio::spawn(async move {
                readers.run(move || let_go_rx.recv().is_err()).await
            }));
            release.push(let_go_tx);
        }
        // One hangs, and two wait behind it.
        while readers.0.lock().queue.len() < 2 {
            tokio::task::yield_now().await;
        }
        let answers = (0..20).map(|number| readers.run(move || number));
        let answers: Vec<i32> = futures::future::join_all(answers)
            .await
            .into_iter()
            .map(Result::unwrap)
            .collect();
        assert_eq!(answers, (0..20).collect::<Vec<_>>());
        drop(release);
        for read in hanging {
            assert!(read.await.unwrap().unwrap(), "it comes back when it is let go");
        }
        // Those that came for relief end; one stays.
        while 1 < readers.0.lock().threads {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_panic_is_told_and_ends_nothing() {
        let readers = Readers::default();
        let answer = readers.run(|| panic!("on purpose")).await;
        assert!(matches!(answer, Err::<(), _>(Unread::Panicked)));
        assert_eq!(readers.run(|| 7).await.ok(), Some(7));
    }
}
