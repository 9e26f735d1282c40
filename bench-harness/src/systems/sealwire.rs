//! Sealwire itself, with as many rules and KEKs as a point asks for.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use super::{SEALED_PREFIX, Site, UNCOMPACTED_PREFIX};
use crate::Failure;
use crate::certificates::Certificates;
use crate::proxy::{ListenerTls, Proxy, Setup, Tls};
use crate::scenario::{Point, StoredCodec};

/// Starts it in front of the broker of `site`, which answers in `meanwhile`. One executor has the core of relays to
/// itself, if there is one; several share all cores with everybody.
pub(crate) fn start(
    program: Option<&Path>,
    point: &Point,
    directory: &Path,
    site: &Site,
    meanwhile: &mut dyn FnMut() -> Result<(), Failure>,
) -> Result<Proxy, Failure> {
    let keks: Vec<String> = (0..point.keks).map(kek_name).collect();
    let setup = Setup {
        directory,
        program,
        keks: &keks,
        kms: None,
        bootstrap: vec![format!("127.0.0.1:{}", site.broker_port)],
        brokers: 1,
        rules: &rules(point),
        executors: Some(point.executors),
        core: site.relay_core.filter(|_| point.executors == 1),
        // Those of one turn may still be leaving when those of the next one come.
        connections_max: 2 * (point.connections + point.idle_connections) + CONNECTIONS_BESIDE,
        tls: site.certificates.as_ref().map(tls),
        beside: None,
        stable_keys: None,
    };
    Proxy::start(&setup, meanwhile)
}

fn tls(certificates: &Certificates) -> Tls {
    Tls {
        listener: ListenerTls {
            certificate: certificates.system.certificate.clone(),
            key: certificates.system.key.clone(),
            client_ca: certificates
                .client
                .is_some()
                .then(|| certificates.authority.clone()),
            more: String::new(),
        },
        brokers_ca: certificates.authority.clone(),
    }
}

/// Of KEK `number`; the rule makes it of the topic's name.
pub(super) fn kek_name(number: usize) -> String {
    format!("{KEK_PREFIX}{number:05}")
}

/// Of whoever looks whether it listens, and of real clients, which have as many as they like.
const CONNECTIONS_BESIDE: usize = 100;
const KEK_PREFIX: &str = "quickstart-";

/// The rules that nothing takes, then that of what is sealed and that of what passes; with a real client another
/// between them, of what is sealed record by record.
fn rules(point: &Point) -> String {
    let mut rules = String::new();
    for rule in 2..point.rules {
        let _ = write!(
            rules,
            "[[cluster.main.topics]]\nmatch = \"other-{rule:05}-*\"\npass = true\n"
        );
    }
    let stored_codec = match point.stored_codec {
        StoredCodec::None => "none",
        StoredCodec::Lz4 => "lz4",
    };
    let uncompacted = point.client.is_real().then_some((UNCOMPACTED_PREFIX, "none"));
    for (prefix, stored_codec) in [(SEALED_PREFIX, stored_codec)].into_iter().chain(uncompacted) {
        // One domain, so that what was sealed for one topic is what the broker holds for all of them.
        let _ = write!(
            rules,
            "[[cluster.main.topics]]\nmatch = {{ regex = '{prefix}(\\d+)-.*' }}\nkms = \"local\"\n\
             kek = \"{KEK_PREFIX}${{1}}\"\ndomain = \"{DOMAIN}\"\nstored_codec = \"{stored_codec}\"\n\
             max_message_bytes = \"16MiB\"\n"
        );
    }
    rules + "[[cluster.main.topics]]\nmatch = \"public*\"\npass = true\n"
}

/// What sealed records are bound to.
pub(super) const DOMAIN: &str = "measured";

/// The version that a binary says, with the commit that it was built from where that is known and it does not say so.
pub(super) fn version(program: &Path, built: Option<&str>) -> Option<String> {
    let output = Command::new(program).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(with_commit(text.trim().trim_start_matches("sealwire "), built))
}

fn with_commit(said: &str, built: Option<&str>) -> String {
    let built = built.map(|commit| format!("commit {commit}"));
    said.replacen(UNKNOWN, built.as_deref().unwrap_or(UNKNOWN), 1)
}

/// Of a program that was built without being told.
const UNKNOWN: &str = "commit unknown";

/// The sum of the counts of calls in a page of metrics.
pub(super) fn kms_calls(page: &str) -> Option<u64> {
    let counts = page
        .lines()
        .filter(|line| line.starts_with("sealwire_kms_call_seconds_count"))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    Some(counts.sum::<f64>() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_program_that_was_built_here_and_does_not_know_its_commit_is_given_one() {
        let unknown = "0.1.0 (commit unknown, features: none)";
        let given = "0.1.0 (commit 0123456789ab-dirty, features: none)";
        assert_eq!(with_commit(unknown, Some("0123456789ab-dirty")), given);
        assert_eq!(with_commit(unknown, None), unknown);
        assert_eq!(with_commit(given, Some("fedcba987654")), given);
    }

    #[test]
    fn calls_of_every_kms_and_kind_are_added_up() {
        let page = "sealwire_kms_call_seconds_count{kms=\"a\",call=\"generate\"} 3\n\
                    sealwire_kms_call_seconds_sum{kms=\"a\",call=\"generate\"} 0.5\n\
                    sealwire_kms_call_seconds_count{kms=\"a\",call=\"unwrap\"} 4\n";
        assert_eq!(kms_calls(page), Some(7));
    }
}
