//! The owner of the path: decides from commit and claim whether this push may continue. Pure.

use std::sync::OnceLock;

use sha2::{Digest as _, Sha256};

use crate::digest::hex;
use crate::error::{Failure, Result};
use crate::format::documents::{Claim, Owner};
use crate::packs::commit::Committing;
use crate::report::Reason;

/// The object that pushes.
#[derive(Clone, Debug)]
pub struct Pusher {
    /// The pushing object.
    pub owner: Owner,
    /// The revision that this very object (by UID) is known to have pushed last.
    pub pushed: Option<String>,
    /// Whether the user lets this push take the path over.
    pub adopt: bool,
    /// The state of the path that an earlier attempt under the same permission acted on: the permission is good for no other.
    pub adopt_state: Option<String>,
    /// The state that this push acts on, once it is known; see [`adopted_state`].
    pub adopted_state: OnceLock<String>,
}

/// The terms under which a push may continue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Terms {
    /// It is this object's own.
    Own,
    /// It becomes this object's own: nothing recorded there is a hint about this volume.
    Takeover,
}

/// Judges one commit or claim found on `remote`.
pub(super) fn judge(pusher: &Pusher, found: &Owner, remote: &str) -> Result<Terms> {
    let Owner { namespace, name, uid } = found;
    let same_name = *namespace == pusher.owner.namespace && *name == pusher.owner.name;
    if same_name && *uid == pusher.owner.uid {
        return Ok(Terms::Own);
    }
    if pusher.adopt || same_name && pusher.pushed.is_none() {
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

/// Notes the state of the path that an adopting push acts on: whose commit and claim lie there, this object's own aside. A push that
/// finds another state than the earlier attempts under the same permission is refused: another object has taken the path meanwhile,
/// and two sources with a standing permission would take turns for ever.
pub(super) fn adopted_state(pusher: &Pusher, commit: Option<&impl Committing>, claim: Option<&Claim>, remote: &str) -> Result<()> {
    let others = |owner: &Owner| *owner != pusher.owner;
    let commit = commit.filter(|commit| others(commit.owner())).map(|commit| (commit.owner().uid.as_str(), commit.revision()));
    let claim = claim.filter(|claim| others(&claim.owner)).map(|claim| (claim.owner.uid.as_str(), claim.revision.as_str()));
    let digest = |of: &Option<(&str, &str)>| hex(&Sha256::digest(format!("{of:?}"))).chars().take(12).collect::<String>();
    let (commit, claimed) = (digest(&commit), claim.is_some().then(|| digest(&claim)));
    if let Some(known) = &pusher.adopt_state {
        let (known_commit, known_claim) = known.split_once('-').unwrap_or((known, ""));
        // An earlier attempt has replaced the claim that it saw by its own.
        if known_commit != commit || claimed.as_ref().is_some_and(|claim| claim != known_claim) {
            return Err(Failure::new(
                Reason::PathNotOurs,
                format!(
                    "{remote} was taken by another object since this one was allowed to take it over; make sure whose it is to be, then remove the annotation scribe.backube/adopt-path and set it again"
                ),
            ));
        }
    }
    let state = format!("{commit}-{}", claimed.unwrap_or_default());
    // An earlier check of the same push found the same.
    let _ = pusher.adopted_state.set(pusher.adopt_state.clone().unwrap_or(state));
    Ok(())
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
        let pusher = Pusher {
            owner: owner("a", "1"),
            pushed: has_pushed.then(String::new),
            adopt,
            adopt_state: None,
            adopted_state: OnceLock::new(),
        };
        let judged = judge(&pusher, &owner(name, uid), "s:p");
        match terms {
            Some(terms) => assert_eq!(judged, Ok(terms)),
            None => assert_eq!(judged.unwrap_err().reason, Reason::PathNotOurs),
        }
    }
}
