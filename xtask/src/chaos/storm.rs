//! A node, a collector, a receiver, and everything that goes wrong with them.
//!
//! In: a [`Plan`] and a time. Out: a [`Summary`]; an error where something happened that must not, other than lost lines, which
//! the summary reports. Only faults are injected that must not lose a line: a file that nobody has open is not removed before
//! its lines have arrived, a log is truncated only then, and the collector is not ended while lines are owed.

mod blows;
mod settings;

use std::{
    collections::BTreeMap,
    fmt,
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use rig::{
    kubelet::{Live, Node},
    program::{Collector, Setup},
    random::Random,
    read_errors::ReadErrors,
    receiver::{Keep, Options, Receiver},
    tally::Report,
};

use super::{
    memory::{self, Memory},
    observed::Observed,
    plan::{Blow, Episode, Plan, Start, Weather},
    removals::{RemovalCounts, Removals},
    state_disk::StateDisk,
    streams::Streams,
    weather,
};
use crate::{figures::thousands, interrupt::Interrupts};

/// `loki.timeout`.
pub const PUSH_TIMEOUT: Duration = Duration::from_secs(5);
/// What must happen within this time, on however slow a machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// At the end, no further line within this time means that no more will come.
const SILENCE: Duration = Duration::from_secs(40);
/// The log of weather and blows.
pub const EVENTS_FILE: &str = "storm.log";
const STEP: Duration = Duration::from_millis(50);
const PROGRESS_EVERY: Duration = Duration::from_secs(15);

/// How much happens on the node.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// Containers at any time.
    pub containers: usize,
    /// Lines a second, over all containers.
    pub lines_per_second: u32,
}

/// When the storm ends.
#[derive(Clone, Copy, Debug)]
pub enum Length {
    /// After this time.
    Time(Duration),
    /// After this many episodes.
    Episodes(usize),
}

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time(time) => write!(f, "{:.1} minutes", time.as_secs_f64() / 60.0),
            Self::Episodes(episodes) => write!(f, "{episodes} episodes"),
        }
    }
}

/// What a storm has found.
pub struct Summary {
    /// Written and arrived.
    pub report: Report,
    /// How often each kind of weather was.
    pub weathers: BTreeMap<Weather, u64>,
    /// How often each blow was dealt.
    pub blows: BTreeMap<Blow, u64>,
    /// What the kubelet removed.
    pub removals: RemovalCounts,
    /// Rotations, restarts, replaced pods, removed files.
    pub housekeeping: [u64; 4],
    /// Answers by HTTP status; 0: none.
    pub answers: BTreeMap<u16, u64>,
    /// Pushes that were not as they must be.
    pub violations: Vec<String>,
    /// What all the collectors' metrics reported.
    pub observed: Observed,
    /// Entries refused with 400, as often as they came.
    pub refused_entries: u64,
    /// The receiver's own count of what it dropped with an answer that says nothing of it.
    pub silently_dropped: u64,
    /// Entries of streams that it did not take, as often as they came.
    pub limited_entries: u64,
    /// Reads that failed.
    pub read_errors: u64,
    /// The largest resident size of each phase, in bytes.
    pub peaks: BTreeMap<String, u64>,
    /// From the first line to the last arrival.
    pub took: Duration,
}

/// A running storm.
pub struct Storm<'a> {
    interrupts: &'a Interrupts,
    plan: Plan,
    random: Random,
    receiver: Arc<Receiver>,
    streams: Streams,
    removals: Removals,
    live: Live,
    folder: PathBuf,
    pods: PathBuf,
    state: &'a StateDisk,
    setup: Setup,
    read_errors: ReadErrors,
    memory: Memory,
    collector: Option<Collector>,
    frozen: bool,
    start: Start,
    /// Files that had been removed when the positions were known to be saved.
    removed_and_saved: u64,
    /// Entries that the receiver had refused when the present collector started.
    refused_before: u64,
    observed: Observed,
    weathers: BTreeMap<Weather, u64>,
    blows: BTreeMap<Blow, u64>,
    events: File,
    started: Instant,
    progress_at: Instant,
}

