//! What records take at rest: batches of 64 KiB, plain and sealed in both ways that a rule may choose.
//!
//! Nothing here depends on the machine or on chance.

use std::fmt::Write as _;

use sealwire::envelope::HeaderMode;
use sealwire::record_batch::Codec;
use sealwire::testing::{BatchBuilder, BatchSeals, RecordInput};

use crate::{Failure, report};

/// Writes the report, and says what is in it.
pub(crate) fn run() -> Result<(), Failure> {
    let table = table()?;
    tell_part!("{table}");
    let directory = report::directory()?;
    std::fs::write(directory.join("sizes.md"), page(&table))?;
    tell!("written to {}", directory.display());
    Ok(())
}

fn page(table: &str) -> String {
    format!(
        "# Stored sizes\n\n\
         Written by `cargo run --release -p bench-harness --features measurements -- sizes`, \
         the same on every machine.\n\n\
         Batches of 64 KiB as their client makes them, records with a key of 16 bytes; headers are sealed, \
         the KEK's name has 8 bytes. Bytes of whole batches. *Added* is for each record, the batch's first one \
         and the frame included; *beyond the first* without these (limit: {ADDED_BYTES_MAX}).\n\n{table}"
    )
}

fn table() -> Result<String, Failure> {
    let mut table =
        "| value | headers | records | plain | `lz4` | `none` | added by `lz4` | beyond the first \
                     | added by `none` |\n|---|---|---|---|---|---|---|---|---|\n"
            .to_owned();
    for value_bytes in [40, 150, 1000] {
        for headers in [0, 2] {
            let sizes = Sizes::of(value_bytes, headers)?;
            let Sizes { records, plain, .. } = sizes;
            let [compact, none] = sizes.sealed;
            let [added_by_compact, added_by_none] = sizes
                .sealed
                .map(|sealed| (sealed - plain) as f64 / records as f64);
            writeln!(
                table,
                "| {value_bytes} | {headers} | {records} | {plain} | {compact} | {none} | {added_by_compact:.1} \
                 | {:.1} | {added_by_none:.1} |",
                sizes.beyond_the_first(),
            )?;
        }
    }
    Ok(table)
}

/// Of one batch.
struct Sizes {
    records: usize,
    plain: usize,
    /// With `lz4` and with `none`.
    sealed: [usize; 2],
    /// What `lz4` adds to a batch of the first record alone.
    added_to_first: usize,
}

impl Sizes {
    fn of(value_bytes: usize, headers: usize) -> Result<Self, Failure> {
        let seals = BatchSeals::new(b"payments", "payments", HeaderMode::Sealed)?;
        let value = vec![b'.'; value_bytes];
        let header: (&[u8], Option<&[u8]>) = (b"traceparent", Some(&[b'0'; 55]));
        let headers = vec![header; headers];
        let record = RecordInput {
            timestamp: 1_700_000_000_000,
            key: Some(b"customer-1234567"),
            value: Some(&value),
            headers: &headers,
        };
        let first = BatchBuilder::new().record(record);
        let mut batch = first.clone();
        let mut records = 1;
        loop {
            let longer = batch.clone().record(record);
            if longer.build()?.len() > BATCH_BYTES {
                break;
            }
            (batch, records) = (longer, records + 1);
        }
        let (first, plain) = (first.build()?, batch.build()?);
        let seal = |batch: &[u8], codec| Ok::<_, Failure>(seals.seal(batch, codec)?.len());
        Ok(Self {
            records,
            plain: plain.len(),
            sealed: [seal(&plain, Codec::Lz4)?, seal(&plain, Codec::None)?],
            added_to_first: seal(&first, Codec::Lz4)? - first.len(),
        })
    }

    fn beyond_the_first(&self) -> f64 {
        (self.sealed[0] - self.plain - self.added_to_first) as f64 / (self.records - 1) as f64
    }
}

const BATCH_BYTES: usize = 64 << 10;
/// For each record but the first of a batch: a tag, a counter, framing.
const ADDED_BYTES_MAX: usize = 34;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_is_what_the_sealer_makes_and_keeps_its_limit() {
        let written = std::fs::read_to_string(report::directory().unwrap().join("sizes.md")).unwrap();
        assert!(
            written == page(&table().unwrap()),
            "perf/sizes.md is stale: write it again with `bench-harness sizes`"
        );
        for value_bytes in [40, 150, 1000] {
            for headers in [0, 2] {
                let added = Sizes::of(value_bytes, headers).unwrap().beyond_the_first();
                assert!(
                    added <= ADDED_BYTES_MAX as f64,
                    "{value_bytes}, {headers}: {added}"
                );
            }
        }
    }
}
