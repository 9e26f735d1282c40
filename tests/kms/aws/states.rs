//! What an administrator does to a key, and what the proxy may do with it.

use sealwire::kms::{Kms as _, KmsError};
use serde_json::json;

use super::{ALIAS, AccessKey, Aws, Emulator, make_credentials};
use crate::are_same;
use crate::support::fault_layer::LayerFault;

/// KMS-3. moto shows that a key is disabled, and goes on to use it; AWS does not.
#[tokio::test]
async fn a_key_that_is_disabled_or_to_be_deleted_is_refused_until_it_is_enabled_again() {
    for emulator in Emulator::ALL {
        let aws = Aws::new(emulator).await;
        let kms = aws.kms();
        let made = kms.generate_dek(ALIAS).await.expect("made");
        let refused = async |what: &str| {
            let disabled = Some(KmsError::KekDisabled);
            assert_eq!(
                kms.current_version(ALIAS).await.err(),
                disabled,
                "{emulator:?}: {what}"
            );
            if emulator == Emulator::Fakecloud {
                assert_eq!(kms.generate_dek(ALIAS).await.err(), disabled, "{what}");
                assert_eq!(kms.unwrap_dek(&made.wrapped).await.err(), disabled, "{what}");
                assert_eq!(kms.recheck(&made.wrapped).await.err(), disabled, "{what}");
            }
        };
        let key = json!({ "KeyId": aws.key });
        aws.emulator.administer("DisableKey", key.clone()).await;
        refused("disabled").await;
        aws.emulator.administer("EnableKey", key.clone()).await;
        let again = kms.unwrap_dek(&made.wrapped).await.expect("it is enabled");
        assert!(are_same(&again, &made.dek));

        let deleted = json!({ "KeyId": aws.key, "PendingWindowInDays": 7 });
        aws.emulator.administer("ScheduleKeyDeletion", deleted).await;
        refused("to be deleted").await;
        aws.emulator.administer("CancelKeyDeletion", key.clone()).await;
        refused("not to be deleted, and not yet enabled").await;
        aws.emulator.administer("EnableKey", key).await;
        assert!(kms.generate_dek(ALIAS).await.is_ok());
        assert!(kms.unwrap_dek(&made.wrapped).await.is_ok());
        assert!(kms.current_version(ALIAS).await.is_ok());
    }
}

/// AWS-2, KMS-3: of a key in a store of its own (CloudHSM, external) AWS answers so whatever is wrong there:
/// <https://docs.aws.amazon.com/kms/latest/APIReference/API_Decrypt.html#API_Decrypt_Errors>
#[tokio::test]
async fn a_state_that_is_not_right_is_a_verdict_only_where_the_key_itself_is_in_it() {
    let aws = Aws::new(Emulator::Moto).await;
    let kms = aws.kms();
    let made = kms.generate_dek(ALIAS).await.expect("made");
    let answer = super::error_of("400 Bad Request", "KMSInvalidStateException");
    let refuse = |these: &str| {
        let answers = vec![(these.to_owned(), answer.clone())];
        aws.layer.set(LayerFault::AnswerSome(answers));
    };
    for error in [
        {
            refuse("TrentService.Decrypt");
            kms.recheck(&made.wrapped).await.err()
        },
        {
            refuse("TrentService.GenerateDataKey");
            kms.generate_dek(ALIAS).await.err()
        },
        {
            // Nor does it help to ask.
            refuse("TrentService.");
            kms.recheck(&made.wrapped).await.err()
        },
    ] {
        assert!(matches!(error, Some(KmsError::Unavailable(_))), "{error:?}");
    }
    aws.emulator
        .administer("DisableKey", json!({ "KeyId": aws.key }))
        .await;
    refuse("TrentService.Decrypt");
    assert_eq!(
        kms.recheck(&made.wrapped).await.err(),
        Some(KmsError::KekDisabled)
    );
}

/// KMS-3: a right that is taken away is named.
#[tokio::test]
async fn each_right_that_is_missing_is_named() {
    let aws = Aws::new(Emulator::Fakecloud).await;
    let kms = aws.kms();
    let made = kms.generate_dek(ALIAS).await.expect("made");
    let denied = |right: &str| {
        let words = format!("no policy lets the proxy call {right} on {ALIAS}");
        Some(KmsError::KekDenied(words))
    };
    aws.grant(&["kms:Decrypt", "kms:DescribeKey"]).await;
    assert_eq!(kms.generate_dek(ALIAS).await.err(), denied("kms:GenerateDataKey"));
    assert!(kms.recheck(&made.wrapped).await.is_ok());
    aws.grant(&["kms:GenerateDataKey", "kms:DescribeKey"]).await;
    assert_eq!(kms.recheck(&made.wrapped).await.err(), denied("kms:Decrypt"));
    assert!(kms.generate_dek(ALIAS).await.is_ok());
    aws.grant(&["kms:GenerateDataKey", "kms:Decrypt"]).await;
    assert_eq!(kms.current_version(ALIAS).await.err(), denied("kms:DescribeKey"));
    assert_eq!(kms.wrap(ALIAS, &made.dek).await.err(), denied("kms:Encrypt"));
    aws.grant(&["kms:Encrypt"]).await;
    assert_eq!(kms.wrap(ALIAS, &made.dek).await.err(), denied("kms:Decrypt"));
    aws.grant(&["kms:Encrypt", "kms:Decrypt"]).await;
    assert!(kms.wrap(ALIAS, &made.dek).await.is_ok());
}

/// AWS-3: of credentials that AWS knows no longer it says so, and what has replaced them is used at once.
#[tokio::test]
async fn credentials_that_ended_are_replaced() {
    let aws = Aws::new(Emulator::Fakecloud).await;
    let kms = aws.kms();
    assert!(kms.generate_dek(ALIAS).await.is_ok());
    let second = make_credentials(&aws.emulator).await;
    aws.write_credentials(&second);
    aws.end_credentials(&aws.access).await;
    let before = aws.layer.calls();
    assert!(kms.generate_dek(ALIAS).await.is_ok(), "with others");
    assert_eq!(aws.layer.calls(), before + 2, "the first was refused");

    // A secret that is not the one of its key.
    let wrong = AccessKey {
        secret: "another".to_owned(),
        ..second
    };
    aws.write_credentials(&wrong);
    let error = aws.kms().generate_dek(ALIAS).await.err();
    assert!(
        matches!(error, Some(KmsError::CredentialsRefused(_))),
        "{error:?}"
    );
}
