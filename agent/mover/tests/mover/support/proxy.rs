//! A proxy that counts requests and misbehaves on demand. One request a connection: slow and simple.
//!
//! A request is read whole before any of it is passed on, so that a sender that dies in the middle of one leaves nothing behind: as with
//! a real object store.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

/// A request as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) target: String,
    /// How many came before it under the same rule, and itself.
    pub(crate) number: usize,
}

impl Request {
    /// Whether it is of this method, and of a target that contains `part`.
    pub(crate) fn is(&self, method: &str, part: &str) -> bool {
        self.method == method && self.target.contains(part)
    }

    /// Whether it lists a bucket, in either version of that request.
    pub(crate) fn lists(&self) -> bool {
        self.is("GET", "prefix=")
    }
}

/// What the proxy does with a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Action {
    /// Passes it on.
    Pass,
    /// Answers it itself.
    Answer(&'static str, &'static str),
    /// Never answers.
    Hang,
    /// Passes it on after this time.
    Delay(Duration),
    /// Closes the connection without an answer.
    Cut(When),
    /// Kills the process group it was told of, as a power failure would, and passes on nothing that came later.
    Kill(When),
    /// Passes it on and spoils the answer.
    Spoil(Damage),
}

/// Whether the server gets the request first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// The request is lost.
    Before,
    /// The request takes effect; its answer is lost.
    After,
}

/// What is wrong with a spoilt answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Damage {
    /// One byte of the body is another one.
    Flipped,
    /// The body lacks its second half, and its length says so.
    Shortened,
    /// The connection ends in the middle of the body.
    Cut,
}

/// As much of an answer as is read at first: a server writes its status line and more in one piece.
const STATUS_LINE: usize = 512;

type Rule = Box<dyn FnMut(&Request) -> Action + Send>;

/// A request, and the status of its answer once it has had one.
type Logged = (Request, Option<u16>);

struct State {
    log: Vec<Logged>,
    rule: Rule,
    number: usize,
    victim: Option<Pid>,
    /// The victim is dead: what it had sent is lost.
    dead: bool,
    in_flight: usize,
}

#[derive(Clone)]
pub(crate) struct Proxy {
    port: u16,
    state: Arc<(Mutex<State>, Condvar)>,
}

impl Proxy {
    pub(crate) fn start(upstream: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let state = State { log: Vec::new(), rule: Box::new(|_| Action::Pass), number: 0, victim: None, dead: false, in_flight: 0 };
        let proxy = Self { port: listener.local_addr().unwrap().port(), state: Arc::new((Mutex::new(state), Condvar::new())) };
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
        let mut state = self.lock();
        (state.rule, state.number, state.victim, state.dead) = (Box::new(rule), 0, None, false);
    }

    /// Every request is passed on from now on.
    pub(crate) fn behave(&self) {
        self.rule(|_| Action::Pass);
    }

    /// As [`Proxy::rule`]; every request that it does anything to but pass is told to the receiver too.
    pub(crate) fn watch(&self, mut rule: impl FnMut(&Request) -> Action + Send + 'static) -> Receiver<Request> {
        let (sender, receiver): (Sender<Request>, _) = channel();
        self.rule(move |request| {
            let action = rule(request);
            if !matches!(action, Action::Pass) {
                // A test that has seen enough need not listen on.
                let _ = sender.send(request.clone());
            }
            action
        });
        receiver
    }

    /// The process group that [`Action::Kill`] kills.
    pub(crate) fn victim(&self, group: Pid) {
        self.lock().victim = Some(group);
        self.state.1.notify_all();
    }

    /// The requests since the last call. One that the server failed to answer, or answered by an error of its own, was made once more by
    /// rclone: such a one is left out.
    pub(crate) fn take(&self) -> Vec<Request> {
        self.settle();
        let log = std::mem::take(&mut self.lock().log);
        let answered = |status: &Option<u16>| status.is_some_and(|status| status < 500);
        log.into_iter().filter(|(_, status)| answered(status)).map(|(request, _)| request).collect()
    }

    /// Waits until nothing that was passed on is unanswered.
    pub(crate) fn settle(&self) {
        let state = self.lock();
        drop(self.state.1.wait_while(state, |state| state.in_flight > 0).unwrap());
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.0.lock().unwrap()
    }

