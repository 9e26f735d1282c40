//! `[[cluster.NAME.listeners]]`.

use super::Preset::Required;
use super::{Key, other, tables};

pub(super) const KEYS: &[Key] = &[
    tables(
        "cluster.*.listeners",
        Required,
        "Where clients connect; at least one.",
        "[[cluster.main.listeners]]",
    ),
    other(
        "cluster.*.listeners.[].name",
        "name",
        Required,
        "For messages and metrics; unique in its cluster.",
        "\"lan\"",
    ),
    other(
        "cluster.*.listeners.[].listen",
        "`\"IP:PORT\"`",
        Required,
        "Where clients bootstrap; node ports are bound on the same address.",
        "\"0.0.0.0:9192\"",
    ),
    other(
        "cluster.*.listeners.[].client_auth",
        "`\"network\"`",
        Required,
        "Who vouches for clients. There is no default, because whoever gets through reads plaintext. `network` says \
         that only trusted clients can reach this address; this version has no other.",
        "\"network\"",
    ),
    other(
        "cluster.*.listeners.[].advertised_host",
        "host",
        Required,
        "The host that clients are told for every broker: a name or an address that reaches this listener.",
        "\"proxy.example.com\"",
    ),
    other(
        "cluster.*.listeners.[].nodes",
        "ids and ranges",
        Required,
        "Broker ids that are served, as text (`\"0-5,9\"`) or as a list of numbers. A broker that is not among them is \
         hidden from clients of this listener.",
        "\"0-5\"",
    ),
    other(
        "cluster.*.listeners.[].node_ports",
        "ports and ranges",
        Required,
        "One port for each of `nodes`, in the same order.",
        "\"9193-9198\"",
    ),
];
