//! Whose path it is: decides from commit and claim whether this push may go on. Pure.
//!
//! Imports [`crate::control`] and [`crate::failure`].

use crate::control::Owner;
use crate::failure::{Failure, Result};
use crate::report::Reason;

/// Who asks.
#[derive(Clone, Debug)]
pub struct Asker {
    /// The pushing object.
    pub owner: Owner,
    /// The revision that this very object (by UID) is known to have pushed last.
    pub pushed: Option<String>,
    /// Whether a person said to take the path over.
    pub adopt: bool,
}

/// On what terms a push may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Terms {
    /// It is this object's own.
    Own,
    /// It becomes this object's own: nothing recorded there is a hint about this volume.
    Takeover,
}

/// Judges one commit or claim found on `remote`.
pub(super) fn judge(asker: &Asker, found: &Owner, remote: &str) -> Result<Terms> {
    let Owner { namespace, name, uid } = found;
    let same_name = *namespace == asker.owner.namespace && *name == asker.owner.name;
    if same_name && *uid == asker.owner.uid {
        return Ok(Terms::Own);
    }
    if asker.adopt || same_name && asker.pushed.is_none() {
        return Ok(Terms::Takeover);
    }
    let advice = "give each source a path of its own, or annotate this object with scribe.backube/adopt-path: <path> to take it over";
    Err(Failure::new(
        Reason::PathNotOurs,
        if same_name {
            format!("{remote} was taken over by another object {namespace}/{name} (UID {uid}) after this one had pushed; {advice}")
        } else {
            format!("{remote} belongs to {namespace}/{name}; {advice}")
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn owner(name: &str, uid: &str) -> Owner {
        Owner { namespace: "ns".into(), name: name.into(), uid: uid.into() }
    }

    #[rstest]
    #[case("a", "1", true, false, Some(Terms::Own))]
    #[case("a", "2", false, false, Some(Terms::Takeover))]
    #[case("a", "2", true, false, None)]
    #[case("a", "2", true, true, Some(Terms::Takeover))]
    #[case("b", "1", false, false, None)]
    #[case("b", "1", false, true, Some(Terms::Takeover))]
    fn who_may_push(#[case] name: &str, #[case] uid: &str, #[case] has_pushed: bool, #[case] adopt: bool, #[case] terms: Option<Terms>) {
        let asker = Asker { owner: owner("a", "1"), pushed: has_pushed.then(String::new), adopt };
        let judged = judge(&asker, &owner(name, uid), "s:p");
        match terms {
            Some(terms) => assert_eq!(judged, Ok(terms)),
            None => assert_eq!(judged.unwrap_err().reason, Reason::PathNotOurs),
        }
    }
}
