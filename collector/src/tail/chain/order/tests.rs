use std::{
    fs::{self, File},
    io::Write,
    path::Path,
};

use super::*;
use crate::{
    model::{FINGERPRINT_BYTES, FileKey, Fingerprint, modified_ns, work},
    tail::{chain::LogName, local::Folder},
};

fn listed(path: &Path) -> ListedFile {
    listed_as(path, LogName::parse(path.file_name().unwrap().to_str().unwrap()).unwrap())
}

fn listed_as(path: &Path, name: LogName) -> ListedFile {
    let found = rustix::fs::stat(path).unwrap();
    let (key, modified_ns) = (FileKey::of(&found), modified_ns(&found));
    ListedFile { path: path.into(), name, key, len: found.st_size as u64, modified_ns }
}

/// ext4 gives a freed inode to the next new file.
#[test]
fn a_new_log_with_the_old_inode_of_one_that_was_compressed_is_another_file() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (folder.path().join("0.log.20260102-030405.gz"), folder.path().join("0.log"));
    let text = b"2026-01-02T03:04:05Z stdout F old\n";
    let mut gzip = flate2::write::GzEncoder::new(File::create(&old).unwrap(), flate2::Compression::fast());
    gzip.write_all(text).unwrap();
    gzip.finish().unwrap();
    fs::write(&new, "2026-01-02T03:04:06Z stdout F new\n").unwrap();

    let saved = SavedFile::new(listed(&new).key, Fingerprint::of(text), [0, 0], false, 0);
    let mut next_id = 0;
    let mut chain = Chain::from_saved(&[saved], &mut next_id, Instant::now());
    let listing = [listed(&old), listed(&new)];
    for _scan in 0..2 {
        let errors = chain.merge(&listing, UnknownFile::Beginning, usize::MAX, &mut next_id, Instant::now());
        assert!(errors.is_empty());
        let paths: Vec<_> = chain.files().iter().map(|file| file.path().to_owned()).collect();
        assert_eq!(paths, [old.clone(), new.clone()]);
        assert!(chain.files().iter().all(|file| !matches!(file.source(), Source::Closed)));
    }
}

/// A folder of log files and the chain that follows it.
struct Follower {
    folder: tempfile::TempDir,
    chain: Chain,
    next_id: u64,
}

impl Follower {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), chain: Chain::default(), next_id: 0 }
    }

    /// Writes a log file whose first record is of this second.
    fn write(&self, name: &str, second: u32) {
        let record = format!("2026-01-02T03:04:{second:02}.5Z stdout F line of second {second}\n");
        fs::write(self.folder.path().join(name), record).unwrap();
    }

    fn compress(&self, name: &str) {
        let path = self.folder.path().join(name);
        let file = File::create(self.folder.path().join(format!("{name}.gz"))).unwrap();
        let mut gzip = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
        gzip.write_all(&fs::read(&path).unwrap()).unwrap();
        gzip.finish().unwrap();
        fs::remove_file(path).unwrap();
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.folder.path().join(from), self.folder.path().join(to)).unwrap();
    }

    fn scan(&mut self) {
        let listing = super::super::list(&Folder::open(self.folder.path()).unwrap(), |_| {}).unwrap();
        let errors =
            self.chain.merge(&listing.files, UnknownFile::Beginning, usize::MAX, &mut self.next_id, Instant::now());
        assert!(errors.is_empty(), "{errors:?}");
    }

    /// The names of the files that are still to be read, in the chain's order.
    fn unread(&self) -> Vec<&str> {
        let unread = self.chain.files().iter().filter(|file| !file.progress().has_ended());
        unread.map(|file| file.path().file_name().unwrap().to_str().unwrap()).collect()
    }

    /// The reader and Loki have all of the file at `index`.
    fn finish(&mut self, index: usize) {
        let file = &mut self.chain.files_mut()[index];
        let len = fs::metadata(file.path()).unwrap().len();
        file.advance(len, len);
        file.progress_mut().reach_end();
        file.replace_source(Source::Closed);
    }

    /// What the next run knows.
    fn restart(&mut self) {
        let saved: Vec<_> = self.chain.saved([None; 2]).collect();
        self.chain = Chain::from_saved(&saved, &mut self.next_id, Instant::now());
    }
}

