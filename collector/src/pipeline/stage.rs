//! What a stage is: how it is compiled, run, and asked for what it holds back.

use std::any::Any;

use super::{
    compile::Compiler,
    entry::{Entry, Pairs, Position},
    line_counts::{ChannelCounts, LevelCounts},
    unchanged::Unchanged,
};

/// Makes a stage of its settings.
pub type Compile = fn(&mut Compiler<'_>) -> Result<Vec<Box<dyn Stage>>, Failed>;

/// Compiling stopped: the errors are with the compiler.
#[derive(Debug)]
pub struct Failed;

/// One step of a pipeline. What it keeps in itself is common to all channels, as in Promtail; what belongs to one channel is
/// in that channel's [`State`].
pub trait Stage: Send {
    /// Does its work on the entry. What it cannot do leaves the entry as it is.
    fn run(&mut self, entry: &mut Entry, context: &mut Context<'_>) -> Step;

    /// Why [`Self::run`] has just left this entry as it is, in words without a full stop; empty where there is nothing to say. Only who
    /// tries rules asks.
    fn why(&self, seen: &Unchanged<'_>) -> String {
        let _ = seen;
        String::new()
    }

    /// What it keeps for each channel, if anything.
    fn channel(&self, origin: Origin<'_>) -> Option<Box<dyn Channel>> {
        let _ = origin;
        None
    }

    /// Moves an entry that it holds back into `entry`; `false`: there is none of that kind.
    fn release(&mut self, entry: &mut Entry, context: &mut Context<'_>, which: Which) -> bool {
        let _ = (entry, context, which);
        false
    }
}

/// What a channel is known by.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// Before the first stage.
    pub labels: &'a Pairs,
    /// The same for standard output and standard error of a container, and for no other one.
    pub container: u64,
    pub is_stderr: bool,
}

impl Default for Origin<'_> {
    /// Of no container.
    fn default() -> Self {
        Self { labels: Pairs::none(), container: 0, is_stderr: false }
    }
}

/// Which of the entries that are held back are given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Those that the stage itself wanted to be.
    Marked,
    /// Also those whose time is over by the node's clock.
    Late,
    /// All: the channel ends.
    All,
    /// Those that are no lines of the channel but say something of it: the program ends, and lines will be read again.
    Reports,
}

/// What a stage keeps for one channel.
pub trait Channel: Any + Send {
    /// Where the first line that it holds back begins.
    fn held_from(&self) -> Option<Position> {
        None
    }

    /// Bytes of text that it holds back.
    fn held_bytes(&self) -> usize {
        0
    }

    /// When, on the clock of the node, what it holds back is due; in nanoseconds since 1970.
    fn due_ns(&self) -> Option<i64> {
        None
    }

    /// The channel's labels are others from now on; `fresh` was made with them.
    fn take_origin(&mut self, fresh: &mut dyn Channel) {
        let _ = fresh;
    }
}

/// All that the stages of one pipeline keep for one channel.
#[derive(Default)]
pub struct State {
    /// The channel is a container's standard error.
    pub is_stderr: bool,
    pub(super) channels: Vec<Box<dyn Channel>>,
}

impl State {
    /// Where the first line that is held back begins: the channel's saved position must not pass it.
    #[must_use]
    pub fn held_from(&self) -> Option<Position> {
        self.channels.iter().filter_map(|channel| channel.held_from()).min()
    }

    /// Bytes of text that are held back.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.channels.iter().map(|channel| channel.held_bytes()).sum()
    }

    /// Lines of the channel by level; `None`: they are not counted.
    #[must_use]
    pub fn levels(&self) -> Option<&LevelCounts> {
        self.channels.iter().find_map(|channel| {
            let channel: &dyn Any = &**channel;
            channel.downcast_ref().map(ChannelCounts::levels)
        })
    }

    /// When [`super::Pipeline::tick`] has something to do, in nanoseconds since 1970.
    #[must_use]
    pub fn due_ns(&self) -> Option<i64> {
        self.channels.iter().filter_map(|channel| channel.due_ns()).min()
    }
}

/// What a stage sees beside the entry.
pub struct Context<'a> {
    /// The time of the node, in nanoseconds since 1970.
    pub now_ns: i64,
    /// See [`super::Outcome::wait_until_ns`].
    pub wait_until_ns: Option<i64>,
    /// Lines that became one with the one before them.
    pub repeated: u64,
    /// What its owner should know.
    pub notes: Vec<Note>,
    /// Slots by name, sorted.
    pub(super) sorted: &'a [(String, usize)],
    pub(super) state: &'a mut State,
}

impl Context<'_> {
    /// The stage's own part of the channel's state, which it got the number of when it was compiled.
    pub fn channel<C: Channel>(&mut self, number: usize) -> Option<&mut C> {
        let channel: &mut dyn Any = self.state.channels.get_mut(number)?.as_mut();
        channel.downcast_mut()
    }

    /// Whether the entry was written to standard error.
    #[must_use]
    pub fn is_stderr(&self) -> bool {
        self.state.is_stderr
    }

    /// The slot of a name that was found in a line.
    #[must_use]
    pub fn slot_of(&self, name: &str) -> Option<usize> {
        let found = self.sorted.binary_search_by(|(known, _)| known.as_str().cmp(name)).ok()?;
        Some(self.sorted[found].1)
    }
}

/// `multiline: {preset: auto}` has seen the first trace of a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The preset that it takes from now on.
    pub preset: &'static str,
    /// The channel's labels, `{app="web"}`.
    pub labels: String,
}

/// How it goes on after a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// With the next stage.
    Next,
    /// With the stage of this number.
    Jump(usize),
    /// Not at all: the entry is dropped, and the counter with this number counts it.
    Drop(usize),
    /// The entry is dropped and not counted.
    DropUncounted,
    /// The stage has taken the entry's text and holds it back.
    Held,
    /// The stage has taken the entry's text, and what it holds is due now.
    HeldAndDue,
    /// First with what the stage held back, see [`Stage::release`]; then the stage is run again with the same entry.
    Release,
}
