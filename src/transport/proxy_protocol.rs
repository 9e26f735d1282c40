//! The PROXY protocol, versions 1 and 2 (HAProxy's `proxy-protocol.txt`): before a connection's own bytes a load
//! balancer says where it comes from.
//!
//! - PREFACE-1: no byte is the preface's that is behind it: while there is [`Parsed::More`], all bytes so far are, and
//!   at most so many that follow.
//! - PREFACE-2: what cannot become a preface is refused as soon as its signature is wrong, so that nobody waits for the
//!   rest of what is something else.
//! - PREFACE-3: a preface has [`PREFACE_BYTES_MAX`] bytes at most, one of version 1 [`LINE_BYTES_MAX`].
//!
//! What it says is the word of whoever sends it: worth something from a [network that may](Networks), and good for logs
//! and limits. Nobody is authenticated by it; what version 2 says beside addresses (TLVs) is skipped.

mod networks;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

pub use self::networks::{Networks, NotANetwork};

/// What the first bytes of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// A part of a preface.
    More {
        /// How many of the bytes that follow may belong to it; at least 1.
        at_most: usize,
    },
    /// A whole preface.
    Whole {
        /// How long it is.
        bytes: usize,
        /// What it says.
        source: Source,
    },
}

/// Where a connection comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// From there, by way of whoever says so.
    Proxied(SocketAddr),
    /// From whoever says so himself (`LOCAL`, mostly to see whether somebody is there), or from where it cannot tell
    /// (`UNKNOWN`, a UNIX socket): the socket's own address is all that there is.
    Own,
}

/// Why the first bytes of a connection are no preface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Neither version begins so.
    #[error("what came first is no PROXY preface")]
    NotAPreface,
    /// A line of version 1 that says nothing that can be understood.
    #[error("the PROXY preface of version 1 is malformed")]
    Line,
    /// Of version 2: neither `LOCAL` nor `PROXY`, or another version.
    #[error("the PROXY preface is of an unknown version or command ({0:#04x})")]
    Command(u8),
    /// Of version 2: no stream, or of addresses that are not known.
    #[error("the PROXY preface is of an unknown family of addresses ({0:#04x})")]
    Family(u8),
    /// Of version 2: the addresses do not fit into its length.
    #[error("the PROXY preface is too short for its addresses")]
    Addresses,
    /// PREFACE-3.
    #[error("the PROXY preface is longer than {0} bytes")]
    TooLong(usize),
}

/// Looks at the first bytes of a connection, as many as have come.
///
/// # Errors
/// What is no preface and cannot become one.
pub fn parse(bytes: &[u8]) -> Result<Parsed, Refusal> {
    if begins_with(bytes, SIGNATURE) {
        binary(bytes)
    } else if begins_with(bytes, LINE_START) {
        line(bytes)
    } else {
        Err(Refusal::NotAPreface)
    }
}

/// As far as both go.
fn begins_with(bytes: &[u8], start: &[u8]) -> bool {
    bytes.iter().zip(start).all(|(byte, expected)| byte == expected)
}

/// Version 1: words in a line.
fn line(bytes: &[u8]) -> Result<Parsed, Refusal> {
    let (sooner, _) = bytes.split_at_checked(LINE_BYTES_MAX).unwrap_or((bytes, &[]));
    let Some(end) = sooner.windows(LINE_END.len()).position(|two| two == LINE_END) else {
        return match LINE_BYTES_MAX.saturating_sub(bytes.len()) {
            0 => Err(Refusal::TooLong(LINE_BYTES_MAX)),
            at_most => Ok(Parsed::More { at_most }),
        };
    };
    let said = sooner.get(LINE_START.len()..end).ok_or(Refusal::Line)?;
    let said = std::str::from_utf8(said).map_err(|_| Refusal::Line)?;
    Ok(Parsed::Whole {
        bytes: end.saturating_add(LINE_END.len()),
        source: words(said).ok_or(Refusal::Line)?,
    })
}

