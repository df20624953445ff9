//! The table of peers: a slab, with its ids and tokens.
//!
//! An id is `serial << 20 | slot`. The slot is the slab's index, which finds the entry in one
//! step; the serial counts accepted connections and makes the id unique. Slots are reused at
//! once, so a poll event, an entry of a list or a packet from the network may still have the
//! id of a connection that is gone: every look-up compares all 64 bits, and finds nothing.
//!
//! The serial starts at a random number that the caller provides. So ids also differ from those
//! before a restart of moss, and an answer that comes too late reaches nobody.

use slab::Slab;

/// Bits of an id that are the slot.
const SLOT_BITS: u32 = 20;

/// Slots from here on are never used: their tokens are for listeners and signals. The highest
/// `MOSS_MAX_CONNECTIONS` fits below, with its reserve.
pub const FIRST_FREE_TOKEN: usize = (1 << SLOT_BITS) - 32;

/// Connections by id.
#[derive(Debug)]
pub struct Table<T> {
    slab: Slab<Entry<T>>,
    /// The serial of the next connection; wraps after 2⁴⁴ connections.
    serial: u64,
}

#[derive(Debug)]
struct Entry<T> {
    id: u64,
    value: T,
}

impl<T> Table<T> {
    /// No connections yet; the first one's id has this `serial`.
    pub fn new(serial: u64) -> Self {
        Self { slab: Slab::new(), serial }
    }

    /// The number of connections.
    pub fn len(&self) -> usize {
        self.slab.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.slab.is_empty()
    }

    /// Adds a connection made by `make`, which gets the id.
    ///
    /// # Errors
    /// Those of `make`; then nothing is added.
    pub fn insert_with<E>(&mut self, make: impl FnOnce(u64) -> Result<T, E>) -> Result<u64, E> {
        let vacant = self.slab.vacant_entry();
        let id = self.serial << SLOT_BITS | vacant.key() as u64;
        let value = make(id)?;
        vacant.insert(Entry { id, value });
        self.serial = self.serial.wrapping_add(1);
        Ok(id)
    }

    /// The connection with this id.
    pub fn get(&self, id: u64) -> Option<&T> {
        self.slab.get(slot(id)).filter(|entry| entry.id == id).map(|entry| &entry.value)
    }

    /// The connection with this id.
    pub fn get_mut(&mut self, id: u64) -> Option<&mut T> {
        self.slab.get_mut(slot(id)).filter(|entry| entry.id == id).map(|entry| &mut entry.value)
    }

    /// The id for a poll token, which is the id truncated to a `usize`.
    pub fn id_of_token(&self, token: usize) -> Option<u64> {
        let entry = self.slab.get(slot(token as u64))?;
        (entry.id as usize == token).then_some(entry.id)
    }

    /// Removes the connection. Its id is never used again.
    pub fn remove(&mut self, id: u64) -> Option<T> {
        self.get(id)?;
        let value = self.slab.remove(slot(id)).value;
        if self.slab.is_empty() {
            // After many connections have left, their memory is not needed any more.
            self.slab.shrink_to_fit();
        }
        Some(value)
    }

    /// Every connection with its id.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &T)> {
        self.slab.iter().map(|(_, entry)| (entry.id, &entry.value))
    }

    /// Every connection with its id.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (u64, &mut T)> {
        self.slab.iter_mut().map(|(_, entry)| (entry.id, &mut entry.value))
    }
}

fn slot(id: u64) -> usize {
    (id & ((1 << SLOT_BITS) - 1)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insert(table: &mut Table<char>, value: char) -> u64 {
        table.insert_with(|_| Ok::<_, ()>(value)).unwrap()
    }

    #[test]
    fn reused_slot_gets_another_id() {
        let mut table = Table::new(7);
        let first = insert(&mut table, 'a');
        assert_eq!(table.remove(first), Some('a'));
        let second = insert(&mut table, 'b');
        assert_eq!(slot(first), slot(second));
        assert_ne!(first, second);
        assert_eq!(table.get(first), None);
        assert_eq!(table.remove(first), None);
        assert_eq!(table.id_of_token(first as usize), None);
        assert_eq!(table.id_of_token(second as usize), Some(second));
        assert_eq!(table.get(second), Some(&'b'));
    }

    #[test]
    fn ids_differ_with_the_first_serial() {
        let first = insert(&mut Table::new(7), 'a');
        let second = insert(&mut Table::new(8), 'a');
        assert_ne!(first, second);
    }

    #[test]
    fn serial_wraps_without_a_panic() {
        let mut table = Table::new(u64::MAX);
        let last = insert(&mut table, 'a');
        let first = insert(&mut table, 'b');
        assert_eq!((table.get(last), table.get(first)), (Some(&'a'), Some(&'b')));
    }

    #[test]
    fn failed_insert_leaves_nothing() {
        let mut table: Table<char> = Table::new(7);
        assert_eq!(table.insert_with(|_| Err("no")), Err("no"));
        assert!(table.is_empty());
    }
}
