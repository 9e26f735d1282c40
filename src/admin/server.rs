//! The HTTP server: routes, and a listener that bounds how many connections there are and how long each lives.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep, timeout};

use super::health::Liveness;
use super::{
    COLLECT_TIMEOUT, CONNECTION_TIMEOUT, CONNECTIONS_MAX, Collection, Health, ProcessFacts, Source,
    exposition,
};

/// Serves the endpoint on `listener` until the future is dropped. Returns only an error of the server itself.
pub async fn serve(listener: TcpListener, source: Arc<dyn Source>, facts: ProcessFacts) -> io::Result<()> {
    let limits = Limits {
        connections_max: CONNECTIONS_MAX,
        connection_timeout: CONNECTION_TIMEOUT,
        collect_timeout: COLLECT_TIMEOUT,
    };
    serve_within(listener, source, facts, limits).await
}

#[derive(Clone, Copy)]
struct Limits {
    connections_max: usize,
    connection_timeout: Duration,
    collect_timeout: Duration,
}

async fn serve_within(
    listener: TcpListener,
    source: Arc<dyn Source>,
    facts: ProcessFacts,
    limits: Limits,
) -> io::Result<()> {
    let state = Arc::new(AdminState {
        source,
        facts,
        collect_timeout: limits.collect_timeout,
        liveness: Mutex::default(),
    });
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .layer(map_response(one_request_a_connection))
        .with_state(state);
    let listener = BoundedListener {
        listener,
        permits: Arc::new(Semaphore::new(limits.connections_max)),
        timeout: limits.connection_timeout,
    };
    axum::serve(listener, router).await
}

struct AdminState {
    source: Arc<dyn Source>,
    facts: ProcessFacts,
    collect_timeout: Duration,
    /// Never contended: only the control thread takes it, and never across an await.
    liveness: Mutex<Liveness>,
}

impl AdminState {
    async fn collect(&self) -> Option<Collection> {
        let collection = timeout(self.collect_timeout, self.source.collect()).await.ok()?;
        self.liveness().observe(&collection, Instant::now());
        Some(collection)
    }

    fn liveness(&self) -> std::sync::MutexGuard<'_, Liveness> {
        self.liveness.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn metrics(State(state): State<Arc<AdminState>>) -> Response {
    let Some(collection) = state.collect().await else {
        return probe(&Health::unknown());
    };
    match exposition::text(&collection, state.facts) {
        Ok(text) => (StatusCode::OK, headers(exposition::CONTENT_TYPE), text).into_response(),
        Err(std::fmt::Error) => (StatusCode::INTERNAL_SERVER_ERROR, headers(PLAIN)).into_response(),
    }
}

async fn livez(State(state): State<Arc<AdminState>>) -> Response {
    match state.collect().await {
        Some(collection) => probe(&state.liveness().verdict(&collection, Instant::now())),
        None => probe(&Health::unknown()),
    }
}

async fn readyz(State(state): State<Arc<AdminState>>) -> Response {
    match state.collect().await {
        Some(collection) => probe(&Health::ready(&collection)),
        None => probe(&Health::unknown()),
    }
}

fn probe(health: &Health) -> Response {
    let status = if health.ok {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    match serde_json::to_string(health) {
        Ok(text) => (status, headers("application/json"), text + "\n").into_response(),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, headers(PLAIN)).into_response(),
    }
}

/// ADMIN-2: a scrape every few seconds needs no kept connection, and no idle one holds a permit.
async fn one_request_a_connection(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn headers(content_type: &'static str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers
}

const PLAIN: &str = "text/plain; charset=utf-8";

struct BoundedListener {
    listener: TcpListener,
    permits: Arc<Semaphore>,
    timeout: Duration,
}

impl axum::serve::Listener for BoundedListener {
    type Io = BoundedStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (BoundedStream, SocketAddr) {
        loop {
            let Ok(permit) = Arc::clone(&self.permits).acquire_owned().await else {
                // INVARIANT: the semaphore is never closed.
                std::future::pending::<()>().await;
                continue;
            };
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    let stream = BoundedStream {
                        stream,
                        deadline: Box::pin(sleep(self.timeout)),
                        _permit: permit,
                    };
                    return (stream, peer);
                }
                // Out of descriptors, or the peer is gone already: neither may spin.
                Err(error) => {
                    tracing::warn!(%error, "the admin endpoint cannot accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A socket that fails once its deadline has passed.
struct BoundedStream {
    stream: TcpStream,
    deadline: Pin<Box<Sleep>>,
    _permit: OwnedSemaphorePermit,
}

impl BoundedStream {
    fn check_deadline(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.deadline.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::ErrorKind::TimedOut.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl AsyncRead for BoundedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check_deadline(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for BoundedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check_deadline(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check_deadline(context)?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests;
