//! Keys that exist, wrapped by AWS.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sealwire::crypto::SecretKey;

use super::*;

/// A proxy that may wrap keys that exist.
async fn wrapping(emulator: Emulator) -> Aws {
    let aws = Aws::new(emulator).await;
    let rights = [
        "kms:GenerateDataKey",
        "kms:Encrypt",
        "kms:Decrypt",
        "kms:DescribeKey",
    ];
    aws.grant(&rights).await;
    aws
}

#[tokio::test]
async fn what_was_wrapped_unwraps_under_each_way_to_name_a_key() {
    for emulator in Emulator::ALL {
        let aws = wrapping(emulator).await;
        let kms = AwsKms::new(AwsSettings {
            encryption_context: BTreeMap::from([("of".to_owned(), "payments".to_owned())]),
            ..aws.settings()
        });
        let arn = format!("arn:aws:kms:eu-central-1:{ACCOUNT}:key/{}", aws.key);
        for name in [ALIAS, &aws.key, &arn] {
            let made = kms.generate_dek(name).await.expect(name);
            let wrapped = kms.wrap(name, &made.dek).await.expect(name);
            let parts = |bytes| WrappedDek {
                blob: &[],
                ..WrappedDek::parse(bytes).expect("it parses")
            };
            assert_eq!(parts(&wrapped), parts(&made.wrapped), "{emulator:?} {name}");
            let again = kms.unwrap_dek(&wrapped).await.expect(name);
            assert!(are_same(&again, &made.dek), "{emulator:?} {name}");
            // Of another context it is another one.
            let error = aws.kms().unwrap_dek(&wrapped).await.err();
            assert_eq!(error, Some(KmsError::Malformed), "{emulator:?} {name}");
        }
        // An alias that was moved is a rotation.
        let second = aws.emulator.make_key().await;
        let moved = json!({ "AliasName": ALIAS, "TargetKeyId": second });
        aws.emulator.administer("UpdateAlias", moved).await;
        let key = SecretKey::generate().expect("random bytes");
        let wrapped = kms.wrap(ALIAS, &key).await.expect("wrapped");
        let version = kms.current_version(ALIAS).await.expect("it says so");
        let parsed = WrappedDek::parse(&wrapped).expect("it parses");
        assert_eq!(Some(parsed.version.to_vec()), version, "{emulator:?}");
        let again = kms.unwrap_dek(&wrapped).await.expect("unwrapped");
        assert!(are_same(&again, &key), "{emulator:?}");
    }
}

#[tokio::test]
async fn keys_that_are_not_there_or_of_another_kind_wrap_nothing() {
    for emulator in Emulator::ALL {
        let aws = wrapping(emulator).await;
        let kms = aws.kms();
        let key = SecretKey::generate().expect("random bytes");
        for name in [
            "alias/nobody",
            "alias/pay.ments",
            "1234abcd-12ab-34cd-56ef-1234567890ab",
        ] {
            let error = kms.wrap(name, &key).await.err();
            assert_eq!(error, Some(KmsError::KekNotFound), "{emulator:?} {name}");
        }
        // moto wraps under whatever key it is shown; AWS does not.
        if emulator == Emulator::Fakecloud {
            let rsa = json!({ "KeySpec": "RSA_2048", "KeyUsage": "ENCRYPT_DECRYPT" });
            let rsa = aws.emulator.administer("CreateKey", rsa).await;
            let rsa = rsa["KeyMetadata"]["KeyId"].as_str().expect("an id");
            let error = kms.wrap(rsa, &key).await.err();
            assert!(
                matches!(error, Some(KmsError::KekUnsuitable(_))),
                "{emulator:?}: {error:?}"
            );
        }
    }
}

/// AWS-2: of what was wrapped the answer to `Decrypt` says under which material, and that it is the key.
#[tokio::test]
async fn a_kms_that_lies_is_not_believed() {
    let aws = wrapping(Emulator::Moto).await;
    let kms = aws.kms();
    let made = kms.generate_dek(ALIAS).await.expect("made");
    let other = kms.generate_dek(ALIAS).await.expect("made");
    let blob = BASE64.encode(WrappedDek::parse(&other.wrapped).expect("it parses").blob);
    let id = aws.key.clone();
    let unknown = BASE64.encode(b"nothing");
    for (body, says) in [
        (
            json!({ "CiphertextBlob": blob, "KeyId": id }),
            "unwraps to another key",
        ),
        (
            json!({ "CiphertextBlob": unknown, "KeyId": id }),
            "it does not unwrap what it has wrapped",
        ),
        (json!({ "KeyId": id }), "has no wrapped data key"),
    ] {
        aws.layer.set(LayerFault::AnswerSome(vec![(
            "TrentService.Encrypt".to_owned(),
            answer(&body),
        )]));
        let error = kms.wrap(ALIAS, &made.dek).await.expect_err("it is not believed");
        assert!(!error.is_verdict(), "{error}");
        assert!(error.to_string().contains(says), "{error}");
    }
}