#[test]
fn files_come_by_restart_then_by_what_they_begin_with_and_the_live_one_last() {
    let mut follower = Follower::new();
    // At the end of daylight saving the names run backwards.
    follower.write("0.log.20261025-025900", 1);
    follower.write("0.log.20261025-020100", 2);
    follower.write("0.log", 3);
    follower.write("1.log.20261025-021500", 4);
    follower.write("1.log", 5);
    follower.scan();
    let order = ["0.log.20261025-025900", "0.log.20261025-020100", "0.log", "1.log.20261025-021500", "1.log"];
    assert_eq!(follower.unread(), order);
    let ids: Vec<_> = follower.chain.files().iter().map(ChainFile::id).collect();
    assert!(ids.is_sorted(), "positions are compared by number: {ids:?}");
    assert_eq!(follower.chain.current(), Some(0));
    assert!((0..4).all(|index| follower.chain.is_superseded(index)));
    assert!(!follower.chain.is_superseded(4), "the live file of the last restart may still grow");
}

/// The kernel's time of a file is that of its last tick: the log of the next run was made "before" the first record of this one.
#[test]
fn a_log_with_one_burst_comes_before_that_of_the_restart_in_the_same_tick() {
    let mut follower = Follower::new();
    follower.write("1.log", 5);
    let next = File::create(follower.folder.path().join("2.log")).unwrap();
    let record = crate::decode::first_timestamp_ns(b"2026-01-02T03:04:05.5Z stdout F x").unwrap();
    next.set_modified(std::time::SystemTime::UNIX_EPOCH + Duration::from_nanos(record as u64 - 4_000_000)).unwrap();
    follower.scan();
    assert_eq!(follower.unread(), ["1.log", "2.log"]);
}

#[test]
fn a_file_keeps_its_number_when_it_is_renamed_and_compressed_while_it_is_read() {
    let mut follower = Follower::new();
    follower.write("0.log", 1);
    follower.scan();
    let id = follower.chain.files()[0].id();
    fs::rename(follower.folder.path().join("0.log"), follower.folder.path().join("0.log.20260102-030405")).unwrap();
    follower.write("0.log", 2);
    follower.scan();
    assert_eq!(follower.unread(), ["0.log.20260102-030405", "0.log"]);
    follower.compress("0.log.20260102-030405");
    follower.scan();
    assert_eq!(follower.unread(), ["0.log.20260102-030405.gz", "0.log"]);
    assert_eq!(follower.chain.files()[0].id(), id);
    assert!(matches!(follower.chain.files()[0].source(), Source::Opened(_)), "the open file is the better source");
}

#[test]
fn what_is_finished_is_not_read_again_after_a_restart_under_any_name() {
    let mut follower = Follower::new();
    follower.write("0.log.20260102-030405", 1);
    follower.write("0.log", 2);
    follower.scan();
    follower.finish(0);
    follower.restart();
    follower.compress("0.log.20260102-030405");
    fs::rename(follower.folder.path().join("0.log"), follower.folder.path().join("0.log.20260102-040506")).unwrap();
    follower.write("0.log", 3);
    follower.scan();
    assert_eq!(follower.unread(), ["0.log.20260102-040506", "0.log"]);
}

#[test]
fn what_came_after_the_end_of_a_finished_file_is_still_read() {
    let mut follower = Follower::new();
    follower.write("0.log.20260102-030405", 1);
    follower.write("0.log", 2);
    follower.scan();
    follower.finish(0);
    let mut late = fs::OpenOptions::new().append(true).open(follower.chain.files()[0].path()).unwrap();
    late.write_all(b"2026-01-02T03:04:01.9Z stdout F late\n").unwrap();
    follower.scan();
    assert_eq!(follower.unread(), ["0.log.20260102-030405", "0.log"]);
}

