//! A broker that answers what the siege asks, and a fetch request with whatever it was told to.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use kafka_protocol::messages::metadata_response::MetadataResponseBroker;
use kafka_protocol::messages::{ApiKey, BrokerId, HeartbeatResponse, MetadataResponse};

use super::siege::{give_way, go_first};
use super::wire::{response, stored, text};

pub(crate) const HOST: &str = "127.0.0.1";
/// The only node of the cluster.
pub(crate) const NODE: i32 = 1;

pub(crate) struct Broker {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    fetched: Mutex<Arc<Vec<u8>>>,
    connections: AtomicUsize,
}

impl Broker {
    /// Its threads end with their connections, and with the process.
    pub(crate) fn start() -> io::Result<Self> {
        let listener = TcpListener::bind((HOST, 0))?;
        let port = listener.local_addr()?.port();
        let shared = Arc::<Shared>::default();
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&accepting);
                shared.connections.fetch_add(1, Ordering::Relaxed);
                thread::spawn(move || {
                    // Whoever is connected may go at any time.
                    let _ = serve(socket, port, &shared);
                    shared.connections.fetch_sub(1, Ordering::Relaxed);
                });
            }
        });
        Ok(Self { port, shared })
    }

    pub(crate) fn address(&self) -> String {
        format!("{HOST}:{}", self.port)
    }

    /// A frame with its length; its correlation id will be the request's.
    pub(crate) fn answer_fetches_with(&self, frame: Vec<u8>) {
        *self.shared.fetched.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(frame);
    }

    /// Those that the proxy has not closed.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }
}

fn serve(mut socket: TcpStream, port: u16, shared: &Shared) -> io::Result<()> {
    socket.set_nodelay(true)?;
    go_first();
    loop {
        let frame = read_frame(&mut socket)?;
        let Some((&[key_0, key_1, version_0, version_1, id_0, id_1, id_2, id_3], _)) =
            frame.split_first_chunk()
        else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let version = i16::from_be_bytes([version_0, version_1]);
        let id = i32::from_be_bytes([id_0, id_1, id_2, id_3]);
        match ApiKey::try_from(i16::from_be_bytes([key_0, key_1])) {
            Ok(ApiKey::Metadata) => {
                let broker = MetadataResponseBroker::default()
                    .with_node_id(BrokerId(NODE))
                    .with_host(text(HOST))
                    .with_port(i32::from(port));
                let metadata = MetadataResponse::default().with_brokers(vec![broker]);
                socket.write_all(&response(version, id, &metadata))?;
            }
            Ok(ApiKey::Heartbeat) => {
                socket.write_all(&response(version, id, &HeartbeatResponse::default()))?;
            }
            Ok(ApiKey::Produce) => {
                give_way();
                socket.write_all(&stored(version, id, &frame))?;
            }
            Ok(ApiKey::Fetch) => {
                give_way();
                let fetched = Arc::clone(&shared.fetched.lock().unwrap_or_else(PoisonError::into_inner));
                let (length, rest) = fetched.split_at(4);
                socket.write_all(&[length, &id.to_be_bytes()].concat())?;
                socket.write_all(&rest[4..])?;
            }
            _ => return Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

/// Without its length.
pub(crate) fn read_frame(socket: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; frame_length(socket)?];
    socket.read_exact(&mut frame)?;
    Ok(frame)
}

pub(crate) fn frame_length(socket: &mut impl Read) -> io::Result<usize> {
    let mut length = [0; 4];
    socket.read_exact(&mut length)?;
    usize::try_from(i32::from_be_bytes(length)).map_err(io::Error::other)
}
