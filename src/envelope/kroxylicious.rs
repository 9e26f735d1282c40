//! Wrapped DEKs of Kroxylicious' record encryption, of KMSs that both know.
//!
//! A record in version 2 of its format has for a value:
//!
//! ```text
//! cipher           u8       0: AES-256-GCM
//! wrapped DEK      uvarint length, bytes
//! additional data  u8       0: none
//! nonce            12 bytes
//! ciphertext       the rest, of which the last 16 bytes are the tag
//! ```
//!
//! Which KMS has wrapped the DEK is not said; whoever reads has to know:
//!
//! ```text
//! Vault transit    uvarint length, the KEK's name | "vault:vN:", base64
//! AWS KMS          0 | uvarint length, the key's id | CiphertextBlob
//! ```
//!
//! - FOREIGN-DEK-1: nothing that it says leads anywhere: it becomes a wrapped DEK of ours under the authority of the
//!   KMS that the configuration names, of which the KEK is compared with the rule's before anybody is asked.
//! - FOREIGN-DEK-2: there is one encoding for one wrapped DEK: another one is refused.
//!
//! Pure; any thread may call it.

use super::uvarint::read_uvarint;

/// Longest name of a KEK (ENV-63).
const NAME_BYTES_MAX: u32 = 255;

/// The wrapped DEK in the value of a record of version 2, `None` where it is not one.
#[must_use]
pub fn wrapped_dek_of(value: &[u8]) -> Option<&[u8]> {
    let rest = value.strip_prefix(&[CIPHER_AES_256_GCM])?;
    let (wrapped, rest) = split_counted(rest)?;
    let sealed = rest.strip_prefix(&[ADDITIONAL_DATA_NONE])?;
    (!wrapped.is_empty() && sealed.len() >= NONCE_AND_TAG_BYTES).then_some(wrapped)
}

/// The KEK that a wrapped DEK names, whichever of the KMSs has made it; for people to read. `None` where no name can be
/// found.
#[must_use]
pub fn kek_of(wrapped: &[u8]) -> Option<&str> {
    // Vault's alone begin with the name.
    let named = wrapped.strip_prefix(&[FORMAT_0]).unwrap_or(wrapped);
    split_name(named).map(|(name, _)| name)
}

fn split_name(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (name, rest) = split_counted(bytes)?;
    let name = str::from_utf8(name).ok()?;
    (!name.is_empty() && name.len() <= NAME_BYTES_MAX as usize && !rest.is_empty()).then_some((name, rest))
}

fn split_counted(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, at) = read_uvarint(bytes, 0).ok()?;
    bytes.get(at..)?.split_at_checked(usize::try_from(length).ok()?)
}

const CIPHER_AES_256_GCM: u8 = 0;
const ADDITIONAL_DATA_NONE: u8 = 0;
const NONCE_AND_TAG_BYTES: usize = 12 + 16;
/// The first byte of what others than Vault have wrapped.
const FORMAT_0: u8 = 0;

/// How what Kroxylicious' KMSs have wrapped becomes what ours unwrap.
#[cfg(feature = "testing")]
mod as_ours {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD as BASE64;

    use super::{FORMAT_0, split_name};
    use crate::envelope::WrappedDek;
    use crate::envelope::wrapped_dek::provider;

    /// As the provider of this number and authority would have wrapped it, `None` where it is none of that KMS
    /// (FOREIGN-DEK-1, FOREIGN-DEK-2).
    #[must_use]
    pub fn as_ours(wrapped: &[u8], provider: u8, authority: [u8; 4]) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        match provider {
            provider::VAULT_TRANSIT => {
                let (kek, text) = split_name(wrapped)?;
                let (version, blob) = transit(str::from_utf8(text).ok()?)?;
                let version = version.to_be_bytes();
                let shortest = version.iter().position(|byte| *byte != 0)?;
                let ours = WrappedDek {
                    provider,
                    authority,
                    kek: kek.as_bytes(),
                    version: version.get(shortest..)?,
                    blob: &blob,
                };
                ours.write(&mut out).ok()?;
            }
            provider::AWS_KMS => {
                let (kek, blob) = split_name(wrapped.strip_prefix(&[FORMAT_0])?)?;
                let ours = WrappedDek {
                    provider,
                    authority,
                    kek: kek.as_bytes(),
                    version: &[],
                    blob,
                };
                ours.write(&mut out).ok()?;
            }
            _ => return None,
        }
        Some(out)
    }

    /// Version and bytes of `vault:vN:base64`.
    fn transit(text: &str) -> Option<(u32, Vec<u8>)> {
        let (number, base64) = text.strip_prefix("vault:v")?.split_once(':')?;
        let version: u32 = number.parse().ok()?;
        let blob = BASE64.decode(base64).ok()?;
        let is_canonical = format!("vault:v{version}:{}", BASE64.encode(&blob)) == text;
        (is_canonical && !blob.is_empty()).then_some((version, blob))
    }
}