impl<'a> Storm<'a> {
    /// Starts a node below `folder`, and a collector.
    pub fn begin(
        seed: u64,
        scale: Scale,
        program: &Path,
        folder: &Path,
        state: &'a StateDisk,
        interrupts: &'a Interrupts,
    ) -> anyhow::Result<Self> {
        let (start, plan) = Plan::begin(seed);
        let streams = Streams::default();
        let receiver = Arc::new(Receiver::start(Options {
            keep: Keep::Counts,
            limits: streams.limits().stream_rate(settings::TAKEN_BYTES_PER_S, settings::TAKEN_BURST),
            answer_after: Duration::from_millis(2),
            trace: Some(folder.join("pushes.log")),
            ..Options::default()
        })?);
        let removals = Removals::new(Arc::clone(&receiver));
        let node = Node::new(folder, seed)?;
        let pods = node.pods();
        let setup = Setup::write(program, folder, &settings::configuration(&receiver, &pods, state.folder(), start))?
            .in_own_group();
        let live = Live::start_asking(node, settings::live_options(seed, scale), removals.question())
            .context("cannot write logs")?;
        let mut storm = Self {
            interrupts,
            plan,
            random: Random::new(!seed),
            receiver,
            streams,
            removals,
            live,
            folder: folder.to_owned(),
            pods,
            state,
            setup,
            read_errors: ReadErrors::default(),
            memory: Memory::at_the_start(),
            collector: None,
            frozen: false,
            start,
            removed_and_saved: 0,
            refused_before: 0,
            observed: Observed::default(),
            weathers: BTreeMap::new(),
            blows: BTreeMap::new(),
            events: File::create(folder.join(EVENTS_FILE))?,
            started: Instant::now(),
            progress_at: Instant::now() + PROGRESS_EVERY,
        };
        storm.start_collector(start)?;
        // The first weather may be over before a slow machine has got this far.
        storm.collector()?.wait_for_start()?;
        Ok(storm)
    }

    /// Injects faults for this long, or until it is interrupted, then waits for all lines and judges.
    pub fn rage(mut self, length: Length) -> anyhow::Result<Summary> {
        let mut episodes = 0;
        let mut is_over = |storm: &Self| {
            episodes += 1;
            match length {
                Length::Time(time) => storm.started.elapsed() >= time,
                Length::Episodes(most) => episodes > most,
            }
        };
        while !is_over(&self) && !self.interrupts.asked() {
            let Some(episode) = self.plan.next() else { break };
            self.go_through(&episode).with_context(|| format!("during {episode:?}"))?;
        }
        self.settle()
    }

    fn go_through(&mut self, episode: &Episode) -> anyhow::Result<()> {
        let Episode { weather, blow, .. } = *episode;
        self.note(&format!("{weather:?} for {:?}, {blow:?}", episode.weather_for))?;
        *self.weathers.entry(weather).or_default() += 1;
        *self.blows.entry(blow).or_default() += 1;
        if blow.ends_process() {
            self.removals.forbid();
            self.wait_for_owed()?;
        } else {
            self.removals.permit(self.pid());
        }
        if blow == Blow::ReadErrors {
            // In fair weather: over a slow line owed lines may never all arrive, as more are written than it takes.
            self.read_by_system_calls(episode)?;
        }
        if weather == Weather::Refusing {
            // A line that is refused in the trial of a parked stream is sent, and may be refused, once more.
            self.wait_until("no stream to be parked", |storm| {
                Ok(Observed::sends_all_streams(storm.collector()?).unwrap_or(false))
            })?;
        }
        let fair_at = Instant::now() + episode.weather_for;
        let pid = self.running_pid();
        self.memory.enter(format!("{weather:?}"), pid);
        self.set_weather(weather);
        if !blow.wants_fair_weather() {
            self.pass(episode.blow_after)?;
            self.strike(episode)?;
        }
        self.pass(fair_at.saturating_duration_since(Instant::now()))?;
        self.set_weather(Weather::Fair);
        if blow.wants_fair_weather() {
            self.strike(episode)?;
        }
        if weather == Weather::Refusing {
            self.compare_refusals()?;
        }
        self.pass(episode.calm_for)
    }

