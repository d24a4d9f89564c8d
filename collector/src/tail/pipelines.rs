//! The pipelines that lines go through: the one of the configuration, and those that pods ask for by annotations.
//!
//! In: what pods ask for. Out: for each channel the pipeline of its container; equal wishes share one. Guarantees that there are never more
//! than [`PIPELINES_MAX`]: one that no channel uses makes room. A mistake is reported once.

use std::{collections::HashSet, sync::Arc};

use crate::pipeline::{Annotated, Asked, Note, Pipeline};

/// Pipelines for different wishes.
const PIPELINES_MAX: usize = 64;
/// Mistakes that are remembered as reported.
const MISTAKES_MAX: usize = 1000;

/// A channel's pipeline. It is kept for as long as there is a clone of this.
#[derive(Clone, Debug)]
pub struct PipelineId(Arc<Key>);

#[derive(Debug)]
struct Key {
    place: usize,
    asked: Asked,
}

/// See the module.
pub struct Pipelines {
    kept: Vec<Kept>,
    /// Of containers that ask for nothing.
    base: Option<PipelineId>,
    annotated: Option<Annotated>,
    mistakes: HashSet<Asked>,
    /// What pipelines had dropped that were replaced.
    replaced: Vec<(&'static str, u64)>,
}

struct Kept {
    id: PipelineId,
    pipeline: Pipeline,
    /// What it had dropped when it was last asked, by the number of the reason.
    dropped: Vec<u64>,
}

/// Why a container does not get what it asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// An annotation is wrong.
    Mistake(String),
    /// It is, and that was reported.
    Reported,
    TooMany,
}

impl PartialEq for PipelineId {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Pipelines {
    pub fn new(base: Option<Pipeline>, annotated: Option<Annotated>) -> Self {
        let (kept, mistakes, replaced) = (Vec::new(), HashSet::new(), Vec::new());
        let mut pipelines = Self { kept, base: None, annotated, mistakes, replaced };
        pipelines.base = base.map(|base| pipelines.keep(Asked::default(), base));
        pipelines
    }

    /// The pipeline of containers that ask for nothing; `None`: their lines go through none.
    pub fn base(&self) -> Option<PipelineId> {
        self.base.clone()
    }

    /// The pipeline for what a container asks for.
    pub fn find(&mut self, asked: &Asked) -> Result<Option<PipelineId>, Refusal> {
        let Some(annotated) = self.annotated.as_ref().filter(|_| !asked.is_empty()) else { return Ok(self.base()) };
        if let Some(kept) = self.kept.iter().find(|kept| kept.id.0.asked == *asked) {
            return Ok(Some(kept.id.clone()));
        }
        if self.mistakes.contains(asked) {
            return Err(Refusal::Reported);
        }
        if self.place().is_none() {
            return Err(Refusal::TooMany);
        }
        match annotated(asked) {
            Ok(pipeline) => Ok(Some(self.keep(asked.clone(), pipeline))),
            Err(why) => {
                if self.mistakes.len() < MISTAKES_MAX {
                    self.mistakes.insert(asked.clone());
                }
                Err(Refusal::Mistake(why))
            }
        }
    }

    #[inline]
    pub fn of(&mut self, id: &PipelineId) -> &mut Pipeline {
        &mut self.kept[id.0.place].pipeline
    }

    /// As [`Self::of`], to look at it.
    pub fn get(&self, id: &PipelineId) -> &Pipeline {
        &self.kept[id.0.place].pipeline
    }

    /// Where there is room for one more.
    fn place(&self) -> Option<usize> {
        if self.kept.len() < PIPELINES_MAX {
            return Some(self.kept.len());
        }
        self.kept.iter().position(|kept| Arc::strong_count(&kept.id.0) == 1)
    }

    fn keep(&mut self, asked: Asked, pipeline: Pipeline) -> PipelineId {
        let place = self.place().unwrap_or(self.kept.len());
        let id = PipelineId(Arc::new(Key { place, asked }));
        let kept = Kept { id: id.clone(), dropped: pipeline.drops().map(|_| 0).collect(), pipeline };
        if place < self.kept.len() {
            let mut before = std::mem::replace(&mut self.kept[place], kept);
            before.take_dropped(|reason, lines| self.replaced.push((reason, lines)));
        } else {
            self.kept.push(kept);
        }
        id
    }

    /// Calls `count` with each reason for which lines were dropped since the last call, and how many.
    pub fn take_dropped(&mut self, mut count: impl FnMut(&'static str, u64)) {
        self.kept.iter_mut().for_each(|kept| kept.take_dropped(&mut count));
        self.replaced.drain(..).for_each(|(reason, lines)| count(reason, lines));
    }

    /// What `multiline: {preset: auto}` took since the last call.
    pub fn take_notes(&mut self) -> Vec<Note> {
        self.kept.iter_mut().flat_map(|kept| kept.pipeline.take_notes()).collect()
    }

    /// How many lines became one with the one before them since the last call.
    pub fn take_repeated(&mut self) -> u64 {
        self.kept.iter_mut().map(|kept| kept.pipeline.take_repeated()).sum()
    }
}

impl Kept {
    fn take_dropped(&mut self, mut count: impl FnMut(&'static str, u64)) {
        for ((reason, lines), before) in self.pipeline.drops().zip(&mut self.dropped) {
            if lines > *before {
                count(reason, lines - *before);
                *before = lines;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{compiled, config::Config};

    fn asked(name: &str, value: &str) -> Asked {
        Asked::of(&[(name.into(), value.into())], "web")
    }

    fn pipelines() -> Pipelines {
        Pipelines::new(None, Some(compiled::annotated(Arc::new(Config::default()), None)))
    }

    #[test]
    fn equal_wishes_share_a_pipeline_and_who_asks_for_nothing_has_that_of_all() {
        let mut pipelines = pipelines();
        let (java, again, go) = (
            pipelines.find(&asked("multiline", "java")).unwrap(),
            pipelines.find(&asked("multiline", "java")).unwrap(),
            pipelines.find(&asked("multiline", "go")).unwrap(),
        );
        assert!(java.is_some() && java == again && java != go);
        assert_eq!(pipelines.find(&Asked::default()), Ok(None));
        assert_eq!(pipelines.kept.len(), 2);
    }

    #[test]
    fn a_mistake_is_told_once() {
        let mut pipelines = pipelines();
        let wrong = asked("multiline", "jva");
        assert!(matches!(pipelines.find(&wrong), Err(Refusal::Mistake(why)) if why.contains("jva")));
        assert_eq!(pipelines.find(&wrong), Err(Refusal::Reported));
    }

    #[test]
    fn pipelines_are_bounded_and_those_that_nobody_uses_make_room() {
        let mut pipelines = pipelines();
        let find = |pipelines: &mut Pipelines, n: usize| pipelines.find(&asked("drop", &format!("x{n}")));
        let mut used: Vec<_> = (0..PIPELINES_MAX).map(|n| find(&mut pipelines, n).unwrap()).collect();
        assert_eq!(find(&mut pipelines, PIPELINES_MAX), Err(Refusal::TooMany));
        used.swap_remove(5);
        assert!(find(&mut pipelines, PIPELINES_MAX).is_ok());
        assert_eq!(pipelines.kept.len(), PIPELINES_MAX);
    }
}
