//! The table of faults that every provider passes, and what is Vault's own.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sealwire::crypto::SecretKey;
use sealwire::envelope::WrappedDek;
use sealwire::testing::kms_faults::{FaultProvider, KEK, KekChange, Outage, THROTTLED_FOR, check};

use super::*;

struct VaultProvider {
    server: OpenBao,
    layer: FaultLayer,
    kms: Arc<VaultKms>,
}

impl VaultProvider {
    async fn new() -> Self {
        let server = OpenBao::start().await;
        make_key(&server, KEK).await;
        let layer = FaultLayer::before(server.port());
        let kms = VaultKms::new(settings(&server, &layer.address(), server.root_token()));
        Self {
            server,
            layer,
            kms: Arc::new(kms),
        }
    }

    fn configure(&self, body: serde_json::Value) {
        self.post(&format!("transit/keys/{KEK}/config"), body);
    }

    fn post(&self, path: &str, body: serde_json::Value) {
        apart(self.server.post(path, body));
    }
}

/// On a runtime of its own: the table changes things in the midst of another.
fn apart<T: Send>(does: impl Future<Output = T> + Send) -> T {
    std::thread::scope(|scope| {
        let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build();
        let thread = scope.spawn(move || runtime().expect("a runtime").block_on(does));
        thread.join().expect("it succeeds")
    })
}

impl FaultProvider for VaultProvider {
    fn kms(&mut self) -> Arc<dyn Kms> {
        Arc::clone(&self.kms) as Arc<dyn Kms>
    }

    fn change(&mut self, change: KekChange) {
        match change {
            KekChange::Rotate => self.post(&format!("transit/keys/{KEK}/rotate"), json!({})),
            KekChange::DisableFirst => self.configure(json!({ "min_decryption_version": 2 })),
            KekChange::EnableFirst => self.configure(json!({ "min_decryption_version": 1 })),
            KekChange::DestroyFirst => {
                self.configure(json!({ "min_decryption_version": 2, "min_encryption_version": 2 }));
                self.post(
                    &format!("transit/keys/{KEK}/trim"),
                    json!({ "min_available_version": 2 }),
                );
            }
            KekChange::DisableAll => {
                let path = format!("transit/keys/{KEK}/soft-delete");
                apart(self.server.admin(Method::DELETE, &path, None));
            }
        }
    }

    fn begin(&mut self, outage: Outage) -> bool {
        let status = |line: &str, more: &str, body: &str| {
            LayerFault::Answer(format!(
                "HTTP/1.1 {line}\r\n{more}Content-Length: {}\r\n\r\n{body}",
                body.len()
            ))
        };
        self.layer.set(match outage {
            Outage::Unreachable => {
                self.layer.cut();
                LayerFault::Refuse
            }
            Outage::CredentialsRefused => {
                status("403 Forbidden", "", "{\"errors\":[\"permission denied\"]}\n")
            }
            Outage::Throttled => status(
                "429 Too Many Requests",
                &format!("Retry-After: {}\r\n", THROTTLED_FOR.as_secs()),
                "{\"errors\":[\"rate limit quota exceeded\"]}\n",
            ),
        });
        true
    }

    fn end_outage(&mut self) {
        self.layer.set(LayerFault::None);
        // A login that was refused is left alone, unless there is another secret.
        let renewed = apart(token_of(&self.server, "root", "1h"));
        secret_file(&self.server, "token", &renewed);
    }
}

/// KMS-2, KMS-3
#[tokio::test]
async fn it_passes_the_table_of_faults() {
    let mut provider = VaultProvider::new().await;
    check(&mut provider).await.expect("it makes a DEK");
}

#[tokio::test]
async fn a_data_key_is_made_wrapped_shortly_and_unwrapped() {
    let server = OpenBao::start().await;
    make_key(&server, "payments").await;
    let kms = opened(&server);
    let made = kms.generate_dek("payments").await.expect("made");
    let parsed = WrappedDek::parse(&made.wrapped).expect("it parses");
    assert_eq!(
        (parsed.provider, parsed.kek, parsed.version),
        (2, &b"payments"[..], &[1][..])
    );
    // A nonce, the key and a tag.
    assert_eq!(parsed.blob.len(), 12 + 32 + 16);
    assert_eq!(made.wrapped.len(), 1 + 4 + 1 + 8 + 1 + 1 + 60);
    let again = kms.unwrap_dek(&made.wrapped).await.expect("unwrapped");
    assert!(are_same(&again, &made.dek));
    let again = kms.recheck(&made.wrapped).await.expect("unwrapped");
    assert!(are_same(&again, &made.dek));
    assert_eq!(kms.current_version("payments").await, Ok(Some(vec![1])));

    server.post("transit/keys/payments/rotate", json!({})).await;
    assert_eq!(kms.current_version("payments").await, Ok(Some(vec![2])));
    let newer = kms.generate_dek("payments").await.expect("made");
    assert_eq!(WrappedDek::parse(&newer.wrapped).expect("it parses").version, [2]);
    assert!(kms.unwrap_dek(&made.wrapped).await.is_ok());
}

