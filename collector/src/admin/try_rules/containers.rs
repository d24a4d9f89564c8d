//! Which of this node's containers are meant, and where their current logs lie.
//!
//! What the configuration or a pod's annotation leaves out is left out here too, and reported.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use anyhow::bail;

use super::{Origin, Pods, Request};
use crate::{
    config::Config,
    model::PodName,
    source::kubernetes::{PodExclusion, PodMetadata},
    tail::{
        chain::{self, Age},
        local, survey,
    },
};

/// Names that are listed where none matches.
const NAMES_MAX: usize = 10;

/// A container with a log.
pub struct Found {
    pub origin: Origin,
    /// The log that is written to.
    pub file: PathBuf,
}

/// What there is.
#[derive(Default)]
pub struct All {
    pub containers: Vec<Found>,
    /// What else should be known.
    pub notes: Vec<String>,
}

/// Finds the containers that a request means.
///
/// # Errors
/// The folders cannot be read, or there is no such container.
pub fn find(config: &Config, request: &Request, pods: Pods) -> anyhow::Result<All> {
    let root = &config.paths.pods;
    let all_pods = match folders(root) {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::NotFound => bail!(
            "the folder {} (paths.pods) does not exist: run this on a node, or name files: pilcrow try --config FILE app.log",
            root.display()
        ),
        Err(error) => bail!("{} (paths.pods)", unreadable(root, &error)),
    };
    if let Some(wrong) = survey::names(root, &all_pods) {
        bail!("there are no logs in {} (paths.pods): {wrong}", root.display());
    }
    let mut search = Search { config, request, all: All::default(), left_out: BTreeMap::new(), seen: Seen::default() };
    let known = search.known(pods);
    for name in &all_pods {
        if let Some(pod) = PodName::parse(name) {
            search.look_into(&root.join(name), pod, known.as_ref());
        }
    }
    search.end()
}

struct Search<'r> {
    config: &'r Config,
    request: &'r Request,
    all: All,
    /// Containers by why they are left out.
    left_out: BTreeMap<&'static str, u64>,
    seen: Seen,
}

/// What was met on the way, for who finds nothing.
#[derive(Default)]
struct Seen {
    namespaces: BTreeSet<String>,
    pods: BTreeSet<String>,
    containers: BTreeSet<String>,
    unreadable: Vec<String>,
    without_log: u64,
}

