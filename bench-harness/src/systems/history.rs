//! A history whose batches were sealed under a data key each, as years of restarts and rotations leave them.

use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use sealwire::envelope::HeaderMode;
use sealwire::kms::Kms;
use sealwire::kms::file::FileKms;
use sealwire::kms::keystore::MasterKeySource;
use sealwire::record_batch::Codec;
use sealwire::testing::BatchSeals;

use super::sealwire::{DOMAIN, kek_name};
use crate::Failure;
use crate::proxy::{KEYSTORE, MASTER_KEY};
use crate::scenario::{Point, StoredCodec};

/// `batch`, which is not compressed, once for each data key of the point, under KEK 0 of the proxy's keystore in
/// `directory`.
pub(crate) fn sealed(directory: &Path, point: &Point, batch: &Bytes) -> Result<Vec<Bytes>, Failure> {
    let master_key = MasterKeySource::File(directory.join(MASTER_KEY));
    let kms = FileKms::open(&directory.join(KEYSTORE), &master_key)?;
    let codec = match point.stored_codec {
        StoredCodec::Lz4 => Codec::Lz4,
        StoredCodec::None => Codec::None,
    };
    let mut history = Vec::with_capacity(point.deks);
    for _ in 0..point.deks {
        let generated = at_once(kms.generate_dek(&kek_name(0)))??;
        let seals = BatchSeals::under(
            &generated.dek,
            generated.wrapped.into(),
            DOMAIN,
            HeaderMode::Sealed,
        )?;
        history.push(Bytes::from(seals.seal(batch, codec)?));
    }
    Ok(history)
}

/// A keystore in a file answers without waiting for anything.
fn at_once<T>(future: impl Future<Output = T>) -> Result<T, Failure> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Ok(value),
        Poll::Pending => Err("a keystore in a file waits".into()),
    }
}
