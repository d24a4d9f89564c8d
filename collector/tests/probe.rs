//! The eBPF probe on the running kernel: every kind of program that can be attached here must see every way of writing,
//! and must neither lose a wake-up nor send too many.
//!
//! Needs root, the object (`cargo xtask build-ebpf`) and a kernel that takes the programs; what cannot run says SKIPPED.

use std::{
    collections::BTreeSet,
    env, fmt,
    fs::{File, OpenOptions},
    io::{self, IoSlice, Seek, SeekFrom, Write},
    os::{
        fd::{AsFd, AsRawFd},
        unix::fs::FileExt,
    },
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{
            AtomicBool, AtomicI64,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    thread,
    time::{Duration, Instant},
};

use collector::tail::notify::{EbpfSignal, Proof, Signal, Slot, Way, open_ebpf_plan, survey};
use rustix::{
    fs::{copy_file_range, fstat, sendfile},
    pipe::{SpliceFlags, pipe, splice},
    process::{Resource, Rlimit, getrlimit, setrlimit},
};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

/// Makes a lost wake-up a failure instead of a test that never ends.
const LOST_AFTER: Duration = Duration::from_secs(120);

/// How long a reader lets a burst grow before it drains.
const PAUSE: Duration = Duration::from_millis(1);

/// A kind of program that can be attached here.
struct Plan<'a> {
    name: &'a str,
    /// What it was seen to see.
    proof: Proof,
}

impl fmt::Display for Plan<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Runs a test for every kind of program that can be attached here.
fn with_every_plan(mut test: impl FnMut(&Plan<'_>, EbpfSignal, &Path) -> io::Result<()>) -> io::Result<()> {
    let folder = TempDir::new_in(scratch())?;
    let (mut ran, mut refusals) = (0, Vec::new());
    for report in survey(folder.path(), folder.path()) {
        let name = report.name;
        if name == "inotify" || name == "poll" {
            continue;
        }
        match report.outcome {
            Ok(proof) => {
                let signal = open_ebpf_plan(&name, folder.path(), folder.path()).map_err(io::Error::other)?;
                let folder = TempDir::new_in(folder.path())?;
                test(&Plan { name: &name, proof }, signal, folder.path())
                    .map_err(|error| io::Error::other(format!("{name}: {error}")))?;
                println!("{name}: passed");
                ran += 1;
            }
            Err(refusal) => refusals.push(format!("{name}: {refusal}")),
        }
    }
    for refusal in refusals {
        // A test that ran with no kind at all says so itself; which kinds are not available here is printed once for all.
        if ran == 0 { println!("SKIPPED: {refusal}") } else { say_once(format!("SKIPPED: {refusal}")) }
    }
    Ok(())
}

/// One line for all tests.
fn say_once(line: String) {
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    if let Ok(mut said) = SAID.lock()
        && !said.contains(&line)
    {
        println!("{line}");
        said.insert(line);
    }
}

/// On the disk rather than in memory, where that is known: the ext4 tracepoints need an ext4.
fn scratch() -> PathBuf {
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    if target.is_dir() { target } else { env::temp_dir() }
}

fn block_on<T>(future: impl Future<Output = T>) -> io::Result<T> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(future))
}

fn log_file(folder: &Path, name: &str) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).open(folder.join(name))
}

fn track(signal: &mut EbpfSignal, slot: u32, file: &File) -> io::Result<()> {
    signal.track(Slot(slot), file.as_fd(), Path::new("/nowhere"))
}

fn drain(signal: &mut EbpfSignal) -> io::Result<Vec<Slot>> {
    let mut dirty = Vec::new();
    signal.drain(&mut dirty)?;
    Ok(dirty)
}

