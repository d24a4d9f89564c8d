//! The search that runs a [`Program`].
//!
//! In: ASCII. Out: the same leftmost match and groups as the regex crate's, or that it gave up: a text for which it would have to go back
//! too often is the regex crate's, whose time is bounded by the text's length.

use memchr::{memchr, memchr3, memrchr};
use regex_syntax::hir::Look;

use super::program::{Begin, Next, Program, Run, Step};

/// Steps for a search, beside some for each byte of the text.
const STEPS: usize = 500;
const STEPS_A_BYTE: usize = 8;
/// Choices that are kept: a long line with many rounds of a group would take too much memory.
const BACK_MAX: usize = 1000;
/// After giving up so many times in a row a program is not tried again.
const GIVE_UPS_MAX: u32 = 50;

/// The memory of a search.
#[derive(Debug, Default)]
pub struct Search {
    back: Vec<Back>,
    give_ups: u32,
}

/// Where it goes on when a way leads nowhere.
#[derive(Debug)]
enum Back {
    To {
        step: usize,
        at: usize,
    },
    /// A run that may end in any of these places.
    Run {
        step: usize,
        from: usize,
        to: usize,
    },
    /// A slot had another place before.
    Slot {
        slot: usize,
        place: Option<usize>,
    },
}

impl Search {
    /// The first match from `start` on; `None`: it gave up.
    pub fn find_at(
        &mut self,
        program: &Program,
        text: &[u8],
        start: usize,
        slots: &mut Vec<Option<usize>>,
    ) -> Option<bool> {
        let mut steps = STEPS + STEPS_A_BYTE * text.len();
        let mut from = start;
        let found = loop {
            let Some(begin) = next_begin(&program.begin, text, from) else { break Some(false) };
            slots.clear();
            slots.resize(program.slots, None);
            match self.run(program, text, begin, slots, &mut steps) {
                Some(false) => from = behind(&program.begin, text, begin),
                found => break found,
            }
        };
        self.give_ups = if found.is_some() { 0 } else { self.give_ups + 1 };
        found
    }

    /// It is not worth to try.
    pub fn gives_up_too_often(&self) -> bool {
        self.give_ups >= GIVE_UPS_MAX
    }

    #[cfg(test)]
    pub fn give_ups(&self) -> u32 {
        self.give_ups
    }

    /// Whether there is a match that begins at this place.
    fn run(
        &mut self,
        program: &Program,
        text: &[u8],
        begin: usize,
        slots: &mut [Option<usize>],
        steps_left: &mut usize,
    ) -> Option<bool> {
        let (mut step, mut at) = (0, begin);
        self.back.clear();
        loop {
            *steps_left = steps_left.checked_sub(1)?;
            let end = match &program.steps[step] {
                Step::Match => {
                    (slots[0], slots[1]) = (Some(begin), Some(at));
                    return Some(true);
                }
                Step::Split { .. } if self.back.len() >= BACK_MAX => return None,
                Step::Split { first, second } => {
                    self.back.push(Back::To { step: *second, at });
                    step = *first;
                    continue;
                }
                Step::Jump(to) => {
                    step = *to;
                    continue;
                }
                Step::Text(literal) => text[at..].starts_with(literal).then(|| at + literal.len()),
                Step::Among(set) => text.get(at).is_some_and(|byte| set.has(*byte)).then_some(at + 1),
                Step::Run(run) => self.begin_run(run, step, text, at, steps_left),
                Step::Look(look) => holds(*look, text, at).then_some(at),
                Step::Save(slot) => {
                    if !self.back.is_empty() {
                        self.back.push(Back::Slot { slot: *slot, place: slots[*slot] });
                    }
                    slots[*slot] = Some(at);
                    Some(at)
                }
            };
            let Some(next) = end.map(|end| (step + 1, end)).or_else(|| self.go_back(program, text, slots)) else {
                return Some(false);
            };
            (step, at) = next;
        }
    }

