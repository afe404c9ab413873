//! Which kind of backend a section of rclone's configuration leads to in the end. Pure.
//!
//! That is not asked of rclone, measured with 1.75.2: `operations/fsinfo` (1 ms, no request) says whether a section is an overlay, and nothing of
//! what lies behind it, which would be set up, and signed in to, once more for that; `config/providers` takes 15 to 40 ms of each sync for
//! 0.8 MB, and says which options a backend has, not what they mean. A test compares what is known here with the latter.

use crate::rclone::configuration::{Configuration, DEEPEST};
use crate::rclone::target::{Remote, Target, target_of, upstreams_of};

/// In which form a backend shows what lies behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Nothing does: objects are one object each.
    End,
    /// The names and objects of another one, one by one.
    Transparent,
    /// What another one holds, in a form of its own.
    Opaque,
    /// What its path says, or its option.
    ByPath,
    /// Several others as one.
    Joined,
}

/// Those where it ends.
const ENDS: &[&str] = &[
    "azureblob",
    "azurefiles",
    "b2",
    "box",
    "cloudinary",
    "doi",
    "drime",
    "drive",
    "dropbox",
    "fichier",
    "filefabric",
    "filelu",
    "filen",
    "filescom",
    "ftp",
    "gcs",
    "gofile",
    "google cloud storage",
    "google photos",
    "googlecloudstorage",
    "googlephotos",
    "gphotos",
    "hdfs",
    "hidrive",
    "http",
    "huaweidrive",
    "iclouddrive",
    "imagekit",
    "internetarchive",
    "internxt",
    "jottacloud",
    "koofr",
    "linkbox",
    "local",
    "mailru",
    "mega",
    "memory",
    "netstorage",
    "onedrive",
    "oos",
    "opendrive",
    "oracleobjectstorage",
    "pcloud",
    "pikpak",
    "pixeldrain",
    "premiumizeme",
    "protondrive",
    "putio",
    "qingstor",
    "quatrix",
    "s3",
    "seafile",
    "sftp",
    "shade",
    "sharefile",
    "sia",
    "smb",
    "storj",
    "sugarsync",
    "swift",
    "tardigrade",
    "ulozto",
    "webdav",
    "yandex",
    "zoho",
];

/// The form of a backend. One that is not known may have any.
pub fn form(kind: &str) -> Option<Form> {
    match kind {
        "alias" | "crypt" | "hasher" => Some(Form::Transparent),
        "cache" | "chunker" | "compress" => Some(Form::Opaque),
        "archive" => Some(Form::ByPath),
        "combine" | "union" => Some(Form::Joined),
        end => ENDS.contains(&end).then_some(Form::End),
    }
}

/// Whether objects of such a [`base`] are one object each.
pub(crate) fn is_end(base: &str) -> bool {
    form(base) == Some(Form::End)
}

/// The type at the end of the chain that begins with this section; nothing where it cannot be followed with certainty, or where what lies
/// behind a backend of another form may be WebDAV.
pub(crate) fn base(configuration: &Configuration, section: &str) -> Option<String> {
    of_remote(configuration, &Remote::of_section(section), DEEPEST)
}

fn of_remote(configuration: &Configuration, remote: &Remote, steps: usize) -> Option<String> {
    let steps = steps.checked_sub(1)?;
    let kind = configuration.kind(remote)?.certain()?;
    let option = |name: &str| configuration.option(remote, &kind, name)?.certain();
    let is_known = |text: &str| of_target(configuration, text, steps).is_some_and(|base| base != "webdav");
    match form(&kind)? {
        Form::End => Some(kind),
        Form::Transparent => of_target(configuration, &option("remote")?, steps),
        Form::Opaque => is_known(&option("remote")?).then_some(kind),
        Form::Joined => {
            let upstreams = upstreams_of(&kind, &option("upstreams")?);
            upstreams.iter().all(|upstream| is_known(&upstream.target)).then_some(kind)
        }
        Form::ByPath => None,
    }
}

fn of_target(configuration: &Configuration, text: &str, steps: usize) -> Option<String> {
    match target_of(text)? {
        Target::Folder(_) => Some("local".to_owned()),
        Target::Remote(remote, _) => of_remote(configuration, &remote, steps),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rclone::configuration::of_lines;
    use rstest::rstest;

    const CONF: &str = "[s3]\ntype = s3\n[dav]\ntype = webdav\n[secret]\ntype = crypt\nremote = named:below\n[named]\ntype = alias\n\
        remote = dav:path\n[written]\ntype = crypt\nremote = :webdav,url='http://h':path\n[parts]\ntype = chunker\nremote = dav:path\n\
        [round]\ntype = alias\nremote = round:x\n[nowhere]\ntype = alias\nremote = gone:x\n[tuned]\ntype = alias\n\
        remote = dav,pacer_min_sleep=10ms:path\n[other]\ntype = alias\nremote = s3,type=webdav:b\n[deep]\ntype = alias\n\
        remote = :alias,remote='s3:b':x\n[s3.kid]\nx = y\n[zip]\ntype = archive\nremote = s3:b\n[both]\n\
        type = union\nupstreams = s3:b /srv\n[one]\ntype = combine\nupstreams = a=s3:b c=dav:d\n\
        [broken]\ntype = alias\nremote = s3,x='y:b\n[new]\ntype = invented\n[my-s3]\ntype = alias\nremote = my-base:\n[my-base]\ntype = s3\n";

    fn find(vars: &[(&str, &str)], section: &str) -> Option<String> {
        base(&of_lines(CONF, vars), section)
    }

    #[rstest]
    #[case("s3", Some("s3"))]
    #[case("secret", Some("webdav"))]
    #[case("named", Some("webdav"))]
    #[case("written", Some("webdav"))]
    #[case("parts", None)]
    #[case("tuned", Some("webdav"))]
    #[case("round", None)]
    #[case("nowhere", None)]
    #[case("other", Some("webdav"))]
    #[case("deep", Some("s3"))]
    #[case("s3.kid", None)]
    #[case("zip", None)]
    #[case("both", Some("union"))]
    #[case("one", None)]
    #[case("broken", None)]
    #[case("new", None)]
    fn a_chain_is_followed(#[case] section: &str, #[case] expected: Option<&str>) {
        assert_eq!(find(&[], section).as_deref(), expected);
    }

    #[rstest]
    #[case(&[("RCLONE_CONFIG_MY-BASE_TYPE", "webdav")], Some("webdav"))]
    #[case(&[("RCLONE_CONFIG_MY-S3_REMOTE", "dav:x")], Some("webdav"))]
    #[case(&[("RCLONE_ALIAS_REMOTE", "dav:x")], Some("webdav"))]
    #[case(&[("RCLONE_ALIAS_REMOTE", "dav:x"), ("RCLONE_CONFIG_MY-S3_REMOTE", "s3:x")], None)]
    #[case(&[("RCLONE_CONFIG_MY_BASE_TYPE", "webdav")], Some("s3"))]
    fn variables_change_a_chain(#[case] vars: &[(&str, &str)], #[case] expected: Option<&str>) {
        assert_eq!(find(vars, "my-s3").as_deref(), expected);
    }
}
