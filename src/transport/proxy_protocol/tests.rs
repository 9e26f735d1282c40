//! The preface beside another implementation, cut at every byte, and mutated.

use proptest::prelude::*;
use proxy_header::{ParseConfig, ProxiedAddress, ProxyHeader, Tlv};

use super::*;

fn at(text: &str) -> SocketAddr {
    text.parse().expect("an address with a port")
}

fn v2(command: u8, family: u8, said: &[u8]) -> Vec<u8> {
    let length = u16::try_from(said.len()).expect("a length");
    [SIGNATURE, &[command, family], &length.to_be_bytes(), said].concat()
}

/// PREFACE-1: every part of it is a part, and what follows is not looked at.
fn is_preface(preface: &[u8], source: Source) {
    let whole = Parsed::Whole {
        bytes: preface.len(),
        source,
    };
    for cut in 0..preface.len() {
        match parse(&preface[..cut]) {
            Ok(Parsed::More { at_most }) => assert!(at_most >= preface.len() - cut, "{cut}"),
            other => panic!("{cut} bytes of {preface:?}: {other:?}"),
        }
    }
    for behind in [&b""[..], b"\r\n", b"PROXY TCP4", &[0; 300], &[0xff; 5000]] {
        assert_eq!(parse(&[preface, behind].concat()), Ok(whole));
    }
}

#[test]
fn every_kind_of_preface_is_understood() {
    let four = Source::Proxied(at("192.0.2.1:56324"));
    let six = Source::Proxied(at("[2001:db8::1]:0"));
    is_preface(b"PROXY TCP4 192.0.2.1 203.0.113.2 56324 443\r\n", four);
    is_preface(b"PROXY TCP6 2001:db8::1 ::ffff:1.2.3.4 0 65535\r\n", six);
    is_preface(b"PROXY UNKNOWN\r\n", Source::Own);
    is_preface(b"PROXY UNKNOWN ffff::1 and whatever \r or \n\r\n", Source::Own);
    let four_said = [192, 0, 2, 1, 203, 0, 113, 2, 0xdc, 0x04, 1, 187];
    let six_said = ["2001:db8::1", "::"].map(|text| Ipv6Addr::from_str(text).expect("an address").octets());
    let six_said = [&six_said.concat()[..], &[0, 0, 1, 187]].concat();
    is_preface(&v2(PROXY, TCP_OVER_IPV4, &four_said), four);
    is_preface(&v2(PROXY, TCP_OVER_IPV6, &six_said), six);
    is_preface(
        &v2(PROXY, TCP_OVER_IPV4, &[&four_said[..], b"\x04\0\x02ab"].concat()),
        four,
    );
    is_preface(&v2(PROXY, UNSPECIFIED, b""), Source::Own);
    is_preface(&v2(PROXY, UNIX_STREAM, &[b'/'; UNIX_BYTES]), Source::Own);
    for family in [UNSPECIFIED, TCP_OVER_IPV4, 0x77, 0xff] {
        is_preface(&v2(LOCAL, family, b""), Source::Own);
        is_preface(&v2(LOCAL, family, &four_said), Source::Own);
    }
}

/// PREFACE-3
#[test]
fn the_longest_preface_is_taken_and_one_that_is_longer_is_not() {
    let line = |bytes: usize| {
        let said = "x".repeat(bytes - "PROXY UNKNOWN \r\n".len());
        format!("PROXY UNKNOWN {said}\r\n").into_bytes()
    };
    is_preface(&line(LINE_BYTES_MAX), Source::Own);
    let too_long = Err(Refusal::TooLong(LINE_BYTES_MAX));
    let longer = line(LINE_BYTES_MAX + 1);
    assert_eq!(parse(&longer), too_long);
    assert_eq!(
        parse(&longer[..LINE_BYTES_MAX]),
        too_long,
        "its end cannot come any more"
    );
    assert_eq!(
        parse(&longer[..LINE_BYTES_MAX - 1]),
        Ok(Parsed::More { at_most: 1 })
    );
    let said = vec![7; PREFACE_BYTES_MAX - HEAD_BYTES];
    is_preface(&v2(LOCAL, UNSPECIFIED, &said), Source::Own);
    let longer = v2(LOCAL, UNSPECIFIED, &[&said[..], &[7]].concat());
    assert_eq!(
        parse(&longer[..HEAD_BYTES]),
        Err(Refusal::TooLong(PREFACE_BYTES_MAX)),
        "before it has come"
    );
}

/// PREFACE-2
#[test]
fn what_is_no_preface_is_refused_at_the_first_byte_that_shows_it() {
    let api_versions = [0, 0, 0, 20, 0, 18, 0, 3];
    let hello = [0x16, 3, 1, 2, 0];
    for other in [
        &api_versions[..],
        &hello,
        b"GET / HTTP/1.1\r\n",
        b"PROXYTCP4 ",
        b"\r\n\r\n\0\r\nQUIX",
    ] {
        let shown_at = (0..other.len())
            .find(|cut| parse(&other[..=*cut]).is_err())
            .expect("it is refused");
        assert!(matches!(parse(&other[..shown_at]), Ok(Parsed::More { .. })));
        assert_eq!(parse(&other[..=shown_at]), Err(Refusal::NotAPreface));
        let (line, binary) = (LINE_START.get(shown_at), SIGNATURE.get(shown_at));
        assert!(
            line != Some(&other[shown_at]) || binary != Some(&other[shown_at]),
            "{other:?}"
        );
    }
    assert_eq!(
        parse(&v2(0x11, TCP_OVER_IPV4, b"")[..13]),
        Err(Refusal::Command(0x11))
    );
    assert_eq!(
        parse(&v2(0x22, TCP_OVER_IPV4, b"")[..13]),
        Err(Refusal::Command(0x22))
    );
}

