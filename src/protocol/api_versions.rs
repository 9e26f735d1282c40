//! ApiVersions responses, versions 0 to 5 (KIP-35, KIP-511, KIP-1242): the broker's answer cut down to what the proxy
//! lets through.
//!
//! The response header has version 0 whatever the request's version. An answer with an error is passed on as it is:
//! UNSUPPORTED_VERSION (35) always has the body of version 0, and brokers differ in what they put into it. Features and
//! other tagged fields stay byte for byte, and none is added, since some clients cannot skip tagged fields that they do
//! not know.

use std::ops::Range;

use super::api_key::{API_VERSIONS, PRODUCE};
use super::cursor::Cursor;
use super::error::ProtocolError;
use super::error_code::{INVALID_REQUEST, NONE, UNSUPPORTED_VERSION};
use super::frame::skip_request_header;
use super::policy::Policy;
use super::splice::Splice;
use super::writer::{LengthForm, LengthSlot, put_array_len, put_i16, put_i32, put_uvarint};

/// Writes a broker's answer to an ApiVersions request of `version` with the versions that it and the policy know,
/// length prefix included. APIs that are denied, or of which no version is left, are removed.
pub fn intersect(frame: &[u8], version: i16, policy: Policy, out: &mut Vec<u8>) -> Result<(), ProtocolError> {
    let mut cursor = Cursor::new(frame);
    cursor.i32()?; // correlation id
    if cursor.i16()? != NONE {
        return Splice::emit(frame, out, |_| Ok(()));
    }
    if !(0..=5).contains(&version) {
        return Err(ProtocolError::UnsupportedVersion {
            api_key: API_VERSIONS,
            version,
        });
    }
    let flexible = version >= 3;
    let count_start = cursor.position();
    let count = cursor.array_len_non_null(flexible, if flexible { 7 } else { 6 })?;
    let count_field = count_start..cursor.position();
    let entries_start = cursor.clone();
    for _ in 0..count {
        ApiRange::parse(&mut cursor, flexible)?;
    }
    if version >= 1 {
        cursor.i32()?; // throttle time
    }
    cursor.skip_tagged_fields_if(flexible)?;
    cursor.expect_end()?;

    Splice::emit(frame, out, |splice| {
        let slot = splice.copy_slot(LengthForm::of(flexible), &count_field)?;
        let mut entries = entries_start;
        let mut kept = 0usize;
        for _ in 0..count {
            let entry = ApiRange::parse(&mut entries, flexible)?;
            match entry.offered(policy) {
                Some((min, max)) => {
                    splice.copy_to(entry.range.start)?;
                    put_i16(splice.out(), min);
                    put_i16(splice.out(), max);
                    splice.skip_to(entry.range.end)?;
                    splice.copy_to(entry.element.end)?;
                    kept = kept.saturating_add(1);
                }
                None => {
                    splice.copy_to(entry.element.start)?;
                    splice.skip_to(entry.element.end)?;
                }
            }
        }
        if kept == count {
            slot.leave();
            Ok(())
        } else {
            slot.fill(splice.out(), kept)
        }
    })
}

/// Writes the answer to an ApiVersions request of a version that the proxy does not let through, length prefix
/// included: error 35 in the body of version 0, which names the versions of ApiVersions to try instead (KIP-511).
pub fn write_unsupported_version(
    correlation_id: i32,
    policy: Policy,
    out: &mut Vec<u8>,
) -> Result<(), ProtocolError> {
    let (min, max) = policy
        .api(API_VERSIONS)
        .map_or((0, 0), |policy| (policy.min, policy.max));
    let length = LengthSlot::reserve(out, LengthForm::Int32, 0)?;
    put_i32(out, correlation_id);
    put_i16(out, UNSUPPORTED_VERSION);
    put_i32(out, 1);
    put_i16(out, API_VERSIONS);
    put_i16(out, min);
    put_i16(out, max);
    length.fill_with_content_len(out)
}

