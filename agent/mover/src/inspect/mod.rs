//! Looks at a remote path for a person: what is committed there, and whether all of it is there. Nothing here writes.

mod check;
mod checked;
mod faults;
mod list;
mod objects;
mod packed;
mod places;
mod state;

pub use check::check;
pub use checked::{Checked, Looked, Retained};
pub use faults::{Fault, Kind};
pub use list::{Contents, Kept, Layout, Sizes, Standing, list};
pub use objects::Total;
pub use state::Nothing;

/// A push that commits faster than a look at the path takes is met this often before the look gives up.
const ATTEMPTS: usize = 3;
