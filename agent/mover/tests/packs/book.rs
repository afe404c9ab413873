//! A reader of format 2 made from the chapter "Layout Packs" of `docs/remote-format.md`. It believes what it reads, and shows rows as text.

use std::fmt::Write;

use md5::Md5;
use sha2::{Digest, Sha256};

pub struct Book {
    pub document: serde_json::Value,
    pub inline: Vec<Vec<u8>>,
    block: u64,
    salt: Vec<u8>,
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

pub fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|at| u8::from_str_radix(&text[at * 2..at * 2 + 2], 16).unwrap()).collect()
}

fn hash(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes)[..16])
}

/// Bytes being read.
#[derive(Clone)]
struct In<'a>(&'a [u8]);

impl<'a> In<'a> {
    fn take(&mut self, length: u64) -> &'a [u8] {
        let (first, rest) = self.0.split_at(length.try_into().unwrap());
        self.0 = rest;
        first
    }

    fn number(&mut self) -> u64 {
        let (mut number, mut shift) = (0, 0);
        loop {
            let byte = self.take(1)[0];
            number |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                return number;
            }
        }
    }

    fn step(&mut self, from: &mut u64) -> u64 {
        let step = self.number();
        *from = from.wrapping_add(if step & 1 == 0 { step >> 1 } else { !(step >> 1) });
        *from
    }

    fn bytes(&mut self) -> &'a [u8] {
        let length = self.number();
        self.take(length)
    }

    fn u32(&mut self) -> u64 {
        u32::from_le_bytes(self.take(4).try_into().unwrap()).into()
    }

    fn id(&mut self) -> String {
        hex(self.take(12))
    }
}

/// Plain bytes of what is stored.
fn plain(stored: &[u8], compressed: bool, length: u64) -> Vec<u8> {
    let plain = if compressed { zstd::decode_all(stored).unwrap() } else { stored.to_vec() };
    assert_eq!(plain.len() as u64, length);
    plain
}

/// A window as the index names it: rows, stored bytes, whether it is compressed, plain bytes, hash.
struct Window(u64, u64, bool, u64, String);

fn window(index: &mut In, rows: u64) -> Window {
    let stored = index.number();
    let compressed = stored & 1 == 1;
    let length = if compressed { index.number() } else { stored >> 1 };
    Window(rows, stored >> 1, compressed, length, hex(index.take(16)))
}

fn section(index: &mut In, key: fn(&mut In)) -> Vec<Window> {
    let count = index.number();
    (0..count)
        .map(|_| {
            let rows = index.number();
            let window = window(index, rows);
            key(index);
            window
        })
        .collect()
}

/// The id of a pack that ends in a right trailer.
pub fn pack(bytes: &[u8]) -> String {
    let (content, trailer) = bytes.split_at(bytes.len() - 52);
    let mut trailer = In(trailer);
    assert_eq!((trailer.take(8), trailer.u32()), (&b"scribpak"[..], 2));
    let id = trailer.id();
    assert!(trailer.u32() > 0);
    assert_eq!(u64::from_le_bytes(trailer.take(8).try_into().unwrap()), content.len() as u64);
    assert_eq!(trailer.0, &Md5::digest(&bytes[..bytes.len() - 16])[..]);
    id
}

impl Book {
    pub fn of(block: u64, salt: [u8; 16]) -> Self {
        Self { document: serde_json::Value::Null, inline: Vec::new(), block, salt: salt.into() }
    }

    pub fn manifest(bytes: &[u8]) -> Self {
        let plain = zstd::decode_all(bytes).unwrap();
        let mut lines = plain.splitn(3, |byte| *byte == b'\n');
        let (document, seal, mut runs) = (lines.next().unwrap(), lines.next().unwrap(), lines.next().unwrap());
        let sum = hex(&Sha256::digest([document, b"\n"].concat()));
        assert_eq!(seal, format!("{{\"sha256\":\"{sum}\"}}").as_bytes());
        let mut json: serde_json::Value = serde_json::from_slice(document).unwrap();
        assert_eq!(json["format"], 2);
        let mut inline = Vec::new();
        for run in json["runs"].as_array().unwrap().iter().filter(|run| run["inline"] == true) {
            let (bytes, rest) = runs.split_at(run["size"].as_u64().unwrap().try_into().unwrap());
            let tail = &bytes[bytes.len() - usize::try_from(run["tail"].as_u64().unwrap()).unwrap()..];
            let (sealed, sum) = tail.split_at(tail.len() - 32);
            assert_eq!((hex(sum), hex(sum)), (hex(&Sha256::digest(sealed)), run["sha256"].as_str().unwrap().to_owned()));
            inline.push(bytes.to_vec());
            runs = rest;
        }
        assert!(runs.is_empty());
        // Other bytes with another zstd.
        for run in json["runs"].as_array_mut().unwrap() {
            for member in ["size", "tail", "sha256"] {
                run[member] = "…".into();
            }
        }
        let (block, salt) = (json["blockSize"].as_u64().unwrap(), unhex(json["salt"].as_str().unwrap()));
        Self { document: json, inline, block, salt }
    }

