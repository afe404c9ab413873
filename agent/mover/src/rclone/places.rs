//! Checks before rclone runs where a section leads: not to nothing, not to the mover's own memory or working directory, and for a push not
//! to a union that may put new content of a file into another upstream than the old, or that cannot change what it holds. Pure.
//!
//! rclone takes a missing `remote` and a relative path for its working directory, and what does not exist for an empty remote: a push would
//! succeed, and a pull would wait for the first push for ever.

use std::path::Path;

use crate::error::{Failure, Result};
use crate::rclone::base::{Form, form};
use crate::rclone::configuration::{Configuration, DEEPEST};
use crate::rclone::options::Direction;
use crate::rclone::target::{Remote, Target, Upstream, target_of, upstreams_of};
use crate::report::Reason;

/// The policies by which a union creates a file where it has created it before. The others go by free space, number of files or chance;
/// rclone asks all upstreams at once for `epff` and creates in the one that answers first (`backend/union/policy/epff.go`).
const STEADY: [&str; 3] = ["all", "epall", "ff"];
/// The policies by which it deletes a file in every upstream that holds it.
const EVERYWHERE: [&str; 2] = ["all", "epall"];
/// The policies by which it reads the first of several files.
const FIRST: [&str; 2] = ["ff", "epff"];
const MEMORY: &str = "memory is no remote: what it holds is lost when the mover ends";

/// An option, and the section that has it.
type Named<'a> = (&'a str, &'a str);

/// A chain of sections that is being followed.
#[derive(Clone, Copy)]
struct Walk<'a> {
    configuration: &'a Configuration,
    /// What holds the configuration, in messages.
    secret: &'a str,
    direction: Direction,
    /// The volume, which no remote may lie in or hold: a pull would delete it, a push would grow by what it has pushed.
    volume: Option<&'a Path>,
    /// How many more sections it may have.
    steps: usize,
}

/// That `section:path` leads to a remote, for a volume with this path, if there is one.
pub(crate) fn check(
    configuration: &Configuration,
    secret: &str,
    (section, path): (&str, &str),
    volume: Option<&Path>,
    direction: Direction,
) -> Result<()> {
    Walk { configuration, secret, direction, volume, steps: DEEPEST }.remote(&Remote::of_section(section), path, None)
}

