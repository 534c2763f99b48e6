//! A registry that is told how to misbehave, and counts what it is asked.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::HeaderMap;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use muster_image::Digest;
use muster_image::manifest::{DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

/// Who is let in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Door {
    #[default]
    Open,
    /// Whoever shows a token from `/token`.
    Bearer,
    /// `puller` with `correct horse`.
    Basic,
    /// Bearer, with tokens from somewhere else.
    BearerFrom(String),
}

/// What was asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) heads: usize,
    /// Of manifests.
    pub(super) gets: usize,
    pub(super) blobs: usize,
    pub(super) tokens: usize,
    pub(super) pings: usize,
    pub(super) lists: usize,
}

#[derive(Default)]
pub(super) struct State {
    /// By repository and tag or digest.
    manifests: HashMap<(String, String), (&'static str, Vec<u8>)>,
    blobs: HashMap<String, Vec<u8>>,
    pub(super) tags: BTreeMap<String, Vec<String>>,
    pub(super) counts: Counts,
    pub(super) door: Door,
    pub(super) hides_digest: bool,
    /// What every request but a ping is answered with: status and headers.
    pub(super) refusal: Option<(u16, Vec<(&'static str, String)>)>,
    /// Sent with what succeeds.
    pub(super) headers: Vec<(&'static str, String)>,
    /// Where blobs are.
    pub(super) blobs_at: Option<String>,
    pub(super) expires_in: Option<u64>,
    /// Answers a manifest with so many bytes of nothing.
    pub(super) huge: usize,
    pub(super) is_slow: bool,
    /// Path, and what authorized it.
    pub(super) log: Vec<(String, Option<String>)>,
}

pub(super) struct Fake {
    pub(super) address: SocketAddr,
    state: Arc<Mutex<State>>,
    server: AbortHandle,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Fake {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let server = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else {
                    return;
                };
                let state = Arc::clone(&shared);
                tokio::spawn(async move {
                    let service = service_fn(move |request| answer(Arc::clone(&state), address, request));
                    let _ = http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self {
            address,
            state,
            server: server.abort_handle(),
        }
    }

    /// Changes how it behaves.
    pub(super) fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
    }

    /// What was asked since the last time.
    pub(super) fn counts(&self) -> Counts {
        std::mem::take(&mut self.state.lock().unwrap().counts)
    }

    pub(super) fn log(&self) -> Vec<(String, Option<String>)> {
        std::mem::take(&mut self.state.lock().unwrap().log)
    }

    /// An image's name.
    pub(super) fn name(&self, rest: &str) -> String {
        format!("{}/{rest}", self.address)
    }

    fn store(&self, repository: &str, tag: Option<&str>, kind: &'static str, document: &Value) -> String {
        let bytes = document.to_string().into_bytes();
        let digest = Digest::of(&bytes).to_string();
        let mut state = self.state.lock().unwrap();
        for reference in [Some(digest.as_str()), tag].into_iter().flatten() {
            let key = (repository.to_owned(), reference.to_owned());
            state.manifests.insert(key, (kind, bytes.clone()));
        }
        if let Some(tag) = tag {
            let tags = state.tags.entry(repository.to_owned()).or_default();
            if !tags.iter().any(|known| known == tag) {
                tags.push(tag.to_owned());
            }
        }
        digest
    }

    /// Pushes an image for one platform. Returns its digest and that of its configuration.
    pub(super) fn image(
        &self,
        repository: &str,
        tag: Option<&str>,
        kind: &'static str,
        content: &str,
    ) -> (String, String) {
        let config = json!({
            "architecture": "amd64", "os": "linux", "content": content,
            "config": {"Labels": {
                "org.opencontainers.image.version": content,
                "org.opencontainers.image.source": "https://github.com/lab/app",
            }},
        });
        let config = config.to_string().into_bytes();
        let config_digest = Digest::of(&config).to_string();
        let size = config.len();
        self.state
            .lock()
            .unwrap()
            .blobs
            .insert(config_digest.clone(), config);
        let manifest = json!({
            "schemaVersion": 2, "mediaType": kind,
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config_digest, "size": size},
            "layers": [],
        });
        (self.store(repository, tag, kind, &manifest), config_digest)
    }

    /// Pushes an index over images. Returns its digest.
    pub(super) fn index(
        &self,
        repository: &str,
        tag: Option<&str>,
        kind: &'static str,
        children: &[(&str, &str)],
    ) -> String {
        let child_kind = if kind == OCI_INDEX {
            OCI_MANIFEST
        } else {
            DOCKER_MANIFEST
        };
        assert!(kind == OCI_INDEX || kind == DOCKER_LIST);
        let entries: Vec<Value> = children
            .iter()
            .map(|(platform, content)| {
                let (os, architecture) = platform.split_once('/').unwrap();
                let digest = if platform.starts_with("nested") {
                    return json!({"mediaType": kind, "digest": content, "size": 1});
                } else {
                    self.image(repository, None, child_kind, content).0
                };
                json!({
                    "mediaType": child_kind, "digest": digest, "size": 1,
                    "platform": {"os": os, "architecture": architecture},
                })
            })
            .collect();
        let index = json!({"schemaVersion": 2, "mediaType": kind, "manifests": entries});
        self.store(repository, tag, kind, &index)
    }

    /// What a tag's index has for a platform: its digest.
    pub(super) fn child(&self, repository: &str, index: &str, architecture: &str) -> String {
        let state = self.state.lock().unwrap();
        let (_, bytes) = &state.manifests[&(repository.to_owned(), index.to_owned())];
        let index: Value = serde_json::from_slice(bytes).unwrap();
        let entries = index["manifests"].as_array().unwrap();
        let entry = entries
            .iter()
            .find(|entry| entry["platform"]["architecture"] == architecture);
        entry.unwrap()["digest"].as_str().unwrap().to_owned()
    }
}

type Answered = Response<Full<Bytes>>;

fn response(status: u16, headers: &[(&str, String)], body: impl Into<Bytes>) -> Answered {
    let mut builder = Response::builder().status(status);
    for (name, value) in headers {
        builder = builder.header(*name, value.as_str());
    }
    builder.body(Full::new(body.into())).unwrap()
}

async fn answer(
    state: Arc<Mutex<State>>,
    address: SocketAddr,
    request: Request<Incoming>,
) -> Result<Answered, Infallible> {
    if state.lock().unwrap().is_slow {
        std::future::pending::<()>().await;
    }
    let mut state = state.lock().unwrap();
    Ok(judge(
        &mut state,
        address,
        request.method(),
        request.uri(),
        request.headers(),
    ))
}

fn judge(
    state: &mut State,
    address: SocketAddr,
    method: &Method,
    uri: &hyper::Uri,
    headers: &HeaderMap,
) -> Answered {
    let shown = headers
        .get("authorization")
        .map(|value| value.to_str().unwrap().to_owned());
    let path = uri.path().to_owned();
    state.log.push((uri.to_string(), shown.clone()));
    if path == "/token" {
        return token(state, uri, shown.as_deref());
    }
    let is_ping = path == "/v2/";
    if is_ping {
        state.counts.pings += 1;
    } else if path.contains("/blobs/") {
        state.counts.blobs += 1;
    } else if path.ends_with("/tags/list") {
        state.counts.lists += 1;
    } else if *method == Method::HEAD {
        state.counts.heads += 1;
    } else {
        state.counts.gets += 1;
    }
    let parts: Vec<&str> = path.trim_start_matches("/v2/").rsplitn(3, '/').collect();
    let repository = parts.get(2).copied().unwrap_or_default();
    if let Some(refused) = door(state, address, repository, shown.as_deref()) {
        return refused;
    }
    if is_ping {
        return response(200, &[], "{}");
    }
    if let Some((status, headers)) = &state.refusal {
        return response(*status, headers, "refused");
    }
    match (parts.get(1).copied(), parts.first().copied()) {
        (Some("manifests"), Some(reference)) => manifest(state, method, headers, repository, reference),
        (Some("blobs"), Some(digest)) => match (&state.blobs_at, state.blobs.get(digest)) {
            (Some(elsewhere), _) => {
                let to = format!("{elsewhere}{path}");
                response(307, &[("location", to)], "")
            }
            (None, Some(bytes)) => response(200, &[], bytes.clone()),
            (None, None) => response(404, &[], ""),
        },
        (Some("tags"), Some("list")) => tags(state, uri, repository),
        _ => response(404, &[], ""),
    }
}

fn door(state: &State, address: SocketAddr, repository: &str, shown: Option<&str>) -> Option<Answered> {
    let right = format!(
        "Basic {}",
        base64::engine::general_purpose::STANDARD.encode("puller:correct horse")
    );
    let challenge = match &state.door {
        Door::Open => return None,
        Door::Basic if shown == Some(right.as_str()) => return None,
        Door::Basic => "Basic realm=\"lab\"".to_owned(),
        Door::Bearer if shown.is_some_and(|shown| is_for(shown, repository)) => return None,
        Door::Bearer => format!("Bearer realm=\"http://{address}/token\",service=\"lab\""),
        Door::BearerFrom(realm) => format!("Bearer realm=\"{realm}\",service=\"lab\""),
    };
    Some(response(401, &[("www-authenticate", challenge)], "{}"))
}

/// A token is the list of the scopes it was asked for.
fn is_for(shown: &str, repository: &str) -> bool {
    let Some(token) = shown.strip_prefix("Bearer ") else {
        return false;
    };
    let scope = format!("repository:{repository}:pull");
    repository.is_empty() || token.split('|').any(|own| own == scope)
}

fn token(state: &mut State, uri: &hyper::Uri, shown: Option<&str>) -> Answered {
    state.counts.tokens += 1;
    if shown.is_some_and(|shown| {
        !shown.ends_with(&base64::engine::general_purpose::STANDARD.encode("puller:correct horse"))
    }) {
        return response(401, &[], "{}");
    }
    let query = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    let scopes: Vec<String> = query
        .filter(|(name, _)| name == "scope")
        .map(|(_, scope)| scope.into_owned())
        .collect();
    let token = if scopes.is_empty() {
        "nothing".to_owned()
    } else {
        scopes.join("|")
    };
    let mut body = json!({"token": token});
    if let Some(expires_in) = state.expires_in {
        body["expires_in"] = json!(expires_in);
    }
    response(200, &[], body.to_string())
}

fn manifest(
    state: &State,
    method: &Method,
    headers: &HeaderMap,
    repository: &str,
    reference: &str,
) -> Answered {
    let key = (repository.to_owned(), reference.to_owned());
    let Some((kind, bytes)) = state.manifests.get(&key) else {
        return response(404, &[], "{}");
    };
    let accepted: Vec<&str> = headers
        .get_all("accept")
        .iter()
        .map(|value| value.to_str().unwrap())
        .collect();
    if !accepted.contains(kind) {
        return response(406, &[], "this type is not accepted");
    }
    let mut told = state.headers.clone();
    told.push(("content-type", (*kind).to_owned()));
    if !state.hides_digest {
        told.push(("docker-content-digest", Digest::of(bytes).to_string()));
    }
    if *method == Method::HEAD {
        return response(200, &told, "");
    }
    if 0 < state.huge {
        return response(200, &told, vec![b' '; state.huge]);
    }
    response(200, &told, bytes.clone())
}

/// Two tags a page, with links as some registries write them.
fn tags(state: &State, uri: &hyper::Uri, repository: &str) -> Answered {
    let all = state.tags.get(repository).cloned().unwrap_or_default();
    let query = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    let last = query
        .into_owned()
        .find(|(name, _)| name == "last")
        .map(|(_, last)| last);
    let skip = last
        .and_then(|last| all.iter().position(|tag| *tag == last))
        .map_or(0, |index| index + 1);
    let page: Vec<&String> = all.iter().skip(skip).take(2).collect();
    let mut headers = Vec::new();
    if skip + page.len() < all.len() {
        let last = page.last().unwrap();
        headers.push((
            "link",
            format!("</v2/{repository}/tags/list?n=2&last={last}>; rel=\"next\""),
        ));
    }
    let body = json!({"name": repository, "tags": page});
    response(200, &headers, body.to_string())
}