#[test]
fn what_a_preface_says_has_to_be_exact() {
    for said in [
        "TCP4 192.0.2.1 203.0.113.2 56324",
        "TCP4 192.0.2.1 203.0.113.2 56324 443 ",
        "TCP4 192.0.2.1 203.0.113.2 56324 443 x",
        "TCP4  192.0.2.1 203.0.113.2 56324 443",
        "TCP4 192.0.2.1 203.0.113.2 56324 65536",
        "TCP4 192.0.2.1 203.0.113.2 +1 443",
        "TCP4 192.0.2.1 203.0.113.2 01 443",
        "TCP4 192.0.2.1 203.0.113.2 -1 443",
        "TCP4 192.0.2.1 203.0.113.2  443",
        "TCP4 192.0.2.01 203.0.113.2 1 443",
        "TCP4 192.0.2 203.0.113.2 1 443",
        "TCP4 2001:db8::1 203.0.113.2 1 443",
        "TCP6 192.0.2.1 203.0.113.2 1 443",
        "TCP6 [2001:db8::1] ::1 1 443",
        "TCP6 fe80::1%2 ::1 1 443",
        "TCP5 192.0.2.1 203.0.113.2 1 443",
        "tcp4 192.0.2.1 203.0.113.2 1 443",
        "UNKNOWNS",
        "UDP4 192.0.2.1 203.0.113.2 1 443",
        "",
    ] {
        assert_eq!(
            parse(format!("PROXY {said}\r\n").as_bytes()),
            Err(Refusal::Line),
            "{said}"
        );
    }
    assert_eq!(parse(b"PROXY TCP4 \xff\r\n"), Err(Refusal::Line));
    for (family, bytes) in [
        (TCP_OVER_IPV4, 12),
        (TCP_OVER_IPV6, 36),
        (UNIX_STREAM, UNIX_BYTES),
    ] {
        assert!(parse(&v2(PROXY, family, &vec![1; bytes])).is_ok());
        let shorter = v2(PROXY, family, &vec![1; bytes - 1]);
        assert_eq!(parse(&shorter), Err(Refusal::Addresses));
    }
    // Datagrams, and what there is not.
    for family in [0x12, 0x22, 0x32, 0x10, 0x01, 0x41, 0xff] {
        assert_eq!(parse(&v2(PROXY, family, &[1; 300])), Err(Refusal::Family(family)));
    }
}

/// As the crate `proxy-header` writes it, which is the oracle here.
fn written() -> impl Strategy<Value = (Vec<u8>, Source)> {
    let addresses = prop_oneof![
        any::<[(Ipv4Addr, u16); 2]>().prop_map(|pair| pair.map(SocketAddr::from)),
        any::<[(Ipv6Addr, u16); 2]>().prop_map(|pair| pair.map(SocketAddr::from)),
    ];
    let tlv = prop::collection::vec(any::<u8>(), 0..100);
    (prop::option::of(addresses), any::<bool>(), prop::option::of(tlv)).prop_map(|(pair, is_line, tlv)| {
        let source = pair.map_or(Source::Own, |[source, _]| Source::Proxied(source));
        let mut header = pair.map_or_else(ProxyHeader::with_local, |[source, destination]| {
            ProxyHeader::with_address(ProxiedAddress::stream(source, destination))
        });
        let mut bytes = Vec::new();
        match (is_line, tlv) {
            (true, _) => header.encode_v1(&mut bytes).expect("a line"),
            (_, None) => header.encode_v2(&mut bytes).expect("a header"),
            (_, Some(tlv)) => {
                header.append_tlv(Tlv::Custom(0xe0, tlv.into()));
                header.encode_v2(&mut bytes).expect("a header");
            }
        }
        (bytes, source)
    })
}

proptest! {
    #[test]
    fn what_another_implementation_writes_is_understood((bytes, source) in written()) {
        is_preface(&bytes, source);
    }

    /// Nothing panics, and what is taken for a preface the oracle takes for the same.
    #[test]
    fn whatever_is_made_of_it_is_a_preface_to_the_oracle_too(
        (mut bytes, _) in written(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        behind in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        bytes.extend(behind);
        if let Ok(Parsed::Whole { bytes: length, source }) = parse(&bytes) {
            let is_local = bytes.starts_with(SIGNATURE) && bytes[12] == LOCAL;
            let (header, oracles) = match ProxyHeader::parse(&bytes, ParseConfig::default()) {
                Ok(parsed) => parsed,
                // It looks at addresses that are not to be looked at.
                Err(_) if is_local => return Ok(()),
                Err(error) => panic!("{bytes:?}: {error}"),
            };
            prop_assert_eq!(oracles, length);
            let oracles = header.proxied_address().map_or(Source::Own, |found| Source::Proxied(found.source));
            prop_assert_eq!(oracles, source);
        }
    }

    #[test]
    fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..300), start in 0..4_usize) {
        let start = [&b""[..], LINE_START, SIGNATURE, b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"][start];
        let bytes = [start, &bytes].concat();
        if let Ok(Parsed::Whole { bytes: length, .. }) = parse(&bytes) {
            prop_assert!(length <= bytes.len() && length <= PREFACE_BYTES_MAX);
        }
    }
}
