//! Stands between the agent and the API server, passes everything on, and misbehaves as it is told.

use futures::StreamExt;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::HeaderValue;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use kube::Client;
use kube::client::Body;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinSet;

type Answer = Response<http_body_util::combinators::UnsyncBoxBody<Bytes, std::io::Error>>;

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Nothing: it is passed on.
    None,
    /// 409, and nothing is done.
    Conflict,
    /// 429 with `Retry-After: 1`, and nothing is done.
    TooManyRequests,
    /// 503 with `Retry-After: 3600`, as a load balancer in maintenance answers, and nothing is done.
    Maintenance,
    /// 500, and nothing is done.
    ServerError,
    /// 403 as RBAC words it, and nothing is done.
    Forbidden,
    /// 404 as for a kind that is not served, and nothing is done.
    NotServed,
    /// 401, and nothing is done.
    Unauthorized,
    /// The connection breaks before anything is done.
    CutBefore,
    /// It is done, but the connection breaks before the answer.
    CutAfter,
    /// It is done, but the answer is a 504.
    TimeoutAfter,
    /// It takes a while.
    Late,
    /// It is done at once, but the answer takes a while.
    LateAnswer,
    /// There is never an answer.
    Silent,
    /// A watch: the resource version has expired.
    Expired,
    /// A watch: it ends at once, well and without an event.
    WatchEnded,
    /// A watch: it breaks after one event.
    WatchCut,
    /// A list of snapshots: 200, and nothing is in it.
    Empty,
    /// A mover's log: it is there, and its last line does not change.
    Log,
    /// A mover's log: it is there, and its last line is another one each time.
    MovingLog,
    /// A page of a list: 410, the list has expired.
    ListExpired,
}

/// A request, as rules see it.
#[derive(Debug)]
pub struct Call<'a> {
    /// Its method.
    pub method: &'a Method,
    /// Its path.
    pub path: &'a str,
    /// What follows the path.
    pub query: &'a str,
    /// Whether it is a watch.
    pub watch: bool,
    /// What it says in `Authorization`.
    pub authorization: &'a str,
}

impl Call<'_> {
    /// Whether it is a page of a watcher's list, and not a read of the agent's own, whose pages have another size.
    pub fn lists(&self) -> bool {
        !self.watch && !self.writes() && self.query.split('&').any(|part| part == "limit=50")
    }

    /// Whether it changes anything.
    pub fn writes(&self) -> bool {
        self.method != Method::GET
    }
}

/// Decides what becomes of each request.
pub type Rule = Box<dyn FnMut(&Call) -> Fault + Send>;

/// The proxy; its connections break when it is dropped.
pub struct Proxy {
    /// Where it listens.
    pub url: String,
    shared: Arc<Shared>,
    _serving: JoinSet<()>,
}

struct Shared {
    upstream: Client,
    rule: Mutex<Rule>,
    counted: Mutex<BTreeMap<Fault, usize>>,
    cut: Notify,
}

impl Proxy {
    /// Starts it before `upstream`.
    pub async fn start(upstream: Client, rule: Rule) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared { upstream, rule: Mutex::new(rule), counted: Mutex::default(), cut: Notify::new() });
        let mut serving = JoinSet::new();
        serving.spawn(accept(listener, shared.clone()));
        Proxy { url, shared, _serving: serving }
    }

    /// From now on this decides.
    pub fn rule(&self, rule: impl FnMut(&Call) -> Fault + Send + 'static) {
        *self.shared.rule.lock().unwrap() = Box::new(rule);
    }

    /// Breaks all connections, those of watches too.
    pub fn cut(&self) {
        self.shared.cut.notify_waiters();
    }

    /// Requests so far by what became of them; watches that were left in peace are not among them.
    pub fn counted(&self) -> BTreeMap<Fault, usize> {
        self.shared.counted.lock().unwrap().clone()
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let shared = shared.clone();
        connections.spawn(async move {
            let service = service_fn(|request| answer(&shared, request));
            // A broken connection is what we are here for.
            tokio::select! {
                _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service) => {}
                () = shared.cut.notified() => {}
            }
        });
    }
}

