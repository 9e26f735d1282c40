//! Data keys that Kroxylicious had AWS wrap.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sealwire::crypto::SecretKey;
use sealwire::envelope::kroxylicious::as_ours;
use sealwire::envelope::wrapped_dek::provider::AWS_KMS;

use super::*;

/// FOREIGN-DEK-1: what Kroxylicious had wrapped, whose records name a key by its id.
#[tokio::test]
async fn what_kroxylicious_had_wrapped_is_unwrapped_as_if_it_were_ours() {
    let aws = Aws::new(Emulator::Moto).await;
    let kms = aws.kms();
    let asked = json!({ "KeyId": aws.key, "KeySpec": "AES_256" });
    let made = aws.emulator.administer("GenerateDataKey", asked).await;
    let bytes = |name: &str| BASE64.decode(made[name].as_str().expect(name)).expect("base64");
    let stored = [&[0, 36], aws.key.as_bytes(), &bytes("CiphertextBlob")].concat();
    let ours = as_ours(&stored, AWS_KMS, aws.settings().authority()).expect("it is one of AWS's");
    let is_of = |kek: &str| kms.kek_names().id(kek).is_some_and(|id| id.matches(&ours));
    assert!(is_of(&aws.key) && !is_of(ALIAS));
    let dek = SecretKey::from_bytes(&mut bytes("Plaintext")).expect("32 bytes");
    let opened = kms.unwrap_dek(&ours).await.expect("it opens");
    assert!(are_same(&opened, &dek));

    let other = aws.emulator.make_key().await;
    let other = [&[0, 36], other.as_bytes(), &stored[38..]].concat();
    let other = as_ours(&other, AWS_KMS, aws.settings().authority()).expect("it parses");
    assert!(kms.unwrap_dek(&other).await.is_err());
}
