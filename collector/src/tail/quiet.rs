//! Whether a file that another one has followed is still being written to.
//!
//! In: the file's status. Out: a [`Quiet`], which tells whether its end can be taken for its end at once.

use std::time::{Duration, SystemTime};

use super::{Tailer, apart, read::RangeReader};
use crate::model::UnitId;

/// A superseded file that was last written to longer ago than this needs no grace.
const SURELY_QUIET: Duration = Duration::from_secs(2);

/// Whether a file was last written to a while ago.
pub(super) enum Quiet {
    Yes,
    No,
    /// Yes, but it has more than was read.
    ButLonger,
}

impl<R: RangeReader> Tailer<R> {
    /// For the file at `index` of a unit's chain.
    pub(super) fn quiet(&self, id: UnitId, index: usize) -> Quiet {
        let Some(file) = self.state.units.get(id).map(|unit| &unit.chain.files()[index]) else { return Quiet::Yes };
        let Some(slot) = file.slot() else { return Quiet::Yes };
        let stat = self.reader.file(slot).and_then(|open| apart::stat(open, file.device()).ok());
        let (Some(stat), Ok(now)) = (stat, SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)) else {
            return Quiet::No;
        };
        let modified = Duration::from_secs(u64::try_from(stat.st_mtime).unwrap_or(0));
        match now.checked_sub(modified).is_some_and(|age| age > SURELY_QUIET) {
            false => Quiet::No,
            true if u64::try_from(stat.st_size).is_ok_and(|size| size > file.progress().seen()) => Quiet::ButLonger,
            true => Quiet::Yes,
        }
    }
}
