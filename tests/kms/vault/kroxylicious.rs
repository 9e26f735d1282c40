//! Data keys that Kroxylicious had a Vault wrap.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sealwire::crypto::SecretKey;
use sealwire::envelope::kroxylicious::as_ours;
use sealwire::envelope::wrapped_dek::provider::VAULT_TRANSIT;

use super::*;

/// FOREIGN-DEK-1: by the server's own text, before and after a rotation.
#[tokio::test]
async fn what_kroxylicious_had_wrapped_is_unwrapped_as_if_it_were_ours() {
    let server = OpenBao::start().await;
    make_key(&server, "KEK-orders").await;
    let kms = opened(&server);
    let authority = settings(&server, &server.address(), server.root_token()).authority();
    for version in 1..=2_u8 {
        // As it asks: without a body.
        let path = "transit/datakey/plaintext/KEK-orders";
        let made = server.admin(Method::POST, path, None).await;
        let text = |name: &str| made["data"][name].as_str().expect(name).to_owned();
        let stored = [b"\x0aKEK-orders", text("ciphertext").as_bytes()].concat();
        let ours = as_ours(&stored, VAULT_TRANSIT, authority).expect("it is one of transit's");
        let is_of = |kek: &str| kms.kek_names().id(kek).is_some_and(|id| id.matches(&ours));
        assert!(is_of("KEK-orders") && !is_of("KEK-order"), "version {version}");
        let mut bytes = BASE64.decode(text("plaintext")).expect("base64");
        let dek = SecretKey::from_bytes(&mut bytes).expect("32 bytes");
        let opened = kms.unwrap_dek(&ours).await.expect("it opens");
        assert!(are_same(&opened, &dek), "version {version}");

        // What names another KEK is asked of that one.
        let other = [b"\x0aKEK-others", &stored[11..]].concat();
        let other = as_ours(&other, VAULT_TRANSIT, authority).expect("it parses");
        assert_eq!(kms.unwrap_dek(&other).await.err(), Some(KmsError::KekNotFound));
        server.post("transit/keys/KEK-orders/rotate", json!({})).await;
    }
}
