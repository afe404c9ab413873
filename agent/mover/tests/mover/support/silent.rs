//! A program that changes a file's content and none of its times, as databases do that map their files into memory.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use scribe_mover::digest::hex;

/// The kernel moves the times when a page becomes dirty, and not again before it is written out. In memory it never is.
const PROGRAM: &str = "
import mmap, sys
with open(sys.argv[1], 'r+b') as file: pages = mmap.mmap(file.fileno(), 0)
pages[:] = pages[:]
print('ready', flush=True)
for line in sys.stdin:
    pages[:] = bytes.fromhex(line.strip())
    print('written', flush=True)
";

pub(crate) struct Silent {
    path: PathBuf,
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Silent {
    /// Opens a file, which has to lie in `/dev/shm`; this moves its times.
    pub(crate) fn open(path: &Path) -> Self {
        let mut command = Command::new("python3");
        let mut child = command.args(["-c", PROGRAM]).arg(path).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut silent = Self { path: path.into(), child, input, output };
        silent.expect("ready\n");
        silent
    }

    fn expect(&mut self, line: &str) {
        let mut read = String::new();
        self.output.read_line(&mut read).unwrap();
        assert_eq!(read, line);
    }

    /// Writes other content of the same size.
    pub(crate) fn write(&mut self, content: &[u8]) {
        let times = |path: &Path| path.metadata().map(|meta| (meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec())).unwrap();
        let before = times(&self.path);
        writeln!(self.input, "{}", hex(content)).unwrap();
        self.expect("written\n");
        assert_eq!(fs::read(&self.path).unwrap(), content);
        assert_eq!(times(&self.path), before, "the times moved: this tests nothing");
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
