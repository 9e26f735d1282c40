//! The thread that writes the audit log: to a file, which may be moved away, or to standard output.
//!
//! - AUDIT-WRITE-1: whole lines, in their order; one that could not be written to its end is gone on with.
//! - AUDIT-WRITE-2: what cannot be written is tried again, and nothing behind it is taken meanwhile, so that the queue
//!   fills: memory is bounded.
//! - AUDIT-WRITE-3: where another file, or none, stands under the name, the next line begins a new one.
//!
//! Nobody waits for this thread, but the end of the program for a moment.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use super::state::AuditState;
use crate::config::AuditTarget;

/// The thread, to whoever gives it lines.
pub(super) struct AuditWriter {
    lines: mpsc::Sender<String>,
    state: Arc<AuditState>,
    /// Gone: what cannot be written is given up.
    hurry: Sender<()>,
    ended: oneshot::Receiver<()>,
}

impl AuditWriter {
    /// Starts the thread.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub(super) fn start(target: &AuditTarget, state: Arc<AuditState>) -> io::Result<Self> {
        let target = match target {
            AuditTarget::Stdout => Target::Stdout(io::stdout()),
            AuditTarget::File(path) => Target::File(AuditFile::open(path)?),
        };
        let (lines, queue) = mpsc::channel(QUEUE_LINES);
        let (hurry, hurried) = channel();
        let (ending, ended) = oneshot::channel();
        let mut writing = Writing {
            target,
            state: Arc::clone(&state),
            hurried,
        };
        std::thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || {
                writing.run(queue);
                drop(ending);
            })?;
        Ok(Self {
            lines,
            state,
            hurry,
            ended,
        })
    }

    pub(super) fn state(&self) -> &Arc<AuditState> {
        &self.state
    }

    /// Whether there is room for so many lines.
    pub(super) fn has_room(&self, lines: usize) -> bool {
        self.lines.capacity() >= lines
    }

    /// Waits for room; for ever where the thread is gone.
    pub(super) async fn room(&self, lines: usize) {
        if self.lines.reserve_many(lines).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Queues a line, its end included; whoever asks has looked for room.
    pub(super) fn write(&self, line: String) {
        match self.lines.try_send(line) {
            Ok(()) => self.state.count_taken(),
            Err(_) => self.state.count_dropped(1),
        }
    }

    /// Ends the thread when what is queued is written, or gives up at the deadline and counts what is lost.
    pub(super) async fn end(self, deadline: Instant) {
        drop(self.lines);
        // Whether it ended well or was given up: it is over.
        let _ = timeout_at(deadline, self.ended).await;
        drop(self.hurry);
        self.state.count_lost(self.state.unwritten());
    }
}

/// What the thread has.
struct Writing {
    target: Target,
    state: Arc<AuditState>,
    hurried: Receiver<()>,
}

impl Writing {
    fn run(&mut self, mut queue: mpsc::Receiver<String>) {
        let mut batch = Vec::new();
        while let Some(line) = queue.blocking_recv() {
            batch.clear();
            batch.extend_from_slice(line.as_bytes());
            let mut lines = 1_u64;
            while batch.len() < BATCH_BYTES
                && let Ok(line) = queue.try_recv()
            {
                batch.extend_from_slice(line.as_bytes());
                lines = lines.saturating_add(1);
            }
            if !self.write(&batch) {
                return;
            }
            self.state.count_written(lines);
        }
    }

    /// Writes until it has succeeded (AUDIT-WRITE-2); `false`: given up.
    fn write(&mut self, batch: &[u8]) -> bool {
        let mut left = batch;
        let mut has_failed = false;
        while let Err(error) = self.target.write_on(batch, &mut left) {
            if !has_failed {
                tracing::error!(%error, "the audit log cannot be written; it is tried again");
            }
            has_failed = true;
            self.state.set_fault(Some(error.to_string()));
            if self.hurried.recv_timeout(RETRY) == Err(RecvTimeoutError::Disconnected) {
                return false;
            }
        }
        if has_failed {
            tracing::info!("the audit log is written again");
            self.state.set_fault(None);
        }
        true
    }
}

enum Target {
    Stdout(io::Stdout),
    File(AuditFile),
}

