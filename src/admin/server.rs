//! The HTTP server: routes, and what a connection and its request may cost.
#![expect(clippy::disallowed_types, reason = "the control thread alone takes it")]

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{map_request, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::callers::{Caller, CallerPatience, PatientListener};
use super::health::Liveness;
use super::{
    CALLERS_MAX, COLLECT_TIMEOUT, CONNECTION_TIMEOUT, Collection, Health, ProcessFacts, REQUEST_TIMEOUT,
    SCRAPES_MAX, Source, exposition,
};

/// Serves the endpoint on `listener` until the future is dropped. Returns only an error of the server itself.
pub async fn serve(listener: TcpListener, source: Arc<dyn Source>, facts: ProcessFacts) -> io::Result<()> {
    let limits = Limits {
        patience: CallerPatience {
            callers_max: CALLERS_MAX,
            request: REQUEST_TIMEOUT,
            connection: CONNECTION_TIMEOUT,
        },
        scrapes_max: SCRAPES_MAX,
        collect_timeout: COLLECT_TIMEOUT,
    };
    serve_within(listener, source, facts, limits).await
}

#[derive(Clone, Copy)]
struct Limits {
    patience: CallerPatience,
    scrapes_max: usize,
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
        scrapes: Arc::new(Semaphore::new(limits.scrapes_max)),
    });
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .layer(map_response(one_request_a_connection))
        .layer(map_request(note_the_request))
        .with_state(state);
    let listener = PatientListener::new(listener, limits.patience);
    axum::serve(listener, router.into_make_service_with_connect_info::<Caller>()).await
}

struct AdminState {
    source: Arc<dyn Source>,
    facts: ProcessFacts,
    collect_timeout: Duration,
    /// Never contended: only the control thread takes it, and never across an await.
    liveness: Mutex<Liveness>,
    /// ADMIN-5: a place is kept for as long as its connection lives.
    scrapes: Arc<Semaphore>,
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

/// The first thing that is done with a request, whatever it asks for.
async fn note_the_request(ConnectInfo(caller): ConnectInfo<Caller>, request: Request) -> Request {
    caller.has_asked();
    request
}

async fn metrics(State(state): State<Arc<AdminState>>, ConnectInfo(caller): ConnectInfo<Caller>) -> Response {
    match Arc::clone(&state.scrapes).acquire_owned().await {
        Ok(place) => caller.keep(place),
        // INVARIANT: the semaphore is never closed.
        Err(_) => return probe(&Health::unknown()),
    }
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

/// ADMIN-2: a scrape every few seconds needs no kept connection.
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

#[cfg(test)]
mod tests;
