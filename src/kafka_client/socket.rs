//! Requests and answers over a socket, with or without TLS, that is not waited on beyond a point in time.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustls::CommonState;

use crate::transport::tls::TlsFailure;

/// Sends a request and reads the answer to it, of at most `bytes_max`; both without their lengths.
pub(super) fn exchange(
    stream: &mut (impl Read + Write),
    request: &[u8],
    bytes_max: u64,
    is_first: bool,
) -> io::Result<Vec<u8>> {
    stream.write_all(request)?;
    stream.flush()?;
    let mut prefix = [0; 4];
    stream.read_exact(&mut prefix)?;
    if is_first && let [TLS_ALERT, TLS_MAJOR_VERSION, ..] = prefix {
        let text = "it speaks TLS: add upstream_tls to the cluster (inspect: --tls-ca), or name a listener without TLS";
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    let length = u64::from(u32::from_be_bytes(prefix));
    if length > bytes_max {
        let mut text = format!("it announces an answer of {length} bytes, and {bytes_max} are taken");
        if is_first {
            text.push_str("; is this a Kafka listener?");
        }
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    // The buffer grows with what arrives, not with what is announced; what is short, and may be secret, is not moved.
    let mut answer = Vec::with_capacity(SHORT_ANSWER_BYTES);
    stream.take(length).read_to_end(&mut answer)?;
    if answer.len() as u64 != length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(answer)
}

/// What is wrong with TLS, as the log says it of other connections; whatever else it is stays as it is.
pub(super) fn in_words_of_tls(error: io::Error, tls: &CommonState) -> io::Error {
    let of_tls = error
        .get_ref()
        .and_then(|error| error.downcast_ref::<rustls::Error>());
    let failure = match of_tls {
        Some(of_tls) => TlsFailure::from(of_tls.clone()),
        // That it does not answer in time is said as without TLS.
        None if tls.is_handshaking() && error.kind() != io::ErrorKind::TimedOut => {
            TlsFailure::of_brokers_socket(&error, tls)
        }
        None => return error,
    };
    io::Error::new(io::ErrorKind::InvalidData, failure)
}

/// A socket of which nothing is waited for beyond a point in time, in however many parts it comes.
pub(super) struct Deadlined<'a> {
    pub(super) stream: &'a TcpStream,
    pub(super) deadline: Instant,
}

impl Deadlined<'_> {
    fn left(&self) -> io::Result<Option<Duration>> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(too_late());
        }
        Ok(Some(left))
    }
}

impl Read for Deadlined<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(self.left()?)?;
        let mut stream = self.stream;
        stream.read(buffer).map_err(in_time)
    }
}

impl Write for Deadlined<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(self.left()?)?;
        let mut stream = self.stream;
        stream.write(buffer).map_err(in_time)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A socket's time-out has a name of its own.
fn in_time(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => too_late(),
        _ => error,
    }
}

fn too_late() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "it does not answer in time")
}

/// What TLS answers to a request without it (RFC 8446, 5.1 and 6).
const TLS_ALERT: u8 = 21;
const TLS_MAJOR_VERSION: u8 = 3;
const SHORT_ANSWER_BYTES: usize = 4096;
