//! What happened to keys and KMSs, as events of the audit log.

use std::sync::Arc;

use super::event::{AuditEvent, AuditedKek, KekName};
use crate::envelope::wrapped_dek::version_text;
use crate::keys::event::KekVersion;
use crate::keys::{KeyEvent, KeyEventKind};

impl From<KeyEvent> for AuditEvent {
    fn from(KeyEvent { kms, kind }: KeyEvent) -> Self {
        let kek = |kek: KekVersion| AuditedKek {
            kms: Arc::clone(&kms),
            kek: KekName::from(kek.kek),
            version: version_text(&kek.version),
        };
        match kind {
            KeyEventKind::Made(made) => Self::KeyMade(kek(made)),
            KeyEventKind::Unwrapped(unwrapped) => Self::KeyUnwrapped(kek(unwrapped)),
            KeyEventKind::Refused(refused, failure) => Self::KeyRefused {
                key: kek(refused),
                reason: failure.reason(),
            },
            KeyEventKind::Rotated { kek: rotated, before } => Self::KeyRotated {
                key: kek(rotated),
                version_before: version_text(&before),
            },
            KeyEventKind::Revoked(revoked, failure) => Self::KeyRevoked {
                key: kek(revoked),
                reason: failure.reason(),
            },
            KeyEventKind::Lapsed(lapsed) => Self::KeyLapsed(kek(lapsed)),
            KeyEventKind::Wrong(of, wrong) => Self::KeyWrong {
                key: kek(of),
                reason: wrong.as_str(),
            },
            KeyEventKind::Lost(absence) => Self::KmsLost {
                kms,
                reason: absence.as_str(),
            },
            KeyEventKind::Found(away) => Self::KmsFound {
                kms,
                away_seconds: away.as_secs(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::audit::AuditLog;
    use crate::repeats::{KEPT, LINES_MAX};

    fn key(kek: &str) -> AuditedKek {
        AuditedKek {
            kms: "local".into(),
            kek: KekName::from(Arc::<str>::from(kek)),
            version: Some("1".to_owned()),
        }
    }

    fn refused(kek: &str, reason: &'static str) -> AuditEvent {
        let key = key(kek);
        AuditEvent::KeyRefused { key, reason }
    }

    #[test]
    fn the_same_refusal_of_a_key_is_written_once_a_minute_and_revocations_each_time() {
        let mut log = AuditLog::default();
        let now = Instant::now();
        assert!(log.write(&refused("payments", "kek_disabled"), now));
        assert!(!log.write(&refused("payments", "kek_disabled"), now));
        assert!(log.write(&refused("payments", "kek_denied"), now));
        assert!(log.write(&refused("payments", "kek_disabled"), now + KEPT));
        for _ in 0..2 {
            let key = key("payments");
            let reason = "kek_disabled";
            assert!(log.write(&AuditEvent::KeyRevoked { key, reason }, now));
        }
    }

    #[test]
    fn keys_that_records_name_push_out_no_revocation() {
        let mut log = AuditLog::default();
        let now = Instant::now();
        let named = |kek: usize| refused(&kek.to_string(), "kek_not_found");
        let written = (0..1000).filter(|kek| log.write(&named(*kek), now)).count();
        assert_eq!(written, LINES_MAX);
        let lapsed = AuditEvent::KeyLapsed(key("payments"));
        let written = (0..1000).filter(|_| log.write(&lapsed, now)).count();
        assert_eq!(written, LINES_MAX);
    }
}
