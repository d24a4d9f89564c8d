//! What detecting growth costs the writer: the time of a small write without the collector, and with each of its backends.
//!
//! In: the running kernel; root for eBPF. Out: a table of nanoseconds a write. In a machine of `cargo xtask vm --cost`,
//! whose clock counts instructions, they are instructions, and the same at every run.

use std::{
    fs::{self, File},
    io,
    os::{fd::AsFd, unix::fs::FileExt},
    path::{Path, PathBuf},
    time::Instant,
};

use collector::{
    config::SignalChoice,
    tail::notify::{self, Signal, Slot, open_ebpf_plan, survey},
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
    let mut alone = Vec::new();
    for report in survey(folder.path(), folder.path()) {
        let name = report.name.as_str();
        match &report.outcome {
            // It has no part in a write.
            Ok(_) if name == "poll" => {}
            Ok(_) => {
                let files = Files::create(folder.path())?;
                let before = files.alone()?;
                alone.push(before[0]);
                let after = if name == "inotify" {
                    let opened = notify::open(SignalChoice::Inotify, folder.path(), folder.path());
                    files.costs(opened.map_err(io::Error::other)?.signal)
                } else {
                    let signal = open_ebpf_plan(name, folder.path(), folder.path()).map_err(io::Error::other)?;
                    files.costs(signal)
                }?;
                let [untracked, marked, first] = [0, 1, 2].map(|index| after[index] - before[index]);
                println!("| {name} | {untracked:.0} | {marked:.0} | {first:.0} |");
            }
            Err(refusal) => println!("| {name} | not here: {} | | |", refusal.reason),
        }
    }
    println!("A write of {} bytes alone: {alone:.0?}", LINE.len());
    Ok(())
}

/// One that is tracked and one that is not.
struct Files {
    tracked: File,
    other: File,
    path: PathBuf,
}

impl Files {
    fn create(folder: &Path) -> io::Result<Self> {
        let path = folder.join("tracked");
        Ok(Self { tracked: file(&path)?, other: file(&folder.join("other"))?, path })
    }

    /// What the writes of [`Self::costs`] take while nobody watches them: the same files, as no two take the same.
    fn alone(&self) -> io::Result<[f64; 3]> {
        let tracked = time(&self.tracked, &mut || Ok(()))?;
        Ok([time(&self.other, &mut || Ok(()))?, tracked, tracked])
    }

    /// To the file that is not tracked, to the other one when it is marked already, and when it is not.
    fn costs(&self, mut signal: impl Signal) -> io::Result<[f64; 3]> {
        signal.track(Slot(0), self.tracked.as_fd(), &self.path)?;
        let mut dirty = Vec::new();
        let untracked = time(&self.other, &mut || Ok(()))?;
        let marked = time(&self.tracked, &mut || Ok(()))?;
        let first = time(&self.tracked, &mut || {
            signal.drain(&mut dirty)?;
            dirty.clear();
            Ok(())
        })?;
        Ok([untracked, marked, first])
    }
}

fn file(path: &Path) -> io::Result<File> {
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