/// VAULT-3
#[tokio::test]
async fn keks_of_other_kinds_are_refused_for_both_ways() {
    let server = OpenBao::start().await;
    let kms = opened(&server);
    for (name, of, is_good) in [
        ("rsa", json!({ "type": "rsa-2048" }), false),
        ("ed", json!({ "type": "ed25519" }), false),
        ("derived", json!({ "derived": true }), false),
        ("small", json!({ "type": "aes128-gcm96" }), true),
        ("chacha", json!({ "type": "chacha20-poly1305" }), true),
        ("xchacha", json!({ "type": "xchacha20-poly1305" }), true),
    ] {
        server.post(&format!("transit/keys/{name}"), of).await;
        let made = kms.generate_dek(name).await;
        if is_good {
            let made = made.expect(name);
            assert!(kms.unwrap_dek(&made.wrapped).await.is_ok(), "{name}");
            continue;
        }
        assert!(matches!(made.err(), Some(KmsError::KekUnsuitable(_))), "{name}");
        assert!(matches!(
            kms.current_version(name).await,
            Err(KmsError::KekUnsuitable(_))
        ));
    }
    // Wrapped by whoever has the public key.
    let answer = server
        .post("transit/datakey/wrapped/rsa", json!({ "bits": 256 }))
        .await;
    let text = answer["data"]["ciphertext"].as_str().expect("a ciphertext");
    let blob = BASE64
        .decode(text.strip_prefix("vault:v1:").expect("of version 1"))
        .expect("base64");
    let authority = settings(&server, &server.address(), "").authority();
    let forged = WrappedDek {
        provider: 2,
        authority,
        kek: b"rsa",
        version: &[1],
        blob: &blob,
    };
    let mut bytes = Vec::new();
    forged.write(&mut bytes).expect("it fits");
    let error = kms.unwrap_dek(&bytes).await.err();
    assert!(matches!(error, Some(KmsError::KekUnsuitable(_))), "{error:?}");
    // Of RSA keys transit wraps whatever it is shown.
    let error = kms.wrap("rsa", &some_key()).await.err();
    assert!(matches!(error, Some(KmsError::KekUnsuitable(_))), "{error:?}");
}

/// VAULT-1
#[tokio::test]
async fn no_name_leads_a_call_elsewhere() {
    let server = OpenBao::start().await;
    let layer = FaultLayer::before(server.port());
    let kms = VaultKms::new(settings(&server, &layer.address(), server.root_token()));
    for name in ["", ".", "..", "../../sys/seal", "a/b", "a%2fb", "a b", "ü", "-a"] {
        assert_eq!(
            kms.generate_dek(name).await.err(),
            Some(KmsError::KekNotFound),
            "{name:?}"
        );
        assert_eq!(kms.current_version(name).await, Err(KmsError::KekNotFound));
    }
    assert_eq!(layer.calls(), 0);
}

/// VAULT-4: a refusal by something in front of the server, of one path or of all, of whatever kind.
#[tokio::test]
async fn a_page_of_somebody_else_is_no_verdict() {
    let server = OpenBao::start().await;
    make_key(&server, "payments").await;
    let layer = FaultLayer::before(server.port());
    let kms = VaultKms::new(settings(&server, &layer.address(), server.root_token()));
    let made = kms.generate_dek("payments").await.expect("made");
    let page = "<html>not for you</html>";
    for line in [
        "400 Bad Request",
        "401 Unauthorized",
        "403 Forbidden",
        "404 Not Found",
    ] {
        let answer = format!("HTTP/1.1 {line}\r\nContent-Length: {}\r\n\r\n{page}", page.len());
        for of in ["transit/decrypt/", "auth/token/", "/v1/"] {
            layer.set(LayerFault::AnswerSome(vec![(of.to_owned(), answer.clone())]));
            match kms.unwrap_dek(&made.wrapped).await {
                Ok(key) => assert!(of == "auth/token/" && are_same(&key, &made.dek), "{line} {of}"),
                Err(KmsError::Unavailable(_)) => {}
                Err(error) => panic!("{line} {of}: {error:?}"),
            }
        }
    }
    layer.set(LayerFault::None);
    let again = kms
        .recheck(&made.wrapped)
        .await
        .expect("nothing is remembered of it");
    assert!(are_same(&again, &made.dek));
}

