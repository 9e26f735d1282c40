//! Records taken apart so that a vector can alter one field, put together without the product's writers.

use aws_lc_rs::digest::{SHA256, digest};

use super::{StableKeyFields, Vector, to_hex};
use crate::crypto::{RecordKey, SecretKey};
use crate::envelope::{Domain, Form, HeaderMode, SealBuffers, SealTerms, SealingKey, WrappedDek, form_of};
use crate::record_batch::{headers, parse_record};

/// The DEK of most vectors.
pub(super) const DEK: [u8; 32] = [
    0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0x10,
    0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f,
];

/// The domain of most vectors.
pub(super) const DOMAIN: &str = "orders";

/// The wrapped DEK of most vectors: file keystore, KEK `payments`, version 3. (Its blob unwraps nowhere.)
pub(super) fn wrapped_dek() -> Vec<u8> {
    let blob: Vec<u8> = (0..60).map(|index| 0xc0 ^ index).collect();
    let mut out = Vec::new();
    WrappedDek {
        provider: 1,
        authority: [0xa1, 0xb2, 0xc3, 0xd4],
        kek: b"payments",
        version: &[3],
        blob: &blob,
    }
    .write(&mut out)
    .unwrap();
    out
}

/// A salt that is different for each vector.
pub(super) fn salt(name: &str) -> [u8; 12] {
    digest(&SHA256, name.as_bytes()).as_ref()[..12]
        .try_into()
        .unwrap()
}

pub(super) type Header = (Vec<u8>, Option<Vec<u8>>);

pub(super) fn header(key: &str, value: Option<&str>) -> Header {
    (
        key.as_bytes().to_vec(),
        value.map(|value| value.as_bytes().to_vec()),
    )
}

/// A zigzag varint as the Kafka protocol describes it.
pub(super) fn varint(value: i64) -> Vec<u8> {
    unsigned(((value << 1) ^ (value >> 63)) as u64)
}

