use std::io::{Read, Write};
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
    connections_max: 4,
    connection_timeout: Duration::from_secs(10),
    collect_timeout: Duration::from_millis(100),
};

fn answering() -> Fixed {
    Fixed(Collection {
        executors: vec![Some(ExecutorMetrics::new(0, 10).snapshot())],
        ..Collection::default()
    })
}

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
    assert!(ask(address, "/other").await.starts_with("HTTP/1.1 404"));
    server.abort();
}

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

#[tokio::test]
async fn a_source_that_hangs_does_not_hang_the_probe() {
    let (address, server) = start(Hanging, LIMITS).await;
    for path in ["/livez", "/readyz", "/metrics"] {
        assert!(ask(address, path).await.starts_with("HTTP/1.1 503"), "{path}");
    }
    server.abort();
}

#[tokio::test]
async fn idle_connections_at_the_limit_delay_others_only_until_their_deadline() {
    let limits = Limits {
        connections_max: 1,
        connection_timeout: Duration::from_millis(200),
        ..LIMITS
    };
    let (address, server) = start(answering(), limits).await;
    // Connects and says nothing; its permit comes back when its deadline has passed.
    let mut idle = std::net::TcpStream::connect(address).unwrap();
    assert!(ask(address, "/livez").await.starts_with("HTTP/1.1 200"));
    let mut rest = Vec::new();
    let _ = idle.read_to_end(&mut rest);
    assert!(rest.is_empty());
    server.abort();
}
