//! What the first bytes of a connection look like where they are not what was expected: for the log, so that somebody
//! who configured another protocol is told which. Nothing is decided by it, but that nobody is sent an alert who does
//! not speak TLS.

/// What is spoken at a port that expects something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Preface {
    /// A TLS ClientHello (RFC 8446, 5.1: a handshake record).
    Tls,
    /// The method of an HTTP request.
    Http,
    /// A load balancer's PROXY header, version 1 or 2.
    ProxyProtocol,
    /// A Kafka request, where TLS is expected.
    Kafka,
}

impl Preface {
    /// What `bytes`, the first of a connection, look like; `None`: nothing that is known.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        const HTTP: [&[u8]; 6] = [b"GET ", b"POST ", b"HEAD ", b"PUT ", b"OPTIONS ", b"PRI * HTTP/2"];
        match bytes {
            // Handshake, major version 3, any minor version and length, ClientHello.
            [0x16, 3, _, _, _, 1, ..] => Some(Self::Tls),
            [b'P', b'R', b'O', b'X', b'Y', b' ', ..] => Some(Self::ProxyProtocol),
            [b'\r', b'\n', b'\r', b'\n', 0, b'\r', b'\n', b'Q', ..] => Some(Self::ProxyProtocol),
            _ if HTTP.iter().any(|method| bytes.starts_with(method)) => Some(Self::Http),
            _ => None,
        }
    }

    /// What `bytes`, the first of a connection, look like where TLS is expected; `None`: nothing else that is known.
    pub fn instead_of_tls(bytes: &[u8]) -> Option<Self> {
        match bytes {
            // A length of less than 16 MiB, and the first half of an API key. No record of TLS begins with a zero.
            [0, _, _, _, 0, ..] => Some(Self::Kafka),
            _ => Self::of(bytes).filter(|preface| *preface != Self::Tls),
        }
    }

    /// In words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tls => "a TLS ClientHello",
            Self::Http => "an HTTP request",
            Self::ProxyProtocol => "a PROXY header of a load balancer",
            Self::Kafka => "a Kafka request without TLS",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_protocols_are_told_from_kafkas() {
        let hello = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, 0];
        assert_eq!(Preface::of(&hello), Some(Preface::Tls));
        for request in [&b"GET /metrics HTTP/1.1"[..], b"PRI * HTTP/2.0\r\n"] {
            assert_eq!(Preface::of(request), Some(Preface::Http));
        }
        for header in [&b"PROXY TCP4 "[..], b"\r\n\r\n\0\r\nQUIT\n"] {
            assert_eq!(Preface::of(header), Some(Preface::ProxyProtocol));
        }
        // ApiVersions 3 of a length that begins as a ClientHello does not.
        let api_versions = [0, 0, 0, 0x16, 0, 18, 0, 3, 0, 0, 0, 1];
        for other in [&api_versions[..], b"GE", b"", &hello[..5], &[0x16, 3, 1, 2, 0, 2]] {
            assert_eq!(Preface::of(other), None);
        }
        let where_tls_is_expected = [
            (&api_versions[..], Some(Preface::Kafka)),
            (&api_versions[..5], Some(Preface::Kafka)),
            (&api_versions[..4], None),
            (b"GET / HTTP/1.1", Some(Preface::Http)),
            (b"PROXY TCP4 ", Some(Preface::ProxyProtocol)),
            (&hello, None),
            (b"", None),
        ];
        for (bytes, expected) in where_tls_is_expected {
            assert_eq!(Preface::instead_of_tls(bytes), expected, "{bytes:?}");
        }
    }
}
