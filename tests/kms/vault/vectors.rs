//! Data keys that a real server has wrapped, kept as files: they open for ever, at a server that is given the KEKs of
//! then (`tests/vectors/kms/openbao-2.7.2.json`; the keys are for tests alone).

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sealwire::crypto::SecretKey;
use sealwire::envelope::WrappedDek;
use serde::{Deserialize, Serialize};

use super::*;

#[derive(Deserialize, Serialize)]
struct Vectors {
    /// What the provider is called in what is stored.
    identity: String,
    keks: Vec<Kek>,
    data_keys: Vec<DataKey>,
}

#[derive(Deserialize, Serialize)]
struct Kek {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    versions: u32,
    /// As the server gave it; it has all versions.
    backup: String,
}

#[derive(Deserialize, Serialize)]
struct DataKey {
    kek: String,
    version: u8,
    /// In hex, as the bytes below.
    dek: String,
    /// As the server wrote it.
    ciphertext: String,
    /// As records carry it.
    wrapped: String,
}

/// ENV-63
#[tokio::test]
async fn what_a_real_server_has_wrapped_opens_for_ever() {
    let vectors = published().await;
    let server = OpenBao::start().await;
    for kek in &vectors.keks {
        let path = format!("transit/restore/{}", kek.name);
        server.post(&path, json!({ "backup": kek.backup })).await;
    }
    let kms = VaultKms::new(VaultSettings {
        identity: Some(vectors.identity.clone()),
        ..settings(&server, &server.address(), server.root_token())
    });
    let versions: u32 = vectors.keks.iter().map(|kek| kek.versions).sum();
    assert_eq!(vectors.data_keys.len(), versions as usize);
    for vector in &vectors.data_keys {
        let case = format!("{} version {}", vector.kek, vector.version);
        let wrapped = from_hex(&vector.wrapped);
        let parsed = WrappedDek::parse(&wrapped).expect(&case);
        assert_eq!(
            (parsed.provider, parsed.kek),
            (2, vector.kek.as_bytes()),
            "{case}"
        );
        assert_eq!(parsed.version, [vector.version], "{case}");
        let text = format!("vault:v{}:{}", vector.version, BASE64.encode(parsed.blob));
        assert_eq!(text, vector.ciphertext, "{case}");
        let opened = kms.unwrap_dek(&wrapped).await.expect(&case);
        let dek = SecretKey::from_bytes(&mut from_hex(&vector.dek)).expect("32 bytes");
        assert!(are_same(&opened, &dek), "{case}");
    }

    // One of each type.
    for kek in &vectors.keks {
        let vector = vectors.data_keys.iter().find(|vector| vector.kek == kek.name);
        let wrapped = from_hex(&vector.expect("each has one").wrapped);
        for length in 0..wrapped.len() {
            refuse(&kms, &wrapped[..length], format!("{} cut to {length}", kek.kind)).await;
        }
        for place in 0..wrapped.len() {
            let mut flipped = wrapped.clone();
            flipped[place] ^= 1 << (place % 8);
            refuse(&kms, &flipped, format!("{} flipped at {place}", kek.kind)).await;
        }
        let longer = [&wrapped[..], &[0]].concat();
        refuse(&kms, &longer, format!("{} with a byte more", kek.kind)).await;
    }
}

/// For good: nobody tries it again.
async fn refuse(kms: &VaultKms, wrapped: &[u8], case: String) {
    let error = kms.unwrap_dek(wrapped).await.err();
    assert!(
        error.as_ref().is_some_and(KmsError::is_verdict),
        "{case}: {error:?}"
    );
}

/// From its file; one that is not there is made where that is asked for, and none that is there is made anew.
async fn published() -> Vectors {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/kms/openbao-2.7.2.json");
    if !path.exists() && std::env::var_os("SEALWIRE_WRITE_VECTORS").is_some() {
        let text = serde_json::to_string_pretty(&made().await).expect("JSON");
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(&path, text + "\n").expect("written");
    }
    let text = std::fs::read_to_string(&path).expect("the vectors");
    serde_json::from_str(&text).expect("vectors")
}

async fn made() -> Vectors {
    let server = OpenBao::start().await;
    let identity = "vault-of-vectors".to_owned();
    let kms = VaultKms::new(VaultSettings {
        identity: Some(identity.clone()),
        ..settings(&server, &server.address(), server.root_token())
    });
    let (mut keks, mut data_keys) = (Vec::new(), Vec::new());
    for (name, kind, versions) in [
        ("payments", "aes256-gcm96", 3),
        ("orders", "aes128-gcm96", 1),
        ("chacha", "chacha20-poly1305", 1),
        ("xchacha", "xchacha20-poly1305", 1),
    ] {
        let of = json!({ "type": kind, "exportable": true, "allow_plaintext_backup": true });
        server.post(&format!("transit/keys/{name}"), of).await;
        for version in 1..=versions {
            if version > 1 {
                server
                    .post(&format!("transit/keys/{name}/rotate"), json!({}))
                    .await;
            }
            let wrapped = kms.generate_dek(name).await.expect("made").wrapped;
            let parsed = WrappedDek::parse(&wrapped).expect("it parses");
            let ciphertext = format!("vault:v{version}:{}", BASE64.encode(parsed.blob));
            let path = format!("transit/decrypt/{name}");
            let told = server.post(&path, json!({ "ciphertext": ciphertext })).await;
            let dek = BASE64.decode(told["data"]["plaintext"].as_str().expect("a key"));
            data_keys.push(DataKey {
                kek: name.to_owned(),
                version,
                dek: to_hex(&dek.expect("base64")),
                ciphertext,
                wrapped: to_hex(&wrapped),
            });
        }
        let path = format!("transit/backup/{name}");
        let told = server.admin(Method::GET, &path, None).await;
        keks.push(Kek {
            name: name.to_owned(),
            kind: kind.to_owned(),
            versions: u32::from(versions),
            backup: told["data"]["backup"].as_str().expect("a backup").to_owned(),
        });
    }
    Vectors {
        identity,
        keks,
        data_keys,
    }
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Vec<u8> {
    let pairs = text.as_bytes().chunks(2);
    let byte = |pair| u8::from_str_radix(str::from_utf8(pair).expect("text"), 16).expect("hex");
    pairs.map(byte).collect()
}
