// SPDX-License-Identifier: MIT
//! Items through a bounded channel of tokio between tasks of one thread. It has one receiver only.
use weft_peer_tokio::*;

async fn pass_all() {
    let (to, from) = tokio::sync::mpsc::channel(CAPACITY);
    let puts = tokio::spawn(put_all(to));
    let gets = tokio::spawn(get_all(from));
    puts.await.unwrap();
    gets.await.unwrap();
}

fn main() {
    print_time_each("1:1", ITEM_COUNT, || run(pass_all()));
}
