//! Which kind of backend a section of rclone's configuration leads to in the end. Pure.

use std::collections::BTreeMap;

/// Backends that show the names and objects of another one, one by one.
const TRANSPARENT: [&str; 3] = ["alias", "crypt", "hasher"];
/// A section may lead to itself.
pub(crate) const DEEPEST: usize = 8;

/// The sections of a configuration, by name, with their options.
pub(crate) type Sections = BTreeMap<String, BTreeMap<String, String>>;

/// The type at the end of the chain that begins with a section of type `backend`; nothing where it cannot be followed.
pub(crate) fn base(sections: &Sections, section: &str, backend: &str) -> Option<String> {
    let (mut section, mut backend) = (section, backend);
    for _ in 0..DEEPEST {
        if !TRANSPARENT.contains(&backend) {
            return Some(backend.to_owned());
        }
        let remote = sections.get(section)?.get("remote")?.trim_matches(['"', '\'']);
        if let Some(written_out) = remote.strip_prefix(':') {
            return written_out.split([',', ':']).next().filter(|name| !TRANSPARENT.contains(name)).map(str::to_owned);
        }
        // Options of its own may follow the section's name.
        section = remote.split([':', ',']).next()?;
        backend = sections.get(section)?.get("type")?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("s3", Some("s3"))]
    #[case("secret", Some("webdav"))]
    #[case("named", Some("webdav"))]
    #[case("written", Some("webdav"))]
    #[case("parts", Some("chunker"))]
    #[case("tuned", Some("webdav"))]
    #[case("round", None)]
    #[case("nowhere", None)]
    fn a_chain_is_followed(#[case] section: &str, #[case] expected: Option<&str>) {
        let of = |name: &str, kind: &str, remote: &str| {
            (name.to_owned(), BTreeMap::from([("type", kind), ("remote", remote)].map(|(key, value)| (key.to_owned(), value.to_owned()))))
        };
        let sections = Sections::from([
            of("s3", "s3", ""),
            of("dav", "webdav", ""),
            of("secret", "crypt", "named:below"),
            of("named", "alias", "dav:path"),
            of("written", "crypt", ":webdav,url='http://h':path"),
            of("parts", "chunker", "dav:path"),
            of("round", "alias", "round:x"),
            of("nowhere", "alias", "gone:x"),
            of("tuned", "alias", "dav,pacer_min_sleep=10ms:path"),
        ]);
        assert_eq!(base(&sections, section, &sections[section]["type"]).as_deref(), expected);
    }
}
