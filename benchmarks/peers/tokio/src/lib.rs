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
