//! `pipeline_stages` and `levels`: compiled into a pipeline, or everything that is wrong with it.

use super::Problems;
use crate::{
    config::{Config, Origin, Problem},
    pipeline::{CompileError, Limits, Pipeline},
};

/// Series of all `metrics` stages together.
const SERIES_MAX: usize = 10_000;

/// `None` where lines go through no stage, or something is wrong with them.
pub fn compile(config: &Config, problems: &mut Problems) -> Option<Pipeline> {
    if config.pipeline_stages.is_empty() && !config.levels {
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
    Ok(if config.levels { pipeline.with_levels() } else { pipeline })
}

/// What is accepted and may not do what its writer expects, without places in a file.
pub fn warnings(pipeline: &Pipeline) -> Vec<Problem> {
    let problem = |warning: &CompileError| Problem {
        origin: Origin::Default,
        key: key(warning),
        message: warning.message.clone(),
    };
    pipeline.warnings().iter().map(problem).collect()
}

fn key(error: &CompileError) -> String {
    format!("pipeline_stages.{}", error.key)
}
