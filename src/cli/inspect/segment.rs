//! A broker's log segment: record batches back to back in a file, read one at a time.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use super::describe::{self, Item, ReadFrom};
use super::{InspectError, Selection};
use crate::record_batch::{BatchSlice, Batches, Decompressor};

/// Shows the records of the segment at `path`.
pub(super) fn inspect(
    path: &Path,
    selection: Selection,
    show: &mut dyn FnMut(&Item<'_>) -> Result<(), InspectError>,
) -> Result<(), InspectError> {
    let failed = |source: io::Error| InspectError::File {
        path: path.to_owned(),
        source,
    };
    let mut reader = BufReader::with_capacity(1 << 20, File::open(path).map_err(failed)?);
    let origin = origin(path);
    let mut decompressor = Decompressor::new();
    let mut batch = Vec::new();
    let (mut at, mut left) = (0u64, selection.count);
    while left > 0 && read_batch(&mut reader, &mut batch).map_err(failed)? {
        // A broker that preallocates segments leaves zeros behind the last batch.
        if batch.iter().all(|byte| *byte == 0) {
            break;
        }
        let slice = first_batch(&batch).map_err(|source| InspectError::Batch {
            path: path.to_owned(),
            at,
            source,
        })?;
        // Cut off in the middle: the broker was writing, or had no time to.
        let Some(slice) = slice else { break };
        let rest = Selection {
            count: left,
            ..selection
        };
        let shown = describe::batch(&batch, &slice, origin, rest, &mut decompressor, show)?;
        left = left.saturating_sub(shown);
        at = at.saturating_add(batch.len() as u64);
    }
    Ok(())
}

/// Reads what the next length announces; the buffer grows with what is there, not with what is announced.
fn read_batch(reader: &mut impl Read, batch: &mut Vec<u8>) -> io::Result<bool> {
    batch.clear();
    reader.take(LOG_OVERHEAD).read_to_end(batch)?;
    let length = match batch.get(8..12) {
        Some([a, b, c, d]) => i32::from_be_bytes([*a, *b, *c, *d]),
        _ => return Ok(!batch.is_empty()),
    };
    reader
        .take(u64::try_from(length).unwrap_or(0))
        .read_to_end(batch)?;
    Ok(true)
}

/// Base offset and batch length.
const LOG_OVERHEAD: u64 = 12;

fn first_batch(batch: &[u8]) -> Result<Option<BatchSlice>, crate::record_batch::BatchError> {
    Batches::new(batch).next().transpose()
}

/// Kafka names a partition's folder `TOPIC-PARTITION`.
fn origin(path: &Path) -> ReadFrom<'_> {
    let folder = path.parent().and_then(|folder| folder.file_name()?.to_str());
    let parts = folder.and_then(|folder| {
        let (topic, partition) = folder.rsplit_once('-')?;
        Some((topic, partition.parse().ok()?))
    });
    ReadFrom {
        topic: parts.map(|(topic, _)| topic),
        partition: parts.map(|(_, partition)| partition),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_tells_topic_and_partition() {
        let of = |path: &'static str| {
            let origin = origin(Path::new(path));
            (origin.topic, origin.partition)
        };
        assert_eq!(of("/kafka/a-b-12/0.log"), (Some("a-b"), Some(12)));
        assert_eq!(of("/kafka/copies/0.log"), (None, None));
        assert_eq!(of("0.log"), (None, None));
    }
}
