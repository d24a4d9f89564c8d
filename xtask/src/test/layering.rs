//! The step `layering`: which part of the collector may import which, and how long a file may be.
//!
//! In: the sources. Out: one failure for each import that [`RULES`] does not allow, with file and line, and for each file over
//! [`LINES_MAX`]. Tests are exempt from the imports (`#[cfg(test)]` items, and the files of modules declared so), not from
//! the length. It reads words, not types: an alias of `crate` would escape it.

mod scan;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;

use super::Report;
use crate::process;

/// A longer file wants to be two.
const LINES_MAX: usize = 450;

/// Folders that hold no sources of ours.
const NOT_OURS: [&str; 2] = ["target", ".git"];

/// What one part of the collector may import.
struct Rule {
    /// Its modules at the root of the crate.
    parts: &'static [&'static str],
    /// The other parts that it may import.
    may_import: &'static [&'static str],
}

const fn rule(parts: &'static [&'static str], may_import: &'static [&'static str]) -> Rule {
    Rule { parts, may_import }
}

/// Who may import whom. A row names only parts of rows above it, so that there can be no circle.
///
/// The data flow is source, tail, decode, pipeline, batch, output, then the acknowledgement to checkpoint. Along it an import
/// has one of two reasons. `tail` is the loop of the reader thread: it *calls* the steps, so it imports them, and no
/// step imports it. The other steps *take* what an earlier one made: `pipeline` what `source` knows of a unit, `output` the
/// batches. What two steps share and neither makes, such as a position, is in `model`. Across the flow lie `config` (data
/// that everything may read) and `status` (the handles that everything counts with); they know no step. What needs several
/// steps at once, such as compiling the configuration, is wiring.
const RULES: &[Rule] = &[
    rule(&["model"], &[]),
    rule(&["memory", "proxy", "signals", "threads"], &[]),
    rule(&["config"], &["model"]),
    rule(&["logging"], &["config"]),
    rule(&["status"], &["model", "config"]),
    rule(&["decode"], &["model", "config", "status"]),
    rule(&["batch"], &["model", "config", "status", "memory"]),
    rule(&["pipeline"], &["model", "config", "status", "batch"]),
    // What is asked of the Kubernetes API is what the rules read.
    rule(&["source"], &["model", "config", "status", "proxy", "pipeline"]),
    rule(&["output"], &["model", "config", "status", "batch", "memory", "proxy"]),
    rule(&["checkpoint"], &["model", "config", "status"]),
    rule(&["tail"], &["model", "config", "status", "memory", "source", "decode", "pipeline", "batch", "checkpoint"]),
    rule(&["metrics"], &["status", "source", "output", "checkpoint", "tail"]),
    // The wiring of the program.
    rule(
        &["compiled", "reader_side", "sender_side", "standby"],
        &[
            "model",
            "config",
            "status",
            "memory",
            "proxy",
            "signals",
            "threads",
            "logging",
            "source",
            "decode",
            "pipeline",
            "batch",
            "output",
            "checkpoint",
            "tail",
            "metrics",
        ],
    ),
    rule(
        &["run"],
        &[
            "model",
            "config",
            "status",
            "memory",
            "signals",
            "threads",
            "logging",
            "source",
            "pipeline",
            "batch",
            "output",
            "checkpoint",
            "tail",
            "metrics",
            "compiled",
            "reader_side",
            "sender_side",
            "standby",
        ],
    ),
    // The other commands: they may look into everything.
    rule(
        &["admin", "main", "lib"],
        &[
            "model",
            "config",
            "status",
            "memory",
            "logging",
            "source",
            "decode",
            "pipeline",
            "batch",
            "output",
            "checkpoint",
            "tail",
            "metrics",
            "proxy",
            "threads",
            "run",
            "compiled",
        ],
    ),
];

/// Checks the collector's imports and every file's length.
pub fn run() -> anyhow::Result<Report> {
    let root = process::workspace_root();
    let mut failed = Vec::new();
    let imports = imports_of(&root.join("collector/src"))?;
    failed.extend(imports.iter().filter_map(Import::objection));
    let files = rust_files(&root)?;
    for file in &files {
        let lines = fs::read_to_string(file).with_context(|| file.display().to_string())?.lines().count();
        if lines > LINES_MAX {
            let file = file.strip_prefix(&root).unwrap_or(file);
            failed.push(format!(
                "layering: {}: {lines} lines; more than {LINES_MAX} want to be two files",
                file.display()
            ));
        }
    }
    println!("{} imports between parts of the collector, {} files", imports.len(), files.len());
    Ok(Report::of_checks(usize::from(failed.is_empty()), failed))
}

