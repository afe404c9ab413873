//! The bounds of format 2: what a writer keeps to, and what a reader refuses beyond. Whoever can write to the bucket could fill the memory
//! otherwise.

/// Version of this layout, as commit, manifest, run and pack say it.
pub const FORMAT: u32 = 2;

/// The smallest block: the page of the databases that change in place.
pub const SMALLEST_BLOCK: u32 = 16 << 10;
/// The largest block: a pack of the smallest size holds one.
pub const LARGEST_BLOCK: u32 = 16 << 20;
/// A volume gets the smallest blocks of which it has no more than these.
pub const BLOCKS_OF_A_VOLUME: u64 = 4 << 20;
/// Plain bytes of a frame that small contents share.
pub const FRAME: u32 = 128 << 10;

/// Bytes that a push lets a pack grow to, the trailer not counted.
pub const LARGEST_PACK: u64 = 64 << 20;
/// Blocks that a push puts into a pack, at most: who moves them has all blocks of a pack in memory. A frame has no more, of a byte each.
pub const BLOCKS_OF_A_PACK: u64 = 1 << 17;
/// Bytes of the trailer of a pack.
pub const TRAILER: usize = 52;
/// Bytes of a pack with its trailer, at most.
pub const LARGEST_PACK_OBJECT: u64 = LARGEST_PACK + TRAILER as u64;

/// Plain bytes of a window, unless it has one row only.
pub const WINDOW: usize = 128 << 10;
/// Plain bytes of a window of one row: an entry with a megabyte of extended attributes.
pub const LARGEST_ROW: usize = (1 << 20) + (32 << 10);
/// Bytes of the extended attributes of one entry, names and values together.
pub const ATTRIBUTES: usize = 1 << 20;
/// Rows of a window: those that say that something is gone take next to no room.
pub const ROWS: u64 = 1 << 16;
/// Extended attributes of one entry: more than fit into the list that the kernel gives.
pub const MOST_ATTRIBUTES: usize = 1 << 14;
/// Plain bytes of the index of a run.
pub const INDEX: u64 = 16 << 20;
/// Windows of all runs of a map together: those that as many blocks and entries take as there may be.
pub const WINDOWS: usize = 1 << 18;

/// Runs of a map.
pub const RUNS: usize = 64;
/// Bytes of the runs that stand in the manifest itself.
pub const INLINE: u64 = 256 << 10;
/// Entries of a map.
pub const ENTRIES: u64 = 1 << 28;
/// Blocks of a map.
pub const BLOCKS_OF_A_MAP: u64 = 1 << 29;
/// Packs of a map.
pub const PACKS: u64 = 1 << 21;
/// The last block number of a file, and the last file id: far beyond any file system, and far from overflowing.
pub const LAST: u64 = 1 << 47;

/// Plain bytes of the document of a manifest.
pub const DOCUMENT: usize = 8 << 20;
/// Bytes of a manifest as it is stored: more than the document and the runs in it have.
pub const MANIFEST: u64 = 10 << 20;
/// Retained revisions.
pub const RETAINED: usize = 4096;
/// Dead packs, runs or manifests: of each.
pub const DEAD: usize = 1 << 15;
/// Of these, packs or runs that retained revisions may need: the rest is for what waits to be deleted.
pub const DEAD_AND_NEEDED: usize = DEAD / 2;
/// Objects that a manifest names because they are being deleted.
pub const DUE: usize = 1 << 14;
/// Ancestors that a manifest names one by one, the latest; of those before, every one whose generation this number divides.
pub const NEAR_ANCESTORS: usize = 64;
/// Ancestors that a manifest names in all.
pub const ANCESTORS: usize = 1024;
