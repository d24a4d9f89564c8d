//! A node, a collector, a receiver, and everything that goes wrong with them.
//!
//! In: a [`Plan`] and a time. Out: a [`Summary`]; an error where something happened that must not, other than the lines'
//! fate, which the summary tells. Only such things are done as must not lose a line: a file that nobody has open is not removed
//! before its lines have arrived, a log is truncated only then, and the collector is not ended while lines are owed.

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

use anyhow::{Context, bail, ensure};
use rig::{
    kubelet::{Container, Live, LiveOptions, Node},
    metrics::Metrics,
    program::{Collector, Setup},
    random::Random,
    receiver::{Keep, Options, Receiver},
    tally::Report,
};

use super::{
    observed::Observed,
    plan::{Blow, Episode, Plan, Start, Weather},
    removals::{RemovalCounts, Removals},
    state_disk::StateDisk,
    weather,
};
use crate::{figures::thousands, interrupt::Interrupts};

/// `loki.timeout`.
pub const PUSH_TIMEOUT: Duration = Duration::from_secs(5);
/// What must happen within this time, on however slow a machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// At the end, no further line within this time means that no more will come.
const SILENCE: Duration = Duration::from_secs(40);
const STEP: Duration = Duration::from_millis(50);
const PROGRESS_EVERY: Duration = Duration::from_secs(15);

/// How much happens on the node.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// Containers at any time.
    pub containers: usize,
    /// Lines a second, over all containers.
    pub lines_per_second: u32,
    /// `reader.shards` of every collector; `None`: each has another number.
    pub shards: Option<u16>,
}

/// When the storm ends.
#[derive(Clone, Copy, Debug)]
pub enum Length {
    /// After this time.
    Time(Duration),
    /// After so many episodes.
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

/// What came of it.
pub struct Summary {
    /// Written and arrived.
    pub report: Report,
    /// How often each kind of weather was.
    pub weathers: BTreeMap<Weather, u64>,
    /// How often each blow fell.
    pub blows: BTreeMap<Blow, u64>,
    /// What the kubelet removed.
    pub removals: RemovalCounts,
    /// Rotations, restarts, replaced pods, removed files.
    pub housekeeping: [u64; 4],
    /// Answers by HTTP status; 0: none.
    pub answers: BTreeMap<u16, u64>,
    /// Pushes that were not as they must be.
    pub violations: Vec<String>,
    /// What all the collectors' metrics said.
    pub observed: Observed,
    /// Entries refused with 400, as often as they came.
    pub refused_entries: u64,
    /// From the first line to the last arrival.
    pub took: Duration,
}

/// The storm while it lasts.
pub struct Storm<'a> {
    interrupts: &'a Interrupts,
    plan: Plan,
    random: Random,
    receiver: Arc<Receiver>,
    removals: Removals,
    live: Live,
    pods: PathBuf,
    state: &'a StateDisk,
    setup: Setup,
    collector: Option<Collector>,
    frozen: bool,
    /// Of the present collector.
    shards: u16,
    /// Files that had been removed when the positions were known to be saved.
    removed_and_saved: u64,
    /// Entries that the receiver had refused when the present collector started.
    refused_before: u64,
    observed: Observed,
    weathers: BTreeMap<Weather, u64>,
    blows: BTreeMap<Blow, u64>,
    diary: File,
    started: Instant,
    progress_at: Instant,
}

