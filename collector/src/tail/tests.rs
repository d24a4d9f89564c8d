//! The reader side on real folders, without the program around it.

use std::{
    fs::{self, File},
    io::Write,
    os::fd::BorrowedFd,
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::*;
use crate::{
    checkpoint::SavedContainer,
    compiled::Compiled,
    model::{FileKey, Fingerprint, SavedFile, work},
    tail::{
        read::{PreadReader, Wanted},
        rig::{self, Ends},
    },
};

/// Reads as pread does, and lets something happen when a file is taken over: while folders are being scanned.
struct MeddlingReader {
    inner: PreadReader,
    meddle: Box<dyn FnMut()>,
}

impl RangeReader for MeddlingReader {
    fn adopt(&mut self, slot: Slot, file: File) {
        (self.meddle)();
        self.inner.adopt(slot, file);
    }

    fn release(&mut self, slot: Slot) {
        self.inner.release(slot);
    }

    fn file(&self, slot: Slot) -> Option<BorrowedFd<'_>> {
        self.inner.file(slot)
    }

    async fn read_round(&mut self, wanted: &[Wanted], sink: impl FnMut(usize, io::Result<&[u8]>)) {
        self.inner.read_round(wanted, sink).await;
    }
}

/// A reader side and the other ends of its channels.
struct Rig {
    folder: tempfile::TempDir,
    side: Tailer<MeddlingReader>,
    sealed: crossbeam_channel::Receiver<ToOutput>,
    done: crossbeam_channel::Sender<FromOutput>,
    snapshots: crossbeam_channel::Receiver<Snapshot>,
}

impl Rig {
    fn new(meddle: impl FnMut() + 'static, folder: tempfile::TempDir) -> Self {
        Self::resuming(Snapshot::default(), meddle, folder)
    }

    fn resuming(saved: Snapshot, meddle: impl FnMut() + 'static, folder: tempfile::TempDir) -> Self {
        let mut config = Config::default();
        config.paths.pods = folder.path().into();
        let reader = MeddlingReader { inner: PreadReader::new(), meddle: Box::new(meddle) };
        let (side, ends) = rig::tailer(Compiled::new(config).unwrap(), saved.into(), reader);
        let Ends { sealed, done, snapshots, .. } = ends;
        Self { folder, side, sealed, done, snapshots }
    }

    fn container(&self, number: usize) -> PathBuf {
        let folder = self.folder.path().join(format!("ns_pod-{number}_uid-{number}/name"));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    /// Reads until nothing is left, and has all of it acknowledged.
    async fn read_all(&mut self) {
        self.side.follow_folders();
        while self.side.state.schedule.has_ready() {
            self.side.read_round().await;
            self.side.state.lanes.seal_all();
            for message in self.sealed.try_iter() {
                let ToOutput::Batch(batch) = message else { continue };
                self.done.send(FromOutput::Done { batch, refused: Vec::new() }).unwrap();
            }
            self.side.take_ended();
        }
        self.side.close_saved_files();
    }
}

/// Writes a log file that was last written to long ago, so that no more of it is waited for.
fn write(path: &Path, text: &str) {
    fs::write(path, format!("2026-01-02T03:04:05.5Z stdout F {text}\n")).unwrap();
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_323_045);
    File::options().write(true).open(path).unwrap().set_modified(long_ago).unwrap();
}

#[tokio::test]
async fn folders_that_change_while_they_are_scanned_are_scanned_until_they_are_at_rest() {
    let folder = tempfile::tempdir().unwrap();
    let container = folder.path().join("ns_pod_uid/name");
    fs::create_dir_all(&container).unwrap();
    write(&container.join("0.log"), "first");
    let mut rotations = 0;
    let meddle = {
        let container = container.clone();
        move || {
            // A file is rotated just after it was listed.
            rotations += 1;
            if rotations <= 3 {
                let stamp = format!("0.log.20260102-00000{rotations}");
                fs::rename(container.join("0.log"), container.join(stamp)).unwrap();
                write(&container.join("0.log"), &format!("after rotation {rotations}"));
            }
        }
    };
    let mut rig = Rig::new(meddle, folder);
    rig.side.follow_folders();
    let container = rig.side.state.units.iter().next().unwrap();
    let names: Vec<_> = container.chain.files().iter().map(|file| file.path().file_name().unwrap()).collect();
    assert_eq!(names, ["0.log.20260102-000001", "0.log.20260102-000002", "0.log.20260102-000003", "0.log"]);
}