    fn serve(&self, mut client: TcpStream, upstream: &str) -> std::io::Result<()> {
        let mut reader = BufReader::new(client.try_clone()?);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head)? == 0 {
                return Ok(());
            }
        }
        let (first, headers) = head.split_once("\r\n").unwrap();
        let header = |name: &str| headers.lines().find_map(|line| Some(line.to_ascii_lowercase().strip_prefix(name)?.trim().to_owned()));
        let mut words = first.split(' ').map(str::to_owned);
        let (method, target) = (words.next().unwrap(), words.next().unwrap());

        let (action, dead, number) = {
            let mut state = self.lock();
            state.number += 1;
            let request = Request { method, target, number: state.number };
            state.log.push((request.clone(), None));
            ((state.rule)(&request), state.dead, request.number)
        };
        if dead {
            return Ok(());
        }
        match action {
            Action::Pass | Action::Spoil(_) | Action::Cut(When::After) | Action::Kill(When::After) => {}
            Action::Cut(When::Before) => return Ok(()),
            Action::Kill(When::Before) => return self.kill(),
            Action::Hang => return std::io::copy(&mut reader, &mut std::io::sink()).map(drop),
            // Nothing is waited for: this is the time that a network takes.
            Action::Delay(time) => std::thread::park_timeout(time),
            Action::Answer(status, body) => {
                let length = body.len();
                write!(client, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")?;
                return client.shutdown(Shutdown::Write);
            }
        }

        if header("expect:").is_some() {
            write!(client, "HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let mut body = vec![0; header("content-length:").map_or(0, |length| length.parse().unwrap())];
        reader.read_exact(&mut body)?;
        {
            let mut state = self.lock();
            if state.dead {
                return Ok(());
            }
            state.in_flight += 1;
        }
        let done = forward(upstream, first, headers, &body, action, &client);
        {
            let mut state = self.lock();
            state.in_flight -= 1;
            if let Ok((status, _)) = &done
                && let Some(logged) = state.log.iter_mut().rev().find(|(request, _)| request.number == number)
            {
                logged.1 = *status;
            }
        }
        self.state.1.notify_all();
        let (_, answer) = done?;
        match action {
            Action::Kill(_) => self.kill(),
            Action::Spoil(damage) => {
                client.write_all(&spoilt(&answer, damage))?;
                client.shutdown(Shutdown::Write)
            }
            _ => Ok(()),
        }
    }

    /// Kills the victim, as soon as it is known.
    fn kill(&self) -> std::io::Result<()> {
        let mut state = self.lock();
        state.dead = true;
        let state = self.state.1.wait_while(state, |state| state.victim.is_none()).unwrap();
        Ok(kill_process_group(state.victim.unwrap(), Signal::KILL)?)
    }
}

/// Passes a request on. The answer goes to the client at once, or is returned where something is to be done to it.
fn forward(
    upstream: &str,
    first: &str,
    headers: &str,
    body: &[u8],
    action: Action,
    client: &TcpStream,
) -> std::io::Result<(Option<u16>, Vec<u8>)> {
    let mut server = TcpStream::connect(upstream)?;
    write!(server, "{first}\r\nConnection: close\r\n")?;
    for line in headers.lines().filter(|line| !line.to_ascii_lowercase().starts_with("expect:")) {
        write!(server, "{line}\r\n")?;
    }
    server.write_all(body)?;
    let mut answer = vec![0; STATUS_LINE];
    let begun = server.read(&mut answer)?;
    answer.truncate(begun);
    let status = std::str::from_utf8(answer.get(9..12).unwrap_or_default()).ok().and_then(|status| status.parse().ok());
    if matches!(action, Action::Pass | Action::Delay(_)) {
        let mut client = client;
        client.write_all(&answer)?;
        std::io::copy(&mut server, &mut client)?;
        client.shutdown(Shutdown::Write)?;
    } else {
        server.read_to_end(&mut answer)?;
    }
    Ok((status, answer))
}

fn spoilt(answer: &[u8], damage: Damage) -> Vec<u8> {
    let at = answer.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
    let (head, body) = answer.split_at(at);
    let half = body.len() / 2;
    match damage {
        Damage::Flipped => {
            let mut body = body.to_vec();
            if let Some(byte) = body.get_mut(half) {
                *byte ^= 1;
            }
            [head, &body].concat()
        }
        Damage::Cut => [head, &body[..half]].concat(),
        Damage::Shortened => {
            let head = String::from_utf8_lossy(head);
            let lines = head.lines().filter(|line| !line.to_ascii_lowercase().starts_with("content-length:") && !line.is_empty());
            let head = lines.collect::<Vec<_>>().join("\r\n");
            let length = format!("\r\nContent-Length: {half}\r\n\r\n");
            [head.as_bytes(), length.as_bytes(), &body[..half]].concat()
        }
    }
}
