//! What the API server itself makes of the CRDs and of the agent's Role.
//!
//! Needs the cluster of `$KUBECONFIG`, which `make test` starts; nothing here starts an agent.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says what it needs by failing")]

#[path = "../e2e/support/mod.rs"]
#[allow(dead_code, reason = "shared with the end-to-end tests, which need all of it")]
mod support;

mod accepted;
mod columns;
mod events;
mod kustomize;
mod messages;
mod mover_pod;
mod objects;
mod refused;
mod role;
mod status;
mod table;
