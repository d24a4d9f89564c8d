//! What goes wrong, and when: determined by the seed, endless.
//!
//! In: a seed. Out: one [`Episode`] after the other. Kinds are dealt from shuffled decks, so that every kind comes soon and
//! none is left out for long. The plan cannot determine the threads' timing.

use std::{fmt, time::Duration};

use rig::random::Random;

/// What is wrong with the receiver for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weather {
    /// Nothing.
    Fair,
    /// Connections are refused, open ones were cut.
    Down,
    /// Answers come late, some later than the collector waits.
    Slow,
    /// Most pushes get 429.
    Throttled,
    /// Most pushes get 500.
    Failing,
    /// Most pushes get 503.
    Unavailable,
    /// Larger pushes get 413.
    TooLarge,
    /// Many connections are closed in the middle of the body.
    CutOff,
    /// Many pushes are stored, and the connection is closed without an answer.
    Unanswered,
    /// Some entries of some pushes are refused for good, with 400.
    Refusing,
    /// No stream is created: what was never stored before is refused with 429, the rest of the push is stored, and the answer is
    /// that of the last stream.
    NoNewStreams,
    /// Bodies go over a slow line; some take longer than the collector waits.
    SlowUplink,
}

/// What happens to the collector or to its disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Blow {
    /// Nothing; the kubelet may remove files.
    None,
    /// SIGKILL, and a new start.
    Kill,
    /// SIGTERM, and a new start.
    Terminate,
    /// SIGSTOP, and SIGCONT.
    Freeze,
    /// The disk with the state is full, and has room again.
    FillStateDisk,
    /// SIGKILL and a new start while the disk with the state is full.
    KillWithFullStateDisk,
    /// A container's log is truncated when all its lines have arrived.
    Truncate,
    /// The same, while the collector is down.
    TruncateWhileDown,
    /// Reads of half of the log files fail with EIO. A collector that does not read by system calls is restarted first.
    ReadErrors,
}

impl Blow {
    /// Whether the process ends: what it alone still had open is lost then.
    pub fn ends_process(self) -> bool {
        matches!(self, Self::Kill | Self::Terminate | Self::KillWithFullStateDisk | Self::TruncateWhileDown)
    }

    /// Whether it has to wait until all lines of a container have arrived.
    pub fn wants_fair_weather(self) -> bool {
        matches!(self, Self::Truncate | Self::TruncateWhileDown)
    }
}

/// How a collector is started.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Start {
    /// `signal`.
    pub signal: &'static str,
    /// `reader.backend`.
    pub reader: &'static str,
    /// `debug.drop_signals`.
    pub drop_signals: f64,
    /// `checkpoint.interval`.
    pub checkpoint_every: Duration,
}

impl Start {
    /// Whether its reads are system calls, which can be made to fail.
    pub fn reads_by_system_calls(&self) -> bool {
        self.reader == "pread"
    }

    /// Whether its lines go through stages: those of every second one.
    pub fn has_stages(&self) -> bool {
        self.checkpoint_every.as_millis().is_multiple_of(2)
    }
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { signal, reader, drop_signals, checkpoint_every } = self;
        write!(
            f,
            "signal {signal}, reader {reader}, {drop_signals} of the signals dropped, checkpoints every {checkpoint_every:?}{}",
            if self.has_stages() { ", stages" } else { "" }
        )
    }
}

/// Some seconds of one kind of weather with at most one blow, then some of fair weather.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Episode {
    pub weather: Weather,
    /// How long it lasts.
    pub weather_for: Duration,
    pub blow: Blow,
    /// From the beginning of the weather to the blow.
    pub blow_after: Duration,
    /// How long that lasts.
    pub blow_for: Duration,
    /// How the next collector is started, if this one ends.
    pub start: Start,
    /// Fair weather at the end.
    pub calm_for: Duration,
    /// Which container, if one is concerned.
    pub container: usize,
}

/// An endless sequence of episodes.
#[derive(Clone, Debug)]
pub struct Plan {
    random: Random,
    weathers: Deck<Weather>,
    blows: Deck<Blow>,
    starts: Deck<(&'static str, &'static str)>,
    drops: Deck<f64>,
}

impl Plan {
    /// How the first collector is started, and all that happens then: both draw from the same numbers.
    pub fn begin(seed: u64) -> (Start, Self) {
        let mut plan = Self::new(seed);
        (plan.start(), plan)
    }

