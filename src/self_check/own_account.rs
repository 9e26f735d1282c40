//! Whether brokers take the proxy's own account, and whether there is a token where one is fetched for that. Blocks.

use std::sync::Arc;
use std::time::Instant;

use tokio::runtime::Handle;

use super::{Row, Verdict, left};
use crate::broker_login::{BrokerAccount, bearer};
use crate::config::ClusterConfig;
use crate::issuer::FETCH_TIMEOUT;
use crate::issuer::token::{FetchedToken, fetch_token};
use crate::kafka_client::BrokerClient;

/// What the proxy logs in with, or why it cannot; `None` where it says nothing: it has no account of its own, or its
/// certificate says who it is.
pub(super) type OwnLogin = Option<Result<Arc<BrokerAccount>, String>>;

/// Reads it, or fetches it, and tells what came of that.
pub(super) fn own_account(cluster: &ClusterConfig, deadline: Instant, tell: &mut dyn FnMut(Row)) -> OwnLogin {
    let own = cluster.upstream_login.as_ref()?.own()?;
    let Some(endpoint) = own.endpoint() else {
        let account = own.read().map_err(|error| error.to_string()).transpose()?;
        return Some(account.map(|credential| Arc::new(BrokerAccount::new(credential))));
    };
    let subject = format!("{} token endpoint", cluster.name);
    let asked = fetch_token(endpoint, left(deadline, FETCH_TIMEOUT));
    Some(match Handle::current().block_on(asked) {
        Ok(FetchedToken { token, good_for }) => {
            let finding = format!("it gives a token that is good for {} s", good_for.as_secs());
            tell(Row::new(subject, Verdict::Good, finding));
            Ok(bearer(&token))
        }
        Err(error) => {
            let finding = format!("no token can be fetched from {}: {error}", endpoint.url);
            tell(Row::new(subject, Verdict::Failed, finding));
            Err("there is no token to log in with".to_owned())
        }
    })
}

/// Whether nothing is in the way of asking this broker more; tells what becomes of the login, where there is one.
pub(super) fn log_in(
    cluster: &ClusterConfig,
    account: &OwnLogin,
    client: &mut BrokerClient,
    tell: &mut dyn FnMut(Row),
) -> bool {
    let Some(account) = account else {
        return true;
    };
    let logged_in = account.as_ref().map_err(Clone::clone);
    let logged_in = logged_in.and_then(|account| client.log_in(account).map_err(|error| error.to_string()));
    let (verdict, finding) = match logged_in {
        Ok(()) => (Verdict::Good, "brokers take the proxy's own account".to_owned()),
        Err(why) => (Verdict::Failed, why),
    };
    tell(Row::new(format!("{} login", cluster.name), verdict, finding));
    verdict == Verdict::Good
}
