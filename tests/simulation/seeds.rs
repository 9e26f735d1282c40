//! Many worlds, one for each seed, on as many threads as there are cores.
//!
//! | variable | is |
//! |---|---|
//! | `SEALWIRE_SIMULATION_SEED` | the only seed |
//! | `SEALWIRE_SIMULATION_SEEDS` | how many, from the first one on |
//! | `SEALWIRE_SIMULATION_FIRST` | the first one; 0 without it |

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// Lives through the worlds of `count` seeds, or of those that the variables say, each on a thread of its own, and says
/// what came of them.
///
/// # Panics
/// When one went wrong; the message names its seed.
pub(crate) fn each<T: Send>(count: u64, live: impl Fn(u64) -> T + Sync) -> Vec<T> {
    let only = variable("SEED");
    let first = only.or(variable("FIRST")).unwrap_or(0);
    let count = only.map_or(variable("SEEDS").unwrap_or(count), |_| 1);
    match each_until_wrong(first..first + count, live) {
        Ok(ended) => ended,
        Err((seed, _)) => panic!(
            "the world of SEALWIRE_SIMULATION_SEED={seed} of {} went wrong as said above",
            thread::current().name().unwrap_or_default()
        ),
    }
}

/// Until one goes wrong: `Err` is its seed, and what was said of it.
pub(crate) fn each_until_wrong<T: Send>(
    seeds: Range<u64>,
    live: impl Fn(u64) -> T + Sync,
) -> Result<Vec<T>, (u64, String)> {
    let (next, live) = (AtomicU64::new(seeds.start), &live);
    let work = || {
        let mut ended = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return Ok(ended);
            }
            // By its name a panic says of which world it is.
            let world = thread::Builder::new().name(format!("seed {seed}"));
            let end = thread::scope(|scope| {
                let world = world.spawn_scoped(scope, move || live(seed));
                world.expect("a thread for a world").join()
            });
            match end {
                Ok(end) => ended.push(end),
                Err(panic) => {
                    next.store(u64::MAX / 2, Ordering::Relaxed);
                    let said = panic.downcast_ref::<String>().cloned();
                    return Err((seed, said.unwrap_or_default()));
                }
            }
        }
    };
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        let mut all = Vec::new();
        for worker in workers {
            all.extend(worker.join().expect("the worlds have threads of their own")?);
        }
        Ok(all)
    })
}

fn variable(name: &str) -> Option<u64> {
    let value = std::env::var(format!("SEALWIRE_SIMULATION_{name}")).ok()?;
    Some(
        value
            .parse()
            .unwrap_or_else(|_| panic!("{name} is a number: {value}")),
    )
}