impl<'a> Storm<'a> {
    /// A node at work below `folder`, and a collector.
    pub fn begin(
        seed: u64,
        scale: Scale,
        program: &Path,
        folder: &Path,
        state: &'a StateDisk,
        interrupts: &'a Interrupts,
    ) -> anyhow::Result<Self> {
        let mut plan = Plan::new(seed, scale.shards);
        let receiver = Arc::new(Receiver::start(Options {
            keep: Keep::Counts,
            answer_after: Duration::from_millis(2),
            ..Options::default()
        })?);
        let removals = Removals::new(Arc::clone(&receiver));
        let node = Node::new(folder, seed)?;
        let pods = node.pods();
        let start = plan.start();
        let setup =
            Setup::write(program, folder, &configuration(&receiver, &pods, state.folder(), start))?.in_own_group();
        let live =
            Live::start_asking(node, live_options(seed, scale), removals.question()).context("cannot write logs")?;
        let mut storm = Self {
            interrupts,
            plan,
            random: Random::new(!seed),
            receiver,
            removals,
            live,
            pods,
            state,
            setup,
            collector: None,
            frozen: false,
            shards: start.shards,
            removed_and_saved: 0,
            refused_before: 0,
            observed: Observed::default(),
            weathers: BTreeMap::new(),
            blows: BTreeMap::new(),
            diary: File::create(folder.join("storm.log"))?,
            started: Instant::now(),
            progress_at: Instant::now() + PROGRESS_EVERY,
        };
        storm.start_collector(start)?;
        Ok(storm)
    }

    /// Lets things go wrong for so long, or until it is interrupted, then waits for all lines and judges.
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
        let fair_at = Instant::now() + episode.weather_for;
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
        // The first one may have been under way, and one of several shards may be late with its part.
        let enough = saved(self) + 2 * u64::from(self.shards);
        self.wait_until("the positions to be saved", |storm| Ok(saved(storm) >= enough))
    }

    fn set_weather(&mut self, weather: Weather) {
        self.receiver.set_faults(weather::faults(weather, Random::new(self.random.bits())));
        self.receiver.set_down(weather == Weather::Down);
    }

    fn strike(&mut self, episode: &Episode) -> anyhow::Result<()> {
        match episode.blow {
            Blow::None => {}
            Blow::Kill => {
                self.kill_collector()?;
                self.pass(episode.blow_for)?;
                self.start_collector(episode.start)?;
            }
            Blow::Terminate => {
                // Before it serves, it does not listen to SIGTERM either.
                self.wait_until("the collector to serve", |storm| {
                    Ok(Metrics::fetch(storm.collector()?.status_address()).is_ok())
                })?;
                self.observe();
                self.collector.take().context("no collector runs")?.terminate()?;
                self.pass(episode.blow_for)?;
                self.start_collector(episode.start)?;
            }
            Blow::Freeze => {
                self.collector()?.pause()?;
                self.frozen = true;
                self.pass(episode.blow_for)?;
                self.frozen = false;
                self.collector()?.resume()?;
            }
            Blow::FillStateDisk => {
                self.state.fill()?;
                self.pass(episode.blow_for)?;
                self.state.free()?;
            }
            Blow::KillWithFullStateDisk => {
                self.state.fill()?;
                self.pass(episode.blow_for / 2)?;
                self.kill_collector()?;
                self.start_collector(episode.start)?;
                self.pass(episode.blow_for / 2)?;
                self.state.free()?;
            }
            Blow::Truncate => {
                let truncated = |storm: &mut Self| storm.observed_now("pilcrow_truncated_files_total");
                let before = truncated(self);
                self.truncate(episode, |storm| {
                    // Lines that came before the collector looks could make the log longer than it was: then nobody could tell.
                    storm.wait_until("the collector's notice of the truncation", |storm| Ok(truncated(storm) > before))
                })?;
            }
            Blow::TruncateWhileDown => {
                let (start, pause) = (episode.start, episode.blow_for);
                self.truncate(episode, |_| Ok(()))?;
                self.pass(pause)?;
                self.start_collector(start)?;
            }
        }
        Ok(())
    }

    /// Truncates a container's log once all its lines have arrived, and has `meanwhile` done before it writes again. Before a
    /// truncation while it is down, the collector is killed here.
    fn truncate(
        &mut self,
        episode: &Episode,
        meanwhile: impl FnOnce(&mut Self) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let running = self.live.running();
        let running = &running[episode.container % running.len()];
        running.alone(|container: &mut Container| {
            container.finish_lines()?;
            let written = container.next_lines();
            self.wait_until("all lines of a log", |storm| Ok(storm.receiver.has_all(&written)))?;
            if episode.blow.ends_process() {
                // Where a rotation split a line, its beginning would be read again, and its rest be gone.
                self.wait_for_saved_positions()?;
                self.kill_collector()?;
            }
            if std::fs::metadata(container.log())?.len() == 0 {
                return Ok(());
            }
            container.truncate()?;
            meanwhile(self)
        })
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
        self.setup.reconfigure(&configuration(&self.receiver, &self.pods, self.state.folder(), start))?;
        self.refused_before = self.receiver.counts().refused_entries;
        self.collector = Some(Collector::start(&self.setup)?);
        self.shards = start.shards;
        self.observed.begin(start);
        Ok(())
    }

    fn kill_collector(&mut self) -> anyhow::Result<()> {
        self.observe();
        self.collector.take().context("no collector runs")?.kill()
    }

    fn collector(&mut self) -> anyhow::Result<&mut Collector> {
        self.collector.as_mut().context("no collector runs")
    }

    fn pid(&self) -> u32 {
        self.collector.as_ref().map_or(0, Collector::pid)
    }

    fn observe(&mut self) {
        if let Some(collector) = &self.collector {
            self.observed.look(collector);
        }
    }

    /// What the present collector's metric says.
    fn observed_now(&mut self, metric: &str) -> u64 {
        self.observe();
        self.observed.now(metric)
    }

    /// Lets time go by.
    fn pass(&mut self, duration: Duration) -> anyhow::Result<()> {
        let end = Instant::now() + duration;
        while Instant::now() < end {
            thread::sleep(STEP.min(end.saturating_duration_since(Instant::now())));
            self.watch()?;
        }
        Ok(())
    }

    /// Until it is so.
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

    /// That nothing ended by itself; says how it goes from time to time.
    fn watch(&mut self) -> anyhow::Result<()> {
        if let Some(collector) = &mut self.collector {
            collector.check_running()?;
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
        Ok(writeln!(self.diary, "{} {at:8.2} s, {lines} lines: {what}", humantime())?)
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
        let Some(mut collector) = self.collector.take() else { bail!("no collector runs") };
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
            thread::sleep(STEP);
        }
        self.observed.look(&collector);
        let took = self.started.elapsed();
        collector.terminate()?;
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
            took,
        })
    }
}

