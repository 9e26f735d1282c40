//! Which brokers a listener serves.

use std::collections::BTreeSet;

use figment::value::Value;

use super::node::{Node, whole_number};
use crate::config::model::node_host;
use crate::config::scalars::parse_ranges;

/// Which brokers a listener serves, and how clients reach each.
pub(super) struct Served {
    pub(super) advertised_host: String,
    /// Brokers are told apart by name.
    pub(super) bootstrap_host: Option<String>,
    pub(super) nodes: Vec<i32>,
    /// Brokers are told apart by port.
    pub(super) node_ports: Vec<u16>,
}

impl Served {
    /// Every host that clients are told to connect to.
    pub(super) fn hosts(&self) -> Vec<String> {
        match &self.bootstrap_host {
            None => vec![self.advertised_host.clone()],
            Some(bootstrap) => {
                let nodes = self.nodes.iter();
                let nodes = nodes.map(|node| node_host(&self.advertised_host, *node));
                std::iter::once(bootstrap.clone()).chain(nodes).collect()
            }
        }
    }
}

pub(super) fn read_nodes(node: &Node<'_>) -> Option<Vec<i32>> {
    let nodes = read_numbers(node, "nodes", NODE_ID_MAX)?;
    refuse_repetition(node, "nodes", "broker id", &nodes);
    let ids = nodes.into_iter().map(i32::try_from);
    ids.collect::<Result<_, _>>().ok()
}

/// Text with ranges, a list of numbers, or one number.
pub(super) fn read_numbers(node: &Node<'_>, name: &str, max: u32) -> Option<Vec<u32>> {
    let written = node.get(name)?;
    let number = |value: &Value| {
        whole_number(value)
            .and_then(|number| u32::try_from(number).ok())
            .filter(|number| *number <= max)
            .ok_or_else(|| format!("has an entry that is not a number from 0 to {max}"))
    };
    let numbers = match &written.value {
        Value::String(_, text) => parse_ranges(text, max, NODES_MAX),
        Value::Array(_, values) if values.len() > NODES_MAX => {
            Err(format!("has more than {NODES_MAX} entries"))
        }
        Value::Array(_, values) => values.iter().map(number).collect(),
        single => number(single).map(|number| vec![number]),
    };
    match numbers {
        Ok(numbers) if numbers.is_empty() => written.complain("this is empty", &written.example()),
        Ok(numbers) => return Some(numbers),
        Err(problem) => written.complain(&format!("this {problem}"), &written.example()),
    }
    None
}

fn refuse_repetition(node: &Node<'_>, name: &str, what: &str, numbers: &[u32]) {
    let mut seen = BTreeSet::new();
    if let (Some(twice), Some(written)) = (
        numbers.iter().find(|number| !seen.insert(**number)),
        node.written(name),
    ) {
        written.complain(
            &format!("the {what} {twice} is in it twice"),
            "name each one once",
        );
    }
}

/// Kafka's broker ids are non-negative 32-bit numbers.
const NODE_ID_MAX: u32 = i32::MAX as u32;

/// More brokers than any Kafka cluster has, and few enough to bind a port for each.
const NODES_MAX: usize = 4096;
