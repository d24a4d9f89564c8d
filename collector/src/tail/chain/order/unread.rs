//! Files that could be opened and whose beginning could not be read: which file of the chain they are, if any, is not known yet.
//! Files that are found beside them wait too, or they would be read before an older one.
//!
//! In: what a merge could not look into, or did not take over. Out: the same files to the next merge, also where they are deleted
//! meanwhile: they are held open, so that a disk that fails for a while loses nothing. After 10 minutes the others are read without
//! those that fail, and of these one that is deleted is given up.

use std::{
    borrow::Cow,
    fs::File,
    time::{Duration, Instant},
};

use super::{Chain, ListedFile, MergeError, UnknownFile};

/// A file that cannot be read for so long is not waited for any more.
pub const FAILING_MAX: Duration = Duration::from_secs(600);

/// One such file.
#[derive(Debug)]
pub(super) struct Unread {
    pub(super) listed: ListedFile,
    pub(super) file: File,
    pub(super) since: Instant,
    /// What was to be done with it when it was found.
    pub(super) unknown: UnknownFile,
}

impl Unread {
    /// `None` where it is not open.
    pub(super) fn of(listed: &ListedFile, file: Option<File>, since: Instant, unknown: UnknownFile) -> Option<Self> {
        Some(Self { listed: listed.clone(), file: file?, since, unknown })
    }
}

impl Chain {
    /// Whether files that are new have to wait, as one of the folder cannot be read.
    pub(super) fn is_blocked_by(&mut self, errors: &[MergeError], now: Instant) -> bool {
        if !errors.iter().any(MergeError::may_pass) {
            self.failing_since = None;
            return false;
        }
        let since = *self.failing_since.get_or_insert(now);
        now.saturating_duration_since(since) < FAILING_MAX
    }

    /// A listing, with those that are held and not in it any more.
    pub(super) fn with_unread<'l>(&self, listing: &'l [ListedFile]) -> Cow<'l, [ListedFile]> {
        let is_listed = |held: &&Unread| listing.iter().any(|listed| listed.key == held.listed.key);
        let gone: Vec<_> = self.unread.iter().filter(|held| !is_listed(held)).map(|held| held.listed.clone()).collect();
        if gone.is_empty() { Cow::Borrowed(listing) } else { Cow::Owned([listing, &gone].concat()) }
    }

    /// Closes those that no name leads to and that could not be read for so long.
    pub fn give_up_unread(&mut self, now: Instant) -> Vec<ListedFile> {
        let is_lost = |held: &mut Unread| {
            let is_old = now.saturating_duration_since(held.since) >= FAILING_MAX;
            is_old && rustix::fs::fstat(&held.file).is_ok_and(|stat| stat.st_nlink == 0)
        };
        self.unread.extract_if(.., is_lost).map(|lost| lost.listed).collect()
    }

    /// Closes all of them.
    pub fn close_unread(&mut self) {
        self.unread.clear();
    }
}
