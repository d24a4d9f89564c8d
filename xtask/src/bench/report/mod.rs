//! `cargo xtask bench report`: the benchmark's figures as pictures.
//!
//! In: docs/data/benchmarks.json, and JSON of runs. Out: the plots of docs/pictures, or one page of how figures changed over
//! many runs. It measures nothing and builds nothing, so it is quick, and a test holds the plots to the data.

mod age;
mod chart;
mod data;
mod plots;
mod scale;
mod source;
mod trend;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};

use self::{data::Benchmarks, source::Measured};
use crate::{package, process};

const PICTURES: &str = "docs/pictures";

/// What `cargo xtask bench report` takes.
#[derive(clap::Args)]
pub struct Args {
    /// First take the figures of this run of `bench pipeline --json` into docs/data/benchmarks.json; other collectors' figures
    /// are replaced only where the run had `--peer`
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Make a page of all runs of `bench pipeline --json` and `bench instructions --json` below this folder instead
    #[arg(long, value_name = "FOLDER", conflicts_with = "json")]
    trend: Option<PathBuf>,
    /// Where that page goes; without it, target/trend/index.html
    #[arg(long, value_name = "FILE", requires = "trend")]
    output: Option<PathBuf>,
}

/// Draws.
pub fn run(args: &Args) -> anyhow::Result<()> {
    if let Some(folder) = &args.trend {
        let usual = || process::target_dir().join("trend/index.html");
        return trend::run(folder, &args.output.clone().unwrap_or_else(usual));
    }
    let root = process::workspace_root();
    let mut benchmarks = load(&root)?;
    if let Some(file) = &args.json {
        let Measured::Pipeline(run) = read(file)? else { bail!("{} is not of `bench pipeline`", file.display()) };
        benchmarks.take(&run);
        fs::write(root.join(data::FILE), serde_json::to_string_pretty(&benchmarks)? + "\n")?;
    }
    for (name, svg) in plots::all(&benchmarks) {
        fs::write(root.join(PICTURES).join(name), svg)?;
        println!("{PICTURES}/{name}");
    }
    Ok(())
}

/// That the documents' figures are not of another time than what this commit says.
pub fn figures_are_recent() -> anyhow::Result<()> {
    let commit = package::commit_time()?;
    age::check(&load(&process::workspace_root())?.this_version.day, commit.cast_signed())
}

fn load(root: &Path) -> anyhow::Result<Benchmarks> {
    let text = fs::read_to_string(root.join(data::FILE)).with_context(|| format!("cannot read {}", data::FILE))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not as expected", data::FILE))
}

/// What a run of one of the benchmarks wrote.
fn read(file: &Path) -> anyhow::Result<Measured> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not what a benchmark writes", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The data of the documents.
    pub fn committed() -> Benchmarks {
        load(&process::workspace_root()).unwrap()
    }

    #[test]
    fn the_committed_plots_are_what_the_committed_data_makes() {
        let root = process::workspace_root();
        for (name, svg) in plots::all(&committed()) {
            let committed = fs::read_to_string(root.join(PICTURES).join(name)).unwrap_or_default();
            assert!(committed == svg, "{PICTURES}/{name} is old: run `cargo xtask bench report`");
        }
    }
}
