//! From requests to calls, and the faults between them.

use std::convert::Infallible;
use std::sync::Arc;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;

use crate::world::Answer;
use crate::{Fault, Shared};

/// Serves until `life` ends, and every connection with it.
pub(crate) async fn serve(listener: UnixListener, shared: Arc<Shared>, life: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            () = life.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else { return };
        let (shared, life) = (Arc::clone(&shared), life.clone());
        tokio::spawn(async move {
            // Closed without an answer when it is cancelled.
            let broken = CancellationToken::new();
            let service = service_fn(|request| call(request, &shared, &life, &broken));
            let served =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::select! {
                () = life.cancelled() => {}
                () = broken.cancelled() => {}
                _ = served => {}
            }
        });
    }
}

async fn call(
    request: Request<Incoming>,
    shared: &Shared,
    life: &CancellationToken,
    broken: &CancellationToken,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let method = request.method().to_string();
    let path = request.uri().path().to_owned();
    let query = request.uri().query().unwrap_or_default().to_owned();
    let credential = request.headers().get("x-registry-auth");
    let has_credential = credential.is_some_and(|value| !value.is_empty());
    let body = request
        .into_body()
        .collect()
        .await
        .map(http_body_util::Collected::to_bytes);
    let body: Value = serde_json::from_slice(&body.unwrap_or_default()).unwrap_or_default();
    let path = match path.strip_prefix("/v1.").or_else(|| path.strip_prefix("/v4.")) {
        Some(rest) => rest
            .find('/')
            .map_or_else(String::new, |at| rest[at..].to_owned()),
        None => path,
    };
    let number = {
        let mut calls = shared.calls.lock();
        calls.push(format!("{method} {path}"));
        calls.len()
    };
    let fault = shared.fault.lock().clone().filter(|(at, _)| *at == number);
    let act = || {
        let line = (method.as_str(), path.as_str(), query.as_str());
        shared.world.lock().call(line, &body, has_credential)
    };
    let Some((_, fault)) = fault else {
        return Ok(response(act()));
    };
    let after = match &fault {
        Fault::Refuse => false,
        Fault::Hang { after } | Fault::Drop { after } | Fault::Die { after } | Fault::Do { after, .. } => {
            *after
        }
    };
    if after {
        act();
    }
    match fault {
        Fault::Refuse => return Ok(response(Answer::failure(500, "it was broken on purpose"))),
        Fault::Hang { .. } => {}
        Fault::Drop { .. } => broken.cancel(),
        Fault::Die { .. } => life.cancel(),
        Fault::Do { act, .. } => {
            act();
            broken.cancel();
        }
    }
    // Ends with the connection.
    std::future::pending().await
}

#[expect(clippy::needless_pass_by_value, reason = "what an answer is mapped by")]
fn response(answer: Answer) -> Response<Full<Bytes>> {
    let body = if answer.body.is_null() {
        String::new()
    } else {
        answer.body.to_string()
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = hyper::StatusCode::from_u16(answer.status).unwrap_or_default();
    response
}
