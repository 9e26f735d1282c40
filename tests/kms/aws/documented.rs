//! What the emulators answer beside what AWS documents: where they differ, the layer of faults stands for AWS in other
//! tests.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sealwire::kms::Kms as _;
use serde_json::json;

use super::{AccessKey, Aws, Emulator};

/// A code of an error that AWS documents, and those of the emulators; `-`: it goes on.
struct Documented {
    what: &'static str,
    code: &'static str,
    source: &'static str,
    moto: &'static str,
    fakecloud: &'static str,
}

const fn row(
    what: &'static str,
    [code, moto, fakecloud]: [&'static str; 3],
    source: &'static str,
) -> Documented {
    Documented {
        what,
        code,
        source,
        moto,
        fakecloud,
    }
}

const DECRYPT: &str =
    "https://docs.aws.amazon.com/kms/latest/APIReference/API_Decrypt.html#API_Decrypt_Errors";
const MAKE: &str =
    "https://docs.aws.amazon.com/kms/latest/APIReference/API_GenerateDataKey.html#API_GenerateDataKey_Errors";
const STATES: &str = "https://docs.aws.amazon.com/kms/latest/developerguide/key-state.html#key-state-table";
const ALL_CALLS: &str = "https://docs.aws.amazon.com/kms/latest/APIReference/CommonErrors.html";
const SIGNATURES: &str =
    "https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-troubleshooting.html";

const DOCUMENTED: &[Documented] = &[
    row("no such key", ["NotFoundException"; 3], MAKE),
    row(
        "a key for signatures",
        ["InvalidKeyUsageException", "-", "InvalidKeyUsageException"],
        MAKE,
    ),
    row("an altered data key", ["InvalidCiphertextException"; 3], DECRYPT),
    row("another context", ["InvalidCiphertextException"; 3], DECRYPT),
    row(
        "another key's data key",
        [
            "IncorrectKeyException",
            "AccessDeniedException",
            "IncorrectKeyException",
        ],
        DECRYPT,
    ),
    row(
        "a key that is disabled",
        ["DisabledException", "-", "DisabledException"],
        STATES,
    ),
    row(
        "a key that is to be deleted",
        ["KMSInvalidStateException", "-", "KMSInvalidStateException"],
        STATES,
    ),
    row(
        "a right that is missing",
        ["AccessDeniedException", "-", "AccessDeniedException"],
        ALL_CALLS,
    ),
    row(
        "an unknown access key",
        ["UnrecognizedClientException", "-", "InvalidClientTokenId"],
        ALL_CALLS,
    ),
    row(
        "a wrong signature",
        ["InvalidSignatureException", "-", "SignatureDoesNotMatch"],
        SIGNATURES,
    ),
];

#[tokio::test]
async fn what_emulators_answer_stands_beside_what_aws_documents() {
    for emulator in Emulator::ALL {
        let found = answers(&Aws::new(emulator).await).await;
        let expected: Vec<_> = DOCUMENTED
            .iter()
            .map(|row| match emulator {
                Emulator::Moto => (row.what, row.moto.to_owned()),
                Emulator::Fakecloud => (row.what, row.fakecloud.to_owned()),
            })
            .collect();
        assert_eq!(found, expected, "{emulator:?}");
    }
    for Documented { code, source, .. } in DOCUMENTED {
        assert!(code.ends_with("Exception") && source.starts_with("https://docs.aws.amazon.com/"));
    }
}

/// Brings each about, in the order of [`DOCUMENTED`].
async fn answers(aws: &Aws) -> Vec<(&'static str, String)> {
    let key = json!(aws.key);
    let make = json!({ "KeyId": key, "KeySpec": "AES_256" });
    let made = aws.emulator.administer("GenerateDataKey", make.clone()).await;
    let blob = made["CiphertextBlob"].as_str().expect("a data key").to_owned();
    let mut altered = STANDARD.decode(&blob).expect("base64");
    *altered.last_mut().expect("it is long") ^= 1;
    let signing = json!({ "KeyUsage": "SIGN_VERIFY", "KeySpec": "ECC_NIST_P256" });
    let signing = aws.emulator.administer("CreateKey", signing).await;
    let signing = &signing["KeyMetadata"]["KeyId"];
    let other = aws.emulator.make_key().await;
    let context = json!({ "application": "sealwire" });
    let calls = [
        (
            "GenerateDataKey",
            json!({ "KeyId": "alias/absent", "KeySpec": "AES_256" }),
        ),
        (
            "GenerateDataKey",
            json!({ "KeyId": signing, "KeySpec": "AES_256" }),
        ),
        (
            "Decrypt",
            json!({ "KeyId": key, "CiphertextBlob": STANDARD.encode(altered) }),
        ),
        (
            "Decrypt",
            json!({ "KeyId": key, "CiphertextBlob": blob, "EncryptionContext": context }),
        ),
        ("Decrypt", json!({ "KeyId": other, "CiphertextBlob": blob })),
    ];
    let mut codes = Vec::new();
    for (action, body) in calls {
        codes.push(code_of(&aws.emulator.say(action, &body).await));
    }
    for (action, body) in [
        ("DisableKey", json!({ "KeyId": key })),
        (
            "ScheduleKeyDeletion",
            json!({ "KeyId": key, "PendingWindowInDays": 7 }),
        ),
    ] {
        aws.emulator.administer(action, body).await;
        codes.push(code_of(&aws.emulator.say("GenerateDataKey", &make).await));
    }
    // Of those that are signed the proxy's calls have to tell.
    aws.grant(&["kms:Decrypt"]).await;
    let _ = aws.kms().generate_dek(&other).await;
    codes.push(code_of(&aws.layer.last_answer()));
    for (id, secret) in [("AKIAUNKNOWN", "secret"), (aws.access.id.as_str(), "another")] {
        aws.write_credentials(&AccessKey {
            id: id.to_owned(),
            secret: secret.to_owned(),
        });
        let _ = aws.kms().generate_dek(&other).await;
        codes.push(code_of(&aws.layer.last_answer()));
    }
    DOCUMENTED.iter().map(|row| row.what).zip(codes).collect()
}

/// In JSON or XML.
fn code_of(answer: &str) -> String {
    let json = answer
        .split_once("\"__type\"")
        .and_then(|(_, rest)| rest.split('"').nth(1));
    let xml = || Some(answer.split_once("<Code>")?.1.split_once('<')?.0);
    json.or_else(xml)
        .map_or("-", |code| code.rsplit('#').next().unwrap_or(code))
        .to_owned()
}
