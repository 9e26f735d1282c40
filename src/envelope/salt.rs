//! The salt of one attempt to seal one batch.
//!
//! ```text
//! salt = first 12 bytes of HMAC-SHA-256(key of this source, input)
//! input = "sealwire/1/salt" | 32 bytes from the kernel | source u64 | attempt u64 | three clocks u64 (ns)
//!   | partition i32 | cluster, topic, header of the client's batch, context, wrapped DEK: each u32 length, bytes
//! ```
//!
//! The kernel's bytes alone would do, were it not for copies of a running machine, which may draw the same ones under
//! the same data key. So whatever tells one batch from another goes in as well:
//!
//! - SALT-1: a source never gives two salts for one input: `attempt` counts up, whatever the kernel and the clocks say.
//! - SALT-2: two copies of one source that draw the same bytes share a salt only at the same attempt for the same batch
//!   (its header says checksum, count, sequence and timestamps) in the same place under the same key: the ciphertext is
//!   then the same as well. (Its checksum is CRC-32C: who makes two batches with one header on purpose, for two such
//!   copies, gets one salt for both.)
//! - SALT-3: every field has its length in front or a fixed one, so different inputs are different bytes.
//! - SALT-4: without random bytes there is no salt, and nothing is sealed.

use crate::clocks::Clocks;
use crate::crypto::CryptoError;
use crate::crypto::salt::SaltKey;
use crate::crypto::xaes::SALT_BYTES;

/// Which batch a salt is for. What the key and the rule add is put in by [`super::SealingKey::begin`].
#[derive(Debug, Clone, Copy, Default)]
pub struct BatchPlace<'a> {
    /// Name of the cluster.
    pub cluster: &'a str,
    /// Name of the topic.
    pub topic: &'a str,
    /// Index of the partition.
    pub partition: i32,
    /// What the client's batch begins with: its checksum and its count of records among it.
    pub batch_header: &'a [u8],
    /// As they were read last.
    pub clocks: Clocks,
}

/// Where an executor's salts come from; one for each, each with a key of its own.
pub struct SaltSource {
    /// `None`: the kernel gave no random bytes at the start (SALT-4).
    key: Option<SaltKey>,
    /// Tells sources of one process apart.
    number: u64,
    attempts: u64,
    input: Vec<u8>,
    random: Random,
}

/// Fills a slice with random bytes.
type Random = fn(&mut [u8]) -> Result<(), CryptoError>;

impl SaltSource {
    /// The source of executor `number`, with a new key.
    #[must_use]
    pub fn new(number: usize) -> Self {
        Self::with(SaltKey::generate().ok(), number, from_kernel)
    }

    fn with(key: Option<SaltKey>, number: usize, random: Random) -> Self {
        Self {
            key,
            number: number as u64,
            attempts: 0,
            input: Vec::new(),
            random,
        }
    }

    /// The salt of the next attempt. `context` is what the seals of the batch are bound to in common.
    pub(super) fn next(
        &mut self,
        place: &BatchPlace<'_>,
        context: &[u8],
        wrapped_dek: &[u8],
    ) -> Result<[u8; SALT_BYTES], CryptoError> {
        let key = self.key.as_ref().ok_or(CryptoError::Random)?;
        let mut random = [0; RANDOM_BYTES];
        (self.random)(&mut random)?;
        // SALT-1: it never comes round, at a batch a nanosecond for 500 years.
        self.attempts = self.attempts.wrapping_add(1);
        let input = &mut self.input;
        input.clear();
        input.extend_from_slice(LABEL);
        input.extend_from_slice(&random);
        let clocks = [
            place.clocks.monotonic,
            place.clocks.boottime,
            place.clocks.realtime,
        ];
        // Nanoseconds fit a u64 until the year 2554.
        let clocks = clocks.map(|clock| clock.as_nanos() as u64);
        for number in [self.number, self.attempts].into_iter().chain(clocks) {
            input.extend_from_slice(&number.to_be_bytes());
        }
        input.extend_from_slice(&place.partition.to_be_bytes());
        for field in [
            place.cluster.as_bytes(),
            place.topic.as_bytes(),
            place.batch_header,
            context,
            wrapped_dek,
        ] {
            // Names, a header, a domain, a wrapped DEK: none is longer than 64 KiB.
            input.extend_from_slice(&(field.len() as u32).to_be_bytes());
            input.extend_from_slice(field);
        }
        Ok(key.salt(input))
    }
}