    /// Where a run ends first.
    fn begin_run(&mut self, run: &Run, step: usize, text: &[u8], at: usize, steps_left: &mut usize) -> Option<usize> {
        let limit = text.len().min(at.saturating_add(run.most));
        let possible = &text[at..limit];
        let length = match run.set.except {
            Some(byte) => memchr(byte, possible),
            None => possible.iter().position(|byte| !run.set.has(*byte)),
        };
        let (from, to) = (at + run.least, at + length.unwrap_or(possible.len()));
        if from > to {
            return None;
        }
        *steps_left = steps_left.saturating_sub((to - at) / 8);
        if run.is_certain {
            // What stands there is looked at by the next step.
            return Some(to);
        }
        self.end_run(run, step, text, from, to)
    }

    /// The first of the places from `from` to `to` where a run may end; the others are kept.
    fn end_run(&mut self, run: &Run, step: usize, text: &[u8], from: usize, to: usize) -> Option<usize> {
        let rest = &text[from..text.len().min(to + 1)];
        let end = match (&run.next, run.greedy) {
            (Next::Byte(byte), true) => memrchr(*byte, rest).map(|at| from + at),
            (Next::Byte(byte), false) => memchr(*byte, rest).map(|at| from + at),
            (Next::Among(set), true) => rest.iter().rposition(|byte| set.has(*byte)).map(|at| from + at),
            (Next::Among(set), false) => rest.iter().position(|byte| set.has(*byte)).map(|at| from + at),
            (Next::End, _) => (to == text.len()).then_some(to),
            (Next::Anything | Next::Match, true) => Some(to),
            (Next::Anything | Next::Match, false) => Some(from),
        }?;
        if run.greedy && end > from {
            self.back.push(Back::Run { step, from, to: end - 1 });
        } else if !run.greedy && end < to {
            self.back.push(Back::Run { step, from: end + 1, to });
        }
        Some(end)
    }

    /// The step and the place of the last choice that is left.
    fn go_back(&mut self, program: &Program, text: &[u8], slots: &mut [Option<usize>]) -> Option<(usize, usize)> {
        loop {
            match self.back.pop()? {
                Back::To { step, at } => return Some((step, at)),
                Back::Slot { slot, place } => slots[slot] = place,
                Back::Run { step, from, to } => {
                    if let Step::Run(run) = &program.steps[step]
                        && let Some(end) = self.end_run(run, step, text, from, to)
                    {
                        return Some((step + 1, end));
                    }
                }
            }
        }
    }
}

/// The first place from `from` on where a match can begin.
fn next_begin(begin: &Begin, text: &[u8], from: usize) -> Option<usize> {
    let rest = text.get(from..)?;
    let at = match begin {
        Begin::Text => (from == 0).then_some(0),
        Begin::At(finder) => finder.find(rest),
        Begin::Few([one, two, three]) => memchr3(*one, *two, *three, rest),
        Begin::Among(set) | Begin::Row(set) => rest.iter().position(|byte| set.has(*byte)),
        Begin::Anywhere => Some(0),
    };
    at.map(|at| from + at)
}

/// Where to go on when what begins here leads nowhere.
fn behind(begin: &Begin, text: &[u8], at: usize) -> usize {
    let in_row = match begin {
        Begin::Row(set) => text[at..].iter().take_while(|byte| set.has(**byte)).count(),
        _ => 1,
    };
    at + in_row.max(1)
}

/// Whether what an expression says of a place holds there.
fn holds(look: Look, text: &[u8], at: usize) -> bool {
    let (before, after) = (at.checked_sub(1).and_then(|at| text.get(at)), text.get(at));
    let is_word = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    match look {
        Look::Start => at == 0,
        Look::End => at == text.len(),
        Look::StartLF => before.is_none_or(|byte| *byte == b'\n'),
        Look::EndLF => after.is_none_or(|byte| *byte == b'\n'),
        Look::WordAscii => is_word(before) != is_word(after),
        Look::WordAsciiNegate => is_word(before) == is_word(after),
        // The compiler makes no steps of others.
        _ => false,
    }
}
