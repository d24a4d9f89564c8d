//! What the stages cost for each line, measured on the lines themselves.

use std::time::{Duration, Instant};

use super::{Channel, Given, Rules};

/// Lines and bytes that are kept for it at most.
const LINES_MAX: usize = 10_000;
const BYTES_MAX: usize = 8 << 20;

/// Measured until so much time is over.
const ENOUGH: Duration = Duration::from_millis(50);

/// Between two passes on the clock of the lines, so that limits have their tokens again.
const PAUSE_NS: i64 = 3600 * 1_000_000_000;

/// A line to measure with.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The place of its channel in a list.
    pub channel: usize,
    pub time_ns: i64,
    pub now_ns: i64,
    pub text: Vec<u8>,
}

/// The first lines of a run.
#[derive(Debug, Default)]
pub struct Samples {
    samples: Vec<Sample>,
    bytes: usize,
}

impl Samples {
    /// Keeps a line, unless there are enough.
    pub fn add(&mut self, channel: usize, given: &Given<'_>) {
        if self.samples.len() < LINES_MAX && self.bytes < BYTES_MAX {
            self.bytes += given.text.len();
            let Given { time_ns, now_ns, text, .. } = *given;
            self.samples.push(Sample { channel, time_ns, now_ns, text: text.to_vec() });
        }
    }
}

impl Rules<'_> {
    /// Nanoseconds that the stages take for a line, on this machine, when it does nothing else; `None` where there are no lines or
    /// no stages. Not for further lines afterwards: it uses up what stages keep.
    pub fn measure(&mut self, channels: &mut [Channel], samples: &Samples) -> Option<u64> {
        let (first, last) = (samples.samples.first()?, samples.samples.last()?);
        if self.pipeline.is_empty() {
            return None;
        }
        let step_ns = last.now_ns.saturating_sub(first.now_ns).max(0).saturating_add(PAUSE_NS);
        channels.iter_mut().for_each(|channel| channel.state = self.pipeline.new_state(channel.origin()));
        // The first pass fills caches and tables of the regular expressions.
        self.pass(channels, samples, 0);
        let (begin, mut passes) = (Instant::now(), 0_u32);
        while begin.elapsed() < ENOUGH {
            passes += 1;
            self.pass(channels, samples, step_ns.saturating_mul(i64::from(passes)));
        }
        let lines = u128::from(passes) * samples.samples.len() as u128;
        u64::try_from(begin.elapsed().as_nanos() / lines.max(1)).ok()
    }

    fn pass(&mut self, channels: &mut [Channel], samples: &Samples, later_ns: i64) {
        let Self { pipeline, entry, .. } = self;
        for (number, sample) in (0..).zip(&samples.samples) {
            let Some(channel) = channels.get_mut(sample.channel) else { continue };
            let Sample { time_ns, now_ns, ref text, .. } = *sample;
            let now_ns = now_ns.saturating_add(later_ns);
            let given = Given { number, time_ns: time_ns.saturating_add(later_ns), now_ns, text };
            given.enter(channel, entry);
            pipeline.process(&mut channel.state, entry, now_ns, &mut |_| {});
        }
    }
}
