//! Which units are read next, and which wait for something.
//!
//! In: units with bytes to be read, that wait for a moment, or for a batch. Out: the next one to read. Knows no file.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    time::Instant,
};

use crate::model::UnitId;

/// See the module.
#[derive(Debug, Default)]
pub struct Schedule {
    /// Units with bytes to be read, each once.
    ready: VecDeque<UnitId>,
    /// Units that have bytes to be read and wait for a batch to come back.
    blocked: Vec<UnitId>,
    /// When to look again at units whose file waits for something.
    later: BinaryHeap<Reverse<(Instant, UnitId)>>,
}

impl Schedule {
    /// The unit has bytes to be read. It must not be here already.
    pub fn push(&mut self, unit: UnitId) {
        self.ready.push_back(unit);
    }

    /// The next unit to read.
    pub fn pop(&mut self) -> Option<UnitId> {
        self.ready.pop_front()
    }

    /// The unit is to be looked at again at `due`.
    pub fn push_later(&mut self, due: Instant, unit: UnitId) {
        self.later.push(Reverse((due, unit)));
    }

    /// The unit has bytes to be read, and there is no batch for its lines.
    pub fn push_blocked(&mut self, unit: UnitId) {
        self.blocked.push(unit);
    }

    /// A batch came back.
    pub fn unblock(&mut self) {
        self.ready.extend(self.blocked.drain(..));
    }

    /// A unit whose time has come.
    pub fn pop_due(&mut self, now: Instant) -> Option<UnitId> {
        let Reverse((due, unit)) = *self.later.peek()?;
        (due <= now).then(|| {
            self.later.pop();
            unit
        })
    }

    /// When the first time comes.
    pub fn next_due(&self) -> Option<Instant> {
        self.later.peek().map(|Reverse((due, _))| *due)
    }

    /// Whether a unit can be read now.
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// How many units have bytes to be read.
    pub fn unread(&self) -> usize {
        self.ready.len() + self.blocked.len()
    }

    /// Whether nothing waits for anything.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.blocked.is_empty() && self.later.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_long_wait_does_not_block_a_shorter_one_behind_it() {
        let (mut schedule, now) = (Schedule::default(), Instant::now());
        schedule.push_later(now + Duration::from_secs(60), UnitId(1));
        schedule.push_later(now + Duration::from_secs(1), UnitId(2));
        assert_eq!(schedule.pop_due(now + Duration::from_secs(2)), Some(UnitId(2)));
        assert_eq!(schedule.pop_due(now + Duration::from_secs(2)), None);
    }
}
