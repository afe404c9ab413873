//! Reads what `getfacl -R` wrote: owners, modes and ACLs by path. Pure, but for the names of users and groups.
//!
//! Its paths are relative, or those under which the volume was mounted, with or without the leading slash (`-p`), and with a double one where
//! the folder was given with a slash at its end: whatever the first entry is called is the volume's root. In names, getfacl escapes line ends
//! and the backslash alone; all else stands as it is, a space at the end too.

use std::collections::HashMap;

use crate::volume::path::RelPath;
use crate::volume::xattrs::{ACL_ACCESS, ACL_DEFAULT, Attribute};

/// What is said of one entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Access {
    /// Permission bits with setuid, setgid and sticky.
    pub(super) mode: u32,
    /// `None`: a name that does not exist here.
    pub(super) uid: Option<u32>,
    /// See `uid`.
    pub(super) gid: Option<u32>,
    /// ACLs beyond what the mode says, as the kernel keeps them.
    pub(super) acls: Vec<Attribute>,
    /// Named users or groups that do not exist here: their lines are left out.
    pub(super) unknown: u64,
}

/// Numbers of the users and groups of this machine: `name:…:number:…` a line, as in `/etc/passwd`.
pub(super) fn numbers(text: &str) -> HashMap<String, u32> {
    let entry = |line: &str| {
        let mut fields = line.split(':');
        Some((fields.next()?.to_owned(), fields.nth(1)?.parse().ok()?))
    };
    let mut numbers: HashMap<String, u32> = text.lines().filter_map(entry).collect();
    numbers.insert("root".into(), 0);
    numbers
}

/// Everything that `text` says; `Err` is the line that is not of this format.
pub(super) fn parse(text: &[u8], users: &HashMap<String, u32>, groups: &HashMap<String, u32>) -> Result<HashMap<RelPath, Access>, String> {
    let mut all = HashMap::new();
    let mut root: Option<Vec<Vec<u8>>> = None;
    for block in text.split(|byte| *byte == b'\n').collect::<Vec<_>>().split(|line| line.trim_ascii().is_empty()) {
        let Some((first, rest)) = block.split_first() else { continue };
        let bad = |line: &[u8]| String::from_utf8_lossy(line).into_owned();
        let name = unescape(first.strip_prefix(b"# file: ").ok_or_else(|| bad(first))?).ok_or_else(|| bad(first))?;
        let name: Vec<Vec<u8>> = name.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b".")).map(<[u8]>::to_vec).collect();
        let root = root.get_or_insert_with(|| name.clone());
        let below = name.strip_prefix(&**root).ok_or_else(|| bad(first))?;
        let path = RelPath::new(&below.join(&b'/')).ok_or_else(|| bad(first))?;
        all.insert(path, entry(rest, users, groups)?);
    }
    Ok(all)
}

/// One line of an ACL, as the kernel keeps it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rule {
    tag: u16,
    id: u32,
    permissions: u16,
}

const USER_OBJ: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP_OBJ: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;
/// The id of rules without a name.
const NOBODY: u32 = u32::MAX;

