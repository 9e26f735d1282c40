//! The admin endpoint over real sockets: answers, limits, and who gets a place.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::SystemTime;

use async_trait::async_trait;
use tokio::task::{JoinHandle, spawn_blocking};

use super::*;
use crate::metrics::ExecutorMetrics;

struct Fixed(Collection);

#[async_trait]
impl Source for Fixed {
    async fn collect(&self) -> Collection {
        self.0.clone()
    }
}

struct Hanging;

#[async_trait]
impl Source for Hanging {
    async fn collect(&self) -> Collection {
        std::future::pending().await
    }
}

fn facts() -> ProcessFacts {
    ProcessFacts {
        started: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
        keys_locked: true,
        keys_excluded_from_dumps: true,
    }
}

async fn start(source: impl Source, limits: Limits) -> (SocketAddr, JoinHandle<io::Result<()>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(serve_within(listener, Arc::new(source), facts(), limits));
    (address, server)
}

async fn ask(address: SocketAddr, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n");
    let exchange = move || {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut response = String::new();
        // The end of the stream comes by itself: one request a connection.
        stream.read_to_string(&mut response).unwrap();
        response
    };
    spawn_blocking(exchange).await.unwrap()
}

const LIMITS: Limits = Limits {
    patience: CallerPatience {
        callers_max: 4,
        request: Duration::from_secs(10),
        connection: Duration::from_secs(10),
    },
    scrapes_max: 1,
    collect_timeout: Duration::from_millis(100),
};

fn answering() -> Fixed {
    Fixed(Collection {
        executors: vec![Some(ExecutorMetrics::new(0, 10).snapshot())],
        ..Collection::default()
    })
}

/// ADMIN-4
#[tokio::test]
async fn metrics_and_probes_answer() {
    let (address, server) = start(answering(), LIMITS).await;
    let metrics = ask(address, "/metrics").await;
    assert!(metrics.starts_with("HTTP/1.1 200 OK\r\n"));
    assert!(metrics.contains("application/openmetrics-text"));
    assert!(metrics.contains("# EOF\n"));
    for path in ["/livez", "/readyz"] {
        let health = ask(address, path).await;
        assert!(health.starts_with("HTTP/1.1 200 OK\r\n"), "{health}");
        assert!(health.contains("\"ok\":true"));
    }
    let other = ask(address, "/canary").await;
    assert!(
        other.starts_with("HTTP/1.1 404") && !other.contains("canary"),
        "{other}"
    );
    server.abort();
}

/// ADMIN-3
#[tokio::test]
async fn a_silent_executor_is_not_ready_and_still_alive() {
    let silent = Fixed(Collection {
        executors: vec![None],
        ..Collection::default()
    });
    let (address, server) = start(silent, LIMITS).await;
    let ready = ask(address, "/readyz").await;
    assert!(ready.starts_with("HTTP/1.1 503"));
    assert!(ready.contains("executor 0 did not answer"));
    assert!(ask(address, "/livez").await.starts_with("HTTP/1.1 200"));
    assert!(
        ask(address, "/metrics")
            .await
            .contains("sealwire_executors_answering 0\n")
    );
    server.abort();
}

/// ADMIN-3
#[tokio::test]
async fn a_source_that_hangs_does_not_hang_the_probe() {
    let (address, server) = start(Hanging, LIMITS).await;
    for path in ["/livez", "/readyz", "/metrics"] {
        assert!(ask(address, path).await.starts_with("HTTP/1.1 503"), "{path}");
    }
    server.abort();
}

fn connect(address: SocketAddr) -> std::net::TcpStream {
    let stream = std::net::TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// Until the other side closes.
async fn end_of(mut stream: std::net::TcpStream) -> Duration {
    let begun = Instant::now();
    let read = move || {
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        rest
    };
    assert!(spawn_blocking(read).await.unwrap().is_empty());
    begun.elapsed()
}

/// CALLERS-2, ADMIN-1
#[tokio::test]
async fn a_probe_takes_the_place_of_the_oldest_that_says_nothing() {
    let (address, server) = start(answering(), LIMITS).await;
    let mut silent: Vec<_> = (0..40).map(|_| connect(address)).collect();
    // One that has said half of it is no better.
    silent[36].write_all(b"GET /livez HT").unwrap();
    let begun = Instant::now();
    assert!(ask(address, "/livez").await.starts_with("HTTP/1.1 200"));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert!(
        end_of(silent.remove(0)).await < Duration::from_secs(5),
        "the oldest has gone"
    );
    // The youngest have kept their places.
    let mut last = silent.pop().unwrap();
    last.write_all(b"GET /livez HTTP/1.1\r\nHost: test\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    spawn_blocking(move || last.read_to_string(&mut answer).map(|_| answer))
        .await
        .unwrap()
        .map(|answer| assert!(answer.starts_with("HTTP/1.1 200"), "{answer}"))
        .unwrap();
    server.abort();
}

/// CALLERS-1, ADMIN-1
#[tokio::test]
async fn a_request_has_to_come_in_time_and_its_answer_may_take_longer() {
    let limits = Limits {
        patience: CallerPatience {
            request: Duration::from_millis(200),
            ..LIMITS.patience
        },
        collect_timeout: Duration::from_secs(1),
        ..LIMITS
    };
    let (address, server) = start(Hanging, limits).await;
    let silent = connect(address);
    let answer = ask(address, "/livez").await;
    assert!(answer.starts_with("HTTP/1.1 503"), "after a second: {answer}");
    assert!(end_of(silent).await < Duration::from_secs(5));
    server.abort();
}

/// ADMIN-5, ADMIN-2
#[tokio::test]
async fn a_scrape_that_is_not_read_keeps_no_probe_waiting() {
    let limits = Limits {
        patience: CallerPatience {
            connection: Duration::from_secs(2),
            ..LIMITS.patience
        },
        collect_timeout: Duration::from_secs(10),
        ..LIMITS
    };
    let (address, server) = start(Hanging, limits).await;
    // It has the only place, and waits for an answer that does not come.
    let mut first = connect(address);
    first
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: test\r\n\r\n")
        .unwrap();
    let mut second = connect(address);
    second
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: test\r\n\r\n")
        .unwrap();
    assert!(
        ask(address, "/other").await.starts_with("HTTP/1.1 404"),
        "others go on"
    );
    for waiting in [first, second] {
        assert!(
            end_of(waiting).await < Duration::from_secs(10),
            "and they end in time"
        );
    }
    server.abort();
}