    /// All rows of a run.
    pub fn run(&self, run: &[u8]) -> String {
        let (before, footer) = run.split_at(run.len() - 56);
        let mut says = In(footer);
        assert_eq!((says.take(8), says.u32(), says.u32()), (&b"scribrun"[..], 2, self.block));
        let (stored, length) = (says.u32(), says.u32());
        let (windows, index) = before.split_at(before.len() - usize::try_from(stored).unwrap());
        assert_eq!(says.0, &Sha256::digest([index, &footer[..24]].concat())[..]);
        let index = plain(index, length > stored, length);
        let mut index = In(&index);
        let entries = section(&mut index, |index| drop(index.bytes().to_vec()));
        let hashes = section(&mut index, |index| {
            index.number();
            index.number();
        });
        let places: Vec<Window> = hashes.iter().map(|of| window(&mut index, of.0)).collect();
        let packs = section(&mut index, |index| drop(index.id()));
        assert!(index.0.is_empty());
        let mut windows = In(windows);
        let mut open = |of: &Window| {
            let stored = windows.take(of.1);
            assert_eq!(hash(stored), of.4);
            plain(stored, of.2, of.3)
        };
        let mut text: String = entries.iter().map(|of| self::entries(&open(of), of.0)).collect();
        let hashes: Vec<(u64, Vec<u8>)> = hashes.iter().map(|of| (of.0, open(of))).collect();
        for ((rows, hashes), places) in hashes.iter().zip(&places) {
            text += &self.blocks(*rows, hashes, &open(places));
        }
        text.extend(packs.iter().map(|of| self::packs(&open(of), of.0)));
        assert!(windows.0.is_empty());
        text
    }

    fn blocks(&self, rows: u64, hashes: &[u8], places: &[u8]) -> String {
        let mut all = In(hashes);
        let lengths: Vec<u64> = (0..4).map(|_| all.number()).collect();
        let mut columns = lengths.iter().map(|length| In(all.take(*length))).collect::<Vec<_>>().into_iter();
        let (mut spans, mut names, mut packs, mut weights) =
            (columns.next().unwrap(), columns.next().unwrap(), columns.next().unwrap(), columns.next().unwrap());
        let mut list: Vec<(Vec<u8>, u64)> = Vec::new();
        while !names.0.is_empty() {
            let (push, mut number) = if names.take(1)[0] == 1 { (names.take(8).to_vec(), 0) } else { list.last().unwrap().clone() };
            names.step(&mut number);
            list.push((push, number));
        }
        let mut places = In(places);
        let mut bits = In(places.bytes());
        let (mut file, mut end, mut text, mut left) = (0, 0, String::new(), rows);
        let mut last = (0, 0, 0, 0, 0, 0, 0_u64);
        while left > 0 {
            let delta = spans.number();
            file += delta;
            let first = spans.number() + if delta == 0 { end } else { 0 };
            let count = spans.number();
            end = first + (count >> 1);
            left -= count >> 1;
            for block in first..end {
                let _ = write!(text, "block {file}.{block} ");
                if count & 1 == 1 {
                    text += "gone\n";
                    continue;
                }
                let (pack, weight, hash) = (packs.number(), weights.number(), hex(all.take(16)));
                let bits = bits.take(1)[0];
                let is = |bit: u8| bits >> bit & 1 == 1;
                // The block before: pack, offset, stored, frame, part, length, born.
                let (_, mut offset, mut stored, mut frame, mut part, before, mut born) = last;
                if is(5) {
                    places.step(&mut born);
                }
                let length = if is(2) { places.number() } else { self.block };
                if is(4) {
                    part += before;
                    places.step(&mut part);
                } else if is(1) {
                    (stored, frame, part) = (places.number(), places.number(), places.number());
                    offset = if is(3) { offset + last.2 } else { places.step(&mut offset) };
                } else {
                    (frame, part) = (length, 0);
                    offset = if is(3) { offset + last.2 } else { places.step(&mut offset) };
                    stored = weight - 1;
                }
                last = (pack, offset, stored, frame, part, length, born);
                let (push, number) = &list[usize::try_from(pack).unwrap()];
                let kind = if is(0) { "zstd" } else { "raw" };
                let _ = write!(text, "{hash} pack {}{number:08x} at {offset}+{stored} {kind} ", hex(push));
                let _ = writeln!(text, "plain {length} of {frame} from {part} weight {weight} born {born}");
            }
        }
        assert!(spans.0.is_empty() && packs.0.is_empty() && weights.0.is_empty() && all.0.is_empty() && bits.0.is_empty());
        assert!(places.0.is_empty());
        text
    }

