//! Sealwire in a minute: three mock brokers, a fresh keystore, the real proxy, a real client.

mod exchange;
mod show;
mod sizes;
mod throughput;
mod tls;
mod vault;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::mocking::MockCluster;

use self::show::Kind;
use crate::Failure;
use crate::children::pause;
use crate::proxy::{Proxy, Setup, usual_rules};

/// Options of `quickstart`.
#[derive(Args)]
pub(crate) struct Options {
    /// Leaves everything running for your own client, until Ctrl-C.
    #[arg(long)]
    keep: bool,
    /// Has the proxy speak TLS at two more listeners, and shows who gets in there, and who reads after a login.
    #[arg(long)]
    tls: bool,
    /// Where the key-encryption key is.
    #[arg(long, value_enum, default_value_t = Kms::File)]
    kms: Kms,
    /// The `bao` or `vault` to start for `--kms vault`; the one on the search path without it.
    #[arg(long, value_name = "PATH")]
    kms_program: Option<PathBuf>,
    /// Megabytes of the throughput run, in each direction.
    #[arg(long, default_value_t = 100)]
    megabytes: usize,
    /// The `sealwire` to try; the one beside this program, brought up to date, without it.
    #[arg(long)]
    program: Option<PathBuf>,
}

/// What keeps KEKs.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kms {
    /// A keystore in a file.
    File,
    /// OpenBao or Vault, started for this run: shows the key being made, and rotated.
    Vault,
}

/// A topic under a sealing rule.
const SEALED: &str = "payments-eu";
/// A topic under a rule that seals record keys as well.
const KEYS_SEALED: &str = "customers";
const KEYS_RULE: &str = r#"
[[cluster.main.topics]]
match = "customers*"
kms = "local"
kek = "quickstart"
key = "stable"
"#;
/// A topic under a pass rule.
const PASSED: &str = "public-notes";
/// Of each topic.
const PARTITIONS: i32 = 3;
const BROKERS: u16 = 3;

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let directory = crate::children::scratch_directory()?;
    let vault = match options.kms {
        Kms::File => None,
        Kms::Vault => Some(vault::Vault::start(
            options.kms_program.as_deref(),
            directory.path(),
        )?),
    };
    let keystore = if vault.is_some() { "" } else { ", a keystore" };
    tell!("Starting {BROKERS} mock brokers (librdkafka's){keystore} and the proxy ...");
    let cluster = MockCluster::new(i32::from(BROKERS))?;
    for topic in [SEALED, KEYS_SEALED, PASSED, tls::TOPIC, vault::TOPIC]
        .into_iter()
        .chain(sizes::TOPICS.map(|(_, topic)| topic))
    {
        cluster.create_topic(topic, PARTITIONS, i32::from(BROKERS))?;
    }
    let brokers = cluster.bootstrap_servers();
    let shown = options
        .tls
        .then(|| tls::Shown::make(directory.path()))
        .transpose()?;
    let kms = vault.as_ref().map(vault::Vault::table);
    let mut proxy = start(
        options,
        directory.path(),
        &brokers,
        shown.as_ref(),
        kms.as_deref(),
    )?;
    tell!("  brokers  {brokers}");
    tell!(
        "  proxy    127.0.0.1:{}  (process {})",
        proxy.port,
        proxy.child.id()
    );
    tell!("  admin    http://127.0.0.1:{}/metrics\n", proxy.admin_port);
    let demonstrated = demonstrate(options, &proxy, &brokers, shown.as_ref(), vault.as_ref());
    demonstrated.map_err(|failure| proxy.explain(&failure))?;
    if options.keep {
        keep(&mut proxy, directory.path(), &brokers, shown.as_ref())?;
    }
    proxy.stop()?;
    tell!("\nThe proxy drained and exited 0.");
    Ok(())
}

fn start(
    options: &Options,
    directory: &Path,
    brokers: &str,
    shown: Option<&tls::Shown>,
    kms: Option<&str>,
) -> Result<Proxy, Failure> {
    let setup = Setup {
        directory,
        program: options.program.as_deref(),
        keks: &["quickstart".to_owned()],
        kms,
        bootstrap: brokers.split(',').map(str::to_owned).collect(),
        brokers: BROKERS,
        rules: &format!(
            "{}\n{KEYS_RULE}\n{}",
            sizes::RULE,
            usual_rules("payments-*", shown.map_or("", |_| tls::NAMED))
        ),
        executors: None,
        core: None,
        connections_max: CONNECTIONS_MAX,
        tls: None,
        beside: shown.map(tls::Shown::beside),
        stable_keys: Some("customers*"),
    };
    Proxy::start(&setup, &mut || {
        pause(Duration::from_millis(20));
        Ok(())
    })
}

