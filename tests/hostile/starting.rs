//! The agent as a process: it answers for itself before anybody answers it, ends when it is asked to, and is not brought down by those who
//! ask after its health.

use super::agent::{Agent, Launch};
use super::proxy::Fault;
use super::site::{POD, SETTINGS, Site};
use super::until::until;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// Of agents that find no API server.
const NAMESPACE: &str = "played";
/// It has to end within this time of being asked to.
const PROMPT: Duration = Duration::from_secs(2);

struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    fn start(dir: &Path, server: &str) -> Process {
        Process::of(NAMESPACE, dir, server)
    }

    fn of(namespace: &str, dir: &Path, server: &str) -> Process {
        let (mut command, log) = Agent::command(&Launch { dir, server, namespace, settings: SETTINGS });
        Process { child: command.spawn().unwrap(), log }
    }

    /// One that may have no more open files than this.
    fn with_files(dir: &Path, server: &str, files: usize) -> Process {
        Process::after(dir, server, &[], &format!("ulimit -n {files}"))
    }

    /// One that can watch nothing, as on a node where other processes use all inotify instances. The limit is that of a user namespace of
    /// its own: instances that a test took itself would be missed by the agents of others, and theirs would become free while it looks.
    fn without_watches(dir: &Path, server: &str) -> Process {
        let none = "echo 0 > /proc/sys/user/max_inotify_instances";
        Process::after(dir, server, &["unshare", "--user", "--map-root-user"], none)
    }

    /// One whose shell, started by `wrapper`, has done something before.
    fn after(dir: &Path, server: &str, wrapper: &[&str], first: &str) -> Process {
        let (command, log) = Agent::command(&Launch { dir, server, namespace: NAMESPACE, settings: SETTINGS });
        let shell = [wrapper, &["sh", "-c"]].concat();
        let mut limited = Command::new(shell[0]);
        limited.args(&shell[1..]).arg(format!("{first} && exec \"$0\" \"$@\"")).arg(command.get_program()).args(command.get_args());
        limited.envs(command.get_envs().filter_map(|(key, value)| Some((key, value?))));
        limited.stderr(std::fs::File::create(&log).unwrap());
        Process { child: limited.spawn().unwrap(), log }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Where it listens, once it says so.
    async fn address(&self) -> SocketAddr {
        until("it listens", 20, async || {
            let log = self.log();
            let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let address = lines.filter(|line| line["message"] == "listening").find_map(|line| line["address"].as_str()?.parse().ok());
            address.ok_or(log)
        })
        .await
    }

    /// Asks it to end, and waits until it has.
    async fn terminate(mut self) {
        let asked = Instant::now();
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        let status = until("it ends", 30, async || self.child.try_wait().unwrap().ok_or("it runs")).await;
        let took = asked.elapsed();
        assert!(took <= PROMPT, "it took {took:?} to end:\n{}", self.log());
        assert_eq!((status.code(), status.signal()), (Some(0), None), "{}", self.log());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("its log:\n{}", self.log());
        }
    }
}

/// The status code of an answer, asked for as impatiently as a kubelet does.
fn get(address: SocketAddr, path: &str) -> Result<u16, std::io::Error> {
    let patience = Some(Duration::from_secs(1));
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(patience)?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: it\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    answer.split_whitespace().nth(1).and_then(|code| code.parse().ok()).ok_or(std::io::Error::from(std::io::ErrorKind::UnexpectedEof))
}

fn folder(name: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("scribe-hostile-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

/// An API server that refuses connections, and one that takes them and never answers: the agent lives, is not ready, and ends when told.
#[tokio::test]
async fn it_lives_while_the_api_server_does_not_answer() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}", silent.local_addr().unwrap());
    for (name, server) in [("refused", "http://127.0.0.1:1"), ("silent", silent.as_str())] {
        let dir = folder(name);
        let agent = Process::start(&dir, server);
        let address = agent.address().await;
        for (path, code) in [("/livez", 200), ("/readyz", 503), ("/healthz", 200), ("/metrics", 200)] {
            assert_eq!(get(address, path).unwrap(), code, "{name} {path}");
        }
        agent.terminate().await;
        std::fs::remove_dir_all(dir).unwrap();
    }
}

/// It ends as promptly while its first lists fail, and once it is at work.
#[tokio::test]
async fn it_ends_in_every_phase() {
    let site = Site::behind("phases", Box::new(|call| if call.lists() { Fault::CutBefore } else { Fault::None })).await;
    let dir = folder("phases-agent");
    let listing = Process::of(&site.namespace, &dir, &site.proxy.url);
    let address = listing.address().await;
    until("its lists fail", 30, async || if listing.log().contains("a watch failed") { Ok(()) } else { Err(listing.log()) }).await;
    assert_eq!((get(address, "/livez").unwrap(), get(address, "/readyz").unwrap()), (200, 503));
    listing.terminate().await;

    site.proxy.rule(|_| Fault::None);
    let working = Process::of(&site.namespace, &dir, &site.proxy.url);
    let address = working.address().await;
    until("it is ready", 60, async || match get(address, "/readyz") {
        Ok(200) => Ok(()),
        other => Err(other.map_err(|e| e.to_string())),
    })
    .await;
    // A look is under way that nobody answers.
    site.proxy.rule(|call| if call.writes() || !call.watch { Fault::Silent } else { Fault::None });
    site.source("it", json!({ "trigger": { "manual": "first" } })).await;
    let asked = || site.proxy.counted().get(&Fault::Silent).copied().unwrap_or_default();
    until("a look waits", 30, async || if asked() > 1 { Ok(()) } else { Err(asked()) }).await;
    working.terminate().await;
    std::fs::remove_dir_all(dir).unwrap();
}

