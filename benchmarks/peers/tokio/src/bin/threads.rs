// SPDX-License-Identifier: MIT
//! Items through a bounded channel of tokio between the tasks of two threads, each with a runtime of its own. It has one
//! receiver only.
use weft_peer_tokio::*;

fn pass_all() {
    let (to, from) = tokio::sync::mpsc::channel(CAPACITY);
    let puts = std::thread::spawn(move || {
        pin_thread(0);
        run(async { tokio::spawn(put_all(to)).await.unwrap() });
    });
    let gets = std::thread::spawn(move || {
        pin_thread(1);
        run(async { tokio::spawn(get_all(from)).await.unwrap() });
    });
    puts.join().unwrap();
    gets.join().unwrap();
}

fn main() {
    print_time_each("1:1", ITEM_COUNT, pass_all);
}