#[tokio::test]
async fn pods_that_come_and_go_for_weeks_leave_nothing_behind() {
    const ROUNDS: usize = 40;
    const PODS: usize = 50;
    let mut rig = Rig::new(|| {}, tempfile::tempdir().unwrap());
    for round in 0..ROUNDS {
        let folders: Vec<_> = (0..PODS).map(|n| rig.container(round * PODS + n)).collect();
        for folder in &folders {
            write(&folder.join("0.log"), "a line");
        }
        rig.read_all().await;
        assert_eq!(rig.side.state.units.counts().0, PODS);
        for folder in folders {
            fs::remove_dir_all(folder.parent().unwrap()).unwrap();
        }
        rig.read_all().await;
        rig.side.state.due.rescan = Instant::now();
        rig.read_all().await;
        let state = &rig.side.state;
        assert_eq!((state.units.counts(), state.files.descriptors.open), ((0, 0), 0));
    }
    assert_eq!(
        rig.side.state.metrics.parsed_lines.get_or_create(&FormatLabel { format: "cri" }).get(),
        (ROUNDS * PODS) as u64
    );
    let state = &rig.side.state;
    assert!(state.schedule.is_empty());
    assert!(state.files.slots.capacity() <= PODS, "{}", state.files.slots.capacity());
    assert!(rig.side.watcher.watched() <= 1, "only the pods folder: {}", rig.side.watcher.watched());
    rig.side.snapshot();
    assert_eq!(rig.snapshots.try_iter().last().unwrap(), Snapshot::default(), "nothing to be saved of them");
}

#[tokio::test]
async fn finding_and_opening_any_number_of_files_on_a_local_file_system_is_handed_over_once() {
    const CONTAINERS: usize = 200;
    let mut rig = Rig::new(|| {}, tempfile::tempdir().unwrap());
    for number in 0..CONTAINERS {
        write(&rig.container(number).join("0.log"), "a line");
    }
    let first = rig.container(0).join("0.log");
    let cached = rustix::io::preadv2(
        File::open(&first).unwrap(),
        &mut [io::IoSliceMut::new(&mut [0])],
        0,
        rustix::io::ReadWriteFlags::NOWAIT,
    );
    local::know(rig.folder.path(), local::Folder::open(rig.folder.path()).unwrap().if_local());
    if cached.is_err() || local::stat(&first).is_err() {
        println!("SKIPPED: this kernel or file system does not say what it has in memory");
        return;
    }
    work::take();
    rig.read_all().await;
    let found = work::take();
    assert_eq!(found.opened, CONTAINERS);
    // A mount that is made elsewhere at the same moment lets the kernel refuse one more.
    assert!((1..CONTAINERS / 10).contains(&found.handed_over), "{found:?}");
    fs::rename(&first, first.with_file_name("0.log.20260102-000001")).unwrap();
    write(&first, "after the rotation");
    rig.read_all().await;
    rig.side.state.due.sweep = Instant::now();
    rig.side.sweep_if_due().unwrap();
    let after = work::take();
    assert!(after.opened >= 1 && after.handed_over < CONTAINERS / 10, "{after:?}");
}

#[tokio::test]
async fn a_node_that_comes_to_rest_gives_the_memory_of_its_batches_back() {
    let mut rig = Rig::new(|| {}, tempfile::tempdir().unwrap());
    let reserved = |rig: &Rig| rig.side.state.lanes.reserved_bytes();
    for text in ["a line", "a line after a rest"] {
        write(&rig.container(0).join("0.log"), text);
        rig.side.state.due.rescan = Instant::now();
        rig.read_all().await;
        rig.side.release_memory_if_idle();
        assert!(reserved(&rig) > 0, "more may come");
        rig.side.release_memory_if_idle();
        assert_eq!(reserved(&rig), 0);
    }
}

/// What an earlier run saved of a container: a file of 500 bytes, of which 100 were acknowledged.
fn saved_unread(name: &str, inode: u64) -> SavedContainer {
    let fingerprint = Fingerprint::of(b"2026-01-02T03:04:05.5Z stdout F of an earlier run");
    let files = vec![SavedFile::new(FileKey { device: 1, inode }, fingerprint, [100, 300], false, 500)];
    SavedContainer { name: name.into(), seen_at: 0, files }
}

#[tokio::test]
async fn what_was_unread_of_a_pod_that_was_removed_while_nothing_ran_is_counted_once_and_leaves_the_checkpoint() {
    let saved = Snapshot { containers: vec![saved_unread("ns_gone_uid/name", 1)] };
    let mut rig = Rig::resuming(saved, || {}, tempfile::tempdir().unwrap());
    let late = Instant::now() + Duration::from_secs(31);
    rig.read_all().await;
    let counted =
        |rig: &Rig| (rig.side.state.metrics.abandoned_bytes.get(), rig.side.state.metrics.abandoned_files.get());
    rig.side.give_up_vanished(late);
    assert_eq!(counted(&rig), (0, 0), "no pod at all: the folder may not be mounted yet");
    write(&rig.container(1).join("0.log"), "a line");
    rig.side.state.due.rescan = Instant::now();
    rig.read_all().await;
    rig.side.give_up_vanished(Instant::now());
    assert_eq!(counted(&rig), (0, 0), "not certain yet");
    for _ in 0..2 {
        rig.side.give_up_vanished(late);
        assert_eq!(counted(&rig), (400, 1));
    }
    rig.side.snapshot();
    let saved = rig.snapshots.try_iter().last().unwrap();
    assert_eq!(saved.containers.iter().map(|saved| &saved.name[..]).collect::<Vec<_>>(), ["ns_pod-1_uid-1/name"]);
}

