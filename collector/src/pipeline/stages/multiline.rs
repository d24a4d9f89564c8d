//! `multiline`: lines that belong together become one entry.
//!
//! A block begins at a line that matches `firstline` (or, with `preset`, at one that continues nothing), and ends at the next
//! such line, at `max_lines`, at the most bytes that an entry may have, or when nothing came for `max_wait_time`: by the clock of
//! the log where there is more to read, by the node's at its live end. It has its first line's time, labels and metadata.
//! It holds the channel's position at its first line. State is kept for each set of labels at this stage, within a channel.

pub mod preset;

use serde::Deserialize;

use self::preset::{Machine, Preset};
use crate::pipeline::{
    compile::Compiler,
    entry::{Entry, Position, keep_if_small},
    pattern::Pattern,
    stage::{Channel, Context, Failed, Note, Origin, Stage, Step, Which},
    unchanged::Unchanged,
};

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    firstline: Option<String>,
    max_wait_time: Option<String>,
    max_lines: Option<u64>,
    /// Alloy's: lines have no newline here, so there is nothing to trim.
    trim_newlines: Option<bool>,
    /// Pilcrow's own.
    preset: Option<String>,
}

struct Multiline {
    begins: Begins,
    max_wait_ns: i64,
    max_lines: u64,
    max_bytes: usize,
    /// The number of what it keeps for a channel.
    channel: usize,
}

enum Begins {
    At(Box<Pattern>),
    With(Preset),
}

/// See [`crate::pipeline::stage::Compile`].
pub fn compile(compiler: &mut Compiler<'_>) -> Result<Vec<Box<dyn Stage>>, Failed> {
    let settings: Settings = compiler.settings()?;
    let begins = match (settings.firstline, settings.preset) {
        (Some(expression), None) => Begins::At(Box::new(compiler.pattern("firstline", &expression)?)),
        (None, Some(name)) => match Preset::named(&name) {
            Some(preset) => Begins::With(preset),
            None => {
                let message = format!("expected one of {}, found {name:?}", Preset::names().join(", "));
                return Err(compiler.error("preset", message));
            }
        },
        (None, None) => return Err(compiler.error("", "firstline (or preset) is missing")),
        (Some(_), Some(_)) => return Err(compiler.error("preset", "firstline and preset exclude each other")),
    };
    let max_wait = compiler.duration("max_wait_time", settings.max_wait_time.as_deref().unwrap_or("3s"))?;
    if max_wait.is_zero() {
        return Err(compiler.error("max_wait_time", "must be more than 0"));
    }
    let max_lines = settings.max_lines.unwrap_or(128);
    let (max_bytes, channel) = (compiler.limits().max_bytes, compiler.channel());
    let max_wait_ns = i64::try_from(max_wait.as_nanos()).unwrap_or(i64::MAX);
    Ok(vec![Box::new(Multiline { begins, max_wait_ns, max_lines, max_bytes, channel })])
}

/// The blocks of a channel.
struct Blocks {
    blocks: Vec<Block>,
    max_wait_ns: i64,
    /// The channel's labels, as people write them, until it was told what `auto` took for it.
    untold: Option<String>,
}

/// Sets of labels of one channel that may have blocks at the same time; lines of others pass singly.
const BLOCKS_MAX: usize = 64;

/// What is collected of one set of labels.
#[derive(Default)]
struct Block {
    labels: u64,
    /// Everything of the first line but its text.
    first: Entry,
    text: Vec<u8>,
    lines: u64,
    /// Where the first line of `text` begins.
    at: Position,
    /// When the last line came, by the log's clock and by the node's.
    logged_ns: i64,
    came_ns: i64,
    is_due: bool,
    machine: Machine,
}

impl Channel for Blocks {
    fn held_from(&self) -> Option<Position> {
        self.blocks.iter().filter(|block| !block.text.is_empty()).map(|block| block.at).min()
    }

    fn held_bytes(&self) -> usize {
        self.blocks.iter().filter(|block| !block.text.is_empty()).map(|block| block.text.capacity()).sum()
    }

    fn due_ns(&self) -> Option<i64> {
        let held = self.blocks.iter().filter(|block| !block.text.is_empty());
        held.map(|block| block.came_ns.saturating_add(self.max_wait_ns)).min()
    }
}

