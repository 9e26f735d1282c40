//! Properties of sealing and opening over arbitrary records, and the constants that are for ever.

mod compact;

use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;

use super::seal::{COUNTER_MAX, DOMAIN_HINT_BYTES, FORMAT_RECORD_SEAL};
use super::*;
use crate::crypto::SecretKey;
use crate::crypto::xaes::{SALT_BYTES, TAG_BYTES};
use crate::record_batch::varint::{put_varint, put_varlong};
use crate::record_batch::{RecordLayout, headers, parse_record};

/// A change here is a new format, not a new value.
#[test]
fn constants_are_pinned() {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let pinned = [
        format!("marker {}", text(MARKER)),
        format!("context {}", text(additional_data::CONTEXT)),
        format!("record key info {}", text(crate::crypto::RECORD_KEY_INFO)),
        format!("format {FORMAT_RECORD_SEAL}"),
        format!(
            "domain hint {DOMAIN_HINT_BYTES}, at most {}",
            domain::DOMAIN_BYTES_MAX
        ),
        format!("wrapped DEK at most {WRAPPED_DEK_BYTES_MAX}"),
        format!("salt {SALT_BYTES}"),
        format!("counter at most {COUNTER_MAX}"),
        format!("tag {TAG_BYTES}"),
        format!(
            "stable keys: info {}, check {} of {}, format {}, id of {}, {} bytes longer",
            text(crate::crypto::STABLE_KEY_INFO),
            text(crate::crypto::KEY_CHECK_INFO),
            crate::crypto::KEY_CHECK_BYTES,
            stable_key::FORMAT_SEALED_KEY,
            stable_key::STABLE_KEY_ID_BYTES,
            stable_key::SEALED_KEY_BYTES,
        ),
        format!(
            "providers {:?}",
            (1..=8).map(wrapped_dek::provider::name).collect::<Vec<_>>()
        ),
    ];
    let expected = [
        "marker sealwire",
        "context sealwire/1",
        "record key info sealwire/1/record",
        "format 1",
        "domain hint 4, at most 65535",
        "wrapped DEK at most 2048",
        "salt 12",
        "counter at most 2147483647",
        "tag 16",
        "stable keys: info sealwire/1/key, check sealwire/1/key-check of 16, format 1, id of 4, 21 bytes longer",
        "providers [Some(\"file keystore\"), Some(\"Vault transit\"), Some(\"AWS KMS\"), Some(\"Azure Key Vault\"), \
         Some(\"Google Cloud KMS\"), Some(\"PKCS#11\"), Some(\"branch key\"), None]",
    ];
    assert_eq!(pinned, expected);
    let parts = |headers, key_sealed| Parts { headers, key_sealed }.to_byte();
    let bytes = [HeaderMode::Free, HeaderMode::Bound, HeaderMode::Sealed]
        .map(|mode| (parts(mode, false), parts(mode, true)));
    assert_eq!(bytes, [(0, 4), (1, 5), (2, 6)]);
}

type Bytes = Vec<u8>;

fn put_nullable(out: &mut Bytes, bytes: Option<&[u8]>) {
    put_varint(out, bytes.map_or(-1, |bytes| i32::try_from(bytes.len()).unwrap()));
    out.extend_from_slice(bytes.unwrap_or_default());
}

prop_compose! {
    fn record()(
        attributes in any::<u8>(),
        timestamp_delta in any::<i64>(),
        offset_delta in any::<i32>(),
        key in proptest::option::of(vec(any::<u8>(), 0..80)),
        value in proptest::option::of(vec(any::<u8>(), 0..400)),
        headers in vec((vec(any::<u8>(), 0..20), proptest::option::of(vec(any::<u8>(), 0..80))), 0..6),
    ) -> Bytes {
        let mut body = vec![attributes];
        put_varlong(&mut body, timestamp_delta);
        put_varint(&mut body, offset_delta);
        put_nullable(&mut body, key.as_deref());
        put_nullable(&mut body, value.as_deref());
        put_varint(&mut body, i32::try_from(headers.len()).unwrap());
        for (key, value) in &headers {
            put_nullable(&mut body, Some(key));
            put_nullable(&mut body, value.as_deref());
        }
        let mut record = Vec::new();
        put_varint(&mut record, i32::try_from(body.len()).unwrap());
        record.extend(body);
        record
    }
}

fn mode() -> impl Strategy<Value = HeaderMode> {
    prop_oneof![
        Just(HeaderMode::Free),
        Just(HeaderMode::Bound),
        Just(HeaderMode::Sealed)
    ]
}

