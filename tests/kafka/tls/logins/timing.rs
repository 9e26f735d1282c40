//! Nobody learns from the time of an answer who there is.

use std::time::{Duration, Instant};

use kafka_protocol::messages::{SaslAuthenticateRequest, SaslHandshakeRequest};
use kafka_protocol::protocol::StrBytes;
use sealwire::identity::sasl::credentials::Credentials;
use sealwire::identity::sasl::verifier::{Mechanism, Verifier};

use super::super::Side;
use super::Door;
use crate::support::raw_client::RawClient;
use crate::support::secret_files::write_secret;
use crate::support::skipped;

/// Says this, once a mechanism is agreed on; how long the answer took, and its code.
fn say(client: &mut RawClient, mechanism: &'static str, token: String) -> (Duration, i16) {
    let handshake = SaslHandshakeRequest::default().with_mechanism(StrBytes::from_static_str(mechanism));
    assert_eq!(client.ask(1, &handshake).error_code, 0);
    let request = SaslAuthenticateRequest::default().with_auth_bytes(token.into());
    let begun = Instant::now();
    let answer = client.ask(1, &request);
    (begun.elapsed(), answer.error_code)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// Panics unless the medians of so many are less apart than what `limit` makes of the first. What a busy machine does
/// to the one and not to the other it does not do each time.
fn assert_same(
    what: &str,
    count: usize,
    limit: impl Fn(Duration) -> Duration,
    take: impl Fn(&str) -> Duration,
) {
    let mut apart = Vec::new();
    let is_same = (0..5).any(|_| {
        let (mut there, mut nowhere) = (Vec::new(), Vec::new());
        for _ in 0..count {
            there.push(take("there"));
            nowhere.push(take("nowhere"));
        }
        let (there, nowhere) = (median(there), median(nowhere));
        apart.push((there, nowhere));
        there.abs_diff(nowhere) < limit(there)
    });
    assert!(is_same, "{what}: {apart:?}");
}

/// SERVE-LOGIN-3: a password that takes twenty times as long to hash as those that are not there is refused as soon,
/// and SCRAM's first answer, which is not held back, comes as soon for either.
#[test]
fn answers_take_as_long_for_users_that_there_are_not() {
    let Some(mut door) = Door::open(Side::Tls, "mechanisms = [\"PLAIN\", \"SCRAM-SHA-512\"]") else {
        return skipped::there_is_no_proxy();
    };
    let mut credentials = Credentials::new().expect("random numbers");
    let verifier = Verifier::new(Mechanism::Sha512, b"secret", ITERATIONS).expect("it is hashed");
    credentials
        .set("there", Mechanism::Sha512, verifier)
        .expect("a name");
    write_secret(&door.users(), &credentials.text());
    door.restart(&["limits.failed_logins_per_address_max=1000"]);
    let refused = |user: &str| {
        let (took, code) = say(&mut door.connect(), "PLAIN", format!("\0{user}\0guessed"));
        assert_eq!(code, 58);
        took
    };
    let challenged = |user: &str| {
        let (took, code) = say(&mut door.connect(), "SCRAM-SHA-512", format!("n,,n={user},r=abc"));
        assert_eq!(code, 0);
        took
    };
    assert_same("PLAIN", 11, |_| HASHED_IN / 3, refused);
    assert_same(
        "SCRAM",
        60,
        |there| there / 4 + Duration::from_micros(50),
        challenged,
    );
    door.proxy.terminate();
}

/// On a busy machine they have to be over, too, by the time at which answers are due.
const ITERATIONS: u32 = 80_000;
/// That many rounds of SHA-512, at the least.
const HASHED_IN: Duration = Duration::from_millis(40);
