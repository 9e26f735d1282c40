//! AWS KMS, as two emulators have it, and behind a layer that answers as AWS documents its errors:
//! <https://docs.aws.amazon.com/kms/latest/APIReference/API_Decrypt.html> and CommonErrors there.

mod asker;
mod chain;
mod documented;
mod kroxylicious;
mod metadata;
mod pinned;
mod regions;
mod states;
mod wrapping;

use std::collections::BTreeMap;
use std::path::PathBuf;

use sealwire::envelope::WrappedDek;
use sealwire::kms::aws::{AwsKms, AwsSettings};
use sealwire::kms::{Kms, KmsError};
use sealwire::transport::tls_client::Trust;
use serde_json::json;

use crate::are_same;
use crate::support::aws_emulator::{ACCOUNT, AwsEmulator, Emulator, REGION, element, error_of};
use crate::support::fault_layer::{FaultLayer, LayerFault};

const ALIAS: &str = "alias/payments";

/// A key under an alias, and a user who may use it: the proxy.
struct Aws {
    emulator: AwsEmulator,
    layer: FaultLayer,
    key: String,
    /// What it has at first.
    access: AccessKey,
}

impl Aws {
    async fn new(emulator: Emulator) -> Self {
        let emulator = AwsEmulator::start(emulator);
        let layer = FaultLayer::before(emulator.port());
        let key = emulator.make_key().await;
        let alias = json!({ "AliasName": ALIAS, "TargetKeyId": key });
        emulator.administer("CreateAlias", alias).await;
        emulator.manage("iam", "CreateUser", &[USER]).await;
        let access = make_credentials(&emulator).await;
        let aws = Self {
            emulator,
            layer,
            key,
            access,
        };
        aws.grant(&["kms:GenerateDataKey", "kms:Decrypt", "kms:DescribeKey"])
            .await;
        aws.write_credentials(&aws.access);
        aws
    }

    /// What the proxy may do, and nothing else, on every key.
    async fn grant(&self, rights: &[&str]) {
        let statement = json!({ "Effect": "Allow", "Action": rights, "Resource": "*" });
        let policy = json!({ "Version": "2012-10-17", "Statement": [statement] }).to_string();
        let policy = [USER, ("PolicyName", "keys"), ("PolicyDocument", &policy)];
        self.emulator.manage("iam", "PutUserPolicy", &policy).await;
    }

    async fn end_credentials(&self, key: &AccessKey) {
        let ended = [USER, ("AccessKeyId", &key.id)];
        self.emulator.manage("iam", "DeleteAccessKey", &ended).await;
    }

    fn credentials(&self) -> PathBuf {
        self.emulator.folder().join("credentials")
    }

    fn write_credentials(&self, key: &AccessKey) {
        let AccessKey { id, secret } = key;
        let text = format!("[default]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n");
        std::fs::write(self.credentials(), text).expect("written");
    }

    fn settings(&self) -> AwsSettings {
        settings_at(&self.layer.address(), Some(self.credentials()))
    }

    fn kms(&self) -> AwsKms {
        AwsKms::new(self.settings())
    }

    /// From now on AWS answers with this error.
    fn refuse(&self, status: &str, code: &str) {
        self.layer.set(LayerFault::Answer(error_of(status, code)));
    }
}

