//! From folders to containers: scans, and their files taken over.

use std::{
    collections::HashSet,
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::fs::FileType;

use super::{
    State, Tailer,
    apart::{self, Left},
    local, survey,
};
use crate::{
    config::StartAt,
    model::PodName,
    model::UnitId,
    status::Reason,
    tail::chain::{self, FolderWatch, Listing, MergeError, Source, UnknownFile},
    tail::notify::{Signal, Slot},
    tail::read::RangeReader,
};

/// Folders are listed again this often, whatever the watches said.
pub(super) const RESCAN_INTERVAL: Duration = Duration::from_secs(60);

/// The folders of quiet containers, and of pods that are known, are listed only this often.
const THOROUGH_RESCAN_INTERVAL: Duration = Duration::from_secs(300);

/// All folders are listed this often where none can be watched: a pod's logs may be gone some seconds after their last line.
pub(super) const RESCAN_INTERVAL_UNWATCHED: Duration = Duration::from_secs(1);

/// All folders are listed again this often where some of them cannot be watched: as often as the kubelet looks whether a log
/// is to be rotated.
const UNWATCHED_RESCAN_INTERVAL: Duration = Duration::from_secs(10);

/// A file that could not be opened for a reason that may pass, such as an error of the disk, is tried again after this time.
const OPEN_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// Scans in a row before anything is read again, on a node whose folders never stop changing.
const SCANS_MAX: usize = 8;

/// What a watched folder is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Folder {
    /// The folder of all pods.
    Pods,
    /// A pod's folder, by its name.
    Pod(String),
    /// A container's folder, or one in which its files lie.
    Container(UnitId),
}

/// Lists a folder that is open; what it calls with a path watches that folder, too.
type List<T> = fn(&local::Folder, &mut dyn FnMut(&Path)) -> io::Result<T>;

impl<R: RangeReader> Tailer<R> {
    /// Looks at the folders that changed, at all of them from time to time.
    ///
    /// Until no more changes are detected: a folder that changes while it is listed can hide a file, such as one that
    /// is being compressed, and a newer file must not be read before it.
    pub(super) fn follow_folders(&mut self) {
        for _ in 0..SCANS_MAX {
            if !self.follow_changes() {
                return;
            }
        }
    }

    /// Scans what changed since the last call; returns whether anything did.
    fn follow_changes(&mut self) -> bool {
        let now = Instant::now();
        let mut changed = Vec::new();
        if let Err(error) = self.watcher.drain(&mut changed) {
            if let Some(more) = self.state.throttles.folder_changes.permit() {
                tracing::warn!(%error, more, "cannot read which folders changed; scanning all of them");
            }
            changed.push(FolderWatch::Everything);
        }
        if changed.contains(&FolderWatch::Everything) {
            self.state.due.rescan = now;
            self.state.due.thorough_rescan = now;
        }
        let is_due = now >= self.state.due.rescan;
        let any = is_due || !changed.is_empty();
        if is_due {
            self.scan_everything(now);
        }
        // Also then: it passes over the folders of quiet containers and of known pods.
        for change in changed {
            match change {
                FolderWatch::Folder(Folder::Pods) => {
                    self.scan_pods(true);
                }
                FolderWatch::Folder(Folder::Pod(name)) => self.scan_pod(&name),
                FolderWatch::Folder(Folder::Container(id)) => self.scan_container(id),
                FolderWatch::Everything => {}
            }
        }
        any
    }

    fn scan_everything(&mut self, now: Instant) {
        let due = &mut self.state.due;
        due.rescan = now + due.rescan_interval;
        let is_thorough = now >= due.thorough_rescan || due.rescan_interval < RESCAN_INTERVAL;
        if is_thorough {
            due.thorough_rescan = now + THOROUGH_RESCAN_INTERVAL;
        }
        let units = self.state.units.iter();
        let known: Vec<UnitId> = units.filter(|unit| is_thorough || !unit.is_quiet(now)).map(|unit| unit.id).collect();
        let listed = self.scan_pods(is_thorough);
        for id in known {
            self.scan_container(id);
        }
        self.give_up_vanished(now);
        self.state.remove_done(now);
        self.state.first_scan = false;
        self.state.report_folders();
        if listed {
            self.state.health.first_scan_done();
        }
    }