/// One part's import of another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Import {
    from: String,
    to: String,
    /// File and line, from collector/src.
    place: String,
}

impl Import {
    /// Why it may not be.
    fn objection(&self) -> Option<String> {
        let Self { from, to, place } = self;
        let Some(rule) = RULES.iter().find(|rule| rule.parts.contains(&from.as_str())) else {
            return Some(format!(
                "layering: {place}: no rule for the part {from}; give it a row in xtask/src/test/layering.rs"
            ));
        };
        let allowed = rule.parts.iter().chain(rule.may_import).any(|part| part == to);
        (!allowed).then(|| {
            format!("layering: {place}: {from} may not import {to} (it may import {})", rule.may_import.join(", "))
        })
    }
}

/// All imports between parts, tests excluded.
fn imports_of(source: &Path) -> anyhow::Result<BTreeSet<Import>> {
    let mut imports = BTreeSet::new();
    // The parts are what the crate's root declares: `crate::name` may also be an item of the root itself.
    let root = fs::read_to_string(source.join("lib.rs")).context("collector/src/lib.rs")?;
    let parts: BTreeSet<String> = scan::scan(&root, &[]).modules.into_iter().map(|module| module.name).collect();
    let mut waiting: Vec<Vec<String>> = parts.iter().map(|part| vec![part.clone()]).collect();
    while let Some(module) = waiting.pop() {
        let Some(file) = file_of(source, &module) else { continue };
        let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let found = scan::scan(&text, &module);
        for path in found.paths {
            if path.part != module[0] && parts.contains(&path.part) {
                let file = file.strip_prefix(source).unwrap_or(&file).display();
                let place = format!("collector/src/{file}:{}", path.line);
                imports.insert(Import { from: module[0].clone(), to: path.part, place });
            }
        }
        waiting.extend(found.modules.into_iter().map(|found| [found.within, vec![found.name]].concat()));
    }
    Ok(imports)
}

/// `a/b.rs` or `a/b/mod.rs`; none where the module has a `#[path]` of its own.
fn file_of(source: &Path, module: &[String]) -> Option<PathBuf> {
    let path: PathBuf = source.join(module.iter().collect::<PathBuf>());
    [path.with_extension("rs"), path.join("mod.rs")].into_iter().find(|file| file.is_file())
}

/// Every Rust file of the repository.
fn rust_files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            if !NOT_OURS.iter().any(|name| entry.file_name() == *name) {
                files.extend(rust_files(&path)?);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn import(from: &str, to: &str) -> Option<String> {
        Import { from: from.into(), to: to.into(), place: "x.rs:1".into() }.objection()
    }

    #[test]
    fn a_row_names_only_parts_of_rows_above_it_so_that_no_circle_is_allowed() {
        let mut above: Vec<&str> = Vec::new();
        for rule in RULES {
            for part in rule.may_import {
                assert!(above.contains(part), "{:?} names {part}, which is not above it", rule.parts);
            }
            above.extend(rule.parts);
        }
    }

    #[test]
    fn an_import_against_the_data_flow_is_found_and_one_along_it_is_not() {
        assert!(import("tail", "decode").is_none() && import("output", "batch").is_none());
        assert!(import("decode", "tail").unwrap().contains("decode may not import tail"));
        assert!(import("config", "pipeline").is_some() && import("batch", "output").is_some());
        assert!(import("model", "config").is_some());
        assert!(import("utils", "model").unwrap().contains("no rule for the part utils"));
    }

    #[test]
    fn imports_are_found_through_the_files_that_modules_name_and_not_in_tests() {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("lib.rs", "pub mod model;\npub mod tail;\npub mod config;\n");
        write("model.rs", "use crate::VERSION;\n");
        write("config.rs", "");
        write("tail/mod.rs", "mod read;\n#[cfg(test)]\nmod tests;\nuse crate::{model, VERSION};\n");
        write("tail/read.rs", "//! Text.\nfn x() -> super::super::config::X { crate::tail::y() }\n");
        write("tail/tests.rs", "use crate::output;\n");
        let found: Vec<_> = imports_of(folder.path()).unwrap().into_iter().collect();
        let expected = |to: &str, place: &str| Import { from: "tail".into(), to: to.into(), place: place.into() };
        let places = ["collector/src/tail/read.rs:2", "collector/src/tail/mod.rs:4"];
        assert_eq!(found, [expected("config", places[0]), expected("model", places[1])]);
    }
}
