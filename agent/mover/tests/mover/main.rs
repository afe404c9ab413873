//! The mover against real servers: rclone's, and versitygw where versions or markers are needed; as S3 the one that `S3_SERVER` names. Every
//! test has a server of its own, except SeaweedFS's.
//!
//! What a replication promises is tested of both layouts, by a parameter `layout`; a file or a test that is about one of them says why. The
//! files about neither use layout Files: what rclone is told and how it runs (`authority`, `configuration`, `daemon`, `daemon_process`,
//! `identity`, `processes`, `providers`, `sections`, `servers`, `variables`, `versions`, `watchdog`), patterns held against git
//! (`exclude_git`), paths that nothing was pushed to (`first_push`), and memory (`memory`), of which layout Packs has tests in
//! `packs_hostile` and `tests/packs_memory`.

// Clippy excuses test functions, but not the helpers they share.
#![allow(clippy::unwrap_used, clippy::panic)]

mod alone;
mod altered;
mod attributes;
mod authority;
mod backends;
mod blocked;
mod blocks;
mod changing;
mod commits;
mod conditional;
mod configuration;
mod crash_pull;
mod crash_push;
mod daemon;
mod daemon_process;
mod dead_pushes;
mod emptied;
mod encrypted;
mod exclude;
mod exclude_git;
mod failures;
mod first_push;
mod folding;
mod guards;
mod heartbeat;
mod hints;
mod history;
mod identity;
mod inspect;
mod late;
mod layers;
mod leased;
mod lost_control;
mod lying;
mod measured;
mod memory;
mod merging;
mod names;
mod neighbours;
mod no_empty_path;
mod obstacles;
mod once;
mod outside;
mod overlays;
mod packs_crash;
mod packs_edge;
mod packs_generations;
mod packs_hostile;
mod packs_path;
mod packs_pull;
mod packs_push;
#[path = "../packs_push/read.rs"]
mod packs_read;
mod packs_retained;
mod packs_room;
mod packs_staging;
mod packs_switch;
mod packs_user_space;
mod plain;
mod predecessors;
mod process;
mod processes;
mod property;
mod providers;
mod remote_links;
mod requests;
mod rights;
mod rivals;
mod roundtrip;
mod s3_servers;
mod sections;
mod servers;
mod skew;
mod space;
mod stopped;
mod support;
mod torn;
mod unions;
mod unprivileged;
mod variables;
mod versions;
mod watchdog;
mod whole;
mod witnesses;
