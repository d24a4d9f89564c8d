//! `cargo xtask e2e`: the real collector against a real Loki; with `--kube` against a real kube-apiserver ([`kube`]), with
//! `--docker` beside a real Docker ([`docker`]).
//!
//! In: nothing, or a Loki that is already there. Out: an error unless Loki has every line of a generated pods folder
//! once, in its place, order and time, with exactly the labels and the text that were written. Twice: the
//! second time the collector is killed and started again on the way, with a backlog, and while containers write and
//! their logs are rotated. Before that against a Loki with its own default limits ([`limits`]), after it `migrate --prove --loki`
//! ([`mod@prove`]). The only judge is what LogQL answers.

mod collector;
pub mod compare;
mod dashboard;
pub mod docker;
pub mod kube;
mod limits;
pub mod logql;
pub mod loki;
mod metadata;
mod odd_lines;
mod prove;
pub mod rules;

use std::{
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, bail};
use rig::{
    kubelet::{BacklogOptions, Live, LiveOptions, Node, generate_backlog},
    program::Collector,
};

use crate::build;
use compare::Source;
use logql::{Client, Range};

const FILES: usize = 10;
const DEFAULT_MIB: u64 = 64;
const DEFAULT_SECONDS: u64 = 15;
/// A Loki whose count of lines does not change for this long will not get the rest.
const STALL: Duration = Duration::from_secs(60);
/// Longer than a batch waits, a request takes and a retry waits.
const SETTLING: Duration = Duration::from_secs(5);
/// The page size that every Loki allows by default, and one for our own.
const PAGES: [usize; 2] = [5_000, 50_000];

/// What `cargo xtask e2e` takes.
#[derive(clap::Args, Default)]
pub struct Args {
    /// A Loki program to start instead of building one
    #[arg(long, value_name = "PATH")]
    loki_bin: Option<PathBuf>,
    /// A running Loki to use, such as http://127.0.0.1:3100
    #[arg(long, value_name = "URL", conflicts_with = "loki_bin")]
    loki: Option<String>,
    /// Size of the backlog that the collector begins with [default: 64; with Loki's own limits 100]
    #[arg(long)]
    mib: Option<u64>,
    /// How long containers then go on writing [default: 15]
    #[arg(long)]
    seconds: Option<u64>,
    /// Only the runs against Loki's own default limits
    #[arg(long, conflicts_with = "loki")]
    limits: bool,
    /// Test pod metadata with a real kube-apiserver instead
    #[arg(long, conflicts_with_all = ["loki_bin", "loki", "mib", "seconds", "limits"])]
    kube: bool,
    /// A kube-apiserver program to start instead of building one
    #[arg(long, value_name = "PATH", requires = "kube")]
    kube_apiserver_bin: Option<PathBuf>,
    /// Collect from a real Docker's containers instead, without Kubernetes
    #[arg(long, conflicts_with_all = ["loki_bin", "loki", "mib", "seconds", "limits", "kube"])]
    docker: bool,
    /// Build the collector with optimization
    #[arg(long)]
    release: bool,
    /// A collector to take instead of building one
    #[arg(long, value_name = "PATH", conflicts_with_all = ["kube", "release"])]
    program: Option<PathBuf>,
}

/// Runs it all and says what was found.
pub fn run(args: &Args) -> anyhow::Result<()> {
    if args.kube {
        return kube::run(args.kube_apiserver_bin.as_deref(), args.release);
    }
    let program = match &args.program {
        Some(program) => program.clone(),
        None => build::build(None, !args.release)?,
    };
    if args.docker {
        return docker::run(&program);
    }
    let started;
    let (url, page) = match &args.loki {
        Some(url) => (url, PAGES[0]),
        None => {
            let loki_program = match &args.loki_bin {
                // It is started in a folder of its own.
                Some(program) => program.canonicalize().with_context(|| program.display().to_string())?,
                None => loki::PROGRAM.build()?,
            };
            limits::run(&program, &loki_program, args.mib)?;
            if args.limits {
                return Ok(());
            }
            started = loki::Loki::start(&loki_program, loki::Limits::Lifted)?;
            (&started.url, PAGES[1])
        }
    };
    for kills in [false, true] {
        Run::new(args, url, page, kills)?.run(&program)?;
    }
    // A Loki that we did not start may not know tenants, or keep structured metadata.
    if args.loki.is_none() {
        metadata::is_asked_for(&program, url, now_ns()?)?;
        prove::is_asked_for(&program, url, now_ns()?)?;
    }
    Ok(())
}

fn now_ns() -> anyhow::Result<i64> {
    Ok(i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos())?)
}

/// One run: its own tenant and its own `cluster` label, so that runs against one Loki do not meet.
struct Run<'a> {
    args: &'a Args,
    url: &'a str,
    /// Whether the collector is killed on the way.
    kills: bool,
    id: String,
    start_ns: i64,
    client: Client,
}

impl<'a> Run<'a> {
    fn new(args: &'a Args, url: &'a str, page: usize, kills: bool) -> anyhow::Result<Self> {
        let start_ns = now_ns()?;
        let id = format!("e2e-{start_ns}");
        let client = Client::new(url, &id, page)?;
        Ok(Self { args, url, kills, id, start_ns, client })
    }

