//! A kustomize overlay of its own for a namespace, the way a user installs the agent.

use super::cluster::{kubectl, relative_to};
use std::path::PathBuf;

/// An overlay on `kustomize/base`.
pub struct Overlay<'a> {
    /// Namespace that the agent is installed into.
    pub namespace: &'a str,
    /// Image, as `name:tag`.
    pub image: &'a str,
    /// Content of `agent.yaml`.
    pub settings: &'a str,
    /// Number of agents: one, or none.
    pub replicas: usize,
    /// What else the kustomization says, such as `namePrefix: x-`; lines of YAML.
    pub more: &'a str,
    /// Components, by their folders in `kustomize/components`.
    pub components: &'a [&'a str],
}

impl Overlay<'_> {
    /// Applies the overlay with `kubectl apply -k`.
    pub fn apply(&self) {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(self.namespace);
        std::fs::create_dir_all(&folder).unwrap();
        let base = relative_to(&folder, "kustomize/base");
        let (name, tag) = self.image.rsplit_once(':').unwrap_or_else(|| panic!("an image without a tag: {}", self.image));
        let Overlay { namespace, replicas, more, .. } = self;
        let component = |name: &&str| relative_to(&folder, &format!("kustomize/components/{name}")).display().to_string();
        let components = self.components.iter().map(component).collect::<Vec<_>>().join(", ");
        let kustomization = format!(
            "apiVersion: kustomize.config.k8s.io/v1beta1\n\
             kind: Kustomization\n\
             namespace: {namespace}\n\
             resources: [{base}]\n\
             components: [{components}]\n\
             images: [{{name: localhost/scribe-agent, newName: {name}, newTag: \"{tag}\"}}]\n\
             replicas: [{{name: scribe-agent, count: {replicas}}}]\n\
             configMapGenerator: [{{name: scribe-agent-config, behavior: replace, files: [agent.yaml]}}]\n\
             generatorOptions: {{disableNameSuffixHash: true}}\n\
             {more}\n",
            base = base.display()
        );
        std::fs::write(folder.join("kustomization.yaml"), kustomization).unwrap();
        std::fs::write(folder.join("agent.yaml"), self.settings).unwrap();
        kubectl(&["apply", "--kustomize", folder.to_str().unwrap()]);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
