//! `pilcrow import-positions`: goes on where Promtail, the Grafana Agent or Alloy stopped.
//!
//! In: their positions file or the folder that holds it, the pods folder, and what the state folder holds. Out: positions in the state folder, and a
//! sentence for each entry of the file. Guarantees: where it is in doubt what an entry means, lines are sent twice and not
//! left out; what Pilcrow has saved before is replaced only when asked for; nothing is written while Pilcrow runs.
//! It must not know how files are read or sent.

mod container;
mod find;
mod pods;
mod positions;

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use anyhow::{Context, bail};

pub use positions::{Entry, PositionsError, parse};

use self::container::Offset;
use crate::{
    checkpoint::{SavedContainer, Snapshot, Store},
    config::Config,
};

#[derive(Clone, Debug)]
pub struct Request {
    /// A positions file, or a folder: then all of them below it.
    pub file: PathBuf,
    /// Only say what would be done.
    pub dry_run: bool,
    /// Replace positions that Pilcrow has saved itself.
    pub force: bool,
    /// Do nothing where Pilcrow has saved positions before, or where there is not a positions file.
    pub once: bool,
}

/// What became of the entries.
#[derive(Debug, Default)]
struct Plan {
    containers: Vec<SavedContainer>,
    /// One for each file whose position is taken over.
    imported: Vec<String>,
    /// One for each entry that is not.
    skipped: Vec<String>,
}

/// Imports, and says what it did.
///
/// # Errors
/// The positions file or the folders cannot be read or written; Pilcrow runs; there are positions and no `--force`.
pub fn run(config: &Config, request: &Request, out: &mut impl io::Write) -> anyhow::Result<()> {
    let state = &config.paths.state;
    let found = find::files(&request.file)?;
    if found.files.is_empty() {
        if !request.once {
            bail!("{}", found.why_none());
        }
        writeln!(out, "{}: nothing to import.", found.why_none())?;
        return Ok(());
    }
    let cannot_use = || format!("cannot use the state folder {} (paths.state)", state.display());
    // A dry run makes no folder either.
    let store =
        if request.dry_run && !state.exists() { None } else { Some(Store::open(state).with_context(cannot_use)?) };
    let _lock = match store.as_ref().map(Store::lock).transpose().with_context(cannot_use)? {
        Some(None) if request.once => {
            writeln!(out, "Pilcrow runs with the state folder {}: nothing is imported.", state.display())?;
            return Ok(());
        }
        Some(None) => bail!("Pilcrow runs with the state folder {}: stop it first", state.display()),
        lock => lock,
    };
    let (saved, errors) = store.as_ref().map(Store::load).unwrap_or_default();
    if let Some(error) = errors.first() {
        bail!("{error}; remove the file to start again");
    }
    if request.once && !saved.containers.is_empty() {
        writeln!(out, "{} holds positions already: nothing is imported.", state.display())?;
        return Ok(());
    }
    let read = found.read()?;

    let plan = plan(&config.paths.pods, &read.entries)?;
    let known: Vec<_> =
        plan.containers.iter().filter(|new| saved.containers.iter().any(|c| c.name == new.name)).collect();
    if let Some(first) = known.first()
        && !request.force
    {
        bail!(
            "Pilcrow has saved positions of {} of these containers itself ({}): --force replaces them by the imported ones",
            known.len(),
            first.name
        );
    }
    for sentence in plan.imported.iter().chain(&plan.skipped).chain(&read.skipped) {
        writeln!(out, "{sentence}")?;
    }
    let (imported, skipped) = (plan.imported.len(), plan.skipped.len() + read.skipped.len());
    if request.dry_run {
        writeln!(out, "{imported} positions would be imported, {skipped} skipped; nothing is written (--dry-run).")?;
        return Ok(());
    }
    if let Some(store) = store.filter(|_| !plan.containers.is_empty()) {
        store.save(&merged(saved, plan.containers)).with_context(cannot_use)?;
    }
    writeln!(out, "{imported} positions imported into {}, {skipped} skipped.", state.display())?;
    Ok(())
}

/// What the entries mean for the containers whose logs lie in the folder `pods`.
fn plan(pods: &Path, entries: &[(Entry, i64)]) -> anyhow::Result<Plan> {
    let mut plan = Plan::default();
    let mut offsets: HashMap<PathBuf, Offset> = HashMap::new();
    for (entry, saved_at_ns) in entries {
        match file_and_offset(entry) {
            // Several sources of Alloy may read one file: from the one that is furthest behind on, nothing is left out.
            Ok((file, bytes)) => {
                let offset = Offset { bytes, saved_at_ns: *saved_at_ns };
                let least = offsets.entry(file).or_insert(offset);
                if bytes < least.bytes {
                    *least = offset;
                }
            }
            Err(reason) => plan.skipped.push(format!("skipped {}: {reason}", entry.path)),
        }
    }
    for found in pods::find(pods).with_context(|| format!("cannot list {} (paths.pods)", pods.display()))? {
        let wanted = container::take_wanted(&found.chain, &mut offsets);
        if wanted.is_empty() {
            continue;
        }
        let outcome = container::decide(&found.chain, &wanted);
        plan.imported.extend(outcome.imported);
        plan.skipped.extend(outcome.skipped);
        let seen_at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        // Also without files: a container that is known is read from its beginning, whatever `start_at` says.
        plan.containers.push(SavedContainer { name: found.name, seen_at, files: outcome.files });
    }
    let mut others: Vec<_> = offsets.into_keys().collect();
    others.sort();
    let not_ours =
        |file: PathBuf| format!("skipped {}: it is not a container's log in {}", file.display(), pods.display());
    plan.skipped.extend(others.into_iter().map(not_ours));
    Ok(plan)
}

/// The file that an entry names, links resolved, and its offset in bytes; else why it cannot be used.
fn file_and_offset(entry: &Entry) -> Result<(PathBuf, u64), String> {
    if entry.path.starts_with("cursor-") || entry.path.starts_with("journal-") {
        return Err("it is a place in the journal or in an API's stream, not in a file".into());
    }
    if entry.path.ends_with(".gz") || entry.path.ends_with(".z") || entry.path.ends_with(".bz2") {
        return Err("positions in compressed files count lines".into());
    }
    let Ok(offset) = entry.position.parse() else {
        return Err(format!("{:?} is not an offset in bytes", entry.position));
    };
    match fs::canonicalize(&entry.path) {
        Ok(file) => Ok((file, offset)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err("the file is gone".into()),
        Err(error) => Err(error.to_string()),
    }
}

/// What was saved, with the new containers in place of those of the same name.
fn merged(saved: Snapshot, new: Vec<SavedContainer>) -> Snapshot {
    let mut containers = saved.containers;
    containers.retain(|known| new.iter().all(|container| container.name != known.name));
    containers.extend(new);
    Snapshot { containers }
}

#[cfg(test)]
mod tests;
