//! What needs no call to be refused.

use super::*;
use crate::crypto::SecretKey;
use crate::keys::event::{KekVersion, KeyEventKind};
use crate::kms::GeneratedDek;

/// A KMS that is away, and that would not be asked for some of what there is to ask.
struct Away;

impl Away {
    fn dek(version: &[u8], blob: u8) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
        let wrapped = Self.kek_names().wrapped("payments", version, &[blob]);
        Ok(wrapped.ok_or("too long")?)
    }

    fn nothing<T>() -> Result<T, KmsError> {
        Err(KmsError::Unavailable("it is away".to_owned()))
    }
}

#[async_trait::async_trait]
impl Kms for Away {
    fn kek_names(&self) -> KekNames {
        KekNames::as_written(1, [0; 4])
    }
    fn check_kek(&self, kek: &str) -> Result<(), KmsError> {
        match kek.starts_with('.') {
            true => Err(KmsError::KekNotFound),
            false => Ok(()),
        }
    }
    fn check_wrapped(&self, wrapped: &[u8]) -> Result<(), KmsError> {
        match WrappedDek::parse(wrapped) {
            Ok(WrappedDek { version: [0], .. }) => Err(KmsError::Malformed),
            _ => Ok(()),
        }
    }
    async fn generate_dek(&self, kek: &str) -> Result<GeneratedDek, KmsError> {
        self.check_kek(kek)?;
        Self::nothing()
    }
    async fn wrap(&self, _: &str, _: &SecretKey) -> Result<Box<[u8]>, KmsError> {
        Self::nothing()
    }
    async fn unwrap_dek(&self, wrapped: &[u8]) -> Result<SecretKey, KmsError> {
        self.check_wrapped(wrapped)?;
        Self::nothing()
    }
    async fn recheck(&self, _: &[u8]) -> Result<SecretKey, KmsError> {
        Self::nothing()
    }
    async fn current_version(&self, _: &str) -> Result<Option<Vec<u8>>, KmsError> {
        Self::nothing()
    }
    fn wraps_publicly(&self) -> bool {
        false
    }
}

/// SERVICE-6, KMS-4
#[test]
fn who_makes_up_records_and_names_ends_no_outage() -> TestResult {
    on_control_thread(async {
        let options = KeyOptions::default();
        let (mut service, mut executor) = service_for_one(Arc::new(Away), &options);
        let (mut events, statistics) = (service.events(), service.statistics());
        tokio::spawn(service.run());
        for blob in 0..20 {
            let asked = executor.opening(&Away::dek(&[1], blob)?).await;
            assert_eq!(asked, Err(KeyFailure::Unavailable));
            let made_up = executor.opening(&Away::dek(&[0], blob)?).await;
            assert_eq!(made_up, Err(KeyFailure::Malformed));
            let no_name = executor.sealing(&format!(".{blob}")).await;
            assert_eq!(no_name, Err(KeyFailure::KekNotFound));
        }
        let kms = &statistics.kms[0];
        assert!(matches!(kms.state(Instant::now()), KmsState::Silent(_)));
        let (mut lost, mut refused) = (0, 0);
        for _ in 0..21 {
            match events.recv().await.event.kind {
                KeyEventKind::Lost(_) => lost += 1,
                KeyEventKind::Refused(KekVersion { kek, .. }, KeyFailure::KekNotFound) => {
                    assert!(kek.starts_with(b"."));
                    refused += 1;
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(
            (lost, refused),
            (1, 20),
            "each is told of once, and the KMS stays lost"
        );
        let calls = kms.calls(CallKind::Unwrap, CallOutcome::Outage).get();
        assert!(calls < 20, "{calls}: it is not waited for");
        Ok(())
    })
}