/// VAULT-2: what a policy does not allow is said, and is a verdict; what was allowed before is not used any longer.
#[tokio::test]
async fn a_policy_that_denies_is_a_verdict_and_says_what_is_missing() {
    let server = OpenBao::start().await;
    make_key(&server, "payments").await;
    make_key(&server, "other").await;
    server.grant("proxy", "payments").await;
    let token = token_of(&server, "proxy", "1h").await;
    let kms = VaultKms::new(settings(&server, &server.address(), &token));
    let made = kms.generate_dek("payments").await.expect("it may");
    assert!(kms.unwrap_dek(&made.wrapped).await.is_ok());
    let error = kms.generate_dek("other").await.err().expect("it may not");
    assert_eq!(
        error.to_string(),
        "the key-encryption key may not be used: no policy of the proxy's token has read on transit/keys/other"
    );

    let only_read = "path \"transit/keys/payments\" { capabilities = [\"read\"] }";
    server.set_policy("proxy", only_read).await;
    let error = kms.recheck(&made.wrapped).await.err().expect("it was taken away");
    assert!(error.refuses_kek(), "{error}");
    assert!(
        error.to_string().contains("update on transit/decrypt/payments"),
        "{error}"
    );
    let error = kms
        .generate_dek("payments")
        .await
        .err()
        .expect("it was taken away");
    assert!(
        error
            .to_string()
            .contains("update on transit/datakey/plaintext/payments"),
        "{error}"
    );

    server.grant("proxy", "payments").await;
    assert!(kms.recheck(&made.wrapped).await.is_ok());
    assert!(kms.generate_dek("payments").await.is_ok());
    // What the proxy is granted does not wrap keys that exist.
    let error = kms.wrap("payments", &made.dek).await.expect_err("it may not");
    assert_eq!(
        error.to_string(),
        "the key-encryption key may not be used: no policy of the proxy's token has update on \
         transit/encrypt/payments"
    );
    let rules = OpenBao::rights_to("payments");
    let wrapping = "path \"transit/encrypt/payments\" { capabilities = [\"update\"] }";
    server.set_policy("proxy", &format!("{rules}{wrapping}")).await;
    let wrapped = kms.wrap("payments", &made.dek).await.expect("it may");
    assert!(are_same(
        &kms.unwrap_dek(&wrapped).await.expect("unwrapped"),
        &made.dek
    ));
}

/// A KEK that was good a moment ago and is gone is not made anew by whoever wraps under it.
#[tokio::test]
async fn wrapping_makes_no_key_that_is_not_there() {
    let server = OpenBao::start().await;
    make_key(&server, "payments").await;
    let kms = opened(&server);
    assert!(kms.wrap("payments", &some_key()).await.is_ok());
    let body = json!({ "deletion_allowed": true });
    server.post("transit/keys/payments/config", body).await;
    server.admin(Method::DELETE, "transit/keys/payments", None).await;
    let refused = Some(KmsError::KekNotFound);
    assert_eq!(kms.wrap("payments", &some_key()).await.err(), refused);
    assert_eq!(kms.current_version("payments").await.err(), refused);
}

fn some_key() -> SecretKey {
    SecretKey::generate().expect("random bytes")
}

#[tokio::test]
async fn a_mount_that_is_not_there_is_no_verdict_about_a_key() {
    let server = OpenBao::start().await;
    make_key(&server, "payments").await;
    let made = opened(&server).generate_dek("payments").await.expect("made");
    let elsewhere = VaultSettings {
        mount: "team/transit".to_owned(),
        ..settings(&server, &server.address(), server.root_token())
    };
    let kms = VaultKms::new(elsewhere);
    let error = kms.generate_dek("payments").await.err().expect("it is not there");
    assert!(!error.is_verdict(), "{error}");
    assert!(error.to_string().contains("no transit engine"), "{error}");
    assert_eq!(
        kms.unwrap_dek(&made.wrapped).await.err(),
        Some(KmsError::KekNotFound)
    );

    server
        .post("sys/mounts/team/transit", json!({ "type": "transit" }))
        .await;
    server.post("team/transit/keys/payments", json!({})).await;
    assert!(kms.generate_dek("payments").await.is_ok());
}

#[tokio::test]
async fn namespaces_are_apart() {
    let server = OpenBao::start().await;
    server.post("sys/namespaces/payments", json!({})).await;
    server
        .post("payments/sys/mounts/transit", json!({ "type": "transit" }))
        .await;
    server.post("payments/transit/keys/orders", json!({})).await;
    let mut inside = settings(&server, &server.address(), server.root_token());
    inside.server.namespace = Some("payments".to_owned());
    let (inside, outside) = (VaultKms::new(inside), opened(&server));
    let made = inside.generate_dek("orders").await.expect("made");
    assert!(inside.unwrap_dek(&made.wrapped).await.is_ok());
    assert_eq!(
        outside.generate_dek("orders").await.err(),
        Some(KmsError::KekNotFound)
    );
    assert_eq!(
        outside.unwrap_dek(&made.wrapped).await.err(),
        Some(KmsError::KekNotFound)
    );
}
