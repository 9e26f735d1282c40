//! Every key that a configuration may have: a table for each section, from which defaults, unknown-key messages,
//! ranges, what is kept out of messages, and the reference in `docs/configuration.md` come.
//!
//! - SCHEMA-1: a key that is not in the table is refused, and a key that is in the table is in the reference.

mod cluster;
mod kms;
mod limits;
mod listeners;
mod program;
mod topics;

use std::time::Duration;

/// One key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Names from the root, joined by `.`; `*` stands for a name that the operator chooses, `[]` for each element of a
    /// list.
    pub path: &'static str,
    /// What may stand there.
    pub kind: Kind,
    /// What holds where it does not stand there.
    pub preset: Preset,
    /// What it means, and what happens at the bound where it is one.
    #[cfg_attr(
        not(feature = "testing"),
        expect(dead_code, reason = "the reference is written by a test")
    )]
    pub meaning: &'static str,
    /// A value as an operator would write it, for messages.
    pub example: &'static str,
    /// Whether someone may write a secret there, or below it: then nothing of it is ever repeated (PROBLEM-1).
    pub is_secret: bool,
}

/// What may stand at a key. Ranges include both ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A table whose keys the schema has.
    Table,
    /// A list of tables.
    Tables,
    /// `true` or `false`.
    Flag,
    /// A whole number.
    Count {
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
    /// Bytes: a whole number, or text with `KiB`, `MiB`, `GiB`.
    Size {
        /// The least, in bytes.
        min: u64,
        /// The most, in bytes.
        max: u64,
    },
    /// Text with `ms`, `s`, `m`, `h`.
    Time {
        /// The least.
        min: Duration,
        /// The most.
        max: Duration,
    },
    /// Anything else; the text says what.
    Other(&'static str),
}

/// What holds where a key does not stand in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// This TOML value.
    Value(&'static str),
    /// Nothing does; the text says what that means.
    Absent(&'static str),
    /// It has to be there.
    Required,
}

/// Every key, in the order of the reference.
pub fn keys() -> impl Iterator<Item = &'static Key> {
    let sections = [
        program::KEYS,
        limits::KEYS,
        kms::KEYS,
        cluster::KEYS,
        listeners::KEYS,
        topics::KEYS,
    ];
    sections.into_iter().flatten()
}

/// Whether a key of this name is the place of a secret, or a secret would be written under it.
pub fn names_a_secret(name: &str) -> bool {
    keys().any(|key| key.is_secret && key.path.rsplit('.').next() == Some(name))
}

/// The key at `path`, in the table's spelling.
pub fn key(path: &str) -> Option<&'static Key> {
    keys().find(|key| key.path == path)
}

/// The names that may stand directly under `path` (empty for the root), except `*` and `[]`.
pub fn names_under(path: &str) -> impl Iterator<Item = &'static str> + '_ {
    keys().filter_map(move |key| {
        let (parent, name) = key.path.rsplit_once('.').unwrap_or(("", key.path));
        (parent == path && name != "*" && name != "[]").then_some(name)
    })
}

/// Whether operators choose the names under `path`.
pub fn names_are_free(path: &str) -> bool {
    keys().any(|key| key.path.strip_prefix(path).is_some_and(|rest| rest == ".*"))
}

/// A schema path as the reference prints it: `kms.NAME.path`, `cluster.NAME.topics[].match`.
pub(super) fn spelled(path: &str) -> String {
    let path = path.replace("node_addresses.*", "node_addresses.ID");
    path.replace(".[]", "[]").replace('*', "NAME")
}

/// The key marked as the place of a secret.
const fn secret(key: Key) -> Key {
    Key {
        is_secret: true,
        ..key
    }
}

const fn of(path: Text, kind: Kind, preset: Preset, meaning: Text, example: Text) -> Key {
    Key {
        path,
        kind,
        preset,
        meaning,
        example,
        is_secret: false,
    }
}

const fn table(path: Text, preset: Preset, meaning: Text, example: Text) -> Key {
    of(path, Kind::Table, preset, meaning, example)
}

const fn tables(path: Text, preset: Preset, meaning: Text, example: Text) -> Key {
    of(path, Kind::Tables, preset, meaning, example)
}

const fn flag(path: Text, preset: Text, meaning: Text, example: Text) -> Key {
    of(path, Kind::Flag, Preset::Value(preset), meaning, example)
}

const fn other(path: Text, kind: Text, preset: Preset, meaning: Text, example: Text) -> Key {
    of(path, Kind::Other(kind), preset, meaning, example)
}

const fn count(path: Text, [min, max]: [u64; 2], preset: Text, meaning: Text) -> Key {
    of(
        path,
        Kind::Count { min, max },
        Preset::Value(preset),
        meaning,
        preset,
    )
}

const fn size(path: Text, [min, max]: [u64; 2], preset: Text, meaning: Text) -> Key {
    of(
        path,
        Kind::Size { min, max },
        Preset::Value(preset),
        meaning,
        preset,
    )
}

const fn time(path: Text, [min, max]: [Duration; 2], preset: Text, meaning: Text) -> Key {
    of(
        path,
        Kind::Time { min, max },
        Preset::Value(preset),
        meaning,
        preset,
    )
}

/// What the table is made of is there as long as the program.
type Text = &'static str;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// The length of a Kafka frame is a signed 32-bit number.
const FRAME_BYTES_MAX: u64 = i32::MAX as u64;
const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_unique_and_have_parents() {
        for (index, entry) in keys().enumerate() {
            assert!(
                keys().skip(index + 1).all(|other| other.path != entry.path),
                "{} twice",
                entry.path
            );
            if let Some((parent, name)) = entry.path.rsplit_once('.') {
                let parent = if name == "*" || parent.ends_with(".[]") {
                    parent.trim_end_matches(".[]")
                } else {
                    parent
                };
                assert!(key(parent).is_some(), "{} has no parent", entry.path);
            }
        }
    }

    #[test]
    fn names_are_found_by_level() {
        assert_eq!(
            names_under("").collect::<Vec<_>>(),
            [
                "runtime", "log", "audit", "keyring", "admin", "limits", "kms", "cluster"
            ]
        );
        assert!(names_under("cluster.*.topics.[]").any(|name| name == "match"));
        assert!(names_are_free("kms") && names_are_free("cluster.*.node_addresses"));
        assert!(!names_are_free("limits"));
    }

    /// PROBLEM-1: the mark is what keeps secrets out of messages, wherever the name is written.
    #[test]
    fn places_of_secrets_are_marked() {
        for name in ["master_key", "password", "token", "secret_id"] {
            assert!(names_a_secret(name), "{name}");
        }
        let marked: Vec<_> = keys().filter(|key| key.is_secret).map(|key| key.path).collect();
        let expected = [
            "kms.*.master_key",
            "kms.*.login.token",
            "kms.*.login.secret_id",
            "cluster.*.upstream_login.password",
            "cluster.*.upstream_login.token",
            "cluster.*.upstream_login.token.client_secret",
        ];
        assert_eq!(marked, expected);
        assert!(!names_a_secret("path"));
    }
}
