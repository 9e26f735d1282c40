//! A call under way, as long as this lives: also one that is dropped because it took too long is over then.

use std::sync::{Arc, Mutex};

use super::{CALLS_MAX, State, lock};

pub(super) struct UnderWay {
    state: Arc<Mutex<State>>,
    unwrapped: Option<Vec<u8>>,
}

impl UnderWay {
    /// Notes what may not be asked now (SIM-KMS-1).
    pub(super) fn begin(state: &Arc<Mutex<State>>, unwrapped: Option<&[u8]>) -> Self {
        let mut held = lock(state);
        held.calls += 1;
        if held.calls > CALLS_MAX {
            let breach = format!("{} calls at a time", held.calls);
            held.breaches.push(breach);
        }
        let mut unwrapped = unwrapped.map(<[u8]>::to_vec);
        if let Some(wrapped) = unwrapped.take_if(|wrapped| !held.unwrapping.insert(wrapped.clone())) {
            held.breaches
                .push(format!("unwrapped twice at a time: {wrapped:x?}"));
        }
        Self {
            state: Arc::clone(state),
            unwrapped,
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut held = lock(&self.state);
        held.calls -= 1;
        if let Some(wrapped) = &self.unwrapped {
            held.unwrapping.remove(wrapped);
        }
    }
}