fn entry(lines: &[&[u8]], users: &HashMap<String, u32>, groups: &HashMap<String, u32>) -> Result<Access, String> {
    let number = |known: &HashMap<String, u32>, name: &str| {
        let name = unescape(name.as_bytes())?;
        let name = String::from_utf8_lossy(&name);
        // The kernel takes the last number for none.
        name.parse().ok().or_else(|| known.get(&*name).copied()).filter(|number| *number != NOBODY)
    };
    let mut access = Access::default();
    let (mut rules, mut defaults) = (Vec::new(), Vec::new());
    for line in lines {
        let bad = || String::from_utf8_lossy(line).into_owned();
        // A name that is not UTF-8 does not exist here.
        let text = String::from_utf8_lossy(line);
        let text = text.trim_end();
        if let Some(owner) = text.strip_prefix("# owner: ") {
            access.uid = number(users, owner);
        } else if let Some(group) = text.strip_prefix("# group: ") {
            access.gid = number(groups, group);
        } else if let Some(flags) = text.strip_prefix("# flags: ") {
            for (flag, bit) in flags.chars().zip([0o4000, 0o2000, 0o1000]) {
                access.mode |= if flag == '-' { 0 } else { bit };
            }
        } else {
            // What is effective is said in a comment.
            let text = text.split("#effective:").next().unwrap_or_default().trim_end();
            let (rule, into) = match text.strip_prefix("default:") {
                Some(rule) => (rule, &mut defaults),
                None => (text, &mut rules),
            };
            let [kind, who, permissions] = rule.split(':').collect::<Vec<_>>()[..] else { return Err(bad()) };
            let permissions = permissions.chars().fold(0, |all, c| all << 1 | u16::from(c != '-'));
            let (tag, id) = match (kind, who) {
                ("user", "") => (USER_OBJ, Some(NOBODY)),
                ("user", who) => (USER, number(users, who)),
                ("group", "") => (GROUP_OBJ, Some(NOBODY)),
                ("group", who) => (GROUP, number(groups, who)),
                ("mask", "") => (MASK, Some(NOBODY)),
                ("other", "") => (OTHER, Some(NOBODY)),
                _ => return Err(bad()),
            };
            match id {
                Some(id) => into.push(Rule { tag, id, permissions }),
                None => access.unknown += 1,
            }
        }
    }
    let bits = |tag| rules.iter().find(|rule| rule.tag == tag).map(|rule| u32::from(rule.permissions));
    // The group's bits of a mode are the mask, where there is one.
    let group = bits(MASK).or(bits(GROUP_OBJ));
    let (Some(user), Some(group), Some(other)) = (bits(USER_OBJ), group, bits(OTHER)) else {
        return Err(lines.first().map_or_else(String::new, |line| String::from_utf8_lossy(line).into_owned()));
    };
    access.mode |= user << 6 | group << 3 | other;
    for (name, rules, least) in [(ACL_ACCESS, rules, 3), (ACL_DEFAULT, defaults, 0)] {
        if rules.len() > least {
            access.acls.push(Attribute { name: name.into(), value: packed(rules) });
        }
    }
    Ok(access)
}

/// The kernel's form: a version, then tag, permissions and id of each rule, in its order.
fn packed(mut rules: Vec<Rule>) -> Box<[u8]> {
    rules.sort();
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    for rule in rules {
        bytes.extend(rule.tag.to_le_bytes());
        bytes.extend(rule.permissions.to_le_bytes());
        bytes.extend(rule.id.to_le_bytes());
    }
    bytes.into()
}

