//! Which revision of a path is pulled: the committed one, or one that it still has, by its name or by a time.

use jiff::Timestamp;

use crate::error::{Failure, Result};
use crate::format::documents;
use crate::format::revision::Revision;
use crate::packs::commit::{AnyCommit, Committing};
use crate::remote::Remote;
use crate::report::Reason;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The committed one.
    Newest,
    /// This one, and no other.
    Revision(Revision),
    /// The newest one whose data was captured then or earlier.
    AsOf(Timestamp),
}

/// A revision that a path has, and when its data was captured.
pub(super) type Known<'a> = (&'a str, Timestamp);

impl Wanted {
    /// Whether it is this one, unless a newer one is it, too.
    pub(super) fn is(&self, (revision, data_time): Known) -> bool {
        match self {
            Self::Newest => true,
            Self::Revision(wanted) => wanted.as_str() == revision,
            Self::AsOf(time) => data_time <= *time,
        }
    }

    /// Whether the committed revision is the one.
    pub(super) fn is_met_by(&self, commit: &AnyCommit) -> bool {
        self.is(match commit {
            AnyCommit::Files(commit) => (commit.revision(), commit.data_time),
            AnyCommit::Packs(commit) => (commit.revision(), commit.statement.data_time),
        })
    }

    /// Refuses any other revision than that of this commit, of layout Files, which keeps no older one.
    pub(super) fn only(&self, remote: &Remote, commit: &documents::Commit) -> Result<()> {
        let known = (commit.revision(), commit.data_time);
        if self.is(known) { Ok(()) } else { Err(self.missing(remote, &[known])) }
    }

    /// None of the revisions that a path has, the newest of which comes first, is the one.
    pub(super) fn missing(&self, remote: &Remote, all: &[Known]) -> Failure {
        let what = match self {
            Self::Newest => "no revision".to_owned(),
            Self::Revision(wanted) => format!("no revision {wanted} (any more)"),
            Self::AsOf(time) => format!("no revision of {time} or earlier"),
        };
        let (later, earlier): (Vec<Known>, Vec<Known>) = all.iter().partition(|known| self.is_before(**known));
        let after = match self {
            // Of one captured earlier than another, a clock may have made the later one of the two.
            Self::AsOf(_) => later.iter().rev().min_by_key(|(_, data_time)| *data_time),
            _ => later.last(),
        };
        let nearest = [("before", earlier.first()), ("after", after)].map(|(side, known)| match known {
            Some((revision, data_time)) => format!("the nearest one {side} it is {revision} of {data_time}"),
            None => format!("there is none {side} it"),
        });
        let [before, after] = nearest;
        let what = format!("{} has {what}: {before}, and {after}. Nothing was changed", remote.name());
        Failure::new(Reason::RevisionMissing, what)
    }

    /// Whether a revision is later than the one that is wanted: of a name, by generation within a lineage, and otherwise by the time in it.
    fn is_before(&self, (revision, data_time): Known) -> bool {
        match self {
            Self::Newest => false,
            Self::Revision(wanted) => {
                let same = Revision::parse(revision).filter(|revision| revision.lineage() == wanted.lineage());
                same.map_or_else(|| wanted.is_before(data_time), |revision| revision.generation() > wanted.generation())
            }
            Self::AsOf(time) => data_time > *time,
        }
    }
}