/// What stands behind `PROXY `.
fn words(said: &str) -> Option<Source> {
    let mut words = said.split(' ');
    let is_address = match words.next()? {
        // Whatever follows is not to be looked at.
        "UNKNOWN" => return Some(Source::Own),
        "TCP4" => IpAddr::is_ipv4,
        "TCP6" => IpAddr::is_ipv6,
        _ => return None,
    };
    let mut address = || IpAddr::from_str(words.next()?).ok().filter(is_address);
    let (source, _) = (address()?, address()?);
    let mut port = || port(words.next()?);
    let (source_port, _) = (port()?, port()?);
    let source = SocketAddr::new(source, source_port);
    words.next().is_none().then_some(Source::Proxied(source))
}

/// Digits, without a sign or zeros in front.
fn port(text: &str) -> Option<u16> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| is_plain)
}

/// Version 2: signature, version and command, family and protocol, length, addresses, TLVs.
fn binary(bytes: &[u8]) -> Result<Parsed, Refusal> {
    let more = |whole: usize| Parsed::More {
        at_most: whole.saturating_sub(bytes.len()),
    };
    let Some((_, [command, rest @ ..])) = bytes.split_at_checked(SIGNATURE.len()) else {
        return Ok(more(PREFACE_BYTES_MAX));
    };
    if ![LOCAL, PROXY].contains(command) {
        return Err(Refusal::Command(*command));
    }
    let Some(([family, length @ ..], said)) = rest.split_first_chunk::<3>() else {
        return Ok(more(PREFACE_BYTES_MAX));
    };
    let length = usize::from(u16::from_be_bytes(*length));
    let whole = HEAD_BYTES.saturating_add(length);
    if whole > PREFACE_BYTES_MAX {
        return Err(Refusal::TooLong(PREFACE_BYTES_MAX));
    }
    let Some(said) = said.get(..length) else {
        return Ok(more(whole));
    };
    let source = match *command {
        // Whatever family it has is not to be looked at.
        LOCAL => Source::Own,
        _ => addresses(*family, said)?,
    };
    Ok(Parsed::Whole { bytes: whole, source })
}

fn addresses(family: u8, said: &[u8]) -> Result<Source, Refusal> {
    let source = match family {
        UNSPECIFIED => Some(Source::Own),
        TCP_OVER_IPV4 => first_of_two::<4>(said, |octets| Ipv4Addr::from(octets).into()),
        TCP_OVER_IPV6 => first_of_two::<16>(said, |octets| Ipv6Addr::from(octets).into()),
        UNIX_STREAM => said.get(..UNIX_BYTES).map(|_| Source::Own),
        unknown => return Err(Refusal::Family(unknown)),
    };
    source.ok_or(Refusal::Addresses)
}

/// Two addresses of `OCTETS` each, then two ports.
fn first_of_two<const OCTETS: usize>(said: &[u8], address: fn([u8; OCTETS]) -> IpAddr) -> Option<Source> {
    let (source, rest) = said.split_first_chunk::<OCTETS>()?;
    let (_, ports) = rest.split_first_chunk::<OCTETS>()?;
    let (port, _) = ports.get(..4)?.split_first_chunk::<2>()?;
    let source = SocketAddr::new(address(*source), u16::from_be_bytes(*port));
    Some(Source::Proxied(source))
}

/// What a preface may take, TLVs included: more than any load balancer says.
pub const PREFACE_BYTES_MAX: usize = 4096;
/// What the specification gives a line of version 1, its end included.
pub const LINE_BYTES_MAX: usize = 107;
const LINE_START: &[u8] = b"PROXY ";
const LINE_END: &[u8] = b"\r\n";
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, command, family, length.
const HEAD_BYTES: usize = 16;
/// Version 2 with its two commands.
const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;
const UNSPECIFIED: u8 = 0x00;
const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;
const UNIX_STREAM: u8 = 0x31;
/// Two paths.
const UNIX_BYTES: usize = 216;
