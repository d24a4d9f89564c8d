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

use super::{Chain, ChainFile, ListedFile, MergeError, UnknownFile, in_order};

/// A file that cannot be read for this long is not waited for any more.
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

    /// Closes those that no name leads to and that could not be read for this long.
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

/// Newcomers in their order, with those among them that are held without a name: these have been rotated and compressed since, and
/// what they were called when they were found says nothing any more.
pub(super) fn with_nameless(
    mut newcomers: Vec<ChainFile>,
    mut nameless: Vec<ChainFile>,
    wall_ns: i64,
) -> Vec<ChainFile> {
    nameless.iter_mut().for_each(ChainFile::lose_place);
    for file in in_order(nameless, wall_ns) {
        let next = newcomers.iter().position(|other| other.begins_after(&file)).unwrap_or(newcomers.len());
        newcomers.insert(next, file);
    }
    newcomers
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;
    use crate::{
        model::SavedFile,
        tail::{
            chain::{list, log_name::Age, order::head},
            local::Folder,
        },
    };

    /// The file of a folder, as it would join a chain.
    fn newcomer(folder: &Path, name: &str, second: u32) -> ChainFile {
        let path = folder.join(name);
        fs::write(&path, format!("2026-01-02T03:04:{second:02}Z stdout F line\n")).unwrap();
        let listing = list(&Folder::open(folder).unwrap(), |_| {}).unwrap();
        let listed = listing.files.iter().find(|listed| listed.path == path).unwrap();
        ChainFile::new(listed, head::inspect(&path, false).unwrap(), UnknownFile::Beginning)
    }

    /// What an earlier run saved of two unread files, and their listing, in which the older one cannot be looked into.
    fn two_of_which_the_older_fails(folder: &Path, now: Instant) -> (Chain, Vec<ListedFile>) {
        let (older, newer) = (newcomer(folder, "0.log.1", 3), newcomer(folder, "0.log", 4));
        let saved =
            |file: &ChainFile| SavedFile::new(file.key(), file.fingerprint(), [0, 0], false, file.bytes_on_disk());
        let chain = Chain::from_saved(&[saved(&older), saved(&newer)], &mut 0, now);
        let mut files = list(&Folder::open(folder).unwrap(), |_| {}).unwrap().files;
        // A name that the system refuses stands for a disk that fails.
        let older = files.iter_mut().find(|listed| listed.path.ends_with("0.log.1")).unwrap();
        older.path = folder.join("x".repeat(300));
        (chain, files)
    }

    #[test]
    fn a_file_that_an_earlier_run_knew_is_waited_for_while_one_that_may_be_it_cannot_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let now = Instant::now();
        let (mut chain, failing) = two_of_which_the_older_fails(folder.path(), now);
        let files = list(&Folder::open(folder.path()).unwrap(), |_| {}).unwrap().files;
        let mut merge = |files: &[ListedFile], now| {
            let errors = chain.merge(files, UnknownFile::Beginning, usize::MAX, &mut 2, now);
            (errors.len(), chain.current().map(|index| chain.files()[index].name().age))
        };
        assert_eq!(merge(&failing, now), (1, None));
        assert_eq!(merge(&files, now), (0, Some(Age::RotatedByNumber(1))));
        assert_eq!(merge(&failing, now), (0, Some(Age::RotatedByNumber(1))), "it is open");
    }

    #[test]
    fn a_missing_file_is_not_waited_for_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let now = Instant::now();
        let (mut chain, files) = two_of_which_the_older_fails(folder.path(), now);
        let mut current_at = |now| {
            chain.merge(&files, UnknownFile::Beginning, usize::MAX, &mut 2, now);
            chain.current()
        };
        assert_eq!(current_at(now), None);
        assert_eq!(current_at(now + FAILING_MAX), Some(1));
    }

    #[test]
    fn files_that_are_held_without_a_name_come_by_their_first_records_whatever_they_were_called() {
        let folder = tempfile::tempdir().unwrap();
        let named = vec![newcomer(folder.path(), "0.log.1", 4), newcomer(folder.path(), "0.log", 5)];
        let elsewhere = tempfile::tempdir().unwrap();
        let nameless = [("0.log.2", 3), ("0.log.4", 1), ("0.log", 2)]
            .map(|(name, second)| newcomer(elsewhere.path(), name, second));
        let ordered = with_nameless(named, nameless.into(), i64::MAX);
        let seconds = ordered.iter().map(|file| file.first_timestamp_ns().unwrap() / 1_000_000_000 % 60);
        assert_eq!(seconds.collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    }
}
