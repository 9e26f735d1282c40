//! Log lines on their way to standard error, by a thread of their own: whoever logs never waits for whoever reads.
//!
//! - LOG-1: a line that finds [`LINES_MAX`] others waiting is dropped and counted; the next line that is written says
//!   how many.
//! - LOG-2: at the end what waits is written, for at most [`END_WAIT`].
//! - LOG-3: a line is printable ASCII with one line feed, at its end, whatever its author put into it: no name of a
//!   topic, a host or a key can pass for another line, or write to the terminal. Whoever logs a foreign text cuts it as
//!   well ([`crate::foreign`]).
#![expect(clippy::disallowed_methods, reason = "it reads the clock for what decides")]

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use tracing_subscriber::fmt::MakeWriter;

/// Takes lines from any thread.
#[derive(Clone)]
pub(super) struct LogWriter {
    lines: SyncSender<Message>,
    lost: Arc<AtomicU64>,
}

enum Message {
    Line(Box<[u8]>),
    /// Nothing comes behind it that matters; dropped once everything before it is written.
    End(SyncSender<()>),
}

impl LogWriter {
    /// Starts the thread, which ends with the process; `say_lost` makes a line of a number of lost ones.
    pub(super) fn start(sink: impl Write + Send + 'static, say_lost: fn(u64) -> String) -> io::Result<Self> {
        let (lines, waiting) = sync_channel(LINES_MAX);
        let lost = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&lost);
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || write_lines(&waiting, sink, &counter, say_lost))?;
        Ok(Self { lines, lost })
    }

    /// Waits until what was logged is written (LOG-2).
    pub(super) fn finish(&self) {
        let deadline = Instant::now() + END_WAIT;
        let (written, wait) = sync_channel(0);
        let mut end = Message::End(written);
        while let Err(TrySendError::Full(back)) = self.lines.try_send(end) {
            if Instant::now() >= deadline {
                return;
            }
            end = back;
            thread::park_timeout(Duration::from_millis(1));
        }
        let _ = wait.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    }
}

fn write_lines(
    waiting: &Receiver<Message>,
    mut sink: impl Write,
    lost: &AtomicU64,
    say_lost: fn(u64) -> String,
) {
    for message in waiting {
        // Nobody reads any more, or the disk is full: there is no other place to say it.
        let _ = match message {
            Message::Line(line) => sink.write_all(&line).and_then(|()| sink.flush()),
            Message::End(written) => {
                drop(written);
                Ok(())
            }
        };
        let count = lost.swap(0, Ordering::Relaxed);
        if count > 0 {
            let _ = sink.write_all(say_lost(count).as_bytes());
        }
    }
}

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = &'a LogWriter;

    fn make_writer(&'a self) -> &'a LogWriter {
        self
    }
}

/// Each call is one line.
impl Write for &LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.lines.try_send(Message::Line(one_line(line))).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// LOG-3. Other characters are written as JSON writes them, so that a line of JSON stays what it is.
fn one_line(line: &[u8]) -> Box<[u8]> {
    let text = line.strip_suffix(b"\n").unwrap_or(line);
    let mut kept = Vec::with_capacity(line.len().min(LINE_BYTES_MAX).saturating_add(1));
    let characters = text.utf8_chunks().flat_map(|chunk| {
        let invalid = (!chunk.invalid().is_empty()).then_some(char::REPLACEMENT_CHARACTER);
        chunk.valid().chars().chain(invalid)
    });
    for character in characters {
        if kept.len() >= LINE_BYTES_MAX {
            break;
        }
        match u8::try_from(character) {
            Ok(byte @ b' '..=b'~') => kept.push(byte),
            _ => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    kept.extend_from_slice(format!("\\u{unit:04x}").as_bytes());
                }
            }
        }
    }
    kept.push(b'\n');
    kept.into()
}

/// With [`LINE_BYTES_MAX`] a bound of 16 MiB; far more than is logged while a pipe's reader takes a breath.
const LINES_MAX: usize = 1024;
/// Names of topics and errors of files are shorter; a line beyond it is cut.
const LINE_BYTES_MAX: usize = 16 * 1024;
/// How long the end of the program waits for the log.
const END_WAIT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc::channel;

    use super::*;
    use crate::foreign::tests::{HOSTILE, is_printable};

    fn say_lost(lines: u64) -> String {
        format!("lost {lines}\n")
    }

    fn log_line(mut log: &LogWriter, line: &str) {
        log.write_all(line.as_bytes()).expect("nobody waits");
    }

    /// Takes nothing before it is told to go on; everything behind.
    struct Stuck {
        go_on: Receiver<()>,
        taken: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.go_on.recv();
            self.taken
                .lock()
                .expect("what was taken")
                .extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// LOG-1
    #[test]
    fn lines_that_nobody_reads_are_lost_and_counted_and_nobody_waits() {
        let (go_on, stuck) = channel();
        let taken = Arc::new(Mutex::new(Vec::new()));
        let sink = Stuck {
            go_on: stuck,
            taken: Arc::clone(&taken),
        };
        let log = LogWriter::start(sink, say_lost).expect("a thread");
        // One more than fits, and perhaps one that the thread has taken.
        for number in 0..LINES_MAX + 10 {
            log_line(&log, &format!("line {number}\n"));
        }
        drop(go_on);
        log.finish();
        let text = String::from_utf8(taken.lock().expect("what was taken").clone()).expect("text");
        let written = text.lines().filter(|line| line.starts_with("line ")).count();
        let lost: usize = text
            .lines()
            .filter_map(|line| line.strip_prefix("lost ")?.parse::<usize>().ok())
            .sum();
        assert!((LINES_MAX..LINES_MAX + 10).contains(&written), "{written}");
        assert_eq!(written + lost, LINES_MAX + 10, "{lost} are said to be lost");
    }

    /// LOG-3
    #[test]
    fn a_line_stays_one_line_of_printable_characters() {
        let written = |line: &str| String::from_utf8(one_line(line.as_bytes()).into()).expect("text");
        assert_eq!(written("INFO sealwire: serves\n"), "INFO sealwire: serves\n");
        let line = written(&format!("WARN {HOSTILE}\n"));
        let text = line.strip_suffix('\n').expect("a line feed");
        assert!(is_printable(text), "{text:?}");
        assert!(text.starts_with("WARN a\\u000a2026"), "{text}");
        assert!(text.ends_with("\\udb40\\udc41"), "{text}");
        assert_eq!(one_line(b"\xff").as_ref(), b"\\ufffd\n");
        // What JSON leaves as it is comes back from the line.
        let json = serde_json::json!({ "host": HOSTILE }).to_string();
        let read: serde_json::Value = serde_json::from_str(&written(&json)).expect("JSON");
        assert_eq!(read["host"], HOSTILE);
        let longest = one_line(&[b'x'; LINE_BYTES_MAX + 9]);
        assert_eq!(
            (longest.len(), longest.last()),
            (LINE_BYTES_MAX + 1, Some(&b'\n'))
        );
    }

    /// LOG-2
    #[test]
    fn what_was_logged_is_written_at_the_end() {
        let taken = Arc::new(Mutex::new(Vec::new()));
        let (go_on, stuck) = channel();
        drop(go_on);
        let sink = Stuck {
            go_on: stuck,
            taken: Arc::clone(&taken),
        };
        let log = LogWriter::start(sink, say_lost).expect("a thread");
        log_line(&log, "the last\n");
        log.finish();
        assert_eq!(taken.lock().expect("what was taken").as_slice(), b"the last\n");
    }
}