/// The Role may come after the Deployment: no reason to end.
#[tokio::test]
async fn its_own_pod_may_be_forbidden_at_first() {
    let own_pod = format!("/pods/{POD}");
    let forbidden = own_pod.clone();
    let site =
        Site::behind("own-pod", Box::new(move |call| if call.path.ends_with(&forbidden) { Fault::Forbidden } else { Fault::None })).await;
    let source = site.source("it", json!({ "trigger": { "manual": "first" } })).await;
    until("it has asked twice", 60, async || match site.proxy.counted().get(&Fault::Forbidden) {
        Some(2..) => Ok(()),
        other => Err(other.copied()),
    })
    .await;
    site.proxy.rule(|_| Fault::None);
    source.until("the first sync", 60, |s| s.last_manual_sync.is_some()).await;
    assert_eq!(site.agent.starts(), 1, "it had to be started again");
}

/// More clients than it has file descriptors: it cannot accept them for a while, and goes on.
#[tokio::test]
async fn it_survives_more_clients_than_it_has_files_for() {
    let dir = folder("files");
    let agent = Process::with_files(&dir, "http://127.0.0.1:1", 24);
    let address = agent.address().await;
    let clients = connect(address, 60);
    let told = "cannot accept connections";
    until("it cannot accept", 20, async || if agent.log().contains(told) { Ok(()) } else { Err(agent.log()) }).await;
    drop(clients);
    until("it answers again", 20, async || get(address, "/livez").map_err(|e| e.to_string())).await;
    assert_eq!(agent.log().matches(told).count(), 1, "{}", agent.log());
    agent.terminate().await;
    std::fs::remove_dir_all(dir).unwrap();
}

/// Clients that say nothing take neither memory nor files without end, and not for long.
#[tokio::test]
async fn idle_clients_are_few_and_do_not_stay() {
    let dir = folder("clients");
    let agent = Process::start(&dir, "http://127.0.0.1:1");
    let address = agent.address().await;
    let files = || std::fs::read_dir(format!("/proc/{}/fd", agent.child.id())).unwrap().count();
    let before = files();
    let clients = connect(address, 600);
    until("it has taken some", 20, async || if files() > before + 16 { Ok(()) } else { Err(files()) }).await;
    let mut most = 0;
    until("it answers while the others say nothing", 60, async || {
        most = most.max(files());
        get(address, "/livez").map_err(|e| e.to_string())
    })
    .await;
    assert!(most <= before + 260, "{most} open files, and {before} before");
    drop(clients);
    agent.terminate().await;
    std::fs::remove_dir_all(dir).unwrap();
}

/// Somebody keeps connections open and says nothing, and opens others as soon as they end: the kubelet's probes, whose timeout is a second,
/// are answered all the same; only after three in a row that were not it would start the agent again.
#[tokio::test]
async fn idle_clients_do_not_keep_the_kubelet_waiting() {
    let dir = folder("idlers");
    let agent = Process::start(&dir, "http://127.0.0.1:1");
    let address = agent.address().await;
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let idlers: Vec<_> = (0..300)
        .map(|_| {
            let stop = stop.clone();
            std::thread::spawn(move || {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    // Until the agent ends it.
                    let Ok(mut idle) = TcpStream::connect(address) else { continue };
                    let _ = idle.set_read_timeout(Some(Duration::from_secs(20)));
                    let _ = idle.read(&mut [0]);
                }
            })
        })
        .collect();
    let answers: Vec<_> = (0..10).map(|_| get(address, "/livez").map_err(|e| e.to_string())).collect();
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(answers.windows(2).all(|two| two.contains(&Ok(200))), "{answers:?}");
    agent.terminate().await;
    for idler in idlers {
        idler.join().unwrap();
    }
    std::fs::remove_dir_all(dir).unwrap();
}

/// A mistake in the settings at the start: the agent works by the defaults, and says so until the file is corrected.
#[tokio::test]
async fn it_works_by_the_defaults_where_its_settings_are_invalid() {
    let site = Site::start_with("bad-settings", "maxAttempts: many").await;
    let events = site.api("events.k8s.io", "v1", "Event");
    until("the event", 60, async || {
        let all = events.list(&kube::api::ListParams::default()).await.unwrap();
        let told = all.items.iter().find(|event| event.data["reason"] == "SettingsInvalid").cloned();
        told.filter(|event| event.data["regarding"]["kind"] == "Pod" && event.data["note"].as_str().unwrap().contains("maxAttempts"))
            .ok_or(all.items.len())
    })
    .await;
    let source = site.source("it", serde_json::json!({ "trigger": { "manual": "first" } })).await;
    source.until("it syncs all the same", 60, |s| s.last_manual_sync.is_some()).await;
}

/// inotify instances are counted per user, over all containers of a node. Without one the settings are still read, only later.
#[tokio::test]
async fn it_starts_without_a_watch_of_its_settings() {
    let dir = folder("inotify");
    let agent = Process::without_watches(&dir, "http://127.0.0.1:1");
    agent.address().await;
    assert!(agent.log().contains("checking it every minute"), "{}", agent.log());
    agent.terminate().await;
    std::fs::remove_dir_all(dir).unwrap();
}

fn connect(address: SocketAddr, count: usize) -> Vec<TcpStream> {
    let mut clients = Vec::new();
    for _ in 0..count {
        clients.push(TcpStream::connect(address).unwrap());
    }
    clients
}