/// An error breaks the connection.
async fn answer(shared: &Shared, request: Request<Incoming>) -> Result<Answer, std::io::Error> {
    let query = request.uri().query().unwrap_or_default();
    let watch = query.contains("watch=true");
    let authorization = request.headers().get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let call = Call { method: request.method(), path: request.uri().path(), query, watch, authorization: &authorization };
    let fault = (shared.rule.lock().unwrap())(&call);
    if !watch || fault != Fault::None {
        *shared.counted.lock().unwrap().entry(fault).or_default() += 1;
    }
    match fault {
        Fault::Conflict => {
            return Ok(refuse(409, "Conflict", "the object has been modified; please apply your changes to the latest version"));
        }
        Fault::TooManyRequests => return Ok(refuse(429, "TooManyRequests", "too many requests, please try again later")),
        Fault::Maintenance => {
            let mut answer = refuse(503, "ServiceUnavailable", "down for maintenance");
            answer.headers_mut().insert("retry-after", HeaderValue::from_static("3600"));
            return Ok(answer);
        }
        Fault::ServerError => return Ok(refuse(500, "InternalError", "etcdserver: leader changed")),
        Fault::Forbidden => {
            let words = "is forbidden: User \"agent\" cannot do this in API group \"\" in the namespace \"played\"";
            return Ok(refuse(403, "Forbidden", words));
        }
        Fault::NotServed => return Ok(refuse(404, "NotFound", "the server could not find the requested resource")),
        Fault::Unauthorized => return Ok(refuse(401, "Unauthorized", "Unauthorized")),
        Fault::CutBefore => return Err(broken()),
        Fault::Expired => {
            let status = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "Expired",
                "code": 410, "message": "too old resource version: 1 (2)" });
            return Ok(whole(StatusCode::OK, format!("{}\n", json!({ "type": "ERROR", "object": status }))));
        }
        Fault::Empty => {
            let list = json!({ "kind": "VolumeSnapshotList", "apiVersion": "snapshot.storage.k8s.io/v1",
                "metadata": { "resourceVersion": "1" }, "items": [] });
            return Ok(whole(StatusCode::OK, list.to_string()));
        }
        Fault::Log => return Ok(whole(StatusCode::OK, "{\"bytesDone\":1,\"bytesTotal\":9}\n".to_owned())),
        Fault::MovingLog => {
            let reads = shared.counted.lock().unwrap()[&fault];
            return Ok(whole(StatusCode::OK, format!("{{\"bytesDone\":{reads},\"bytesTotal\":999}}\n")));
        }
        Fault::ListExpired => {
            let words = "The provided continue parameter is too old to display a consistent list result";
            return Ok(refuse(410, "Expired", words));
        }
        Fault::WatchEnded => return Ok(whole(StatusCode::OK, String::new())),
        Fault::Silent => std::future::pending().await,
        Fault::Late => tokio::time::sleep(Duration::from_millis(300)).await,
        Fault::None | Fault::LateAnswer | Fault::CutAfter | Fault::TimeoutAfter | Fault::WatchCut => {}
    }
    let answered = pass_on(shared, request).await?;
    match fault {
        Fault::LateAnswer => {
            tokio::time::sleep(Duration::from_millis(300)).await;
            Ok(answered)
        }
        Fault::CutAfter => Err(broken()),
        Fault::TimeoutAfter => Ok(refuse(504, "Timeout", "the server was unable to return a response in the time allotted")),
        Fault::WatchCut => Ok(answered.map(|body| {
            let first =
                body.into_data_stream().take(1).map(|data| data.map(Frame::data)).chain(futures::stream::once(async { Err(broken()) }));
            StreamBody::new(first).boxed_unsync()
        })),
        _ => Ok(answered),
    }
}

async fn pass_on(shared: &Shared, request: Request<Incoming>) -> Result<Answer, std::io::Error> {
    let (mut head, body) = request.into_parts();
    let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
    // The upstream client has its own.
    for header in ["authorization", "host", "accept-encoding"] {
        head.headers.remove(header);
    }
    let answered = shared.upstream.send(Request::from_parts(head, Body::from(body.to_vec()))).await.map_err(std::io::Error::other)?;
    Ok(answered.map(|body| body.map_err(std::io::Error::other).boxed_unsync()))
}

fn refuse(code: u16, reason: &str, message: &str) -> Answer {
    let status = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": reason,
        "code": code, "message": message });
    let mut answer = whole(StatusCode::from_u16(code).unwrap(), status.to_string());
    if code == 429 {
        answer.headers_mut().insert("retry-after", "1".parse().unwrap());
    }
    answer
}

fn whole(code: StatusCode, text: String) -> Answer {
    let body = Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed_unsync();
    Response::builder().status(code).header("content-type", "application/json").body(body).unwrap()
}

fn broken() -> std::io::Error {
    std::io::Error::from(std::io::ErrorKind::ConnectionReset)
}
