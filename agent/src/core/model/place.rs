//! Where data is replicated: a PVC, and the path that it is pushed to or that is pulled into it.

use crate::api::ReplicationSourceSpec;
use crate::api::status::{Run, Subject, UnfinishedPull};
use crate::core::model::facts::Object;
use crate::core::model::spec::{Spec, Volume};
use crate::core::model::subject::{Named, may_be_one};

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The PVC.
    pub claim: String,
    /// Section and path.
    pub remote: String,
    /// Name of the Secret; none where it is not known.
    pub secret: Option<String>,
}

impl Place {
    /// What a spec names, whose PVC is `claim` and whose Secret is `secret`.
    pub fn new(claim: &str, named: &Named<'_>, secret: &str) -> Place {
        Place { claim: claim.to_owned(), remote: named.record().remote, secret: Some(secret.to_owned()) }
    }

    /// What a source of this spec pushes.
    pub fn of_source(spec: &ReplicationSourceSpec) -> Place {
        Place::new(&spec.source_pvc, &Named::by_source(spec), &spec.rclone.shared.rclone_config)
    }

    /// What an object of this spec pulls into or pushes.
    pub fn of(object: &Object, spec: &Spec) -> Place {
        let own = object.claim_name();
        let claim = match &spec.volume {
            Volume::Source { claim, .. } => claim,
            Volume::Destination { .. } => spec.pulls_into().unwrap_or(&own),
        };
        Place::new(claim, &Named::by(spec), &spec.remote.secret)
    }

    /// What was recorded of a spec that has been edited since, or cannot be read; `own` is the PVC that is made for a destination.
    pub fn of_subject(subject: &Subject, own: &str) -> Place {
        Place { claim: subject.claim.clone().unwrap_or_else(|| own.to_owned()), remote: subject.remote.clone(), secret: None }
    }

    /// Where a pull has begun, whatever Secret leads there by now: keys are replaced in the middle of a restore.
    pub fn of_pull(pull: &UnfinishedPull) -> Place {
        Place { claim: pull.claim.clone(), remote: pull.remote.clone(), secret: None }
    }

    /// A pull into it that begins with the present attempt of `run`.
    pub fn begun(self, run: &Run) -> UnfinishedPull {
        UnfinishedPull { claim: self.claim, remote: self.remote, run: run.id.clone(), attempt: run.attempt }
    }

    /// Whether the two may be one.
    pub fn is(&self, other: &Place) -> bool {
        let secrets = self.secret.as_ref().zip(other.secret.as_ref());
        self.claim == other.claim && one_remote(&self.remote, &other.remote) && secrets.is_none_or(|(one, another)| one == another)
    }
}

/// Whether two places, each a section and a path, may be one.
pub fn one_remote(a: &str, b: &str) -> bool {
    let parts = a.split_once(':').zip(b.split_once(':'));
    parts.is_some_and(|((section, path), (another, other))| section == another && may_be_one(path, other))
}
