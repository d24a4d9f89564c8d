//! Lines through the rules of a configuration as the collector takes them there, and what each stage did. For `try` and `test`.
//!
//! In: lines with the container that they are from. Out: a [`Trace`] of each line and of each block of lines, in the order in
//! which they leave the pipeline or are dropped; [`Counts`] of each stage. Guarantees that the stages are those that `run`
//! uses, and that nothing is sent. Its clock is that of the lines. Knows no files and no terminal.

mod counts;
mod sent;
mod timing;
mod trace;

pub use counts::{Amount, Counts, StageCount};
pub use sent::{Named, Sent, named};
pub use timing::{Sample, Samples};
pub use trace::{Change, Did, End, StepTrace, Trace, differing};

use std::cell::Cell;

use self::trace::Tracer;
use crate::{
    compiled::Compiled,
    model::Stream,
    pipeline::{
        Entry, Note, Origin, Pairs, Pipeline, State,
        relabel::{self, Outcome, Relabel, Target},
    },
};

/// The rules of a configuration.
pub struct Rules<'c> {
    relabel: &'c Relabel,
    pipeline: Pipeline,
    tracer: Tracer,
    entry: Entry,
    /// Numbers of containers that were given out.
    containers: Cell<u64>,
}

/// A container's stdout or stderr: the labels and metadata that its lines enter the pipeline with, and what stages keep of it.
pub struct Channel {
    pub labels: Pairs,
    pub metadata: Pairs,
    /// Tells the container from others.
    container: u64,
    is_stderr: bool,
    state: State,
}

#[derive(Clone, Copy, Debug)]
pub struct Given<'a> {
    /// Counts up; tells it from the others.
    pub number: u64,
    /// When it was written, in nanoseconds since 1970.
    pub time_ns: i64,
    /// The clock of the node when it is read.
    pub now_ns: i64,
    /// Without its newline.
    pub text: &'a [u8],
}

impl<'c> Rules<'c> {
    /// `explain`: traces have what each stage did.
    ///
    /// # Errors
    /// None is known.
    pub fn new(compiled: &'c Compiled, explain: bool) -> anyhow::Result<Self> {
        let pipeline = compiled.fresh_pipeline()?;
        Ok(Self {
            relabel: &compiled.relabel,
            tracer: Tracer::new(&pipeline, explain),
            pipeline,
            entry: Entry::default(),
            containers: Cell::default(),
        })
    }

    /// The channel of a container with the labels that the rules make, and `more` on top; `None`: the rules leave it out.
    #[must_use]
    pub fn channel<'l>(
        &self,
        target: &Target<'_>,
        more: impl IntoIterator<Item = (&'l str, &'l str)>,
    ) -> Option<Channel> {
        let Outcome::Keep(relabelled) = self.relabel.apply(target) else { return None };
        let pairs = |labels: &relabel::Labels| -> Pairs {
            labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
        };
        let mut labels = pairs(&relabelled.labels);
        more.into_iter().for_each(|(name, value)| labels.set(name, value));
        let is_stderr = target.stream == Stream::Stderr.name();
        Some(self.new_channel(labels, pairs(&relabelled.metadata), is_stderr))
    }

    /// A channel of this stream with these labels, whatever the rules say.
    #[must_use]
    pub fn channel_with(&self, stream: Stream, labels: Pairs) -> Channel {
        self.new_channel(labels, Pairs::default(), stream == Stream::Stderr)
    }

    /// Each is a container of its own.
    fn new_channel(&self, labels: Pairs, metadata: Pairs, is_stderr: bool) -> Channel {
        let container = self.containers.replace(self.containers.get() + 1);
        let state = self.pipeline.new_state(Origin { labels: &labels, container, is_stderr });
        Channel { labels, metadata, container, is_stderr, state }
    }

    /// Takes a line through the stages. Blocks that it ends come before it.
    pub fn line(&mut self, channel: &mut Channel, given: Given<'_>) -> Vec<Trace> {
        given.enter(channel, &mut self.entry);
        self.tracer.own.copy_from(&channel.labels);
        let Self { pipeline, tracer, entry, .. } = self;
        pipeline.process_watched(&mut channel.state, entry, given.now_ns, &mut |_| {}, tracer);
        self.tracer.take()
    }

    /// Gives out all that is held back: the channel ends.
    pub fn finish(&mut self, channel: &mut Channel, now_ns: i64) -> Vec<Trace> {
        self.tracer.own.copy_from(&channel.labels);
        self.pipeline.finish_watched(&mut channel.state, now_ns, &mut |_| {}, &mut self.tracer);
        self.tracer.take()
    }

    /// Where the stage of this number is written.
    #[must_use]
    pub fn place(&self, stage: usize) -> String {
        self.pipeline.place(stage)
    }

    /// What `multiline: {preset: auto}` took since the last call.
    pub fn take_notes(&mut self) -> Vec<Note> {
        self.pipeline.take_notes()
    }

    /// Whether there are no stages.
    #[must_use]
    pub fn has_no_stages(&self) -> bool {
        self.pipeline.is_empty()
    }

    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.tracer.counts
    }
}

impl Channel {
    /// What it is known by.
    fn origin(&self) -> Origin<'_> {
        Origin { labels: &self.labels, container: self.container, is_stderr: self.is_stderr }
    }
}

impl Given<'_> {
    /// Makes the entry that the line is when it enters the stages.
    fn enter(&self, channel: &Channel, entry: &mut Entry) {
        entry.at = (0, self.number);
        (entry.logged_ns, entry.timestamp_ns) = (self.time_ns, self.time_ns);
        entry.labels.copy_from(&channel.labels);
        entry.metadata.copy_from(&channel.metadata);
        entry.line.clear();
        entry.line.extend_from_slice(self.text);
    }
}

#[cfg(test)]
mod tests;