/// A system call, the way of writing that it is one of, and what does it, given the file, whose position is its end, and
/// its size.
type Call = (&'static str, Way, fn(&File, u64) -> io::Result<usize>);

const CALLS: [Call; 8] = [
    ("write", Way::Write, |mut file, _| file.write(b"x")),
    ("pwrite", Way::Write, |file, end| file.write_at(b"x", end)),
    ("writev", Way::Writev, |mut file, _| file.write_vectored(&[IoSlice::new(b"x"), IoSlice::new(b"y")])),
    ("pwritev", Way::Writev, |file, end| Ok(rustix::io::pwritev(file, &[IoSlice::new(b"x")], end)?)),
    ("sendfile", Way::Splice, |file, _| Ok(sendfile(file, source()?, Some(&mut 0), 1)?)),
    ("splice", Way::Splice, |file, mut end| {
        let (reader, writer) = pipe()?;
        rustix::io::write(&writer, b"x")?;
        Ok(splice(&reader, None, file, Some(&mut end), 1, SpliceFlags::empty())?)
    }),
    ("copy_file_range", Way::Splice, |file, mut end| {
        Ok(copy_file_range(source()?, Some(&mut 0), file, Some(&mut end), 1)?)
    }),
    ("io_uring write", Way::IoUring, write_by_io_uring),
];

/// A file with something in it.
fn source() -> io::Result<File> {
    let mut file = tempfile::tempfile_in(scratch())?;
    file.write_all(b"source")?;
    Ok(file)
}

fn write_by_io_uring(file: &File, end: u64) -> io::Result<usize> {
    let mut ring = io_uring::IoUring::new(1)?;
    let entry =
        io_uring::opcode::Write::new(io_uring::types::Fd(file.as_raw_fd()), b"x".as_ptr(), 1).offset(end).build();
    // SAFETY: the byte is static, and the file outlives the operation, which has completed at the return.
    unsafe { ring.submission().push(&entry) }.map_err(io::Error::other)?;
    ring.submit_and_wait(1)?;
    let result = ring.completion().next().map_or(0, |completion| completion.result());
    usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result))
}

#[test]
fn every_way_of_writing_is_seen() -> io::Result<()> {
    with_every_plan(|plan, mut signal, folder| {
        let mut file = log_file(folder, "0.log")?;
        track(&mut signal, 3, &file)?;
        for (call, way, write) in CALLS {
            let end = file.seek(SeekFrom::End(0))?;
            if let Err(error) = write(&file, end) {
                println!("SKIPPED: {plan}: {call}: {error}");
                continue;
            }
            assert!(file.metadata()?.len() > end, "{call} has written something");
            let dirty = drain(&mut signal)?;
            if plan.proof.missed.contains(&way) {
                // As splice on overlayfs, which hands it to the file system below.
                println!("SKIPPED: {plan}: {call}: it says itself that it misses {}", way.name());
                continue;
            }
            assert_eq!(dirty, [Slot(3)], "{plan} sees {call}");
            assert_eq!(drain(&mut signal)?, [], "{plan} sees {call} once");
        }
        Ok(())
    })
}

#[test]
fn a_write_to_a_file_that_is_not_tracked_is_not_reported() -> io::Result<()> {
    with_every_plan(|_, mut signal, folder| {
        let tracked = log_file(folder, "0.log")?;
        let mut other = log_file(folder, "1.log")?;
        track(&mut signal, 0, &tracked)?;
        other.write_all(b"x")?;
        assert_eq!(drain(&mut signal)?, []);
        Ok(())
    })
}

#[test]
fn a_file_on_another_device_is_either_seen_or_refused() -> io::Result<()> {
    with_every_plan(|plan, mut signal, folder| {
        let Ok(mut other) = tempfile::tempfile_in("/dev/shm") else {
            println!("SKIPPED: {plan}: /dev/shm cannot be written to");
            return Ok(());
        };
        let mut file = log_file(folder, "0.log")?;
        track(&mut signal, 0, &file)?;
        match track(&mut signal, 1, &other) {
            Ok(()) => {
                other.write_all(b"x")?;
                assert_eq!(drain(&mut signal)?, [Slot(1)]);
            }
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::Unsupported),
        }
        file.write_all(b"x")?;
        assert_eq!(drain(&mut signal)?, [Slot(0)]);
        Ok(())
    })
}

/// The reader knows only what the signal says, and must read to the last byte of both files.
#[test]
fn a_million_writes_of_two_threads_lose_no_wakeup() -> io::Result<()> {
    // Where every instruction is emulated, a million would take many minutes.
    let writes_per_file: i64 = if env::var_os("PILCROW_EMULATED").is_some() { 20_000 } else { 500_000 };
    with_every_plan(|plan, mut signal, folder| {
        let files = [log_file(folder, "0.log")?, log_file(folder, "1.log")?];
        for (slot, file) in files.iter().enumerate() {
            track(&mut signal, slot as u32, file)?;
        }
        let mut seen = [0; 2];
        let mut drains = 0_u64;
        thread::scope(|scope| {
            for mut file in &files {
                scope.spawn(move || (0..writes_per_file).try_for_each(|_| file.write_all(b"x")));
            }
            block_on(async {
                while seen != [writes_per_file; 2] {
                    let woken = timeout(LOST_AFTER, signal.wait()).await;
                    woken.map_err(|_| io::Error::other(format!("a wake-up was lost: seen {seen:?}")))??;
                    drains += 1;
                    for slot in drain(&mut signal)? {
                        let slot = slot.0 as usize;
                        seen[slot] = fstat(&files[slot])?.st_size;
                    }
                }
                io::Result::Ok(())
            })?
        })?;
        println!("{plan}: {} writes, {drains} drains without a pause", 2 * writes_per_file);
        Ok(())
    })
}

