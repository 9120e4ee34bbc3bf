// SPDX-License-Identifier: MIT
//! Two tasks of tokio that send an item back and forth through two channels with room for one.
use tokio::sync::mpsc;
use weft_peer_tokio::*;

const COUNT: u64 = 1_000_000;

async fn play() {
    let (there, mut from_there) = mpsc::channel(1);
    let (back, mut from_back) = mpsc::channel(1);
    let other = tokio::spawn(async move {
        while let Some(item) = from_there.recv().await {
            back.send(item).await.unwrap();
        }
    });
    for i in 0..COUNT {
        there.send(i).await.unwrap();
        from_back.recv().await.unwrap();
    }
    drop(there);
    other.await.unwrap();
}

fn main() {
    print_time_each("round trip", COUNT, || run(async { tokio::spawn(play()).await.unwrap() }));
}
