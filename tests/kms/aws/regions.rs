//! Multi-region keys: what was sealed in one region opens in that of a replica.

use sealwire::kms::aws::AwsKms;
use sealwire::kms::{Kms as _, KmsError};
use serde_json::json;

use super::{ACCOUNT, Aws, Emulator, REGION};
use crate::are_same;

const ELSEWHERE: &str = "eu-west-1";

/// AWS-4: by id, by an alias that both regions have, and by either region's ARN. moto does not unwrap what it has
/// wrapped under such keys.
#[tokio::test]
async fn what_was_sealed_in_one_region_opens_in_that_of_a_replica() {
    let aws = Aws::new(Emulator::Fakecloud).await;
    let id = make_replicated(&aws).await;
    let (here, there) = (aws.kms(), replica(&aws, Some(REGION)));
    for name in [id.as_str(), "alias/both"] {
        for (one, other) in [(&here, &there), (&there, &here)] {
            let made = one.generate_dek(name).await.expect(name);
            let named = other.kek_names().id(name).expect("it has one");
            assert!(
                named.matches(&made.wrapped),
                "{name}: its record is known in both"
            );
            let opened = other.unwrap_dek(&made.wrapped).await.expect(name);
            assert!(are_same(&opened, &made.dek), "{name}");
            assert!(other.recheck(&made.wrapped).await.is_ok(), "{name}");
            assert!(other.current_version(name).await.is_ok(), "{name}");
        }
    }
    let arn = |region: &str| format!("arn:aws:kms:{region}:{ACCOUNT}:key/{id}");
    let asks_for = |region: &str| {
        let asked = aws.layer.requests().pop().expect("it asks");
        asked.contains(&format!("\"{}\"", arn(region)))
    };
    for name in [arn(REGION), arn(ELSEWHERE)] {
        let made = there.generate_dek(&name).await.expect(&name);
        assert!(asks_for(ELSEWHERE), "{name}");
        let opened = here.unwrap_dek(&made.wrapped).await.expect(&name);
        assert!(asks_for(REGION) && are_same(&opened, &made.dek), "{name}");
        assert!(
            there.current_version(&name).await.is_ok() && asks_for(ELSEWHERE),
            "{name}"
        );
        // The emulator does not unwrap by a replica's ARN, as AWS does.
        let _ = there.unwrap_dek(&made.wrapped).await;
        assert!(asks_for(ELSEWHERE), "{name}");
    }
}

/// AWS-4: a proxy whose records say another region does not ask.
#[tokio::test]
async fn what_another_region_sealed_is_not_asked_for_where_nobody_says_so() {
    let aws = Aws::new(Emulator::Fakecloud).await;
    let id = make_replicated(&aws).await;
    let made = aws.kms().generate_dek(&id).await.expect("made");
    let (unsaid, calls) = (replica(&aws, None), aws.layer.calls());
    assert_eq!(
        unsaid.unwrap_dek(&made.wrapped).await.err(),
        Some(KmsError::KekNotFound)
    );
    assert_eq!(aws.layer.calls(), calls);
}

/// A key in both regions, with an alias in each; its id.
async fn make_replicated(aws: &Aws) -> String {
    let made = aws
        .emulator
        .administer("CreateKey", json!({ "MultiRegion": true }))
        .await;
    let id = made["KeyMetadata"]["KeyId"].as_str().expect("an id").to_owned();
    assert!(id.starts_with("mrk-"), "{id}");
    let replicated = json!({ "KeyId": id, "ReplicaRegion": ELSEWHERE });
    aws.emulator.administer("ReplicateKey", replicated).await;
    for region in [REGION, ELSEWHERE] {
        let alias = json!({ "AliasName": "alias/both", "TargetKeyId": id });
        aws.emulator.administer_in(region, "CreateAlias", alias).await;
    }
    id
}

/// As it is asked in the other region.
fn replica(aws: &Aws, identity: Option<&str>) -> AwsKms {
    let mut settings = aws.settings();
    settings.region = ELSEWHERE.to_owned();
    settings.identity = identity.map(str::to_owned);
    AwsKms::new(settings)
}