#[test]
fn a_file_that_is_gone_before_it_is_read_stays_in_the_chain() {
    let mut follower = Follower::new();
    follower.write("0.log", 1);
    follower.scan();
    fs::remove_file(follower.folder.path().join("0.log")).unwrap();
    follower.scan();
    assert_eq!(follower.unread(), ["0.log"]);
    assert!(follower.chain.is_superseded(0), "nothing more can come");
    follower.chain.forget_missing(Instant::now() + FORGET_AFTER);
    assert_eq!(follower.chain.files().len(), 1, "it is open and unread");
}

/// Found by `cargo xtask chaos --seed 2`, with docker's numbers: they were taken for those of the other files' present names.
#[test]
fn a_file_that_was_rotated_and_removed_between_two_looks_is_still_read_before_newer_ones() {
    let mut follower = Follower::new();
    follower.write("0.log", 1);
    follower.scan();
    fs::remove_file(follower.folder.path().join("0.log")).unwrap();
    follower.write("0.log.20260102-040506", 2);
    follower.write("0.log", 3);
    follower.scan();
    let seconds: Vec<_> = follower.chain.files().iter().map(|file| file.first_timestamp_ns().unwrap()).collect();
    assert!(seconds.len() == 3 && seconds.is_sorted(), "{seconds:?}");
    follower.write("0.log.20260102-030405", 0);
    follower.scan();
    assert_eq!(
        follower.unread()[1..],
        ["0.log.20260102-030405", "0.log.20260102-040506", "0.log"],
        "before those listed"
    );
}

/// While Loki is away nothing is parsed, and the file that was empty when it was found is known by its inode only.
#[test]
fn a_file_that_was_empty_when_it_was_found_is_known_when_it_is_compressed_unread() {
    let mut follower = Follower::new();
    fs::write(follower.folder.path().join("0.log"), "").unwrap();
    follower.scan();
    follower.write("0.log", 1);
    for file in follower.chain.files_mut() {
        let path = file.path().to_owned();
        file.extend_fingerprint(|| fs::read(path));
    }
    fs::rename(follower.folder.path().join("0.log"), follower.folder.path().join("0.log.20260102-030405")).unwrap();
    follower.compress("0.log.20260102-030405");
    follower.scan();
    assert_eq!(follower.unread(), ["0.log.20260102-030405.gz"]);
}

/// Docker's files, which have no time in their names.
#[test]
fn numbered_files_keep_their_order_when_every_rotation_renames_all_of_them() {
    for compressed in [false, true] {
        let mut follower = Follower::new();
        follower.write("0.log.2", 1);
        follower.write("0.log.1", 2);
        follower.write("0.log", 3);
        if compressed {
            follower.compress("0.log.2");
            follower.compress("0.log.1");
        }
        let extension = if compressed { ".gz" } else { "" };
        let name = |number: u32| format!("0.log.{number}{extension}");
        follower.scan();
        assert_eq!(follower.unread(), [&name(2), &name(1), "0.log"]);
        follower.finish(0);
        let ids: Vec<_> = follower.chain.files().iter().map(ChainFile::id).collect();

        follower.rename(&name(2), &name(3));
        follower.rename(&name(1), &name(2));
        follower.rename("0.log", "0.log.1");
        if compressed {
            follower.compress("0.log.1");
        }
        follower.write("0.log", 4);
        follower.scan();
        assert_eq!(follower.unread(), [&name(2), &name(1), "0.log"], "the finished one is not read again");
        let after: Vec<_> = follower.chain.files().iter().map(ChainFile::id).collect();
        assert_eq!(after[..3], ids, "they are the same files");

        follower.restart();
        follower.scan();
        assert_eq!(follower.unread(), [&name(2), &name(1), "0.log"], "nor by the next run");
    }
}

#[test]
fn a_file_and_its_compressed_form_that_stand_side_by_side_are_read_once() {
    let mut follower = Follower::new();
    follower.write("0.log.1", 1);
    follower.write("0.log", 2);
    follower.compress("0.log.1");
    follower.write("0.log.1", 1);
    follower.scan();
    assert_eq!(follower.unread(), ["0.log.1", "0.log"]);
    fs::remove_file(follower.folder.path().join("0.log.1")).unwrap();
    follower.scan();
    assert_eq!(follower.unread(), ["0.log.1.gz", "0.log"]);
    assert!(matches!(follower.chain.files()[0].source(), Source::Opened(_)), "the open file is the better source");
    assert!(follower.chain.files()[0].has_compressed_form());
}

