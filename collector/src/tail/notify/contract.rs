//! What every backend owes its caller, as tests that run against each of them.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::fd::AsFd,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use rustix::fs::fstat;
use tempfile::TempDir;
use tokio::time::timeout;

use super::{PollSignal, Signal, Slot, ebpf, inotify, proof::LogFileSystem};

/// Longer than any backend needs; a lost wake-up becomes a failure instead of a test that never ends.
const LOST_AFTER: Duration = Duration::from_secs(60);

/// Runs every test against every backend.
macro_rules! contract {
    ($($test:ident)*) => {
        mod inotify_backend {
            $(#[test] fn $test() -> std::io::Result<()> {
                let signal = super::inotify::open().map_err(std::io::Error::other)?;
                super::run(|folder| super::$test(signal, folder))
            })*
        }
        mod poll_backend {
            $(#[test] fn $test() -> std::io::Result<()> {
                let signal = super::PollSignal::new(std::time::Duration::from_millis(1));
                super::run(|folder| super::$test(signal, folder))
            })*
        }
        mod ebpf_backend {
            $(#[test] fn $test() -> std::io::Result<()> {
                match super::open_ebpf() {
                    Ok((signal, _)) => super::run(|folder| super::$test(signal, folder)),
                    Err(refusal) => { println!("SKIPPED: {refusal}"); Ok(()) }
                }
            })*
        }
    };
}

contract! {
    a_file_that_nobody_writes_is_not_reported
    many_writes_before_a_drain_are_one_report
    a_write_after_the_drain_is_reported_again
    a_renamed_file_stays_tracked
    a_deleted_file_stays_tracked
    an_untracked_file_is_not_reported
    a_slot_that_is_used_again_reports_its_new_file
    two_files_are_told_apart
    a_write_before_the_wait_ends_it
    a_cancelled_wait_loses_nothing
    everything_that_a_busy_thread_writes_is_seen
}

fn open_ebpf() -> Result<(super::EbpfSignal, String), super::Refusal> {
    let folder = std::env::temp_dir();
    ebpf::open(&LogFileSystem::of(&folder, &folder)?)
}

fn run<F: Future<Output = io::Result<()>>>(test: impl FnOnce(PathBuf) -> F) -> io::Result<()> {
    let folder = TempDir::new()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(test(folder.path().to_path_buf()))
}

fn log_file(folder: &Path, name: &str) -> io::Result<File> {
    OpenOptions::new().append(true).create_new(true).open(folder.join(name))
}

fn track(signal: &mut impl Signal, slot: u32, file: &File) -> io::Result<()> {
    signal.track(Slot(slot), file.as_fd(), Path::new("/nowhere"))
}

/// What a drain reports, each slot once and in order: a needless second report is allowed.
fn drain(signal: &mut impl Signal) -> io::Result<Vec<u32>> {
    let mut dirty = Vec::new();
    signal.drain(&mut dirty)?;
    let mut slots: Vec<_> = dirty.iter().map(|slot| slot.0).collect();
    slots.sort_unstable();
    slots.dedup();
    Ok(slots)
}

/// Waits and drains until there is a report.
async fn next_report(signal: &mut impl Signal) -> io::Result<Vec<u32>> {
    loop {
        timeout(LOST_AFTER, signal.wait()).await.map_err(|_| io::Error::other("the wake-up was lost"))??;
        let slots = drain(signal)?;
        if !slots.is_empty() {
            return Ok(slots);
        }
    }
}

async fn a_file_that_nobody_writes_is_not_reported(mut signal: impl Signal, folder: PathBuf) -> io::Result<()> {
    let mut file = log_file(&folder, "0.log")?;
    file.write_all(b"from before\n")?;
    track(&mut signal, 0, &file)?;
    assert!(drain(&mut signal)?.is_empty());
    fs::read(folder.join("0.log"))?;
    assert!(drain(&mut signal)?.is_empty());
    Ok(())
}

async fn many_writes_before_a_drain_are_one_report(mut signal: impl Signal, folder: PathBuf) -> io::Result<()> {
    let mut file = log_file(&folder, "0.log")?;
    track(&mut signal, 7, &file)?;
    for _ in 0..10_000 {
        file.write_all(b"line\n")?;
    }
    let mut dirty = Vec::new();
    signal.drain(&mut dirty)?;
    assert_eq!(dirty, [Slot(7)]);
    assert!(drain(&mut signal)?.is_empty());
    Ok(())
}

async fn a_write_after_the_drain_is_reported_again(mut signal: impl Signal, folder: PathBuf) -> io::Result<()> {
    let mut file = log_file(&folder, "0.log")?;
    track(&mut signal, 0, &file)?;
    for _ in 0..100 {
        file.write_all(b"line\n")?;
        assert_eq!(next_report(&mut signal).await?, [0]);
    }
    Ok(())
}

async fn a_renamed_file_stays_tracked(mut signal: impl Signal, folder: PathBuf) -> io::Result<()> {
    let mut file = log_file(&folder, "0.log")?;
    track(&mut signal, 0, &file)?;
    file.write_all(b"before\n")?;
    assert_eq!(next_report(&mut signal).await?, [0]);
    fs::rename(folder.join("0.log"), folder.join("0.log.20260102-030405"))?;
    let mut successor = log_file(&folder, "0.log")?;
    successor.write_all(b"of no interest\n")?;
    for _ in 0..2 {
        file.write_all(b"after\n")?;
        assert_eq!(next_report(&mut signal).await?, [0]);
    }
    Ok(())
}

