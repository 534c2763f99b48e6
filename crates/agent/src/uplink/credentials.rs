//! What the agent shows to the controller, and how that is replaced while it runs.

use std::sync::Arc;

use rustls::ClientConfig;
use tokio::sync::{Notify, watch};

use super::time::GoodTime;
use super::tls::{self, TlsError};
use crate::identity::Identity;

/// The certificate in use; clones share it.
#[derive(Clone)]
pub struct Credentials {
    tls: watch::Sender<Arc<ClientConfig>>,
    hint: Arc<Notify>,
    time: GoodTime,
}

/// Credentials that were found to be usable.
pub(crate) struct Prepared {
    tls: Arc<ClientConfig>,
    validity: Option<(i64, i64)>,
}

impl Credentials {
    pub(super) fn of(identity: &Identity, time: GoodTime) -> Result<Self, TlsError> {
        Ok(Self {
            tls: watch::Sender::new(tls::of_identity(identity, &time)?),
            hint: Arc::default(),
            time,
        })
    }

    /// Makes an identity ready to be put in use.
    pub(crate) fn prepare(&self, identity: &Identity) -> Result<Prepared, TlsError> {
        Ok(Prepared {
            tls: tls::of_identity(identity, &self.time)?,
            validity: identity.validity(),
        })
    }

    /// From now on connections are made with these.
    pub(crate) fn put(&self, prepared: Prepared) {
        self.time.certified(prepared.validity);
        self.tls.send_replace(prepared.tls);
    }

    /// Unix milliseconds now, as far as they can be known.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.time.now_ms()
    }

    /// Waits until the controller wants the certificate renewed, or finds that it has expired.
    pub(crate) async fn hinted(&self) {
        self.hint.notified().await;
    }

    /// The time by which certificates are judged.
    pub(super) const fn time(&self) -> &GoodTime {
        &self.time
    }

    pub(super) fn hint(&self) {
        self.hint.notify_one();
    }

    pub(super) fn tls(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.tls.borrow())
    }

    pub(super) fn watch(&self) -> watch::Receiver<Arc<ClientConfig>> {
        self.tls.subscribe()
    }
}