#[test]
fn a_copy_does_not_take_the_name_of_the_file_it_is_made_of_and_has_its_unread_lines_when_that_is_truncated() {
    let mut follower = Follower::new();
    follower.write("0.log", 1);
    follower.scan();
    let (live, copy) = (follower.folder.path().join("0.log"), follower.folder.path().join("0.log.1"));
    let id = follower.chain.files()[0].id();
    // Half of it is read.
    let file = &mut follower.chain.files_mut()[0];
    file.advance(10, 10);
    file.note_len(fs::metadata(&live).unwrap().len());
    fs::write(&copy, "").unwrap();
    follower.scan();
    fs::copy(&live, &copy).unwrap();
    follower.scan();
    follower.scan();
    assert_eq!(follower.unread(), ["0.log"], "it is known already");

    fs::File::options().write(true).open(&live).unwrap().set_len(0).unwrap();
    follower.chain.split_truncated(id, &mut follower.next_id, Instant::now());
    follower.scan();
    assert_eq!(follower.unread(), ["0.log.1", "0.log"]);
    let files = follower.chain.files();
    assert_eq!((files[0].id(), files[0].progress().parsed(), files[1].progress().parsed()), (id, 10, 0));
    assert!(files[1].id() > id && files.iter().all(ChainFile::is_open));
    follower.finish(0);
    follower.write("0.log", 2);
    follower.rename("0.log.1", "0.log.2");
    follower.scan();
    assert_eq!(follower.unread(), ["0.log"]);
}

#[test]
fn a_file_that_is_not_open_is_found_again_under_any_name_and_another_one_with_its_name_is_not_it() {
    let mut follower = Follower::new();
    follower.write("0.log", 1);
    follower.scan();
    let id = follower.chain.files()[0].id();
    follower.chain.files_mut()[0].replace_source(Source::Listed);
    follower.scan();
    assert!(matches!(follower.chain.files()[0].source(), Source::Listed), "a scan alone opens nothing");
    follower.rename("0.log", "0.log.20260102-030405");
    follower.write("0.log", 2);
    let error = follower.chain.files()[0].open().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound, "another file has its name");
    follower.compress("0.log.20260102-030405");
    follower.scan();
    assert_eq!(follower.unread(), ["0.log.20260102-030405.gz", "0.log"]);
    assert_eq!(follower.chain.files()[0].id(), id);
    assert!(matches!(follower.chain.files()[0].source(), Source::Gzip(_)));
}

#[test]
fn files_that_there_is_no_room_for_are_left_to_be_opened_later() {
    let mut follower = Follower::new();
    for second in 1..6 {
        follower.write(&format!("0.log.20260102-03040{second}"), second);
    }
    let listing = super::super::list(&Folder::open(follower.folder.path()).unwrap(), |_| {}).unwrap();
    let merge = |chain: &mut Chain, next_id: &mut u64| {
        chain.merge(&listing.files, UnknownFile::Beginning, 2, next_id, Instant::now())
    };
    assert!(merge(&mut follower.chain, &mut follower.next_id).is_empty());
    assert_eq!((follower.chain.files().len(), follower.chain.open_files()), (5, 2));
    for file in follower.chain.files_mut() {
        if !file.is_open() {
            let source = file.open().unwrap();
            file.take_source(source);
        }
    }
    assert_eq!(follower.chain.open_files(), 5);
}

#[test]
fn a_container_that_rotates_for_weeks_does_not_grow() {
    let mut follower = Follower::new();
    for second in 0..50 {
        follower.write("0.log", second);
        follower.scan();
        let last = follower.chain.files().len() - 1;
        follower.finish(last);
        follower.rename("0.log", "0.log.20260102-030405");
        follower.scan();
        follower.chain.forget_missing(Instant::now() + FORGET_AFTER);
        assert!(follower.chain.files().len() <= 2, "{:?}", follower.chain.files());
    }
}

