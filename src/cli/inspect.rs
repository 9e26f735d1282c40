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
mod brokers;
mod describe;
mod render;
mod segment;
mod topic;

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{ArgGroup, Args};

use self::brokers::BrokerArguments;
use self::describe::{Item, Summary, What};
use self::render::Format;
use self::topic::Wanted;
use crate::config::{ConfigErrors, OwnAccountError};
use crate::kafka_client::ClientError;
use crate::record_batch::BatchError;
use crate::transport::certificates::CertificateError;

/// Show how records are stored: sealed or not, under which key, how large
#[derive(Debug, Args)]
#[command(
    after_help = EXAMPLES,
    group = ArgGroup::new("source").args(["bootstrap", "config"]).multiple(true)
)]
pub struct InspectArguments {
    /// Log segments of a broker (…/TOPIC-PARTITION/00000000000000000000.log)
    #[arg(
        value_name = "SEGMENT",
        required_unless_present_any = ["bootstrap", "config", "topic"],
        conflicts_with_all = ["bootstrap", "config", "topic"]
    )]
    segments: Vec<PathBuf>,
    #[command(flatten)]
    brokers: BrokerArguments,
    /// The topic to read
    #[arg(long, value_name = "TOPIC", requires = "source")]
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
  sealwire inspect --config sealwire.toml --topic payments --summary
  sealwire inspect --bootstrap kafka-1:9093 --tls-ca brokers-ca.pem --login-user auditor \
    --login-mechanism SCRAM-SHA-512 --login-password-file auditor.password --topic payments
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
    /// A broker ends the connection, and nobody was named to log in.
    #[error(
        "{0}: it may want a login: give --login-user, --login-mechanism and --login-password-file, or --config with \
         the proxy's own account"
    )]
    Nobody(ClientError),
    /// The configuration of the proxy has mistakes.
    #[error("{0}")]
    Config(#[from] ConfigErrors),
    /// It has several clusters.
    #[error("this configuration has several clusters: name one by --cluster")]
    WhichCluster,
    /// It has no such cluster.
    #[error("this configuration has no cluster {name:?}")]
    NoCluster {
        /// What was asked for.
        name: String,
    },
    /// The secret that proves who asks cannot be had.
    #[error("the login: {0}")]
    Account(#[from] OwnAccountError),
    /// The same of a token that is fetched.
    #[error("no token can be fetched: {0}")]
    Token(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A secret would be sent as it is.
    #[error("{0} sends its secret as it is, and brokers are spoken to in plain TCP: use SCRAM, or --tls-ca")]
    Plaintext(&'static str),
    /// The topic has no such partition, or the partition no leader.
    #[error("topic {topic}: partition {partition} does not exist or has no leader")]
    NoLeader {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
    },
    /// The arguments do not fit together.
    #[error("give either segments, or --topic and --bootstrap or --config")]
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
    let done = match &arguments.topic {
        Some(topic) => {
            let mut note = |address: &str| {
                // Nobody is left to tell where it cannot be written.
                let _ = writeln!(
                    err,
                    "sealwire: {address} answers like a Sealwire, not like a broker: records are shown as it opens \
                     them; to see what is stored, name the broker itself",
                );
            };
            let brokers = arguments.brokers.brokers()?;
            let wanted = Wanted {
                topic,
                partition: arguments.partition,
                selection,
            };
            topic::inspect(&brokers, wanted, &mut note, &mut show)
        }
        None => arguments
            .segments
            .iter()
            .try_for_each(|path| segment::inspect(path, selection, &mut show)),
    };
    // A reader that has seen enough (`| head`) is not an error.
    match done.and_then(|()| Ok(render::summary(format, &summary, out)?)) {
        Err(InspectError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
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