    /// Lists the folder of all pods, and the folders of those that are new, or of all. Returns whether it could be listed.
    fn scan_pods(&mut self, of_all: bool) -> bool {
        if self.state.stalls.contains(&Folder::Pods) {
            return false;
        }
        let pods = self.state.config.paths.pods.clone();
        let found = self.watch_and(&pods, &Folder::Pods, |folder, _| {
            let names = folder_names(folder)?;
            let wrong = survey::names(folder.path(), &names.folders);
            Ok((names, Pods { wrong, local: folder.if_local() }))
        });
        let (names, found) = match found {
            Ok((names, found)) => (Ok(names), found),
            Err(error) => (Err(error), Pods::default()),
        };
        local::know(&pods, found.local);
        self.state.health.pods_listed(names.is_ok());
        if self.state.survey.note_listed(names.is_ok()) && self.state.throttles.pods_folder.is_over() {
            tracing::info!(folder = %pods.display(), "the folder of pod logs (paths.pods) can be listed now");
        }
        self.stall_if_left(Folder::Pods);
        self.state.survey.note(&Folder::Pods, names.as_ref().err());
        let names = match names {
            Ok(names) => names,
            Err(error) => {
                let is_forbidden = error.kind() == io::ErrorKind::PermissionDenied;
                if !is_forbidden && self.state.throttles.pods_folder.permit().is_some() {
                    tracing::warn!(folder = %pods.display(), %error,
                        "cannot list the folder of pod logs (paths.pods), trying again; {}", survey::fix_of_unlisted(&error));
                }
                self.state.due.rescan = Instant::now() + self.state.config.sweep.interval.0;
                return false;
            }
        };
        self.state.note_links(&names.links);
        self.state.note_unnamed(&names.unnamed);
        self.state.survey.note_names(&names.folders, found.wrong);
        let known: HashSet<String> = match of_all {
            true => HashSet::new(),
            false => self.state.units.iter().filter(|unit| !unit.gone).map(|unit| unit.pod.folder_name()).collect(),
        };
        for name in names.folders.iter().filter(|name| !known.contains(*name)) {
            self.scan_pod(name);
        }
        true
    }

    /// Lists a pod's folder; containers that are new are scanned.
    pub(super) fn scan_pod(&mut self, folder_name: &str) {
        let Some(pod) = PodName::parse(folder_name) else {
            tracing::debug!(name = folder_name, "not the name of a pod's log folder");
            return;
        };
        let folder = self.state.config.paths.pods.join(folder_name);
        let value = Folder::Pod(folder_name.into());
        if self.state.stalls.contains(&value) {
            return;
        }
        let names = self.watch_and(&folder, &value, |folder, _| folder_names(folder));
        self.state.survey.note(&value, names.as_ref().err());
        self.stall_if_left(value);
        // A pod that is gone: its containers are found gone one by one.
        let Ok(names) = names else { return };
        self.state.note_links(&names.links);
        self.state.note_unnamed(&names.unnamed);
        for name in names.folders {
            let known = self.state.units.id_of(&format!("{folder_name}/{name}"));
            // A folder may come back: that of a static pod has the same name each time.
            if known.is_none_or(|id| self.state.units.get(id).is_some_and(|unit| unit.gone)) {
                let id = known.unwrap_or_else(|| self.state.add_container(pod.clone(), name));
                self.scan_container(id);
            }
        }
    }

