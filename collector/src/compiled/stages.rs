//! `pipeline_stages` and what comes behind them (`levels`, `dedupe`, `budgets`): compiled into a pipeline, or everything that is wrong
//! with it.

use super::{Problems, budgets};
use crate::{
    config::{Config, Origin, Problem},
    pipeline::{CompileError, Limits, Pipeline, Possible, analysis, relabel::Relabel},
};

/// Series of all `metrics` stages together.
const SERIES_MAX: usize = 10_000;

/// `None` where lines go through no stage, or something is wrong with them.
pub fn compile(config: &Config, problems: &mut Problems) -> Option<Pipeline> {
    if config.pipeline_stages.is_empty() && !config.levels && !budgets::are_set(config) {
        return None;
    }
    match fresh(config) {
        Ok(pipeline) => Some(pipeline),
        Err(errors) => {
            errors.iter().for_each(|error| problems.add(&key(error), &error.message));
            None
        }
    }
}

/// A pipeline of its own, without a stage where there are none.
///
/// # Errors
/// Everything that is wrong with the stages.
pub fn fresh(config: &Config) -> Result<Pipeline, Vec<CompileError>> {
    let max_bytes = usize::try_from(config.lines.max_bytes.0).unwrap_or(usize::MAX);
    let pipeline = Pipeline::compile_with(&config.pipeline_stages, &Limits { max_bytes, max_series: SERIES_MAX })?;
    Ok(budgets::add(config, pipeline))
}

/// What is accepted and may not do what its writer expects, without places in a file.
pub fn warnings(config: &Config, relabel: &Relabel, pipeline: &Pipeline) -> Vec<Problem> {
    let labels = relabel.possible().map(|labels| {
        let possible =
            |value: Option<&str>| value.map_or(Possible::Anything, |value| Possible::Always(value.to_owned()));
        labels.into_iter().map(|(name, value)| (name.to_owned(), possible(value))).collect()
    });
    let found = analysis::warnings(&config.pipeline_stages, labels);
    let problem = |warning: &CompileError| Problem {
        origin: Origin::Default,
        key: key(warning),
        message: warning.message.clone(),
    };
    pipeline.warnings().iter().chain(&found).map(problem).collect()
}

fn key(error: &CompileError) -> String {
    format!("pipeline_stages.{}", error.key)
}