/// The writer waits for the reader after each byte, so that no later write covers up for a mark that came before its byte
/// could be read.
#[test]
fn a_reader_that_looks_at_once_misses_no_byte() -> io::Result<()> {
    const WRITES: i64 = 5000;
    with_every_plan(|_, mut signal, folder| {
        let file = log_file(folder, "0.log")?;
        track(&mut signal, 0, &file)?;
        let seen = AtomicI64::new(0);
        let lost = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                for written in 0..WRITES {
                    while seen.load(Acquire) < written && !lost.load(Relaxed) {
                        thread::yield_now();
                    }
                    (&file).write_all(b"x")?;
                }
                io::Result::Ok(())
            });
            let mut last = Instant::now();
            while seen.load(Relaxed) < WRITES && !lost.load(Relaxed) {
                if !drain(&mut signal)?.is_empty() {
                    seen.store(fstat(&file)?.st_size, Release);
                    last = Instant::now();
                }
                lost.store(last.elapsed() > LOST_AFTER, Relaxed);
            }
            io::Result::Ok(())
        })?;
        assert!(!lost.into_inner(), "after {seen:?} writes the next one was not seen");
        Ok(())
    })
}

#[test]
fn a_hundred_thousand_writes_make_few_wakeups() -> io::Result<()> {
    const WRITES: i64 = 100_000;
    with_every_plan(|plan, mut signal, folder| {
        let file = log_file(folder, "0.log")?;
        track(&mut signal, 0, &file)?;
        let mut wakeups = 0_i64;
        thread::scope(|scope| {
            scope.spawn(|| (0..WRITES).try_for_each(|_| (&file).write_all(b"x")));
            block_on(async {
                while fstat(&file)?.st_size < WRITES {
                    timeout(LOST_AFTER, signal.wait()).await.map_err(io::Error::other)??;
                    wakeups += 1;
                    sleep(PAUSE).await;
                    drain(&mut signal)?;
                }
                io::Result::Ok(())
            })?
        })?;
        println!("{plan}: {WRITES} writes, {wakeups} wake-ups");
        assert!(wakeups < WRITES / 10, "{wakeups} wake-ups for {WRITES} writes");
        Ok(())
    })
}

/// The ring buffer holds 4096 events.
#[test]
fn a_full_ring_buffer_loses_no_file() -> io::Result<()> {
    const FILES: u32 = 5000;
    let wanted = Some(u64::from(3 * FILES));
    if getrlimit(Resource::Nofile).current < wanted
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: wanted, maximum: wanted })
    {
        println!("SKIPPED: {wanted:?} files cannot be opened: {error}");
        return Ok(());
    }
    with_every_plan(|_, mut signal, folder| {
        let files = (0..FILES).map(|slot| log_file(folder, &format!("{slot}.log"))).collect::<io::Result<Vec<_>>>()?;
        for (slot, file) in files.iter().enumerate() {
            track(&mut signal, slot as u32, file)?;
        }
        for _ in 0..2 {
            for mut file in &files {
                file.write_all(b"x")?;
            }
            block_on(async { timeout(LOST_AFTER, signal.wait()).await })?.map_err(io::Error::other)??;
            let mut dirty = drain(&mut signal)?;
            dirty.sort_unstable();
            assert_eq!(dirty, (0..FILES).map(Slot).collect::<Vec<_>>());
        }
        Ok(())
    })
}

#[test]
fn a_slot_behind_the_last_one_is_an_error_and_does_no_harm() -> io::Result<()> {
    with_every_plan(|_, mut signal, folder| {
        let mut file = log_file(folder, "0.log")?;
        assert!(track(&mut signal, collector_ebpf::SLOTS, &file).is_err());
        track(&mut signal, collector_ebpf::SLOTS - 1, &file)?;
        file.write_all(b"x")?;
        assert_eq!(drain(&mut signal)?, [Slot(collector_ebpf::SLOTS - 1)]);
        Ok(())
    })
}
