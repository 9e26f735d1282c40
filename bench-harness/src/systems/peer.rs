//! Another proxy that already runs, and that forwards to the broker.

use std::net::{SocketAddr, ToSocketAddrs};
use std::str::FromStr;

/// `NAME=HOST:PORT[,pid=PID]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    /// Whose CPU time counts; without it there is none.
    pub(crate) process: Option<u32>,
}

impl FromStr for Peer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = || format!("{text:?} is not NAME=HOST:PORT,pid=PID");
        let (name, rest) = text.split_once('=').ok_or_else(form)?;
        let (address, process) = match rest.split_once(",pid=") {
            Some((address, process)) => (address, Some(process.parse().map_err(|_| form())?)),
            None => (rest, None),
        };
        let name_is_good = !name.is_empty() && !super::NAMES.contains(&name);
        let addresses = address.to_socket_addrs();
        let mut addresses = addresses.map_err(|error| format!("{address}: {error}"))?;
        Ok(Self {
            name: name_is_good.then(|| name.to_owned()).ok_or_else(form)?,
            address: addresses.next().ok_or_else(form)?,
            process,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_has_a_name_an_address_and_perhaps_a_process() {
        let peer: Peer = "other=127.0.0.1:9192,pid=12".parse().unwrap();
        assert_eq!((peer.name.as_str(), peer.process), ("other", Some(12)));
        assert_eq!("x=127.0.0.1:9192".parse::<Peer>().unwrap().process, None);
        for wrong in [
            "127.0.0.1:9192",
            "x=127.0.0.1",
            "x=127.0.0.1:1,pid=y",
            "direct=127.0.0.1:1",
            "=127.0.0.1:1",
        ] {
            assert!(wrong.parse::<Peer>().is_err(), "{wrong}");
        }
    }
}
