//! The executors' threads, from start to end, and the cores that they run on.

use std::time::Duration;

use glommio::ExecutorJoinHandle;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use super::ServerError;
use crate::channel::Sender;
use crate::config::Executors;
use crate::messages::ExecutorMessage;

/// The executors' threads. Ends them when it goes out of scope, so that a failed start leaves none behind.
#[derive(Default)]
pub(super) struct Threads {
    messages: Vec<Sender<ExecutorMessage>>,
    handles: Vec<Option<ExecutorJoinHandle<()>>>,
}

impl Threads {
    /// Takes charge of an executor's thread.
    pub(super) fn add(&mut self, messages: Sender<ExecutorMessage>, handle: ExecutorJoinHandle<()>) {
        self.messages.push(messages);
        self.handles.push(Some(handle));
    }

    /// Waits until the executor that was added last says that it runs.
    pub(super) fn wait_for_start(
        &mut self,
        runtime: &Runtime,
        executor: usize,
        started: oneshot::Receiver<()>,
    ) -> Result<(), ServerError> {
        let told = runtime.block_on(async { tokio::time::timeout(START_TIMEOUT, started).await });
        match told {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => {
                // Its thread is gone; joining says why.
                let reason = match self.handles.pop().flatten().map(ExecutorJoinHandle::join) {
                    Some(Err(error)) => error.to_string(),
                    _ => "its thread ended".to_owned(),
                };
                Err(ServerError::Executor(executor, reason))
            }
            Err(_) => Err(ServerError::Executor(executor, "it does not answer".to_owned())),
        }
    }

    /// Tells every executor to end, and waits for the threads.
    pub(super) fn stop(mut self) -> Result<(), ServerError> {
        self.end()
    }

    fn end(&mut self) -> Result<(), ServerError> {
        for sender in &self.messages {
            let mut message = ExecutorMessage::Stop;
            // An executor empties its channel with every tick.
            for _ in 0..STOP_TRIES {
                match sender.try_send(message) {
                    Ok(()) => break,
                    Err(back) => message = back,
                }
                std::thread::park_timeout(Duration::from_millis(5));
            }
        }
        let mut outcome = Ok(());
        for (executor, handle) in self.handles.iter_mut().enumerate() {
            if let Some(Err(error)) = handle.take().map(ExecutorJoinHandle::join) {
                outcome = Err(ServerError::Executor(executor, error.to_string()));
            }
        }
        outcome
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            tracing::error!(%error, "an executor did not end well");
        }
    }
}

/// The cores to run executors on: those of the process' affinity mask, in turn.
pub(super) fn executor_cpus(executors: Executors) -> Vec<usize> {
    let mut cpus: Vec<usize> = glommio::CpuSet::online()
        .map(|set| set.into_iter().map(|location| location.cpu).collect())
        .unwrap_or_default();
    if let Some(mask) = affinity_mask() {
        cpus.retain(|cpu| mask.contains(cpu));
    }
    cpus.sort_unstable();
    if cpus.is_empty() {
        cpus.push(0);
    }
    match executors {
        Executors::Auto => cpus,
        Executors::Count(count) => cpus.iter().copied().cycle().take(count.get()).collect(),
    }
}

/// `Cpus_allowed_list` of proc(5): numbers and ranges.
fn affinity_mask() -> Option<Vec<usize>> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let list = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    let mut cpus = Vec::new();
    for part in list.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let range: std::ops::RangeInclusive<usize> = first.parse().ok()?..=last.parse().ok()?;
        cpus.extend(range.take(CPUS_MAX));
    }
    Some(cpus)
}

/// An executor runs about 15 ms after its thread was started; on a busy machine it takes longer.
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// Five seconds in all.
const STOP_TRIES: usize = 1000;
/// Cores in one range of an affinity mask.
const CPUS_MAX: usize = 4096;
