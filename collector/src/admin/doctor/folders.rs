//! Whether the folders are there: the kubelet's can be read, Pilcrow's own can be written to.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rustix::fs::{Access, access, statfs, statvfs};

use super::Finding;
use crate::{config::Config, model::PodName, tail::survey};

/// Positions of 10,000 files and the copy that replaces them take some MiB.
const FREE_BYTES_WANTED: u64 = 16 << 20;
/// How many log files are opened to see whether one may.
const FILES_TRIED: usize = 100;

pub(super) fn examine(config: &Config) -> Vec<Finding> {
    let paths = &config.paths;
    let mut findings = paths.docker().map_or_else(|| pods(&paths.pods), |folder| vec![docker(folder)]);
    findings.extend(exclusions(config));
    findings.push(state(&paths.state));
    findings.extend(free_space(&paths.state));
    findings
}

fn pods(folder: &Path) -> Vec<Finding> {
    let shown = folder.display();
    match fs::read_dir(folder) {
        Ok(entries) => {
            let folders = entries.flatten().filter(|entry| entry.path().is_dir());
            let names: Vec<_> = folders.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
            if let Some(wrong) = survey::names(folder, &names) {
                let found = format!("no logs in {shown}: {wrong}");
                let fix = "set paths.pods, or mount the node's /var/log/pods there";
                let is_empty = survey::is_empty(wrong);
                let finding = if is_empty { Finding::warn } else { Finding::fail };
                return vec![finding("folders", "pods", found, fix)];
            }
        }
        Err(error) => {
            let found = match error.kind() {
                io::ErrorKind::NotFound => format!("{shown} does not exist"),
                _ => format!("{shown} cannot be read: {error}"),
            };
            return vec![Finding::fail("folders", "pods", found, survey::fix_of_unlisted(&error))];
        }
    }
    let kind = file_system(folder);
    let folder_finding = match kind {
        Some("nfs" | "cifs" | "fuse") => Finding::warn(
            "folders",
            "pods",
            format!("{shown}, on {}", kind.unwrap_or_default()),
            "writes from other machines are seen by neither eBPF nor inotify, only by the sweep (sweep.interval)",
        ),
        Some(kind) => Finding::ok("folders", "pods", format!("{shown}, on {kind}")),
        None => Finding::ok("folders", "pods", format!("{shown}")),
    };
    vec![folder_finding, logs(folder)]
}

