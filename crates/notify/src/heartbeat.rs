//! A sign of life for somebody outside, who raises the alarm when it stays away.

use std::fmt;

use hyper::Method;
use url::Url;

use crate::channel::Courier;
use crate::http::{self, Request};
use crate::outcome::Attempt;
use crate::secret::{Secret, Secrets};

/// Where the sign goes: an address that is asked with GET, as services for this take it. It is as good as a password,
/// so it is not printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Heartbeat {
    url: Url,
}

impl fmt::Debug for Heartbeat {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "Heartbeat({})",
            self.url.host_str().unwrap_or_default()
        )
    }
}

impl Heartbeat {
    /// Checks an address.
    ///
    /// # Errors
    /// What is wrong with it, without the address.
    pub fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text.trim()).map_err(|error| format!("it is not a URL: {error}"))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
            return Err("it must begin with https:// or http:// and a host".to_owned());
        }
        Ok(Self { url })
    }

    /// Gives a sign.
    pub async fn beat(&self, courier: &Courier) -> Attempt {
        let request = Request {
            method: Method::GET,
            url: self.url.clone(),
            headers: Vec::new(),
            body: Vec::new(),
        };
        let mut attempt = match http::send(&courier.network, &courier.roots, request).await {
            Ok(answer) => answer.judge(),
            Err(error) => error.judge(),
        };
        let mut secrets = Secrets::default();
        secrets.set("path", Secret::new(self.url.path()));
        attempt.answer = secrets.redact(&attempt.answer);
        attempt
    }
}
