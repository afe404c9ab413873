//! All traffic with the API server: what is watched, read and written, and nothing that decides.

pub mod budget;
pub mod cache;
pub mod client;
pub mod consumers;
pub mod guarded;
pub mod identity;
pub mod notices;
pub mod pace;
pub mod priority;
pub mod proxies;
pub mod read;
pub mod refusal;
pub mod slim;
pub mod view;
pub mod warnings;
pub mod watches;
pub mod write;
