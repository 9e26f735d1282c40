//! What AWS's keys are called: in rules, in what is stored, and in calls.
//!
//! - AWS-4: a multi-region key is asked for where the proxy's own region is, whichever region its ARN names: its
//!   replicas have one id, one account and one material.

use std::borrow::Cow;

use crate::kms::KmsError;
use crate::kms::http::unavailable;

/// What tells one state of a KEK from the next (AWS-1).
pub(super) struct Version {
    /// What an alias means: the id of a key.
    key: Option<String>,
    material: Vec<u8>,
}

impl Version {
    /// From what KMS says: an id or an ARN, and what the key is made of.
    pub(super) fn of(kek: &str, key: &str, material: Option<&str>) -> Result<Self, KmsError> {
        let id = key.rsplit('/').next().unwrap_or_default();
        let key = match is_alias(kek) {
            true => {
                packed(id).ok_or_else(|| unavailable("its answer names no key"))?;
                Some(id.to_owned())
            }
            false => None,
        };
        let material = material.map_or(Some(Vec::new()), |text| {
            bytes_of(text).map(|bytes| bytes.into_iter().take(MATERIAL_BYTES).collect())
        });
        let material = material.ok_or_else(|| unavailable("its answer names no material of the key"))?;
        Ok(Self { key, material })
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let key = self.key.as_deref().and_then(packed).unwrap_or_default();
        [key, self.material.clone()].concat()
    }

    pub(super) fn parse(kek: &str, bytes: &[u8]) -> Option<Self> {
        let (key, material) = match is_alias(kek) {
            true => {
                let (kind, rest) = bytes.split_first()?;
                let (id, material) = rest.split_first_chunk::<16>()?;
                (Some(unpacked(*kind, id)?), material)
            }
            false => (None, bytes),
        };
        let fits = material.is_empty() || material.len() == MATERIAL_BYTES;
        fits.then(|| Self {
            key,
            material: material.to_vec(),
        })
    }

    /// Which key unwraps what was made under `kek` in this state, asked in `region`.
    pub(super) fn key_in(&self, kek: &str, region: &str) -> String {
        // Of the alias's own account: KMS finds a key by its id in that of the caller.
        let key = match (&self.key, kek.rsplit_once(":alias/")) {
            (Some(id), Some((arn, _))) => Cow::Owned(format!("{arn}:key/{id}")),
            (Some(id), None) => Cow::Borrowed(id.as_str()),
            (None, _) => Cow::Borrowed(kek),
        };
        key_in(&key, region).into_owned()
    }
}

/// What `key` is asked for by in `region` (AWS-4): KMS knows no ARN of another one. An alias means in each region what
/// it was made for there, so its name stays as it is.
pub(super) fn key_in<'k>(key: &'k str, region: &str) -> Cow<'k, str> {
    let parts: Vec<&str> = key.splitn(6, ':').collect();
    match parts[..] {
        ["arn", partition, "kms", _, account, id] if id.starts_with("key/mrk-") => {
            Cow::Owned(format!("arn:{partition}:kms:{region}:{account}:{id}"))
        }
        _ => Cow::Borrowed(key),
    }
}

fn is_alias(kek: &str) -> bool {
    kek.starts_with("alias/") || kek.contains(":alias/")
}

/// An id of a key, shortly.
fn packed(id: &str) -> Option<Vec<u8>> {
    let (kind, digits) = match id.strip_prefix("mrk-") {
        Some(digits) => (MULTI_REGION, digits.to_owned()),
        None => (ONE_REGION, id.replace('-', "")),
    };
    let bytes: [u8; 16] = bytes_of(&digits)?.try_into().ok()?;
    let packed = [&[kind], &bytes[..]].concat();
    // What is stored has to lead back to the very same id.
    (unpacked(kind, &bytes).as_deref() == Some(id)).then_some(packed)
}

fn unpacked(kind: u8, bytes: &[u8; 16]) -> Option<String> {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    match kind {
        MULTI_REGION => Some(format!("mrk-{digits}")),
        ONE_REGION => {
            let part = |from: usize, to: usize| digits.get(from..to);
            Some(format!(
                "{}-{}-{}-{}-{}",
                part(0, 8)?,
                part(8, 12)?,
                part(12, 16)?,
                part(16, 20)?,
                part(20, 32)?
            ))
        }
        _ => None,
    }
}

