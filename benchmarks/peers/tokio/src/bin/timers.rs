// SPDX-License-Identifier: MIT
//! A million tasks of tokio that sleep.
use std::cell::Cell;
use std::time::Duration;
use weft_peer_tokio::*;

const COUNT: usize = 1_000_000;

thread_local!(static WOKEN: Cell<usize> = Cell::new(0));

async fn sleeper(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
    WOKEN.with(|w| w.set(w.get() + 1));
}

async fn question() {
    let before = status_bytes("VmRSS:");
    let cpu = cpu_time();
    let mut seed = 1u32;
    let mut handles = Vec::with_capacity(COUNT);
    for _ in 0..COUNT {
        seed = seed.wrapping_mul(1664525).wrapping_add(1013904223); // the sequence of measure.h
        handles.push(tokio::spawn(sleeper(u64::from(1000 + (seed >> 16) % 1000))));
    }
    for h in handles {
        h.await.unwrap();
    }
    assert!(WOKEN.with(|w| w.get()) == COUNT);
    print_metric("cpu", "ms", (cpu_time() - cpu).as_secs_f64() * 1000.0);
    print_metric("memory", "bytes", (status_bytes("VmHWM:") - before) / COUNT as f64);
}

fn main() {
    run(question());
}
