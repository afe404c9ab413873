use super::*;
use assert_fs::TempDir;

use std::time::{SystemTime, UNIX_EPOCH};

struct Setup {
    dir: TempDir,
    scratch: Scratch,
}

impl Setup {
    fn new(content: &[u8]) -> Self {
        let setup = Self { dir: TempDir::new().unwrap(), scratch: Scratch::new().unwrap() };
        std::fs::write(setup.path(), content).unwrap();
        setup
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("file")
    }

    fn serving(&self) -> Serving<'static> {
        let file = File::open(self.path()).unwrap();
        Serving::new(vec![Upload { name: "a/ä %".as_bytes(), file }], &self.scratch, &Stop::default()).unwrap()
    }
}

const NAME: &str = "a/%C3%A4%20%25";

fn ask(socket: &Path, request: &str) -> String {
    let mut connection = UnixStream::connect(socket).unwrap();
    write!(connection, "{request}\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

fn get(serving: &Serving) -> String {
    ask(serving.socket(), &format!("GET /{NAME} HTTP/1.1"))
}

fn class(result: store::Result<Vec<Content>>) -> Class {
    result.unwrap_err().class
}

#[test]
fn what_was_handed_out_is_what_is_told() {
    let content = "x".repeat(PART + 7);
    let setup = Setup::new(content.as_bytes());
    let serving = setup.serving();
    // Still there when the work is done.
    let mut idle = None;
    let sent = serving.during(|| {
        for wrong in ["GET /a HTTP/1.1", "GET /a/%zz HTTP/1.1", "GET / HTTP/1.1"] {
            assert!(ask(serving.socket(), wrong).starts_with("HTTP/1.1 404"), "{wrong}");
        }
        let part = format!("GET /{NAME} HTTP/1.1\r\nRange: bytes=1-");
        assert!(ask(serving.socket(), &part).starts_with("HTTP/1.1 501"));
        assert!(ask(serving.socket(), &format!("PUT /{NAME} HTTP/1.1\r\nContent-Length: 0")).starts_with("HTTP/1.1 501"));
        // One that goes away in the middle, and one that asks nothing.
        let mut away = UnixStream::connect(serving.socket()).unwrap();
        write!(away, "GET /{NAME} HTTP/1.1\r\n\r\n").unwrap();
        idle = Some(UnixStream::connect(serving.socket()).unwrap());
        drop(away);
        let told = ask(serving.socket(), &format!("PROPFIND /{NAME} HTTP/1.1\r\ncontent-length: 7\r\n\r\nabc"));
        assert!(told.contains(&format!("<d:getcontentlength>{}<", content.len())), "{told}");
        assert!(get(&serving).ends_with(&format!("\r\n\r\n{content}")));
        Ok::<(), StoreError>(())
    });
    let mut sums = Sums::default();
    sums.update(content.as_bytes());
    let (sha256, md5) = sums.finish();
    assert_eq!(sent.unwrap(), [Content { size: content.len() as u64, sha256, md5 }]);
    assert!(idle.is_some() && !serving.socket().exists());
}

/// rclone opens a connection for each request, several for each of hundreds of files.
#[test]
fn a_connection_that_has_ended_keeps_no_descriptor() {
    let setup = Setup::new(b"content");
    let serving = setup.serving();
    let sent = serving.during(|| {
        for _ in 0..100 {
            assert!(get(&serving).ends_with("content"));
            assert!(lock(&serving.open).is_empty());
        }
        Ok::<(), StoreError>(())
    });
    assert_eq!((sent.unwrap().len(), serving.connections.into_inner()), (1, 100));
}

#[test]
fn the_end_of_a_file_that_changes_is_not_handed_out() {
    type Change = fn(&Path);
    let touched = |path: &Path| File::open(path).unwrap().set_modified(SystemTime::now() + Duration::from_secs(9)).unwrap();
    let longer = |path: &Path| std::fs::OpenOptions::new().append(true).open(path).unwrap().write_all(b"!").unwrap();
    let shorter = |path: &Path| File::create(path).unwrap().set_len(3).unwrap();
    for change in [touched as Change, longer, shorter] {
        let setup = Setup::new(b"content");
        let serving = setup.serving();
        let sent = serving.during(|| {
            change(&setup.path());
            let answer = get(&serving);
            assert!(answer.contains("Content-Length: 7") && !answer.ends_with('t'), "{answer}");
            assert!(get(&serving).starts_with("HTTP/1.1 410"));
            Err(StoreError::new(Class::Other, "rclone has its own words for it"))
        });
        assert_eq!(class(sent), Class::SourceChanging);
    }
}

#[test]
fn what_was_not_read_to_its_end_was_not_sent() {
    let setup = Setup::new(b"content");
    let nothing = |result: store::Result<()>| class(setup.serving().during(|| result));
    assert_eq!(nothing(Ok(())), Class::Other);
    assert_eq!(nothing(Err(StoreError::new(Class::Throttled, "slow"))), Class::Throttled);
    let serving = setup.serving();
    let failed = serving.during(|| {
        get(&serving);
        Err(StoreError::new(Class::AccessDenied, "refused"))
    });
    assert_eq!(class(failed), Class::AccessDenied, "it was read, and not sent");
    let serving = setup.serving();
    let stopped = serving.during(|| {
        serving.stop.request();
        get(&serving);
        Ok::<(), StoreError>(())
    });
    assert_eq!(Failure::from(stopped.unwrap_err()), Failure::killed());
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let setup = Setup::new(b"content");
    let unreadable = std::fs::OpenOptions::new().write(true).open(setup.path()).unwrap();
    let serving = Serving::new(vec![Upload { name: "a/ä %".as_bytes(), file: unreadable }], &setup.scratch, &Stop::default()).unwrap();
    let error = serving
        .during(|| {
            get(&serving);
            Err(StoreError::new(Class::Other, "unexpected EOF"))
        })
        .unwrap_err();
    assert!(error.class == Class::VolumeUnreadable && error.message.contains("a/ä %"), "{error}");
}

#[test]
fn times_are_written_with_their_parts() {
    let setup = Setup::new(b"");
    let shown = |time: SystemTime| {
        File::open(setup.path()).unwrap().set_modified(time).unwrap();
        modified(&setup.path().metadata().unwrap())
    };
    assert_eq!(shown(UNIX_EPOCH + Duration::new(1_700_000_000, 5)), "Tue, 14 Nov 2023 22:13:20.000000005 GMT");
    assert_eq!(shown(UNIX_EPOCH - Duration::new(1, 0)), "Wed, 31 Dec 1969 23:59:59.000000000 GMT");
}
