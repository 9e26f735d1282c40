//! Whoever publishes something by HTTPS: what is answered may be changed at any time.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use arc_swap::ArcSwap;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::authority::{Authority, Wanted};
use crate::transport::suites::TlsChoice;

/// See the module. It ends with its owner.
pub struct HttpsServer {
    at: SocketAddr,
    authority: String,
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

/// What is answered.
#[derive(Clone, Debug)]
pub enum Published {
    /// Status 200 with this text.
    Text(String),
    /// Exactly this.
    Raw(String),
    /// Status 200 with a text that does not end.
    Endless,
    /// Nothing, and the connection stays.
    Silence,
    /// What this makes of the request, body included, as [`Self::Raw`].
    By(fn(&str) -> String),
}

struct State {
    published: ArcSwap<Published>,
    asked: AtomicUsize,
    has_ended: AtomicBool,
}

impl HttpsServer {
    /// At a port of its own of 127.0.0.1.
    ///
    /// # Panics
    /// Where there is none, or no randomness.
    #[must_use]
    pub fn start(published: Published) -> Self {
        let authority = Authority::root("whoever publishes");
        let issued = authority.issue(&Wanted::for_hosts(&["127.0.0.1"]));
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(issued.chain.as_bytes()).collect();
        let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).expect("a key");
        let config = ServerConfig::builder_with_provider(TlsChoice::default().provider())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(chain.expect("certificates"), key)
            .expect("they go together");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let at = listener.local_addr().expect("it listens");
        let state = Arc::new(State {
            published: ArcSwap::from_pointee(published),
            asked: AtomicUsize::new(0),
            has_ended: AtomicBool::new(false),
        });
        let (config, serving) = (Arc::new(config), Arc::clone(&state));
        let thread = thread::spawn(move || {
            for socket in listener.incoming() {
                if serving.has_ended.load(Ordering::Acquire) {
                    return;
                }
                let (config, state) = (Arc::clone(&config), Arc::clone(&serving));
                // Whoever hangs up gets nothing.
                thread::spawn(move || socket.and_then(|socket| state.serve(socket, config)));
            }
        });
        Self {
            at,
            authority: authority.pem(),
            state,
            thread: Some(thread),
        }
    }

    /// The address of what it publishes.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://{}/keys", self.at)
    }

    /// Who vouches for it; PEM.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// From now on it answers with this.
    pub fn publish(&self, published: Published) {
        self.state.published.store(Arc::new(published));
    }

    /// How often it was asked.
    #[must_use]
    pub fn asked(&self) -> usize {
        self.state.asked.load(Ordering::Acquire)
    }
}

impl State {
    fn serve(&self, socket: TcpStream, config: Arc<ServerConfig>) -> io::Result<()> {
        let session = ServerConnection::new(config).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(session, socket);
        let (mut request, mut bytes) = (Vec::new(), [0; 1024]);
        while !is_whole(&request) {
            match stream.read(&mut bytes)? {
                0 => return Ok(()),
                read => request.extend_from_slice(&bytes[..read]),
            }
        }
        self.asked.fetch_add(1, Ordering::AcqRel);
        match &*self.published.load_full() {
            Published::Text(text) => {
                let length = text.len();
                write!(
                    stream,
                    "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{text}"
                )
            }
            Published::Raw(text) => stream.write_all(text.as_bytes()),
            Published::By(answer) => stream.write_all(answer(&String::from_utf8_lossy(&request)).as_bytes()),
            Published::Endless => {
                write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
                while !self.has_ended.load(Ordering::Acquire) {
                    stream.write_all(&[b' '; 4096])?;
                }
                Ok(())
            }
            Published::Silence => {
                // Until whoever asks hangs up.
                stream.read(&mut bytes).map(drop)
            }
        }
    }
}

/// Whether the headers of a request are there, and the body that they announce.
fn is_whole(request: &[u8]) -> bool {
    let request = String::from_utf8_lossy(request);
    let Some((head, body)) = request.split_once("\r\n\r\n") else {
        return false;
    };
    let head = head.to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length = length.and_then(|length| length.trim().parse().ok());
    body.len() >= length.unwrap_or(0)
}

impl Drop for HttpsServer {
    fn drop(&mut self) {
        self.state.has_ended.store(true, Ordering::Release);
        // It waits for somebody.
        let woken = TcpStream::connect(self.at).is_ok();
        if let Some(thread) = self.thread.take().filter(|_| woken) {
            let _ = thread.join();
        }
    }
}
