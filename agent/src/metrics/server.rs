//! The HTTP endpoint: `/metrics` for Prometheus, `/healthz` and `/readyz` for probes.
//!
//! Input: `GET` requests over HTTP/1. Output: the page, or `ok`. Failure: 503 where the engine does not answer and that is what is asked,
//! 404 and 405 for anything else.
//!
//! There is neither TLS nor a password: whoever reaches the address reads figures about the node, none of which names a container. What
//! a client can use up is bounded: [`CONNECTIONS_MAX`] at once (further ones wait to be accepted, in the kernel's queue), [`HEADER_BYTES_MAX`]
//! of headers, [`HEADER_TIME`] for them, [`CONNECTION_TIME`] in all, one request per connection, no body is read; and the engine is asked at
//! most once a second.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Metrics;
use super::source::{Answer, Source};
use super::text::{OPENMETRICS, PROMETHEUS, to_prometheus};
use crate::control::connection::EngineRequest;

/// Most connections at once.
pub const CONNECTIONS_MAX: usize = 32;
/// Most bytes of headers; what is longer is refused.
pub const HEADER_BYTES_MAX: usize = 16 << 10;
/// How long a client may take for its headers.
pub const HEADER_TIME: Duration = Duration::from_secs(5);
/// How long a connection may take.
pub const CONNECTION_TIME: Duration = Duration::from_secs(15);
/// For how long the engine may not answer before the agent counts as dead: a probe that restarts it does not help against a moment's load.
pub const SILENCE_MAX: Duration = Duration::from_mins(1);
/// Pause after a connection could not be accepted: the reason is mostly that there are no descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The endpoint cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen for Prometheus on {address}: {source}")]
pub struct ServerError {
    /// `metrics.listen` of the configuration.
    address: SocketAddr,
    /// Why not.
    source: io::Error,
}

/// The endpoint.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    source: Arc<Source>,
    connections: Arc<Semaphore>,
}

impl Server {
    /// Listens. Nobody is answered before [`Server::run`].
    ///
    /// # Errors
    /// If the address is not this machine's, or is in use.
    pub async fn bind(
        address: SocketAddr,
        engine: mpsc::Sender<EngineRequest>,
        metrics: Metrics,
    ) -> Result<Self, ServerError> {
        let listener = TcpListener::bind(address)
            .await
            .map_err(|source| ServerError { address, source })?;
        Ok(Self {
            listener,
            source: Arc::new(Source::new(engine, metrics)),
            connections: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
        })
    }

    /// Answers until `stop` is ready. What is being answered then is cut off.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let mut connections = JoinSet::new();
        tokio::pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => break,
                accepted = self.accept() => match accepted {
                    Ok((stream, permit)) => {
                        let source = Arc::clone(&self.source);
                        connections.spawn(async move {
                            serve(stream, source).await;
                            drop(permit);
                        });
                    }
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a client of the metrics");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(_) = connections.join_next() => {}
            }
        }
    }

    /// The next client, as soon as there is room for one.
    async fn accept(&self) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
        let permit = Arc::clone(&self.connections).acquire_owned().await;
        let permit = permit.map_err(io::Error::other)?;
        let (stream, _) = self.listener.accept().await?;
        Ok((stream, permit))
    }
}

async fn serve(stream: TcpStream, source: Arc<Source>) {
    let service = service_fn(|request: Request<Incoming>| {
        let source = Arc::clone(&source);
        async move { Ok::<_, Infallible>(answer(&request, &source).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .max_buf_size(HEADER_BYTES_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(CONNECTION_TIME, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a client of the metrics failed"),
        Err(_) => tracing::debug!("a client of the metrics took too long"),
    }
}

async fn answer<B>(request: &Request<B>, source: &Source) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    if !matches!(path, "/metrics" | "/healthz" | "/readyz") {
        return text(
            StatusCode::NOT_FOUND,
            "there are /metrics, /healthz and /readyz\n",
        );
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
        response
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let Ok(Answer { page, silent }) = source.answer().await else {
        return text(StatusCode::INTERNAL_SERVER_ERROR, "the page cannot be written\n");
    };
    match (path, silent) {
        ("/metrics", _) => metrics(&page, request.headers()),
        ("/healthz", Some(silence)) if silence < SILENCE_MAX => ok(),
        (_, Some(silence)) => text(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("the engine has not answered for {} s\n", silence.as_secs()),
        ),
        (_, None) => ok(),
    }
}

/// The page in the format that the reader takes; Prometheus names the newer one first.
fn metrics(page: &str, headers: &HeaderMap) -> Response<Full<Bytes>> {
    let mut accepted = headers.get_all(ACCEPT).iter();
    let takes_newer = accepted.any(|value| {
        value
            .to_str()
            .is_ok_and(|value| value.contains("application/openmetrics-text"))
    });
    let (kind, page) = if takes_newer {
        (OPENMETRICS, page.to_owned())
    } else {
        (PROMETHEUS, to_prometheus(page))
    };
    let mut response = text(StatusCode::OK, page);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn ok() -> Response<Full<Bytes>> {
    text(StatusCode::OK, "ok\n")
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
