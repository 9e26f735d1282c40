//! The envelope by itself, without sockets: what sealing and opening cost on one core, for each record and for each GB.
//!
//! One batch at a time, as the proxy does it: records walked, sealed into one buffer, length and CRC patched last; and
//! back.

use std::time::{Duration, Instant};

use clap::Args;
use sealwire::envelope::{AcceptedDomain, Form, HeaderMode, Opener, OpeningKey, form_of};
use sealwire::record_batch::{
    BatchHeader, Codec, Decompressor, HEADER_BYTES, RecordCursor, Stepped, crc_matches,
};
use sealwire::testing::{BatchBuilder, BatchSeals, RecordInput, SealedBatch};

use crate::Failure;

/// Options of `layers`.
#[derive(Args)]
pub(crate) struct Options {
    /// Bytes of a record's value.
    #[arg(long, value_delimiter = ',', default_values_t = [64, 256, 1024])]
    values: Vec<usize>,
    /// KiB of a batch.
    #[arg(long, default_value_t = 64)]
    batch_kib: usize,
    /// Milliseconds of each measurement; the best of five counts.
    #[arg(long, default_value_t = 100)]
    sample_ms: u64,
}

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    tell!(
        "{:>7} {:>8} {:>6} {:>6} {:>24} {:>24}",
        "value",
        "headers",
        "keys",
        "stored",
        "seal",
        "check, walk and open"
    );
    for value_bytes in &options.values {
        for (mode, headers, keys, codec) in [
            (HeaderMode::Sealed, 0, Keys::Clear, Codec::None),
            (HeaderMode::Sealed, 0, Keys::Clear, Codec::Lz4),
            (HeaderMode::Sealed, 0, Keys::Sealed, Codec::None),
            (HeaderMode::Sealed, 0, Keys::Sealed, Codec::Lz4),
            (HeaderMode::Sealed, 2, Keys::Clear, Codec::None),
            (HeaderMode::Sealed, 2, Keys::Clear, Codec::Lz4),
            (HeaderMode::Bound, 2, Keys::Clear, Codec::None),
            (HeaderMode::Bound, 2, Keys::Clear, Codec::Lz4),
        ] {
            let batch_bytes = options.batch_kib << 10;
            let mut layer = Layer::new(*value_bytes, headers, batch_bytes, mode, codec)?;
            if keys == Keys::Sealed {
                layer.seal_keys()?;
            }
            let (mut sealed, mut buffers) = (SealedBatch::default(), Buffers::default());
            layer.seal(&mut sealed)?;
            layer.open(&sealed.bytes, &mut buffers)?;
            if buffers.out != layer.source.get(HEADER_BYTES..).unwrap_or_default() {
                return Err("what was opened is not what was sealed".into());
            }
            let seal = layer.best(options, || layer.seal(&mut sealed))?;
            let open = layer.best(options, || layer.open(&sealed.bytes, &mut buffers))?;
            tell!(
                "{value_bytes:>5} B {:>8} {:>6} {:>6} {} {}",
                format!("{} {headers}", mode.name()),
                keys.name(),
                codec.name(),
                layer.text(seal),
                layer.text(open)
            );
        }
    }
    Ok(())
}

/// What happens to record keys.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keys {
    Clear,
    Sealed,
}

impl Keys {
    fn name(self) -> &'static str {
        match self {
            Self::Clear => "clear",
            Self::Sealed => "sealed",
        }
    }
}

/// As an executor has them: used again for every batch, since first touches of fresh pages cost more than the copies.
struct Buffers {
    out: Vec<u8>,
    stored: Vec<u8>,
    plain: Vec<u8>,
    decompressor: Decompressor,
    opener: Opener,
}

/// As the proxy does it: into a buffer that keeps its length from batch to batch. Says where the records end.
fn decompress(
    decompressor: &mut Decompressor,
    codec: Codec,
    section: &[u8],
    plain: &mut Vec<u8>,
) -> Result<usize, Failure> {
    let mut under_way = decompressor.begin(codec, 0, PLAIN_BYTES_MAX)?;
    loop {
        match under_way.step(section, plain)? {
            Stepped::Room(bytes) => plain.reserve(bytes),
            Stepped::More => {}
            Stepped::Finished => break,
        }
    }
    let end = under_way.end();
    decompressor.end(under_way);
    Ok(end)
}

/// Far more than any batch here.
const PLAIN_BYTES_MAX: usize = 1 << 30;

impl Default for Buffers {
    fn default() -> Self {
        Self {
            out: Vec::new(),
            stored: Vec::new(),
            plain: Vec::new(),
            decompressor: Decompressor::new(),
            opener: Opener::default(),
        }
    }
}

