//! Sealwire and what it needs to be measured: two topics, one that is sealed and one that passes through, and their
//! frames.

use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::children::pause;
use crate::load::{Exchange, Load};
use crate::proxy::{Proxy, Setup};
use crate::{Failure, contains, wire};

/// The topic that a rule seals.
pub(crate) const SEALED: &str = "sealed";
/// The topic that a rule lets pass.
pub(crate) const PASSED: &str = "public";

/// Starts Sealwire with one executor in front of the stand-in broker, which answers meanwhile.
pub(crate) fn start(load: &mut Load, directory: &Path, core: Option<usize>) -> Result<Proxy, Failure> {
    let setup = Setup {
        directory,
        bootstrap: vec![format!("127.0.0.1:{}", load.broker_port())],
        brokers: 1,
        sealed: SEALED,
        rules: "",
        executors: Some(1),
        core,
    };
    Proxy::start(&setup, &mut || load.run(Duration::from_millis(20)).map(|_| ()))
}

/// An exchange, and how long the right response to it is when it comes back through the relay.
pub(crate) struct Case {
    /// What is sent and answered.
    pub(crate) exchange: Exchange,
    /// Bytes of the response that clients get.
    pub(crate) response_bytes: usize,
}

/// A produce exchange of `frame_bytes` that has been tried once: nothing was refused, and it was sealed if it had to
/// be.
pub(crate) fn produce(
    load: &mut Load,
    group: usize,
    topic: &str,
    frame_bytes: usize,
) -> Result<Case, Failure> {
    let request = wire::produce_request(topic, wire::batch(topic, frame_bytes)?)?;
    let exchange = Exchange {
        request: Rc::from(request),
        response: Rc::from(wire::produce_response(topic)?),
    };
    let (response, stored) = produce_once(load, group, &exchange)?;
    let readable = contains(&stored, wire::CANARY);
    if readable != (topic == PASSED) {
        return Err(format!("topic {topic}: what the broker got is readable: {readable}").into());
    }
    Ok(Case {
        response_bytes: response.len(),
        exchange,
    })
}

/// A fetch exchange whose response, as the client gets it, holds the records of `frame_bytes` of produce.
///
/// What the broker answers with was captured from the relay's own produce direction.
pub(crate) fn fetch(load: &mut Load, group: usize, topic: &str, frame_bytes: usize) -> Result<Case, Failure> {
    let records = wire::batch(topic, frame_bytes)?;
    let produce = Exchange {
        request: Rc::from(wire::produce_request(topic, records.clone())?),
        response: Rc::from(wire::produce_response(topic)?),
    };
    let (_, stored) = produce_once(load, group, &produce)?;
    let exchange = Exchange {
        request: Rc::from(wire::fetch_request(topic)?),
        response: Rc::from(wire::fetch_response(topic, wire::produced_records(&stored)?)?),
    };
    let deadline = Instant::now() + KEY_PATIENCE;
    loop {
        let (response, _) = load.once(group, &exchange)?;
        let fetched = wire::fetched_records(&response)?;
        if record_bytes(&fetched) == record_bytes(&records) {
            return Ok(Case {
                response_bytes: response.len(),
                exchange,
            });
        }
        // "No data yet" until the key service has unwrapped the DEK.
        if !fetched.is_empty() || Instant::now() > deadline {
            return Err(format!("topic {topic}: other records came back than were sent").into());
        }
        pause(Duration::from_millis(5));
    }
}

/// The first produce request may come before the key; the proxy says so with a retriable error after a while.
fn produce_once(load: &mut Load, group: usize, exchange: &Exchange) -> Result<(Vec<u8>, Vec<u8>), Failure> {
    let (response, stored) = load.once(group, exchange)?;
    wire::check_produced(&response)?;
    Ok((response, stored))
}

const KEY_PATIENCE: Duration = Duration::from_secs(5);

/// The records of one batch without its header, which a broker (leader epoch) and a proxy (CRC) may write anew.
fn record_bytes(batch: &Bytes) -> &[u8] {
    batch
        .get(sealwire::record_batch::HEADER_BYTES..)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Clients straight at the broker: what is counted is what was exchanged, whole frames of the right length only.
    #[test]
    fn the_load_exchanges_with_its_own_broker() {
        const GROUP: usize = 0;
        let mut load = Load::new().unwrap();
        let port = load.broker_port();
        load.connect(GROUP, port, 5).unwrap();
        for kib in [1, 16, 512] {
            for case in [
                produce(&mut load, GROUP, PASSED, kib << 10).unwrap(),
                fetch(&mut load, GROUP, PASSED, kib << 10).unwrap(),
            ] {
                load.start(GROUP, &case.exchange, case.response_bytes);
                // Half a second, because a busy machine has stopped for 50 ms before.
                assert!(load.run(Duration::from_millis(500)).unwrap() > 5);
                load.stop().unwrap();
            }
        }
        assert!(
            produce(&mut load, GROUP, SEALED, 1 << 10).is_err(),
            "nobody sealed it"
        );
        let case = produce(&mut load, GROUP, PASSED, 1 << 10).unwrap();
        load.start(GROUP, &case.exchange, case.response_bytes + 1);
        assert!(
            load.run(Duration::from_millis(50)).is_err(),
            "a refusal must not count"
        );
    }
}
