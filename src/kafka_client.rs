//! The smallest Kafka client that can read a topic and ask what the self-check wants to know: blocking, one connection,
//! requests in versions that every broker since 0.11 takes. Requests are made by `kafka-protocol`; answers are
//! untrusted and read by our own walkers.
//!
//! It logs in where whoever calls it has an account for that, makes tokens, and writes nothing else. No executor and
//! not the control thread may call it: it waits for the network.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]
#![expect(clippy::disallowed_methods, reason = "no executor uses it")]

mod answers;
mod questions;
mod socket;

use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use kafka_protocol::messages::{ApiKey, RequestHeader};
use kafka_protocol::protocol::{Encodable, HeaderVersion, StrBytes};
use rustls::ClientConnection;
use zeroize::Zeroizing;

pub(crate) use self::questions::{FoundCluster, Leader, MadeToken, TopicSettings};
use self::socket::{Deadlined, exchange, in_words_of_tls};
use crate::broker_login::{BrokerAccount, BrokerLogin, LoginError, Outcome};
use crate::protocol::{ProtocolError, frame};
use crate::transport::tls_client::ClientSet;

/// Why a broker was asked in vain.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// A broker cannot be reached, or does not answer.
    #[error("broker {address}: {source}")]
    Broker {
        /// `host:port`.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// A broker's answer cannot be understood.
    #[error("broker {address} gave an answer that cannot be read: {source}")]
    Answer {
        /// `host:port`.
        address: String,
        /// Why.
        source: ProtocolError,
    },
    /// A broker refuses.
    #[error("broker {address} refuses with Kafka error {code}{}", in_words(*.code))]
    Refused {
        /// `host:port`.
        address: String,
        /// Kafka's error code.
        code: i16,
    },
    /// A broker does not let us log in.
    #[error("broker {address}: {source}")]
    Login {
        /// `host:port`.
        address: String,
        /// Why.
        source: LoginError,
    },
}

impl ClientError {
    /// Whether the broker has ended the connection: what those do that want a login.
    pub(crate) fn is_end(&self) -> bool {
        let Self::Broker { source, .. } = self else {
            return false;
        };
        matches!(
            source.kind(),
            io::ErrorKind::UnexpectedEof
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe
        )
    }
}

/// How long a broker is waited for, and how much is taken of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    pub(crate) connect: Duration,
    /// For a whole answer, however it comes.
    pub(crate) answer: Duration,
    /// One answer.
    pub(crate) answer_bytes_max: u64,
}

/// For a person who waits for one broker. It sends at least one whole batch (KIP-74), however large the topic lets it
/// be.
pub(crate) const PATIENT: Patience = Patience {
    connect: Duration::from_secs(5),
    answer: Duration::from_secs(15),
    answer_bytes_max: 512 << 20,
};

/// A connection to one broker.
pub(crate) struct BrokerClient {
    stream: TcpStream,
    tls: Option<Box<ClientConnection>>,
    address: String,
    answer: Duration,
    /// Beyond which nothing is waited for.
    until: Option<Instant>,
    answer_bytes_max: u64,
    correlation_id: i32,
}

impl BrokerClient {
    /// By TLS if `tls`; hands are shaken with the first question.
    pub(crate) fn connect(
        address: &str,
        tls: Option<&ClientSet>,
        patience: Patience,
    ) -> Result<Self, ClientError> {
        let tls = tls.map(|set| set.session(host_of(address))).transpose();
        let tls = tls.map_err(|error| broker(address, io::Error::other(error)))?;
        let connected = address.to_socket_addrs().and_then(|addresses| {
            let mut last = io::Error::from(io::ErrorKind::NotFound);
            for address in addresses {
                match TcpStream::connect_timeout(&address, patience.connect) {
                    Ok(stream) => return Ok(stream),
                    Err(error) => last = error,
                }
            }
            Err(last)
        });
        Ok(Self {
            stream: connected.map_err(|source| broker(address, source))?,
            tls: tls.map(Box::new),
            address: address.to_owned(),
            answer: patience.answer,
            until: None,
            answer_bytes_max: patience.answer_bytes_max,
            correlation_id: 0,
        })
    }

    /// From now on nothing is waited for beyond this point in time.
    pub(crate) fn wait_until(&mut self, until: Instant) {
        self.until = Some(until);
    }

