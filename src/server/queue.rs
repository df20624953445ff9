//! A queue of connections, in the order in which they are closed if their places are needed.
//!
//! It has ids, each with the time since when it is there. Entries of connections that are gone,
//! or do not belong here any more, are skipped when they come to the front. To keep their
//! number low they are removed when there are many.

use std::collections::VecDeque;
use std::time::Instant;

/// This many outdated entries never matter.
const FEW: usize = 64;

/// A queue of ids.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    ids: VecDeque<(u64, Instant)>,
}

impl Queue {
    /// Adds one at the end. `belongs` says whether an id still belongs here, and `most` is how many
    /// may; if there are far more entries, outdated ones are removed.
    pub(crate) fn add(
        &mut self,
        (id, since): (u64, Instant),
        most: usize,
        belongs: impl Fn(u64) -> bool,
    ) {
        if self.ids.len() > 2 * most + FEW {
            self.ids.retain(|&(id, _)| belongs(id));
            // Otherwise each addition would go through all entries.
            debug_assert!(self.ids.len() <= most + FEW, "more entries belong here than may");
        }
        self.ids.push_back((id, since));
    }

    /// Removes the first.
    pub(crate) fn next(&mut self) -> Option<(u64, Instant)> {
        self.ids.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_have_gone_do_not_add_up() {
        let mut queue = Queue::default();
        let now = Instant::now();
        for id in 0..100_000 {
            queue.add((id, now), 10, |other| other + 10 > id);
            assert!(queue.ids.len() <= 2 * 10 + FEW + 1);
        }
        let left: Vec<u64> = std::iter::from_fn(|| queue.next()).map(|(id, _)| id).collect();
        assert!(left.ends_with(&[99_998, 99_999]) && left.is_sorted());
    }
}