fn wrapped_dek() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 1..200)
}

fn dek() -> SecretKey {
    SecretKey::from_bytes(&mut [0x42; 32]).unwrap()
}

/// A domain whose keys are sealed, or are not.
fn accepted(domain: &str, keys_sealed: bool) -> AcceptedDomain {
    let domain = Domain::new(domain).unwrap();
    let stable_key = SecretKey::from_bytes(&mut [0x17; 32]).unwrap();
    let id = StableKeyId::of_wrapped(b"wrapped");
    let key = keys_sealed.then(|| Arc::new(DomainKey::new(&stable_key, id, &domain).unwrap()));
    AcceptedDomain { domain, key }
}

fn terms(accepted: &AcceptedDomain, mode: HeaderMode) -> SealTerms<'_> {
    SealTerms {
        keys: accepted.key.as_ref(),
        ..SealTerms::new(&accepted.domain, mode)
    }
}

fn seal_batch(clear: &[Bytes], wrapped: &[u8], accepted: &AcceptedDomain, mode: HeaderMode) -> Bytes {
    let key = SealingKey::new(&dek(), wrapped).unwrap();
    let mut sealer = key
        .begin(
            &mut SaltSource::new(0),
            &BatchPlace::default(),
            &terms(accepted, mode),
            SealBuffers::default(),
        )
        .unwrap();
    let mut out = Vec::new();
    for record in clear {
        let layout = parse_record(record, 0).unwrap();
        let most = out.len() + sealer.sealed_bytes_max(&layout);
        sealer.seal_record(record, &layout, &mut out).unwrap();
        assert!(out.len() <= most);
    }
    out
}

fn layouts(batch: &[u8]) -> Vec<RecordLayout> {
    let mut all: Vec<RecordLayout> = Vec::new();
    while let at = all.last().map_or(0, |last| last.end)
        && at < batch.len()
    {
        all.push(parse_record(batch, at).unwrap());
    }
    all
}

