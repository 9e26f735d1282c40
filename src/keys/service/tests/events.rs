//! What the service tells for the audit log.

use super::*;
use crate::keys::event::{Absence, KekVersion, KeyEventKind};

pub(super) fn payments(version: &[u8]) -> KekVersion {
    KekVersion {
        kek: b"payments"[..].into(),
        version: version.into(),
    }
}

impl Stage {
    /// Takes events until this one comes.
    pub(super) async fn told(&mut self, kind: KeyEventKind) {
        self.told_of(|told| *told == kind).await;
    }

    /// Takes events until one comes that is like this.
    pub(super) async fn told_of(&mut self, is_it: impl Fn(&KeyEventKind) -> bool) {
        loop {
            let told = self.events.recv().await;
            assert_eq!((&*told.event.kms, told.left_out), ("local", 0));
            if is_it(&told.event.kind) {
                return;
            }
        }
    }
}

/// KEY-EVENT-1
#[test]
fn the_life_of_a_key_is_told() -> TestResult {
    on_control_thread(async {
        let mut stage = Stage::new(&KeyOptions::default(), 1, 64)?;
        let stranger = stage.kms.generate_dek("payments").await?;
        stage.executors[0].opening(&stranger.wrapped).await?;
        stage.told(KeyEventKind::Unwrapped(payments(&[1]))).await;
        stage.executors[0].sealing("payments").await?;
        stage.told(KeyEventKind::Made(payments(&[1]))).await;

        stage.edit(|keystore| keystore.rotate("payments").map(drop))?;
        let rotated = KeyEventKind::Rotated {
            kek: payments(&[2]),
            before: [1].into(),
        };
        stage.told(rotated).await;
        stage.told(KeyEventKind::Made(payments(&[2]))).await;

        stage.edit(|keystore| keystore.disable("payments", Some(2)).map(drop))?;
        let disabled = KeyFailure::KekDisabled;
        stage.told(KeyEventKind::Revoked(payments(&[2]), disabled)).await;
        let kek = KeyId::first("payments");
        let failed = stage.executors[0].until(|keys, now| match keys.sealing(&kek, now) {
            KeyLookup::Failed(failure) => Some(failure),
            KeyLookup::Ready(_) | KeyLookup::Waiting => None,
        });
        assert_eq!(failed.await, disabled);
        stage.told(KeyEventKind::Refused(payments(&[]), disabled)).await;
        Ok(())
    })
}

#[test]
fn a_kms_that_is_away_is_told_and_so_is_for_how_long() -> TestResult {
    on_control_thread(async {
        let mut stage = Stage::new(&KeyOptions::default(), 1, 64)?;
        stage.executors[0].sealing("payments").await?;
        stage.told(KeyEventKind::Made(payments(&[1]))).await;
        let begun = Instant::now();
        stage
            .faults
            .refuse(Some(KmsError::CredentialsRefused(String::new())));
        let lost = stage.events.recv().await.event.kind;
        assert_eq!(lost, KeyEventKind::Lost(Absence::CredentialsRefused));
        let away = Instant::now();
        tokio::time::sleep(Duration::from_millis(300)).await;
        stage.faults.refuse(None);
        let found = stage.events.recv().await.event.kind;
        let KeyEventKind::Found(silence) = found else {
            panic!("{found:?}");
        };
        assert!(silence >= Duration::from_millis(290), "{silence:?}");
        assert!(silence <= begun.elapsed(), "{silence:?}, {:?}", away.elapsed());
        Ok(())
    })
}