/// Docker's folder, where that is collected from.
fn docker(folder: &Path) -> Finding {
    let shown = folder.display();
    let found = fs::read_dir(folder).and_then(|entries| {
        let folders = entries.flatten().filter(|entry| entry.path().is_dir());
        folders.map(|entry| fs::read_dir(entry.path()).map(drop)).collect::<io::Result<Vec<_>>>()
    });
    match found {
        Ok(containers) => {
            Finding::ok("folders", "docker", format!("{shown}, with the folders of {} containers", containers.len()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Finding::fail(
            "folders",
            "docker",
            format!("{shown} does not exist"),
            "set paths.docker to the folder containers in Docker's root (docker info --format '{{.DockerRootDir}}'); in a container \
             mount it at the same place, read-only",
        ),
        Err(error) => {
            Finding::fail("folders", "docker", format!("{shown} cannot be read: {error}"), survey::PERMISSIONS)
        }
    }
}

/// Opens some log files: they are mode 0640 and root's, and docker's are links to another folder.
fn logs(pods: &Path) -> Finding {
    if let Some(finding) = not_listed(pods) {
        return finding;
    }
    let mut opened = 0;
    for file in log_files(pods).take(FILES_TRIED) {
        match fs::File::open(&file) {
            Ok(_) => opened += 1,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // A pod may have gone in between; a link that leads nowhere stays.
                let Ok(target) = fs::read_link(&file) else { continue };
                let found = format!("{} is a link to {}, which does not exist here", file.display(), target.display());
                let fix = "mount the host's /var/lib/docker/containers at the same place, read-only";
                return Finding::fail("folders", "logs", found, fix);
            }
            Err(error) => {
                let found = format!("{} cannot be opened: {error}", file.display());
                return Finding::fail("folders", "logs", found, survey::PERMISSIONS);
            }
        }
    }
    match opened {
        0 => Finding::ok("folders", "logs", "there are none yet"),
        1 => Finding::ok("folders", "logs", "one log file, which can be opened"),
        FILES_TRIED => Finding::ok("folders", "logs", format!("{FILES_TRIED} log files or more, which can be opened")),
        n => Finding::ok("folders", "logs", format!("{n} log files, which can be opened")),
    }
}

/// The first folder of a pod or container that is a link or may not be read.
fn not_listed(pods: &Path) -> Option<Finding> {
    let folders = |folder: &Path| {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect::<Vec<_>>()
    };
    for pod in folders(pods) {
        for folder in std::iter::once(pod.clone()).chain(folders(&pod)) {
            let shown = folder.display();
            if folder.is_symlink() {
                let found = format!("{shown} is a link, which is not followed");
                return Some(Finding::warn("folders", "logs", found, survey::LINKED));
            }
            if let Err(error) = fs::read_dir(&folder)
                && error.kind() != io::ErrorKind::NotFound
            {
                let found = format!("{shown} cannot be read: {error}");
                return Some(Finding::fail("folders", "logs", found, survey::PERMISSIONS));
            }
        }
    }
    None
}

/// Whether a container of some namespace that is collected is there.
fn exclusions(config: &Config) -> Option<Finding> {
    let entries = fs::read_dir(&config.paths.pods).into_iter().flatten().flatten();
    let names: Vec<_> = entries.filter_map(|entry| PodName::parse(entry.file_name().to_str()?)).collect();
    let is_collected = |pod: &PodName| config.kubernetes.namespaces.contain(&pod.namespace);
    (!names.is_empty() && !names.iter().any(is_collected)).then(|| {
        let found = format!("kubernetes.namespaces excludes all {} pods of this node", names.len());
        Finding::fail("folders", "exclusions", found, "name the namespaces that are to be collected")
    })
}

/// POD/CONTAINER/N.log
fn log_files(pods: &Path) -> impl Iterator<Item = PathBuf> {
    fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
    }
    entries(pods)
        .flat_map(|pod| entries(&pod))
        .flat_map(|container| entries(&container))
        .filter(|file| file.extension().is_some_and(|extension| extension == "log"))
}

fn state(folder: &Path) -> Finding {
    let shown = folder.display();
    // Pilcrow collects all the same.
    let fix = "make it writable, or set paths.state (in a container, mount a hostPath folder there): without saved \
                positions every restart sends again what is on the disk";
    if !folder.exists() {
        let parent = existing_parent(folder);
        return match access(parent, Access::WRITE_OK | Access::EXEC_OK) {
            Ok(()) => Finding::ok("folders", "state", format!("{shown} does not exist yet and can be made")),
            Err(error) => {
                let found = format!("{shown} does not exist and cannot be made: {}: {error}", parent.display());
                Finding::warn("folders", "state", found, fix)
            }
        };
    }
    // A file is made, as permissions alone do not tell of read-only mounts, quotas and LSMs. Its name is none that the
    // running Pilcrow uses.
    let trial = folder.join(format!(".doctor-{}", std::process::id()));
    match fs::write(&trial, b"").and_then(|()| fs::remove_file(&trial)) {
        Ok(()) => Finding::ok("folders", "state", format!("{shown} is writable")),
        Err(error) => Finding::warn("folders", "state", format!("{shown} is not writable: {error}"), fix),
    }
}

fn free_space(state: &Path) -> Option<Finding> {
    let stat = statvfs(existing_parent(state)).ok()?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let found = format!("{} MiB free for {}", free >> 20, state.display());
    // Some file systems count no inodes and say 0 of 0.
    if stat.f_files > 0 && stat.f_favail == 0 {
        return Some(Finding::warn("folders", "space", format!("{found}, but no inode"), "remove some files there"));
    }
    Some(if free < FREE_BYTES_WANTED {
        Finding::warn("folders", "space", found, "make room: positions that cannot be saved are lines sent twice later")
    } else {
        Finding::ok("folders", "space", found)
    })
}

/// The folder itself, or the nearest one above it that exists.
fn existing_parent(folder: &Path) -> &Path {
    folder.ancestors().find(|path| path.exists()).unwrap_or(Path::new("."))
}

/// By the magic number of statfs(2).
fn file_system(path: &Path) -> Option<&'static str> {
    let magic = statfs(path).ok()?.f_type as u64 & 0xffff_ffff;
    Some(match magic {
        0xef53 => "ext4",
        0x9123_683e => "btrfs",
        0x5846_5342 => "xfs",
        0xf2f5_2010 => "f2fs",
        0x794c_7630 => "overlay",
        0x0102_1994 => "tmpfs",
        0x2fc1_2fc1 => "zfs",
        0xca45_1a4e => "bcachefs",
        0x6969 => "nfs",
        0xff53_4d42 | 0xfe53_4d42 => "cifs",
        0x6573_5546 => "fuse",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::admin::doctor::Status;

    #[test]
    fn a_missing_pods_folder_fails_with_the_fix() {
        let findings = pods(Path::new("/nonexistent/pods"));
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].status, Status::Fail);
        assert_eq!(findings[0].found, "/nonexistent/pods does not exist");
    }

    #[test]
    fn a_link_of_docker_whose_target_is_not_mounted_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let container = folder.path().join("default_web_1/nginx");
        fs::create_dir_all(&container).unwrap();
        assert_eq!(logs(folder.path()).found, "there are none yet");
        symlink(&container, folder.path().join("default_linked_1")).unwrap();
        assert!(logs(folder.path()).found.ends_with("default_linked_1 is a link, which is not followed"));
        fs::remove_file(folder.path().join("default_linked_1")).unwrap();
        fs::write(container.join("0.log"), "").unwrap();
        assert_eq!(logs(folder.path()).found, "one log file, which can be opened");
        symlink("/var/lib/docker/containers/none.log", container.join("1.log")).unwrap();
        let finding = logs(folder.path());
        assert_eq!(finding.status, Status::Fail);
        assert!(
            finding
                .found
                .ends_with("1.log is a link to /var/lib/docker/containers/none.log, which does not exist here")
        );
    }

    #[test]
    fn the_state_folder_is_tried_and_left_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(state(folder.path()).status, Status::Ok);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        let new = folder.path().join("a/b");
        assert_eq!(state(&new).found, format!("{} does not exist yet and can be made", new.display()));
        assert!(!new.exists());
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        assert_eq!(state(&file).status, Status::Warn);
    }
}