#[tokio::test]
async fn what_was_unread_of_a_pod_that_is_there_or_cannot_be_asked_for_is_not_counted_as_removed() {
    let saved = Snapshot { containers: vec![saved_unread("ns_file_uid/name", 1)] };
    let mut rig = Rig::resuming(saved, || {}, tempfile::tempdir().unwrap());
    write(&rig.container(1).join("0.log"), "a line");
    // Its container's folder cannot be asked for: ENOTDIR.
    fs::write(rig.folder.path().join("ns_file_uid"), "").unwrap();
    rig.read_all().await;
    rig.side.give_up_vanished(Instant::now() + Duration::from_secs(31));
    assert_eq!(rig.side.state.metrics.abandoned_bytes.get(), 0);
}

#[tokio::test]
async fn a_file_that_was_removed_while_nothing_ran_is_counted_and_named_by_its_inode() {
    let saved = Snapshot { containers: vec![saved_unread("ns_pod-1_uid-1/name", 77)] };
    let mut rig = Rig::resuming(saved, || {}, tempfile::tempdir().unwrap());
    write(&rig.container(1).join("0.log"), "a line");
    rig.read_all().await;
    let gone = |rig: &Rig| {
        let chain = &rig.side.state.units.iter().next().unwrap().chain;
        let gone = chain.files().iter().find(|file| !file.has_name()).unwrap();
        (gone.label(), gone.progress().has_ended())
    };
    assert_eq!(gone(&rig), ("inode 77".into(), false));
    rig.side.give_up_vanished(Instant::now() + Duration::from_secs(31));
    assert_eq!(gone(&rig), ("inode 77".into(), true));
    assert_eq!(rig.side.state.metrics.abandoned_bytes.get(), 400);
}

#[tokio::test]
async fn a_folder_that_comes_back_under_its_name_is_read_when_it_is_there() {
    let mut rig = Rig::new(|| {}, tempfile::tempdir().unwrap());
    let log = rig.container(1).join("0.log");
    write(&log, "a line");
    rig.read_all().await;
    fs::remove_dir_all(log.parent().unwrap()).unwrap();
    rig.side.follow_folders();
    assert!(rig.side.state.units.iter().all(|unit| unit.gone));
    fs::create_dir_all(log.parent().unwrap()).unwrap();
    write(&log, "another line");
    rig.side.scan_pod("ns_pod-1_uid-1");
    let unit = rig.side.state.units.iter().next().unwrap();
    assert!(!unit.gone && unit.chain.current().is_some());
}

#[tokio::test]
async fn what_was_unread_of_a_truncated_file_is_counted_as_lost() {
    let mut rig = Rig::new(|| {}, tempfile::tempdir().unwrap());
    let log = rig.container(1).join("0.log");
    write(&log, "a line");
    rig.read_all().await;
    let sweep = |rig: &mut Rig| {
        rig.side.state.due.sweep = Instant::now();
        rig.side.sweep_if_due().unwrap();
    };
    let read = fs::metadata(&log).unwrap().len();
    let more = "2026-01-02T03:04:06.5Z stdout F a line that is not read any more\n";
    std::io::Write::write_all(&mut File::options().append(true).open(&log).unwrap(), more.as_bytes()).unwrap();
    sweep(&mut rig);
    let unread = fs::metadata(&log).unwrap().len() - read;
    fs::write(&log, "").unwrap();
    sweep(&mut rig);
    assert_eq!(rig.side.state.metrics.truncated_files.get(), 1);
    rig.side.give_up_vanished(Instant::now() + Duration::from_secs(31));
    assert_eq!(rig.side.state.metrics.abandoned_bytes.get(), unread);
}

