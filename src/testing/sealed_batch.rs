//! Seals batches by themselves, without the pipeline around it: what brokers are given to store.

use std::error::Error;

use crate::crypto::SecretKey;
use crate::envelope::{BatchPlace, Domain, HeaderMode, SaltSource, SealBuffers, SealingKey, WrappedDek};
use crate::record_batch::{BatchHeader, BatchWriter, Codec, HEADER_BYTES, RecordCursor};

/// A rule by itself: a data key under a KEK of a keystore, a domain, and what happens to headers.
pub struct BatchSeals {
    key: SealingKey,
    domain: Domain,
    headers: HeaderMode,
}

impl BatchSeals {
    /// With a data key of its own, wrapped in as many bytes as a keystore takes for it.
    ///
    /// # Errors
    /// No random bytes, or names that are too long.
    pub fn new(kek: &[u8], domain: &str, headers: HeaderMode) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let mut wrapped = Vec::new();
        let dek = WrappedDek {
            provider: 1,
            authority: [0xaa, 0xbb, 0xcc, 0xdd],
            kek,
            version: &[7],
            blob: &[9; KEYSTORE_BLOB_BYTES],
        };
        dek.write(&mut wrapped)?;
        Self::under(&SecretKey::generate()?, wrapped, domain, headers)
    }

    /// With this data key, wrapped as a KMS has wrapped it.
    ///
    /// # Errors
    /// Names that are too long.
    pub fn under(
        dek: &SecretKey,
        wrapped: Vec<u8>,
        domain: &str,
        headers: HeaderMode,
    ) -> Result<Self, Box<dyn Error + Send + Sync>> {
        Ok(Self {
            key: SealingKey::new(dek, wrapped)?,
            domain: Domain::new(domain)?,
            headers,
        })
    }

    /// Seals a batch that is not compressed: as a compact one with [`Codec::Lz4`], record by record with any other.
    /// Whether a proxy would make it compact (SEAL-BATCH-4) is not asked.
    ///
    /// # Errors
    /// What is no batch, and what cannot be sealed.
    pub fn seal(&self, batch: &[u8], stored_codec: Codec) -> Result<Vec<u8>, Box<dyn Error + Send + Sync>> {
        let header = BatchHeader::parse(batch)?;
        let mut out = Vec::new();
        let mut writer = match stored_codec {
            Codec::Lz4 => BatchWriter::begin_compact(&mut out, batch)?,
            _ => BatchWriter::begin(&mut out, batch)?,
        };
        let mut sealer = self.key.begin(
            &mut SaltSource::new(0),
            &BatchPlace::default(),
            &self.domain,
            self.headers,
            SealBuffers::default(),
        )?;
        let mut cursor = RecordCursor::stored(&header, HEADER_BYTES);
        while let Some(record) = cursor.next(batch)? {
            match writer.frame() {
                None => sealer.seal_record(batch, &record, &mut out)?,
                Some(frame) => sealer.seal_compact_record(batch, &record, frame, &mut out)?,
            }
        }
        writer.finish(&mut out)?;
        Ok(out)
    }
}

/// Nonce, data key, tag.
const KEYSTORE_BLOB_BYTES: usize = 60;
