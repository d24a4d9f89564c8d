//! A backlog through Promtail's stages: JSON parsed, access logs rewritten, traces joined.
//!
//! In: three lists of stages, each with lines that it is about. Out: what a collector took for each. As many entries must arrive as the
//! stages leave; their texts are not compared, which `cargo xtask conformance` does. A peer finds the list in its environment, as `STAGES`.

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    time::{Duration, Instant},
};

use anyhow::{bail, ensure};

use super::{Place, program::Program, report::Figures, say, sink::Sink, watch::Watch};
use crate::staged::{DEBUG_ONE_IN, KINDS, Kind, TRACE_LINES, write_time};

/// Files that wait.
const FILES: u64 = 10;
/// A collector from which nothing comes for so long will send no more.
const STALL: Duration = Duration::from_secs(30);

/// Runs a collector on each of the lists, with so many bytes of lines.
///
/// # Errors
/// Where it fails, or another number of entries arrives.
pub fn run(program: &Program, folder: &std::path::Path, bytes: u64) -> anyhow::Result<Vec<Figures>> {
    KINDS.iter().map(|kind| kind.run(program, &Place::new(folder)?, bytes)).collect()
}

impl Kind {
    fn run(&self, program: &Program, place: &Place, bytes: u64) -> anyhow::Result<Figures> {
        let (lines, bytes) = self.write(place, bytes)?;
        let expected = FILES * (self.entries)(lines / FILES);
        let sink = Sink::start()?;
        let (mut running, started) =
            program.start_with_stages(place, &place.path().join("pods"), self.stages, &sink)?;
        let watch = Watch::from_start(running.pid(), started);
        let (mut last, mut since) = (0, Instant::now());
        while sink.counts().entries < expected {
            running.check_running()?;
            let arrived = sink.counts().entries;
            if arrived != last {
                (last, since) = (arrived, Instant::now());
            } else if since.elapsed() > STALL {
                bail!("{}: {arrived} of {expected} entries came, and then none for {} s", self.name, STALL.as_secs());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let figures = watch.end(self.name, lines, bytes)?;
        running.end()?;
        sink.verify_protocol()?;
        let arrived = sink.counts().entries;
        ensure!(arrived == expected, "{}: {arrived} entries came, and {expected} were expected", self.name);
        say(&figures);
        Ok(figures)
    }

    /// Writes the files; returns how many lines and bytes that is.
    fn write(&self, place: &Place, bytes: u64) -> anyhow::Result<(u64, u64)> {
        let (mut lines, mut written, mut record) = (0, 0, String::new());
        for file in 0..FILES {
            let folder =
                place.path().join(format!("pods/default_web-{file}_00000000-0000-0000-0000-00000000000{file}/app"));
            fs::create_dir_all(&folder)?;
            let mut out = BufWriter::new(File::create(folder.join("0.log"))?);
            let (mut in_file, mut n) = (0, 0);
            // Whole traces, and as many lines in each file.
            while in_file < bytes / FILES || n % TRACE_LINES != 0 || n % DEBUG_ONE_IN != 0 {
                record.clear();
                write_time(n, &mut record);
                record.push_str(" stdout F ");
                (self.line)(n, &mut record);
                record.push('\n');
                out.write_all(record.as_bytes())?;
                in_file += record.len() as u64;
                n += 1;
            }
            out.flush()?;
            (lines, written) = (lines + n, written + in_file);
        }
        println!("{}: {lines} lines, {} MB in {FILES} files", self.name, written / 1_000_000);
        Ok((lines, written))
    }
}
