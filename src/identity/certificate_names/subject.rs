//! A subject as text: RFC 2253, as the JDK's `X500Principal.getName()` has it.
//!
//! The most specific part first, `,` between parts and `+` within one, in the order of the encoding. Keywords are those
//! of RFC 2253 alone; values of other types, and those that are no text, are `#` and their DER in hexadecimal digits.
//! Of text `, = + < > # ; " \` stand behind a `\` wherever they are, blanks and carriage returns at both ends too, and
//! NUL is `\00`. A BMPString is taken for UTF-8, byte for byte, as the JDK does. Unlike there, what is no UTF-8 is an
//! error, since it would look like other names.

use super::NoPrincipal;
use super::der::{Element, parts};

/// The whole subject, which is DER.
pub(super) fn text(subject: &[u8]) -> Result<String, NoPrincipal> {
    let mut text = String::new();
    let names = parts(subject, SEQUENCE).ok_or(NoPrincipal::Unreadable)?;
    for (place, name) in names.iter().rev().enumerate() {
        if place > 0 {
            text.push(',');
        }
        let attributes = parts(name.whole, SET).filter(|attributes| !attributes.is_empty());
        for (place, attribute) in attributes.ok_or(NoPrincipal::Unreadable)?.iter().enumerate() {
            if place > 0 {
                text.push('+');
            }
            match parts(attribute.whole, SEQUENCE).as_deref() {
                Some([kind, value]) if kind.tag == OID => write_attribute(kind.content, value, &mut text)?,
                _ => return Err(NoPrincipal::Unreadable),
            }
        }
    }
    Ok(text)
}

fn write_attribute(kind: &[u8], value: &Element<'_>, text: &mut String) -> Result<(), NoPrincipal> {
    let keyword = KEYWORDS.iter().find(|(oid, _)| kind == *oid);
    match keyword {
        Some((_, keyword)) => text.push_str(keyword),
        None => write_oid(kind, text)?,
    }
    text.push('=');
    if keyword.is_some() && TEXT.contains(&value.tag) {
        let said = std::str::from_utf8(value.content).map_err(|_| NoPrincipal::NotText)?;
        write_escaped(said, text);
    } else {
        text.push('#');
        for byte in value.whole {
            let digit = |half: u8| char::from_digit(u32::from(half), 16).unwrap_or('0');
            text.extend([digit(byte >> 4), digit(byte & 0xf)]);
        }
    }
    Ok(())
}

/// Numbers with dots between them; each of 7 bits a byte, the first for two.
fn write_oid(oid: &[u8], text: &mut String) -> Result<(), NoPrincipal> {
    let mut number = 0_u64;
    let (mut is_first, mut is_whole) = (true, false);
    for byte in oid {
        let shifted = number.checked_mul(128).ok_or(NoPrincipal::Unreadable)?;
        number = shifted | u64::from(byte & 0x7f);
        is_whole = byte & 0x80 == 0;
        if !is_whole {
            continue;
        }
        let above = match (is_first, number) {
            (false, _) => None,
            (true, 0..40) => Some((0, 0)),
            (true, 40..80) => Some((1, 40)),
            (true, _) => Some((2, 80)),
        };
        let written = match above {
            Some((first, less)) => format!("{first}.{}", number.saturating_sub(less)),
            None => format!(".{number}"),
        };
        text.push_str(&written);
        (is_first, number) = (false, 0);
    }
    is_whole.then_some(()).ok_or(NoPrincipal::Unreadable)
}

fn write_escaped(said: &str, text: &mut String) {
    let is_blank = |character: char| matches!(character, ' ' | '\r');
    let behind = said.trim_start_matches(is_blank);
    let (before, inner) = (
        said.len().saturating_sub(behind.len()),
        behind.trim_end_matches(is_blank),
    );
    let end = before.saturating_add(inner.len());
    for (place, character) in said.char_indices() {
        let is_outside = place < before || place >= end;
        match character {
            '\0' => text.push_str("\\00"),
            ',' | '=' | '+' | '<' | '>' | '#' | ';' | '"' | '\\' => text.extend(['\\', character]),
            _ if is_outside => text.extend(['\\', character]),
            _ => text.push(character),
        }
    }
}

const OID: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
/// What the JDK shows as text: UTF8String, PrintableString, T61String, IA5String, GeneralString, BMPString; and not
/// NumericString, VisibleString, UniversalString.
const TEXT: [u8; 6] = [0x0c, 0x13, 0x14, 0x16, 0x1b, 0x1e];
/// By the bytes of their OIDs.
const KEYWORDS: [(&[u8], &str); 9] = [
    (&[0x55, 4, 3], "CN"),
    (&[0x55, 4, 6], "C"),
    (&[0x55, 4, 7], "L"),
    (&[0x55, 4, 8], "ST"),
    (&[0x55, 4, 9], "STREET"),
    (&[0x55, 4, 10], "O"),
    (&[0x55, 4, 11], "OU"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25], "DC"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1], "UID"),
];
