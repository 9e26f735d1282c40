//! One table of faults for all providers: what each call answers when a KEK, a version, a wrapped DEK or the KMS itself
//! is not what it should be. A provider's tests bring the faults about ([`FaultProvider`]) and call [`check`].
//!
//! It proves KMS-2 (nothing foreign is unwrapped) and KMS-3 (an outage is no verdict, a verdict is no outage) of each
//! provider.

use std::sync::Arc;
use std::time::Duration;

use super::FaultyKms;
use crate::crypto::SecretKey;
use crate::envelope::WrappedDek;
use crate::kms::{Kms, KmsError};

/// A provider with the KEK [`KEK`] at version 1, and what its tests can do to it.
pub trait FaultProvider {
    /// The same one with every call; it has noticed whatever was changed.
    fn kms(&mut self) -> Arc<dyn Kms>;
    /// Changes a KEK as its administrator would.
    fn change(&mut self, change: KekChange);
    /// Begins an outage; `false` where the provider cannot have this one.
    fn begin(&mut self, outage: Outage) -> bool;
    /// Ends it.
    fn end_outage(&mut self);
}

/// The KEK that every provider has; [`ABSENT`] none has.
pub const KEK: &str = "payments";
pub const ABSENT: &str = "absent";

/// What an administrator does to [`KEK`].
#[derive(Debug, Clone, Copy)]
pub enum KekChange {
    /// Makes the next version.
    Rotate,
    DisableFirst,
    EnableFirst,
    DestroyFirst,
    DisableAll,
}

/// What happens to a KMS as a whole.
#[derive(Debug, Clone, Copy)]
pub enum Outage {
    Unreachable,
    CredentialsRefused,
    Throttled,
}

/// Answers of the five calls: to wrap a key, to make a DEK, to unwrap one of version 1, to recheck it, and to say the
/// current version.
struct Answers([Option<KmsError>; 5]);

async fn ask(kms: &dyn Kms, kek: &str, wrapped: &[u8]) -> Answers {
    Answers([
        // The first: a KEK that wrapping makes would be there for the others.
        kms.wrap(kek, &some_key()).await.err(),
        kms.generate_dek(kek).await.err(),
        kms.unwrap_dek(wrapped).await.err(),
        kms.recheck(wrapped).await.err(),
        kms.current_version(kek).await.err(),
    ])
}

/// Asks `provider` everything in the table.
pub async fn check(provider: &mut dyn FaultProvider) -> Result<(), KmsError> {
    let made = provider.kms().generate_dek(KEK).await?;
    let names = provider.kms().kek_names();
    assert!(
        names.id(KEK).is_some_and(|id| id.matches(&made.wrapped)),
        "it is not named"
    );
    expect(provider, "nothing", KEK, &made.wrapped, GOOD).await;
    tells_a_lie(provider.kms()).await?;
    wraps_what_exists(&*provider.kms(), &made.wrapped).await?;

    for (what, wrapped, error) in altered(&made.wrapped) {
        let expected = [None, None, Some(error.clone()), Some(error), None];
        expect(provider, what, KEK, &wrapped, expected).await;
    }
    let absent = Some(KmsError::KekNotFound);
    let expected = [absent.clone(), absent.clone(), None, None, absent];
    expect(
        provider,
        "a KEK that is not there",
        ABSENT,
        &made.wrapped,
        expected,
    )
    .await;

    for outage in [Outage::Unreachable, Outage::CredentialsRefused, Outage::Throttled] {
        if !provider.begin(outage) {
            continue;
        }
        let answers = ask(&*provider.kms(), KEK, &made.wrapped).await;
        for error in answers.0 {
            let error = error.unwrap_or_else(|| panic!("{outage:?}: it answers"));
            assert!(!error.is_verdict(), "{outage:?}: {error:?} is a verdict");
            match outage {
                Outage::Unreachable => assert!(matches!(error, KmsError::Unavailable(_)), "{error:?}"),
                Outage::CredentialsRefused => {
                    assert!(matches!(error, KmsError::CredentialsRefused(_)), "{error:?}");
                }
                Outage::Throttled => assert_eq!(error, KmsError::Throttled { after: THROTTLED_FOR }),
            }
        }
        provider.end_outage();
        expect(provider, "an outage that is over", KEK, &made.wrapped, GOOD).await;
    }

    use KmsError::{KekDestroyed, KekDisabled};
    // Each change upon those before it.
    for (change, generate, unwrap) in [
        (KekChange::Rotate, None, None),
        (KekChange::DisableFirst, None, Some(KekDisabled)),
        (KekChange::EnableFirst, None, None),
        (KekChange::DestroyFirst, None, Some(KekDestroyed)),
        (KekChange::DisableAll, Some(KekDisabled), Some(KekDestroyed)),
    ] {
        provider.change(change);
        let expected = [
            generate.clone(),
            generate.clone(),
            unwrap.clone(),
            unwrap,
            generate.clone(),
        ];
        expect(provider, &format!("{change:?}"), KEK, &made.wrapped, expected).await;
        if generate.is_none() {
            wraps_what_exists(&*provider.kms(), &provider.kms().generate_dek(KEK).await?.wrapped).await?;
        }
    }
    Ok(())
}