    /// Until all lines of removed files have arrived. If there were such files, then also until the collector has saved how
    /// far it is: where a rotation split a line, the rest of it alone would look like a line after a new start.
    fn wait_for_owed(&mut self) -> anyhow::Result<()> {
        self.wait_until("lines of removed files", |storm| Ok(!storm.removals.is_owed()))?;
        let removed = self.removals.counts().removed();
        if removed == self.removed_and_saved {
            return Ok(());
        }
        self.removed_and_saved = removed;
        self.wait_for_saved_positions()
    }

    /// Until the collector has saved how far it is now.
    fn wait_for_saved_positions(&mut self) -> anyhow::Result<()> {
        let saved = |storm: &mut Self| storm.observed_now("pilcrow_checkpoint_writes_total");
        // The first one may have been in progress.
        let enough = saved(self) + 2;
        self.wait_until("the positions to be saved", |storm| Ok(saved(storm) >= enough))
    }

    fn set_weather(&mut self, weather: Weather) {
        self.receiver.set_faults(weather::faults(weather, Random::new(self.random.bits())));
        self.receiver.set_down(weather == Weather::Down);
        self.streams.refuse_new(weather == Weather::NoNewStreams);
    }

    /// The collector counts what the receiver refused, no more and no less.
    fn compare_refusals(&mut self) -> anyhow::Result<()> {
        self.wait_until("the collector's count of refused lines to be the receiver's", |storm| {
            let refused = storm.receiver.counts().refused_entries - storm.refused_before;
            Ok(storm.observed_now("pilcrow_dropped_lines_total") == refused)
        })
    }

    fn start_collector(&mut self, start: Start) -> anyhow::Result<()> {
        self.note(&format!("start: {start}"))?;
        self.setup.reconfigure(&settings::configuration(&self.receiver, &self.pods, self.state.folder(), start))?;
        self.setup.set_read_errors(start.reads_by_system_calls().then(|| self.read_errors.clone()));
        self.refused_before = self.receiver.counts().refused_entries;
        self.collector = Some(Collector::start(&self.setup)?);
        self.start = start;
        self.observed.begin(start);
        Ok(())
    }

    fn kill_collector(&mut self) -> anyhow::Result<()> {
        self.observe();
        let collector = self.collector.take().context("no collector runs")?;
        self.memory.look(collector.pid());
        collector.kill()
    }

    fn collector(&mut self) -> anyhow::Result<&mut Collector> {
        self.collector.as_mut().context("no collector runs")
    }

    fn pid(&self) -> u32 {
        self.running_pid().unwrap_or(0)
    }

    fn running_pid(&self) -> Option<u32> {
        self.collector.as_ref().map(Collector::pid)
    }

    /// SIGTERM, and waits for the end; the drain is a phase of its own.
    fn end_collector(&mut self) -> anyhow::Result<()> {
        self.observe();
        let collector = self.collector.take().context("no collector runs")?;
        self.memory.drain(collector)
    }

    fn observe(&mut self) {
        if let Some(collector) = &self.collector {
            self.observed.look(collector);
        }
    }

    /// The running collector's metric.
    fn observed_now(&mut self, metric: &str) -> u64 {
        self.observe();
        self.observed.now(metric)
    }

