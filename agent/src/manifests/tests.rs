//! Snapshots of the generated YAML.
