//! `sealwire inspect`: shows how records are stored, from a broker's log segments or from a topic. Needs no key.
//!
//! - INSPECT-1: no content of a record is ever shown: forms, names of keys, and sizes.
//! - INSPECT-2: what comes from a file or a broker is untrusted: it is bounded, and escaped before it is printed.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]
#![expect(
    clippy::disallowed_methods,
    reason = "certificates are compared with the date once, when they are read"
)]

mod batch_sizes;
mod describe;
mod render;
mod segment;
mod topic;

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::SystemTime;

use clap::Args;

use self::describe::{Item, Summary, What};
use self::render::Format;
use self::topic::Brokers;
use crate::kafka_client::ClientError;
use crate::record_batch::BatchError;
use crate::transport::certificates::{CertificateError, CertificateFiles};
use crate::transport::suites::TlsChoice;
use crate::transport::tls_client::{Trust, UpstreamTls};

/// Show how records are stored: sealed or not, under which key, how large
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct InspectArguments {
    /// Log segments of a broker (…/TOPIC-PARTITION/00000000000000000000.log)
    #[arg(
        value_name = "SEGMENT",
        required_unless_present_any = ["bootstrap", "topic"],
        conflicts_with_all = ["bootstrap", "topic"]
    )]
    segments: Vec<PathBuf>,
    /// A broker, to read a topic from: HOST:PORT, of a listener without SASL. Name the broker itself: through the proxy
    /// records are opened
    #[arg(long, value_name = "HOST:PORT", requires = "topic")]
    bootstrap: Option<String>,
    /// Speak TLS to brokers that these authorities vouch for: a PEM file, or `system` for those of this host
    #[arg(long, value_name = "FILE", requires = "bootstrap")]
    tls_ca: Option<PathBuf>,
    /// Show brokers this certificate: a PEM file
    #[arg(long, value_name = "FILE", requires_all = ["tls_ca", "tls_key"])]
    tls_certificate: Option<PathBuf>,
    /// The key of that certificate: a PEM file
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
    /// The topic to read
    #[arg(long, value_name = "TOPIC", requires = "bootstrap")]
    topic: Option<String>,
    /// Only this partition; all of them otherwise
    #[arg(long, value_name = "N", requires = "topic")]
    partition: Option<i32>,
    /// Begin at this offset of each partition; at the first one there is otherwise
    #[arg(long, value_name = "N")]
    offset: Option<i64>,
    /// Stop after so many records of each partition or segment
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    /// Batches instead of their records: codec, sizes, and what sealing has added
    #[arg(long)]
    batches: bool,
    /// Only the sums at the end
    #[arg(long)]
    summary: bool,
}

const EXAMPLES: &str = "Examples:
  sealwire inspect /var/lib/kafka/payments-0/00000000000000000000.log
  sealwire inspect --bootstrap kafka-1:9092 --topic payments --count 10
  sealwire inspect --bootstrap kafka-1:9093 --tls-ca brokers-ca.pem --topic payments --batches
  sealwire inspect --bootstrap kafka-1:9092 --topic payments --summary --json";

/// Why `inspect` gave up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InspectError {
    /// A segment cannot be read.
    #[error("cannot read {path}: {source}")]
    File {
        /// The segment.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file holds something that is no record batch, from some position on.
    #[error("{path}: no record batch at byte {at}: {source}")]
    Batch {
        /// The segment.
        path: PathBuf,
        /// Position in the file.
        at: u64,
        /// Why.
        source: BatchError,
    },
    /// Files of TLS cannot be used.
    #[error(transparent)]
    Tls(#[from] CertificateError),
    /// A broker does not say what is wanted.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The topic has no such partition, or the partition no leader.
    #[error("topic {topic}: partition {partition} does not exist or has no leader")]
    NoLeader {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
    },
    /// The arguments do not fit together.
    #[error("give either segments or --bootstrap and --topic")]
    Arguments,
    /// Nothing can be written any more.
    #[error("cannot write: {0}")]
    Output(#[from] io::Error),
}

/// Runs the command and writes to `out`; what an operator should know besides goes to `err`.
///
/// # Errors
/// [`InspectError`]; what was found before was written.
pub fn run(
    arguments: &InspectArguments,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<(), InspectError> {
    let format = if arguments.json {
        Format::Json
    } else {
        Format::Text
    };
    let selection = Selection {
        offset: arguments.offset,
        count: arguments.count.unwrap_or(u64::MAX),
    };
    let mut summary = Summary::default();
    let mut show = |item: &Item<'_>| -> Result<(), InspectError> {
        summary.add(item);
        let is_wanted = match item.what {
            What::Record(_) => !arguments.batches,
            What::Batch(_) => arguments.batches,
            What::Control | What::OldFormat { .. } | What::Unreadable { .. } => true,
        };
        if is_wanted && !arguments.summary {
            render::item(format, item, out)?;
        }
        Ok(())
    };
    let done = match (&arguments.bootstrap, &arguments.topic) {
        (Some(bootstrap), Some(topic)) => {
            let mut note = |address: &str| {
                // Nobody is left to tell where it cannot be written.
                let _ = writeln!(
                    err,
                    "sealwire: {address} answers like a Sealwire, not like a broker: records are shown as it opens \
                     them; to see what is stored, name the broker itself",
                );
            };
            let tls = match arguments.upstream_tls() {
                Some(tls) => Some(tls.load(SystemTime::now())?),
                None => None,
            };
            let brokers = Brokers {
                bootstrap,
                tls: tls.as_ref(),
            };
            topic::inspect(
                brokers,
                topic,
                arguments.partition,
                selection,
                &mut note,
                &mut show,
            )
        }
        (None, None) => arguments
            .segments
            .iter()
            .try_for_each(|path| segment::inspect(path, selection, &mut show)),
        _ => Err(InspectError::Arguments),
    };
    // A reader that has seen enough (`| head`) is not an error.
    match done.and_then(|()| Ok(render::summary(format, &summary, out)?)) {
        Err(InspectError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

impl InspectArguments {
    fn upstream_tls(&self) -> Option<UpstreamTls> {
        let trust = match self.tls_ca.as_ref()? {
            system if system.as_os_str() == "system" => Trust::System,
            path => Trust::File(path.clone()),
        };
        let client = self.tls_certificate.clone().zip(self.tls_key.clone());
        Some(UpstreamTls {
            trust,
            server_name: None,
            client: client.map(|(certificate, key)| CertificateFiles { certificate, key }),
            choice: TlsChoice::default(),
        })
    }
}

/// Which records are shown.
#[derive(Debug, Clone, Copy)]
struct Selection {
    /// The first offset; `None`: from the start.
    offset: Option<i64>,
    /// At most so many of each source.
    count: u64,
}
