//! Text from outside (names that clients and brokers send, names in stored records) as a log line or a terminal may
//! show it.
//!
//! - FOREIGN-1: what is shown is printable ASCII: a control character, a line feed, or a character that changes the
//!   direction of what stands around it is spelt out, and so is the backslash with which it is spelt. Kafka's own names
//!   are ASCII.
//! - FOREIGN-2: what is shown is bounded, and what was cut says how long it was.
//!
//! Names that our own configuration wrote are not foreign. Any thread.

use std::fmt::{self, Display, Formatter};

/// A foreign text, to be shown; see the module.
#[derive(Clone, Copy, Debug)]
pub struct Foreign<'a>(&'a [u8]);

impl<'a> Foreign<'a> {
    /// Shows at most [`SHOWN_BYTES_MAX`] bytes of the text.
    pub fn new(text: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        Self(text.as_ref())
    }
}

impl Display for Foreign<'_> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let Self(bytes) = self;
        match bytes.get(..SHOWN_BYTES_MAX) {
            Some(shown) if shown.len() < bytes.len() => {
                write!(formatter, "{}...({} bytes)", shown.escape_ascii(), bytes.len())
            }
            _ => write!(formatter, "{}", bytes.escape_ascii()),
        }
    }
}

/// A word of a command that can be pasted into a shell.
pub(crate) fn shell_word(text: &str) -> String {
    let is_printable = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    let shown = match is_printable {
        true => text.to_owned(),
        false => Foreign::new(text).to_string(),
    };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:,+@%=".contains(&byte);
    match !shown.is_empty() && shown.bytes().all(is_plain) {
        true => shown,
        false => format!("'{}'", shown.replace('\'', r"'\''")),
    }
}

/// The longest name of a topic that Kafka allows, and of a KEK in a record.
pub const SHOWN_BYTES_MAX: usize = 255;

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// What has been used to write into other people's terminals and logs.
    pub(crate) const HOSTILE: &str = "a\n2026-01-01 WARN sealwire::audit: \
        refused\r\x1b[2J\x07\0\u{9b}31m\u{85}\u{2028}\u{202e}\u{2066}\u{200b}\u{feff}\u{e0041}";

    pub(crate) fn is_printable(text: &str) -> bool {
        text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
    }

    #[test]
    fn what_is_pasted_stays_one_word() {
        assert_eq!(shell_word("keys/orders-1.json"), "keys/orders-1.json");
        assert_eq!(shell_word("customers-*"), "'customers-*'");
        assert_eq!(shell_word("it's"), r"'it'\''s'");
        assert_eq!(shell_word(""), "''");
        assert!(is_printable(&shell_word(HOSTILE)));
    }

    /// FOREIGN-1
    #[test]
    fn nothing_but_printable_ascii_is_shown() {
        let shown = Foreign::new(HOSTILE).to_string();
        assert!(is_printable(&shown), "{shown:?}");
        for byte in 0..=u8::MAX {
            assert!(is_printable(&Foreign::new(&[byte]).to_string()), "{byte}");
        }
        assert_eq!(Foreign::new("payments-1.eu_x").to_string(), "payments-1.eu_x");
        assert_eq!(Foreign::new(b"\x1b[2J").to_string(), "\\x1b[2J");
        assert_eq!(
            Foreign::new("\\x1b").to_string(),
            "\\\\x1b",
            "the spelling cannot be faked"
        );
    }

    /// FOREIGN-2
    #[test]
    fn what_is_longer_than_the_bound_is_cut_and_says_so() {
        let name = "x".repeat(SHOWN_BYTES_MAX);
        assert_eq!(Foreign::new(&name).to_string(), name);
        let longer = "x".repeat(SHOWN_BYTES_MAX + 1);
        assert_eq!(Foreign::new(&longer).to_string(), format!("{name}...(256 bytes)"));
        // In the middle of a character, too.
        let split = format!("{}é", "x".repeat(SHOWN_BYTES_MAX - 1));
        assert!(Foreign::new(&split).to_string().ends_with("x\\xc3...(256 bytes)"));
    }
}
