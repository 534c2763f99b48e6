//! What a registry wants to be shown, and who may be shown its credentials: pure.

use muster_notify::Secret;
use serde::Deserialize;
use url::Url;

use super::RegistryError;

/// Registries whose tokens are given by a host with another name.
const PARTNERS: [(&str, &str); 6] = [
    ("registry-1.docker.io", "auth.docker.io"),
    ("lscr.io", "ghcr.io"),
    ("nvcr.io", "authn.nvidia.com"),
    ("registry.redhat.io", "sso.redhat.com"),
    ("registry.connect.redhat.com", "sso.redhat.com"),
    ("docker.elastic.co", "docker-auth.elastic.co"),
];
/// Second levels under which everybody may have a name; a country's own are told by their shape.
const PUBLIC_SUFFIXES: [&str; 22] = [
    "amazonaws.com",
    "appspot.com",
    "azurecr.io",
    "azurewebsites.net",
    "cloudapp.net",
    "cloudfront.net",
    "duckdns.org",
    "dyndns.org",
    "firebaseapp.com",
    "fly.dev",
    "github.io",
    "gitlab.io",
    "herokuapp.com",
    "netlify.app",
    "ngrok.io",
    "nip.io",
    "onrender.com",
    "pages.dev",
    "run.app",
    "sslip.io",
    "vercel.app",
    "workers.dev",
];
/// How long a token counts that does not say.
const EXPIRES_S_DEFAULT: u64 = 60;
/// The longest a token is believed to count.
const EXPIRES_S_MAX: u64 = 24 * 3_600;
/// Most characters of a token.
const TOKEN_CHARS_MAX: usize = 32 * 1_024;

/// What shows who we are.
#[derive(Debug, Clone, Default)]
pub(super) enum Credential {
    /// Nothing.
    #[default]
    Anonymous,
    /// A name and a password.
    Basic { username: String, password: Secret },
    /// A token that the registry itself takes.
    Token(Secret),
}

impl Credential {
    pub(super) const fn is_anonymous(&self) -> bool {
        matches!(self, Self::Anonymous)
    }
}

/// What a registry wants to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// Nothing.
    Nothing,
    /// A name and a password.
    Basic,
    /// A token from this place.
    Bearer {
        realm: Url,
        service: Option<String>,
        /// For what, where it says.
        scope: Option<String>,
    },
}

impl Challenge {
    /// Reads `WWW-Authenticate`. A token is taken before a password, as it is good for less.
    pub(super) fn read(host: &str, headers: &[&str]) -> Result<Self, RegistryError> {
        let not_understood = |why: String| RegistryError::Challenge {
            host: host.to_owned(),
            why,
        };
        let mut basic = None;
        let mut other = None;
        for header in headers {
            let parsed = http_auth::parse_challenges(header)
                .map_err(|_| not_understood("the header cannot be read".to_owned()))?;
            for challenge in parsed {
                let param = |name: &str| {
                    let found = challenge
                        .params
                        .iter()
                        .find(|(key, _)| key.eq_ignore_ascii_case(name));
                    found.map(|(_, value)| value.to_unescaped())
                };
                match challenge.scheme.to_ascii_lowercase().as_str() {
                    "bearer" => {
                        let realm = param("realm").and_then(|realm| Url::parse(&realm).ok());
                        let realm = realm.filter(|realm| realm.host().is_some());
                        return Ok(Self::Bearer {
                            realm: realm
                                .ok_or_else(|| not_understood("the realm is no address".to_owned()))?,
                            service: param("service"),
                            scope: param("scope"),
                        });
                    }
                    "basic" => basic = Some(Self::Basic),
                    scheme => other = Some(scheme.chars().take(32).collect::<String>()),
                }
            }
        }
        basic.ok_or_else(|| match other {
            Some(scheme) => not_understood(format!("the scheme is {scheme}")),
            None => not_understood("it does not say how".to_owned()),
        })
    }
}

/// Whether the host that gives tokens belongs to a registry, so that it may be shown the registry's credentials.
pub(super) fn is_related(registry: &Url, realm: &Url) -> bool {
    if realm.scheme() != "https" && registry.scheme() == "https" {
        return false;
    }
    let (Some(registry), Some(realm)) = (registry.host_str(), realm.host_str()) else {
        return false;
    };
    let [registry, realm] = [registry, realm].map(|host| host.trim_end_matches('.').to_ascii_lowercase());
    if registry == realm || PARTNERS.contains(&(registry.as_str(), realm.as_str())) {
        return true;
    }
    match (owned(&registry), owned(&realm)) {
        (Some(one), Some(two)) => one == two,
        _ => false,
    }
}

/// The part of a name that somebody has for himself: `example.org` of `registry.example.org`.
fn owned(host: &str) -> Option<&str> {
    let is_address = host.starts_with('[') || host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if is_address || !host.contains('.') {
        return None;
    }
    let from = |labels: usize| {
        let dots: Vec<usize> = host.match_indices('.').map(|(index, _)| index).collect();
        match dots.len().checked_sub(labels) {
            Some(skip) => Some(&host[dots[skip] + 1..]),
            None => (dots.len() + 1 == labels).then_some(host),
        }
    };
    let two = from(2)?;
    let (second, top) = two.split_once('.')?;
    // `co.uk`, `com.au`, `gv.at`: below two letters, a short word is nobody's own.
    let is_public = PUBLIC_SUFFIXES.contains(&two) || (top.len() == 2 && second.len() <= 3);
    if is_public { from(3) } else { Some(two) }
}