impl Search<'_> {
    fn known(&mut self, pods: Pods) -> Option<BTreeMap<Box<str>, PodMetadata>> {
        match pods {
            Ok(pods) => pods.map(|pods| pods.into_iter().map(|pod| (pod.folder.clone(), pod)).collect()),
            Err(why) => {
                let lacks = "what only the Kubernetes API knows, such as the label app, is missing";
                self.all.notes.push(format!("{lacks}: {why}"));
                None
            }
        }
    }

    fn look_into(&mut self, folder: &Path, pod: PodName, known: Option<&BTreeMap<Box<str>, PodMetadata>>) {
        let Request { namespace, pod: wanted, container: wanted_container, .. } = self.request;
        self.seen.namespaces.insert(pod.namespace.clone());
        if namespace.as_ref().is_some_and(|wanted| *wanted != pod.namespace) {
            return;
        }
        self.seen.pods.insert(pod.pod.clone());
        if wanted.as_ref().is_some_and(|wanted| !is_pod(&pod.pod, wanted)) {
            return;
        }
        let containers = match folders(folder) {
            Ok(containers) => containers,
            // It has gone since.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => return self.seen.unreadable.push(unreadable(folder, &error)),
        };
        let metadata = known.and_then(|known| known.get(pod.folder_name().as_str()));
        for container in containers {
            self.seen.containers.insert(container.clone());
            if wanted_container.as_ref().is_some_and(|wanted| *wanted != container) {
                continue;
            }
            if let Some(why) = self.exclusion(&pod, metadata) {
                *self.left_out.entry(why).or_default() += 1;
                continue;
            }
            let folder = folder.join(&container);
            match current_log(&folder) {
                Ok(Some(file)) => {
                    let from_api = metadata.map(|pod| pod.meta.clone()).unwrap_or_default();
                    let origin = Origin { pod: pod.clone(), container, folder, from_api };
                    self.all.containers.push(Found { origin, file });
                }
                Ok(None) => self.seen.without_log += 1,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => self.seen.unreadable.push(unreadable(&folder, &error)),
            }
        }
    }

    fn exclusion(&self, pod: &PodName, metadata: Option<&PodMetadata>) -> Option<&'static str> {
        if !self.config.kubernetes.namespaces.contain(&pod.namespace) {
            return Some("kubernetes.namespaces");
        }
        Some(match metadata?.exclusion? {
            PodExclusion::Annotation => "the annotation pilcrow.dev/exclude",
            PodExclusion::Selector => "kubernetes.pod_selector",
        })
    }

    fn end(mut self) -> anyhow::Result<All> {
        let left_out = self.left_out.iter().map(|(why, n)| format!("{n} by {why}")).collect::<Vec<_>>().join(", ");
        if self.all.containers.is_empty() {
            if let Some(first) = self.seen.unreadable.first() {
                bail!("{first}");
            }
            bail!("{}", self.why_nothing(&left_out));
        }
        if let [first, more @ ..] = &self.seen.unreadable[..] {
            let more = if more.is_empty() { String::new() } else { format!(" ({} more like this)", more.len()) };
            self.all.notes.push(format!("{first}{more}"));
        }
        if !left_out.is_empty() {
            self.all.notes.push(format!("containers that are left out: {left_out}"));
        }
        Ok(self.all)
    }

    fn why_nothing(&self, left_out: &str) -> String {
        let Request { namespace, pod, container, .. } = self.request;
        let list = |what: &str, names: &BTreeSet<String>| {
            let shown: Vec<&str> = names.iter().take(NAMES_MAX).map(String::as_str).collect();
            let more = if names.len() > NAMES_MAX { ", …" } else { "" };
            format!("{what} here: {}{more}", shown.join(", "))
        };
        let flags = [("--namespace", namespace), ("--pod", pod), ("--container", container)];
        let flags: Vec<String> =
            flags.iter().filter_map(|(flag, value)| Some(format!("{flag} {}", value.as_ref()?))).collect();
        let Seen { namespaces, pods, containers, without_log, .. } = &self.seen;
        let why = if !left_out.is_empty() {
            format!("the configuration leaves them out: {left_out}")
        } else if *without_log > 0 {
            format!("{without_log} without a log yet")
        } else if pods.is_empty() {
            list("namespaces", namespaces)
        } else if containers.is_empty() {
            list("pods", pods)
        } else {
            list("containers", containers)
        };
        match &flags[..] {
            [] => format!("no container in {} has a log to try: {why}", self.config.paths.pods.display()),
            flags => format!("no container with a log matches {}; {why}", flags.join(" ")),
        }
    }
}

/// Whether a pod is meant: by its name, or by how that begins, up to a dash.
fn is_pod(name: &str, wanted: &str) -> bool {
    name.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('-') || wanted.ends_with('-'))
}

/// The names of the folders in a folder, sorted; links are not followed, as the collector does not.
fn folders(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            names.extend(entry.file_name().into_string().ok());
        }
    }
    names.sort();
    Ok(names)
}

/// The file of the last restart that is written to.
fn current_log(folder: &Path) -> io::Result<Option<PathBuf>> {
    let files = chain::list(&local::Folder::open(folder)?, |_| {})?.files.into_iter();
    let live = files.filter(|file| file.name.age == Age::Live).max_by_key(|file| file.name.restart);
    Ok(live.map(|file| file.path))
}

/// What a folder's permissions are, and what would be right.
fn unreadable(folder: &Path, error: &io::Error) -> String {
    let shown = folder.display();
    if error.kind() != io::ErrorKind::PermissionDenied {
        return format!("cannot read the folder {shown}: {error}");
    }
    let has = match fs::symlink_metadata(folder) {
        Ok(metadata) => {
            let (mode, user, group) = (metadata.mode() & 0o7777, metadata.uid(), metadata.gid());
            format!(" (mode {mode:04o}, user {user}, group {group})")
        }
        Err(_) => String::new(),
    };
    format!("cannot read the folder {shown}{has}: {error}; {}", survey::PERMISSIONS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_meant_by_its_name_or_by_how_that_begins() {
        for (name, wanted, is_meant) in [
            ("web-7f9c6-x2x7k", "web-7f9c6-x2x7k", true),
            ("web-7f9c6-x2x7k", "web", true),
            ("web-7f9c6-x2x7k", "web-", true),
            ("website-1", "web", false),
            ("web", "web-1", false),
        ] {
            assert_eq!(is_pod(name, wanted), is_meant, "{name} {wanted}");
        }
    }
}
