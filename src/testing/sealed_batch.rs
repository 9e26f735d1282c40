//! Seals batches by themselves, without the pipeline around it: what brokers are given to store.

use std::error::Error;
use std::sync::Arc;

use crate::crypto::SecretKey;
use crate::envelope::{
    AcceptedDomain, BatchPlace, Domain, DomainKey, HeaderMode, OpeningKey, SaltSource, SealBuffers,
    SealTerms, SealingKey, StableKeyId, WrappedDek,
};
use crate::record_batch::{BatchHeader, BatchWriter, Codec, HEADER_BYTES, RecordCursor};

/// A rule by itself: a data key under a KEK of a keystore, a domain, and what happens to headers.
pub struct BatchSeals {
    key: SealingKey,
    domain: AcceptedDomain,
    headers: HeaderMode,
}

/// The last batch that was sealed, and what sealing works in: used again from batch to batch, as executors do.
pub struct SealedBatch {
    /// The batch.
    pub bytes: Vec<u8>,
    buffers: SealBuffers,
    salts: SaltSource,
}

impl Default for SealedBatch {
    fn default() -> Self {
        Self {
            bytes: Vec::new(),
            buffers: SealBuffers::default(),
            salts: SaltSource::new(0),
        }
    }
}

impl BatchSeals {
    /// With a data key of its own, wrapped in as many bytes as a keystore takes for it.
    ///
    /// # Errors
    /// No random bytes, or names that are too long.
    pub fn new(kek: &[u8], domain: &str, headers: HeaderMode) -> Result<Self, Box<dyn Error + Send + Sync>> {
        Ok(Self::with_opening_key(kek, domain, headers)?.0)
    }

    /// The same, and what opens the batches.
    ///
    /// # Errors
    /// No random bytes, or names that are too long.
    pub fn with_opening_key(
        kek: &[u8],
        domain: &str,
        headers: HeaderMode,
    ) -> Result<(Self, OpeningKey), Box<dyn Error + Send + Sync>> {
        let mut wrapped = Vec::new();
        let dek = WrappedDek {
            provider: 1,
            authority: [0xaa, 0xbb, 0xcc, 0xdd],
            kek,
            version: &[7],
            blob: &[9; KEYSTORE_BLOB_BYTES],
        };
        dek.write(&mut wrapped)?;
        let dek = SecretKey::generate()?;
        let opening = OpeningKey::new(&dek, &wrapped)?;
        Ok((Self::under(&dek, wrapped, domain, headers)?, opening))
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
            domain: Domain::new(domain)?.into(),
            headers,
        })
    }

    /// The same, with record keys sealed under a stable key of its own.
    ///
    /// # Errors
    /// No random bytes.
    pub fn with_sealed_keys(mut self) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let (stable_key, id) = (SecretKey::generate()?, StableKeyId::of_wrapped(b"for tests"));
        let key = DomainKey::new(&stable_key, id, &self.domain.domain)?;
        self.domain.key = Some(Arc::new(key));
        Ok(self)
    }

    /// What readers of its batches accept.
    #[must_use]
    pub fn accepted(&self) -> AcceptedDomain {
        self.domain.clone()
    }

    /// What [`Self::seal_into`] makes.
    ///
    /// # Errors
    /// What is no batch of a producer, and what cannot be sealed.
    pub fn seal(&self, batch: &[u8], stored_codec: Codec) -> Result<Vec<u8>, Box<dyn Error + Send + Sync>> {
        let mut sealed = SealedBatch::default();
        self.seal_into(batch, stored_codec, &mut sealed)?;
        Ok(sealed.bytes)
    }

    /// Seals a batch that is not compressed: as a compact one with [`Codec::Lz4`], record by record with any other.
    /// Whether a proxy would make it compact (SEAL-BATCH-4) is not asked.
    ///
    /// # Errors
    /// What is no batch of a producer, and what cannot be sealed.
    pub fn seal_into(
        &self,
        batch: &[u8],
        stored_codec: Codec,
        sealed: &mut SealedBatch,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        let header = BatchHeader::parse(batch)?;
        let SealedBatch {
            bytes: out,
            buffers,
            salts,
        } = sealed;
        out.clear();
        let mut writer = match stored_codec {
            Codec::Lz4 => BatchWriter::begin_compact(out, batch)?,
            _ => BatchWriter::begin(out, batch)?,
        };
        let place = BatchPlace {
            batch_header: batch.get(..HEADER_BYTES).unwrap_or_default(),
            ..BatchPlace::default()
        };
        let AcceptedDomain { domain, key } = &self.domain;
        let terms = SealTerms {
            keys: key.as_ref(),
            ..SealTerms::new(domain, self.headers)
        };
        let mut sealer = self.key.begin(salts, &place, &terms, std::mem::take(buffers))?;
        let mut cursor = RecordCursor::produced(&header, HEADER_BYTES);
        while let Some(record) = cursor.next(batch)? {
            match writer.frame() {
                None => sealer.seal_record(batch, &record, out)?,
                Some(frame) => sealer.seal_compact_record(batch, &record, frame, out)?,
            }
        }
        *buffers = sealer.end();
        writer.finish(out)?;
        Ok(())
    }
}

/// Nonce, data key, tag.
const KEYSTORE_BLOB_BYTES: usize = 60;
