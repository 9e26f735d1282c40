//! A peer that speaks TLS by the program's own session, over a socket that blocks: for tests beside other
//! implementations.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};

use crate::buffers::BufferPool;
use crate::transport::tls::{TlsFailure, TlsSession};

/// See the module. What is written goes out at once.
pub struct TlsPeer {
    session: TlsSession,
    pool: BufferPool,
    socket: TcpStream,
}

impl TlsPeer {
    /// The server's end: shakes hands with whoever has connected. With it: the name that was asked for.
    ///
    /// # Errors
    /// Those of the socket, and whatever is wrong with the peer.
    pub fn accept(socket: TcpStream, config: Arc<ServerConfig>) -> io::Result<(Self, Option<String>)> {
        let mut peer = Self::new(TlsSession::listening(), socket);
        let name = peer.stage(TlsSession::hello)?;
        peer.session.answer(config).map_err(io::Error::other)?;
        peer.shake_hands()?;
        Ok((peer, name))
    }

    /// The client's end.
    ///
    /// # Errors
    /// As [`TlsPeer::accept`].
    pub fn connect(
        socket: TcpStream,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> io::Result<Self> {
        let session = TlsSession::client(config, name).map_err(io::Error::other)?;
        let mut peer = Self::new(session, socket);
        peer.shake_hands()?;
        Ok(peer)
    }

    fn new(session: TlsSession, socket: TcpStream) -> Self {
        Self {
            session,
            pool: BufferPool::default(),
            socket,
        }
    }

    /// Says goodbye, and writes no more.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn close(&mut self) -> io::Result<()> {
        self.session.close(&mut self.pool);
        self.send()?;
        self.socket.shutdown(Shutdown::Write)
    }

    /// Frees the buffers that are not in hand, which connections of an executor share.
    pub fn free_buffers(&mut self) {
        self.session.rest(&mut self.pool);
        self.pool = BufferPool::default();
    }

    /// Whether the peer has said goodbye.
    pub fn has_ended(&self) -> bool {
        self.session.has_ended()
    }

    fn shake_hands(&mut self) -> io::Result<()> {
        self.stage(|session, pool| Ok(session.shake_hands(pool)?.then_some(())))
    }

    fn stage<T>(
        &mut self,
        step: impl Fn(&mut TlsSession, &mut BufferPool) -> Result<Option<T>, TlsFailure>,
    ) -> io::Result<T> {
        loop {
            let done = step(&mut self.session, &mut self.pool);
            self.send()?;
            if let Some(done) = done.map_err(io::Error::other)? {
                return Ok(done);
            }
            if self.fill()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn send(&mut self) -> io::Result<()> {
        self.socket.write_all(self.session.outgoing())?;
        self.session.sent(usize::MAX);
        self.session.rest(&mut self.pool);
        Ok(())
    }

    fn fill(&mut self) -> io::Result<usize> {
        let room = self.session.room(READ_BYTES, &mut self.pool);
        let bytes = self.socket.read(room)?;
        self.session.add(bytes);
        Ok(bytes)
    }
}

impl Read for TlsPeer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let opened = self.session.open(buffer, &mut self.pool);
            if opened.is_err() {
                self.send()?;
            }
            let opened = opened.map_err(io::Error::other)?;
            if opened > 0 || self.session.has_ended() || self.fill()? == 0 {
                return Ok(opened);
            }
        }
    }
}

impl Write for TlsPeer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sealed = self.session.seal(bytes, &mut self.pool);
        self.send()?;
        sealed.map_err(io::Error::other)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send()
    }
}

const READ_BYTES: usize = 64 * 1024;
