//! Entries through the stages, one after the other.

use super::{
    compile::Pipeline,
    entry::Entry,
    stage::{Context, Origin, State, Step, Which},
    unchanged::Unchanged,
};

/// What happened to an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was given out.
    Passed,
    /// A stage dropped it, for this reason; `""`: one that Promtail does not count.
    Dropped(&'static str),
    /// Its text waits for what follows: the channel's position stays at [`State::held_from`].
    Held,
}

/// What happened to an entry, and when its channel may be read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub verdict: Verdict,
    /// `limit` without `drop`: the channel shall not be read again before this time, in nanoseconds since 1970. The entry
    /// is not affected: it took its token in advance.
    pub wait_until_ns: Option<i64>,
}

/// Takes the entries that leave a pipeline.
pub type Out<'a> = &'a mut dyn FnMut(&Entry);

/// Sees what the stages do, one after the other. `()` sees nothing, and is compiled to nothing: who collects pays nothing for
/// those who want to look.
pub trait Watch {
    /// An entry enters; `from`: it was held back by the stage of this number and goes on after it.
    fn begins(&mut self, entry: &Entry, from: Option<usize>) {
        let _ = (entry, from);
    }

    /// The stage of this number has run, and left the entry so; `why` says why, where it has not changed it.
    fn ran(&mut self, stage: usize, entry: &Entry, step: Step, why: &dyn Fn() -> String) {
        let _ = (stage, entry, step, why);
    }

    /// What became of the entry that began last and has not ended.
    fn ends(&mut self, entry: &Entry, verdict: Verdict) {
        let _ = (entry, verdict);
    }
}

impl Watch for () {}

impl Pipeline {
    /// What the stages keep for a new channel.
    #[must_use]
    pub fn new_state(&self, origin: Origin<'_>) -> State {
        let channels = self.stages.iter().filter_map(|stage| stage.channel(origin)).collect();
        State { is_stderr: origin.is_stderr, channels }
    }

    /// A channel has other labels from now on.
    pub fn take_origin(&self, state: &mut State, origin: Origin<'_>) {
        let fresh = self.stages.iter().filter_map(|stage| stage.channel(origin));
        for (channel, mut fresh) in state.channels.iter_mut().zip(fresh) {
            channel.take_origin(&mut *fresh);
        }
    }

    /// Takes an entry through the stages; `entry` is changed, whatever happens to it. Entries that were held back go out
    /// before it.
    pub fn process(&mut self, state: &mut State, entry: &mut Entry, now_ns: i64, out: Out<'_>) -> Outcome {
        self.process_watched(state, entry, now_ns, out, &mut ())
    }

    /// As [`Self::process`], with somebody who looks on.
    pub fn process_watched<W: Watch>(
        &mut self,
        state: &mut State,
        entry: &mut Entry,
        now_ns: i64,
        out: Out<'_>,
        watch: &mut W,
    ) -> Outcome {
        let sorted = std::mem::take(&mut self.sorted);
        entry.extracted.begin(&sorted, &entry.labels, &mut self.label_slots);
        let mut context =
            Context { now_ns, wait_until_ns: None, repeated: 0, notes: Vec::new(), sorted: &sorted, state };
        watch.begins(entry, None);
        let verdict = self.run(0, entry, &mut context, out, watch);
        let wait_until_ns = context.wait_until_ns;
        self.repeated += context.repeated;
        self.notes.append(&mut context.notes);
        self.sorted = sorted;
        Outcome { verdict, wait_until_ns }
    }

    /// Gives out what was held back long enough. Only for a channel that has been read to its end: while there is more to
    /// read, the clock of the log decides. Returns when the channel shall be read again, see [`Outcome::wait_until_ns`].
    pub fn tick(&mut self, state: &mut State, now_ns: i64, out: Out<'_>) -> Option<i64> {
        self.give(state, now_ns, Which::Late, out)
    }

    /// Gives out all that is held back: the channel ends.
    pub fn finish(&mut self, state: &mut State, now_ns: i64, out: Out<'_>) {
        self.give(state, now_ns, Which::All, out);
    }

    /// Gives out what is held back, as far as it is wanted. Returns when the channel shall be read again.
    pub fn give(&mut self, state: &mut State, now_ns: i64, which: Which, out: Out<'_>) -> Option<i64> {
        self.release(state, now_ns, which, out, &mut ())
    }

    /// As [`Self::finish`], with somebody who looks on.
    pub fn finish_watched<W: Watch>(&mut self, state: &mut State, now_ns: i64, out: Out<'_>, watch: &mut W) {
        self.release(state, now_ns, Which::All, out, watch);
    }

    fn release<W: Watch>(
        &mut self,
        state: &mut State,
        now_ns: i64,
        which: Which,
        out: Out<'_>,
        watch: &mut W,
    ) -> Option<i64> {
        if state.channels.is_empty() {
            return None;
        }
        let sorted = std::mem::take(&mut self.sorted);
        let mut context =
            Context { now_ns, wait_until_ns: None, repeated: 0, notes: Vec::new(), sorted: &sorted, state };
        let mut entry = self.spare.pop().unwrap_or_default();
        // Earlier stages first: what they give out may be held by later ones.
        for at in 0..self.stages.len() {
            while self.stages[at].release(&mut entry, &mut context, which) {
                watch.begins(&entry, Some(at));
                self.run(at + 1, &mut entry, &mut context, out, watch);
            }
        }
        self.spare.push(entry);
        let wait_until_ns = context.wait_until_ns;
        self.repeated += context.repeated;
        self.notes.append(&mut context.notes);
        self.sorted = sorted;
        wait_until_ns
    }

    fn run<W: Watch>(
        &mut self,
        from: usize,
        entry: &mut Entry,
        context: &mut Context<'_>,
        out: Out<'_>,
        watch: &mut W,
    ) -> Verdict {
        let mut at = from;
        let verdict = loop {
            let Some(stage) = self.stages.get_mut(at) else {
                out(entry);
                break Verdict::Passed;
            };
            let step = stage.run(entry, context);
            watch.ran(at, entry, step, &|| stage.why(&Unchanged { entry, names: context.sorted }));
            // It is run again when what it held back has gone out.
            let ran = &mut self.ran[at];
            ran.0 += u64::from(!matches!(step, Step::Release));
            ran.1 += u64::from(matches!(step, Step::Drop(_) | Step::DropUncounted));
            match step {
                Step::Next => at += 1,
                Step::Jump(to) => at = to,
                Step::Drop(reason) => {
                    let reason = &mut self.drops[reason];
                    reason.1 += 1;
                    break Verdict::Dropped(reason.0);
                }
                Step::DropUncounted => break Verdict::Dropped(""),
                Step::Held => break Verdict::Held,
                Step::HeldAndDue => {
                    self.give_out(at, context, out, watch);
                    break Verdict::Held;
                }
                Step::Release => self.give_out(at, context, out, watch),
            }
        };
        watch.ends(entry, verdict);
        verdict
    }

    /// What the stage `at` holds back goes to the stages after it.
    fn give_out<W: Watch>(&mut self, at: usize, context: &mut Context<'_>, out: Out<'_>, watch: &mut W) {
        let mut entry = self.spare.pop().unwrap_or_default();
        while self.stages[at].release(&mut entry, context, Which::Marked) {
            watch.begins(&entry, Some(at));
            self.run(at + 1, &mut entry, context, out, watch);
        }
        self.spare.push(entry);
    }
}
