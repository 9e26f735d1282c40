//! What a KMS says of a KEK in use, and of keys that are not what they should be.

use super::*;

#[test]
fn rotation_reaches_sealing_within_the_poll() -> TestResult {
    on_control_thread(async {
        let mut stage = Stage::new(&KeyOptions::default(), 1, 64)?;
        let before = stage.executors[0].sealing("payments").await?;
        assert_eq!(WrappedDek::parse(&before)?.version, [1]);
        stage.edit(|keystore| keystore.rotate("payments").map(drop))?;
        let rotated_at = Instant::now();
        let kek = KeyId::first("payments");
        stage.executors[0]
            .until(|keys, now| match keys.sealing(&kek, now) {
                KeyLookup::Ready(key) => (**key.wrapped_dek() != *before).then_some(()),
                // The old key seals until the new one is there.
                KeyLookup::Waiting | KeyLookup::Failed(_) => panic!("sealing was interrupted"),
            })
            .await;
        assert!(
            rotated_at.elapsed() < Duration::from_secs(3),
            "{:?}",
            rotated_at.elapsed()
        );
        let after = stage.executors[0].sealing("payments").await?;
        assert_eq!(WrappedDek::parse(&after)?.version, [2]);
        stage.executors[0].opening(&before).await?;
        Ok(())
    })
}

#[test]
fn a_disabled_key_is_taken_from_every_executor() -> TestResult {
    on_control_thread(async {
        let mut stage = Stage::new(&KeyOptions::default(), 2, 64)?;
        let sealed = stage.executors[0].sealing("payments").await?;
        for executor in &mut stage.executors {
            executor.opening(&sealed).await?;
        }
        stage.edit(|keystore| keystore.disable("payments", None).map(drop))?;
        for executor in &mut stage.executors {
            let failure = executor
                .until(
                    |keys, now| match keys.opening(KmsId::from_number(0), &sealed, TAIL, now, now) {
                        KeyLookup::Failed(failure) => Some(failure),
                        KeyLookup::Ready(_) | KeyLookup::Waiting => None,
                    },
                )
                .await;
            assert_eq!(failure, KeyFailure::KekDisabled);
            assert_eq!(executor.sealing("payments").await, Err(KeyFailure::KekDisabled));
        }
        assert!(stage.statistics.kms[0].revocations.get() >= 1);
        assert_eq!(
            stage.statistics.kms[0].state(Instant::now()),
            KmsState::Answering,
            "a verdict is no outage"
        );
        Ok(())
    })
}

/// A KEK version is rechecked by asking for just that.
#[test]
fn a_recheck_is_asked_as_one() -> TestResult {
    on_control_thread(async {
        let mut stage = Stage::new(&KeyOptions::default(), 1, 8)?;
        stage.executors[0].sealing("payments").await?;
        let unwraps = stage.faults.unwraps();
        while stage.faults.rechecks() < 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(stage.faults.unwraps(), unwraps);
        assert!(stage.statistics.kms[0].rechecked.get() >= 1);
        assert_eq!(stage.statistics.kms[0].wrong_deks.get(), 0);
        assert_eq!(stage.faults.generates(), 1, "the right one is kept");
        Ok(())
    })
}