#[cfg(feature = "testing")]
pub use as_ours::as_ours;

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD as BASE64;
    use proptest::prelude::*;

    use super::*;
    use crate::envelope::uvarint::put_uvarint;
    use crate::envelope::wrapped_dek::provider::{AWS_KMS, FILE_KEYSTORE, VAULT_TRANSIT};
    use crate::envelope::{KekId, WrappedDek};

    const AUTHORITY: [u8; 4] = [1, 2, 3, 4];
    const AWS_ID: &str = "1234abcd-12ab-34cd-56ef-1234567890ab";

    fn counted(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        put_uvarint(&mut out, u32::try_from(bytes.len()).unwrap());
        out.extend_from_slice(bytes);
        out
    }

    fn of_vault(kek: &str, ciphertext: &str) -> Vec<u8> {
        [&counted(kek.as_bytes()), ciphertext.as_bytes()].concat()
    }

    fn of_aws(kek: &str, blob: &[u8]) -> Vec<u8> {
        [&[0], &*counted(kek.as_bytes()), blob].concat()
    }

    /// FOREIGN-DEK-1
    #[test]
    fn what_it_names_is_a_kek_of_the_kms_that_is_configured() {
        let vault = [&b"\x0aKEK-orders"[..], b"vault:v1:AAAA"].concat();
        let ours = as_ours(&vault, VAULT_TRANSIT, AUTHORITY).unwrap();
        let expected = WrappedDek {
            provider: VAULT_TRANSIT,
            authority: AUTHORITY,
            kek: b"KEK-orders",
            version: &[1],
            blob: &[0, 0, 0],
        };
        assert_eq!(WrappedDek::parse(&ours), Ok(expected));
        let id = |kek: &[u8]| KekId::new(VAULT_TRANSIT, AUTHORITY, kek).unwrap();
        assert!(id(b"KEK-orders").matches(&ours) && !id(b"KEK-order").matches(&ours));
        assert_eq!(kek_of(&vault), Some("KEK-orders"));
        let later = as_ours(&of_vault("k", "vault:v300:AAAA"), VAULT_TRANSIT, AUTHORITY).unwrap();
        assert_eq!(WrappedDek::parse(&later).unwrap().version, [1, 44]);

        let aws = [&b"\x00\x24"[..], AWS_ID.as_bytes(), &[1, 2, 3, 4]].concat();
        let ours = as_ours(&aws, AWS_KMS, AUTHORITY).unwrap();
        let expected = WrappedDek {
            provider: AWS_KMS,
            authority: AUTHORITY,
            kek: AWS_ID.as_bytes(),
            version: &[],
            blob: &[1, 2, 3, 4],
        };
        assert_eq!(WrappedDek::parse(&ours), Ok(expected));
        assert_eq!(kek_of(&aws), Some(AWS_ID));

        for (wrapped, other) in [(&vault, AWS_KMS), (&aws, VAULT_TRANSIT), (&vault, FILE_KEYSTORE)] {
            assert_eq!(as_ours(wrapped, other, AUTHORITY), None, "of another KMS");
        }
    }

    /// FOREIGN-DEK-2
    #[test]
    fn what_is_cut_off_or_written_in_another_way_is_none() {
        let vault = of_vault("KEK-orders", "vault:v1:AAAA");
        let aws = of_aws(AWS_ID, &[1, 2, 3, 4]);
        // A shorter blob is another one, which the KMS refuses.
        for (whole, provider, least) in [
            (&vault, VAULT_TRANSIT, vault.len()),
            (&aws, AWS_KMS, aws.len() - 3),
        ] {
            for end in 0..least {
                assert_eq!(as_ours(&whole[..end], provider, AUTHORITY), None, "cut to {end}");
            }
        }
        for text in [
            "vault:v0:AAAA",
            "vault:v01:AAAA",
            "vault:v+1:AAAA",
            "vault:v4294967296:AAAA",
            "vault:v1:",
            "vault:v1:AAA",
            "vault:v1:AAA=",
            "vault:v1:AAB=",
            "vault:v1:AAAA\n",
            "vault:1:AAAA",
            "bao:v1:AAAA",
        ] {
            let is_canonical = text == "vault:v1:AAA=";
            let ours = as_ours(&of_vault("k", text), VAULT_TRANSIT, AUTHORITY);
            assert_eq!(ours.is_some(), is_canonical, "{text:?}");
        }
        let names: [(&[u8], &str); 5] = [
            (b"\x00", "no name"),
            (b"\x81\x00k", "a length of two bytes that one would do for"),
            (b"\x81\x80\x00k", "of three"),
            (b"\xff\xff\xff\xff\xff\x01k", "of six"),
            (b"\x02\xc3\x28", "no UTF-8"),
        ];
        for (name, what) in names {
            let vault = [name, b"vault:v1:AAAA"].concat();
            assert_eq!(as_ours(&vault, VAULT_TRANSIT, AUTHORITY), None, "{what}");
            let aws = [&[0], name, &[1]].concat();
            assert_eq!(as_ours(&aws, AWS_KMS, AUTHORITY), None, "{what}");
            assert_eq!(kek_of(&aws), None, "{what}");
        }
        assert_eq!(as_ours(&of_aws(&"k".repeat(256), &[1]), AWS_KMS, AUTHORITY), None);
        assert!(as_ours(&of_aws(&"k".repeat(255), &[1]), AWS_KMS, AUTHORITY).is_some());
        assert_eq!(
            as_ours(&[&[1], &aws[1..]].concat(), AWS_KMS, AUTHORITY),
            None,
            "of another format"
        );
    }

    #[test]
    fn it_stands_in_front_of_a_value() {
        let wrapped = of_aws(AWS_ID, &[9; 200]);
        let value = [&[0], &*counted(&wrapped), &[0], &[7; 12], &[8; 16]].concat();
        assert_eq!(wrapped_dek_of(&value), Some(&*wrapped));
        for end in 0..value.len() {
            assert_eq!(wrapped_dek_of(&value[..end]), None, "cut to {end}");
        }
        for (place, what) in [
            (0, "of another cipher"),
            (value.len() - 29, "with additional data"),
        ] {
            let mut other = value.clone();
            other[place] = 1;
            assert_eq!(wrapped_dek_of(&other), None, "{what}");
        }
        let empty = [&[0, 0, 0][..], &[7; 28]].concat();
        assert_eq!(wrapped_dek_of(&empty), None);
    }

    proptest! {
        /// FOREIGN-DEK-2: whatever is accepted leads back to the very same bytes.
        #[test]
        fn whatever_is_accepted_has_no_other_encoding(
            bytes in proptest::collection::vec(any::<u8>(), 0..80),
            kek in "[a-z0-9-]{1,9}",
            version in 0_u32..9,
        ) {
            let vault = of_vault(&kek, &format!("vault:v{version}:{}", BASE64.encode(&bytes)));
            for candidate in [&bytes, &vault, &of_aws(&kek, &bytes)] {
                if let Some(ours) = as_ours(candidate, VAULT_TRANSIT, AUTHORITY) {
                    let parsed = WrappedDek::parse(&ours).unwrap();
                    let number = parsed.version.iter().fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
                    let text = format!("vault:v{number}:{}", BASE64.encode(parsed.blob));
                    prop_assert_eq!(&of_vault(str::from_utf8(parsed.kek).unwrap(), &text), candidate);
                }
                if let Some(ours) = as_ours(candidate, AWS_KMS, AUTHORITY) {
                    let parsed = WrappedDek::parse(&ours).unwrap();
                    prop_assert_eq!(&of_aws(str::from_utf8(parsed.kek).unwrap(), parsed.blob), candidate);
                }
                let _ = (wrapped_dek_of(candidate), kek_of(candidate));
            }
            prop_assert_eq!(as_ours(&vault, VAULT_TRANSIT, AUTHORITY).is_some(), version > 0 && !bytes.is_empty());
        }
    }
}