    /// The plain blocks of a file, out of its pack.
    pub fn blocks_of(&self, rows: &str, id: u64, pack: &[u8]) -> Vec<(u64, Vec<u8>)> {
        blocks(rows, id)
            .map(|(number, words)| {
                let at: Vec<usize> = words[5].split('+').map(|number| number.parse().unwrap()).collect();
                let number_at = |word: usize| words[word].parse::<usize>().unwrap();
                let frame = plain(&pack[at[0]..at[0] + at[1]], words[6] == "zstd", number_at(10) as u64);
                let plain = frame[number_at(12)..number_at(12) + number_at(8)].to_vec();
                assert_eq!(hash(&[&self.salt[..], &plain].concat()), words[1]);
                (number, plain)
            })
            .collect()
    }

    /// The identity of a file by its blocks.
    pub fn identity(&self, rows: &str, id: u64, size: u64) -> String {
        let mut bytes = size.to_le_bytes().to_vec();
        bytes.extend(u32::try_from(self.block).unwrap().to_le_bytes());
        for (number, words) in blocks(rows, id) {
            bytes.extend(number.to_le_bytes());
            bytes.extend(unhex(words[1]));
        }
        hash(&bytes)
    }
}

/// Number and words of the rows of a file's blocks.
fn blocks(rows: &str, id: u64) -> impl Iterator<Item = (u64, Vec<&str>)> {
    let prefix = format!("block {id}.");
    rows.lines().filter_map(move |row| row.strip_prefix(&prefix)).filter(|row| !row.ends_with("gone")).map(|row| {
        let words: Vec<&str> = row.split(' ').collect();
        (words[0].parse().unwrap(), words)
    })
}

/// What the entry of a file says of its identity.
pub fn identity_of(rows: &str, id: u64) -> String {
    let of = format!(" id {id} ");
    let row = rows.lines().find(|row| row.starts_with("entry ") && row.contains(&of)).unwrap();
    row.split(' ').skip_while(|word| *word != "content").nth(1).unwrap().to_owned()
}

fn entries(plain: &[u8], rows: u64) -> String {
    let mut all = In(plain);
    let mut row = In(all.bytes());
    let (mut path, mut text) = (Vec::new(), String::new());
    let mut owners = [[0; 3]; 8];
    let (mut mtime, mut id, mut changed, mut inode) = (0, 0, 0, 0);
    for _ in 0..rows {
        path.truncate(row.number().try_into().unwrap());
        path.extend(row.bytes());
        let _ = write!(text, "entry {} ", hex(&path));
        let bits = row.take(1)[0];
        let (kind, is) = (bits & 7, |bit: u8| bits >> bit & 1 == 1);
        if kind == 0 {
            text += "gone\n";
            continue;
        }
        if is(3) {
            owners[usize::from(kind)] = [row.number(), row.number(), row.number()];
        }
        let [mode, user, group] = owners[usize::from(kind)];
        row.step(&mut mtime);
        let _ = write!(text, "type {kind} mode {mode:o} owner {user}:{group} mtime {}.{:09}", mtime.cast_signed(), row.number());
        if is(4) {
            for _ in 0..row.number() {
                let _ = write!(text, " with {}={}", hex(row.bytes()), hex(row.bytes()));
            }
        }
        if kind == 3 {
            let _ = write!(text, " to {}", hex(row.bytes()));
        }
        if kind == 2 {
            let _ = write!(text, " id {} size {} ", row.step(&mut id), row.number());
            let _ = write!(text, "changed {} content {}", row.step(&mut changed), hex(all.take(16)));
            if is(5) {
                let mut ctime = mtime;
                let nanos = if is(6) { (row.step(&mut ctime), row.number()).1.to_string() } else { "as mtime".into() };
                let _ = write!(text, " ctime {} {nanos} inode {}", ctime.cast_signed(), row.step(&mut inode));
            }
        }
        text += "\n";
    }
    assert!(row.0.is_empty() && all.0.is_empty());
    text
}

fn packs(plain: &[u8], rows: u64) -> String {
    let mut all = In(plain);
    let mut row = In(all.bytes());
    let (mut push, mut number, mut text) = (Vec::new(), 0, String::new());
    for _ in 0..rows {
        let bits = row.take(1)[0];
        if bits & 2 != 0 {
            (push, number) = (row.take(8).to_vec(), 0);
        }
        number += row.number();
        let _ = write!(text, "pack {}{number:08x} ", hex(&push));
        if bits & 1 == 0 {
            text += "gone\n";
        } else {
            let [size, weight, blocks, born] = [row.number(), row.number(), row.number(), row.number()];
            let _ = writeln!(text, "size {size} weight {weight} blocks {blocks} born {born} md5 {}", hex(all.take(16)));
        }
    }
    assert!(row.0.is_empty() && all.0.is_empty());
    text
}
