//! Commands that change a keyring. Every change is read, made, verified and written under the keyring's lock; what is
//! printed was done and is on disk.

use std::io::Write;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::kms::Kmss;
use super::{KeyringCommandError, named, read, say};
use crate::foreign::{Foreign, shell_word};
use crate::keyring::{Assigned, Keyring, KeyringError, kek_text, lock_file};

pub(super) fn create(path: &Path, out: &mut dyn Write) -> Result<(), KeyringCommandError> {
    let lock = lock_file(path)?;
    if lock.path().exists() {
        return Err(KeyringError::Exists(path.to_path_buf()).into());
    }
    lock.replace(&Keyring::default().to_json()?)?;
    say(out, format_args!("made the keyring {}", path.display()))
}

pub(super) fn new(
    path: &Path,
    name: &str,
    kmss: &Kmss,
    (kms, kek): (&str, &str),
    out: &mut dyn Write,
) -> Result<(), KeyringCommandError> {
    let id = change(path, |keyring| {
        keyring.check_new(name)?;
        let (wrapped, key) = kmss.generate(kms, kek)?;
        Ok(Some(keyring.add(name, &key, &wrapped, now())?))
    })?;
    let Some(id) = id else { return Ok(()) };
    say(
        out,
        format_args!("made the stable key {name} ({id}) under {kek} of {kms}"),
    )?;
    say(
        out,
        format_args!(
            "no domain is sealed with it yet; next: sealwire keyring assign {} DOMAIN {}",
            shell_word(&path.to_string_lossy()),
            shell_word(name)
        ),
    )
}

pub(super) fn assign(
    path: &Path,
    domain: &str,
    key: &str,
    topic_is_new: bool,
    out: &mut dyn Write,
) -> Result<(), KeyringCommandError> {
    let assigned = change(path, |keyring| {
        let id = keyring.named(key)?.id();
        match keyring.assign(domain, id, topic_is_new)? {
            Assigned::Done => Ok(Some((named(keyring, id), some_of(&keyring.pins_before(domain))))),
            Assigned::NothingToChange => Ok(None),
        }
    })?;
    let domain = Foreign::new(domain);
    match assigned {
        Some((key, before)) => {
            let but = before.map_or_else(String::new, |pins| {
                format!(", but for what is pinned before it by {pins}")
            });
            say(
                out,
                format_args!(
                    "{domain}: record keys are sealed with {key}{but}; running proxies take the file up by themselves"
                ),
            )
        }
        None => say(out, format_args!("{domain}: nothing to change")),
    }
}

/// The first few of these pins; `None`: there are none.
fn some_of(pins: &[&str]) -> Option<String> {
    let shown: Vec<_> = pins
        .iter()
        .take(SHOWN_MAX)
        .map(|pin| Foreign::new(*pin).to_string())
        .collect();
    let more = if pins.len() > SHOWN_MAX { " and others" } else { "" };
    (!shown.is_empty()).then(|| format!("{}{more}", shown.join(", ")))
}

pub(super) fn unassign(
    path: &Path,
    domain: &str,
    topic_is_gone: bool,
    out: &mut dyn Write,
) -> Result<(), KeyringCommandError> {
    let unassigned = change(path, |keyring| {
        let key = keyring.unassign(domain, topic_is_gone)?;
        Ok(Some((
            named(keyring, key),
            keyring.key_of(domain).map(|key| named(keyring, key)),
        )))
    })?;
    let Some((before, now)) = unassigned else {
        return Ok(());
    };
    let domain = Foreign::new(domain);
    match now {
        Some(now) => say(
            out,
            format_args!("{domain}: the pin to {before} is gone; another one gives it {now}"),
        ),
        None => say(
            out,
            format_args!("{domain}: the pin to {before} is gone, and nothing is sealed there any more"),
        ),
    }
}

pub(super) fn remove(
    path: &Path,
    key: &str,
    confirm: &str,
    out: &mut dyn Write,
) -> Result<(), KeyringCommandError> {
    if confirm != key {
        return Err(KeyringCommandError::NotConfirmed(key.to_owned()));
    }
    let removed = change(path, |keyring| {
        let id = keyring.named(key)?.id();
        let removed = named(keyring, id);
        keyring.remove(id)?;
        Ok(Some(removed))
    })?;
    let Some(removed) = removed else { return Ok(()) };
    say(
        out,
        format_args!(
            "removed the stable key {removed}: records that were sealed with it will not open again, unless it is put \
             back from a backup of the keyring"
        ),
    )
}

pub(super) fn rewrap(
    path: &Path,
    keys: &[String],
    kmss: &Kmss,
    to: Option<(&str, &str)>,
    out: &mut dyn Write,
) -> Result<(), KeyringCommandError> {
    let done = change(path, |keyring| {
        let mut ids = Vec::new();
        for key in keys {
            ids.push(keyring.named(key)?.id());
        }
        if keys.is_empty() {
            ids.extend(keyring.keys().iter().map(|key| key.id()));
        }
        let mut done = Vec::new();
        for id in ids {
            let Some(entry) = keyring.key(id) else { continue };
            let before = kek_text(entry.wrapped());
            let (wrapped, key) = kmss.rewrap(entry, to)?;
            done.push(format!(
                "{}: {before} -> {}",
                named(keyring, id),
                kek_text(&wrapped)
            ));
            keyring.rewrap(id, key, &wrapped)?;
        }
        Ok((!done.is_empty()).then_some(done))
    })?;
    for line in done.iter().flatten() {
        say(out, format_args!("{line}"))?;
    }
    match done {
        Some(_) => Ok(()),
        None => say(out, format_args!("nothing to change: the keyring has no keys")),
    }
}

/// Reads and edits the keyring under its lock, and writes it where `edit` has changed something; writes nothing when it
/// fails.
fn change<T>(
    path: &Path,
    edit: impl FnOnce(&mut Keyring) -> Result<Option<T>, KeyringCommandError>,
) -> Result<Option<T>, KeyringCommandError> {
    // Before the lock file is made: a mistyped path leaves nothing behind.
    read(path)?;
    let lock = lock_file(path)?;
    let mut keyring = read(lock.path())?;
    let result = edit(&mut keyring)?;
    if result.is_some() {
        let bytes = keyring.to_json()?;
        // Nothing is written that could not be read.
        Keyring::parse(&bytes)?;
        lock.replace(&bytes)?;
    }
    Ok(result)
}

#[expect(clippy::disallowed_methods, reason = "a key is stored with when it was made")]
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// Pins in a message.
const SHOWN_MAX: usize = 10;