async fn expect(
    provider: &mut dyn FaultProvider,
    what: &str,
    kek: &str,
    wrapped: &[u8],
    expected: [Option<KmsError>; 5],
) {
    let Answers(answers) = ask(&*provider.kms(), kek, wrapped).await;
    assert_eq!(answers, expected, "after {what}");
}

const GOOD: [Option<KmsError>; 5] = [const { None }; 5];

fn some_key() -> SecretKey {
    SecretKey::generate().unwrap_or_else(|error| panic!("{error}"))
}

/// What was wrapped unwraps to the same key, under the same version as a DEK that was made now, each time to other
/// bytes.
async fn wraps_what_exists(kms: &dyn Kms, made: &[u8]) -> Result<(), KmsError> {
    let key = some_key();
    let [wrapped, again] = [kms.wrap(KEK, &key).await?, kms.wrap(KEK, &key).await?];
    assert!(wrapped != again, "what was wrapped tells keys that are one");
    for wrapped in [wrapped, again] {
        assert!(kms.unwrap_dek(&wrapped).await?.is_same(&key));
        let names = |bytes| WrappedDek {
            blob: &[],
            ..parts(bytes)
        };
        assert_eq!(names(&wrapped), names(made));
    }
    Ok(())
}

fn parts(wrapped: &[u8]) -> WrappedDek<'_> {
    WrappedDek::parse(wrapped).unwrap_or_else(|error| panic!("{error}"))
}

/// Whatever was said of a DEK when it was made, a recheck brings the one that is inside.
async fn tells_a_lie(kms: Arc<dyn Kms>) -> Result<(), KmsError> {
    let (lying, faults) = FaultyKms::around(kms);
    for lies in [true, false] {
        faults.make_wrong_keys(lies);
        let made = lying.generate_dek(KEK).await?;
        let (again, known) = (
            lying.recheck(&made.wrapped).await?,
            lying.unwrap_dek(&made.wrapped).await?,
        );
        assert!(again.is_same(&known));
        assert_eq!(
            again.is_same(&made.dek),
            !lies,
            "a key that is not the one inside"
        );
    }
    Ok(())
}

/// How long a KMS that is asked too often wants to be left alone.
pub const THROTTLED_FOR: Duration = Duration::from_secs(7);

/// Wrapped DEKs that a provider must not unwrap, made of a good one of version 1, and what it says of each.
fn altered(good: &[u8]) -> Vec<(&'static str, Vec<u8>, KmsError)> {
    let parsed = parts(good);
    let write = |dek: WrappedDek<'_>| {
        let mut bytes = Vec::new();
        dek.write(&mut bytes).unwrap_or_else(|error| panic!("{error}"));
        bytes
    };
    let mut flipped = good.to_vec();
    if let Some(last) = flipped.last_mut() {
        *last ^= 1;
    }
    let shorter = parsed.blob.get(1..).unwrap_or_default();
    let [first, rest @ ..] = parsed.authority;
    let authority = [first ^ 1, rest[0], rest[1], rest[2]];
    vec![
        ("a flipped bit", flipped, KmsError::Malformed),
        (
            "a shorter blob",
            write(WrappedDek {
                blob: shorter,
                ..parsed
            }),
            KmsError::Malformed,
        ),
        (
            "an empty blob",
            write(WrappedDek { blob: &[], ..parsed }),
            KmsError::Malformed,
        ),
        ("no bytes", Vec::new(), KmsError::Malformed),
        (
            "another provider",
            write(WrappedDek {
                provider: parsed.provider ^ 0x80,
                ..parsed
            }),
            KmsError::KekNotFound,
        ),
        (
            "another authority",
            write(WrappedDek { authority, ..parsed }),
            KmsError::KekNotFound,
        ),
        (
            "another KEK",
            write(WrappedDek {
                kek: ABSENT.as_bytes(),
                ..parsed
            }),
            KmsError::KekNotFound,
        ),
    ]
}
