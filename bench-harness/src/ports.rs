//! Free ports on 127.0.0.1.

use std::net::TcpListener;

use crate::Failure;

/// `N` different ports that were free a moment ago. Another program may take one before it is used: starting fails
/// then, loudly.
pub(crate) fn free<const N: usize>() -> Result<[u16; N], Failure> {
    let mut listeners = Vec::with_capacity(N);
    let mut ports = [0; N];
    for port in &mut ports {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        *port = listener.local_addr()?.port();
        listeners.push(listener);
    }
    Ok(ports)
}
