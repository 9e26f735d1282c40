//! Networks whose word counts.

use std::net::IpAddr;

use ipnet::IpNet;

/// Some networks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(Vec<IpNet>);

impl Networks {
    /// Another one, by its own address and the length of its prefix (`10.0.0.0/8`, `fd00::/8`), or a single address.
    ///
    /// # Errors
    /// What is neither.
    pub fn add(&mut self, text: &str) -> Result<(), NotANetwork> {
        self.0.push(network(text)?);
        Ok(())
    }

    /// Whether somebody with this address is in one of them.
    #[must_use]
    pub fn contain(&self, address: IpAddr) -> bool {
        // A listener on `[::]` sees IPv4 clients as `::ffff:10.0.0.1`.
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// What is wrong with the text of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotANetwork {
    /// No network at all.
    #[error("is no network, such as 10.0.0.0/8, and no IP address")]
    Unreadable,
    /// More is said than the prefix holds: perhaps another prefix is meant.
    #[error("has bits set behind its prefix: the network would be {0}")]
    BitsBehindPrefix(IpNet),
    /// IPv4 written as IPv6.
    #[error("is IPv4 written as IPv6: write it as IPv4")]
    Mapped,
}

fn network(text: &str) -> Result<IpNet, NotANetwork> {
    let network = readable(text).ok_or(NotANetwork::Unreadable)?;
    match network.addr() {
        IpAddr::V6(address) if address.to_ipv4_mapped().is_some() => Err(NotANetwork::Mapped),
        _ if network.trunc() != network => Err(NotANetwork::BitsBehindPrefix(network.trunc())),
        _ => Ok(network),
    }
}

/// The library's own parser takes `010.0.0.0`, which others read as octal.
fn readable(text: &str) -> Option<IpNet> {
    let Some((address, prefix)) = text.split_once('/') else {
        return text.parse::<IpAddr>().ok().map(IpNet::from);
    };
    let is_plain = prefix.bytes().all(|byte| byte.is_ascii_digit());
    let prefix = prefix.parse().ok().filter(|_| is_plain)?;
    IpNet::new(address.parse().ok()?, prefix).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(texts: &[&str]) -> Networks {
        let mut networks = Networks::default();
        for text in texts {
            networks.add(text).expect("a network");
        }
        networks
    }

    #[test]
    fn who_is_in_a_network_is_seen_in_both_spellings_of_its_address() {
        let some = networks(&["10.0.0.0/8", "fd00::/8", "192.0.2.7"]);
        for (address, is_in) in [
            ("10.0.0.0", true),
            ("10.255.255.255", true),
            ("11.0.0.0", false),
            ("::ffff:10.1.2.3", true),
            ("::ffff:11.1.2.3", false),
            ("fd00::1", true),
            ("fe00::1", false),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
        ] {
            assert_eq!(
                some.contain(address.parse().expect("an address")),
                is_in,
                "{address}"
            );
        }
        let everybody = networks(&["0.0.0.0/0"]);
        assert!(
            everybody.contain([1, 2, 3, 4].into()) && !everybody.contain("::1".parse().expect("an address"))
        );
        assert!(!networks(&[]).contain([127, 0, 0, 1].into()));
    }

    #[test]
    fn what_is_no_network_is_told() {
        for text in [
            "",
            "10.0.0.0/33",
            "10.0.0/8",
            "lan",
            "10.0.0.0/8 ",
            "010.0.0.0/8",
            "fe80::1%eth0",
        ] {
            assert_eq!(networks(&[]).add(text), Err(NotANetwork::Unreadable), "{text}");
        }
        let meant = "10.0.0.0/8".parse().expect("a network");
        assert_eq!(
            networks(&[]).add("10.1.0.0/8"),
            Err(NotANetwork::BitsBehindPrefix(meant))
        );
        assert_eq!(networks(&[]).add("::ffff:10.0.0.0/104"), Err(NotANetwork::Mapped));
    }
}