async fn a_deleted_file_stays_tracked(mut signal: impl Signal, folder: PathBuf) -> io::Result<()> {
    let mut file = log_file(&folder, "0.log")?;
    track(&mut signal, 0, &file)?;
    fs::remove_file(folder.join("0.log"))?;
    for _ in 0..2 {
        file.write_all(b"last words\n")?;
        assert_eq!(next_report(&mut signal).await?, [0]);
    }
    Ok(())
}

async fn an_untracked_file_is_not_reported(mut signal: impl Signal, folder: PathBuf) -> io::Result<()> {
    let mut file = log_file(&folder, "0.log")?;
    track(&mut signal, 0, &file)?;
    file.write_all(b"marked, not drained\n")?;
    signal.untrack(Slot(0));
    file.write_all(b"not marked\n")?;
    assert!(drain(&mut signal)?.is_empty());
    signal.untrack(Slot(0));
    signal.untrack(Slot(12345));
    assert!(drain(&mut signal)?.is_empty());
    Ok(())
}

async fn a_slot_that_is_used_again_reports_its_new_file(mut signal: impl Signal, folder: PathBuf) -> io::Result<()> {
    let mut old = log_file(&folder, "0.log")?;
    let mut new = log_file(&folder, "1.log")?;
    track(&mut signal, 3, &old)?;
    old.write_all(b"line\n")?;
    track(&mut signal, 3, &new)?;
    drain(&mut signal)?;
    old.write_all(b"line\n")?;
    assert!(drain(&mut signal)?.is_empty());
    new.write_all(b"line\n")?;
    assert_eq!(next_report(&mut signal).await?, [3]);
    Ok(())
}

async fn two_files_are_told_apart(mut signal: impl Signal, folder: PathBuf) -> io::Result<()> {
    let mut files = [log_file(&folder, "0.log")?, log_file(&folder, "1.log")?, log_file(&folder, "2.log")?];
    track(&mut signal, 0, &files[0])?;
    track(&mut signal, 5, &files[1])?;
    files[1].write_all(b"line\n")?;
    files[2].write_all(b"not tracked\n")?;
    assert_eq!(next_report(&mut signal).await?, [5]);
    files[0].write_all(b"line\n")?;
    files[1].write_all(b"line\n")?;
    assert_eq!(next_report(&mut signal).await?, [0, 5]);
    Ok(())
}

async fn a_write_before_the_wait_ends_it(mut signal: impl Signal, folder: PathBuf) -> io::Result<()> {
    let mut file = log_file(&folder, "0.log")?;
    track(&mut signal, 0, &file)?;
    for _ in 0..3 {
        file.write_all(b"line\n")?;
        timeout(LOST_AFTER, signal.wait()).await.map_err(io::Error::other)??;
        // A second wait without a drain may not wait for a second write.
        timeout(LOST_AFTER, signal.wait()).await.map_err(io::Error::other)??;
        assert_eq!(drain(&mut signal)?, [0]);
    }
    Ok(())
}

async fn a_cancelled_wait_loses_nothing(mut signal: impl Signal, folder: PathBuf) -> io::Result<()> {
    let mut file = log_file(&folder, "0.log")?;
    track(&mut signal, 0, &file)?;
    for _ in 0..20 {
        // Polled once, so that everything that a wait sets up is there, and dropped.
        let cancelled = timeout(Duration::ZERO, signal.wait()).await;
        file.write_all(b"line\n")?;
        drop(cancelled);
        assert_eq!(next_report(&mut signal).await?, [0]);
    }
    Ok(())
}

/// The reader knows only what the signal says: it looks at the size after a report, and must read to the last byte.
async fn everything_that_a_busy_thread_writes_is_seen(mut signal: impl Signal, folder: PathBuf) -> io::Result<()> {
    const WRITES: i64 = 100_000;
    let file = log_file(&folder, "0.log")?;
    track(&mut signal, 0, &file)?;
    let mut writer = file.try_clone()?;
    let thread = thread::spawn(move || (0..WRITES).try_for_each(|_| writer.write_all(b"x")));
    while fstat(&file)?.st_size < WRITES {
        next_report(&mut signal).await?;
    }
    thread.join().map_err(|_| io::Error::other("the writer panicked"))?
}

#[test]
fn waiting_works_in_the_runtime_of_tokio_uring() -> io::Result<()> {
    if let Err(error) = io_uring::IoUring::new(1) {
        println!("SKIPPED: io_uring is not permitted: {error}");
        return Ok(());
    }
    let folder = TempDir::new()?;
    let path = folder.path().to_path_buf();
    // Opened before the runtime, as the program does.
    let inotify = inotify::open().map_err(io::Error::other)?;
    let ebpf = open_ebpf();
    tokio_uring::start(async {
        a_write_after_the_drain_is_reported_again(inotify, path.clone()).await?;
        fs::remove_file(path.join("0.log"))?;
        match ebpf {
            Ok((signal, _)) => a_write_after_the_drain_is_reported_again(signal, path).await,
            Err(refusal) => {
                println!("SKIPPED: {refusal}");
                Ok(())
            }
        }
    })
}
