// SPDX-License-Identifier: MIT
//! Two tasks of tokio that take turns: each goes to the end of the queue.
use std::time::Instant;
use weft_peer_tokio::*;

const ROUNDS: usize = 11;
const PER_ROUND: u32 = 200_000;

async fn take_turns() {
    for _ in 0..PER_ROUND {
        tokio::task::yield_now().await;
    }
}

async fn question() {
    let mut times = [0.0; ROUNDS];
    for t in &mut times {
        let begin = Instant::now();
        let a = tokio::spawn(take_turns());
        let b = tokio::spawn(take_turns());
        a.await.unwrap();
        b.await.unwrap();
        *t = begin.elapsed().as_nanos() as f64 / (2.0 * PER_ROUND as f64);
    }
    print_metric("time", "ns", median_of(&mut times));
}

fn main() {
    run(question());
}