/// Whether an ApiVersions request, without its length, says what software has sent it, from version 3 on, in the form
/// that brokers ask for (KIP-511).
pub fn names_software(frame: &[u8], version: i16) -> Result<bool, ProtocolError> {
    let flexible = version >= 3;
    let mut cursor = Cursor::new(frame);
    skip_request_header(&mut cursor, flexible)?;
    if !flexible {
        return Ok(true);
    }
    let mut is_software = || cursor.text(true).map(is_software);
    Ok(is_software()? && is_software()?)
}

/// Letters and digits, and dots and dashes within.
fn is_software(text: &[u8]) -> bool {
    let may_be = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    let ends = [text.first(), text.last()];
    text.iter().all(may_be) && ends.iter().all(|end| end.is_some_and(u8::is_ascii_alphanumeric))
}

/// Writes the answer to a request of `version` that [`names_software`] does not take, length prefix included: error 42,
/// and no APIs.
pub fn write_invalid_request(
    correlation_id: i32,
    version: i16,
    out: &mut Vec<u8>,
) -> Result<(), ProtocolError> {
    let flexible = version >= 3;
    let length = LengthSlot::reserve(out, LengthForm::Int32, 0)?;
    put_i32(out, correlation_id);
    put_i16(out, INVALID_REQUEST);
    put_array_len(out, flexible, 0)?;
    if version >= 1 {
        put_i32(out, 0); // throttle time
    }
    if flexible {
        put_uvarint(out, 0);
    }
    length.fill_with_content_len(out)
}

/// What a broker has answered to a question of our own: each API with its lowest and highest version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OfferedApis(Vec<(i16, i16, i16)>);

impl OfferedApis {
    /// Reads an answer to an ApiVersions request of version 3, without its length; `None` for one with an error.
    pub fn parse(frame: &[u8]) -> Result<Option<Self>, ProtocolError> {
        let mut cursor = Cursor::new(frame);
        cursor.i32()?; // correlation id
        if cursor.i16()? != NONE {
            return Ok(None);
        }
        let count = cursor.array_len_non_null(true, 7)?;
        let mut apis = Vec::new();
        for _ in 0..count {
            let range = ApiRange::parse(&mut cursor, true)?;
            apis.push((range.key, range.min, range.max));
        }
        Ok(Some(Self(apis)))
    }

    /// Whether whoever was told of these may go on as if told of `other`.
    pub fn is_within(&self, other: &Self, policy: Policy) -> bool {
        let offered = |of: &Self| -> Vec<_> {
            let apis = of.0.iter();
            apis.filter_map(|&(key, min, max)| Some((key, offered(policy, key, min, max)?)))
                .collect()
        };
        let others = offered(other);
        offered(self).iter().all(|(key, (min, max))| {
            others.iter().any(|(other_key, (other_min, other_max))| {
                other_key == key && other_min <= min && max <= other_max
            })
        })
    }

    /// Writes the answer to a client's ApiVersions request of `version`, length included, as [`intersect`] would write
    /// the broker's, without the features that it has.
    pub fn write(
        &self,
        correlation_id: i32,
        version: i16,
        policy: Policy,
        out: &mut Vec<u8>,
    ) -> Result<(), ProtocolError> {
        let flexible = version >= 3;
        let apis: Vec<_> = self
            .0
            .iter()
            .filter_map(|&(key, min, max)| Some((key, offered(policy, key, min, max)?)))
            .collect();
        let length = LengthSlot::reserve(out, LengthForm::Int32, 0)?;
        put_i32(out, correlation_id);
        put_i16(out, NONE);
        put_array_len(out, flexible, apis.len())?;
        for (key, (min, max)) in apis {
            put_i16(out, key);
            put_i16(out, min);
            put_i16(out, max);
            if flexible {
                put_uvarint(out, 0);
            }
        }
        if version >= 1 {
            put_i32(out, 0); // throttle time
        }
        if flexible {
            put_uvarint(out, 0);
        }
        length.fill_with_content_len(out)
    }
}