fn bytes_of(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    let byte = |pair: &[u8]| {
        let is_pair = pair.len() == 2 && pair.iter().all(u8::is_ascii_hexdigit);
        let text = is_pair.then(|| str::from_utf8(pair).ok()).flatten()?;
        u8::from_str_radix(text, 16).ok()
    };
    pairs.map(byte).collect()
}

/// Whether a key or an alias can have this in its name, or its ARN.
#[must_use]
pub fn may_contain(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'/' | b':'))
}

pub(super) fn check_name(kek: &str) -> Result<(), KmsError> {
    if !kek.is_empty() && may_contain(kek) {
        Ok(())
    } else {
        Err(KmsError::KekNotFound)
    }
}

const ONE_REGION: u8 = 0;
const MULTI_REGION: u8 = 1;
/// Of 32: enough to tell the few states of one key apart.
const MATERIAL_BYTES: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    /// AWS-1
    #[test]
    fn what_an_alias_meant_leads_back_to_the_very_same_key() {
        let material = "2fdf5f1f6d6a6ae1d2a1a5a5f1e2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4";
        for id in [
            "1234abcd-12ab-34cd-56ef-1234567890ab",
            "mrk-1234abcd12ab34cd56ef1234567890ab",
        ] {
            for (kek, length) in [("alias/payments", 17), (id, 0)] {
                let arn = format!("arn:aws:kms:eu-central-1:111122223333:key/{id}");
                let plain = Version::of(kek, &arn, None).expect("a version").bytes();
                assert_eq!(plain.len(), length);
                let whole = Version::of(kek, id, Some(material)).expect("a version").bytes();
                assert_eq!(whole.len(), length + 8);
                let parsed = Version::parse(kek, &whole).expect("it parses");
                assert_eq!(parsed.key.as_deref(), is_alias(kek).then_some(id));
                assert_eq!(parsed.bytes(), whole);
                for cut in 1..whole.len() {
                    let cut = &whole[..cut];
                    assert_eq!(Version::parse(kek, cut).is_some(), cut.len() == length, "{cut:?}");
                }
            }
        }
        assert!(Version::parse("alias/x", &[2; 17]).is_none());
    }

    /// AWS-4
    #[test]
    fn a_multi_region_key_is_asked_for_in_the_region_of_the_proxy() {
        const MRK: &str = "mrk-1234abcd12ab34cd56ef1234567890ab";
        const PLAIN: &str = "1234abcd-12ab-34cd-56ef-1234567890ab";
        let there = "arn:aws-cn:kms:cn-north-1:111122223333";
        let here = "arn:aws-cn:kms:cn-northwest-1:111122223333";
        let asked = |kek: &str, key: &str| {
            let version = Version::of(kek, key, None).expect("a version");
            version.key_in(kek, "cn-northwest-1")
        };
        for (kek, key, expected) in [
            (MRK.to_owned(), MRK, MRK.to_owned()),
            (format!("{there}:key/{MRK}"), MRK, format!("{here}:key/{MRK}")),
            (format!("{here}:key/{MRK}"), MRK, format!("{here}:key/{MRK}")),
            ("alias/payments".to_owned(), MRK, MRK.to_owned()),
            (
                format!("{there}:alias/payments"),
                MRK,
                format!("{here}:key/{MRK}"),
            ),
            // Of one region: nobody else has it.
            (
                format!("{there}:key/{PLAIN}"),
                PLAIN,
                format!("{there}:key/{PLAIN}"),
            ),
            (
                format!("{there}:alias/payments"),
                PLAIN,
                format!("{there}:key/{PLAIN}"),
            ),
        ] {
            assert_eq!(asked(&kek, key), expected, "{kek}");
        }
        // What an alias means elsewhere is not what it means here.
        let alias = format!("{there}:alias/mrk-payments");
        assert_eq!(key_in(&alias, "cn-northwest-1"), alias);
    }

    #[test]
    fn answers_that_name_no_key_are_refused() {
        for key in [
            "",
            "alias/x",
            "1234abcd",
            "1234ABCD-12ab-34cd-56ef-1234567890ab",
            "mrk-12",
        ] {
            assert!(Version::of("alias/payments", key, None).is_err(), "{key:?}");
        }
        assert!(
            Version::of(
                "alias/payments",
                "mrk-1234abcd12ab34cd56ef1234567890ab",
                Some("xyz")
            )
            .is_err()
        );
    }
}
