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
pub(crate) struct Line {
    ids: VecDeque<(u64, Instant)>,
}

impl Line {
    /// Adds one at the end. `stands` says whether an id still belongs here, and `most` is how many
    /// may; if there are far more entries, outdated ones are removed.
    pub(crate) fn add(
        &mut self,
        (id, since): (u64, Instant),
        most: usize,
        stands: impl Fn(u64) -> bool,
    ) {
        if self.ids.len() > 2 * most + FEW {
            self.ids.retain(|&(id, _)| stands(id));
            // Otherwise each addition would go through all entries.
            debug_assert!(self.ids.len() <= most + FEW, "more stand here than may");
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
        let mut line = Line::default();
        let now = Instant::now();
        for id in 0..100_000 {
            line.add((id, now), 10, |other| other + 10 > id);
            assert!(line.ids.len() <= 2 * 10 + FEW + 1);
        }
        let left: Vec<u64> = std::iter::from_fn(|| line.next()).map(|(id, _)| id).collect();
        assert!(left.ends_with(&[99_998, 99_999]) && left.is_sorted());
    }
}