/// Found by `cargo xtask chaos --seed 474355954`: the new file was taken for the old one until the next rotation, and read after newer
/// ones then.
#[test]
fn a_compressed_file_with_the_name_and_the_inode_of_an_earlier_one_is_another_file() {
    for was_open in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let (plain, compressed) = (folder.path().join("live.1"), folder.path().join("live.1.gz"));
        let name = |gzip| LogName { restart: 0, age: Age::RotatedByNumber(1), gzip };
        let found = |path: &Path, gzip| listed_as(path, name(gzip));
        // Always the same inode.
        let write = |second: u64| {
            let file = File::create(&compressed).unwrap();
            let mut gzip = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
            gzip.write_all(format!("2026-01-02T03:04:{second:02}.5Z stdout F line\n").as_bytes()).unwrap();
            let file = gzip.finish().unwrap();
            file.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(second)).unwrap();
        };
        let (mut chain, mut next_id) = (Chain::default(), 0);
        let mut merge = |chain: &mut Chain, listing: &[ListedFile]| {
            let errors = chain.merge(listing, UnknownFile::Beginning, usize::MAX, &mut next_id, Instant::now());
            assert!(errors.is_empty());
        };
        if was_open {
            fs::write(&plain, "2026-01-02T03:04:10.5Z stdout F line\n").unwrap();
            merge(&mut chain, &[found(&plain, false)]);
        }
        write(10);
        merge(&mut chain, &[found(&compressed, true)]);
        if !was_open {
            let file = &mut chain.files_mut()[0];
            file.progress_mut().reach_end();
            file.replace_source(Source::Closed);
        }
        write(20);
        merge(&mut chain, &[found(&compressed, true)]);
        assert_eq!(chain.files().len(), 2, "was open: {was_open}");
        assert!(
            !chain.files()[1].progress().has_ended() && chain.files()[1].is_listed() && !chain.files()[0].is_listed()
        );
    }
}

/// 8,000 rotated files took 50 s of CPU at each start: each beginning was hashed again for each other file.
#[test]
fn every_file_of_a_folder_is_opened_and_hashed_once_however_many_there_are() {
    const FILES: usize = 2000;
    let folder = tempfile::tempdir().unwrap();
    for n in 0..FILES {
        let (day, second) = (n / 86_400, n % 86_400);
        let time = format!("{:02}{:02}{:02}", second / 3600, second / 60 % 60, second % 60);
        let record = format!("2026-01-02T03:04:05.{n:09}Z stdout F {n} {}\n", "x".repeat(n % 2 * FINGERPRINT_BYTES));
        fs::write(folder.path().join(format!("0.log.202601{:02}-{time}", day + 2)), record).unwrap();
    }
    let listing = super::super::list(&Folder::open(folder.path()).unwrap(), |_| {}).unwrap().files;
    let (mut chain, mut next_id) = (Chain::default(), 0);
    let mut merge = |chain: &mut Chain| {
        work::take();
        let errors = chain.merge(&listing, UnknownFile::Beginning, 0, &mut next_id, Instant::now());
        assert!(errors.is_empty(), "{errors:?}");
        assert_eq!(chain.files().len(), FILES);
        assert!(chain.files().is_sorted_by_key(ChainFile::first_timestamp_ns));
        work::take()
    };
    let most = FILES * 4 * FINGERPRINT_BYTES;
    let first = merge(&mut chain);
    assert!(first.opened == FILES && first.hashed_bytes <= most, "{first:?}");
    let again = merge(&mut chain);
    assert_eq!((again.opened, again.hashed_bytes), (0, 0), "nothing changed");
    let saved: Vec<_> = chain.saved([None, None]).collect();
    let mut after_restart = Chain::from_saved(&saved, &mut 0, Instant::now());
    let restart = merge(&mut after_restart);
    assert!(restart.opened == FILES && restart.hashed_bytes <= most, "{restart:?}");
}