    fn run(&self, program: &Path) -> anyhow::Result<()> {
        println!(
            "\n{}",
            if self.kills { "a collector that is killed twice" } else { "a collector that is left alone" }
        );
        let folder = tempfile::Builder::new().prefix("pilcrow-e2e-").tempdir()?;
        let mut node = Node::new(folder.path(), 1)?;
        let mib = self.args.mib.unwrap_or(DEFAULT_MIB);
        generate_backlog(&mut node, &BacklogOptions::new(mib << 20, FILES))?;
        let odd_start_ns = self.start_ns - 60_000_000_000;
        odd_lines::write(&node.pods(), odd_start_ns)?;
        println!("{mib} MiB of logs in {FILES} files, and {} odd lines, are waiting", odd_lines::lines());

        let setup = collector::setup(program, folder.path(), &node.pods(), self.url, &self.id, "{enabled: false}")?;
        let mut collector = Collector::start(&setup)?;
        self.wait_until("the first lines are in Loki", |count| count > 0)?;
        if self.kills {
            collector.kill()?;
            println!("killed the collector with a backlog");
            collector = Collector::start(&setup)?;
        }

        let live = Live::start(node, live_options())?;
        let writing = Duration::from_secs(self.args.seconds.unwrap_or(DEFAULT_SECONDS));
        thread::sleep(writing / 2);
        if self.kills {
            collector.kill()?;
            println!("killed the collector while containers write");
            collector = Collector::start(&setup)?;
        }
        thread::sleep(writing / 2);
        let ledger = live.ledger().clone();
        live.stop()?;

        let expected = ledger.lines() + odd_lines::lines();
        self.wait_until(&format!("all {expected} lines are in Loki"), |count| count >= expected)?;
        if self.kills {
            // Repetitions are in the count, so it does not tell that the last line came.
            thread::sleep(SETTLING);
        }
        collector.terminate()?;

        let sources = ledger
            .written()
            .iter()
            .map(|(name, lines)| Source::from_name(name, *lines).with_context(|| format!("unknown source {name}")))
            .collect::<anyhow::Result<Vec<_>>>()?;
        self.judge(&sources, odd_start_ns).inspect_err(|_| println!("the logs are kept in {}", folder.keep().display()))
    }

    /// Compares all that was written with all that Loki answers.
    fn judge(&self, sources: &[Source], odd_start_ns: i64) -> anyhow::Result<()> {
        let range = self.range();
        let others = odd_lines::labels(&self.id);
        let comparison = compare::compare(&self.client, &self.id, range, sources, &others, self.kills)?;
        let mut differences = odd_lines::differences(&self.client, &self.id, odd_start_ns, range)?;
        // A Loki that we did not start may not know tenants.
        if self.args.loki.is_none() {
            let other = Client::new(self.url, "e2e-other", PAGES[0])?;
            let seen = other.series(&self.selector(), range)?.len();
            if seen > 0 {
                differences.push(format!("another tenant sees {seen} streams"));
            }
        }
        println!("{} sources, compared line by line:\n{comparison}", sources.len());
        differences.iter().for_each(|difference| println!("  {difference}"));
        if !comparison.is_exact() || !differences.is_empty() {
            bail!("Loki has not exactly what was written; the collector's log is {}", collector::log().display());
        }
        println!("Loki has exactly what was written");
        dashboard::is_answered(&self.client, &self.id, range)?;
        rules::are_answered(&self.client, range)
    }

    fn wait_until(&self, what: &str, is_enough: impl Fn(u64) -> bool) -> anyhow::Result<()> {
        wait_for(&self.client, &self.selector(), self.range(), what, is_enough)
    }

    fn selector(&self) -> String {
        format!("{{cluster={:?}}}", self.id)
    }

    fn range(&self) -> Range {
        const HOUR_NS: i64 = 3_600_000_000_000;
        Range { start_ns: self.start_ns - HOUR_NS, end_ns: self.start_ns + HOUR_NS }
    }
}

/// Polls LogQL's count of a selector's lines. That it stops growing is no error here: the comparison says what is missing.
fn wait_for(
    client: &Client,
    selector: &str,
    range: Range,
    what: &str,
    is_enough: impl Fn(u64) -> bool,
) -> anyhow::Result<()> {
    let mut last = (0, Instant::now());
    loop {
        let count = client.count(selector, range)?;
        if is_enough(count) {
            println!("{what}: {count}");
            return Ok(());
        }
        if count != last.0 {
            last = (count, Instant::now());
        } else if last.1.elapsed() > STALL {
            println!("timed out waiting until {what}: {count} for {} s", STALL.as_secs());
            return Ok(());
        }
        thread::sleep(Duration::from_millis(500));
    }
}

/// No pod goes away: one whose folder is removed while the collector is down is lost by anyone's rules.
fn live_options() -> LiveOptions {
    LiveOptions { lines_per_second: 3000, replace_pod_every: Duration::ZERO, ..LiveOptions::default() }
}