    /// Lists a container's folder and takes over what is new in it.
    pub(super) fn scan_container(&mut self, id: UnitId) {
        let Some(container) = self.state.units.get_mut(id).filter(|unit| !unit.stalled) else { return };
        let folder = container.folder(&self.state.config.paths.pods);
        if container.exclusion().is_some() {
            container.gone = apart::stat_path(&folder).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
            self.stall_container_if_left(id);
            return;
        }
        let listed = self.watch_and(&folder, &Folder::Container(id), |folder, watch| chain::list(folder, watch));
        if self.stall_container_if_left(id) {
            return;
        }
        self.state.survey.note(&Folder::Container(id), listed.as_ref().err());
        let (listing, gone) = match listed {
            Ok(listing) => (listing, false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => (Listing::default(), true),
            Err(error) => {
                let is_forbidden = error.kind() == io::ErrorKind::PermissionDenied;
                if !is_forbidden && let Some(more) = self.state.throttles.unlisted_folder.permit() {
                    tracing::warn!(folder = %folder.display(), %error, more, "cannot list a container's log folder");
                }
                return;
            }
        };
        self.extend_fingerprints(id);
        self.make_room(false);
        self.state.merge(id, &listing, gone);
        self.adopt(id);
        self.stall_container_if_left(id);
        self.state.queue(id);
    }

    /// Takes newly opened files into the reader and the signal.
    pub(super) fn adopt(&mut self, id: UnitId) {
        let Some(container) = self.state.units.get_mut(id) else { return };
        for chain_file in container.chain.files_mut() {
            match chain_file.replace_source(Source::Closed) {
                Source::Opened(file) => {
                    let slot = self.state.files.slots.take(id);
                    let tracked = self.signal.track(slot, std::os::fd::AsFd::as_fd(&file), chain_file.path());
                    container.is_watched &= tracked.is_ok();
                    if let Err(error) = tracked
                        && let Some(more) = self.state.throttles.untracked_file.permit()
                    {
                        tracing::warn!(path = %chain_file.path().display(), %error, more,
                                "cannot watch a log file; the sweep reads it every few seconds");
                    }
                    self.reader.adopt(slot, file);
                    chain_file.replace_source(Source::Slot(slot));
                }
                other => drop(chain_file.replace_source(other)),
            }
        }
    }

    /// Closes a slot's file.
    pub(super) fn release(&mut self, slot: Slot) {
        self.signal.untrack(slot);
        self.reader.release(slot);
        self.state.files.slots.give_back(slot);
    }

    /// Watches a folder, then lists it, so that nothing falls between the two; `list` is given what watches more of them. On this
    /// thread if it can be done there, else on one that may wait.
    fn watch_and<T: Send + 'static>(&mut self, folder: &Path, value: &Folder, list: List<T>) -> io::Result<T> {
        let adder = self.watcher.adder();
        let here = local::Folder::open_here(folder).and_then(|folder| {
            let watch = adder.add(&folder.path_of_descriptor())?;
            Ok((list(&folder, &mut |_| {})?, watch))
        });
        if let Ok((listed, watch)) = here {
            self.note_watch(folder, Ok(watch), value.clone());
            return Ok(listed);
        }
        let folder = folder.to_owned();
        let (listed, watches) = apart::run(move || {
            let mut watches = Vec::new();
            let mut watch = |folder: &Path| watches.push((folder.to_owned(), adder.add(folder)));
            watch(&folder);
            let listed = local::Folder::open(&folder).and_then(|folder| list(&folder, &mut watch));
            Ok((listed, watches))
        })?;
        for (folder, watch) in watches {
            self.note_watch(&folder, watch, value.clone());
        }
        listed
    }

    fn note_watch(&mut self, folder: &Path, watch: io::Result<chain::Watch>, value: Folder) {
        match watch {
            Ok(watch) => self.watcher.note(watch, value),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                self.state.due.rescan = self.state.due.rescan.min(Instant::now() + UNWATCHED_RESCAN_INTERVAL);
                self.state.due.thorough_rescan = self.state.due.rescan;
                // Then listing it fails as well, and that is reported.
                let is_forbidden = error.kind() == io::ErrorKind::PermissionDenied;
                if !is_forbidden && let Some(more) = self.state.throttles.unwatched_folder.permit() {
                    tracing::warn!(folder = %folder.display(), %error, more,
                        "cannot watch a folder, so all of them are listed every 10 s; \
                         raise the sysctl fs.inotify.max_user_watches");
                }
            }
        }
    }
}

impl State {
    fn add_container(&mut self, pod: PodName, name: String) -> UnitId {
        let id = self.units.add(pod, name, self.limits());
        self.decide_or_wait(id, Instant::now());
        id
    }

