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
    use std::time::{Duration, Instant};

    use serde_json::{Value, json};

    use super::*;
    use crate::audit::AuditLog;
    use crate::config::{AuditConfig, AuditTarget, OnFull};
    use crate::keys::event::Absence;
    use crate::keys::ledger::WrongDek;
    use crate::keys::{KeyFailure, ToldKeyEvent};
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

    /// One of each kind, and the line that it is.
    fn kinds() -> [(KeyEventKind, Value); 9] {
        let version = |version: &[u8]| KekVersion {
            kek: b"payments"[..].into(),
            version: version.into(),
        };
        let disabled = KeyFailure::KekDisabled;
        let rotated = KeyEventKind::Rotated {
            kek: version(&[2]),
            before: [1].into(),
        };
        let wrong = WrongDek::Sealed(Duration::from_secs(5));
        let line = |event, version: Option<&str>, more: &[(&str, &str)]| {
            let mut line = json!({ "event": event, "kms": "local", "kek": "payments", "version": version });
            for (field, value) in more {
                line[field] = Value::from(*value);
            }
            line
        };
        let reason = [("reason", "kek_disabled")];
        [
            (
                KeyEventKind::Made(version(&[1])),
                line("key_made", Some("1"), &[]),
            ),
            (
                KeyEventKind::Unwrapped(version(&[1])),
                line("key_unwrapped", Some("1"), &[]),
            ),
            (
                KeyEventKind::Refused(version(&[]), disabled),
                line("key_refused", None, &reason),
            ),
            (
                rotated,
                line("key_rotated", Some("2"), &[("version_before", "1")]),
            ),
            (
                KeyEventKind::Revoked(version(&[2]), disabled),
                line("key_revoked", Some("2"), &reason),
            ),
            (
                KeyEventKind::Lapsed(version(&[1])),
                line("key_lapsed", Some("1"), &[]),
            ),
            (
                KeyEventKind::Wrong(version(&[1]), wrong),
                line("key_wrong", Some("1"), &[("reason", "sealed")]),
            ),
            (
                KeyEventKind::Lost(Absence::Throttled),
                json!({ "event": "kms_lost", "kms": "local", "reason": "throttled" }),
            ),
            (
                KeyEventKind::Found(Duration::from_millis(7900)),
                json!({ "event": "kms_found", "kms": "local", "away_seconds": 7 }),
            ),
        ]
    }

    #[tokio::test]
    async fn what_happens_to_keys_and_kms_is_written_each_with_its_own_words() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("audit");
        let config = AuditConfig {
            to: AuditTarget::File(path.clone()),
            on_full: OnFull::Hold,
        };
        let now = Instant::now();
        let mut log = AuditLog::open(Some(&config)).expect("it is opened");
        // What found no room is said before what did.
        let mut expected = vec![json!({ "event": "left_out", "count": 3 })];
        let left_out = std::iter::once(3).chain(std::iter::repeat(0));
        for ((kind, line), left_out) in kinds().into_iter().zip(left_out) {
            let kms = "local".into();
            let event = KeyEvent { kms, kind };
            log.tell_key(ToldKeyEvent { event, left_out }, now);
            expected.push(line);
        }
        log.end(now).await;
        let text = std::fs::read_to_string(&path).expect("it is read");
        let without_time = |line| {
            let mut line: Value = serde_json::from_str(line).expect("JSON");
            let time = line.as_object_mut().and_then(|line| line.remove("time"));
            assert!(time.is_some(), "{line}");
            line
        };
        let written: Vec<Value> = text.lines().map(without_time).collect();
        assert_eq!(written, expected);
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