/// PROOF-2, PROOF-3
#[test]
fn a_kms_that_makes_wrong_keys_is_noticed_and_the_next_right_one_seals() -> TestResult {
    on_control_thread(async {
        let mut stage = Stage::new(&KeyOptions::default(), 2, 8)?;
        stage.faults.make_wrong_keys(true);
        let wrong = stage.executors[0].sealing("payments").await?;
        assert_eq!(stage.executors[1].sealing("payments").await?, wrong);
        let noticed = Instant::now();
        let kek = KeyId::first("payments");
        for executor in &mut stage.executors {
            let failure = executor
                .until(|keys, now| match keys.sealing(&kek, now) {
                    KeyLookup::Failed(failure) => Some(failure),
                    KeyLookup::Ready(key) => {
                        assert_eq!(**key.wrapped_dek(), *wrong, "another wrong one seals");
                        None
                    }
                    KeyLookup::Waiting => None,
                })
                .await;
            assert_eq!(failure, KeyFailure::Unavailable);
            // What was sealed with it opens.
            assert_eq!(executor.opening(&wrong).await, Ok(()));
        }
        assert!(
            noticed.elapsed() < Duration::from_secs(4),
            "{:?}",
            noticed.elapsed()
        );
        assert!(stage.statistics.kms[0].wrong_deks.get() >= 2);
        let version = payments(&[1]);
        let was_sealed_with = |kind: &KeyEventKind| match kind {
            KeyEventKind::Wrong(of, WrongDek::Sealed(_)) => *of == version,
            _ => false,
        };
        stage.told_of(was_sealed_with).await;
        let unused = KeyEventKind::Wrong(version.clone(), WrongDek::Unused);
        stage.told(unused).await;
        let tries = stage.faults.generates();
        assert!(tries <= 4, "{tries} are made in a loop");
        stage.faults.make_wrong_keys(false);
        let mut right = Vec::new();
        for executor in &mut stage.executors {
            let sealing = executor.until(|keys, now| match keys.sealing(&kek, now) {
                KeyLookup::Ready(key) => Some(key.wrapped_dek().to_vec()),
                KeyLookup::Failed(_) | KeyLookup::Waiting => None,
            });
            right.push(sealing.await);
        }
        assert!(right[0] == right[1] && right[0] != wrong);
        Ok(())
    })
}

#[test]
fn a_dek_under_another_kek_than_asked_for_is_not_used() -> TestResult {
    struct Swapping(Arc<dyn Kms>);
    #[async_trait::async_trait]
    impl Kms for Swapping {
        fn kek_names(&self) -> KekNames {
            self.0.kek_names()
        }
        async fn generate_dek(&self, _: &str) -> Result<crate::kms::GeneratedDek, KmsError> {
            self.0.generate_dek("payments").await
        }
        async fn wrap(&self, kek: &str, key: &crate::crypto::SecretKey) -> Result<Box<[u8]>, KmsError> {
            self.0.wrap(kek, key).await
        }
        async fn unwrap_dek(&self, wrapped: &[u8]) -> Result<crate::crypto::SecretKey, KmsError> {
            self.0.unwrap_dek(wrapped).await
        }
        async fn recheck(&self, wrapped: &[u8]) -> Result<crate::crypto::SecretKey, KmsError> {
            self.0.recheck(wrapped).await
        }
        fn wraps_publicly(&self) -> bool {
            false
        }
        async fn current_version(&self, kek: &str) -> Result<Option<Vec<u8>>, KmsError> {
            self.0.current_version(kek).await
        }
    }
    on_control_thread(async {
        let stage = Stage::new(&KeyOptions::default(), 1, 8)?;
        let swapping = Swapping(Arc::clone(&stage.kms));
        assert!(generate(&swapping, "payments").await.is_ok());
        assert!(matches!(
            generate(&swapping, "others").await,
            Err(KmsError::Unavailable(_))
        ));
        Ok(())
    })
}

/// What is said of a key is no more than is so.
#[test]
fn a_refused_version_is_not_said_of_the_whole_key() {
    let unwrap = || Call::Unwrap(Arc::from(&b"wrapped"[..]));
    let missing = KmsError::KekVersionNotFound("7".to_owned());
    for (call, error, said) in [
        (unwrap(), missing.clone(), "names this version"),
        (
            Call::Recheck(Arc::from(&b"wrapped"[..])),
            missing,
            "names this version",
        ),
        (
            unwrap(),
            KmsError::KekDisabled,
            "under the version that is refused",
        ),
        (
            Call::Generate(KeyId::first("payments")),
            KmsError::KekDisabled,
            "nothing is sealed under it",
        ),
        (
            Call::PollVersion(KeyId::first("payments")),
            KmsError::KekNotFound,
            "nothing is sealed under it",
        ),
    ] {
        assert!(consequence(&call, &error).contains(said), "{error}");
    }
}
