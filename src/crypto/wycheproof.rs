//! Project Wycheproof's vectors (<https://github.com/C2SP/wycheproof>, Apache-2.0), which are made to find what
//! implementations of ciphers get wrong: of those in `tests/vectors/wycheproof/`, all that have the sizes that are used
//! here, through the functions that records and keys go through.

use std::path::Path;

use aws_lc_rs::aead::Nonce;
use serde_json::Value;

use super::gcm_siv::StableCipher;
use super::memory::KEY_BYTES;
use super::xaes::{BatchKey, TAG_BYTES};
use super::{CryptoError, SecretKey, hkdf, key_wrap};

/// One vector, whose fields that are bytes are hexadecimal.
struct Vector(Value);

impl Vector {
    fn bytes(&self, field: &str) -> Vec<u8> {
        let digits = self.0[field].as_str().expect(field).as_bytes();
        let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).expect("text"), 16).expect("digits");
        digits.chunks(2).map(byte).collect()
    }

    fn is_valid(&self) -> bool {
        match self.0["result"].as_str() {
            Some("valid") => true,
            Some("invalid") => false,
            other => panic!("{self}: {other:?}"),
        }
    }
}

impl std::fmt::Display for Vector {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} {}", self.0["tcId"], self.0["comment"])
    }
}

/// Of the groups of a file that `is_ours` likes.
fn vectors(file: &str, is_ours: impl Fn(&Value) -> bool) -> Vec<Vector> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/wycheproof");
    let text = std::fs::read(folder.join(file)).expect(file);
    let set: Value = serde_json::from_slice(&text).expect(file);
    let groups = set["testGroups"].as_array().expect("groups").iter();
    let tests = groups.filter(|group| is_ours(group)).map(|group| &group["tests"]);
    let tests = tests.flat_map(|tests| tests.as_array().expect("tests"));
    tests.cloned().map(Vector).collect()
}

/// AES-256-GCM with a nonce of 96 bits and a tag of 128.
fn gcm() -> Vec<Vector> {
    let found = vectors("aes_gcm_test.json", |group| {
        [&group["keySize"], &group["ivSize"], &group["tagSize"]] == [256, 96, 128]
    });
    let valid = found.iter().filter(|test| test.is_valid()).count();
    assert_eq!((valid, found.len() - valid), (39, 27));
    found
}

#[test]
fn records_are_sealed_and_opened_as_the_vectors_of_aes_gcm_say() {
    for test in gcm() {
        let [key, iv, aad, text, ciphertext, tag] =
            ["key", "iv", "aad", "msg", "ct", "tag"].map(|field| test.bytes(field));
        let key: [u8; KEY_BYTES] = key.try_into().expect("32 bytes");
        let tag: [u8; TAG_BYTES] = tag.try_into().expect("16 bytes");
        let key = BatchKey::of(&key).expect("a key");
        let nonce = || Nonce::try_assume_unique_for_key(&iv).expect("12 bytes");
        let mut opened = vec![0; ciphertext.len()];
        let result = key.open_with(nonce(), &aad, &ciphertext, &tag, &mut opened);
        if test.is_valid() {
            assert_eq!((result, opened), (Ok(()), text.clone()), "{test}");
            let mut sealed = vec![0; text.len()];
            let made = key.seal_with(nonce(), &aad, &text, &mut sealed);
            assert_eq!((made, sealed), (Ok(tag), ciphertext), "{test}");
        } else {
            assert_eq!(result, Err(CryptoError::Tag), "{test}");
        }
    }
}

#[test]
fn wrapped_keys_are_opened_as_the_vectors_of_aes_gcm_say() {
    for test in gcm() {
        let [mut key, iv, aad, text, ciphertext, tag] =
            ["key", "iv", "aad", "msg", "ct", "tag"].map(|field| test.bytes(field));
        let key = SecretKey::from_bytes(&mut key).expect("32 bytes");
        let cipher = key_wrap::cipher(&key).expect("a key");
        let mut opened = vec![0; ciphertext.len()];
        let result = key_wrap::open(&cipher, &iv, &aad, &ciphertext, &tag, &mut opened);
        match test.is_valid() {
            true => assert_eq!((result, opened), (Ok(()), text), "{test}"),
            false => assert_eq!(result, Err(CryptoError::Tag), "{test}"),
        }
    }
}

/// ENV-72: AES-256-GCM-SIV, with other nonces than zeros too.
#[test]
fn record_keys_are_sealed_and_opened_as_the_vectors_of_aes_gcm_siv_say() {
    let found = vectors("aes_gcm_siv_test.json", |group| {
        [&group["keySize"], &group["ivSize"], &group["tagSize"]] == [256, 96, 128]
    });
    let valid = found.iter().filter(|test| test.is_valid()).count();
    assert_eq!((valid, found.len() - valid), (69, 34));
    for test in found {
        let [mut key, iv, aad, text, ciphertext, tag] =
            ["key", "iv", "aad", "msg", "ct", "tag"].map(|field| test.bytes(field));
        let key = SecretKey::from_bytes(&mut key).expect("32 bytes");
        let cipher = StableCipher::new(&key).expect("a key");
        let nonce = iv.try_into().expect("12 bytes");
        let mut opened = vec![0; ciphertext.len()];
        let result = cipher.open_with(nonce, &aad, &ciphertext, &tag, &mut opened);
        if test.is_valid() {
            assert_eq!((result, opened), (Ok(()), text.clone()), "{test}");
            let mut sealed = vec![0; text.len()];
            let made = cipher.seal_with(nonce, &aad, &text, &mut sealed);
            let tag: [u8; TAG_BYTES] = tag.try_into().expect("16 bytes");
            assert_eq!((made, sealed), (Ok(tag), ciphertext), "{test}");
        } else {
            assert_eq!(result, Err(CryptoError::Tag), "{test}");
        }
    }
}

/// ENV-20: without a salt, as record keys are derived.
#[test]
fn keys_are_derived_as_the_vectors_of_hkdf_say() {
    let mut found = vectors("hkdf_sha256_test.json", |_| true);
    found.retain(|test| test.bytes("salt").is_empty());
    assert_eq!(found.len(), 23);
    for test in found {
        let [ikm, info, expected] = ["ikm", "info", "okm"].map(|field| test.bytes(field));
        let mut output = vec![0; expected.len()];
        assert!(test.is_valid(), "{test}");
        assert_eq!(hkdf::derive_into(&ikm, &[&info], &mut output), Ok(()), "{test}");
        assert_eq!(output, expected, "{test}");
    }
}
