//! `cargo xtask demo`: the main job on this machine, shown as it runs.
//!
//! In: how long and how much is written, and perhaps a Loki. Out: a live view, a table, and an error unless every line
//! that was written arrived. The collector is its own process, with a configuration file as a user would write it; what it did is
//! judged by the receiver and by its own /metrics.

mod destination;
mod view;

use std::{
    collections::VecDeque,
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use clap::ValueEnum;
use rig::{
    kubelet::{Live, LiveOptions, Node},
    metrics::{Metrics, Usage},
    program::{Collector, Setup},
};

use crate::{
    build,
    build::Profile,
    figures::{bytes, duration, thousands},
    interrupt::Interrupts,
    place::Place,
    process,
};
use destination::{Destination, Verdict};
use view::{Moment, View};

/// For the collector to answer for the first time.
const START_DEADLINE: Duration = Duration::from_secs(20);
/// From the last line that is written to the last acknowledgement.
const DRAIN_DEADLINE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);

/// Options of `demo`.
#[derive(clap::Args)]
pub struct Args {
    /// Send to this Loki, and ask it with LogQL afterwards, instead of the built-in receiver (http:// only)
    #[arg(long, value_name = "URL")]
    loki: Option<String>,
    /// Tenant for --loki
    #[arg(long, default_value = "")]
    tenant: String,
    /// How long lines are written
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Lines a second, over all containers
    #[arg(long, value_name = "LINES_PER_S", default_value_t = 5000)]
    rate: u32,
    /// Containers at any time
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u16).range(1..))]
    containers: u16,
    /// How the collector detects that a file grew
    #[arg(long, value_enum, default_value_t = SignalChoice::Auto)]
    signal: SignalChoice,
    /// How the collector reads
    #[arg(long, value_enum, default_value_t = ReaderChoice::Auto)]
    reader: ReaderChoice,
    /// Build the collector without any optimization, as the tests do
    #[arg(long)]
    debug: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum SignalChoice {
    Auto,
    Ebpf,
    Inotify,
    Poll,
}

#[derive(Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
enum ReaderChoice {
    Auto,
    IoUring,
    Pread,
}

/// The choice as the configuration spells it.
fn spelled(choice: impl ValueEnum) -> String {
    choice.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

/// Builds, runs, shows, judges.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let program = build::for_this_machine(if args.debug { Profile::Dev } else { Profile::Demo })?;
    let interrupts = Interrupts::listen()?;
    let folder = process::target_dir().join("demo");
    fs::create_dir_all(&folder)?;
    let place = Place::choose(&folder)?;
    let destination = Destination::new(args.loki.as_deref(), &args.tenant)?;
    let node = Node::new(place.path(), 1)?;
    println!("\nlogs: {}", place.describe());
    println!("destination: {}", destination.describe());

    let mut collector = start_collector(args, &program, &folder, &place, &node, &destination)?;
    let metrics = wait_for_start(&mut collector, &interrupts)?;
    println!("{}", view::describe("signal", metrics.backend("pilcrow_signal_backend_info").as_ref()));
    println!("{}", view::describe("reader", metrics.backend("pilcrow_reader_backend_info").as_ref()));
    println!("the collector's log: {}", collector.log().display());
    println!("the status page, while lines are written: http://{}/\n", collector.status_address());

    let mut demo = Demo { args, collector, destination, interrupts, view: View::new(), usage: Usage::default() };
    let verdict = demo.write_and_judge(node)?;
    demo.conclude(&verdict)
}

fn start_collector(
    args: &Args,
    program: &Path,
    folder: &Path,
    place: &Place,
    node: &Node,
    destination: &Destination,
) -> anyhow::Result<Collector> {
    let state = place.path().join("state");
    fs::create_dir_all(&state)?;
    // Rust's quoting of these strings is YAML's too.
    let configuration = format!(
        "loki: {{url: {:?}, tenant: {:?}}}\n\
         labels: {{cluster: {:?}}}\n\
         paths: {{pods: {:?}, state: {state:?}}}\n\
         kubernetes: {{enabled: false}}\n\
         signal: {}\n\
         reader: {}\n",
        destination.url(),
        args.tenant,
        destination.cluster(),
        node.pods(),
        spelled(args.signal),
        spelled(args.reader),
    );
    Collector::start(&Setup::write(program, folder, &configuration)?.in_own_group())
}

/// Until /metrics says which backends were taken.
fn wait_for_start(collector: &mut Collector, interrupts: &Interrupts) -> anyhow::Result<Metrics> {
    let end = Instant::now() + START_DEADLINE;
    loop {
        collector.check_running()?;
        if let Ok(metrics) = Metrics::fetch(collector.status_address())
            && metrics.backend("pilcrow_signal_backend_info").is_some()
            && metrics.backend("pilcrow_reader_backend_info").is_some()
        {
            return Ok(metrics);
        }
        if interrupts.asked() {
            bail!("interrupted before anything was written");
        }
        if Instant::now() > end {
            bail!("the collector does not answer; see {}", collector.log().display());
        }
        thread::sleep(POLL);
    }
}

/// The last seconds. The kernel counts CPU time in steps of 10 ms: over less time than this the percentage would jump.
#[derive(Default)]
struct Window(VecDeque<(Instant, u64, Duration)>);

impl Window {
    const LENGTH: Duration = Duration::from_secs(2);

    /// Takes the lines written and the CPU time so far; gives lines a second and percent of a processor.
    fn rates(&mut self, now: Instant, written: u64, cpu: Duration) -> (u64, f64) {
        self.0.push_back((now, written, cpu));
        while self.0.len() > 2 && now - self.0[1].0 >= Self::LENGTH {
            self.0.pop_front();
        }
        let (then, written_then, cpu_then) = self.0[0];
        let seconds = (now - then).as_secs_f64().max(0.001);
        let lines_per_second = written.saturating_sub(written_then) as f64 / seconds;
        (lines_per_second as u64, cpu.saturating_sub(cpu_then).as_secs_f64() / seconds * 100.0)
    }
}