/// One API that the broker offers.
struct ApiRange {
    key: i16,
    min: i16,
    max: i16,
    /// The lowest and highest version.
    range: Range<usize>,
    element: Range<usize>,
}

impl ApiRange {
    fn parse(cursor: &mut Cursor<'_>, flexible: bool) -> Result<Self, ProtocolError> {
        let start = cursor.position();
        let key = cursor.i16()?;
        let range_start = cursor.position();
        let min = cursor.i16()?;
        let max = cursor.i16()?;
        let range = range_start..cursor.position();
        cursor.skip_tagged_fields_if(flexible)?;
        Ok(Self {
            key,
            min,
            max,
            range,
            element: start..cursor.position(),
        })
    }

    fn offered(&self, policy: Policy) -> Option<(i16, i16)> {
        offered(policy, self.key, self.min, self.max)
    }
}

/// The versions that client and broker may use through the proxy, of those that a broker offers.
fn offered(policy: Policy, key: i16, min: i16, max: i16) -> Option<(i16, i16)> {
    let api = policy.api(key)?;
    // Brokers say 0 although they take 3 and above, because librdkafka before 2.11.1 stops compressing otherwise
    // (KAFKA-18659).
    let is_said_for_others = key == PRODUCE && min == 0;
    let least = min.max(api.told_from);
    let most = max.min(policy.max(api));
    (least <= most).then_some((if is_said_for_others { 0 } else { least }, most))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As brokers have it: `[a-zA-Z0-9](?:[a-zA-Z0-9\\-.]*[a-zA-Z0-9])?`
    #[test]
    fn software_has_a_name_and_a_version() {
        for (name, version, is_named) in [
            ("sarama", "1", true),
            ("apache-kafka.java", "4.3.1-SNAPSHOT", true),
            ("a", "0", true),
            ("", "1", false),
            ("a", "", false),
            ("-a", "1", false),
            ("a", "1.", false),
            ("a_b", "1", false),
            ("a", "1 2", false),
        ] {
            let mut frame = vec![0, 18, 0, 3, 0, 0, 0, 7, 0xff, 0xff, 0];
            for text in [name, version] {
                frame.push(u8::try_from(text.len() + 1).expect("short"));
                frame.extend_from_slice(text.as_bytes());
            }
            assert_eq!(names_software(&frame, 3), Ok(is_named), "{name:?} {version:?}");
            assert_eq!(names_software(&frame[..10], 2), Ok(true));
            assert!(names_software(&frame[..frame.len() - 1], 3) != Ok(true));
        }
    }

    fn intersected(frame: &[u8], version: i16) -> Vec<u8> {
        let mut out = Vec::new();
        intersect(frame, version, Policy::BY_NAME, &mut out).unwrap();
        out.split_off(4)
    }

    #[test]
    fn an_error_is_passed_on_as_it_is() {
        // Version 0's body although version 4 was asked; and what librdkafka's mock cluster makes of it.
        let broker: &[u8] = &[0, 0, 0, 7, 0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 4];
        let mock: &[u8] = &[0, 0, 0, 7, 0, 35, 2, 0, 18, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0];
        for frame in [broker, mock, &[0, 0, 0, 7, 0, 42]] {
            assert_eq!(intersected(frame, 4), frame);
            assert_eq!(intersected(frame, 99), frame);
        }
    }

    #[test]
    fn versions_and_keys_are_cut_down() {
        let frame = [
            0, 0, 0, 7, 0, 0, 0, 0, 0, 5, // five APIs
            0, 0, 0, 0, 0, 13, // Produce 0-13
            0, 1, 0, 4, 0, 18, // Fetch 4-18
            0, 58, 0, 0, 0, 0, // Envelope
            0, 2, 0, 12, 0, 14, // ListOffsets, newer than what is audited
            0, 3, 0, 2, 0, 3, // Metadata 2-3
        ];
        let max = |key| u8::try_from(Policy::BY_NAME.api(key).unwrap().max).unwrap();
        let expected = [
            0,
            0,
            0,
            7,
            0,
            0,
            0,
            0,
            0,
            3, //
            0,
            0,
            0,
            0,
            0,
            max(0), // the minimum of 0 stays
            0,
            1,
            0,
            4,
            0,
            max(1), //
            0,
            3,
            0,
            2,
            0,
            3,
        ];
        assert_eq!(intersected(&frame, 0), expected);
    }

    #[test]
    fn produce_keeps_only_a_minimum_of_zero() {
        let frame = [0, 0, 0, 7, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 9];
        assert_eq!(
            intersected(&frame, 0),
            [0, 0, 0, 7, 0, 0, 0, 0, 0, 1, 0, 0, 0, 3, 0, 9]
        );
        // A broker that has nothing in common offers no Produce at all.
        let frame = [0, 0, 0, 7, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 2];
        assert_eq!(intersected(&frame, 0), [0, 0, 0, 7, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn a_refused_version_is_answered_in_the_form_that_all_clients_read() {
        let mut out = vec![0xee];
        write_unsupported_version(-2, Policy::BY_NAME, &mut out).unwrap();
        let expected = [
            0xee, 0, 0, 0, 16, 0xff, 0xff, 0xff, 0xfe, 0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 5,
        ];
        assert_eq!(out, expected);
    }

    /// What others write is read; what we write is what `intersect` makes of it.
    #[test]
    fn what_a_broker_offers_is_told_on_as_if_it_had_been_asked() {
        use bytes::BytesMut;
        use kafka_protocol::messages::ApiVersionsResponse;
        use kafka_protocol::messages::api_versions_response::ApiVersion;
        use kafka_protocol::protocol::Encodable as _;
        let apis: Vec<_> = [
            (0, 0, 13),
            (1, 4, 17),
            (3, 0, 13),
            (18, 0, 4),
            (58, 0, 0),
            (999, 0, 1),
        ]
        .map(|(key, min, max)| {
            ApiVersion::default()
                .with_api_key(key)
                .with_min_version(min)
                .with_max_version(max)
        })
        .into();
        let answer = ApiVersionsResponse::default().with_api_keys(apis);
        let frame = |version: i16| {
            let mut frame = BytesMut::from(&7i32.to_be_bytes()[..]);
            answer.encode(&mut frame, version).expect("an answer");
            frame.to_vec()
        };
        let offered = OfferedApis::parse(&frame(3))
            .expect("it is read")
            .expect("no error");
        for version in 0..=3 {
            let mut out = Vec::new();
            offered
                .write(7, version, Policy::BY_NAME, &mut out)
                .expect("written");
            let frame_bytes = u32::from_be_bytes(*out.first_chunk().expect("a length"));
            assert_eq!(usize::try_from(frame_bytes), Ok(out.len() - 4));
            assert_eq!(
                out.split_off(4),
                intersected(&frame(version), version),
                "version {version}"
            );
        }
        let mut error = frame(3);
        error[5] = 35;
        assert_eq!(OfferedApis::parse(&error), Ok(None));
        for end in 0..frame(3).len() - 10 {
            assert!(OfferedApis::parse(&frame(3)[..end]).is_err(), "{end}");
        }
    }

    /// OFFERED-2
    #[test]
    fn who_was_told_more_than_there_is_does_not_fit() {
        let of = |apis: &[(i16, i16, i16)]| OfferedApis(apis.to_vec());
        let told = of(&[(3, 1, 9), (1, 4, 17), (999, 0, 1)]);
        let fits = |apis: &[(i16, i16, i16)]| told.is_within(&of(apis), Policy::BY_NAME);
        assert!(fits(&[(3, 0, 13), (1, 4, 12)]), "Fetch beyond 12 was not told");
        assert!(!fits(&[(3, 0, 8), (1, 4, 17)]));
        assert!(!fits(&[(3, 2, 13), (1, 4, 17)]));
        assert!(!fits(&[(3, 0, 13)]));
    }
}
