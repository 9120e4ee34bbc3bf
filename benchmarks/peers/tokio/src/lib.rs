// SPDX-License-Identifier: MIT
//! The instruments of ../../harness/measure.h, for tokio's programs.
use std::fs;
use std::time::Duration;

/// Of all threads, in user mode and in the kernel.
pub fn cpu_time() -> Duration {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut t) };
    Duration::new(t.tv_sec as u64, t.tv_nsec as u32)
}

/// A line of /proc/self/status in bytes.
pub fn status_bytes(name: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").expect("procfs");
    let line = status.lines().find(|l| l.starts_with(name)).expect("a line of that name");
    let kilobytes: f64 = line[name.len()..].trim().trim_end_matches(" kB").parse().expect("a number");
    kilobytes * 1024.0
}

pub fn print_metric(metric: &str, unit: &str, value: f64) {
    println!("{metric}\t{unit}\t{value}");
}

pub fn median_of(values: &mut [f64]) -> f64 {
    values.sort_by(|a, b| a.partial_cmp(b).expect("no NaN"));
    let n = values.len();
    if n % 2 != 0 { values[n / 2] } else { (values[n / 2 - 1] + values[n / 2]) / 2.0 }
}

pub fn run<F: std::future::Future>(main: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(main)
}

/// Prints what one of `count` things takes; the first round isn't counted.
pub fn print_time_each(metric: &str, count: u64, mut round: impl FnMut()) {
    round();
    let mut times = [0.0; 7];
    for t in &mut times {
        let begin = std::time::Instant::now();
        round();
        *t = begin.elapsed().as_nanos() as f64 / count as f64;
    }
    print_metric(metric, "ns", median_of(&mut times));
}

pub const CAPACITY: usize = 1024;
pub const ITEM_COUNT: u64 = 1_000_000;

pub async fn put_all(to: tokio::sync::mpsc::Sender<u64>) {
    for i in 0..ITEM_COUNT {
        to.send(i).await.unwrap();
    }
}

pub async fn get_all(mut from: tokio::sync::mpsc::Receiver<u64>) {
    let mut sum = 0;
    while let Some(item) = from.recv().await {
        sum += item;
    }
    assert_eq!(sum, ITEM_COUNT * (ITEM_COUNT - 1) / 2);
}

/// Keeps the calling thread on the n-th of the processors that the program was given.
pub fn pin_thread(n: usize) {
    unsafe {
        let mut given: libc::cpu_set_t = std::mem::zeroed();
        libc::sched_getaffinity(0, std::mem::size_of_val(&given), &mut given);
        let cpu = (0..libc::CPU_SETSIZE as usize).filter(|&c| libc::CPU_ISSET(c, &given)).nth(n);
        if let Some(cpu) = cpu {
            let mut one: libc::cpu_set_t = std::mem::zeroed();
            libc::CPU_SET(cpu, &mut one);
            libc::sched_setaffinity(0, std::mem::size_of_val(&one), &one);
        }
    }
}