/// What AWS answers when all is well.
fn answer(body: &serde_json::Value) -> String {
    let body = body.to_string();
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.1\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn settings_at(endpoint: &str, credentials_file: Option<PathBuf>) -> AwsSettings {
    AwsSettings {
        region: REGION.to_owned(),
        endpoint: Some(endpoint.parse().expect("an address")),
        identity: None,
        profile: None,
        credentials_file,
        trust: Trust::System,
        encryption_context: BTreeMap::new(),
    }
}

struct AccessKey {
    id: String,
    secret: String,
}

/// New ones of the proxy's.
fn refused(code: &str) -> Option<KmsError> {
    Some(KmsError::CredentialsRefused(format!("it answers {code}")))
}

async fn make_credentials(emulator: &AwsEmulator) -> AccessKey {
    let made = emulator.manage("iam", "CreateAccessKey", &[USER]).await;
    AccessKey {
        id: element(&made, "AccessKeyId").to_owned(),
        secret: element(&made, "SecretAccessKey").to_owned(),
    }
}

const USER: (&str, &str) = ("UserName", "proxy");

#[tokio::test]
async fn a_data_key_is_made_and_unwrapped_by_each_way_to_name_a_key() {
    for emulator in Emulator::ALL {
        let aws = Aws::new(emulator).await;
        let kms = aws.kms();
        let arn = format!("arn:aws:kms:eu-central-1:123456789012:key/{}", aws.key);
        for name in [ALIAS, &aws.key, &arn] {
            let made = kms.generate_dek(name).await.expect(name);
            let parsed = WrappedDek::parse(&made.wrapped).expect("it parses");
            assert_eq!((parsed.provider, parsed.kek), (3, name.as_bytes()));
            let id = kms.kek_names().id(name).expect("it has one");
            assert!(id.matches(&made.wrapped));
            let again = kms.unwrap_dek(&made.wrapped).await.expect(name);
            assert!(are_same(&again, &made.dek), "{name}");
            let again = kms.recheck(&made.wrapped).await.expect(name);
            assert!(are_same(&again, &made.dek), "{name}");
            let version = kms.current_version(name).await.expect(name).unwrap_or_default();
            assert_eq!(version, parsed.version, "{name}");
        }
        assert_eq!(
            kms.generate_dek("alias/absent").await.err(),
            Some(KmsError::KekNotFound)
        );
        assert_eq!(
            kms.current_version("alias/absent").await,
            Err(KmsError::KekNotFound)
        );
    }
}

/// AWS-1
#[tokio::test]
async fn an_alias_that_is_moved_is_a_rotation() {
    for emulator in Emulator::ALL {
        let aws = Aws::new(emulator).await;
        let kms = aws.kms();
        let before = kms.generate_dek(ALIAS).await.expect("made");
        let version = kms.current_version(ALIAS).await.expect("there is one");
        let other = aws.emulator.make_key().await;
        let moved = json!({ "AliasName": ALIAS, "TargetKeyId": other });
        aws.emulator.administer("UpdateAlias", moved).await;
        assert_ne!(kms.current_version(ALIAS).await.expect("there is one"), version);
        let after = kms.generate_dek(ALIAS).await.expect("made");
        for made in [&before, &after] {
            let again = kms.unwrap_dek(&made.wrapped).await.expect("it opens");
            assert!(are_same(&again, &made.dek));
        }
    }
}

#[tokio::test]
async fn what_was_altered_or_is_of_another_context_does_not_open() {
    for emulator in Emulator::ALL {
        let aws = Aws::new(emulator).await;
        let mut settings = aws.settings();
        settings.encryption_context = BTreeMap::from([("application".to_owned(), "sealwire".to_owned())]);
        let (kms, other) = (AwsKms::new(settings), aws.kms());
        let made = kms.generate_dek(ALIAS).await.expect("made");
        assert!(kms.unwrap_dek(&made.wrapped).await.is_ok());
        assert_eq!(
            other.unwrap_dek(&made.wrapped).await.err(),
            Some(KmsError::Malformed)
        );
        let mut altered = made.wrapped.to_vec();
        *altered.last_mut().expect("it is long") ^= 1;
        assert_eq!(kms.unwrap_dek(&altered).await.err(), Some(KmsError::Malformed));
        let mut of_another_region = aws.settings();
        of_another_region.region = "us-east-1".to_owned();
        let elsewhere = AwsKms::new(of_another_region);
        assert_eq!(
            elsewhere.unwrap_dek(&made.wrapped).await.err(),
            Some(KmsError::KekNotFound)
        );
    }
}

/// AWS-2, KMS-3: what AWS answers, by its code, whatever the status.
#[tokio::test]
async fn errors_are_told_apart_by_their_code() {
    let aws = Aws::new(Emulator::Moto).await;
    let kms = aws.kms();
    let made = kms.generate_dek(ALIAS).await.expect("made");
    let bad = "400 Bad Request";
    let denied = "no policy lets the proxy call kms:Decrypt on alias/payments".to_owned();
    for (status, code, expected) in [
        (bad, "DisabledException", Some(KmsError::KekDisabled)),
        (bad, "NotFoundException", Some(KmsError::KekNotFound)),
        (bad, "AccessDeniedException", Some(KmsError::KekDenied(denied))),
        (bad, "InvalidCiphertextException", Some(KmsError::Malformed)),
        (bad, "IncorrectKeyException", Some(KmsError::Malformed)),
        (bad, "ExpiredTokenException", refused("ExpiredTokenException")),
        (
            bad,
            "UnrecognizedClientException",
            refused("UnrecognizedClientException"),
        ),
        (bad, "KMSInternalException", None),
        ("500 Oops", "DependencyTimeoutException", None),
        ("503 Busy", "ServiceUnavailable", None),
    ] {
        aws.refuse(status, code);
        let error = kms.unwrap_dek(&made.wrapped).await.err().expect(code);
        match expected {
            Some(expected) => assert_eq!(error, expected, "{code}"),
            None => assert!(matches!(error, KmsError::Unavailable(_)), "{code}: {error:?}"),
        }
    }
    aws.refuse(bad, "ThrottlingException");
    let error = kms.generate_dek(ALIAS).await.err();
    assert!(matches!(error, Some(KmsError::Throttled { .. })), "{error:?}");
    for fault in [LayerFault::Reset, LayerFault::Hang, LayerFault::Long(100 << 20)] {
        aws.layer.cut();
        aws.layer.set(fault);
        let error = kms.current_version(ALIAS).await.err();
        assert!(matches!(error, Some(KmsError::Unavailable(_))), "{error:?}");
    }
    aws.layer.set(LayerFault::None);
    let again = kms.unwrap_dek(&made.wrapped).await.expect("it is over");
    assert!(are_same(&again, &made.dek));
}

/// AWS-3: credentials that are refused are had anew, once; those that were replaced are used.
#[tokio::test]
async fn credentials_that_were_replaced_are_used() {
    let aws = Aws::new(Emulator::Moto).await;
    let kms = aws.kms();
    assert!(kms.generate_dek(ALIAS).await.is_ok());
    aws.refuse("400 Bad Request", "ExpiredTokenException");
    let before = aws.layer.calls();
    assert_eq!(
        kms.generate_dek(ALIAS).await.err(),
        refused("ExpiredTokenException")
    );
    assert_eq!(aws.layer.calls(), before + 1, "the very same are not tried again");
    aws.write_credentials(&make_credentials(&aws.emulator).await);
    tokio::time::sleep(std::time::Duration::from_secs(6)).await;
    assert_eq!(
        kms.generate_dek(ALIAS).await.err(),
        refused("ExpiredTokenException")
    );
    assert_eq!(aws.layer.calls(), before + 3, "the others are tried");

    std::fs::remove_file(aws.credentials()).expect("removed");
    aws.layer.set(LayerFault::None);
    assert!(
        kms.generate_dek(ALIAS).await.is_ok(),
        "those at hand are used until they end"
    );
    let error = aws.kms().generate_dek(ALIAS).await.err().expect("there are none");
    assert!(matches!(error, KmsError::Unavailable(_)), "{error:?}");
}
