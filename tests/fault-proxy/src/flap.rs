//! A line that comes and goes.

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::link::Link;

/// While this lives the line comes and goes; afterwards it is as it was when it was up.
#[derive(Debug)]
pub struct Flapping {
    task: JoinHandle<()>,
    link: watch::Sender<Link>,
    up: Link,
}

impl Flapping {
    pub(crate) fn start(link: watch::Sender<Link>, up: Link, down: Link, period: Duration) -> Self {
        let changed = link.clone();
        let task = tokio::spawn(async move {
            loop {
                for state in [down, up] {
                    changed.send_replace(state);
                    tokio::time::sleep(period).await;
                }
            }
        });
        Self { task, link, up }
    }
}

impl Drop for Flapping {
    fn drop(&mut self) {
        self.task.abort();
        self.link.send_replace(self.up);
    }
}