/// What the envelope alone costs on this CPU, with 1 KiB records: nanoseconds a record to seal and to open.
///
/// Ciphers differ by a factor of two between CPUs (AVX-512 or not); results of the relay are to be read beside it.
pub(crate) fn kibibyte_records() -> Result<[f64; 2], Failure> {
    let options = Options {
        values: Vec::new(),
        batch_kib: 64,
        sample_ms: 50,
    };
    let batch_bytes = options.batch_kib << 10;
    let layer = Layer::new(1024, 0, batch_bytes, HeaderMode::Sealed, Codec::Lz4)?;
    let (mut sealed, mut buffers) = (SealedBatch::default(), Buffers::default());
    let seal = layer.best(&options, || layer.seal(&mut sealed))?;
    let open = layer.best(&options, || layer.open(&sealed.bytes, &mut buffers))?;
    Ok([seal, open].map(|batch| batch.as_secs_f64() * 1e9 / layer.records as f64))
}

struct Layer {
    source: Vec<u8>,
    records: usize,
    mode: HeaderMode,
    stored_codec: Codec,
    domain: AcceptedDomain,
    seals: BatchSeals,
    opening: OpeningKey,
}

/// What records are bound to.
const DOMAIN: &str = "payments";

impl Layer {
    fn new(
        value_bytes: usize,
        headers: usize,
        batch_bytes: usize,
        mode: HeaderMode,
        stored_codec: Codec,
    ) -> Result<Self, Failure> {
        let value = vec![b'.'; value_bytes];
        let header: (&[u8], Option<&[u8]>) = (b"traceparent", Some(&[b'0'; 55]));
        let headers = vec![header; headers];
        let records = (batch_bytes / (value_bytes + 16)).max(1);
        let mut builder = BatchBuilder::new();
        for _ in 0..records {
            builder = builder.record(RecordInput {
                timestamp: 1_700_000_000_000,
                key: Some(b"customer-1234"),
                value: Some(&value),
                headers: &headers,
            });
        }
        let (seals, opening) = BatchSeals::with_opening_key(b"payments", DOMAIN, mode)?;
        Ok(Self {
            source: builder.build()?,
            records,
            mode,
            stored_codec,
            domain: seals.accepted(),
            seals,
            opening,
        })
    }

    fn seal_keys(&mut self) -> Result<(), Failure> {
        let (seals, opening) = BatchSeals::with_opening_key(b"payments", DOMAIN, self.mode)?;
        self.seals = seals.with_sealed_keys()?;
        self.domain = self.seals.accepted();
        self.opening = opening;
        Ok(())
    }

    fn seal(&self, sealed: &mut SealedBatch) -> Result<(), Failure> {
        self.seals.seal_into(&self.source, self.stored_codec, sealed)
    }

    /// Leaves the records section in `out`. The stored batch is copied first, since opening moves bytes in it.
    fn open(&self, sealed: &[u8], buffers: &mut Buffers) -> Result<(), Failure> {
        let Buffers {
            out,
            stored,
            plain,
            decompressor,
            opener,
        } = buffers;
        out.clear();
        stored.clear();
        stored.extend_from_slice(sealed);
        if !crc_matches(stored) {
            return Err("the sealed batch has a wrong checksum".into());
        }
        let header = BatchHeader::parse(stored)?;
        let codec = header.attributes.codec()?;
        let (records, first) = if codec == Codec::None {
            (stored.as_mut_slice(), HEADER_BYTES)
        } else {
            let section = stored.get(HEADER_BYTES..).unwrap_or_default();
            let end = decompress(decompressor, codec, section, plain)?;
            (plain.get_mut(..end).unwrap_or_default(), 0)
        };
        let mut cursor = RecordCursor::stored(&header, first);
        while let Some(record) = cursor.next(records)? {
            let Form::RecordSeal(marker) = form_of(records, &record)? else {
                return Err("a record is not sealed".into());
            };
            let domains = std::slice::from_ref(&self.domain);
            opener.open_record(&self.opening, records, marker.in_record(&record), domains, out)?;
        }
        Ok(())
    }

    /// The least time that one batch took.
    fn best(
        &self,
        options: &Options,
        mut work: impl FnMut() -> Result<(), Failure>,
    ) -> Result<Duration, Failure> {
        let mut best = Duration::MAX;
        for _ in 0..5 {
            let (start, mut batches) = (Instant::now(), 0u32);
            while start.elapsed() < Duration::from_millis(options.sample_ms) {
                work()?;
                batches += 1;
            }
            best = best.min(start.elapsed() / batches.max(1));
        }
        Ok(best)
    }

    fn text(&self, batch: Duration) -> String {
        let nanoseconds = batch.as_secs_f64() * 1e9;
        let record = nanoseconds / self.records as f64;
        let gigabyte = nanoseconds * 1e3 / self.source.len() as f64;
        format!("{record:>7.0} ns {gigabyte:>7.0} ms/GB")
    }
}
