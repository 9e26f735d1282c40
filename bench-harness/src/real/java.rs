//! Kafka's own tools for measuring, `ProducerPerformance` and `ConsumerPerformance`: processes of their own, and what
//! they print.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use super::kafka::cluster::KafkaCluster;
use super::order::{Done, MESSAGE_BYTES_MAX, Order, PATIENCE};
use crate::Failure;
use crate::children::{Child, Start};
use crate::measure::Latency;

/// What the tool prints goes to `file`.
pub(super) fn produce(cluster: &KafkaCluster, order: &Order<'_>, file: &Path) -> Result<Done, Failure> {
    let mut tool = cluster.tool("org.apache.kafka.tools.ProducerPerformance");
    let throughput = order.rate().map_or(-1.0, f64::round);
    for (option, value) in [
        ("--bootstrap-server", order.bootstrap.to_string()),
        ("--topic", order.topic.to_owned()),
        ("--num-records", (order.warm_up + order.records).to_string()),
        ("--record-size", order.point.record_bytes.to_string()),
        ("--throughput", throughput.to_string()),
    ] {
        tool.args([option, &value]);
    }
    if order.warm_up > 0 {
        tool.args(["--warmup-records", &order.warm_up.to_string()]);
    }
    tool.args(["--print-metrics", "--command-property", "acks=1"]);
    tool.arg(format!("batch.size={}", order.batch_bytes()));
    tool.arg(format!("linger.ms={}", order.linger_ms()));
    tool.arg(format!("compression.type={}", order.codec()));
    tool.arg(format!("max.request.size={MESSAGE_BYTES_MAX}"));
    let said = run(&tool, file)?;
    produced(&said).ok_or_else(|| format!("ProducerPerformance says {said}").into())
}

/// All records of the topic, from its beginning.
pub(super) fn fetch(cluster: &KafkaCluster, order: &Order<'_>, file: &Path) -> Result<Done, Failure> {
    static GROUPS: AtomicU32 = AtomicU32::new(0);
    let group = GROUPS.fetch_add(1, Ordering::Relaxed);
    let mut tool = cluster.tool("org.apache.kafka.tools.ConsumerPerformance");
    for (option, value) in [
        ("--bootstrap-server", order.bootstrap.to_string()),
        ("--topic", order.topic.to_owned()),
        ("--num-records", order.records.to_string()),
        ("--group", format!("measured-{group}")),
        ("--timeout", PATIENCE.as_millis().to_string()),
    ] {
        tool.args([option, &value]);
    }
    tool.arg("--print-metrics");
    let said = run(&tool, file)?;
    let (done, consumed) = fetched(&said).ok_or_else(|| format!("ConsumerPerformance says {said}"))?;
    match consumed.is_whole(order) {
        true => Ok(done),
        false => Err(format!("{consumed:?} is not what was produced").into()),
    }
}

fn run(tool: &Command, file: &Path) -> Result<String, Failure> {
    let mut child = Child::start(&Start {
        program: Path::new(tool.get_program()),
        arguments: tool.get_args().collect(),
        core: None,
        log: file,
    })?;
    let status = child.finish(PATIENCE)?;
    let said = std::fs::read_to_string(file)?;
    match status.success() {
        true => Ok(said),
        false => Err(format!("a tool of Kafka ended with {status}: {said}").into()),
    }
}

/// The last summary is that of what came after the warm-up: `N records sent, R records/sec (M MB/sec), A ms avg
/// latency, X ms max latency, P ms 50th, P ms 95th, P ms 99th, P ms 99.9th.`
fn produced(said: &str) -> Option<Done> {
    let summary = said.lines().rfind(|line| line.contains(" ms 99.9th"))?;
    let parts: Vec<&str> = summary.split(", ").collect();
    let first = |part: &str| part.split_ascii_whitespace().next()?.parse::<f64>().ok();
    let of = |unit: &str| first(parts.iter().find(|part| part.contains(unit))?);
    let nanoseconds = |unit: &str| Some((of(unit)? * 1e6) as u64);
    Some(Done {
        records_per_second: of("records/sec")?,
        frames: metric(said, "producer-metrics:request-total:")?,
        latency_ns: Some(Latency {
            p50: nanoseconds(" ms 50th")?,
            p90: None,
            p99: nanoseconds(" ms 99th")?,
            p999: nanoseconds(" ms 99.9th")?,
            p9999: None,
            max: nanoseconds(" ms max latency")?,
        }),
    })
}