fn live_options(seed: u64, scale: Scale) -> LiveOptions {
    LiveOptions {
        containers: scale.containers,
        lines_per_second: scale.lines_per_second,
        rotate_every: Duration::from_millis(900),
        restart_every: Duration::from_secs(8),
        replace_pod_every: Duration::from_secs(5),
        docker_one_in: 3,
        long_one_in: 300,
        halved_one_in: 50,
        keep: 5,
        seed,
    }
}

/// Everything happens sooner than by default. A line whose rest does not come is given out as it is after
/// `lines.partial_timeout`: that must be more than a writer is ever held up.
fn configuration(receiver: &Receiver, pods: &Path, state: &Path, start: Start) -> String {
    let Start { signal, reader, shards, drop_signals, checkpoint_every } = start;
    format!(
        "loki:\n  url: {:?}\n  timeout: {}ms\n  batch: {{age: 100ms, bytes: 256KiB}}\n  backoff: {{min: 20ms, max: 500ms}}\n\
         labels: {{cluster: chaos}}\n\
         paths: {{pods: {pods:?}, state: {state:?}}}\n\
         kubernetes: {{enabled: false}}\n\
         signal: {signal}\n\
         reader: {{backend: {reader}, shards: {shards}}}\n\
         memory: {{queue: 1MiB}}\n\
         checkpoint: {{interval: {}ms}}\n\
         sweep: {{interval: 500ms}}\n\
         lines: {{partial_timeout: 5s}}\n\
         shutdown: {{deadline: 2s}}\n\
         log: {{level: debug}}\n\
         debug: {{drop_signals: {drop_signals}}}\n",
        receiver.url(),
        PUSH_TIMEOUT.as_millis(),
        checkpoint_every.as_millis(),
    )
}

/// The time of day as the collector's log has it.
fn humantime() -> String {
    let mut text = Vec::new();
    rig::kubelet::clock::write_rfc3339_nano(&mut text, rig::kubelet::Clock::system().now_ns(), 0);
    String::from_utf8_lossy(&text).into_owned()
}
