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

mod delivery;
mod events;
mod looked_for;
mod outages;
mod unasked;
mod verdicts;

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

        let (mut service, executors) =
            service_for(Arc::clone(&kms), options, budget, executors, channel_capacity);
        let events = service.events();
        let statistics = service.statistics();
        tokio::spawn(service.run());
        Ok(Self {
            folder,
            executors,
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

/// A service for one KMS, which does not run yet, and its executors.
fn service_for(
    kms: Arc<dyn Kms>,
    options: &KeyOptions,
    budget: CallBudget,
    executors: usize,
    channel_capacity: usize,
) -> (KeyService, Vec<Executor>) {
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
        kms,
        budget,
    };
    (
        KeyService::new(vec![named], request_receiver, senders, options),
        desks,
    )
}

/// The same with one executor.
fn service_for_one(kms: Arc<dyn Kms>, options: &KeyOptions) -> (KeyService, Executor) {
    let (service, mut executors) = service_for(kms, options, CallBudget::default(), 1, 64);
    (service, executors.remove(0))
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
