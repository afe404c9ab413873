//! Layout Packs: the blocks of a volume in immutable packs.

pub mod policy;
