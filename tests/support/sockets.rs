//! The TCP connections that a process has, as the kernel knows them.

use std::collections::BTreeSet;
use std::fs;

/// One established connection of IPv4, by its ports.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Connection {
    pub(crate) local: u16,
    pub(crate) remote: u16,
}

/// The established connections of a process.
pub(crate) fn connections(process: u32) -> Vec<Connection> {
    let own: BTreeSet<String> = fs::read_dir(format!("/proc/{process}/fd"))
        .expect("the process is alive")
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .filter_map(|target| {
            let inode = target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
            Some(inode.to_owned())
        })
        .collect();
    let table = fs::read_to_string(format!("/proc/{process}/net/tcp")).expect("the kernel's table");
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_ascii_whitespace().collect();
            let (local, remote) = (port(fields.get(1)?)?, port(fields.get(2)?)?);
            let is_own = *fields.get(3)? == ESTABLISHED && own.contains(*fields.get(9)?);
            is_own.then_some(Connection { local, remote })
        })
        .collect()
}

fn port(address: &str) -> Option<u16> {
    let (_, port) = address.split_once(':')?;
    u16::from_str_radix(port, 16).ok()
}

const ESTABLISHED: &str = "01";
