//! The same by TLS: an authority and a certificate made for this run, a client that verifies it, and who is refused.

mod authority;
mod client;
mod logins;

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, Producer, ProducerContext};

use self::authority::Authority;
use self::client::Client;
use super::exchange::{self, PATIENCE};
use super::show;
use crate::Failure;
use crate::proxy::{Beside, ListenerTls, Proxy};

/// A topic under a sealing rule, for this alone.
pub(super) const TOPIC: &str = "payments-tls";

/// What the proxy shows, and who vouches for it.
pub(super) struct Shown {
    authority: Authority,
    /// Its certificate.
    ca: PathBuf,
    /// What the proxy is to show.
    listener: ListenerTls,
}

impl Shown {
    /// Made anew, in files of `directory`.
    pub(super) fn make(directory: &Path) -> Result<Self, Failure> {
        let authority = Authority::new("sealwire-quickstart")?;
        let ca = directory.join("authority.pem");
        std::fs::write(&ca, authority.pem())?;
        Ok(Self {
            listener: authority.issue(directory)?,
            ca,
            authority,
        })
    }

    /// The listeners that this takes.
    pub(super) fn beside(&self) -> Beside {
        Beside {
            tls: self.listener.clone(),
            users: &logins::USERS,
            password: logins::PASSWORD,
        }
    }

    /// Sends and reads by TLS at the proxy's second listener, and has two clients refused there; then two log in at the
    /// third.
    pub(super) fn demonstrate(&self, proxy: &Proxy, brokers: &str) -> Result<(), Failure> {
        let port = proxy.port_beside;
        let mut client = Client::connect(HOST, port, &self.authority.pem())?;
        tell!("By TLS, at {HOST}:{port}, where the proxy shows a certificate that was made for this run:");
        tell!("  agreed on         {}", client.agreed_on()?);
        tell!(
            "  behind the proxy  plain TCP, for the mock brokers know no TLS; elsewhere [cluster.main.upstream_tls]"
        );
        let mut orders = exchange::orders();
        // The client's records have no two headers of one name.
        orders.retain(|order| order.headers.len() < 2);
        let mut leader = client.at_leader(TOPIC)?;
        let sent = leader.send(TOPIC, orders)?;
        let stored = exchange::read(brokers, TOPIC, sent.len())?;
        let received = leader.read(TOPIC, sent.len())?;
        show::side_by_side(TOPIC, show::Kind::Sealed, &sent, &stored, &received)?;

        for (who, said, logged) in [
            ("speaks no TLS", speak_plainly(port)?, "this client speaks no TLS"),
            (
                "does not know who vouches for the proxy",
                distrust(port)?,
                "UnknownCA",
            ),
        ] {
            tell!("Refused there: a client that {who}");
            tell!("    it says   {said}");
            tell!("    the log   {}", proxy.wait_for_warning(logged)?);
        }
        tell!();
        logins::demonstrate(proxy, &self.authority.pem())
    }

    /// What there is to copy into the reader's own client.
    pub(super) fn tell_how(&self, port: u16) {
        let ca = self.ca.display();
        tell!(
            "  the same by TLS        kcat -b {HOST}:{port} -X security.protocol=ssl -X ssl.ca.location={ca} \
             -t {TOPIC} -C"
        );
        tell!(
            "  properties for Java    with brokers of your own: its newer clients do not get along with mock ones"
        );
        for property in ["security.protocol=SSL", "ssl.truststore.type=PEM"] {
            tell!("                         {property}");
        }
        tell!("                         ssl.truststore.location={ca}");
    }
}

/// Of the rule for sealed topics: whom it names, where clients have names.
pub(super) const NAMED: &str = "open_for = [\"User:orders\"]\nseal_for = [\"User:orders\"]\n";
/// One of those that the certificate is for.
const HOST: &str = "127.0.0.1";

/// What a client says that trusts somebody else.
fn distrust(port: u16) -> Result<String, Failure> {
    let another = Authority::new("another")?;
    match Client::connect(HOST, port, &another.pem()) {
        Ok(_) => Err("a client that does not know the authority was let in".into()),
        Err(refused) => Ok(refused.to_string()),
    }
}

/// What librdkafka says without TLS.
fn speak_plainly(port: u16) -> Result<String, Failure> {
    let client: BaseProducer<Complaint> = super::client(&format!("{HOST}:{port}"))
        .set_log_level(RDKafkaLogLevel::Info)
        .create_with_context(Complaint::default())?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        client.poll(Duration::from_millis(100));
        let complaint = client.context().0.lock().map_err(|_| "a callback panicked")?;
        if let Some(complaint) = &*complaint {
            return Ok(complaint.clone());
        }
        if Instant::now() > deadline {
            return Err("a client that speaks no TLS has nothing to complain of".into());
        }
    }
}

/// The first.
#[derive(Default)]
struct Complaint(Mutex<Option<String>>);

impl ClientContext for Complaint {
    fn log(&self, _: RDKafkaLogLevel, kind: &str, message: &str) {
        let (_thread, message) = message.split_once("]: ").unwrap_or(("", message));
        if let (Ok(mut complaint), "FAIL") = (self.0.lock(), kind) {
            complaint.get_or_insert_with(|| message.to_owned());
        }
    }
}

impl ProducerContext for Complaint {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}
