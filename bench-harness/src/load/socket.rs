//! A socket of the load that does not wait, with or without TLS.

use std::io::{self, BufRead, ErrorKind, IoSlice, Read, Write};
use std::mem::MaybeUninit;

use mio::net::TcpStream;
use rustls::Connection as Session;
use socket2::SockRef;

use super::incoming::Incoming;

/// See the module.
pub(super) struct Socket {
    stream: TcpStream,
    tls: Option<Box<Session>>,
}

/// What is read for the head; a small frame is whole with it.
const FIRST_READ_BYTES: usize = 4096;
/// One discarding read.
const DISCARD_BYTES: usize = 4 << 20;

impl Socket {
    pub(super) fn new(stream: TcpStream, tls: Option<Session>) -> Self {
        Self {
            stream,
            tls: tls.map(Box::new),
        }
    }

    /// Whether TLS has not been agreed on yet: what is written waits for what has to be read.
    pub(super) fn is_handshaking(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
    }

    /// Takes some of `slices`, at least a byte. With TLS they go out by [`Self::flush`] at the latest.
    pub(super) fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else {
            return self.stream.write_vectored(slices);
        };
        // As much as a session holds.
        match tls.writer().write_vectored(slices)? {
            0 => {}
            written => return Ok(written),
        }
        self.flush()?;
        match self.tls.as_mut().map(|tls| tls.writer().write_vectored(slices)) {
            Some(Ok(0)) | None => Err(ErrorKind::WouldBlock.into()),
            Some(done) => done,
        }
    }

    /// Sends what TLS holds.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        let Some(tls) = &mut self.tls else {
            return Ok(());
        };
        while tls.wants_write() {
            tls.write_tls(&mut self.stream)?;
        }
        Ok(())
    }

    /// Reads once for `incoming`, with TLS into `buffer` first; none: the peer has closed.
    pub(super) fn read(
        &mut self,
        incoming: &mut Incoming,
        buffer: &mut [u8],
        capturing: bool,
    ) -> io::Result<usize> {
        if self.tls.is_some() {
            return self.open(incoming, buffer, capturing);
        }
        if let Some(bytes) = incoming.discardable() {
            let read = discard(&self.stream, bytes)?;
            incoming.passed(read);
            return Ok(read);
        }
        let room = buffer.get_mut(..FIRST_READ_BYTES).unwrap_or_default();
        let read = self.stream.read(room)?;
        incoming.came(buffer.get(..read).unwrap_or_default(), capturing);
        Ok(read)
    }

    fn open(&mut self, incoming: &mut Incoming, buffer: &mut [u8], capturing: bool) -> io::Result<usize> {
        let read = self.stream.read(buffer)?;
        let mut ciphertext = buffer.get(..read).unwrap_or_default();
        let Some(tls) = &mut self.tls else {
            return Ok(read);
        };
        while !ciphertext.is_empty() {
            if tls.read_tls(&mut ciphertext)? == 0 {
                // Behind a goodbye.
                break;
            }
            tls.process_new_packets().map_err(io::Error::other)?;
            loop {
                let mut reader = tls.reader();
                let opened = match reader.fill_buf() {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    opened => opened?,
                };
                if opened.is_empty() {
                    break;
                }
                incoming.came(opened, capturing);
                let bytes = opened.len();
                reader.consume(bytes);
            }
        }
        // The handshake goes on, and what has waited for it.
        match self.flush() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(read),
            done => done.map(|()| read),
        }
    }

    /// Says goodbye, as far as there is room for it.
    pub(super) fn close(mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            let _ = self.flush();
        }
    }
}

/// Reads and discards at most `bytes` without copying them.
fn discard(stream: &TcpStream, bytes: usize) -> io::Result<usize> {
    // Linux does not touch the buffer with MSG_TRUNC on TCP; a buffer of that length has to be there all the same.
    thread_local! {
        static NOWHERE: std::cell::RefCell<Vec<MaybeUninit<u8>>> =
            std::cell::RefCell::new(vec![MaybeUninit::uninit(); DISCARD_BYTES]);
    }
    NOWHERE.with_borrow_mut(|nowhere| {
        let room = nowhere.get_mut(..bytes.min(DISCARD_BYTES)).unwrap_or_default();
        SockRef::from(stream).recv_with_flags(room, MSG_TRUNC)
    })
}

/// `MSG_TRUNC` of Linux, the same on every architecture.
const MSG_TRUNC: i32 = 0x20;
