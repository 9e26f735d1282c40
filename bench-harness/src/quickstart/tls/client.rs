//! A client of its own, for one partition: this librdkafka is built without TLS, so that nothing has to be installed
//! for it.

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::{
    Compression, NO_PARTITION_LEADER_EPOCH, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE,
    Record as Encoded, RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::quickstart::exchange::{PATIENCE, Place, Record};
use crate::{Failure, requests};

/// A connection on which hands were shaken.
pub(super) struct Client {
    stream: StreamOwned<ClientConnection, TcpStream>,
    trusting: Arc<ClientConfig>,
}

impl Client {
    /// Connects to whoever can show a certificate for `host` that the authority in `pem` vouches for.
    ///
    /// # Errors
    /// What there is to say of another one's, among others.
    pub(super) fn connect(host: &str, port: u16, pem: &str) -> Result<Self, Failure> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(pem.as_bytes())?)?;
        let trusting = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self::shake_hands(host, port, Arc::new(trusting))
    }

    fn shake_hands(host: &str, port: u16, trusting: Arc<ClientConfig>) -> Result<Self, Failure> {
        let name = ServerName::try_from(host.to_owned())?;
        let mut session = ClientConnection::new(Arc::clone(&trusting), name)?;
        let mut socket = TcpStream::connect((host, port))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        while session.is_handshaking() {
            session.complete_io(&mut socket)?;
        }
        Ok(Self {
            stream: StreamOwned::new(session, socket),
            trusting,
        })
    }

    /// Version, cipher suite and key exchange.
    pub(super) fn agreed_on(&self) -> Result<String, Failure> {
        let session = &self.stream.conn;
        let version = session.protocol_version().ok_or("no version")?;
        let suite = session.negotiated_cipher_suite().ok_or("no cipher suite")?;
        let exchange = session.negotiated_key_exchange_group().ok_or("no key exchange")?;
        Ok(format!("{version:?}, {:?}, {:?}", suite.suite(), exchange.name()))
    }

    /// Says who it is.
    ///
    /// # Errors
    /// What the proxy says to somebody who is not.
    pub(super) fn log_in(&mut self, user: &str, password: &str) -> Result<(), Failure> {
        self.ask(&requests::sasl_handshake_request("PLAIN")?)?;
        let token = format!("\0{user}\0{password}");
        let answer = self.ask(&requests::sasl_authenticate_request(token.into())?)?;
        requests::authenticated(&answer).map(drop)
    }

    /// The same to the broker that leads partition 0 of `topic`, where the metadata says that it is.
    pub(super) fn at_leader(&mut self, topic: &str) -> Result<Self, Failure> {
        let answer = self.ask(&requests::metadata_request(topic)?)?;
        let (host, port) = requests::leader(&answer)?;
        Self::shake_hands(&host, port, Arc::clone(&self.trusting))
    }

    /// Sends the records to partition 0, which is empty; each with its place there.
    pub(super) fn send(
        &mut self,
        topic: &str,
        records: Vec<Record>,
    ) -> Result<BTreeMap<Place, Record>, Failure> {
        let encoded: Vec<Encoded> = (0..)
            .zip(&records)
            .map(|(number, record)| encode(number, record))
            .collect();
        let options = RecordEncodeOptions {
            version: 2,
            compression: Compression::None,
        };
        let mut batch = BytesMut::new();
        RecordBatchEncoder::encode(&mut batch, &encoded, &options)?;
        let answer = self.ask(&requests::produce_request(topic, batch.freeze())?)?;
        requests::check_produced(&answer)?;
        Ok((0..).map(|offset| (0, offset)).zip(records).collect())
    }

    /// Reads `count` records of partition 0 from its beginning.
    pub(super) fn read(&mut self, topic: &str, count: usize) -> Result<BTreeMap<Place, Record>, Failure> {
        let request = requests::fetch_request(topic)?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut batches = requests::fetched_records(&self.ask(&request)?)?;
            let batches = RecordBatchDecoder::decode_all(&mut batches)?;
            let records = batches.into_iter().flat_map(|batch| batch.records);
            let records: BTreeMap<Place, Record> = records
                .map(|record| ((0, record.offset), decode(record)))
                .collect();
            if records.len() >= count {
                return Ok(records);
            }
            if Instant::now() > deadline {
                return Err(
                    format!("{} of {count} records of {topic} came back by TLS", records.len()).into(),
                );
            }
        }
    }

    fn ask(&mut self, request: &[u8]) -> Result<Vec<u8>, Failure> {
        requests::ask(&mut self.stream, request)
    }
}

/// As record `number` of a batch.
fn encode(number: i32, record: &Record) -> Encoded {
    let headers = record.headers.iter();
    let bytes = |bytes: &Vec<u8>| Bytes::from(bytes.clone());
    Encoded {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: NO_PARTITION_LEADER_EPOCH,
        producer_id: NO_PRODUCER_ID,
        producer_epoch: NO_PRODUCER_EPOCH,
        timestamp_type: TimestampType::Creation,
        offset: i64::from(number),
        // There is none, and yet the encoder begins a new batch where one does not follow the other.
        sequence: NO_SEQUENCE + number,
        timestamp: record.timestamp_ms.unwrap_or_default(),
        key: record.key.as_ref().map(bytes),
        value: record.value.as_ref().map(bytes),
        headers: headers
            .map(|(name, value)| (StrBytes::from_string(name.clone()), value.as_ref().map(bytes)))
            .collect(),
    }
}

fn decode(record: Encoded) -> Record {
    let vec = |bytes: Bytes| bytes.to_vec();
    let headers = record.headers.into_iter();
    Record {
        key: record.key.map(vec),
        value: record.value.map(vec),
        headers: headers
            .map(|(name, value)| (name.to_string(), value.map(vec)))
            .collect(),
        timestamp_ms: Some(record.timestamp),
    }
}
