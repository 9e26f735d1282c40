//! What may stand between the proxy and a KMS: it passes everything on to the real server, until it is told to do what
//! a real server does not do on demand.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::HOST;
use super::wait::pause;

/// The layer, on a port of its own; it ends with its owner.
pub(crate) struct FaultLayer {
    at: SocketAddr,
    state: Arc<State>,
}

/// What it does with the next calls. Connections stay for several calls, as a server's do.
#[derive(Clone, Default)]
pub(crate) enum LayerFault {
    /// Nothing.
    #[default]
    None,
    /// Lets calls wait before they are passed on.
    Slow(Duration),
    /// Takes calls, and says nothing.
    Hang,
    /// Answers like this, whole: with status line, headers and body.
    Answer(String),
    /// Answers with what this makes of the call, each of them whole.
    By(Arc<dyn Fn(&str) -> String + Send + Sync>),
    /// Answers those calls that have one of these in them, each with what stands beside it; the others pass.
    AnswerSome(Vec<(String, String)>),
    /// Answers 200 with a body of so many bytes.
    Long(usize),
    /// Cuts the connection when a call has come.
    Reset,
    /// Takes no connection: it is closed at once.
    Refuse,
    /// Passes on what the server says, but for this in its body.
    Alter(fn(&str) -> String),
}

struct State {
    to: SocketAddr,
    fault: Mutex<LayerFault>,
    calls: AtomicUsize,
    requests: Mutex<Vec<String>>,
    last_answer: Mutex<String>,
    connections: Mutex<Vec<TcpStream>>,
    has_ended: AtomicBool,
}

impl FaultLayer {
    /// In front of nobody: all that is answered this makes of the calls.
    pub(crate) fn alone(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        let layer = Self::before(0);
        layer.set(LayerFault::By(Arc::new(answer)));
        layer
    }

    /// In front of the server at this port.
    pub(crate) fn before(port: u16) -> Self {
        let listener = TcpListener::bind((HOST, 0)).expect("a port");
        let at = listener.local_addr().expect("it listens");
        let state = Arc::new(State {
            to: SocketAddr::from(([127, 0, 0, 1], port)),
            fault: Mutex::default(),
            calls: AtomicUsize::new(0),
            requests: Mutex::default(),
            last_answer: Mutex::default(),
            connections: Mutex::default(),
            has_ended: AtomicBool::new(false),
        });
        let serving = Arc::clone(&state);
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                if serving.has_ended.load(Ordering::Acquire) {
                    return;
                }
                if matches!(serving.fault(), LayerFault::Refuse) {
                    continue;
                }
                let state = Arc::clone(&serving);
                state.keep(&socket);
                // Whoever hangs up gets nothing.
                thread::spawn(move || state.serve(socket));
            }
        });
        Self { at, state }
    }

    pub(crate) fn address(&self) -> String {
        format!("http://{}", self.at)
    }

    pub(crate) fn set(&self, fault: LayerFault) {
        *self.state.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    /// Calls that have come so far.
    pub(crate) fn calls(&self) -> usize {
        self.state.calls.load(Ordering::Acquire)
    }

    /// What these calls said, head and body, in the order in which they came.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.state.requests().clone()
    }

    /// What the server last said, head and body.
    pub(crate) fn last_answer(&self) -> String {
        self.state.last_answer().clone()
    }

    /// Cuts every connection that there is, as a middle box does with idle ones.
    pub(crate) fn cut(&self) {
        for connection in self.state.connections().drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for FaultLayer {
    fn drop(&mut self) {
        self.state.has_ended.store(true, Ordering::Release);
        self.cut();
        let _ = TcpStream::connect(self.at);
    }
}

/// A request or an answer, as it came.
struct Message {
    head: Vec<u8>,
    body: Vec<u8>,
}

impl State {
    fn fault(&self) -> LayerFault {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn connections(&self) -> std::sync::MutexGuard<'_, Vec<TcpStream>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn requests(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn last_answer(&self) -> std::sync::MutexGuard<'_, String> {
        self.last_answer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, socket: &TcpStream) {
        self.connections().extend(socket.try_clone());
    }

    fn serve(&self, client: TcpStream) -> io::Result<()> {
        let mut requests = BufReader::new(client.try_clone()?);
        let mut answers = client.try_clone()?;
        while let Some(request) = Message::read(&mut requests)? {
            let text = String::from_utf8_lossy(&request.bytes()).into_owned();
            self.requests().push(text.clone());
            self.calls.fetch_add(1, Ordering::AcqRel);
            match self.fault() {
                LayerFault::None => answers.write_all(&self.pass(&request)?.bytes())?,
                LayerFault::Slow(time) => {
                    pause(time);
                    answers.write_all(&self.pass(&request)?.bytes())?;
                }
                LayerFault::Hang => {
                    while matches!(self.fault(), LayerFault::Hang) && !self.has_ended.load(Ordering::Acquire)
                    {
                        pause(Duration::from_millis(20));
                    }
                    break;
                }
                LayerFault::Answer(answer) => answers.write_all(answer.as_bytes())?,
                LayerFault::By(answer) => answers.write_all(answer(&text).as_bytes())?,
                LayerFault::AnswerSome(some) => match some.iter().find(|(needle, _)| text.contains(needle)) {
                    Some((_, answer)) => answers.write_all(answer.as_bytes())?,
                    None => answers.write_all(&self.pass(&request)?.bytes())?,
                },
                LayerFault::Long(bytes) => {
                    write!(answers, "HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\n\r\n")?;
                    let chunk = [b' '; 64 * 1024];
                    for start in (0..bytes).step_by(chunk.len()) {
                        answers.write_all(&chunk[..chunk.len().min(bytes - start)])?;
                    }
                }
                LayerFault::Reset | LayerFault::Refuse => break,
                LayerFault::Alter(alter) => {
                    let mut answer = self.pass(&request)?;
                    answer.body = alter(&String::from_utf8_lossy(&answer.body)).into_bytes();
                    answer.fit_length();
                    answers.write_all(&answer.bytes())?;
                }
            }
        }
        client.shutdown(Shutdown::Both)
    }

    fn pass(&self, request: &Message) -> io::Result<Message> {
        let mut server = TcpStream::connect(self.to)?;
        server.write_all(&request.bytes())?;
        let answer = Message::read(&mut BufReader::new(server))?;
        let answer = answer.ok_or(io::ErrorKind::UnexpectedEof)?;
        *self.last_answer() = String::from_utf8_lossy(&answer.bytes()).into_owned();
        Ok(answer)
    }
}

impl Message {
    /// `None` at the end.
    fn read(stream: &mut BufReader<TcpStream>) -> io::Result<Option<Self>> {
        let (mut head, mut length) = (Vec::new(), 0);
        loop {
            let start = head.len();
            if stream.read_until(b'\n', &mut head)? == 0 {
                return Ok(None);
            }
            let line = String::from_utf8_lossy(&head[start..]).to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().map_err(io::Error::other)?;
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body)?;
        Ok(Some(Self { head, body }))
    }

    fn fit_length(&mut self) {
        let head = String::from_utf8_lossy(&self.head).into_owned();
        let kept = head
            .split_inclusive("\r\n")
            .filter(|line| !line.to_ascii_lowercase().starts_with("content-length:") && *line != "\r\n");
        let head: String = kept.collect();
        self.head = format!("{head}Content-Length: {}\r\n\r\n", self.body.len()).into_bytes();
    }

    fn bytes(&self) -> Vec<u8> {
        [self.head.as_slice(), &self.body].concat()
    }
}