    /// Logs in. Nothing but [`Self::is_proxy`] may come before it.
    pub(crate) fn log_in(&mut self, account: &BrokerAccount) -> Result<(), ClientError> {
        let failed = |address: &str, source| ClientError::Login {
            address: address.to_owned(),
            source,
        };
        let Some(mut login) = BrokerLogin::new(account) else {
            // TLS shows who it is.
            return Ok(());
        };
        loop {
            self.correlation_id = self.correlation_id.wrapping_add(1);
            let mut request = Zeroizing::new(Vec::new());
            login
                .write(self.correlation_id, &mut request)
                .map_err(|error| failed(&self.address, error))?;
            let answer = self.exchange(&request);
            let answer = answer.map_err(|source| broker(&self.address, source))?;
            let mut outcome = login.take(&answer);
            while let Ok(Outcome::Hash) = outcome {
                match login.hashing(&self.address) {
                    Some(hashing) => hashing.run(),
                    // Somebody else hashes it.
                    None => std::thread::sleep(LOOK_AGAIN),
                }
                outcome = login.resume();
            }
            match outcome {
                Ok(Outcome::Done(_)) => return Ok(()),
                Ok(_) => {}
                Err(error) => return Err(failed(&self.address, error)),
            }
        }
    }

    fn ask<M: Encodable + HeaderVersion>(
        &mut self,
        key: ApiKey,
        version: i16,
        body: &M,
    ) -> Result<Vec<u8>, ClientError> {
        self.correlation_id = self.correlation_id.wrapping_add(1);
        let exchanged = self
            .request(key, version, body)
            .and_then(|request| self.exchange(&request));
        exchanged.map_err(|source| broker(&self.address, source))
    }

    fn request<M: Encodable + HeaderVersion>(
        &self,
        key: ApiKey,
        version: i16,
        body: &M,
    ) -> io::Result<Vec<u8>> {
        let header = RequestHeader::default()
            .with_request_api_key(key as i16)
            .with_request_api_version(version)
            .with_correlation_id(self.correlation_id)
            .with_client_id(Some(StrBytes::from_static_str("sealwire")));
        let mut request = BytesMut::new();
        let encoded = header
            .encode(&mut request, M::header_version(version))
            .and_then(|()| body.encode(&mut request, version));
        encoded.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error.to_string()))?;
        let length = u32::try_from(request.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        Ok([&length.to_be_bytes()[..], &request].concat())
    }

    /// Sends a request, its length included; the answer is without it.
    fn exchange(&mut self, request: &[u8]) -> io::Result<Vec<u8>> {
        let most = Instant::now() + self.answer;
        let mut socket = Deadlined {
            stream: &self.stream,
            deadline: self.until.map_or(most, |until| until.min(most)),
        };
        let (most, is_first) = (self.answer_bytes_max, self.correlation_id == 1);
        let answer = match &mut self.tls {
            None => exchange(&mut socket, request, most, is_first)?,
            Some(tls) => {
                let mut stream = rustls::Stream::new(&mut **tls, &mut socket);
                let answer = exchange(&mut stream, request, most, is_first);
                answer.map_err(|error| in_words_of_tls(error, tls))?
            }
        };
        match frame::response_correlation_id(&answer) {
            Some(id) if id == self.correlation_id => Ok(answer),
            _ => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the answer is to another question",
            )),
        }
    }

    fn understood<T>(&self, result: Result<T, ProtocolError>) -> Result<T, ClientError> {
        result.map_err(|source| ClientError::Answer {
            address: self.address.clone(),
            source,
        })
    }

    fn accepted(&self, code: i16) -> Result<(), ClientError> {
        match code {
            0 => Ok(()),
            code => Err(ClientError::Refused {
                address: self.address.clone(),
                code,
            }),
        }
    }
}

/// The host of `HOST:PORT`, an IPv6 address without its brackets.
fn host_of(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

fn broker(address: &str, source: io::Error) -> ClientError {
    ClientError::Broker {
        address: address.to_owned(),
        source,
    }
}

/// The errors that an operator meets here, in words.
fn in_words(code: i16) -> &'static str {
    match code {
        1 => " (offset out of range)",
        3 => " (unknown topic or partition)",
        5 => " (no leader)",
        6 => " (not the leader any more; try again)",
        29 => " (not authorized)",
        _ => "",
    }
}

/// A password is hashed within milliseconds.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
