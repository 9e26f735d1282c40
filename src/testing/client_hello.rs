//! A ClientHello written by hand: for names that no library would ask for.

/// A ClientHello (RFC 8446, 4.1.2) that asks for `name` and says else what it has to, in records of 16 KiB.
///
/// # Panics
/// Where there is no room for the name: 65 500 bytes.
pub fn client_hello(name: &[u8]) -> Vec<u8> {
    let host = [&[0][..], &with_length(name)].concat();
    let server_name = extension(0, &with_length(&host));
    // ECDSA with P-256 and SHA-256.
    let signature_algorithms = extension(13, &with_length(&[4, 3]));
    let supported_versions = extension(43, &[2, 3, 4]);
    let extensions = [server_name, signature_algorithms, supported_versions].concat();
    let body = [
        // Version and random; no session; TLS_AES_128_GCM_SHA256; no compression.
        &[3, 3][..],
        &[7; 32],
        &[0],
        &with_length(&[0x13, 1]),
        &[1, 0],
        &with_length(&extensions),
    ]
    .concat();
    let length = u32::try_from(body.len()).expect("extensions are of 64 KiB at most");
    let message = [&[1][..], &length.to_be_bytes()[1..], &body].concat();
    let records = message.chunks(RECORD_BYTES_MAX);
    records
        .flat_map(|record| [&[22, 3, 1][..], &with_length(record)].concat())
        .collect()
}

fn extension(number: u16, content: &[u8]) -> Vec<u8> {
    [&number.to_be_bytes()[..], &with_length(content)].concat()
}

fn with_length(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).expect("there is room for it");
    [&length.to_be_bytes()[..], bytes].concat()
}

const RECORD_BYTES_MAX: usize = 16 * 1024;
