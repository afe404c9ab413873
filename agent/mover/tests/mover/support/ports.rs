//! Ports for servers that cannot let the kernel choose one and say which.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

/// Ports below those that the kernel gives to outgoing connections, of which a hundred are opened a second here: such a
/// connection would take the port between this check and the program's start. Each is given out once.
pub(crate) fn free_ports<const N: usize>() -> [u16; N] {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Another run beside this one begins elsewhere; where they meet, the check decides.
    let first = std::process::id() % 8000;
    [(); N].map(|()| {
        let mut ports = std::iter::repeat_with(|| 16_000 + (u16::try_from(first).unwrap() + NEXT.fetch_add(1, Ordering::Relaxed)) % 16_000);
        ports.by_ref().take(16_000).find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap()
    })
}