/// Base 128, shortest form.
pub(super) fn unsigned(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

pub(super) fn nullable(bytes: Option<&[u8]>) -> Vec<u8> {
    match bytes {
        None => varint(-1),
        Some(bytes) => [varint(bytes.len() as i64), bytes.to_vec()].concat(),
    }
}

pub(super) fn section(headers: &[Header]) -> Vec<u8> {
    let mut bytes = varint(headers.len() as i64);
    for (key, value) in headers {
        bytes.extend(nullable(Some(key)));
        bytes.extend(nullable(value.as_deref()));
    }
    bytes
}

/// A record as its client wrote it.
#[derive(Clone)]
pub(super) struct Clear {
    /// Attributes, timestamp delta, offset delta.
    pub(super) fixed: Vec<u8>,
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
    pub(super) section: Vec<u8>,
}

impl Clear {
    pub(super) fn new(key: Option<&[u8]>, value: Option<&[u8]>, headers: &[Header]) -> Self {
        Self {
            fixed: [&[0][..], &varint(7), &varint(2)].concat(),
            key: key.map(<[u8]>::to_vec),
            value: value.map(<[u8]>::to_vec),
            section: section(headers),
        }
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let key = nullable(self.key.as_deref());
        let value = nullable(self.value.as_deref());
        let body = [&self.fixed[..], &key, &value, &self.section].concat();
        [varint(body.len() as i64), body].concat()
    }
}

/// How a record is sealed.
#[derive(Clone)]
pub(super) struct How {
    pub(super) mode: HeaderMode,
    pub(super) domain: String,
    pub(super) wrapped_dek: Vec<u8>,
    pub(super) counter: u32,
    /// Keys are sealed, under [`stable_key`].
    pub(super) keys_sealed: bool,
}

impl How {
    pub(super) fn new(mode: HeaderMode) -> Self {
        Self {
            mode,
            domain: DOMAIN.to_owned(),
            wrapped_dek: wrapped_dek(),
            counter: 0,
            keys_sealed: false,
        }
    }

    pub(super) fn with_keys(mode: HeaderMode) -> Self {
        let keys_sealed = true;
        Self {
            keys_sealed,
            ..Self::new(mode)
        }
    }
}

/// The stable key of most vectors that have one. (It unwraps nowhere.)
pub(super) fn stable_key() -> StableKeyFields {
    let key: Vec<u8> = (0x40..0x60).collect();
    StableKeyFields {
        stable_key: to_hex(&key),
        wrapped_stable_key: to_hex(&[&wrapped_dek()[..16], &[0x77; 60]].concat()),
    }
}

/// Seals by the product's own code.
pub(super) fn seal(name: &str, clear: &Clear, how: &How) -> Vec<u8> {
    let dek = SecretKey::from_bytes(&mut DEK.clone()).unwrap();
    let key = SealingKey::new(&dek, how.wrapped_dek.clone()).unwrap();
    let source = clear.bytes();
    let record = parse_record(&source, 0).unwrap();
    let domain = Domain::new(how.domain.as_str()).unwrap();
    let mut out = Vec::new();
    let buffers = SealBuffers::default();
    let keys = how.keys_sealed.then(|| stable_key().of_domain(&domain));
    let terms = SealTerms {
        keys: keys.as_ref(),
        ..SealTerms::new(&domain, how.mode)
    };
    key.begin_with_salt_for_vectors(salt(name), how.counter, &terms, buffers)
        .unwrap()
        .seal_record(&source, &record, &mut out)
        .unwrap();
    out
}

/// A stored record in pieces.
#[derive(Clone)]
pub(super) struct Stored {
    pub(super) fixed: Vec<u8>,
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
    /// All headers, the marker among them; its value is replaced by `seal` when the record is put together.
    pub(super) headers: Vec<Header>,
    pub(super) seal: SealFields,
}

#[derive(Clone)]
pub(super) struct SealFields {
    pub(super) format: u8,
    pub(super) parts: u8,
    pub(super) domain_hint: Vec<u8>,
    /// As encoded.
    pub(super) wrapped_length: Vec<u8>,
    pub(super) wrapped_dek: Vec<u8>,
    pub(super) salt: Vec<u8>,
    /// As encoded.
    pub(super) counter: Vec<u8>,
    pub(super) hidden: Vec<u8>,
    pub(super) tag: Vec<u8>,
}

impl SealFields {
    pub(super) fn bytes(&self) -> Vec<u8> {
        [
            &[self.format, self.parts][..],
            &self.domain_hint,
            &self.wrapped_length,
            &self.wrapped_dek,
            &self.salt,
            &self.counter,
            &self.hidden,
            &self.tag,
        ]
        .concat()
    }
}

impl Stored {
    pub(super) fn of(bytes: &[u8]) -> Self {
        let record = parse_record(bytes, 0).unwrap();
        let Ok(Form::RecordSeal(marker)) = form_of(bytes, &record) else {
            panic!("vectors start from a sealed record");
        };
        let seal = marker.seal();
        Self {
            fixed: record.fixed.of(bytes).to_vec(),
            key: record.key.map(|span| span.of(bytes).to_vec()),
            value: record.value.map(|span| span.of(bytes).to_vec()),
            headers: headers(bytes, &record)
                .map(Result::unwrap)
                .map(|header| {
                    (
                        header.key.of(bytes).to_vec(),
                        header.value.map(|span| span.of(bytes).to_vec()),
                    )
                })
                .collect(),
            seal: SealFields {
                format: 1,
                parts: seal.parts.to_byte(),
                domain_hint: seal.domain_hint.to_vec(),
                wrapped_length: unsigned(seal.wrapped_dek.len() as u64),
                wrapped_dek: seal.wrapped_dek.of(bytes).to_vec(),
                salt: seal.salt.to_vec(),
                counter: unsigned(u64::from(seal.counter)),
                hidden: seal.hidden.of(bytes).to_vec(),
                tag: seal.tag.to_vec(),
            },
        }
    }

    /// Puts the record together, the seal into the marker header.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut headers = self.headers.clone();
        for (key, value) in &mut headers {
            if key == b"sealwire" {
                *value = Some(self.seal.bytes());
            }
        }
        self.bytes_with_section(&section(&headers))
    }

    /// Puts the record together with headers of the caller's.
    pub(super) fn bytes_with_section(&self, section: &[u8]) -> Vec<u8> {
        let (fixed, key, value) = (self.fixed.clone(), self.key.clone(), self.value.clone());
        Clear {
            fixed,
            key,
            value,
            section: section.to_vec(),
        }
        .bytes()
    }

    /// Encrypts `text`, cut at the value's length, for this record, as a sealer would that had no scruples about what
    /// the seal's fields say; `counter` and the additional data's `parts` are the caller's.
    pub(super) fn forge(&mut self, text: &[u8], counter: u32) {
        let mut additional_data = b"sealwire/1".to_vec();
        additional_data.push(self.seal.parts);
        additional_data.extend((DOMAIN.len() as u16).to_be_bytes());
        additional_data.extend(DOMAIN.as_bytes());
        for (bytes, included) in [(&self.key, true), (&self.value, false)] {
            let length = bytes.as_ref().map_or(-1, |bytes| bytes.len() as i32);
            additional_data.extend(length.to_be_bytes());
            if included {
                additional_data.extend(bytes.clone().unwrap_or_default());
            }
        }
        let dek = SecretKey::from_bytes(&mut DEK.clone()).unwrap();
        let key = RecordKey::derive(&dek, &self.seal.wrapped_dek).unwrap();
        let batch_key = key.batch_key(self.seal.salt[..].try_into().unwrap()).unwrap();
        let mut ciphertext = vec![0; text.len()];
        let tag = batch_key
            .seal(counter, &additional_data, text, &mut ciphertext)
            .unwrap();
        let border = self.value.as_ref().map_or(0, Vec::len);
        self.seal.hidden = ciphertext.split_off(border);
        if let Some(value) = &mut self.value {
            *value = ciphertext;
        }
        self.seal.tag = tag.to_vec();
    }
}

/// A vector for a reader that has [`DEK`], [`wrapped_dek`] and accepts [`DOMAIN`].
pub(super) fn vector(name: &str, requirement: &'static str, stored: &[u8]) -> Vector {
    Vector {
        name: name.to_owned(),
        requirement,
        dek: to_hex(&DEK),
        wrapped_dek: to_hex(&wrapped_dek()),
        domains: vec![DOMAIN.to_owned()],
        stable_key: None,
        stored: to_hex(stored),
        opened: None,
        refused: None,
    }
}
