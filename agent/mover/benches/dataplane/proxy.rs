//! A proxy in front of the S3 server that counts requests and bytes, and changes nothing.
//!
//! Connections stay open as the client wants them, so its speed is that of the server. Only what the client sends is read
//! closely enough to tell one request from the next.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

/// What went through.
#[derive(Clone, Debug, Default)]
pub struct Traffic {
    /// Requests, by method.
    pub methods: BTreeMap<String, u64>,
    /// Bytes from the client, heads included.
    pub up: u64,
    /// Bytes to the client, heads included.
    pub down: u64,
    /// Answers that blame the server (5xx): what they answered is asked again.
    pub server_errors: u64,
}

impl Traffic {
    /// Requests, those left out that the test server failed and that had to be repeated: with many uploads at a time it now and then
    /// trips over a folder that two of them make.
    pub fn requests(&self) -> u64 {
        self.methods.values().sum::<u64>().saturating_sub(self.server_errors)
    }
}

/// The proxy. It lives as long as the process.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    traffic: Arc<Mutex<Traffic>>,
}

impl Proxy {
    /// In front of `upstream`, on a port of the kernel's choice.
    pub fn start(upstream: &str) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let proxy = Self { address: listener.local_addr()?, traffic: Arc::default() };
        let (traffic, upstream) = (Arc::clone(&proxy.traffic), upstream.to_owned());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (traffic, upstream) = (Arc::clone(&traffic), upstream.clone());
                std::thread::spawn(move || {
                    // A client that goes away is nothing to a proxy.
                    let _ = serve(client, &upstream, &traffic);
                });
            }
        });
        Ok(proxy)
    }

    /// `host:port`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// What went through since the last call.
    pub fn take(&self) -> Traffic {
        std::mem::take(&mut self.traffic.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn serve(client: TcpStream, upstream: &str, traffic: &Arc<Mutex<Traffic>>) -> io::Result<()> {
    let server = TcpStream::connect(upstream)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut answers, mut to_client) = (server.try_clone()?, client.try_clone()?);
    let counted = Arc::clone(traffic);
    std::thread::spawn(move || {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(got @ 1..) = answers.read(&mut buffer) {
            let bytes = buffer.get(..got).unwrap_or_default();
            {
                let mut traffic = lock(&counted);
                traffic.down += got as u64;
                // An answer begins with a read of its own, for the next request is sent only after it.
                traffic.server_errors += u64::from(bytes.starts_with(b"HTTP/1.1 5"));
            }
            if to_client.write_all(bytes).is_err() {
                break;
            }
        }
        let _ = to_client.shutdown(Shutdown::Both);
    });
    let done = requests(BufReader::with_capacity(64 * 1024, client), &server, traffic);
    server.shutdown(Shutdown::Write)?;
    done
}

fn lock(traffic: &Mutex<Traffic>) -> std::sync::MutexGuard<'_, Traffic> {
    traffic.lock().unwrap_or_else(PoisonError::into_inner)
}

fn requests(mut client: BufReader<TcpStream>, mut server: &TcpStream, traffic: &Mutex<Traffic>) -> io::Result<()> {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if client.read_until(b'\n', &mut head)? == 0 {
                return Ok(());
            }
        }
        let text = String::from_utf8_lossy(&head).to_ascii_lowercase();
        if text.contains("\r\ntransfer-encoding:") {
            return Err(io::Error::other("a request of unknown length cannot be counted"));
        }
        let length: u64 = text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok()).unwrap_or(0);
        let method = text.split(' ').next().unwrap_or_default().to_uppercase();
        {
            let mut traffic = lock(traffic);
            *traffic.methods.entry(method).or_default() += 1;
            traffic.up += head.len() as u64 + length;
        }
        server.write_all(&head)?;
        io::copy(&mut client.by_ref().take(length), &mut server)?;
    }
}
