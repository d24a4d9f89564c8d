//! An expression as a program for a backtracking search in ASCII.
//!
//! In: an expression for the regex crate. Out: a list of steps that find the same match and groups, or nothing where the expression has
//! what is not among them. Log lines are taken apart by runs of characters with something else between them (`\S+ `, `[^"]*"`), where the
//! search never has to go back; there a program takes a fraction of what an automaton that follows all groups takes (docs/performance.md).

use memchr::memmem::Finder;
use regex_syntax::{
    ParserBuilder,
    hir::{Class, Hir, HirKind, Look, Repetition},
};

/// Steps of a program; longer ones are left to the regex crate.
const STEPS_MAX: usize = 500;
/// Copies that a counted repetition of more than one character becomes.
const COPIES_MAX: u32 = 16;

/// Which characters, all ASCII.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    has: [bool; 128],
    /// The only one that is not in it.
    pub except: Option<u8>,
}

impl Set {
    fn new(has: [bool; 128]) -> Self {
        let mut outside = (0..128).zip(has).filter(|(_, has)| !has).map(|(byte, _)| byte);
        let except = outside.next().filter(|_| outside.next().is_none());
        Self { has, except }
    }

    fn of_class(class: &Class) -> Self {
        let mut has = [false; 128];
        let mut add = |first: u32, last: u32| {
            for at in first..=last.min(127) {
                has[at as usize] = true;
            }
        };
        match class {
            Class::Unicode(class) => {
                class.ranges().iter().for_each(|range| add(range.start().into(), range.end().into()))
            }
            Class::Bytes(class) => {
                class.ranges().iter().for_each(|range| add(range.start().into(), range.end().into()))
            }
        }
        Self::new(has)
    }

    fn of_byte(byte: u8) -> Self {
        let mut has = [false; 128];
        has[usize::from(byte & 127)] = true;
        Self::new(has)
    }

    #[inline]
    pub fn has(&self, byte: u8) -> bool {
        self.has[usize::from(byte & 127)]
    }

    /// Always `true`.
    fn add(&mut self, other: &Self) -> bool {
        let mut has = self.has;
        has.iter_mut().zip(other.has).for_each(|(one, other)| *one |= other);
        *self = Self::new(has);
        true
    }

    fn is_apart_from(&self, other: &Self) -> bool {
        self.has.iter().zip(&other.has).all(|(one, other)| !(one & other))
    }
}

/// What must follow a run of characters, as far as it is known.
#[derive(Clone, Debug)]
pub enum Next {
    Anything,
    Byte(u8),
    Among(Box<Set>),
    /// The end of the text.
    End,
    /// Nothing: the expression ends here.
    Match,
}

/// A run of characters of a set.
#[derive(Clone, Debug)]
pub struct Run {
    pub set: Set,
    pub least: usize,
    pub most: usize,
    /// As many as possible first.
    pub greedy: bool,
    pub next: Next,
    /// What follows can only stand where the run ends because of a character that is not in its set: there is no going back.
    pub is_certain: bool,
}

#[derive(Clone, Debug)]
pub enum Step {
    Text(Box<[u8]>),
    Among(Box<Set>),
    Run(Box<Run>),
    /// The place goes into this slot.
    Save(usize),
    Look(Look),
    /// First there; if that leads nowhere, here.
    Split {
        first: usize,
        second: usize,
    },
    Jump(usize),
    Match,
}

