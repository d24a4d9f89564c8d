//! The program of the containers of `cargo xtask vm --containerd`: `workload pause` keeps a pod's namespaces, `workload
//! write` writes marked lines to standard output and standard error as [`guest::workload::Job`] says.

use std::{
    env, fs,
    fs::File,
    io::{self, Write},
    path::Path,
    process::ExitCode,
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use guest::workload::{FOLDER, JOB, Job, STOP, WRITTEN, Written};
use rig::{
    mark::{self, Mark, Shape},
    random::Random,
};

/// Programs write in bursts; between two of them other programs are to have their turn.
const BURST_MAX: usize = 16;
const PAUSE: Duration = Duration::from_millis(40);

fn main() -> ExitCode {
    let done = match env::args().nth(1).as_deref() {
        Some("pause") => loop {
            thread::park();
        },
        Some("write") => write(Path::new(FOLDER)),
        other => Err(anyhow::anyhow!("workload pause | write, not {other:?}")),
    };
    // Standard error is a log that is compared.
    done.unwrap_or_else(|error| {
        let _ = fs::write(Path::new(FOLDER).join("error"), format!("{error:#}"));
        ExitCode::from(99)
    })
}

fn write(folder: &Path) -> anyhow::Result<ExitCode> {
    let job = fs::read(folder.join(JOB)).with_context(|| format!("no {JOB}"))?;
    let job: Job = serde_json::from_slice(&job)?;
    // Without std's own buffer, whose writes end where it likes.
    let mut streams = [File::from(rustix::io::dup(io::stdout())?), File::from(rustix::io::dup(io::stderr())?)];
    let mut random = Random::new(job.seed);
    let mut written = Written::default();
    let mut line = Vec::new();
    loop {
        let stopped = folder.join(STOP).exists();
        for _ in 0..=random.below(BURST_MAX) {
            let number = written.lines[0] + written.lines[1];
            let last = stopped || job.lines.is_some_and(|lines| number + 1 >= lines);
            let stream = usize::from(random.one_in(4));
            line.clear();
            marked_line(&mut line, &job, &written, stream, &mut random)?;
            written.lines[stream] += 1;
            written.bytes[stream] += line.len() as u64;
            if !(last && job.open_end) {
                line.push(b'\n');
            }
            streams[stream].write_all(&line)?;
            if last {
                fs::write(folder.join(WRITTEN), serde_json::to_vec(&written)?)?;
                return Ok(ExitCode::from(job.exit_code));
            }
        }
        thread::sleep(PAUSE);
    }
}

fn marked_line(
    line: &mut Vec<u8>,
    job: &Job,
    written: &Written,
    stream: usize,
    random: &mut Random,
) -> anyhow::Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let mark = Mark {
        source: job.sources[stream],
        sequence: job.first[stream] + written.lines[stream],
        timestamp_ns: i64::try_from(now.as_nanos())?,
    };
    let shape = [Shape::Json, Shape::Text, Shape::Unicode][random.below(3)];
    let is_long = job.long_one_in > 0 && random.one_in(job.long_one_in);
    let length = if is_long { 16_000 + random.below(50_000) } else { 110 + random.below(190) };
    mark::write(line, mark, shape, length, random);
    Ok(())
}
