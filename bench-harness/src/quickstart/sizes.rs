//! What the same records take at the brokers: plain, sealed as by default, and sealed with `stored_codec = "none"`.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::client;
use crate::Failure;

/// What is said of a topic, and its name.
pub(super) const TOPICS: [(&str, &str); 3] = [
    ("plain", "public-sizes"),
    ("sealed, compact (the default)", "payments-sizes"),
    ("sealed, stored_codec = \"none\"", "payments-sizes-none"),
];
/// For the last of these; the others go by the rules that are there.
pub(super) const RULE: &str = "[[cluster.main.topics]]\nmatch = \"payments-sizes-none\"\nkms = \"local\"\n\
                               kek = \"quickstart\"\nstored_codec = \"none\"\n";

/// Sends the same records to each topic through the proxy, asks the broker for their sizes, and prints them.
pub(super) fn side_by_side(program: &Path, proxy: &str, broker: &str) -> Result<(), Failure> {
    let mut stored = [0; TOPICS.len()];
    for (bytes, (_, topic)) in stored.iter_mut().zip(TOPICS) {
        send(proxy, topic)?;
        *bytes = ask(program, broker, topic)?;
    }
    tell!(
        "{RECORDS} orders of {} bytes take at the brokers:",
        order(0).len()
    );
    tell_part!("{}\n\n", table(stored)?);
    Ok(())
}

/// In one batch, which is sent when it is full.
fn send(proxy: &str, topic: &str) -> Result<(), Failure> {
    let producer: BaseProducer = client(proxy)
        .set("linger.ms", "60000")
        .set("batch.num.messages", RECORDS.to_string())
        .create()?;
    for number in 0..RECORDS {
        let (key, value) = (format!("order-{number:06}"), order(number));
        let record = BaseRecord::to(topic)
            .partition(0)
            .key(&key)
            .payload(&value)
            .timestamp(1_767_225_600_000);
        producer.send(record).map_err(|(error, _)| error)?;
    }
    Ok(producer.flush(Duration::from_secs(20))?)
}

fn order(number: usize) -> String {
    format!(r#"{{"order":{number:06},"card":"4111 1111 1111 1111","amount":"12.50"}}"#)
}

/// What `sealwire inspect` says of the topic at the broker.
fn ask(program: &Path, broker: &str, topic: &str) -> Result<usize, Failure> {
    let mut command = Command::new(program);
    command.args(["inspect", "--summary", "--bootstrap", broker, "--topic", topic]);
    let output = command.output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    match stored_bytes(&text) {
        Some(bytes) if output.status.success() => Ok(bytes),
        _ => Err(format!(
            "inspect says of {topic}: {text}{}",
            String::from_utf8_lossy(&output.stderr)
        )
        .into()),
    }
}

/// From the sums that `inspect` ends with; `None` unless they are of all records.
fn stored_bytes(summary: &str) -> Option<usize> {
    let (before, _) = summary.split_once(" B stored")?;
    let (counts, _) = summary.split_once(';')?;
    counts.ends_with(&format!(" {RECORDS}")).then_some(())?;
    before.rsplit(' ').next()?.parse().ok()
}

/// Fails if the sizes are not what they have to be.
fn table(stored: [usize; TOPICS.len()]) -> Result<String, Failure> {
    let [plain, compact, none] = stored.map(|bytes| bytes as f64 / RECORDS as f64);
    if !(plain < compact && compact <= plain + ADDED_BYTES_MAX && compact < none) {
        return Err(format!("records take {plain}, {compact} and {none} bytes").into());
    }
    let lines = TOPICS.iter().zip(stored).map(|((what, _), bytes)| {
        let each = bytes as f64 / RECORDS as f64;
        let added = match each - plain {
            0.0 => String::new(),
            more => format!(", {more:.1} more"),
        };
        format!("  {what:31} {bytes:>7} bytes, {each:>5.1} a record{added}")
    });
    Ok(lines.collect::<Vec<_>>().join("\n"))
}

const RECORDS: usize = 1000;
/// To a record in a compact batch.
const ADDED_BYTES_MAX: f64 = 34.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_told_side_by_side() {
        assert_eq!(
            table([90_061, 114_500, 216_061]).unwrap(),
            "  plain                             90061 bytes,  90.1 a record\n  \
             sealed, compact (the default)    114500 bytes, 114.5 a record, 24.4 more\n  \
             sealed, stored_codec = \"none\"    216061 bytes, 216.1 a record, 126.0 more"
        );
    }

    #[test]
    fn sizes_that_break_the_promise_are_a_failure() {
        for sizes in [
            [90_000, 124_001, 216_000],
            [90_000, 90_000, 216_000],
            [90_000, 114_000, 114_000],
        ] {
            assert!(table(sizes).is_err(), "{sizes:?}");
        }
        assert!(table([90_000, 124_000, 216_000]).is_ok());
    }

    #[test]
    fn what_inspect_says_is_read_if_it_is_of_all_records() {
        let summary =
            |records: &str| format!("sealwire {records}; 1 batches, 114500 B stored, 114.5 B a record; …");
        assert_eq!(stored_bytes(&summary("1000")), Some(114_500));
        assert_eq!(stored_bytes(&summary("999")), None);
        assert_eq!(stored_bytes("no records"), None);
    }
}