proptest! {
    /// SEALING-4
    #[test]
    fn sealed_batches_open_to_what_they_were(
        clear in vec(record(), 1..5),
        wrapped in wrapped_dek(),
        name in "[a-z.]{1,30}",
        mode in mode(),
        keys_sealed in any::<bool>(),
    ) {
        let domain = accepted(&name, keys_sealed);
        let mut sealed = seal_batch(&clear, &wrapped, &domain, mode);
        let key = OpeningKey::new(&dek(), &wrapped).unwrap();
        let (mut opener, mut out) = (Opener::default(), Vec::new());
        for (number, record) in layouts(&sealed).iter().enumerate() {
            let form = form_of(&sealed, record).unwrap();
            prop_assert_eq!(form.format(), Some(FORMAT_RECORD_SEAL));
            let Form::RecordSeal(marker) = form else { panic!("sealed") };
            prop_assert_eq!(marker.wrapped_dek(&sealed), &wrapped[..]);
            let first_header = headers(&sealed, record).next().unwrap().unwrap();
            prop_assert_eq!(marker.header(), first_header.span);
            prop_assert_eq!(marker.seal().counter as usize, number);
            let marked = marker.in_record(record);
            opener
                .open_record(&key, &mut sealed, marked, std::slice::from_ref(&domain), &mut out)
                .unwrap();
        }
        prop_assert_eq!(out, clear.concat());
    }

    /// SEALING-3
    #[test]
    fn what_a_broker_needs_is_unchanged_and_the_rest_unreadable(
        clear in record(),
        mode in mode(),
        keys_sealed in any::<bool>(),
    ) {
        let domain = accepted("orders", keys_sealed);
        let sealed = seal_batch(std::slice::from_ref(&clear), b"wrapped", &domain, mode);
        let (was, is) = (parse_record(&clear, 0).unwrap(), parse_record(&sealed, 0).unwrap());
        prop_assert_eq!(was.fixed.of(&clear), is.fixed.of(&sealed));
        let stored_key = is.key.map(|key| key.of(&sealed));
        match (was.key.map(|key| key.of(&clear)), stored_key, &domain.key) {
            (Some(key), Some(stored), Some(by)) => {
                let mut again = Vec::new();
                by.seal(key, &mut again).unwrap();
                prop_assert_eq!(stored, again);
            }
            (key, stored, _) => prop_assert_eq!(key, stored),
        }
        prop_assert_eq!(was.value.map(|value| value.len()), is.value.map(|value| value.len()));
        prop_assert!(is.end == sealed.len());
        let walked: Vec<_> = headers(&sealed, &is).map(Result::unwrap).collect();
        prop_assert_eq!(walked[0].key.of(&sealed), MARKER);
        let unreadable = |plain: &[u8]| plain.len() < 8 || !sealed.windows(plain.len()).any(|window| window == plain);
        prop_assert!(was.value.is_none_or(|value| unreadable(value.of(&clear))));
        prop_assert!(!keys_sealed || was.key.is_none_or(|key| unreadable(key.of(&clear))));
        if mode == HeaderMode::Sealed {
            prop_assert_eq!(walked.len(), 1);
            prop_assert!(unreadable(was.headers.of(&clear)));
        } else {
            prop_assert_eq!(walked.len(), was.header_count + 1);
            prop_assert!(sealed.ends_with(&clear[was.first_header..]));
        }
    }

    #[test]
    fn one_batch_sealed_twice_shares_nothing(clear in record()) {
        let domain = accepted("orders", false);
        let seal = || seal_batch(std::slice::from_ref(&clear), b"wrapped", &domain, HeaderMode::Sealed);
        prop_assert_ne!(seal(), seal());
    }

    /// Whatever bytes come from a broker: an answer, no panic, and nothing comes out that was not sealed.
    ///
    /// OPEN-1, OPEN-3
    #[test]
    fn altered_bytes_never_open_to_something_else(
        clear in record(),
        mode in prop_oneof![Just(HeaderMode::Bound), Just(HeaderMode::Sealed)],
        keys_sealed in any::<bool>(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let domain = accepted("orders", keys_sealed);
        let mut stored = seal_batch(std::slice::from_ref(&clear), b"wrapped", &domain, mode);
        for (at, byte) in changes {
            let at = at.index(stored.len());
            stored[at] = byte;
        }
        let key = OpeningKey::new(&dek(), b"wrapped").unwrap();
        let mut out = Vec::new();
        let Ok(record) = parse_record(&stored, 0) else { return Ok(()) };
        let Ok(Form::RecordSeal(marker)) = form_of(&stored, &record) else { return Ok(()) };
        let before = stored.clone();
        let domains = [domain];
        let marked = marker.in_record(&record);
        let opened = Opener::default().open_record(&key, &mut stored, marked, &domains, &mut out);
        prop_assert_eq!(stored, before);
        match opened {
            Err(_) => prop_assert!(out.is_empty()),
            Ok(()) => {
                // Only attributes and deltas can differ, and in which negative number a length says null (RECORD-2).
                let (was, is) = (parse_record(&clear, 0).unwrap(), parse_record(&out, 0).unwrap());
                prop_assert_eq!(was.key.map(|key| key.of(&clear)), is.key.map(|key| key.of(&out)));
                prop_assert_eq!(was.value.map(|value| value.of(&clear)), is.value.map(|value| value.of(&out)));
                prop_assert_eq!(was.header_count, is.header_count);
                prop_assert_eq!(&clear[was.first_header..], &out[is.first_header..]);
            }
        }
    }

    #[test]
    fn random_seals_never_panic(
        value in vec(any::<u8>(), 0..40),
        mut seal in vec(any::<u8>(), 0..160),
        parts in 0u8..8,
        length in 0u8..80,
    ) {
        let [a, b, c, d] = Domain::new("orders").unwrap().hint();
        for (place, byte) in seal.iter_mut().zip([1, parts, a, b, c, d, length]) {
            *place = byte;
        }
        let mut body = vec![0, 0, 0, 1];
        put_nullable(&mut body, Some(&value));
        put_varint(&mut body, 1);
        put_nullable(&mut body, Some(MARKER));
        put_nullable(&mut body, Some(&seal));
        let mut stored = Vec::new();
        put_varint(&mut stored, i32::try_from(body.len()).unwrap());
        stored.extend(body);
        let record = parse_record(&stored, 0).unwrap();
        if let Ok(Form::RecordSeal(marker)) = form_of(&stored, &record) {
            let key = OpeningKey::new(&dek(), marker.wrapped_dek(&stored)).unwrap();
            let domains = [accepted("orders", true)];
            let marked = marker.in_record(&record);
            let opened = Opener::default().open_record(&key, &mut stored, marked, &domains, &mut Vec::new());
            prop_assert!(opened.is_err());
        }
    }
}