impl Stage for Multiline {
    fn channel(&self, origin: Origin<'_>) -> Option<Box<dyn Channel>> {
        let is_auto = matches!(self.begins, Begins::With(Preset::Auto));
        let untold = is_auto.then(|| {
            let labels: Vec<_> = origin.labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
            format!("{{{}}}", labels.join(", "))
        });
        Some(Box::new(Blocks { blocks: Vec::new(), max_wait_ns: self.max_wait_ns, untold }))
    }

    fn run(&mut self, entry: &mut Entry, context: &mut Context<'_>) -> Step {
        let now_ns = context.now_ns;
        let Some(blocks) = context.channel::<Blocks>(self.channel) else { return Step::Next };
        let labels = entry.labels.hash();
        let known = blocks.blocks.iter().position(|block| block.labels == labels);
        let begins = match &self.begins {
            Begins::At(pattern) => pattern.is_match(&entry.line),
            Begins::With(preset) => match known {
                Some(known) => !blocks.blocks[known].machine.continues(*preset, &entry.line),
                None => true,
            },
        };
        let place = match known {
            Some(place) => place,
            None if !begins => return Step::Next,
            None => match blocks.place_for(labels) {
                Some(place) => place,
                None => return Step::Next,
            },
        };
        let block = &mut blocks.blocks[place];
        let has_room = block.text.len() + 1 + entry.line.len() <= self.max_bytes;
        let waited = entry.logged_ns.saturating_sub(block.logged_ns);
        if !block.text.is_empty() && (begins || !has_room || waited > self.max_wait_ns) {
            block.is_due = true;
            return Step::Release;
        }
        if begins {
            block.first.copy_from(entry);
            block.first.line.clear();
            if let Begins::With(preset) = &self.begins {
                block.machine = block.machine.begin(*preset, &entry.line);
            }
        } else if let Begins::With(preset) = &self.begins {
            block.machine.advance(*preset, &entry.line);
        }
        let took = block
            .machine
            .found()
            .and_then(|preset| Some(Note { preset: preset.name(), labels: blocks.untold.take()? }));
        let block = &mut blocks.blocks[place];
        if block.text.is_empty() {
            block.at = entry.at;
        } else {
            block.text.push(b'\n');
        }
        block.text.extend_from_slice(&entry.line);
        block.lines += 1;
        (block.logged_ns, block.came_ns) = (entry.logged_ns, now_ns);
        let is_full = block.lines == self.max_lines && !block.text.is_empty();
        block.is_due |= is_full;
        context.notes.extend(took);
        if is_full { Step::HeldAndDue } else { Step::Held }
    }

    fn release(&mut self, entry: &mut Entry, context: &mut Context<'_>, which: Which) -> bool {
        let now_ns = context.now_ns;
        let max_wait_ns = self.max_wait_ns;
        let Some(blocks) = context.channel::<Blocks>(self.channel) else { return false };
        let is_due = |block: &Block| match which {
            Which::Marked => block.is_due,
            Which::Late => block.is_due || block.came_ns.saturating_add(max_wait_ns) <= now_ns,
            Which::All => true,
            Which::Reports => false,
        };
        let due = blocks.blocks.iter_mut().filter(|block| !block.text.is_empty() && is_due(block));
        // In the order in which they were written.
        let Some(block) = due.min_by_key(|block| block.at) else { return false };
        entry.copy_from(&block.first);
        entry.at = block.at;
        std::mem::swap(&mut entry.line, &mut block.text);
        keep_if_small(&mut block.text);
        (block.lines, block.is_due) = (0, false);
        true
    }

    fn why(&self, _: &Unchanged<'_>) -> String {
        "no line has matched firstline yet".into()
    }
}

impl Blocks {
    /// A place for a new set of labels: a new one, or that of an empty block which was used longest ago.
    fn place_for(&mut self, labels: u64) -> Option<usize> {
        let place = if self.blocks.len() < BLOCKS_MAX {
            self.blocks.push(Block::default());
            self.blocks.len() - 1
        } else {
            let empty = self.blocks.iter().enumerate().filter(|(_, block)| block.text.is_empty());
            empty.min_by_key(|(_, block)| block.came_ns)?.0
        };
        let block = &mut self.blocks[place];
        (block.labels, block.lines, block.is_due) = (labels, 0, false);
        Some(place)
    }
}
