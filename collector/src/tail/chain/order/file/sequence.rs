//! Which of two files of a container comes first.
//!
//! In: their names, the times of their first records and of their last writes, and this machine's clock. Out: an order.

use std::cmp::{Ordering, Reverse};

use super::ChainFile;
use crate::tail::chain::log_name::Age;

impl ChainFile {
    /// When it began: its first record's time, or where it has none yet, when it was last touched.
    pub(in super::super) fn began_ns(&self) -> i64 {
        self.first_timestamp_ns.unwrap_or(self.modified_ns)
    }

    /// Whether it comes after another file whose present name is not known: by the times of their first records.
    pub(in super::super) fn begins_after(&self, other: &Self) -> bool {
        let key = |file: &Self| (file.name.restart, file.first_timestamp_ns.unwrap_or(i64::MAX));
        key(self) > key(other)
    }

    /// Whether it comes after another file of its container, by this machine's clock: restart counts tell, unless they began
    /// again at 0.
    pub(in super::super) fn is_after(&self, other: &Self, wall_ns: i64) -> bool {
        match self.name.restart.cmp(&other.name.restart) {
            Ordering::Equal => self.order() > other.order(),
            Ordering::Less => began_anew(self.began_ns(), other.modified_ns, wall_ns),
            Ordering::Greater => !began_anew(other.began_ns(), self.modified_ns, wall_ns),
        }
    }

    /// The place in the chain: by restart, then rotated ones before the live one, Docker's by their number, the kubelet's by
    /// what they begin with (its names run backwards when daylight saving ends). A file that began with no timestamp is
    /// put by its time of modification, an empty one last.
    pub(in super::super) fn order(&self) -> (u32, bool, Reverse<u32>, i64, u64) {
        let number = match self.name.age {
            Age::RotatedByNumber(number) => number,
            Age::RotatedByTime | Age::Live => 0,
        };
        let time = match self.first_timestamp_ns {
            Some(timestamp_ns) => timestamp_ns,
            None if self.len > 0 => self.modified_ns,
            None => i64::MAX,
        };
        (self.name.restart, self.name.age == Age::Live, Reverse(number), time, self.id)
    }
}

/// Whether restart counts began again at 0 between two logs: the one with the lower count began after the other one was last
/// written to. Where it began in the future the clock was set back since, as a machine's without a battery is when the power
/// fails, and times tell nothing.
pub(in super::super) fn began_anew(lower_began_ns: i64, higher_last_write_ns: i64, wall_ns: i64) -> bool {
    const SECOND_NS: i64 = 1_000_000_000;
    // The kernel stamps files by its last tick, up to 10 ms ago (`current_time` in fs/inode.c), the runtime its records by the
    // exact time: a log may begin "after" the next one was made, if the container ended at once.
    const TICK_NS: i64 = SECOND_NS / 10;
    // Some file systems and archives keep whole seconds.
    let keeps_seconds = higher_last_write_ns % SECOND_NS == 0;
    let inexact_ns = if keeps_seconds { SECOND_NS } else { TICK_NS };
    higher_last_write_ns.saturating_add(inexact_ns) < lower_began_ns && lower_began_ns <= wall_ns
}