    fn new(seed: u64) -> Self {
        use Weather::*;
        let weathers = [
            Fair,
            Down,
            Slow,
            Throttled,
            Failing,
            Unavailable,
            TooLarge,
            CutOff,
            Unanswered,
            Refusing,
            NoNewStreams,
            SlowUplink,
        ]
        .into();
        let blows = [
            Blow::None,
            Blow::Kill,
            Blow::Kill,
            Blow::Terminate,
            Blow::Freeze,
            Blow::FillStateDisk,
            Blow::KillWithFullStateDisk,
            Blow::Truncate,
            Blow::TruncateWhileDown,
            Blow::ReadErrors,
        ]
        .into();
        let starts = [("auto", "auto"), ("inotify", "pread"), ("poll", "io_uring"), ("auto", "pread")].into();
        Self {
            random: Random::new(seed),
            weathers: Deck::new(weathers),
            blows: Deck::new(blows),
            starts: Deck::new(starts),
            drops: Deck::new([0.0, 0.3, 0.0, 0.9].into()),
        }
    }

    /// How the next collector is started.
    fn start(&mut self) -> Start {
        let (signal, reader) = self.starts.deal(&mut self.random);
        let drop_signals = self.drops.deal(&mut self.random);
        Start { signal, reader, drop_signals, checkpoint_every: self.between(100, 2000) }
    }

    /// From `least` to `most` milliseconds.
    fn between(&mut self, least: usize, most: usize) -> Duration {
        Duration::from_millis((least + self.random.below(most - least + 1)) as u64)
    }
}

impl Iterator for Plan {
    type Item = Episode;

    fn next(&mut self) -> Option<Episode> {
        let weather = self.weathers.deal(&mut self.random);
        let dealt = self.blows.deal(&mut self.random);
        // Refusals are compared with the collector's own count of them, which ends with the process, and an answer that
        // comes too late is one that it did not count.
        let may_end = dealt.ends_process() || matches!(dealt, Blow::Freeze | Blow::ReadErrors);
        let blow = if weather == Weather::Refusing && may_end { Blow::None } else { dealt };
        let blow_for = match blow {
            // Often the next one starts at once, as after a crash.
            Blow::Kill if self.random.one_in(2) => Duration::ZERO,
            Blow::Freeze | Blow::ReadErrors => self.between(500, 6500),
            _ => self.between(300, 3500),
        };
        Some(Episode {
            weather,
            weather_for: match weather {
                Weather::Down => self.between(1000, 7000),
                // Long enough for new pods.
                Weather::NoNewStreams => self.between(5000, 9000),
                _ => self.between(1000, 4000),
            },
            blow,
            blow_after: self.between(0, 1500),
            blow_for,
            start: self.start(),
            calm_for: self.between(0, 1000),
            container: self.random.below(1000),
        })
    }
}

/// Cards that are dealt one by one, and shuffled again when all were.
#[derive(Clone, Debug)]
struct Deck<T> {
    cards: Vec<T>,
    dealt: usize,
}

impl<T: Copy> Deck<T> {
    fn new(cards: Vec<T>) -> Self {
        Self { dealt: cards.len(), cards }
    }

    fn deal(&mut self, random: &mut Random) -> T {
        if self.dealt == self.cards.len() {
            for at in (1..self.cards.len()).rev() {
                self.cards.swap(at, random.below(at + 1));
            }
            self.dealt = 0;
        }
        self.dealt += 1;
        self.cards[self.dealt - 1]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::chaos::{CI_EPISODES, CI_SEEDS};

    /// The first of a seed's episodes, as a storm goes through them.
    fn episodes(seed: u64, count: usize) -> Vec<Episode> {
        Plan::begin(seed).1.take(count).collect()
    }

    /// How many kinds of weather and of blows there are.
    fn kinds(episodes: &[Episode]) -> (usize, usize) {
        let weathers: BTreeSet<_> = episodes.iter().map(|episode| episode.weather).collect();
        let blows: BTreeSet<_> = episodes.iter().map(|episode| episode.blow).collect();
        (weathers.len(), blows.len())
    }

    #[test]
    fn the_seed_determines_the_plan() {
        assert_eq!(Plan::begin(7).0, Plan::begin(7).0);
        assert_eq!(episodes(7, 100), episodes(7, 100));
        assert_ne!(episodes(7, 100), episodes(8, 100));
    }

    #[test]
    fn every_kind_of_weather_and_blow_comes_within_the_first_decks() {
        for seed in 0..20 {
            assert_eq!(kinds(&episodes(seed, 40)), (12, 9));
        }
    }

    #[test]
    fn the_fixed_seeds_together_deal_every_kind() {
        let dealt: Vec<_> = CI_SEEDS.into_iter().flat_map(|seed| episodes(seed, CI_EPISODES)).collect();
        assert_eq!(kinds(&dealt), (12, 9));
        let restarts = dealt.iter().filter(|episode| episode.blow.ends_process());
        let backends: BTreeSet<_> = restarts.map(|episode| (episode.start.signal, episode.start.reader)).collect();
        assert_eq!(backends.len(), 4);
    }

    #[test]
    fn no_process_ends_while_its_refusals_are_counted() {
        let refusing = episodes(1, 1000).into_iter().filter(|episode| episode.weather == Weather::Refusing);
        assert!(refusing.into_iter().all(|episode| !episode.blow.ends_process()));
    }
}
