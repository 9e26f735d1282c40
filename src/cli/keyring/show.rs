//! Commands that print what a keyring says.

use std::io::Write;
use std::path::Path;

use super::{KeyringCommandError, named, read, say};
use crate::cli::utc::utc;
use crate::foreign::Foreign;
use crate::keyring::{KeyringError, kek_text};

pub(super) fn list(path: &Path, out: &mut dyn Write) -> Result<(), KeyringCommandError> {
    let keyring = read(path)?;
    let width = widest("NAME", keyring.keys().iter().map(|key| key.name()));
    say(
        out,
        format_args!(
            "{:8}  {:width$}  {:20}  PINS  WRAPPED UNDER",
            "ID", "NAME", "CREATED"
        ),
    )?;
    for key in keyring.keys() {
        let pins = keyring.pins().iter().filter(|pin| pin.key() == key.id()).count();
        say(
            out,
            format_args!(
                "{}  {:width$}  {:20}  {pins:>4}  {}",
                key.id(),
                key.name(),
                utc(key.created_unix_seconds()),
                kek_text(key.wrapped())
            ),
        )?;
    }
    let pins: Vec<_> = keyring
        .pins()
        .iter()
        .map(|pin| (Foreign::new(pin.text()).to_string(), pin.key()))
        .collect();
    if !pins.is_empty() {
        let width = widest("DOMAIN", pins.iter().map(|(text, _)| text.as_str()));
        say(out, format_args!("\n{:width$}  KEY", "DOMAIN"))?;
        for (text, key) in pins {
            say(out, format_args!("{text:width$}  {}", named(&keyring, key)))?;
        }
    }
    Ok(())
}

pub(super) fn fingerprint(
    path: &Path,
    domains: &[String],
    out: &mut dyn Write,
) -> Result<(), KeyringCommandError> {
    let keyring = read(path)?;
    if domains.is_empty() {
        return say(out, format_args!("{}", keyring.fingerprint()));
    }
    for domain in domains {
        let shown = Foreign::new(domain);
        let key = keyring.key_of(domain).and_then(|id| keyring.key(id));
        let key = key.ok_or_else(|| KeyringError::NoPin {
            domain: domain.clone(),
            next: keyring.next_for(path, domain),
        })?;
        say(out, format_args!("{shown}  {}  {}", key.id(), key.name()))?;
    }
    Ok(())
}

fn widest<'t>(head: &str, texts: impl Iterator<Item = &'t str>) -> usize {
    texts.map(str::len).max().unwrap_or(0).max(head.len())
}
