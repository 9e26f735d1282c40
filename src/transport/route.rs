//! Which listener, and which broker, a client means by the name that it has connected to.

use std::collections::HashMap;

use crate::ids::ListenerId;

/// The names at one port.
#[derive(Debug, Default)]
pub(crate) struct Routes(HashMap<Box<str>, Destination>);

/// Where a name leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Destination {
    pub(crate) listener: ListenerId,
    /// `None`: any broker of the cluster, as on a bootstrap port.
    pub(crate) node: Option<i32>,
}

impl Routes {
    /// `name`, in whatever case, leads there from now on.
    pub(crate) fn add(&mut self, name: &str, destination: Destination) {
        self.0.insert(name.to_ascii_lowercase().into(), destination);
    }

    /// Where `name`, in lower case, leads to.
    pub(crate) fn find(&self, name: &str) -> Option<Destination> {
        self.0.get(name).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Id as _;

    #[test]
    fn names_lead_where_they_were_said_to_in_whatever_case() {
        let mut routes = Routes::default();
        let destination = Destination {
            listener: ListenerId::from_number(7),
            node: Some(3),
        };
        routes.add("B3.Kafka.Example.com", destination);
        assert_eq!(routes.find("b3.kafka.example.com"), Some(destination));
        assert_eq!(routes.find("b4.kafka.example.com"), None);
    }
}
