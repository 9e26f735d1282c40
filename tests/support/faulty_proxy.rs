//! A proxy inside the test's own process, with a layer around one of its KMSs that delays, refuses and holds on demand.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sealwire::config::Config;
use sealwire::kms::Kms;
use sealwire::server::Running;
use sealwire::testing::{Faults, FaultyKms};

use super::admin_page;
use super::configuration::{Cluster, Configuration};
use super::operations::Options;
use super::ports::ReservedPort;
use super::rig::Rig;
use super::wait;

/// Topics `late-KEK-…` are sealed under the KEK of that name by the KMS that fails on demand, `steady-…` under another
/// KEK by one that does not. Both KMSs are one keystore, the rig's.
pub(crate) struct FaultyProxy {
    running: Option<Running>,
    pub(crate) faults: Faults,
    bootstrap: ReservedPort,
    admin: ReservedPort,
    _nodes: Vec<ReservedPort>,
}

impl FaultyProxy {
    /// In front of the rig's cluster; none where the route is direct.
    pub(crate) fn start(rig: &Rig, executors: u32, seal_wait: Duration) -> Option<Self> {
        let keystore = rig.keystore.as_ref()?;
        let (bootstrap, admin) = (ReservedPort::take(), ReservedPort::take());
        let nodes: Vec<ReservedPort> = rig.cluster.nodes().iter().map(|_| ReservedPort::take()).collect();
        let (path, master_key) = (keystore.path(), keystore.master_key());
        let tables = format!(
            "[runtime]\nexecutors = {executors}\n[limits]\nseal_wait = \"{}ms\"\ndrain_timeout = \"1s\"",
            seal_wait.as_millis()
        );
        let ports = nodes.iter().map(ReservedPort::number);
        let text = Configuration::with(&tables)
            .keystore("late", &path, &master_key)
            .keystore("steady", &path, &master_key)
            .cluster(&Cluster {
                brokers: rig.cluster.bootstrap().split(',').map(str::to_owned).collect(),
                port: bootstrap.number(),
                nodes: rig.cluster.nodes().into_iter().zip(ports).collect(),
                rules: &rules("late", "steady"),
                ..Cluster::default()
            })
            .admin(admin.number())
            .text();
        let config = Config::from_toml_text(&text, Path::new("/sealwire.toml"))
            .unwrap_or_else(|errors| panic!("{errors}\n{text}"));
        let layers = Arc::new(Mutex::new(Vec::new()));
        let made = Arc::clone(&layers);
        let running = Running::start(config, move |kms| {
            let (layer, faults) = FaultyKms::around(kms);
            made.lock().expect("layers").push(faults);
            Arc::new(layer) as Arc<dyn Kms>
        })
        .unwrap_or_else(|error| panic!("the proxy does not start: {error}"));
        // In the order of the configuration.
        let faults = layers.lock().expect("layers").remove(0);
        let proxy = FaultyProxy {
            running: Some(running),
            faults,
            bootstrap,
            admin,
            _nodes: nodes,
        };
        wait::until("the proxy's /readyz", START_LIMIT, || {
            admin_page::get(proxy.admin.number(), "/readyz").filter(|(status, _)| *status == 200)
        });
        Some(proxy)
    }

    pub(crate) fn address(&self) -> String {
        self.bootstrap.address()
    }

    pub(crate) fn options(&self) -> Options {
        Options::at(self.address())
    }

    /// The sum of all series of a metric whose labels contain all of `labels` (as `name="value"`).
    pub(crate) fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        admin_page::metric(&admin_page::metrics(self.admin.number()), name, labels)
    }

    pub(crate) fn sealed(&self, topic: &str) -> f64 {
        self.metric("sealwire_sealed_records_total", &[&format!("topic=\"{topic}\"")])
    }

    pub(crate) fn opened(&self, topic: &str) -> f64 {
        self.metric("sealwire_opened_records_total", &[&format!("topic=\"{topic}\"")])
    }

    /// Partitions of produce requests to this topic that were refused for this reason.
    pub(crate) fn refused(&self, topic: &str, reason: &str) -> f64 {
        self.metric(
            "sealwire_refused_partitions_total",
            &[
                "operation=\"produce\"",
                &format!("topic=\"{topic}\""),
                &format!("reason=\"{reason}\""),
            ],
        )
    }
}

impl Drop for FaultyProxy {
    fn drop(&mut self) {
        // What is held would hold up the end.
        self.faults.refuse(None);
        self.faults.release();
        if let Some(Err(error)) = self.running.take().map(Running::stop)
            && !std::thread::panicking()
        {
            panic!("the proxy did not end well: {error}");
        }
    }
}

/// The rules, for a proxy that calls its KMSs by these names.
pub(crate) fn rules(late: &str, steady: &str) -> String {
    format!(
        "[[cluster.main.topics]]\nmatch = {{ regex = '^late-([a-z0-9]+)-.*$' }}\nkms = \"{late}\"\nkek = \"${{1}}\"\n\
         [[cluster.main.topics]]\nmatch = \"steady-*\"\nkms = \"{steady}\"\nkek = \"steady\"\n"
    )
}

const START_LIMIT: Duration = Duration::from_secs(30);
