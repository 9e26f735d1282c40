//! Elements of DER, one behind the other. A library that skips what it does not understand would show a part of a name
//! for the whole.

/// An element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Element<'d> {
    /// Class, form and number, in one byte.
    pub(super) tag: u8,
    pub(super) content: &'d [u8],
    /// Tag, length and content.
    pub(super) whole: &'d [u8],
}

/// What stands in an element of this tag, if all of it is elements; `bytes` is nothing else.
pub(super) fn parts(bytes: &[u8], tag: u8) -> Option<Vec<Element<'_>>> {
    match all(bytes)?.as_slice() {
        [one] if one.tag == tag => all(one.content),
        _ => None,
    }
}

fn all(mut bytes: &[u8]) -> Option<Vec<Element<'_>>> {
    let mut elements = Vec::new();
    while !bytes.is_empty() {
        let (element, behind) = first(bytes)?;
        elements.push(element);
        bytes = behind;
    }
    Some(elements)
}

fn first(bytes: &[u8]) -> Option<(Element<'_>, &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    // Of a number of its own behind it, which nothing in a name has.
    if tag & NUMBER == NUMBER {
        return None;
    }
    let (&length, rest) = rest.split_first()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(length), rest),
        0x81 => {
            let (long, rest) = rest.split_first()?;
            (usize::from(*long), rest)
        }
        0x82 => {
            let (long, rest) = rest.split_first_chunk()?;
            (usize::from(u16::from_be_bytes(*long)), rest)
        }
        _ => return None,
    };
    let (content, behind) = rest.split_at_checked(length)?;
    let whole = bytes.get(..bytes.len().checked_sub(behind.len())?)?;
    Some((Element { tag, content, whole }, behind))
}

const NUMBER: u8 = 0x1f;
