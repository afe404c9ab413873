//! A proxy that counts requests and misbehaves on demand. One request a connection: slow and simple.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A request as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) target: String,
}

/// What the proxy does with a request.
pub(crate) enum Action {
    /// Passes it on.
    Pass,
    /// Answers it itself.
    Answer(&'static str, &'static str),
    /// Never answers.
    Hang,
}

type Rule = Box<dyn FnMut(&Request) -> Action + Send>;

#[derive(Clone)]
pub(crate) struct Proxy {
    port: u16,
    log: Arc<Mutex<Vec<Request>>>,
    rule: Arc<Mutex<Rule>>,
}

impl Proxy {
    pub(crate) fn start(upstream: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Self {
            port: listener.local_addr().unwrap().port(),
            log: Arc::default(),
            rule: Arc::new(Mutex::new(Box::new(|_| Action::Pass))),
        };
        let (shared, upstream) = (proxy.clone(), upstream.to_owned());
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (shared, upstream) = (shared.clone(), upstream.clone());
                // A client that goes away is nothing to a proxy.
                std::thread::spawn(move || shared.serve(client?, &upstream));
            }
        });
        proxy
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// From now on, `rule` decides.
    pub(crate) fn rule(&self, rule: impl FnMut(&Request) -> Action + Send + 'static) {
        *self.rule.lock().unwrap() = Box::new(rule);
    }

    /// The requests since the last call.
    pub(crate) fn take(&self) -> Vec<Request> {
        std::mem::take(&mut self.log.lock().unwrap())
    }

    fn serve(&self, client: TcpStream, upstream: &str) -> std::io::Result<()> {
        let mut reader = BufReader::new(client.try_clone()?);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head)? == 0 {
                return Ok(());
            }
        }
        let (first, headers) = head.split_once("\r\n").unwrap();
        let mut words = first.split(' ').map(str::to_owned);
        let request = Request { method: words.next().unwrap(), target: words.next().unwrap() };
        self.log.lock().unwrap().push(request.clone());
        let action = (self.rule.lock().unwrap())(&request);
        let mut client = client;
        match action {
            Action::Pass => {}
            Action::Hang => {
                std::io::copy(&mut reader, &mut std::io::sink())?;
                return Ok(());
            }
            Action::Answer(status, body) => {
                let length = body.len();
                write!(client, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")?;
                return client.shutdown(Shutdown::Write);
            }
        }
        let mut server = TcpStream::connect(upstream)?;
        write!(server, "{first}\r\nConnection: close\r\n{headers}")?;
        let mut back = server.try_clone()?;
        let answer = std::thread::spawn(move || {
            std::io::copy(&mut back, &mut client)?;
            client.shutdown(Shutdown::Write)
        });
        let length =
            headers.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok()).unwrap_or(0);
        std::io::copy(&mut reader.take(length), &mut server)?;
        answer.join().unwrap()
    }
}
