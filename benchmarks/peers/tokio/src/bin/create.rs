// SPDX-License-Identifier: MIT
//! Creates and awaits a future that is ready at once. It is boxed, as every future is that crosses an interface or recurses:
//! one that is not boxed is a value which the compiler inlines, and then nothing is created.
use std::future::Future;
use std::pin::Pin;
use std::time::Instant;
use weft_peer_tokio::*;

const ROUNDS: usize = 11;
const PER_ROUND: u32 = 1_000_000;

#[inline(never)]
fn ready(i: u32) -> Pin<Box<dyn Future<Output = u32>>> {
    Box::pin(async move { i })
}

async fn question() {
    let mut times = [0.0; ROUNDS];
    let mut sum = 0u32;
    for t in &mut times {
        let begin = Instant::now();
        for i in 0..PER_ROUND {
            sum = sum.wrapping_add(ready(i).await);
        }
        *t = begin.elapsed().as_nanos() as f64 / PER_ROUND as f64;
    }
    assert!(sum != 0);
    print_metric("time", "ns", median_of(&mut times));
}

fn main() {
    run(question());
}
