//! A KMS that is away, hangs or panics, and what goes on meanwhile and afterwards.

use super::*;

#[test]
fn an_outage_is_ridden_out_and_recovered_from_within_a_second() -> TestResult {
    on_control_thread(async {
        let mut stage = Stage::new(&KeyOptions::default(), 1, 64)?;
        let executor = &mut stage.executors[0];
        let sealed = executor.sealing("payments").await?;
        let stranger = stage.kms.generate_dek("payments").await?;
        stage
            .faults
            .refuse(Some(KmsError::CredentialsRefused(String::new())));
        assert_eq!(
            executor.opening(&stranger.wrapped).await,
            Err(KeyFailure::Unavailable)
        );
        assert!(matches!(
            stage.statistics.kms[0].state(Instant::now()),
            KmsState::Silent(_)
        ));
        // What is at hand goes on, also over rechecks and polls.
        let (versions, patience) = (stage.faults.versions(), Instant::now());
        while stage.faults.versions() < versions + 2 {
            assert!(patience.elapsed() < Duration::from_secs(10));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(executor.sealing("payments").await.as_ref(), Ok(&sealed));
        assert_eq!(executor.opening(&sealed).await, Ok(()));
        stage.faults.refuse(None);
        let recovered_at = Instant::now();
        executor
            .until(|keys, now| {
                matches!(
                    keys.opening(KmsId::from_number(0), &stranger.wrapped, TAIL, now, now),
                    KeyLookup::Ready(_)
                )
                .then_some(())
            })
            .await;
        assert!(
            recovered_at.elapsed() < Duration::from_secs(1),
            "{:?}",
            recovered_at.elapsed()
        );
        Ok(())
    })
}

/// LEDGER-5: it hangs, as behind a router that has lost its way.
#[test]
fn a_kms_that_hangs_costs_few_a_time_out_and_is_found_again() -> TestResult {
    on_control_thread(async {
        let options = KeyOptions {
            call_timeout: Duration::from_millis(300),
            ..KeyOptions::default()
        };
        let mut stage = Stage::new(&options, 1, 64)?;
        let mut strangers = Vec::new();
        for _ in 0..20 {
            strangers.push(stage.kms.generate_dek("payments").await?.wrapped);
        }
        let statistics = Arc::clone(&stage.statistics);
        let executor = &mut stage.executors[0];
        stage.faults.hold();
        for stranger in &strangers[..5] {
            assert_eq!(executor.opening(stranger).await, Err(KeyFailure::Unavailable));
        }
        executor
            .until(|_, _| (statistics.kms[0].standing().breaker != BreakerState::Closed).then_some(()))
            .await;
        // Ten more would wait for three seconds.
        let asked_at = Instant::now();
        for stranger in &strangers[5..15] {
            let _ = executor.opening(stranger).await;
        }
        assert!(
            asked_at.elapsed() < Duration::from_secs(1),
            "{:?}",
            asked_at.elapsed()
        );
        stage.faults.release();
        let back_at = Instant::now();
        let kms = KmsId::from_number(0);
        executor
            .until(|keys, now| {
                matches!(
                    keys.opening(kms, &strangers[19], TAIL, now, now),
                    KeyLookup::Ready(_)
                )
                .then_some(())
            })
            .await;
        assert!(
            back_at.elapsed() < Duration::from_secs(6),
            "{:?}",
            back_at.elapsed()
        );
        executor
            .until(|_, _| (statistics.kms[0].standing().breaker == BreakerState::Closed).then_some(()))
            .await;
        Ok(())
    })
}

/// KEYS-7: for longer than the grace nothing is used, and the KMS' return is enough to use it again.
#[test]
fn after_the_grace_keys_are_gone_and_come_back_with_their_kms() -> TestResult {
    on_control_thread(async {
        let options = KeyOptions {
            outage_grace: Duration::from_secs(2),
            ..KeyOptions::default()
        };
        let mut stage = Stage::new(&options, 2, 64)?;
        let begun = Instant::now();
        let sealed = stage.executors[0].sealing("payments").await?;
        for executor in &mut stage.executors {
            executor.opening(&sealed).await?;
        }
        stage
            .faults
            .refuse(Some(KmsError::CredentialsRefused(String::new())));
        let refused_at = Instant::now();
        let kms = KmsId::from_number(0);
        for executor in &mut stage.executors {
            let failure = executor
                .until(|keys, now| match keys.opening(kms, &sealed, TAIL, now, now) {
                    KeyLookup::Failed(failure) => Some(failure),
                    KeyLookup::Ready(_) | KeyLookup::Waiting => None,
                })
                .await;
            assert_eq!(failure, KeyFailure::Unavailable);
            assert_eq!(executor.sealing("payments").await, Err(KeyFailure::Unavailable));
        }
        assert!(begun.elapsed() >= Duration::from_secs(2));
        assert!(
            refused_at.elapsed() < Duration::from_secs(4),
            "{:?}",
            refused_at.elapsed()
        );
        assert_eq!(stage.statistics.kms[0].lapses.get(), 1);
        stage.told(KeyEventKind::Lapsed(payments(&[1]))).await;
        assert_eq!(stage.statistics.kms[0].revocations.get(), 0);
        stage.faults.refuse(None);
        let back_at = Instant::now();
        let kek = KeyId::first("payments");
        for executor in &mut stage.executors {
            executor
                .until(|keys, now| {
                    let opens = matches!(keys.opening(kms, &sealed, TAIL, now, now), KeyLookup::Ready(_));
                    (opens && matches!(keys.sealing(&kek, now), KeyLookup::Ready(_))).then_some(())
                })
                .await;
        }
        assert!(
            back_at.elapsed() < Duration::from_secs(2),
            "{:?}",
            back_at.elapsed()
        );
        Ok(())
    })
}

/// SERVICE-2
#[test]
fn a_call_without_an_answer_and_a_call_that_panics_count_as_outages() -> TestResult {
    struct Panicking;
    #[async_trait::async_trait]
    impl Kms for Panicking {
        fn kek_names(&self) -> KekNames {
            KekNames::as_written(1, [0; 4])
        }
        async fn generate_dek(&self, _: &str) -> Result<crate::kms::GeneratedDek, KmsError> {
            panic!("for the test")
        }
        async fn wrap(&self, _: &str, _: &crate::crypto::SecretKey) -> Result<Box<[u8]>, KmsError> {
            panic!("for the test")
        }
        async fn unwrap_dek(&self, _: &[u8]) -> Result<crate::crypto::SecretKey, KmsError> {
            std::future::pending().await
        }
        async fn recheck(&self, _: &[u8]) -> Result<crate::crypto::SecretKey, KmsError> {
            Err(KmsError::Malformed)
        }
        fn wraps_publicly(&self) -> bool {
            false
        }
        async fn current_version(&self, _: &str) -> Result<Option<Vec<u8>>, KmsError> {
            Ok(None)
        }
    }
    on_control_thread(async {
        let options = KeyOptions {
            call_timeout: Duration::from_millis(50),
            ..KeyOptions::default()
        };
        let (service, mut executor) = service_for_one(Arc::new(Panicking), &options);
        tokio::spawn(service.run());
        assert_eq!(executor.sealing("a").await, Err(KeyFailure::Unavailable));
        let mut wrapped = Vec::new();
        let dek = WrappedDek {
            provider: 1,
            authority: [0; 4],
            kek: b"a",
            version: &[],
            blob: &[],
        };
        dek.write(&mut wrapped)?;
        assert_eq!(executor.opening(&wrapped).await, Err(KeyFailure::Unavailable));
        Ok(())
    })
}

/// SERVICE-5
#[test]
fn what_a_kms_does_by_itself_runs_beside_its_calls_and_again_when_it_panics() -> TestResult {
    struct Renewing(
        Arc<dyn Kms>,
        tokio::sync::mpsc::Sender<()>,
        std::sync::atomic::AtomicU8,
    );
    #[async_trait::async_trait]
    impl Kms for Renewing {
        fn kek_names(&self) -> KekNames {
            self.0.kek_names()
        }
        async fn generate_dek(&self, kek: &str) -> Result<crate::kms::GeneratedDek, KmsError> {
            self.0.generate_dek(kek).await
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
        async fn current_version(&self, kek: &str) -> Result<Option<Vec<u8>>, KmsError> {
            self.0.current_version(kek).await
        }
        async fn background(&self) {
            if self.2.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0 {
                panic!("for the test");
            }
            // Ends only with the service.
            let _told = self.1.send(()).await;
            std::future::pending::<()>().await;
        }
        fn wraps_publicly(&self) -> bool {
            false
        }
    }
    on_control_thread(async {
        let options = KeyOptions::default();
        let stage = Stage::new(&options, 0, 8)?;
        let (began, mut begun) = tokio::sync::mpsc::channel(8);
        let kms = Renewing(Arc::clone(&stage.kms), began, 0.into());
        let (service, mut executor) = service_for_one(Arc::new(kms), &options);
        let service = tokio::spawn(service.run());
        assert!(executor.sealing("payments").await.is_ok());
        assert_eq!(begun.recv().await, Some(()), "it was not begun again");
        service.abort();
        assert_eq!(begun.recv().await, None, "it outlives the service");
        Ok(())
    })
}