/// Where a match can begin.
#[derive(Debug)]
pub enum Begin {
    /// Only where the text does.
    Text,
    At(Box<Finder<'static>>),
    /// At one of these; with fewer than three of them some are the same.
    Few([u8; 3]),
    Among(Box<Set>),
    /// At one of these; and where one of several in a row leads nowhere, those behind it lead nowhere either.
    Row(Box<Set>),
    Anywhere,
}

#[derive(Debug)]
pub struct Program {
    pub steps: Vec<Step>,
    pub begin: Begin,
    /// What every text with a match has, where it is found faster than where a match can begin.
    required: Option<Box<Finder<'static>>>,
    /// Two for each group.
    pub slots: usize,
}

impl Program {
    /// `None`: it has what a program cannot do.
    pub fn compile(expression: &str, groups: usize) -> Option<Self> {
        let hir = ParserBuilder::new().utf8(false).build().parse(expression).ok()?;
        let mut compiler = Compiler { steps: Vec::new() };
        compiler.add(&hir)?;
        let mut steps = compiler.steps;
        steps.push(Step::Match);
        for at in 0..steps.len() {
            let next = next(&steps, at + 1);
            if let Step::Run(run) = &mut steps[at] {
                run.is_certain = match &next {
                    Next::Byte(byte) => !run.set.has(*byte),
                    Next::Among(set) => run.set.is_apart_from(set),
                    Next::Match | Next::End => true,
                    Next::Anything => false,
                } && run.greedy;
                run.next = next;
            }
        }
        let begin = begin(&steps);
        let is_slow = matches!(begin, Begin::Few(_) | Begin::Among(_) | Begin::Row(_) | Begin::Anywhere);
        let required = if is_slow { required(&hir) } else { None };
        Some(Self {
            begin,
            required: required.map(|text| Box::new(Finder::new(text).into_owned())),
            steps,
            slots: 2 * groups,
        })
    }

    /// Whether there can be a match from `start` on; a quick look, also at text that is not ASCII.
    #[inline]
    pub fn is_possible(&self, text: &[u8], start: usize) -> bool {
        let has = |required: &Finder<'_>| text.get(start..).is_some_and(|rest| required.find(rest).is_some());
        self.required.as_ref().is_none_or(|required| has(required))
    }
}

/// What must follow at this step.
fn next(steps: &[Step], mut at: usize) -> Next {
    loop {
        return match steps.get(at).unwrap_or(&Step::Match) {
            Step::Save(_) => {
                at += 1;
                continue;
            }
            Step::Jump(to) if *to > at => {
                at = *to;
                continue;
            }
            Step::Text(text) => Next::Byte(text[0]),
            Step::Among(set) => Next::Among(set.clone()),
            Step::Run(run) if run.least > 0 => Next::Among(Box::new(run.set.clone())),
            Step::Look(Look::End) => Next::End,
            Step::Match => Next::Match,
            _ => Next::Anything,
        };
    }
}

fn begin(steps: &[Step]) -> Begin {
    match steps.iter().find(|step| !matches!(step, Step::Save(_))) {
        Some(Step::Look(Look::Start)) => return Begin::Text,
        Some(Step::Text(text)) => return Begin::At(Box::new(Finder::new(text).into_owned())),
        Some(Step::Run(run)) if run.least > 0 && run.most == usize::MAX && run.is_certain => {
            return Begin::Row(Box::new(run.set.clone()));
        }
        _ => {}
    }
    let mut set = Set::new([false; 128]);
    if !add_firsts(steps, 0, &mut set, &mut 100) {
        return Begin::Anywhere;
    }
    let few: Vec<u8> = (0..128).filter(|byte| set.has(*byte)).take(4).collect();
    match few[..] {
        [one] => Begin::Few([one; 3]),
        [one, two] => Begin::Few([one, two, two]),
        [one, two, three] => Begin::Few([one, two, three]),
        _ => Begin::Among(Box::new(set)),
    }
}

/// Adds the characters with which a match from this step on can begin; `false`: they are not known, or there need not be any.
fn add_firsts(steps: &[Step], at: usize, set: &mut Set, left: &mut usize) -> bool {
    *left = left.saturating_sub(1);
    match &steps[at] {
        _ if *left == 0 => false,
        Step::Match => false,
        Step::Save(_) | Step::Look(_) => add_firsts(steps, at + 1, set, left),
        Step::Jump(to) => add_firsts(steps, *to, set, left),
        Step::Split { first, second } => add_firsts(steps, *first, set, left) && add_firsts(steps, *second, set, left),
        Step::Text(text) => set.add(&Set::of_byte(text[0])),
        Step::Among(among) => set.add(among),
        Step::Run(run) => set.add(&run.set) && (run.least > 0 || add_firsts(steps, at + 1, set, left)),
    }
}

/// The longest text that every match has.
fn required(hir: &Hir) -> Option<&[u8]> {
    match hir.kind() {
        HirKind::Literal(text) => Some(&text.0),
        HirKind::Capture(capture) => required(&capture.sub),
        HirKind::Repetition(repetition) if repetition.min > 0 => required(&repetition.sub),
        HirKind::Concat(parts) => parts.iter().filter_map(required).max_by_key(|text| text.len()),
        _ => None,
    }
}

struct Compiler {
    steps: Vec<Step>,
}

impl Compiler {
    fn push(&mut self, step: Step) -> usize {
        self.steps.push(step);
        self.steps.len() - 1
    }

