//! What is stored of AWS's answers, for ever.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::*;

/// ENV-63: what is stored of an answer of AWS, byte for byte, and that it is asked for the very same. No emulator takes
/// the key material of another day, so that the answers are those of a day, from the layer.
#[tokio::test]
async fn what_is_stored_of_an_answer_is_pinned() {
    const ID: &str = "1234abcd-12ab-34cd-56ef-1234567890ab";
    let aws = Aws::new(Emulator::Moto).await;
    let kms = aws.kms();
    let (blob, dek) = (BASE64.encode([0xb1; 184]), BASE64.encode([0xd1; 32]));
    let arn = format!("arn:aws:kms:eu-central-1:111122223333:key/{ID}");
    let material = "96083e4fb6dbc41d77578a213a6b6669c044fcc143e96755396d2bf11fd6068d";
    aws.layer.set(LayerFault::Answer(answer(&json!({
        "CiphertextBlob": blob, "Plaintext": dek, "KeyId": arn, "KeyMaterialId": material,
    }))));
    let made = kms.generate_dek(ALIAS).await.expect("made");
    let expected = [
        // Provider, authority, KEK.
        &[3, 0x67, 0x4e, 0xa0, 0x3d, 14][..],
        b"alias/payments",
        // One region, the key's id, and the start of its material's.
        &[25, 0],
        &[
            0x12, 0x34, 0xab, 0xcd, 0x12, 0xab, 0x34, 0xcd, 0x56, 0xef, 0x12, 0x34, 0x56, 0x78, 0x90, 0xab,
        ],
        &[0x96, 0x08, 0x3e, 0x4f, 0xb6, 0xdb, 0xc4, 0x1d],
        &[0xb1; 184],
    ]
    .concat();
    assert_eq!(*made.wrapped, expected);

    // By the key that the alias meant then, and nothing else.
    let opened = answer(&json!({ "Plaintext": dek, "KeyId": arn }));
    for asked in [
        format!("\"KeyId\":\"{ID}\""),
        format!("\"CiphertextBlob\":\"{blob}\""),
    ] {
        aws.layer
            .set(LayerFault::AnswerSome(vec![(asked.clone(), opened.clone())]));
        let again = kms.unwrap_dek(&expected).await.expect(&asked);
        assert!(are_same(&again, &made.dek), "{asked}");
    }
}
