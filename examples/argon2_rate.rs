//! How many passwords this machine hashes in a second: the ceiling of sign-ins, against which the benchmark holds them.
//!
//! `argon2_rate SECONDS THREADS` hashes with the server's own parameters, on so many threads, and prints one line of JSON:
//! `{"hashes_per_second": x, "threads": n}`.

#![expect(clippy::print_stdout, reason = "a program for the command line: its answer goes to standard output")]

use std::error::Error;
use std::thread;
use std::time::{Duration, Instant};

use argon2::{Algorithm, Argon2, Block, Params, Version};

/// Memory of one hash, in KiB. This and the next two are the server's (`src/actors/auth/argon.rs`).
const MEMORY_KIB: u32 = 19_456;
/// Passes over that memory.
const PASSES: u32 = 2;
/// Lanes, each of which could have a thread.
const LANES: u32 = 1;

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [seconds, threads] = arguments.as_slice() else {
        return Err("usage: argon2_rate SECONDS THREADS".into());
    };
    let duration = Duration::try_from_secs_f64(seconds.parse()?)?;
    let threads: usize = threads.parse()?;
    if duration.is_zero() || threads == 0 {
        return Err("SECONDS and THREADS must be above zero".into());
    }
    let rate = hashes_per_second(duration, threads)?;
    println!("{}", serde_json::json!({ "hashes_per_second": rate, "threads": threads }));
    Ok(())
}

/// The sum of the threads' own rates: each divides by its own time, which ends with its last hash and not in the middle.
fn hashes_per_second(duration: Duration, threads: usize) -> Result<f64, Failure> {
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(|| one_thread(duration))).collect();
        let rates = workers.into_iter().map(|worker| match worker.join() {
            Ok(rate) => rate,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        rates.sum()
    })
}

fn one_thread(duration: Duration) -> Result<f64, Failure> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None)?;
    let hasher = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    // The server's threads keep their memory while they have work, so the ceiling is that of hashing on the same memory.
    let mut memory = vec![Block::default(); hasher.params().block_count()];
    let mut hash = |n: u32| {
        let mut out = [0_u8; 32];
        // A salt of its own for each password.
        let salt = [n.to_be_bytes(); 4].concat();
        hasher.hash_password_into_with_memory(b"correct horse battery staple", &salt, &mut out, &mut memory)?;
        std::hint::black_box(out);
        Ok::<_, argon2::Error>(())
    };
    // Not counted: the first hash brings code and memory into place.
    hash(0)?;
    let started = Instant::now();
    let mut n_hashes = 0_u32;
    while started.elapsed() < duration {
        hash(n_hashes)?;
        n_hashes += 1;
    }
    Ok(f64::from(n_hashes) / started.elapsed().as_secs_f64())
}