    fn add(&mut self, hir: &Hir) -> Option<()> {
        if self.steps.len() > STEPS_MAX {
            return None;
        }
        match hir.kind() {
            HirKind::Empty => {}
            HirKind::Literal(text) => {
                self.push(Step::Text(text.0.clone()));
            }
            HirKind::Class(class) => {
                self.push(Step::Among(Box::new(Set::of_class(class))));
            }
            HirKind::Look(look) => match look {
                Look::Start | Look::End | Look::StartLF | Look::EndLF | Look::WordAscii | Look::WordAsciiNegate => {
                    self.push(Step::Look(*look));
                }
                _ => return None,
            },
            HirKind::Capture(capture) => {
                let slot = 2 * usize::try_from(capture.index).ok()?;
                self.push(Step::Save(slot));
                self.add(&capture.sub)?;
                self.push(Step::Save(slot + 1));
            }
            HirKind::Concat(parts) => parts.iter().try_for_each(|part| self.add(part))?,
            HirKind::Alternation(parts) => self.alternation(parts)?,
            HirKind::Repetition(repetition) => self.repetition(repetition)?,
        }
        Some(())
    }

    fn alternation(&mut self, parts: &[Hir]) -> Option<()> {
        let mut jumps = Vec::new();
        let (last, others) = parts.split_last()?;
        for part in others {
            let split = self.push(Step::Split { first: self.steps.len() + 1, second: 0 });
            self.add(part)?;
            jumps.push(self.push(Step::Jump(0)));
            self.steps[split] = Step::Split { first: split + 1, second: self.steps.len() };
        }
        self.add(last)?;
        let end = self.steps.len();
        jumps.into_iter().for_each(|jump| self.steps[jump] = Step::Jump(end));
        Some(())
    }

    fn repetition(&mut self, repetition: &Repetition) -> Option<()> {
        let Repetition { min, max, greedy, sub } = repetition;
        let set = match sub.kind() {
            HirKind::Class(class) => Some(Set::of_class(class)),
            HirKind::Literal(text) if text.0.len() == 1 && text.0[0].is_ascii() => Some(Set::of_byte(text.0[0])),
            _ => None,
        };
        if let Some(set) = set {
            let most = max.map_or(Some(usize::MAX), |max| usize::try_from(max).ok())?;
            let (least, next) = (usize::try_from(*min).ok()?, Next::Anything);
            self.push(Step::Run(Box::new(Run { set, least, most, greedy: *greedy, next, is_certain: false })));
            return Some(());
        }
        // What can be empty makes rounds that lead nowhere, for which there are rules of their own.
        let is_optional = (*min, *max) == (0, Some(1));
        if !is_optional && sub.properties().minimum_len().unwrap_or(0) == 0 || max.unwrap_or(*min) > COPIES_MAX {
            return None;
        }
        for _ in 0..*min {
            self.add(sub)?;
        }
        let split = |here: usize, end: usize| match greedy {
            true => Step::Split { first: here + 1, second: end },
            false => Step::Split { first: end, second: here + 1 },
        };
        let mut splits = Vec::new();
        match max {
            None => {
                let again = self.push(Step::Jump(0));
                self.add(sub)?;
                self.push(Step::Jump(again));
                splits.push(again);
            }
            Some(max) => {
                for _ in *min..*max {
                    splits.push(self.push(Step::Jump(0)));
                    self.add(sub)?;
                }
            }
        }
        let end = self.steps.len();
        splits.into_iter().for_each(|here| self.steps[here] = split(here, end));
        Some(())
    }
}