/// A token, and how long it counts.
#[derive(Debug, Clone)]
pub(super) struct Token {
    pub(super) text: Secret,
    pub(super) expires_s: u64,
}

/// Reads what the place that gives tokens answers.
pub(super) fn read_token(host: &str, body: &[u8]) -> Result<Token, RegistryError> {
    #[derive(Deserialize)]
    struct Body {
        token: Option<String>,
        access_token: Option<String>,
        expires_in: Option<u64>,
    }
    let none = || RegistryError::Token {
        host: host.to_owned(),
    };
    let body: Body = serde_json::from_slice(body).map_err(|_| none())?;
    let given = [body.token, body.access_token].into_iter().flatten();
    let text = given
        .into_iter()
        .find(|text| !text.is_empty() && text.len() <= TOKEN_CHARS_MAX)
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_graphic()))
        .ok_or_else(none)?;
    Ok(Token {
        text: Secret::new(text),
        expires_s: body.expires_in.unwrap_or(EXPIRES_S_DEFAULT).min(EXPIRES_S_MAX),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_registry_wants_is_read_from_its_header() {
        let hub = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/nginx:pull""#;
        let Ok(Challenge::Bearer {
            realm,
            service,
            scope,
        }) = Challenge::read("h", &[hub])
        else {
            panic!("a bearer challenge");
        };
        assert_eq!(realm.as_str(), "https://auth.docker.io/token");
        assert_eq!(service.as_deref(), Some("registry.docker.io"));
        assert_eq!(scope.as_deref(), Some("repository:library/nginx:pull"));
        assert_eq!(
            Challenge::read("h", &["Basic realm=\"x\""]).unwrap(),
            Challenge::Basic
        );
        let both = Challenge::read("h", &["Basic realm=\"x\"", hub]).unwrap();
        assert!(matches!(both, Challenge::Bearer { .. }));
        for bad in [
            "",
            "Negotiate",
            "Bearer realm=\"/token\"",
            "Bearer",
            "Digest realm=\"x\"",
            "\u{1}",
        ] {
            assert!(Challenge::read("h", &[bad]).is_err(), "{bad}");
        }
    }

    #[test]
    fn credentials_are_shown_only_to_hosts_that_belong_to_the_registry() {
        for (registry, realm, expected) in [
            (
                "https://registry-1.docker.io",
                "https://auth.docker.io/token",
                true,
            ),
            ("https://ghcr.io", "https://ghcr.io/token", true),
            ("https://lscr.io", "https://ghcr.io/token", true),
            ("https://registry.gitlab.com", "https://gitlab.com/jwt/auth", true),
            (
                "https://registry.example.org:5000",
                "https://git.example.org/token",
                true,
            ),
            (
                "https://registry.example.co.uk",
                "https://auth.example.co.uk/t",
                true,
            ),
            ("http://127.0.0.1:5000", "http://127.0.0.1:5001/token", true),
            ("http://registry:5000", "http://registry:5001/token", true),
            (
                "https://registry.example.org",
                "https://evil.example.com/token",
                false,
            ),
            (
                "https://registry.example.org",
                "https://example.org.evil.com/token",
                false,
            ),
            (
                "https://registry.example.co.uk",
                "https://evil.co.uk/token",
                false,
            ),
            ("https://mine.fly.dev", "https://evil.fly.dev/token", false),
            (
                "https://registry.example.org",
                "http://registry.example.org/token",
                false,
            ),
            ("http://127.0.0.1:5000", "http://127.0.0.2:5000/token", false),
            ("http://10.1.2.3", "http://11.1.2.3/token", false),
            ("http://registry", "http://auth/token", false),
        ] {
            let related = is_related(&registry.parse().unwrap(), &realm.parse().unwrap());
            assert_eq!(related, expected, "{registry} {realm}");
        }
    }

    #[test]
    fn a_token_is_taken_under_both_names_and_counts_a_minute_unless_told() {
        let token = read_token("h", br#"{"token":"a","expires_in":300}"#).unwrap();
        assert_eq!((token.text.expose(), token.expires_s), ("a", 300));
        let token = read_token("h", br#"{"access_token":"b","token":""}"#).unwrap();
        assert_eq!((token.text.expose(), token.expires_s), ("b", 60));
        for bad in [
            &b"{}"[..],
            b"nothing",
            br#"{"token":"a\r\nb"}"#,
            br#"{"token":1}"#,
        ] {
            assert!(read_token("h", bad).is_err());
        }
    }

    proptest! {
        #[test]
        fn no_header_and_no_host_panics(header in "\\PC{0,80}", host in "[a-z0-9.-]{1,20}") {
            let _ = Challenge::read("h", &[&header]);
            let _ = owned(&host);
        }
    }
}
