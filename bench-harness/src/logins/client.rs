//! A client that connects, logs in, and asks who leads.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use kafka_protocol::messages::ApiVersionsRequest;
use rustls::StreamOwned;
use sealwire::identity::sasl::initiator::{Credential, Initiation, Next};
use sealwire::transport::tls_client::{ClientSet, Trust, UpstreamTls};

use super::kinds::{self, Kind};
use super::site::{Files, TOPIC};
use crate::{Failure, requests};

pub(super) struct Client {
    port: u16,
    tls: Option<ClientSet>,
    /// It hashes its password once, so that this is in no latency but the first.
    credential: Option<Arc<Credential>>,
}

impl Client {
    pub(super) fn new(files: &Files, kind: Kind, port: u16) -> Result<Self, Failure> {
        let shown = kind.client == kinds::Client::Certificate;
        let tls = UpstreamTls {
            client: shown.then(|| files.client.clone()),
            ..UpstreamTls::trusting(Trust::File(files.authority.clone()))
        };
        let has_tls = kind.client != kinds::Client::Nobody;
        let tls = has_tls.then(|| tls.load(SystemTime::now())).transpose()?;
        let credential = files.proof(kind.client).map(Credential::new).map(Arc::new);
        Ok(Self {
            port,
            tls,
            credential,
        })
    }

    /// Makes a connection, and ends it once a broker has answered.
    pub(super) fn start(&self) -> Result<(), Failure> {
        let mut socket = TcpStream::connect((HOST, self.port))?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let Some(tls) = &self.tls else {
            return self.ask(&mut socket);
        };
        let mut session = tls.session(HOST)?;
        while session.is_handshaking() {
            session.complete_io(&mut socket)?;
        }
        self.ask(&mut StreamOwned::new(session, socket))
    }

    fn ask(&self, stream: &mut (impl Read + Write)) -> Result<(), Failure> {
        requests::ask(stream, &requests::request(0, &ApiVersionsRequest::default())?)?;
        if let Some(credential) = &self.credential {
            log_in(stream, credential)?;
        }
        let answer = requests::ask(stream, &requests::metadata_request(TOPIC)?)?;
        requests::leader(&answer).map(drop)
    }
}

fn log_in(stream: &mut (impl Read + Write), credential: &Arc<Credential>) -> Result<(), Failure> {
    let (mut initiation, first) = Initiation::begin(Arc::clone(credential))?;
    let mechanism = initiation.mechanism().name();
    requests::ask(stream, &requests::sasl_handshake_request(mechanism)?)?;
    let mut next = Ok(Next::Send(first));
    loop {
        next = match next.map_err(|fault| format!("{mechanism}: {fault:?}"))? {
            Next::Send(message) => {
                let request = requests::sasl_authenticate_request(Bytes::copy_from_slice(&message))?;
                initiation.take(&requests::authenticated(&requests::ask(stream, &request)?)?)
            }
            Next::Hash => {
                initiation.hashing(HOST).ok_or("no password to hash")?.run();
                initiation.resume()
            }
            Next::Done => return Ok(()),
        };
    }
}

const HOST: &str = "127.0.0.1";
const PATIENCE: Duration = Duration::from_secs(20);