/// What a consumer says that it has.
#[derive(Debug, PartialEq)]
struct Consumed {
    records: u64,
    mebibytes: f64,
}

impl Consumed {
    /// The tool may get some more than it was told to. Those that were not opened would be longer.
    fn is_whole(&self, order: &Order<'_>) -> bool {
        let mebibytes = (self.records * order.point.record_bytes as u64) as f64 / f64::from(1 << 20);
        self.records >= order.records && (self.mebibytes / mebibytes - 1.0).abs() < 0.001
    }
}

/// The line below the one with the names, in their order; times are without those of joining the group.
fn fetched(said: &str) -> Option<(Done, Consumed)> {
    let mut lines = said.lines().skip_while(|line| !line.contains("fetch.nMsg.sec"));
    let names: Vec<&str> = lines.next()?.split(", ").collect();
    let values: Vec<&str> = lines.next()?.split(", ").collect();
    let of = |name: &str| {
        let place = names.iter().position(|known| *known == name)?;
        values.get(place)?.parse::<f64>().ok()
    };
    let done = Done {
        records_per_second: of("fetch.nMsg.sec")?,
        frames: metric(said, "consumer-fetch-manager-metrics:fetch-total:")?,
        latency_ns: None,
    };
    let consumed = Consumed {
        records: of("data.consumed.in.nMsg")? as u64,
        mebibytes: of("data.consumed.in.MB")?,
    };
    Some((done, consumed))
}

/// `GROUP:NAME:{TAGS} : VALUE`, of the whole client: its tags name nothing else.
fn metric(said: &str, name: &str) -> Option<u64> {
    let mut lines = said.lines().filter(|line| line.starts_with(name));
    let line = lines.find(|line| !line.contains("topic=") && !line.contains("partition="))?;
    Some(line.rsplit(':').next()?.trim().parse::<f64>().ok()? as u64)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::scenario::{Direction, Point, What};

    #[test]
    fn a_producer_is_timed_by_what_came_after_its_warm_up() {
        let summary = |records, rate, tail| {
            format!(
                "{records} records sent, {rate} records/sec (9.17 MB/sec), 67.50 ms avg latency, \
                 96.00 ms max latency, 70 ms 50th, 80 ms 95th, {tail} ms 99th, 90 ms 99.9th.\n"
            )
        };
        let said = format!(
            "{}{}\nproducer-metrics:request-rate:{{client-id=p}} : 7.125\n\
             producer-metrics:request-total:{{client-id=p}} : 42.000\n",
            summary("6000", "9390.7", 87),
            summary("5000 steady state", "9500.0", 88)
        );
        let done = produced(&said).unwrap();
        let latency = done.latency_ns.unwrap();
        assert_eq!((done.records_per_second, done.frames), (9500.0, 42));
        assert_eq!(
            (latency.p50, latency.p99, latency.p90),
            (70_000_000, 88_000_000, None)
        );
        assert!(produced("org.apache.kafka.common.errors.TimeoutException").is_none());
    }

    #[test]
    fn a_consumer_that_got_something_longer_did_not_get_what_was_produced() {
        let said = |mebibytes| {
            format!(
                "start.time, end.time, data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, nMsg.sec, \
                 rebalance.time.ms, fetch.time.ms, fetch.MB.sec, fetch.nMsg.sec\n\
                 2026-01-01 00:00:00:000, 2026-01-01 00:00:01:000, {mebibytes}, 1.0, 2048, 2048.0, 500, 500, 4.0, \
                 4096.0\n\nconsumer-fetch-manager-metrics:fetch-total:{{client-id=c}} : 9.000\n"
            )
        };
        let point = Point::of(What::Open, Direction::Fetch);
        let order = Order {
            bootstrap: SocketAddr::from(([127, 0, 0, 1], 1)),
            topic: "t",
            point: &point,
            warm_up: 0,
            records: 2048,
        };
        let (done, consumed) = fetched(&said("2.0000")).unwrap();
        assert_eq!((done.records_per_second, done.frames), (4096.0, 9));
        assert!(consumed.is_whole(&order));
        assert!(!fetched(&said("2.1000")).unwrap().1.is_whole(&order));
        let more = Order {
            records: 2049,
            ..order
        };
        assert!(!consumed.is_whole(&more));
    }
}
