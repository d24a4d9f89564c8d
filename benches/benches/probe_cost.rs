//! What noticing costs the writer: the time of a small write without the collector, and with each of its backends.
//!
//! In: the running kernel; root for eBPF. Out: a table of nanoseconds a write. In a machine of `cargo xtask vm --cost`,
//! whose clock counts instructions, they are instructions, and the same at every run.

use std::{
    fs::{self, File},
    io,
    os::{fd::AsFd, unix::fs::FileExt},
    path::Path,
    time::Instant,
};

use collector::{
    config::SignalChoice,
    signal::{self, Signal, Slot, open_ebpf_plan, survey},
};

/// Writes between two looks at the clock.
const WRITES: u32 = 64;
/// The median of so many rounds counts, as the clock's interrupts fall into some.
const ROUNDS: usize = 201;
const LINE: &[u8; 16] = b"16 bytes, a line";

fn main() -> io::Result<()> {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).or_else(|_| tempfile::tempdir())?;
    println!("| added to a write by | not tracked | tracked and marked | tracked, first after a drain |");
    println!("| --- | ---: | ---: | ---: |");
    let alone = time(&file(folder.path(), "alone")?, &mut || Ok(()))?;
    let row = |name: &str, costs: [f64; 3]| {
        let [untracked, marked, first] = costs.map(|cost| cost - alone);
        println!("| {name} | {untracked:.0} | {marked:.0} | {first:.0} |");
    };
    for report in survey(folder.path(), folder.path()) {
        match (report.name.as_str(), &report.outcome) {
            ("poll", _) => {}
            ("inotify", Ok(_)) => {
                let opened = signal::open(SignalChoice::Inotify, folder.path(), folder.path());
                row("inotify", costs(opened.map_err(io::Error::other)?.signal, folder.path())?);
            }
            (name, Ok(_)) => {
                let signal = open_ebpf_plan(name, folder.path(), folder.path()).map_err(io::Error::other)?;
                row(name, costs(signal, folder.path())?);
            }
            (name, Err(refusal)) => println!("| {name} | not here: {} | | |", refusal.reason),
        }
    }
    println!("A write of {} bytes alone: {alone:.0}", LINE.len());
    Ok(())
}

/// To a file that is not tracked beside one that is, to that one when it is marked already, and when it is not.
fn costs(mut signal: impl Signal, folder: &Path) -> io::Result<[f64; 3]> {
    let (tracked, other) = (file(folder, "tracked")?, file(folder, "other")?);
    signal.track(Slot(0), tracked.as_fd(), &folder.join("tracked"))?;
    let mut dirty = Vec::new();
    let untracked = time(&other, &mut || Ok(()))?;
    let marked = time(&tracked, &mut || Ok(()))?;
    let first = time(&tracked, &mut || {
        signal.drain(&mut dirty)?;
        dirty.clear();
        Ok(())
    })?;
    Ok([untracked, marked, first])
}

fn file(folder: &Path, name: &str) -> io::Result<File> {
    let path = folder.join(name);
    let file = fs::OpenOptions::new().create(true).truncate(true).write(true).open(path)?;
    // The pages are there from now on, so that every write costs the same.
    file.write_all_at(LINE, 0)?;
    Ok(file)
}

/// The median time of a write, in nanoseconds; `before_each` is not counted.
fn time(file: &File, before_each: &mut impl FnMut() -> io::Result<()>) -> io::Result<f64> {
    let mut rounds = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let mut total = 0;
        for _ in 0..WRITES {
            before_each()?;
            let start = Instant::now();
            file.write_all_at(LINE, 0)?;
            total += start.elapsed().as_nanos();
        }
        rounds.push(total as f64 / f64::from(WRITES));
    }
    rounds.sort_unstable_by(f64::total_cmp);
    Ok(rounds[ROUNDS / 2])
}