    fn pass(&mut self, duration: Duration) -> anyhow::Result<()> {
        let end = Instant::now() + duration;
        while Instant::now() < end {
            thread::sleep(STEP.min(end.saturating_duration_since(Instant::now())));
            self.watch()?;
        }
        Ok(())
    }

    fn wait_until(
        &mut self,
        what: &str,
        mut is_so: impl FnMut(&mut Self) -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let end = Instant::now() + PATIENCE;
        while !is_so(self)? {
            ensure!(Instant::now() < end, "waited {PATIENCE:?} in vain for {what}: {:?}", self.receiver.counts());
            thread::sleep(STEP);
            self.watch()?;
        }
        Ok(())
    }

    /// Fails where a process ended by itself; reports progress from time to time.
    fn watch(&mut self) -> anyhow::Result<()> {
        if let Some(collector) = &mut self.collector {
            collector.check_running()?;
            self.memory.look(collector.pid());
        }
        ensure!(self.live.is_at_work(), "a thread that writes logs has ended");
        ensure!(!self.interrupts.insisted(), "interrupted");
        if Instant::now() >= self.progress_at {
            self.progress_at = Instant::now() + PROGRESS_EVERY;
            if !self.frozen {
                self.observe();
            }
            let counts = self.receiver.counts();
            println!(
                "{:>5} s  written {}, arrived {}, {} blows, {} collectors started",
                self.started.elapsed().as_secs(),
                thousands(self.live.ledger().lines()),
                thousands(counts.marked_lines),
                self.blows.iter().filter(|(blow, _)| **blow != Blow::None).map(|(_, count)| count).sum::<u64>(),
                self.observed.starts(),
            );
        }
        Ok(())
    }

    fn note(&mut self, what: &str) -> anyhow::Result<()> {
        let (at, lines) = (self.started.elapsed().as_secs_f64(), self.live.ledger().lines());
        Ok(writeln!(self.events, "{} {at:8.2} s, {lines} lines: {what}", humantime())?)
    }

    /// The end: nothing is written any more, nothing goes wrong, and all lines must come.
    fn settle(mut self) -> anyhow::Result<Summary> {
        self.note("no more is written")?;
        self.set_weather(Weather::Fair);
        let counts = self.live.counts();
        let housekeeping = [&counts.rotations, &counts.restarts, &counts.replaced_pods, &counts.removed_files]
            .map(|count| count.load(Relaxed));
        let ledger = Arc::clone(self.live.ledger());
        self.live.stop().context("the log writer failed")?;
        let mut collector = self.collector.take().context("no collector runs")?;
        self.memory.enter(memory::SETTLING, Some(collector.pid()));
        let (mut last, mut last_at) = (0, Instant::now());
        loop {
            let report = self.receiver.report(&ledger);
            if report.missing == 0 || last_at.elapsed() > SILENCE {
                break;
            }
            if report.acknowledged != last {
                (last, last_at) = (report.acknowledged, Instant::now());
            }
            collector.check_running()?;
            self.memory.look(collector.pid());
            thread::sleep(STEP);
        }
        self.observed.look(&collector);
        let took = self.started.elapsed();
        self.memory.drain(collector)?;
        let counts = self.receiver.counts();
        Ok(Summary {
            report: self.receiver.report(&ledger),
            weathers: self.weathers,
            blows: self.blows,
            removals: self.removals.counts(),
            housekeeping,
            answers: counts.answers,
            violations: self.receiver.violations(),
            observed: self.observed,
            refused_entries: counts.refused_entries,
            silently_dropped: counts.silently_dropped,
            limited_entries: counts.limited_entries,
            read_errors: self.read_errors.given(),
            peaks: self.memory.peaks().clone(),
            took,
        })
    }
}

/// The time of day as the collector's log has it.
fn humantime() -> String {
    let mut text = Vec::new();
    rig::kubelet::clock::write_rfc3339_nano(&mut text, rig::kubelet::Clock::system().now_ns(), 0);
    String::from_utf8_lossy(&text).into_owned()
}
