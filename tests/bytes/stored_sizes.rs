//! How long batches are once they are sealed: the tables and the formula of docs/operations.md.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use sealwire::envelope::HeaderMode;
use sealwire::record_batch::Codec;
use sealwire::testing::{BatchBuilder, BatchSeals, RecordInput};

/// Kafka's default for `max.message.bytes`, and that of a rule's `max_message_bytes`.
const KAFKA_BYTES_MAX: usize = 1_048_588;
const VALUES: [usize; 8] = [10, 40, 100, 150, 200, 300, 500, 1000];
const KEYS: [Option<usize>; 2] = [None, Some(16)];
const KEK: &[u8] = b"payments";

/// Up to where a client fills a batch of small records when there is a backlog, as it comes.
#[derive(Clone, Copy)]
struct Client {
    batch_bytes_max: usize,
    records_max: usize,
    /// What it counts for each record besides key and value; what that really takes otherwise.
    counted_besides: Option<usize>,
}

/// In the order of the table's columns.
const CLIENTS: [Client; 4] = [
    // Java, kafka-python and aiokafka: `batch.size`.
    Client {
        batch_bytes_max: 16_384,
        records_max: usize::MAX,
        counted_besides: None,
    },
    // librdkafka: `batch.size` and `batch.num.messages`.
    Client {
        batch_bytes_max: 1_000_000,
        records_max: 10_000,
        counted_besides: None,
    },
    // franz-go: `ProducerBatchMaxBytes`.
    Client {
        batch_bytes_max: 1_000_012,
        records_max: usize::MAX,
        counted_besides: None,
    },
    // sarama: `Producer.MaxMessageBytes`, with what a record takes at most.
    Client {
        batch_bytes_max: 1_048_576,
        records_max: usize::MAX,
        counted_besides: Some(36),
    },
];

fn batch_of(records: usize, value_bytes: usize, key_bytes: Option<usize>) -> Vec<u8> {
    let (key, value) = (vec![b'k'; key_bytes.unwrap_or(0)], vec![b'v'; value_bytes]);
    let record = RecordInput {
        timestamp: 1_700_000_000_000,
        key: key_bytes.map(|_| &key[..]),
        value: Some(&value),
        headers: &[],
    };
    let batch = (0..records).fold(BatchBuilder::new(), |batch, _| batch.record(record));
    batch.build().unwrap()
}

impl Client {
    /// The fullest batch, and how many records it has.
    fn fullest(&self, value_bytes: usize, key_bytes: Option<usize>) -> (Vec<u8>, usize) {
        let counted = |records: usize| match self.counted_besides {
            None => batch_of(records, value_bytes, key_bytes).len(),
            Some(besides) => 61 + records * (besides + value_bytes + key_bytes.unwrap_or(0)),
        };
        let (mut fits, mut too_many) = (1, self.records_max.min(self.batch_bytes_max).saturating_add(1));
        while too_many - fits > 1 {
            let middle = fits.midpoint(too_many);
            // Nothing is built that is much too long.
            if middle * value_bytes <= self.batch_bytes_max && counted(middle) <= self.batch_bytes_max {
                fits = middle;
            } else {
                too_many = middle;
            }
        }
        (batch_of(fits, value_bytes, key_bytes), fits)
    }
}

fn sealed_bytes(batch: &[u8], stored_codec: Codec) -> usize {
    let seals = BatchSeals::new(KEK, "payments", HeaderMode::Sealed).unwrap();
    seals.seal(batch, stored_codec).unwrap().len()
}

/// What fits Kafka's default is a number alone; behind others stands the limit that they need.
fn cell(bytes: usize) -> String {
    match bytes {
        ..=KAFKA_BYTES_MAX => bytes.to_string(),
        _ => format!("{bytes}, **{}MiB**", bytes.div_ceil(1 << 20)),
    }
}

fn table() -> String {
    let mut table =
        "| value | key | 16 KiB: `lz4` | `none` | librdkafka: `lz4` | `none` | franz-go: `lz4` | `none` \
                     | sarama: `lz4` | `none` |\n|---|---|---|---|---|---|---|---|---|---|\n"
            .to_owned();
    for value_bytes in VALUES {
        for key_bytes in KEYS {
            let _ = write!(
                table,
                "| {value_bytes} | {} |",
                key_bytes.map_or("none".to_owned(), |bytes| bytes.to_string())
            );
            for client in &CLIENTS {
                let (batch, _) = client.fullest(value_bytes, key_bytes);
                for codec in [Codec::Lz4, Codec::None] {
                    let _ = write!(table, " {} |", cell(sealed_bytes(&batch, codec)));
                }
            }
            table.push('\n');
        }
    }
    table
}

/// `UPDATE_DOCS=1` writes the table instead of comparing it.
#[test]
fn the_table_of_full_batches_is_what_the_sealer_makes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md");
    let text = fs::read_to_string(&path).unwrap();
    let (begin, rest) = text.split_once(BEGIN).unwrap();
    let (_, end) = rest.split_once(END).unwrap();
    let expected = format!("{begin}{BEGIN}\n{}\n{END}{end}", table());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &expected).unwrap();
    }
    assert!(
        fs::read_to_string(&path).unwrap() == expected,
        "docs/operations.md is stale: run UPDATE_DOCS=1 cargo test --test bytes stored_sizes"
    );
}

const BEGIN: &str = "<!-- full batches: written by tests/bytes/stored_sizes.rs -->\n";
const END: &str = "<!-- end of full batches -->";

/// The formula of docs/operations.md.
#[test]
fn the_formula_is_right_to_two_hundredths() {
    for (value_bytes, key_bytes) in VALUES.iter().flat_map(|value| KEYS.map(|key| (*value, key))) {
        for client in &CLIENTS {
            let (batch, records) = client.fullest(value_bytes, key_bytes);
            let count = records as f64;
            let own = (batch.len() - 61) as f64 / count;
            let whole = own + 117.0 + KEK.len() as f64;
            let blocks = (count * whole / 65_536.0).ceil();
            let compact = 76.0 + count * (own + 24.0) + blocks * (93.0 + KEK.len() as f64);
            for (codec, expected) in [(Codec::None, 61.0 + count * whole), (Codec::Lz4, compact)] {
                let written = sealed_bytes(&batch, codec) as f64;
                assert!(
                    (expected / written - 1.0).abs() <= 0.02,
                    "{records} records of {value_bytes} and {key_bytes:?}, {codec:?}: {written}, not {expected}"
                );
            }
        }
    }
}

/// What docs/operations.md says of a `batch.size` of 800 000: it fits, and not much more would.
#[test]
fn smaller_batches_of_librdkafka_fit_whatever_their_records_are() {
    let fits = |batch_bytes_max| {
        let client = Client {
            batch_bytes_max,
            ..CLIENTS[1]
        };
        // Those of about 70 fill both bounds at once: as many records as there may be, and as long as they may be.
        [0, 10, 40, 60, 65, 70, 71, 72, 75, 80, 100, 300, 1000, 4000]
            .into_iter()
            .all(|value_bytes| {
                let (batch, _) = client.fullest(value_bytes, None);
                sealed_bytes(&batch, Codec::Lz4) <= KAFKA_BYTES_MAX
            })
    };
    assert!(fits(800_000));
    assert!(!fits(820_000));
}
