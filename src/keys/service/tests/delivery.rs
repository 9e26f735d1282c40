//! How keys get from a KMS to executors: once for however many ask, through small channels, as fast as may be.

use super::*;

#[test]
fn a_thousand_lookups_on_eight_executors_cost_one_call_each() -> TestResult {
    on_control_thread(async {
        let mut stage = Stage::new(&KeyOptions::default(), 8, 4)?;
        let stranger = stage.kms.generate_dek("payments").await?;
        let generates_before = stage.faults.generates();
        stage.faults.hold();
        // Everyone has asked before anyone is answered.
        let kek = KeyId::first("payments");
        for executor in &mut stage.executors {
            for _ in 0..125 {
                let now = Instant::now();
                assert!(matches!(executor.keys.sealing(&kek, now), KeyLookup::Waiting));
                let opening = executor
                    .keys
                    .opening(KmsId::from_number(0), &stranger.wrapped, TAIL, now, now);
                assert!(matches!(opening, KeyLookup::Waiting));
            }
            while executor.keys.has_requests() {
                executor
                    .keys
                    .send_requests(|request| executor.requests.try_send(request));
                tokio::task::yield_now().await;
            }
        }
        stage.faults.release();
        let mut sealed_under = Vec::new();
        for executor in &mut stage.executors {
            sealed_under.push(executor.sealing("payments").await?);
            executor.opening(&stranger.wrapped).await?;
        }
        assert!(sealed_under.iter().all(|wrapped| *wrapped == sealed_under[0]));
        assert_eq!(stage.faults.generates() - generates_before, 1);
        assert_eq!(stage.statistics.kms[0].generated.get(), 1);
        assert_eq!(stage.statistics.kms[0].unwrapped.get(), 1);
        // Sealed by this process: opened without a call.
        let unwrapped = stage.statistics.kms[0].unwrapped.get();
        stage.executors[3].opening(&sealed_under[0]).await?;
        assert_eq!(stage.statistics.kms[0].unwrapped.get(), unwrapped);
        Ok(())
    })
}

/// SERVICE-3
#[test]
fn thousands_of_keys_pass_through_small_channels() -> TestResult {
    on_control_thread(async {
        let mut stage = Stage::new(&KeyOptions::default(), 2, 2)?;
        let mut strangers = Vec::new();
        for _ in 0..2000 {
            strangers.push(stage.kms.generate_dek("payments").await?.wrapped);
        }
        for executor in &mut stage.executors {
            for wrapped in &strangers {
                let lookup = executor.keys.opening(
                    KmsId::from_number(0),
                    wrapped,
                    TAIL,
                    Instant::now(),
                    Instant::now(),
                );
                assert!(matches!(lookup, KeyLookup::Waiting));
            }
        }
        let [one, two] = stage.executors.as_mut_slice() else {
            panic!("there are two")
        };
        let all = async |executor: &mut Executor| {
            for wrapped in &strangers {
                executor.opening(wrapped).await?;
            }
            Ok::<(), KeyFailure>(())
        };
        let (first, second) = tokio::join!(all(one), all(two));
        first?;
        second?;
        assert_eq!(stage.statistics.kms[0].unwrapped.get(), 2000);
        Ok(())
    })
}

/// CALL-RATE-1: and as many as it allows, not a few with each tick.
#[test]
fn calls_begin_as_fast_as_they_may() -> TestResult {
    on_control_thread(async {
        let budget = CallBudget {
            per_second_max: std::num::NonZeroU32::new(40),
            ..CallBudget::default()
        };
        let mut stage = Stage::with_budget(&KeyOptions::default(), budget, 1, 64)?;
        let mut strangers = Vec::new();
        for _ in 0..44 {
            strangers.push(stage.kms.generate_dek("payments").await?.wrapped);
        }
        let executor = &mut stage.executors[0];
        let (kms, asked_at) = (KmsId::from_number(0), Instant::now());
        executor
            .until(|keys, now| {
                let ready = strangers.iter().filter(|wrapped| {
                    matches!(keys.opening(kms, wrapped, TAIL, now, now), KeyLookup::Ready(_))
                });
                (ready.count() == strangers.len()).then_some(())
            })
            .await;
        let took = asked_at.elapsed();
        assert!(took >= Duration::from_millis(990), "{took:?}");
        assert!(took < Duration::from_secs(2), "{took:?}");
        Ok(())
    })
}

#[test]
fn applied_says_when_keys_were_dropped() {
    let mut keys = ExecutorKeys::new(0, &KeyOptions::default());
    let reply = KeyReply::Released {
        key: KeyId::first("a"),
    };
    assert_eq!(keys.apply(reply, Instant::now()), Applied::Dropped);
}

/// KEK-NAMES-1: before the service runs, and so before anybody is accepted, every executor can have the names; later
/// ones follow.
#[test]
fn executors_are_told_what_keks_are_called_at_first_and_whenever_that_changes() -> TestResult {
    struct Renaming(std::sync::atomic::AtomicU8);
    #[async_trait::async_trait]
    impl Kms for Renaming {
        fn kek_names(&self) -> KekNames {
            KekNames::as_written(1, [self.0.load(std::sync::atomic::Ordering::Relaxed); 4])
        }
        async fn generate_dek(&self, _: &str) -> Result<crate::kms::GeneratedDek, KmsError> {
            Err(KmsError::KekNotFound)
        }
        async fn wrap(&self, _: &str, _: &crate::crypto::SecretKey) -> Result<Box<[u8]>, KmsError> {
            Err(KmsError::KekNotFound)
        }
        async fn unwrap_dek(&self, _: &[u8]) -> Result<crate::crypto::SecretKey, KmsError> {
            Err(KmsError::Malformed)
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
        let options = KeyOptions::default();
        let kms = Arc::new(Renaming(1.into()));
        let budget = CallBudget::default();
        let (service, mut executors) = service_for(Arc::clone(&kms) as Arc<dyn Kms>, &options, budget, 2, 8);
        let told = |reply| match reply {
            Some(KeyReply::KekNames { names, .. }) => Some(names),
            _ => None,
        };
        for Executor { replies, .. } in &mut executors {
            assert_eq!(told(replies.try_recv()), Some(KekNames::as_written(1, [1; 4])));
        }
        tokio::spawn(service.run());
        kms.0.store(2, std::sync::atomic::Ordering::Relaxed);
        for Executor { replies, .. } in &mut executors {
            assert_eq!(
                told(Some(replies.recv().await)),
                Some(KekNames::as_written(1, [2; 4]))
            );
            assert!(replies.try_recv().is_none(), "told twice");
        }
        Ok(())
    })
}
