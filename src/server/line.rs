//! Connections in the order in which they would give way.
//!
//! Ids, each with the time since when it stands there. One that has gone, or does not stand
//! here any more, is passed over when it comes to the front. So that those do not add up, they
//! are swept out once they are many.

use std::collections::VecDeque;
use std::time::Instant;

/// So many that are to be passed over are never too many.
const FEW: usize = 64;

/// A line of ids.
#[derive(Debug, Default)]
pub(crate) struct Line {
    ids: VecDeque<(u64, Instant)>,
}

impl Line {
    /// Adds one at the end. Those that do not `stand` here any more are swept out if they are
    /// more than the `most` that may.
    pub(crate) fn add(
        &mut self,
        (id, since): (u64, Instant),
        most: usize,
        stands: impl Fn(u64) -> bool,
    ) {
        if self.ids.len() > 2 * most + FEW {
            self.ids.retain(|&(id, _)| stands(id));
            // Else each newcomer would walk over all of them.
            debug_assert!(self.ids.len() <= most + FEW, "more stand here than may");
        }
        self.ids.push_back((id, since));
    }

    /// Takes out the first.
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
