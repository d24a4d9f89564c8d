//! What the collectors of a run are started with, and where they log.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rig::program::Setup;

use crate::process;

/// Where a run's `pilcrow.yaml` and `pilcrow.log` are, and stay for inspection.
pub fn folder() -> PathBuf {
    process::target_dir().join("loki")
}

/// Where every collector of this run writes its log.
pub fn log() -> PathBuf {
    folder().join("pilcrow.log")
}

/// What all collectors of a run have in common: the program, a configuration with `kubernetes` as that part of it, and
/// the state in `place`.
pub fn setup(
    program: &Path,
    place: &Path,
    pods: &Path,
    loki: &str,
    id: &str,
    kubernetes: &str,
) -> anyhow::Result<Setup> {
    let state = place.join("state");
    fs::create_dir_all(&state)?;
    let (pods, state) = (pods.display(), state.display());
    let configuration = format!(
        "loki: {{url: {loki:?}, tenant: {id}}}\n\
         labels: {{cluster: {id}}}\n\
         paths: {{pods: {pods}, state: {state}}}\n\
         kubernetes: {kubernetes}\n"
    );
    Setup::write(program, &folder(), &configuration)
}
