//! The key service with a faulty KMS and executors of the test's own.

use std::future::Future;
use std::path::PathBuf;
use std::time::Instant;

use tempfile::TempDir;

use super::*;
use crate::channel::{Receiver, Sender, channel};
use crate::envelope::WrappedDek;
use crate::ids::Id as _;
use crate::keys::ledger::BreakerState;
use crate::keys::statistics::KmsState;
use crate::keys::{Applied, CallBudget, Demand, ExecutorKeys, KeyFailure, KeyId, KeyLookup, Urgency};
use crate::kms::file::FileKms;
use crate::kms::keystore::{
    Keystore, KeystoreError, MasterKeySource, OpenKeystore, create_key_file, lock_file, read_file,
};
use crate::testing::{Faults, FaultyKms};

mod events;
mod looked_for;
mod unasked;

use self::events::payments;

const TAIL: Demand = Demand {
    urgency: Urgency::Tail,
    connection: 1,
};

/// A file keystore, the fault layer, the service in its task, and executors with their channels.
struct Stage {
    folder: TempDir,
    executors: Vec<Executor>,
    faults: Faults,
    kms: Arc<dyn Kms>,
    statistics: Arc<KeyStatistics>,
    events: ToldKeyEvents,
}

struct Executor {
    keys: ExecutorKeys,
    requests: Sender<KeyRequest>,
    replies: Receiver<KeyReply>,
}

impl Stage {
    fn new(options: &KeyOptions, executors: usize, channel_capacity: usize) -> Result<Self, KeystoreError> {
        Self::with_budget(options, CallBudget::default(), executors, channel_capacity)
    }

    fn with_budget(
        options: &KeyOptions,
        budget: CallBudget,
        executors: usize,
        channel_capacity: usize,
    ) -> Result<Self, KeystoreError> {
        let folder = TempDir::new().map_err(KeystoreError::file("make", &PathBuf::from("a folder")))?;
        let (path, key_file) = (folder.path().join("keystore.json"), folder.path().join("key"));
        create_key_file(&key_file)?;
        let source = MasterKeySource::File(key_file);
        let mut keystore = OpenKeystore::create(source.read()?)?;
        keystore.add("payments")?;
        lock_file(&path)?.replace(&keystore.to_json()?)?;
        let (layer, faults) = FaultyKms::around(Arc::new(FileKms::open(&path, &source)?));
        let kms: Arc<dyn Kms> = Arc::new(layer);

        let (request_sender, request_receiver) = channel(channel_capacity);
        let (mut senders, mut desks) = (Vec::new(), Vec::new());
        for executor in 0..executors {
            let (sender, receiver) = channel(channel_capacity);
            senders.push(sender);
            desks.push(Executor {
                keys: ExecutorKeys::new(executor, options),
                requests: request_sender.clone(),
                replies: receiver,
            });
        }
        let named = NamedKms {
            id: KmsId::from_number(0),
            name: "local".to_owned(),
            kms: Arc::clone(&kms),
            budget,
        };
        let mut service = KeyService::new(vec![named], request_receiver, senders, options);
        let events = service.events();
        let statistics = service.statistics();
        tokio::spawn(service.run());
        Ok(Self {
            folder,
            executors: desks,
            faults,
            kms,
            statistics,
            events,
        })
    }

    fn edit(
        &self,
        edit: impl FnOnce(&mut OpenKeystore) -> Result<(), KeystoreError>,
    ) -> Result<(), KeystoreError> {
        let lock = lock_file(&self.folder.path().join("keystore.json"))?;
        let secret = MasterKeySource::File(self.folder.path().join("key")).read()?;
        let mut keystore = Keystore::parse(&read_file(lock.path())?.0)?.authenticate(secret)?;
        edit(&mut keystore)?;
        Ok(lock.replace(&keystore.to_json()?)?)
    }
}

