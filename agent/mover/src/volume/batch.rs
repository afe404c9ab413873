//! Entries that are kept in memory together, to be read side by side: as many as take a certain room, because names may be long and extended
//! attributes large.

/// The most of them.
const MOST: usize = 4096;
/// Memory for them, in bytes, but for the last one.
const ROOM: usize = 4 << 20;

/// Entries, in order.
#[derive(Debug)]
pub struct Batch<T> {
    items: Vec<T>,
    bytes: usize,
}

impl<T> Default for Batch<T> {
    fn default() -> Self {
        Self { items: Vec::new(), bytes: 0 }
    }
}

impl<T> Batch<T> {
    /// Adds one that takes about so many bytes; true where they are to be worked on before the next one.
    pub fn push(&mut self, item: T, bytes: usize) -> bool {
        self.items.push(item);
        self.bytes += bytes;
        self.items.len() >= MOST || self.bytes >= ROOM
    }

    /// All of them; there is none then.
    pub fn take(&mut self) -> Vec<T> {
        self.bytes = 0;
        std::mem::take(&mut self.items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_full_by_number_and_by_room() {
        let mut batch = Batch::default();
        let small = (0..9999).position(|number| batch.push(number, 100));
        assert_eq!((small, batch.take().len()), (Some(MOST - 1), MOST));
        let large = (0..9999).position(|number| batch.push(number, 60_000));
        assert_eq!(large, Some(ROOM / 60_000));
        batch.take();
        assert!(batch.push(0, 1 << 30));
        assert_eq!(batch.take().len(), 1);
        assert!(!batch.push(0, 1));
    }
}
