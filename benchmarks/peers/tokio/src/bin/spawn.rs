// SPDX-License-Identifier: MIT
//! Spawns a million tasks of tokio, all of which exist before the first runs, and joins them.
use std::cell::Cell;
use std::time::Instant;
use weft_peer_tokio::*;

const ROUNDS: usize = 5;
const COUNT: usize = 1_000_000;

thread_local!(static SUM: Cell<usize> = Cell::new(0));

async fn child() {
    SUM.with(|s| s.set(s.get() + 1));
}

async fn question() {
    let before = status_bytes("VmRSS:");
    let mut times = [0.0; ROUNDS];
    for t in &mut times {
        SUM.with(|s| s.set(0));
        let begin = Instant::now();
        let mut handles = Vec::with_capacity(COUNT);
        for _ in 0..COUNT {
            handles.push(tokio::spawn(child()));
        }
        for h in handles {
            h.await.unwrap();
        }
        *t = begin.elapsed().as_nanos() as f64 / COUNT as f64;
        assert!(SUM.with(|s| s.get()) == COUNT);
    }
    print_metric("memory", "bytes", (status_bytes("VmHWM:") - before) / COUNT as f64);
    print_metric("first", "ns", times[0]);
    print_metric("time", "ns", median_of(&mut times[1..]));
}

fn main() {
    run(question());
}