impl<'a> Walk<'a> {
    /// `named_by` is the option that leads here.
    fn remote(self, remote: &Remote, path: &str, named_by: Option<Named<'_>>) -> Result<()> {
        // Of a remote that is written out, or where options follow its name, that option is the one to correct.
        let blamed = |name: &'a str| match named_by {
            Some(named_by) if remote.written_out().is_some() || remote.options.contains_key(name) => named_by,
            _ => (name, remote.name.as_str()),
        };
        let Some(steps) = self.steps.checked_sub(1) else {
            return Err(self.wrong(blamed("remote"), "the sections that it leads to lead to one another, or are too many"));
        };
        let walk = Walk { steps, ..self };
        let Some(kind) = walk.configuration.kind(remote).map(|kind| kind.text) else {
            return Ok(());
        };
        let option = |name: &str| walk.configuration.option(remote, &kind, name).map(|value| value.text).filter(|text| !text.is_empty());
        let missing = |name: &'a str| walk.wrong(blamed(name), &format!("a remote of type {kind} needs an option {name}"));
        match (kind.as_str(), form(&kind)) {
            ("local", _) => walk.folder(&remote.name, path, path, named_by),
            ("memory", _) => Err(walk.wrong(blamed("type"), MEMORY)),
            (_, Some(form @ (Form::Transparent | Form::Opaque | Form::ByPath))) => match option("remote") {
                Some(target) => walk.target(blamed("remote"), &target, path),
                // This one takes the path for it.
                None if form == Form::ByPath => walk.target(blamed("remote"), path, ""),
                None => Err(missing("remote")),
            },
            (_, Some(Form::Joined)) => {
                let upstreams = upstreams_of(&kind, &option("upstreams").ok_or_else(|| missing("upstreams"))?);
                if kind == "combine" {
                    return walk.combine(blamed("upstreams"), &upstreams, path);
                }
                if walk.direction == Direction::Push {
                    let is_one_of =
                        |name: &str, policies: &[&str]| option(name).map(|policy| policies.contains(&policy.to_lowercase().as_str()));
                    walk.union(blamed, &upstreams, is_one_of)?;
                }
                upstreams.iter().try_for_each(|upstream| walk.target(blamed("upstreams"), &upstream.target, path))
            }
            (_, Some(Form::End) | None) => Ok(()),
        }
    }

    /// What is pushed through a union can be read, and changed, where it was put.
    fn union<'b>(
        self,
        blamed: impl Fn(&'a str) -> Named<'b>,
        upstreams: &[Upstream],
        is_one_of: impl Fn(&str, &[&str]) -> Option<bool>,
    ) -> Result<()> {
        let creates = |upstream: &Upstream| ![":ro", ":nc"].contains(&upstream.mode);
        if upstreams.iter().any(|upstream| upstream.mode == ":ro") {
            let why = "what an upstream with :ro holds of the path can neither be replaced nor deleted; push through a section without it";
            return Err(self.wrong(blamed("upstreams"), why));
        }
        // What lies in such a one is created a second time in another.
        let first = upstreams.iter().position(|upstream| upstream.mode == ":nc");
        let last = upstreams.iter().rposition(creates);
        if first.is_some_and(|first| last.is_none_or(|last| first < last)) {
            let why =
                "what an upstream with :nc holds of the path is read instead of what is created in one behind it; put those with :nc last";
            return Err(self.wrong(blamed("upstreams"), why));
        }
        if first.is_some() && is_one_of("search_policy", &FIRST) == Some(false) {
            let why =
                "by others than ff and epff, what an upstream with :nc holds of the path may be read instead of what is created later";
            return Err(self.wrong(blamed("search_policy"), why));
        }
        if upstreams.iter().filter(|upstream| creates(upstream)).count() > 1 && is_one_of("create_policy", &STEADY) != Some(true) {
            let why = "by others than all, epall and ff, a file may be created again in another upstream, and the old one be read";
            return Err(self.wrong(blamed("create_policy"), why));
        }
        if upstreams.len() > 1 && is_one_of("action_policy", &EVERYWHERE) == Some(false) {
            let why = "by others than all and epall, what is deleted may stay in another upstream, and be read from there";
            return Err(self.wrong(blamed("action_policy"), why));
        }
        Ok(())
    }

    fn combine(self, option: Named<'_>, upstreams: &[Upstream], path: &str) -> Result<()> {
        let path = path.trim_start_matches('/');
        for upstream in upstreams.iter().filter(|upstream| !upstream.name.is_empty()) {
            match path.strip_prefix(upstream.name.as_str()) {
                Some(below) if below.is_empty() || below.starts_with('/') => {
                    return self.target(option, &upstream.target, below.trim_start_matches('/'));
                }
                _ => {}
            }
        }
        // Where one of them cannot be followed, parts of a secret may stand where names do.
        let leads = |upstream: &Upstream| match target_of(&upstream.target) {
            Some(Target::Folder(folder)) => folder.starts_with('/'),
            Some(Target::Remote(remote, _)) => self.configuration.kind(&remote).is_some(),
            None => false,
        };
        let names: Vec<&str> = upstreams.iter().map(|upstream| upstream.name.as_str()).collect();
        let which =
            if upstreams.iter().all(leads) { format!("its names, which are: {}", names.join(", ")) } else { "its names".to_owned() };
        Err(self.wrong(option, &format!("the path {path} begins with none of {which}")))
    }

    /// `path` lies below what `option` leads to.
    fn target(self, option: Named<'_>, target: &str, path: &str) -> Result<()> {
        let below = |folder: &str| match (folder, path) {
            ("", path) => path.to_owned(),
            (folder, "") => folder.to_owned(),
            (folder, path) => format!("{}/{}", folder.trim_end_matches('/'), path.trim_start_matches('/')),
        };
        match target_of(target) {
            Some(Target::Folder(folder)) => self.folder(option.1, &folder, &below(&folder), Some(option)),
            Some(Target::Remote(remote, folder)) if self.configuration.kind(&remote).is_some() => {
                self.remote(&remote, &below(&folder), Some(option))
            }
            // Nothing of it is shown unless it is known to be a name: what is misplaced may be confidential.
            Some(Target::Remote(remote, _)) if self.configuration.sections().any(|section| section == remote.name) => {
                Err(self.wrong(option, &format!("it names the section [{}], which has no type", remote.name)))
            }
            Some(Target::Remote(..)) => Err(self.wrong(option, "it names a section that does not exist")),
            None => Err(self.wrong(option, "it is neither a path nor `section:path` nor `:backend,option=value:path`")),
        }
    }

    /// `all` is the folder that the replication's path is in the end.
    fn folder(self, section: &str, path: &str, all: &str, named_by: Option<Named<'_>>) -> Result<()> {
        let all = Path::new(all);
        if path.starts_with('/') && self.volume.is_some_and(|volume| all.starts_with(volume) || volume.starts_with(all)) {
            let why = "lies in the volume itself, or holds it: a pull would delete what it pulls from";
            return Err(self.failure(&format!("has a section [{section}] in its rclone.conf by which the path {why}")));
        }
        if path.starts_with('/') {
            return Ok(());
        }
        Err(match named_by {
            Some(named_by) => self.wrong(named_by, "it leads to a folder in the mover's working directory"),
            None => self.failure(&format!(
                "has a section [{section}] of type local in its rclone.conf: {path} must begin with a slash, or it lies in the mover's \
                 working directory"
            )),
        })
    }

    fn wrong(self, (option, section): Named<'_>, why: &str) -> Failure {
        self.failure(&format!("needs another option {option} in section [{section}] of its rclone.conf: {why}"))
    }

    fn failure(self, what: &str) -> Failure {
        Failure::new(Reason::SecretInvalid, format!("{} {what}", self.secret))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rclone::configuration::of_lines;
    use rstest::rstest;

    const CONF: &str = "\
[abs]
type = alias
remote = /srv
[dir]
type = local
[s3]
type = s3
[round]
type = alias
remote = round:x
[mem]
type = memory
[up]
type = combine
upstreams = \"a b=dir:/x y\" c=mem: d=s3:bucket
[below]
type = hasher
remote = up:d/more
[enc]
type = crypt
remote = dir:
[odd]
type = union
upstreams = s3:x s3,env_auth=true:y:writeback /z:nc
create_policy = ff
[free]
type = union
upstreams = s3:x /z:writeback
[made]
type = alias
remote = free,create_policy=all:
[steady]
type = union
create_policy = EPall
upstreams = s3:x /z
[var]
type = crypt
[last]
type = union
upstreams = s3:x /z:nc
[first]
type = union
upstreams = /z:nc s3:x
create_policy = all
[fixed]
type = union
upstreams = s3:x /z:ro
[out]
type = crypt
remote = :union,upstreams='s3:x /z':y
[bare]
type = archive
[zip]
type = archive
remote = mem:
[kid]
type = alias
remote = enc.kid:
[enc.kid]
type = alias
[quoted]
type = alias
remote = s3,endpoint=\"http://h:1\":b
[tuned]
type = alias
remote = mem,description='a:b':x
[other]
type = alias
remote = var,remote='s3:x':y
";

    fn check(conf: &str, vars: &[(&str, &str)], section: &str, path: &str) -> Option<String> {
        let failure =
            super::check(&of_lines(conf, vars), "Secret \"creds\"", (section, path), Some(Path::new("/srv/volume")), Direction::Push)
                .err()?;
        assert_eq!(failure.reason, Reason::SecretInvalid);
        Some(failure.message)
    }

    #[rstest]
    #[case("abs", "x", None)]
    #[case("dir", "/srv", Some("or holds it"))]
    #[case("dir", "srv", Some("[dir]"))]
    #[case("dir", "/srv/volume/x", Some("lies in the volume"))]
    #[case("dir", "/srv/volume2", None)]
    #[case("abs", "volume", Some("[abs]"))]
    #[case("s3", "bucket/x", None)]
    #[case("round", "x", Some("remote in section [round]"))]
    #[case("mem", "x", Some("type in section [mem]"))]
    #[case("up", "a b/x", None)]
    #[case("up", "d", None)]
    #[case("up", "c/x", Some("type in section [mem]"))]
    #[case("up", "da/x", Some("are: a b, c, d"))]
    #[case("below", "x", None)]
    #[case("enc", "x", Some("remote in section [enc]"))]
    #[case("enc", "/x", None)]
    #[case("enc", "/srv/volume", Some("[dir]"))]
    #[case("odd", "x", None)]
    #[case("free", "x", Some("create_policy in section [free]"))]
    #[case("made", "x", None)]
    #[case("last", "x", None)]
    #[case("first", "x", Some("upstreams in section [first]"))]
    #[case("fixed", "x", Some("upstreams in section [fixed]"))]
    #[case("out", "x", Some("remote in section [out]"))]
    #[case("bare", "x", Some("remote in section [bare]"))]
    #[case("bare", "s3:x", None)]
    #[case("zip", "x", Some("type in section [mem]"))]
    #[case("kid", "x", Some("remote in section [enc.kid]"))]
    #[case("steady", "x", None)]
    #[case("var", "x", Some("remote in section [var]"))]
    #[case("quoted", "x", None)]
    #[case("tuned", "x", Some("type in section [mem]"))]
    #[case("other", "x", None)]
    #[case("unknown", "x", None)]
    fn a_section_leads_to_a_remote(#[case] section: &str, #[case] path: &str, #[case] words: Option<&str>) {
        let refused = check(CONF, &[], section, path);
        assert_eq!(refused.is_some(), words.is_some(), "{refused:?}");
        assert!(refused.is_none_or(|message| words.is_some_and(|words| message.contains(words))));
    }

    #[rstest]
    #[case(&[("RCLONE_CONFIG_VAR_REMOTE", "s3:x")], None)]
    #[case(&[("RCLONE_CRYPT_REMOTE", "s3:x")], None)]
    #[case(&[("RCLONE_CONFIG_VAR_REMOTE", "more-here:x"), ("RCLONE_CONFIG_MORE-HERE_TYPE", "s3")], None)]
    #[case(&[("RCLONE_CONFIG_VAR_REMOTE", "more-here:x"), ("RCLONE_CONFIG_MORE_HERE_TYPE", "s3")], Some("does not exist"))]
    #[case(&[("RCLONE_CONFIG_VAR_REMOTE", "mem:x")], Some("[mem]"))]
    #[case(&[("RCLONE_CONFIG_VAR_TYPE", "s3")], None)]
    fn a_variable_comes_before_the_file(#[case] vars: &[(&str, &str)], #[case] words: Option<&str>) {
        let refused = check(CONF, vars, "var", "x");
        assert_eq!(refused.is_some(), words.is_some(), "{refused:?}");
        assert!(refused.is_none_or(|message| words.is_some_and(|words| message.contains(words))));
    }

    #[test]
    fn no_value_of_an_option_is_shown() {
        let conf = "[al]\ntype = alias\nremote = :memory,password='HUNTER2:':HUNTER2\n[rel]\ntype = alias\nremote = HUNTER2/x\n\
            [up]\ntype = combine\nupstreams = :webdav,url=http://h,pass=HUNTER2:x http://HUNTER2:HUNTER2@h/?a=b\n\
            [blank]\ntype = union\nupstreams = :sftp,host=h,pass='my HUNTER2':x /srv\ncreate_policy = all\n\
            [names]\ntype = combine\nupstreams = a=:s3,pass=my HUNTER2=s:b c=/srv\n[s]\ntype = s3\n\
            [colon]\ntype = alias\nremote = webdav pass=HUNTER2:x\n[gone]\ntype = alias\nremote = HUNTER2,x=y:b\n\
            [json]\ntype = alias\nremote = {\"HUNTER2\": 1}\n";
        for section in ["al", "rel", "up", "blank", "names", "colon", "gone", "json"] {
            let message = check(conf, &[], section, "x").unwrap();
            assert!(message.contains(" in section") && !message.contains("HUNTER2"), "{message}");
        }
    }
}
