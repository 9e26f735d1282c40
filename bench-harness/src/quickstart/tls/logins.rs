//! Two who log in at the proxy: one whom the rule names, and one whom it does not.

use super::client::Client;
use super::{HOST, TOPIC};
use crate::Failure;
use crate::proxy::Proxy;

/// Whom the rule names, and who may log in as well; each with the same password.
pub(super) const USERS: [&str; 2] = ["orders", "visitor"];
pub(super) const PASSWORD: &str = "quickstart";
/// Both ask for the same records.
pub(super) fn demonstrate(proxy: &Proxy, pem: &str) -> Result<(), Failure> {
    let port = proxy.port_logins;
    tell!(
        "By login, at {HOST}:{port}: the proxy knows who asks, no broker is told, and the rule of {TOPIC} says \
         open_for = [\"User:orders\"]:"
    );
    let log_in = |user: &str, password: &str| -> Result<Client, Failure> {
        let mut client = Client::connect(HOST, port, pem)?;
        client.log_in(user, password)?;
        let mut leader = client.at_leader(TOPIC)?;
        leader.log_in(user, password)?;
        Ok(leader)
    };
    let [named, other] = USERS;
    let read = log_in(named, PASSWORD)?.read(TOPIC, 1)?;
    let value = read.into_values().next().and_then(|record| record.value);
    let value = String::from_utf8_lossy(&value.unwrap_or_default()).into_owned();
    tell!("  {named:<17} reads {value}");
    let refused = match log_in(other, PASSWORD)?.read(TOPIC, 1) {
        Ok(_) => return Err("somebody reads whom no rule names".into()),
        Err(refused) => refused,
    };
    tell!("  {other:<17} is refused: {refused}");
    tell!("    the log   {}", proxy.wait_for_warning("not_named")?);
    let refused = match log_in(named, "guessed") {
        Ok(_) => return Err("somebody logs in with a wrong password".into()),
        Err(refused) => refused,
    };
    tell!("  a wrong password  {refused}");
    tell!();
    Ok(())
}