impl Executor {
    /// Sends what there is and takes in replies until `done` says so, as an executor's own loop would.
    async fn until<T>(&mut self, mut done: impl FnMut(&mut ExecutorKeys, Instant) -> Option<T>) -> T {
        loop {
            let now = Instant::now();
            self.keys.tick(now);
            let found = done(&mut self.keys, now);
            self.keys.send_requests(|request| self.requests.try_send(request));
            if let Some(found) = found {
                return found;
            }
            let turn = tokio::time::timeout(Duration::from_millis(20), self.replies.recv());
            if let Ok(reply) = turn.await {
                self.keys.apply(reply, Instant::now());
                while let Some(reply) = self.replies.try_recv() {
                    self.keys.apply(reply, Instant::now());
                }
            }
        }
    }

    async fn sealing(&mut self, kek: &str) -> Result<Vec<u8>, KeyFailure> {
        let kek = KeyId::first(kek);
        self.until(|keys, now| match keys.sealing(&kek, now) {
            KeyLookup::Ready(key) => Some(Ok(key.wrapped_dek().to_vec())),
            KeyLookup::Failed(failure) => Some(Err(failure)),
            KeyLookup::Waiting => None,
        })
        .await
    }

    async fn opening(&mut self, wrapped: &[u8]) -> Result<(), KeyFailure> {
        self.until(
            |keys, now| match keys.opening(KmsId::from_number(0), wrapped, TAIL, now, now) {
                KeyLookup::Ready(_) => Some(Ok(())),
                KeyLookup::Failed(failure) => Some(Err(failure)),
                KeyLookup::Waiting => None,
            },
        )
        .await
    }
}

type TestResult = Result<(), Box<dyn std::error::Error>>;

/// Runs a test on a runtime like the control thread's, with a deadline.
fn on_control_thread(test: impl Future<Output = TestResult>) -> TestResult {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(30), test).await? })
}

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
        let (requests, request_receiver) = channel(8);
        let (reply_sender, replies) = channel(8);
        let named = NamedKms {
            id: KmsId::from_number(0),
            name: "bad".to_owned(),
            kms: Arc::new(Panicking),
            budget: CallBudget::default(),
        };
        tokio::spawn(KeyService::new(vec![named], request_receiver, vec![reply_sender], &options).run());
        let mut executor = Executor {
            keys: ExecutorKeys::new(0, &options),
            requests,
            replies,
        };
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
        let named = NamedKms {
            id: KmsId::from_number(0),
            name: "renewing".to_owned(),
            kms: Arc::new(Renewing(Arc::clone(&stage.kms), began, 0.into())),
            budget: CallBudget::default(),
        };
        let (requests, request_receiver) = channel(8);
        let (reply_sender, replies) = channel(8);
        let service = KeyService::new(vec![named], request_receiver, vec![reply_sender], &options);
        let service = tokio::spawn(service.run());
        let mut executor = Executor {
            keys: ExecutorKeys::new(0, &options),
            requests,
            replies,
        };
        assert!(executor.sealing("payments").await.is_ok());
        assert_eq!(begun.recv().await, Some(()), "it was not begun again");
        service.abort();
        assert_eq!(begun.recv().await, None, "it outlives the service");
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
        let named = NamedKms {
            id: KmsId::from_number(0),
            name: "renaming".to_owned(),
            kms: Arc::clone(&kms) as Arc<dyn Kms>,
            budget: CallBudget::default(),
        };
        let (_requests, request_receiver) = channel(8);
        let (senders, mut replies): (Vec<_>, Vec<_>) = (0..2).map(|_| channel(8)).unzip();
        let service = KeyService::new(vec![named], request_receiver, senders, &options);
        let told = |reply| match reply {
            Some(KeyReply::KekNames { names, .. }) => Some(names),
            _ => None,
        };
        for replies in &mut replies {
            assert_eq!(told(replies.try_recv()), Some(KekNames::as_written(1, [1; 4])));
        }
        tokio::spawn(service.run());
        kms.0.store(2, std::sync::atomic::Ordering::Relaxed);
        for replies in &mut replies {
            assert_eq!(
                told(Some(replies.recv().await)),
                Some(KekNames::as_written(1, [2; 4]))
            );
            assert!(replies.try_recv().is_none(), "told twice");
        }
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
