//! Rows of free ports, for programs whose ports are configured.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

/// The first of `count` ports in a row that are free now on every address, and that no other call in this process
/// gave out.
///
/// # Panics
/// When there are none.
pub fn free_row(count: u16) -> u16 {
    // Below the ports that systems hand out by themselves; processes start at different places.
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % 60).unwrap() * 200;
    for _ in 0..500 {
        let first = 20_000 + (start + NEXT.fetch_add(count, Ordering::Relaxed)) % 12_000;
        let bound: Vec<_> =
            (first..first + count).map(|port| TcpListener::bind(("0.0.0.0", port))).collect();
        if bound.iter().all(Result::is_ok) {
            return first;
        }
    }
    panic!("no {count} free ports in a row");
}
