use std::{fs, io::Write, os::unix::fs::MetadataExt, path::Path};

use super::*;

fn listed(path: &Path) -> ListedFile {
    let metadata = fs::metadata(path).unwrap();
    let key = FileKey { device: metadata.dev(), inode: metadata.ino() };
    let name = LogName::parse(path.file_name().unwrap().to_str().unwrap()).unwrap();
    ListedFile { path: path.into(), name, key, len: metadata.len() }
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

    let saved = SavedFile { key: listed(&new).key, fingerprint: Fingerprint::of(text), offset: 0, finished: false };
    let mut next_id = 0;
    let mut chain = Chain::from_saved(&[saved], &mut next_id, Instant::now());
    let listing = [listed(&old), listed(&new)];
    for _scan in 0..2 {
        let errors = chain.merge(&listing, UnknownFile::Beginning, &mut next_id, Instant::now());
        assert!(errors.is_empty());
        let paths: Vec<_> = chain.files().iter().map(|file| file.path.clone()).collect();
        assert_eq!(paths, [old.clone(), new.clone()]);
        assert!(chain.files().iter().all(|file| !matches!(file.source, Source::Closed)));
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

    fn scan(&mut self) {
        let listing = super::super::list(self.folder.path(), |_| {}).unwrap();
        let errors = self.chain.merge(&listing.files, UnknownFile::Beginning, &mut self.next_id, Instant::now());
        assert!(errors.is_empty(), "{errors:?}");
    }

    /// The names of the files that are still to be read, in the chain's order.
    fn unread(&self) -> Vec<&str> {
        let unread = self.chain.files().iter().filter(|file| !file.finished);
        unread.map(|file| file.path.file_name().unwrap().to_str().unwrap()).collect()
    }

    /// The reader and Loki have all of the file at `index`.
    fn finish(&mut self, index: usize) {
        let file = &mut self.chain.files_mut()[index];
        file.parsed = fs::metadata(&file.path).unwrap().len();
        file.acknowledged = file.parsed;
        file.finished = true;
        file.source = Source::Closed;
    }

    /// What the next run knows.
    fn restart(&mut self) {
        let saved: Vec<_> = self.chain.saved().collect();
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
    let ids: Vec<_> = follower.chain.files().iter().map(|file| file.id).collect();
    assert!(ids.is_sorted(), "positions are compared by number: {ids:?}");
    assert_eq!(follower.chain.current(), Some(0));
    assert!((0..4).all(|index| follower.chain.is_superseded(index)));
    assert!(!follower.chain.is_superseded(4), "the live file of the last restart may still grow");
}

#[test]
fn a_file_keeps_its_number_when_it_is_renamed_and_compressed_while_it_is_read() {
    let mut follower = Follower::new();
    follower.write("0.log", 1);
    follower.scan();
    let id = follower.chain.files()[0].id;
    fs::rename(follower.folder.path().join("0.log"), follower.folder.path().join("0.log.20260102-030405")).unwrap();
    follower.write("0.log", 2);
    follower.scan();
    assert_eq!(follower.unread(), ["0.log.20260102-030405", "0.log"]);
    follower.compress("0.log.20260102-030405");
    follower.scan();
    assert_eq!(follower.unread(), ["0.log.20260102-030405.gz", "0.log"]);
    assert_eq!(follower.chain.files()[0].id, id);
    assert!(matches!(follower.chain.files()[0].source, Source::Opened(_)), "the open file is the better source");
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
    let mut late = fs::OpenOptions::new().append(true).open(&follower.chain.files()[0].path).unwrap();
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

/// While Loki is away nothing is parsed, and the file that was empty when it was found is known by its inode only.
#[test]
fn a_file_that_was_empty_when_it_was_found_is_known_when_it_is_compressed_unread() {
    let mut follower = Follower::new();
    fs::write(follower.folder.path().join("0.log"), "").unwrap();
    follower.scan();
    follower.write("0.log", 1);
    for file in follower.chain.files_mut() {
        let path = file.path.clone();
        file.extend_fingerprint(|| fs::read(path));
    }
    fs::rename(follower.folder.path().join("0.log"), follower.folder.path().join("0.log.20260102-030405")).unwrap();
    follower.compress("0.log.20260102-030405");
    follower.scan();
    assert_eq!(follower.unread(), ["0.log.20260102-030405.gz"]);
}