impl Target {
    /// Writes what is `left` of the batch; what is written is left no more.
    fn write_on<'b>(&mut self, batch: &'b [u8], left: &mut &'b [u8]) -> io::Result<()> {
        if let Self::File(file) = self
            && file.follow()?
        {
            // A line that was begun in the other one is written anew, whole.
            let done = batch.len().saturating_sub(left.len());
            let done = batch.get(..done).unwrap_or_default();
            let lines = done.iter().rposition(|byte| *byte == b'\n');
            let lines = lines.map_or(0, |at| at.saturating_add(1));
            *left = batch.get(lines..).unwrap_or_default();
        }
        while !left.is_empty() {
            let written = match self {
                Self::Stdout(stdout) => stdout.write(left),
                Self::File(file) => file.file.write(left),
            };
            match written {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(bytes) => *left = left.get(bytes..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        match self {
            Self::Stdout(stdout) => stdout.flush(),
            Self::File(_) => Ok(()),
        }
    }
}

struct AuditFile {
    path: PathBuf,
    file: File,
    /// Device and inode.
    place: (u64, u64),
}

impl AuditFile {
    fn open(path: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(MODE)
            .open(path)?;
        let facts = file.metadata()?;
        if facts.is_file() && !ends_with_a_line(&mut file, facts.len())? {
            // A program before this one was killed in the middle of it.
            file.write_all(b"\n")?;
        }
        Ok(Self {
            path: path.to_path_buf(),
            file,
            place: (facts.dev(), facts.ino()),
        })
    }

    /// Whether it is another file from now on (AUDIT-WRITE-3).
    fn follow(&mut self) -> io::Result<bool> {
        let is_there = match fs::metadata(&self.path) {
            Ok(facts) => (facts.dev(), facts.ino()) == self.place,
            Err(error) if error.kind() == ErrorKind::NotFound => false,
            Err(error) => return Err(error),
        };
        if !is_there {
            *self = Self::open(&self.path)?;
        }
        Ok(!is_there)
    }
}

fn ends_with_a_line(file: &mut File, length: u64) -> io::Result<bool> {
    let Some(last) = length.checked_sub(1) else {
        return Ok(true);
    };
    let mut byte = [0];
    file.seek(SeekFrom::Start(last))?;
    file.read_exact(&mut byte)?;
    Ok(byte == *b"\n")
}

/// Lines that wait for the thread, of about 300 bytes, 8 KiB at most: some seconds of refusals, a burst of logins.
pub(super) const QUEUE_LINES: usize = 512;
/// What is written at a time.
const BATCH_BYTES: usize = 64 * 1024;
/// Whom names lead to is nobody else's business; a file that is there keeps its mode.
const MODE: u32 = 0o600;
/// How soon a write that has failed is tried again.
const RETRY: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::log::END_WAIT;
    use crate::config::OnFull;
    use std::os::unix::fs::PermissionsExt as _;

    fn writer(path: &Path) -> AuditWriter {
        let state = Arc::new(AuditState::new(OnFull::Hold));
        AuditWriter::start(&AuditTarget::File(path.to_path_buf()), state).expect("it is opened")
    }

    fn written(writer: &AuditWriter, lines: u64) {
        let until = Instant::now() + Duration::from_secs(10);
        while writer.state.written() < lines {
            assert!(Instant::now() < until, "{:?}", writer.state);
            std::thread::yield_now();
        }
    }

    /// AUDIT-WRITE-1, AUDIT-WRITE-3
    #[tokio::test]
    async fn lines_go_on_in_a_new_file_where_the_old_one_was_moved_away() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, moved) = (folder.path().join("audit"), folder.path().join("audit.1"));
        fs::write(&path, "half a li").expect("it is written");
        let writer = writer(&path);
        writer.write("one\n".to_owned());
        written(&writer, 1);
        fs::rename(&path, &moved).expect("it is moved");
        writer.write("two\n".to_owned());
        written(&writer, 2);
        fs::remove_file(&path).expect("it is removed");
        writer.write("three\n".to_owned());
        writer.write("four\n".to_owned());
        writer.end(Instant::now() + END_WAIT).await;
        let read = |path: &Path| fs::read_to_string(path).expect("it is read");
        assert_eq!(read(&moved), "half a li\none\n");
        assert_eq!(read(&path), "three\nfour\n");
        let mode = fs::metadata(&path).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, MODE);
    }

    /// AUDIT-WRITE-2
    #[tokio::test]
    async fn what_cannot_be_written_is_tried_again_and_so_much_waits() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("audit");
        std::os::unix::fs::symlink("/dev/full", &path).expect("a link");
        let writer = writer(&path);
        writer.write("first\n".to_owned());
        while !writer.state.holds() {
            std::thread::yield_now();
        }
        let fault = writer.state.fault().expect("one");
        assert!(fault.contains("No space"), "{fault}");
        for line in 0..QUEUE_LINES {
            assert!(writer.has_room(1), "{line}");
            writer.write(format!("{line}\n"));
        }
        assert!(!writer.has_room(1));
        writer.write("lost\n".to_owned());
        assert_eq!(writer.state.dropped(), 1);
        fs::remove_file(&path).expect("it is removed");
        written(&writer, 1 + QUEUE_LINES as u64);
        assert!(!writer.state.holds());
        writer.end(Instant::now() + END_WAIT).await;
        let lines = fs::read_to_string(&path).expect("it is read");
        let expected: String = (0..QUEUE_LINES).map(|line| format!("{line}\n")).collect();
        assert_eq!(lines, format!("first\n{expected}"));
    }

    #[tokio::test]
    async fn the_end_does_not_wait_for_a_disk_that_is_full() {
        let writer = writer(Path::new("/dev/full"));
        let state = Arc::clone(writer.state());
        writer.write("line\n".to_owned());
        let begun = Instant::now();
        writer.end(begun + END_WAIT).await;
        assert!(begun.elapsed() < 2 * END_WAIT);
        assert_eq!(state.lost(), 1);
    }
}