/// `\ooo` stands for a byte, `\\` for a backslash.
fn unescape(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'\\' {
            bytes.push(byte);
        } else if let Some(after) = rest.strip_prefix(b"\\") {
            bytes.push(b'\\');
            rest = after;
        } else {
            let (digits, after) = rest.split_at_checked(3)?;
            bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()?);
            rest = after;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> HashMap<RelPath, Access> {
        parse(text.as_bytes(), &numbers("app:x:1000:1000::/:/bin/sh"), &numbers("staff:x:50:")).unwrap()
    }

    fn path(text: &str) -> RelPath {
        RelPath::new(text.as_bytes()).unwrap()
    }

    const PLAIN: &str = "user::rwx\ngroup::r-x\nother::---\n";

    #[test]
    fn the_first_entry_is_the_root_whatever_it_is_called() {
        for (root, below) in [
            ("data", "data/a"),
            ("data/", "data//a"),
            ("/data", "/data/a"),
            ("/data/", "/data//a"),
            ("/", "//a"),
            (".", "a"),
            (".", "./a"),
            ("./", ".//a"),
            ("..", "../a"),
            ("mnt/x y/", "mnt/x\\040y//a"),
            ("mnt/x\\040y", "mnt/x\\040y/a"),
        ] {
            let text = format!(
                "# file: {root}\n# owner: root\n# group: 7\n{PLAIN}\n# file: {below}\n# owner: app\n# group: staff\n# flags: -st\n{PLAIN}\n"
            );
            let all = read(&text);
            assert_eq!(all.len(), 2, "{all:?}");
            assert_eq!(all[&path("")], Access { mode: 0o750, uid: Some(0), gid: Some(7), ..Access::default() });
            assert_eq!(all[&path("a")], Access { mode: 0o3750, uid: Some(1000), gid: Some(50), ..Access::default() });
        }
    }

    /// As getfacl 2.3.1 writes these names.
    #[test]
    fn entries_may_have_any_name() {
        for (written, name) in [
            ("a b", &b"a b"[..]),
            ("trail ", b"trail "),
            (" ", b" "),
            ("tab\there", b"tab\there"),
            ("n\\012l", b"n\nl"),
            ("cr\\015", b"cr\r"),
            ("back\\\\slash", b"back\\slash"),
            ("# file: x", b"# file: x"),
            ("# owner: x", b"# owner: x"),
            ("#comment", b"#comment"),
            ("a=b", b"a=b"),
            ("user::rwx", b"user::rwx"),
            (".hidden", b".hidden"),
            ("..data", b"..data"),
            ("\u{7f}\u{e9}", "\u{7f}\u{e9}".as_bytes()),
        ] {
            for (root, prefix) in [(".", ""), ("data", "data/")] {
                let all = read(&format!("# file: {root}\n# owner: 1\n{PLAIN}\n# file: {prefix}{written}\n# owner: 2\n{PLAIN}\n"));
                let owners = [RelPath::root(), RelPath::new(name).unwrap()].map(|path| all.get(&path).and_then(|access| access.uid));
                assert_eq!(owners, [Some(1), Some(2)], "{written:?} below {root}");
            }
        }
        let raw = [b"# file: .\n", PLAIN.as_bytes(), b"\n# file: \xff\xc3\n", PLAIN.as_bytes()].concat();
        let all = parse(&raw, &HashMap::new(), &HashMap::new()).unwrap();
        assert!(all.contains_key(&RelPath::new(b"\xff\xc3").unwrap()));
    }

    #[test]
    fn owners_may_have_any_name() {
        let users = numbers("DOM\\some one#1:x:7:8::/:/bin/sh");
        let text = "# file: v\n# owner: DOM\\\\some\\040one#1\n# group: \u{fffd}\nuser::rwx\nuser:DOM\\\\some\\040one#1:r-x\t#effective:r--\ngroup::r-x\nmask::r--\nother::---\n";
        let mut bytes = text.as_bytes().to_vec();
        let at = text.find('\u{fffd}').unwrap();
        bytes.splice(at..at + 3, [0xff]);
        let all = parse(&bytes, &users, &HashMap::new()).unwrap();
        let root = &all[&RelPath::root()];
        assert_eq!((root.uid, root.gid, root.unknown), (Some(7), None, 0));
        assert_eq!(root.acls.len(), 1);
    }

    #[test]
    fn acls_become_what_the_kernel_keeps() {
        let all = read(
            "# file: v\n# owner: nobody-here\n# group: 1\nuser::rw-\nuser:1000:r--\t\t#effective:---\nuser:stranger:rwx\ngroup::r--\nmask::-w-\nother::--x\ndefault:user::rwx\ndefault:group::---\ndefault:other::---\n\n",
        );
        let root = &all[&path("")];
        assert_eq!((root.mode, root.uid, root.gid, root.unknown), (0o621, None, Some(1), 1));
        assert_eq!(&*root.acls[0].name, ACL_ACCESS);
        let expected: Vec<u8> = [
            2_u32.to_le_bytes().to_vec(),
            rule(1, 6, u32::MAX),
            rule(2, 4, 1000),
            rule(4, 4, u32::MAX),
            rule(16, 2, u32::MAX),
            rule(32, 1, u32::MAX),
        ]
        .concat();
        assert_eq!(*root.acls[0].value, *expected);
        assert_eq!((&*root.acls[1].name, root.acls[1].value.len()), (ACL_DEFAULT, 4 + 3 * 8));
    }

    fn rule(tag: u16, permissions: u16, id: u32) -> Vec<u8> {
        [tag.to_le_bytes().to_vec(), permissions.to_le_bytes().to_vec(), id.to_le_bytes().to_vec()].concat()
    }

    #[test]
    fn what_leads_out_or_is_cut_is_refused() {
        let none = HashMap::new();
        for text in [
            "# file: v\nuser::rw-\n",
            "no facl",
            "# file: v\nuser::rwx\ngroup::r-x\nother::---\n\n# file: w/a\nuser::rwx\ngroup::r-x\nother::---\n",
            "# file: v\\0",
        ] {
            assert!(parse(text.as_bytes(), &none, &none).is_err(), "{text:?}");
        }
    }
}
