//! Side by side: what the application sent, what the brokers hold, what came back. And whether that is as promised.

use std::collections::{BTreeMap, BTreeSet};

use super::exchange::{Place, Record};
use crate::Failure;
use crate::contains;

/// What becomes of a topic's records.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Values and headers are sealed.
    Sealed,
    /// Keys as well: equal ones equally.
    KeysSealed,
    Passed,
}

/// Prints the three views of each record, and fails if one of them is not what it has to be.
pub(super) fn side_by_side(
    topic: &str,
    kind: Kind,
    sent: &BTreeMap<Place, Record>,
    stored: &BTreeMap<Place, Record>,
    received: &BTreeMap<Place, Record>,
) -> Result<(), Failure> {
    tell!(
        "Topic {topic}: {}",
        match kind {
            Kind::Sealed => "sealed",
            Kind::KeysSealed => "sealed with keys: equal ones are stored equally",
            Kind::Passed => "passes through",
        }
    );
    for (place, sent) in sent {
        let (partition, offset) = place;
        let stored = stored.get(place).ok_or("a record is missing at the brokers")?;
        let received = received
            .get(place)
            .ok_or("a record did not come back at its offset")?;
        tell!("  partition {partition}, offset {offset}");
        tell!("    sent      {}", text(sent));
        tell!("    stored    {}", text(stored));
        tell!("    received  {}", text(received));
        if received != sent {
            return Err("what came back is not what was sent".into());
        }
        match kind {
            Kind::Passed if stored != sent => return Err("a record that passes through was changed".into()),
            Kind::Sealed | Kind::KeysSealed if is_readable(sent, stored, kind) => {
                return Err("a broker can read what was sent".into());
            }
            _ => {}
        }
    }
    if kind == Kind::KeysSealed {
        let keys: BTreeSet<_> = sent
            .iter()
            .filter_map(|(place, sent)| Some((&sent.key, &stored.get(place)?.key)))
            .collect();
        let [before, after] = [
            keys.iter().map(|(sent, _)| *sent).collect::<BTreeSet<_>>(),
            keys.iter().map(|(_, stored)| *stored).collect(),
        ];
        if [before.len(), after.len()] != [keys.len(); 2] || keys.len() == sent.len() {
            return Err("equal keys are not stored equally".into());
        }
    }
    tell!();
    Ok(())
}

/// Whether anything that should be secret can be found in what the broker holds.
fn is_readable(sent: &Record, stored: &Record, kind: Kind) -> bool {
    let key = sent.key.as_ref().filter(|_| kind == Kind::KeysSealed);
    let secrets = sent
        .value
        .iter()
        .chain(key)
        .chain(sent.headers.iter().filter_map(|(_, value)| value.as_ref()));
    let mut held: Vec<u8> = stored.value.clone().unwrap_or_default();
    held.extend(key.and(stored.key.as_deref()).unwrap_or_default());
    for (name, value) in &stored.headers {
        held.extend_from_slice(name.as_bytes());
        held.extend_from_slice(value.as_deref().unwrap_or_default());
    }
    let long_enough = |secret: &&Vec<u8>| secret.len() >= SECRET_BYTES_MIN;
    let names = sent
        .headers
        .iter()
        .any(|(name, _)| stored.headers.iter().any(|(stored, _)| stored == name));
    names || secrets.filter(long_enough).any(|secret| contains(&held, secret))
}

/// Shorter ones turn up in random bytes by accident.
const SECRET_BYTES_MIN: usize = 4;

fn text(record: &Record) -> String {
    let headers: Vec<String> = record
        .headers
        .iter()
        .map(|(name, value)| format!("{name}={}", excerpt(value.as_deref())))
        .collect();
    let headers = if headers.is_empty() {
        String::new()
    } else {
        format!("  headers [{}]", headers.join(", "))
    };
    format!(
        "key {}  value {}{headers}",
        excerpt(record.key.as_deref()),
        excerpt(record.value.as_deref())
    )
}

/// Text as text, anything else in hexadecimal; no control character reaches the terminal.
fn excerpt(bytes: Option<&[u8]>) -> String {
    let Some(bytes) = bytes else {
        return "null".to_owned();
    };
    match std::str::from_utf8(bytes) {
        Ok(text) if text.chars().all(|character| !character.is_control()) => format!("{text:?}"),
        _ => {
            let hex: String = bytes
                .iter()
                .take(EXCERPT_BYTES)
                .map(|byte| format!("{byte:02x}"))
                .collect();
            let more = if bytes.len() > EXCERPT_BYTES { "…" } else { "" };
            format!("{hex}{more} ({} bytes)", bytes.len())
        }
    }
}

const EXCERPT_BYTES: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;

    fn record(value: &[u8], headers: &[(&str, &[u8])]) -> Record {
        Record {
            key: None,
            value: Some(value.to_vec()),
            headers: headers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), Some(value.to_vec())))
                .collect(),
            timestamp_ms: None,
        }
    }

    #[test]
    fn what_is_readable_is_found() {
        let sent = record(b"secret value", &[("trace", b"secret header")]);
        let readable = |stored: &Record| is_readable(&sent, stored, Kind::Sealed);
        assert!(readable(&record(b"xx secret value xx", &[])));
        assert!(readable(&record(b"xx", &[("sealwire", b"..secret header..")])));
        assert!(readable(&record(b"xx", &[("trace", b"xx")])));
        assert!(!readable(&record(b"xx", &[("sealwire", b"xx")])));
        let keyed = |key: &[u8]| Record {
            key: Some(key.to_vec()),
            ..record(b"xx", &[])
        };
        let sent = keyed(b"customer");
        for (stored, readable) in [(keyed(b"customer"), true), (keyed(b"sealed"), false)] {
            assert_eq!(is_readable(&sent, &stored, Kind::KeysSealed), readable);
            assert!(!is_readable(&sent, &stored, Kind::Sealed));
        }
    }

    #[test]
    fn excerpts_are_fit_for_a_terminal() {
        assert_eq!(excerpt(Some(b"plain")), "\"plain\"");
        assert_eq!(excerpt(Some(b"\x1b[2J")), "1b5b324a (4 bytes)");
        assert_eq!(excerpt(None), "null");
    }
}