fn from_kernel(bytes: &mut [u8]) -> Result<(), CryptoError> {
    getrandom::fill(bytes).map_err(|_| CryptoError::Random)
}

const LABEL: &[u8] = b"sealwire/1/salt";
/// As many as the function's own security is worth.
const RANDOM_BYTES: usize = 32;

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::crypto::SecretKey;

    impl SaltSource {
        /// A copy of a source whose kernel gives the same bytes again and again.
        pub(crate) fn frozen(number: usize) -> Self {
            let key = SecretKey::from_bytes(&mut [7; 32]).unwrap();
            Self::with(Some(SaltKey::new(&key)), number, |bytes| {
                bytes.fill(9);
                Ok(())
            })
        }
    }

    fn place() -> BatchPlace<'static> {
        BatchPlace {
            cluster: "main",
            topic: "orders",
            partition: 1,
            batch_header: b"header",
            clocks: Clocks::default(),
        }
    }

    fn first(place: &BatchPlace<'_>, context: &[u8], wrapped_dek: &[u8]) -> [u8; SALT_BYTES] {
        SaltSource::frozen(0).next(place, context, wrapped_dek).unwrap()
    }

    /// SALT-2: each field alone makes a difference, and no two neighbours can be mistaken for one another (SALT-3).
    #[test]
    fn copies_that_draw_the_same_bytes_share_a_salt_for_the_same_batch_only() {
        let same = first(&place(), b"context", b"wrapped");
        assert_eq!(first(&place(), b"context", b"wrapped"), same);
        let clocks = |monotonic, boottime, realtime| BatchPlace {
            clocks: Clocks {
                monotonic: std::time::Duration::from_nanos(monotonic),
                boottime: std::time::Duration::from_nanos(boottime),
                realtime: std::time::Duration::from_nanos(realtime),
            },
            ..place()
        };
        let named = |cluster, topic| BatchPlace {
            cluster,
            topic,
            ..place()
        };
        let headed = |topic, batch_header| BatchPlace {
            topic,
            batch_header,
            ..place()
        };
        let others = [
            first(&named("mainn", "orders"), b"context", b"wrapped"),
            first(&named("maino", "rders"), b"context", b"wrapped"),
            first(&named("", "mainorders"), b"context", b"wrapped"),
            first(
                &BatchPlace {
                    partition: 2,
                    ..place()
                },
                b"context",
                b"wrapped",
            ),
            first(&headed("orders", b"Header"), b"context", b"wrapped"),
            first(&headed("ordersh", b"eader"), b"context", b"wrapped"),
            first(&clocks(1, 0, 0), b"context", b"wrapped"),
            first(&clocks(0, 1, 0), b"context", b"wrapped"),
            first(&clocks(0, 0, 1), b"context", b"wrapped"),
            first(&place(), b"contexT", b"wrapped"),
            first(&place(), b"contextw", b"rapped"),
            first(&place(), b"context", b"wrapped2"),
            SaltSource::frozen(1)
                .next(&place(), b"context", b"wrapped")
                .unwrap(),
        ];
        let distinct: HashSet<_> = others.iter().chain([&same]).collect();
        assert_eq!(distinct.len(), others.len() + 1);
    }

    /// SALT-1
    #[test]
    fn one_source_gives_no_salt_twice_though_everything_stands_still() {
        let mut source = SaltSource::frozen(0);
        let salts: HashSet<_> = (0..1000)
            .map(|_| source.next(&place(), b"context", b"wrapped").unwrap())
            .collect();
        assert_eq!(salts.len(), 1000);
    }

    /// SALT-4
    #[test]
    fn without_random_bytes_there_is_no_salt() {
        let mut keyless = SaltSource::with(None, 0, from_kernel);
        assert_eq!(keyless.next(&place(), b"", b""), Err(CryptoError::Random));
        let mut dry = SaltSource::with(SaltKey::generate().ok(), 0, |_| Err(CryptoError::Random));
        assert_eq!(dry.next(&place(), b"", b""), Err(CryptoError::Random));
    }

    #[test]
    fn sources_have_keys_of_their_own_and_the_kernels_bytes_count() {
        let salts: HashSet<_> = (0..100)
            .map(|_| SaltSource::new(0).next(&place(), b"", b"").unwrap())
            .collect();
        assert_eq!(salts.len(), 100);
        let thawed = || SaltSource {
            random: from_kernel,
            ..SaltSource::frozen(0)
        };
        let drawn = || thawed().next(&place(), b"context", b"wrapped").unwrap();
        assert_ne!(drawn(), drawn());
    }
}
