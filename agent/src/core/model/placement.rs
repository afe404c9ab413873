//! Where a mover may run: a volume that pods use can be usable on their node alone.

use serde_json::Value;

/// A pod, not the object's own mover, that uses the volume which the mover is to mount.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Consumer {
    /// Its name.
    pub pod: String,
    /// The node that it was given; none while it is not scheduled.
    pub node: Option<String>,
    /// Whether it runs: then the volume is on its node.
    pub running: bool,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Whether it is kept from being scheduled (`spec.schedulingGates`).
    pub gated: bool,
    /// `spec.tolerations`, as they stand there: what keeps others from its node need not keep it.
    pub tolerations: Vec<Value>,
}

/// The node that a mover is kept to.
#[derive(Clone, Debug, PartialEq)]
pub struct Pin {
    /// The node's name.
    pub node: String,
    /// The tolerations that the pod has for whose sake it is that node.
    pub tolerations: Vec<Value>,
    /// Why, as it follows "to start" in a sentence.
    pub why: String,
}