/// The demo from the first line on.
struct Demo<'a> {
    args: &'a Args,
    collector: Collector,
    destination: Destination,
    interrupts: Interrupts,
    view: View,
    usage: Usage,
}

impl Demo<'_> {
    fn write_and_judge(&mut self, node: Node) -> anyhow::Result<Verdict> {
        let options = LiveOptions {
            containers: usize::from(self.args.containers),
            lines_per_second: self.args.rate,
            ..LiveOptions::default()
        };
        let live = Live::start(node, options).context("cannot write logs")?;
        let ledger = live.ledger().clone();
        self.watch(&live)?;
        live.stop().context("the log writer failed")?;
        let drained = self.drain(&ledger)?;
        self.usage = Usage::of(self.collector.pid()).unwrap_or(self.usage);
        let ended = self.collector.terminate();
        let mut verdict = self.destination.judge(&ledger)?;
        verdict.faults.extend(drained.err().into_iter().chain(ended.err().map(|error| error.to_string())));
        Ok(verdict)
    }

    /// Shows what happens while lines are written.
    fn watch(&mut self, live: &Live) -> anyhow::Result<()> {
        let start = Instant::now();
        let total = Duration::from_secs(self.args.seconds);
        let mut window = Window::default();
        window.rates(start, 0, Usage::of(self.collector.pid()).unwrap_or_default().cpu);
        while start.elapsed() < total && !self.interrupts.asked() {
            let pause = self.view.interval().min(total.saturating_sub(start.elapsed()));
            self.wait(pause);
            self.collector.check_running()?;
            let (now, written) = (Instant::now(), live.ledger().lines());
            let usage = Usage::of(self.collector.pid()).unwrap_or_default();
            let (written_per_second, cpu_percent) = window.rates(now, written, usage.cpu);
            let metrics = Metrics::fetch(self.collector.status_address()).unwrap_or_default();
            self.view.show(&Moment {
                elapsed: start.elapsed().min(total),
                total,
                written,
                written_per_second,
                lines_in: metrics.sum("pilcrow_parsed_lines_total"),
                acknowledged: metrics.sum("pilcrow_acknowledged_lines_total"),
                cpu_percent,
                memory_bytes: usage.resident_bytes,
            })?;
        }
        self.view.leave();
        Ok(())
    }

    /// Sleeps, but not beyond an interrupt.
    fn wait(&self, pause: Duration) {
        let end = Instant::now() + pause;
        while Instant::now() < end && !self.interrupts.asked() {
            thread::sleep(POLL.min(end.saturating_duration_since(Instant::now())));
        }
    }

    /// Waits until everything is acknowledged; the inner error says what is not.
    fn drain(&mut self, ledger: &rig::ledger::Ledger) -> anyhow::Result<Result<(), String>> {
        let asked = if self.interrupts.asked() { "interrupted; " } else { "" };
        println!("\n{asked}no more is written; waiting until all of it is acknowledged");
        let start = Instant::now();
        loop {
            self.collector.check_running()?;
            if self.destination.lines()? >= ledger.lines() {
                return Ok(Ok(()));
            }
            if self.interrupts.insisted() {
                bail!("interrupted again: ended without a verdict");
            }
            if start.elapsed() > DRAIN_DEADLINE {
                return Ok(Err(destination::still_missing(&self.destination, ledger, start.elapsed())));
            }
            thread::sleep(self.destination.poll_interval());
        }
    }

    /// The table, and an error if not all is well.
    fn conclude(&self, verdict: &Verdict) -> anyhow::Result<()> {
        let row = |name: &str, value: String| println!("  {name:<26} {value:>16}");
        println!();
        row("lines written", thousands(verdict.written));
        row("acknowledged", thousands(verdict.acknowledged));
        row("missing", thousands(verdict.missing));
        row("repeated", thousands(verdict.repeated));
        if let Some(latency) = &verdict.latency {
            row("latency p50", duration(latency.quantile(0.5)));
            row("latency p99", duration(latency.quantile(0.99)));
            row("latency max", duration(latency.max()));
        }
        let cpu_s = self.usage.cpu.as_secs_f64();
        row("CPU-seconds", format!("{cpu_s:.2}"));
        row("CPU-seconds/million lines", format!("{:.2}", cpu_s * 1e6 / verdict.acknowledged.max(1) as f64));
        row("peak memory", bytes(self.usage.peak_bytes));
        println!();
        if verdict.is_good() {
            println!("every line arrived, in order and exact");
            return Ok(());
        }
        for fault in &verdict.faults {
            println!("{fault}");
        }
        bail!("not all is well: {} lines are missing; see {}", verdict.missing, self.collector.log().display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_those_of_the_last_two_seconds() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut window = Window::default();
        window.rates(start, 0, Duration::ZERO);
        assert_eq!(window.rates(at(1000), 5000, Duration::from_millis(100)), (5000, 10.0));
        for quarter in 5..=16 {
            window.rates(at(quarter * 250), 5000, Duration::from_millis(100));
        }
        assert_eq!(window.rates(at(4250), 5000, Duration::from_millis(100)), (0, 0.0));
    }

    #[test]
    fn choices_are_spelled_as_the_configuration_has_them() {
        assert_eq!(spelled(ReaderChoice::IoUring), "io_uring");
        assert_eq!(spelled(SignalChoice::Ebpf), "ebpf");
    }
}
