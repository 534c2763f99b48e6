//! A controller's address, checked so that a token is never sent in the clear.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::ClientError;

/// `https://HOST[:PORT]`, or `http://` on loopback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BaseUrl(String);

impl FromStr for BaseUrl {
    type Err = ClientError;

    fn from_str(text: &str) -> Result<Self, ClientError> {
        let wrong = |why| ClientError::Url {
            text: text.to_owned(),
            why,
        };
        let url = reqwest::Url::parse(text.trim())
            .map_err(|_| wrong("something such as https://muster.example.com is needed"))?;
        let host = url.host_str().ok_or_else(|| wrong("it names no host"))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong("names and passwords do not belong into an address"));
        }
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("it must end after the host and port"));
        }
        match url.scheme() {
            "https" => {}
            "http" if is_loopback(host) => {}
            "http" => {
                return Err(wrong(
                    "without TLS everybody on the way could read the token; use https, or a tunnel to 127.0.0.1",
                ));
            }
            _ => return Err(wrong("it must begin with https:// or http://")),
        }
        Ok(Self(url.as_str().trim_end_matches('/').to_owned()))
    }
}

impl BaseUrl {
    /// Host and port where TLS is spoken; `None` without TLS.
    pub(super) fn tls_peer(&self) -> Option<(String, u16)> {
        let url = reqwest::Url::parse(&self.0).ok()?;
        let host = url.host_str()?.trim_start_matches('[').trim_end_matches(']');
        (url.scheme() == "https").then(|| (host.to_owned(), url.port_or_known_default().unwrap_or(443)))
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || address
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_to_which_a_token_can_be_sent_safely_are_taken() {
        for (text, expected) in [
            ("http://127.0.0.1:8480", "http://127.0.0.1:8480"),
            ("http://127.9.9.9:1/", "http://127.9.9.9:1"),
            ("http://[::1]:8480", "http://[::1]:8480"),
            ("http://localhost:8480", "http://localhost:8480"),
            ("https://muster.example.com", "https://muster.example.com"),
            ("https://10.0.0.5:8443/", "https://10.0.0.5:8443"),
        ] {
            assert_eq!(text.parse::<BaseUrl>().unwrap().to_string(), expected);
        }
        for text in [
            "http://10.0.0.5:8480",
            "http://muster.example.com",
            "http://localhost.example.com",
            "http://127.0.0.1.example.com",
            "https://admin:secret@muster.example.com",
            "https://muster.example.com/path",
            "https://muster.example.com?x",
            "ftp://muster.example.com",
            "muster.example.com",
            "",
        ] {
            let error = text.parse::<BaseUrl>().unwrap_err();
            assert_eq!(error.exit_code(), 2, "{text}");
        }
    }
}
