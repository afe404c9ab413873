//! In rclone's place: listens on the socket of `--rc-addr unix://SOCKET`, accepts, and never answers. Once it has accepted a connection, there is
//! the file that the variable ACCEPTED names. For tests.

// A tool for tests: what goes wrong here ends it with a message, and the test fails.
#![allow(clippy::unwrap_used)]

use std::os::unix::net::UnixListener;

fn main() {
    let address = std::env::args().find(|arg| arg.starts_with("unix://")).unwrap();
    let listener = UnixListener::bind(address.strip_prefix("unix://").unwrap()).unwrap();
    let mut connections = Vec::new();
    for connection in listener.incoming() {
        connections.push(connection.unwrap());
        std::fs::write(std::env::var_os("ACCEPTED").unwrap(), "").unwrap();
    }
}