/// As `copytruncate` may leave a log whose records are of one length.
#[tokio::test]
async fn a_file_that_was_truncated_and_written_to_its_old_length_is_read_from_its_new_beginning() {
    let mut rig = Rig::new(|| {}, tempfile::tempdir().unwrap());
    let log = rig.container(1).join("0.log");
    write(&log, "before");
    rig.read_all().await;
    let sweep = |rig: &mut Rig| {
        rig.side.state.due.sweep = Instant::now();
        rig.side.sweep_if_due().unwrap();
    };
    sweep(&mut rig);
    fs::write(&log, "2026-01-02T03:04:06.5Z stdout F after!\n").unwrap();
    sweep(&mut rig);
    assert_eq!(rig.side.state.metrics.truncated_files.get(), 1);
    rig.read_all().await;
    assert_eq!(rig.side.state.metrics.lines_read(), 2);
}

#[tokio::test]
async fn a_partial_line_of_a_pod_that_is_removed_just_before_the_stop_is_given_out() {
    let Rig { folder, mut side, sealed, done, snapshots } = Rig::new(|| {}, tempfile::tempdir().unwrap());
    let container = folder.path().join("ns_pod-1_uid-1/name");
    fs::create_dir_all(&container).unwrap();
    fs::write(container.join("0.log"), "2026-01-02T03:04:05.5Z stderr P half\n").unwrap();
    side.follow_folders();
    side.read_round().await;
    fs::remove_dir_all(container.parent().unwrap()).unwrap();
    side.state.links.stop.ask();
    let notify = Arc::clone(&side.state.links.done_notify);
    let loki = std::thread::spawn(move || {
        for message in sealed {
            let ToOutput::Batch(batch) = message else { continue };
            done.send(FromOutput::Done { batch, refused: Vec::new() }).unwrap();
            notify.notify_one();
        }
    });
    side.run().await.unwrap();
    loki.join().unwrap();
    let files: Vec<_> =
        snapshots.try_iter().last().unwrap().containers.into_iter().flat_map(|saved| saved.files).collect();
    assert!(files.iter().all(|file| file.finished), "{files:?}");
}

/// The change was lost, and the folder listed 5 minutes later.
#[tokio::test]
async fn a_change_that_is_told_of_when_all_folders_are_due_is_seen_though_they_leave_quiet_ones_out() {
    let mut rig = Rig::new(|| {}, tempfile::tempdir().unwrap());
    let folder = rig.container(1);
    write(&folder.join("0.log"), "a line");
    rig.read_all().await;
    let a_while_ago = Instant::now().checked_sub(Duration::from_secs(90)).unwrap();
    for unit in rig.side.state.units.iter_mut() {
        (unit.last_read, unit.last_signal) = (a_while_ago, a_while_ago);
    }
    write(&folder.join("1.log"), "a line after a restart");
    let other = folder.with_file_name("other");
    fs::create_dir(&other).unwrap();
    write(&other.join("0.log"), "a line of another container of the pod");
    rig.side.state.due.rescan = Instant::now();
    rig.read_all().await;
    assert_eq!(rig.side.state.metrics.lines_read(), 3);
}

/// A lack of descriptors (EMFILE) or a failing disk at a listing says nothing about the files.
#[tokio::test]
async fn a_folder_that_cannot_be_listed_is_not_taken_for_gone() {
    let mut rig = Rig::new(|| {}, tempfile::tempdir().unwrap());
    let folder = rig.container(1);
    write(&folder.join("0.log"), "a line");
    rig.read_all().await;
    let elsewhere = folder.with_file_name("elsewhere");
    let state = |rig: &mut Rig| {
        let id = rig.side.state.units.iter().find(|unit| unit.name == "name").unwrap().id;
        rig.side.scan_container(id);
        let unit = rig.side.state.units.get(id).unwrap();
        (unit.gone, unit.chain.files()[0].is_listed())
    };
    fs::rename(&folder, &elsewhere).unwrap();
    fs::write(&folder, "").unwrap();
    assert_eq!(state(&mut rig), (false, true), "ENOTDIR");
    fs::remove_file(&folder).unwrap();
    assert_eq!(state(&mut rig), (true, false), "ENOENT");
    fs::rename(&elsewhere, &folder).unwrap();
    assert_eq!(state(&mut rig), (false, true));
}

#[tokio::test]
async fn what_the_signal_misses_of_a_quiet_container_is_found_by_one_of_twelve_sweeps_and_of_another_by_the_next() {
    let mut rig = Rig::new(|| {}, tempfile::tempdir().unwrap());
    for number in 0..24 {
        write(&rig.container(number).join("0.log"), "first");
    }
    rig.read_all().await;
    for number in 0..24 {
        let mut log = File::options().append(true).open(rig.container(number).join("0.log")).unwrap();
        log.write_all(b"2026-01-02T03:04:06.5Z stdout F second\n").unwrap();
    }
    let mut found = |now| rig.side.look_at_files(now).grown.len();
    assert_eq!(found(Instant::now()), 24);
    let later = Instant::now() + Duration::from_secs(61);
    assert_eq!(std::array::from_fn(|_| found(later)), [2; 12]);
}