/// Enough for whoever tries it, and within the usual limit of open files.
const CONNECTIONS_MAX: usize = 400;

fn demonstrate(
    options: &Options,
    proxy: &Proxy,
    brokers: &str,
    shown: Option<&tls::Shown>,
    vault: Option<&vault::Vault>,
) -> Result<(), Failure> {
    let through_proxy = format!("127.0.0.1:{}", proxy.port);
    for (topic, kind) in [
        (SEALED, Kind::Sealed),
        (KEYS_SEALED, Kind::KeysSealed),
        (PASSED, Kind::Passed),
    ] {
        let mut sent = exchange::send_orders(&through_proxy, topic)?;
        if kind == Kind::KeysSealed {
            sent.extend(exchange::send_orders(&through_proxy, topic)?);
        }
        let stored = exchange::read(brokers, topic, sent.len())?;
        let received = exchange::read(&through_proxy, topic, sent.len())?;
        show::side_by_side(topic, kind, &sent, &stored, &received)?;
    }
    if let Some(shown) = shown {
        shown.demonstrate(proxy, brokers)?;
    }
    let broker = brokers.split(',').next().unwrap_or_default();
    if let Some(vault) = vault {
        vault.demonstrate(proxy, broker)?;
    }
    sizes::side_by_side(&proxy.program, &through_proxy, broker)?;
    tell!(
        "Throughput, 1 KiB records there and back; proxy, brokers and client share this machine \
         (perf/ has measurements):"
    );
    throughput::run("straight at the brokers", brokers, PASSED, options.megabytes)?;
    throughput::run(
        "through the proxy, passed",
        &through_proxy,
        PASSED,
        options.megabytes,
    )?;
    throughput::run(
        "through the proxy, sealed",
        &through_proxy,
        SEALED,
        options.megabytes,
    )?;
    let metrics = proxy.ask("/metrics")?;
    tell!("\nFrom /metrics:");
    let shown =
        |line: &&str| METRICS_SHOWN.iter().any(|name| line.starts_with(name)) && !line.ends_with(" 0");
    for line in metrics.lines().filter(shown) {
        tell!("  {line}");
    }
    Ok(())
}

const METRICS_SHOWN: [&str; 8] = [
    "sealwire_sealed_records_total",
    "sealwire_sealed_payload_bytes_total",
    "sealwire_sealed_stored_bytes_total",
    "sealwire_opened_records_total",
    "sealwire_passed_payload_bytes_total",
    "sealwire_deks_made_total",
    "sealwire_connections_closed_total{reason=\"other_protocol\"}",
    "sealwire_connections_closed_total{reason=\"tls_failed\"}",
];

fn keep(
    proxy: &mut Proxy,
    directory: &Path,
    brokers: &str,
    shown: Option<&tls::Shown>,
) -> Result<(), Failure> {
    tell!(
        "\nStill running; Ctrl-C ends it. Topics `payments-*` are sealed, `customers*` with their keys, `public*` \
         pass, everything else is refused."
    );
    tell!(
        "  through the proxy      kcat -b 127.0.0.1:{} -t {SEALED} -C",
        proxy.port
    );
    if let Some(shown) = shown {
        shown.tell_how(proxy.port_beside);
    }
    tell!("  what the brokers hold  kcat -b {brokers} -t {SEALED} -C");
    tell!(
        "  configuration          {}",
        directory.join("sealwire.toml").display()
    );
    loop {
        pause(Duration::from_millis(500));
        proxy.child.check().map_err(|failure| proxy.explain(&failure))?;
    }
}

/// What producers and consumers have in common.
fn client(bootstrap: &str) -> ClientConfig {
    let mut configuration = ClientConfig::new();
    configuration.set("bootstrap.servers", bootstrap);
    configuration.set("broker.address.family", "v4");
    configuration.set_log_level(RDKafkaLogLevel::Error);
    configuration
}
