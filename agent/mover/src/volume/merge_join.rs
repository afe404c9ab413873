//! Walks two streams in path order side by side, so that neither has to fit into memory.

use std::cmp::Ordering;

use crate::error::{Result, next_or_end};
use crate::volume::entry::Entry;
use crate::volume::path::RelPath;
use crate::volume::walk::Found;

/// What has a place in path order.
pub trait Placed {
    /// Where.
    fn path(&self) -> &RelPath;
}

impl Placed for Entry {
    fn path(&self) -> &RelPath {
        &self.path
    }
}

impl Placed for Found {
    fn path(&self) -> &RelPath {
        &self.path
    }
}

/// What the two streams have at one path: at least one is there.
pub type Pair<A, B> = (Option<A>, Option<B>);

/// The pairs of two streams; the first failure ends it.
#[derive(Debug)]
pub struct Join<A, B, L, R> {
    left: A,
    right: B,
    /// Read already, and not yet given out.
    left_head: Option<L>,
    right_head: Option<R>,
    ended: bool,
}

/// Joins two streams that are each in path order.
pub fn join<A, B, L: Placed, R: Placed>(left: A, right: B) -> Join<A, B, L, R>
where
    A: Iterator<Item = Result<L>>,
    B: Iterator<Item = Result<R>>,
{
    Join { left, right, left_head: None, right_head: None, ended: false }
}

impl<A, B, L: Placed, R: Placed> Join<A, B, L, R>
where
    A: Iterator<Item = Result<L>>,
    B: Iterator<Item = Result<R>>,
{
    fn pair(&mut self) -> Result<Option<Pair<L, R>>> {
        let left = self.left_head.take().map_or_else(|| self.left.next().transpose(), |head| Ok(Some(head)))?;
        let right = self.right_head.take().map_or_else(|| self.right.next().transpose(), |head| Ok(Some(head)))?;
        let order = match (&left, &right) {
            (None, None) => return Ok(None),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(left), Some(right)) => left.path().cmp(right.path()),
        };
        Ok(Some(match order {
            Ordering::Equal => (left, right),
            Ordering::Less => {
                self.right_head = right;
                (left, None)
            }
            Ordering::Greater => {
                self.left_head = left;
                (None, right)
            }
        }))
    }
}

impl<A, B, L: Placed, R: Placed> Iterator for Join<A, B, L, R>
where
    A: Iterator<Item = Result<L>>,
    B: Iterator<Item = Result<R>>,
{
    type Item = Result<Pair<L, R>>;

    fn next(&mut self) -> Option<Self::Item> {
        next_or_end(self, |join| &mut join.ended, Self::pair)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Failure;

    impl Placed for RelPath {
        fn path(&self) -> &RelPath {
            self
        }
    }

    fn stream(names: &[&str]) -> impl Iterator<Item = Result<RelPath>> {
        names.iter().map(|name| Ok(RelPath::new(name.as_bytes()).unwrap())).collect::<Vec<_>>().into_iter()
    }

    #[test]
    fn each_path_comes_once_in_order() {
        let pairs = join(stream(&["", "a", "a/b", "a-b"]), stream(&["", "a/a", "a/b", "c"])).map(|pair| {
            let (left, right) = pair.unwrap();
            (left.map(|path| path.as_bytes().to_vec()), right.map(|path| path.as_bytes().to_vec()))
        });
        let both = |name: &str| (Some(name.into()), Some(name.into()));
        let (left, right) = (|name: &str| (Some(name.into()), None), |name: &str| (None, Some(name.into())));
        assert_eq!(pairs.collect::<Vec<_>>(), [both(""), left("a"), right("a/a"), both("a/b"), left("a-b"), right("c")]);
    }

    #[test]
    fn a_failure_is_passed_on_and_is_the_end() {
        let failing = stream(&["a"]).chain(std::iter::once(Err(Failure::killed())));
        let results: Vec<bool> = join(failing, stream(&["b", "c"])).map(|pair| pair.is_ok()).collect();
        assert_eq!(results, [true, false]);
    }
}
