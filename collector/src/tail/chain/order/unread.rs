//! Files that could be opened and whose beginning could not be read: which file of the chain they are, if any, is not known yet.
//!
//! In: what a merge could not look into. Out: the same files to the next merge, also where they are deleted meanwhile: they are
//! held open, so that a disk that fails for a while loses nothing. One that is deleted and stays unreadable is given up.

use std::{
    borrow::Cow,
    fs::File,
    time::{Duration, Instant},
};

use super::{Chain, ListedFile};

/// One such file.
#[derive(Debug)]
pub(super) struct Unread {
    pub(super) listed: ListedFile,
    pub(super) file: File,
    pub(super) since: Instant,
}

impl Chain {
    /// A listing, with those that are held and not in it any more.
    pub(super) fn with_unread<'l>(&self, listing: &'l [ListedFile]) -> Cow<'l, [ListedFile]> {
        let is_listed = |held: &&Unread| listing.iter().any(|listed| listed.key == held.listed.key);
        let gone: Vec<_> = self.unread.iter().filter(|held| !is_listed(held)).map(|held| held.listed.clone()).collect();
        if gone.is_empty() { Cow::Borrowed(listing) } else { Cow::Owned([listing, &gone].concat()) }
    }

    /// Closes those that no name leads to and that could not be read for so long.
    pub fn give_up_unread(&mut self, after: Duration, now: Instant) -> Vec<ListedFile> {
        let is_lost = |held: &mut Unread| {
            let is_old = now.saturating_duration_since(held.since) >= after;
            is_old && rustix::fs::fstat(&held.file).is_ok_and(|stat| stat.st_nlink == 0)
        };
        self.unread.extract_if(.., is_lost).map(|lost| lost.listed).collect()
    }

    /// Closes all of them.
    pub fn close_unread(&mut self) {
        self.unread.clear();
    }
}