    fn merge(&mut self, id: UnitId, listing: &Listing, gone: bool) {
        let Some((container, last_file)) = self.units.with_last_file(id) else { return };
        // "From the end" is meant for what lay there before Pilcrow came, not for what appears while it runs.
        let is_old = self.config.start_at == StartAt::End && self.first_scan && container.is_new;
        let skip = container.resumes_at_end || is_old;
        let unknown = if skip { UnknownFile::End } else { UnknownFile::Beginning };
        let (before, room) = (container.chain.open_files(), self.files.descriptors.room());
        let now = Instant::now();
        let errors = container.chain.merge(&listing.files, unknown, room, last_file, now);
        for lost in container.chain.give_up_unread(now) {
            let pod = &container.pod;
            tracing::error!(namespace = pod.namespace, pod = pod.pod, container = container.name, file = %lost.path.display(),
                lost_bytes = lost.len, "gave up a deleted log file that could not be read for 10 minutes; look at the disk");
            self.metrics.abandoned_bytes.inc_by(lost.len);
            self.metrics.abandoned_files.inc();
        }
        self.files.descriptors.open = self.files.descriptors.open + container.chain.open_files() - before;
        if errors.iter().any(|failed| Left::of(&failed.error).is_some()) {
            // Looked at again when the file system answers.
            container.resumes_at_end = skip;
            return;
        }
        container.resumes_at_end = false;
        container.gone = gone;
        self.note_unopened(id, listing, errors);
        self.note_skipped(&listing.skipped);
    }

    /// Reports files of a container that could not be opened.
    fn note_unopened(&mut self, id: UnitId, listing: &Listing, errors: Vec<MergeError>) {
        let Some(container) = self.units.get_mut(id) else { return };
        // Docker compresses in place: for a moment the file has no beginning yet.
        let is_incomplete = |failed: &MergeError| {
            let listed = listing.files.iter().find(|listed| listed.path == failed.path);
            failed.error.kind() == io::ErrorKind::UnexpectedEof
                && listed.is_some_and(|listed| chain::may_grow(listed.modified_ns))
        };
        let (not_whole, unopened): (Vec<_>, Vec<_>) = errors.into_iter().partition(is_incomplete);
        for MergeError { path, error } in not_whole {
            tracing::debug!(path = %path.display(), %error, "a compressed log file is not whole yet");
        }
        let forbidden = unopened.iter().find(|failed| failed.error.kind() == io::ErrorKind::PermissionDenied);
        if let Some(failed) = forbidden {
            self.survey.note(&Folder::Container(id), Some(&failed.error));
        }
        if unopened.iter().any(MergeError::may_pass) {
            self.due.rescan = self.due.rescan.min(Instant::now() + OPEN_AGAIN_AFTER);
        }
        let count = unopened.len();
        if count > std::mem::replace(&mut container.unopened, count) {
            for MergeError { path, error } in unopened {
                self.metrics.skipped_files.get_or_create(&Reason { reason: "unopened" }).inc();
                if let Some(more) = self.throttles.unopened_file.permit() {
                    tracing::warn!(path = %path.display(), %error, more,
                        "cannot open a log file; trying again at each scan");
                }
            }
        }
    }

    /// Forgets containers whose folder is gone and whose lines Loki has.
    fn remove_done(&mut self, now: Instant) {
        self.selecting.metadata.forget_gone(now);
        let unacknowledged = self.lanes.unacknowledged();
        self.units.remove_if(|unit| {
            // The positions of one that is excluded are all that is known of its files.
            if unit.exclusion().is_none() {
                unit.chain.forget_missing(now);
            }
            let next = unit.next(&unacknowledged);
            let owes = next.iter().any(Option::is_some);
            unit.gone && !unit.queued && !owes && unit.chain.is_done(next)
        });
    }
}

/// What a folder of folders holds.
#[derive(Default)]
struct Names {
    folders: Vec<String>,
    /// Folders whose names are not valid UTF-8.
    unnamed: Vec<PathBuf>,
    /// Links to folders.
    links: Vec<PathBuf>,
}

/// What the folder of all pods is.
#[derive(Default)]
struct Pods {
    /// The verdict on its names.
    wrong: Option<&'static str>,
    /// Open, where its file system is local.
    local: Option<OwnedFd>,
}

fn folder_names(folder: &local::Folder) -> io::Result<Names> {
    let mut names = Names::default();
    folder.each(|name, kind| {
        if kind == FileType::Symlink {
            folder.allow_paths()?;
            let path = folder.path().join(name);
            if path.is_dir() {
                names.links.push(path);
            }
        } else if kind == FileType::Directory {
            match name.to_str() {
                Some(name) => names.folders.push(name.into()),
                None => names.unnamed.push(folder.path().join(name)),
            }
        }
        Ok(())
    })?;
    Ok(names)
}
