//! Docker's containers, where there is no Kubernetes, as folders like the kubelet's.
//!
//! In: Docker's folder, with `ID/config.v2.json` and `ID/hostconfig.json` for each container (moby daemon/container/container.go).
//! Out: `PROJECT_NAME_ID/SERVICE/0.log` in a folder of Pilcrow's own for each container whose log driver is json-file: a link to
//! `ID/ID-json.log`, as the kubelet makes it where Docker runs pods. To the rest of the program it is a pod's. A container keeps
//! the names under which it was first met, also over restarts of Pilcrow. Writes nothing in Docker's folder.

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    os::{fd::OwnedFd, unix::fs::symlink},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::Context;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::inotify::{self, CreateFlags, WatchFlags},
};
use serde::Deserialize;

use crate::{config::read_named_file, model::PodName, status::Throttle};

/// The namespace of containers that belong to no project.
const NO_PROJECT: &str = "docker";

/// inotify tells what changes; this is for file systems of which it does not, and for a folder that is not there yet.
const PERIOD: Duration = Duration::from_secs(5);
/// Docker writes a container's description some milliseconds after it has made the folder, and starts it some 100 ms later.
const PERIOD_OF_NEW: Duration = Duration::from_millis(20);
/// For this long; a folder without a description is none of Docker's containers.
const NEW_TRIES: u32 = 500;

/// That Docker's folder cannot be listed is reported again after this long.
const REMIND_EVERY: Duration = Duration::from_secs(300);

/// A file name has up to 255 bytes: a project, a container's name, its ID of 64, and two that join them.
const PROJECT_BYTES_MAX: usize = 63;
const NAME_BYTES_MAX: usize = 126;

/// See the module.
#[derive(Debug)]
pub struct DockerLinks {
    containers: PathBuf,
    pods: PathBuf,
    /// The pods' folders, by the container's ID.
    linked: HashMap<String, PathBuf>,
    /// Containers that are passed over.
    other: HashSet<String>,
    /// How often a container's description was not there yet, or its link could not be made.
    new: HashMap<String, u32>,
    /// Of Docker's folder; none where there is no inotify.
    changes: Option<OwnedFd>,
    /// Reports that it cannot be listed.
    unlisted: Throttle,
}

impl DockerLinks {
    /// Links the containers of today, then goes on with those of tomorrow on a thread of its own until the program ends.
    ///
    /// # Errors
    /// Where the folder of links, or the thread, cannot be made.
    pub fn start(containers: &Path, pods: &Path) -> anyhow::Result<()> {
        let mut links = Self::open(containers, pods)?;
        links.update();
        let work = move || {
            loop {
                links.wait();
                links.update();
            }
        };
        thread::Builder::new()
            .name("docker".into())
            .spawn(work)
            .context("cannot start a thread for Docker's folder")?;
        Ok(())
    }

    /// With the links of an earlier run, whose containers may be gone.
    fn open(containers: &Path, pods: &Path) -> anyhow::Result<Self> {
        let cannot = || format!("cannot use {} for links to Docker's logs", pods.display());
        fs::create_dir_all(pods).with_context(cannot)?;
        let mut linked = HashMap::new();
        for entry in fs::read_dir(pods).with_context(cannot)? {
            let entry = entry.with_context(cannot)?;
            if let Some(name) = entry.file_name().to_str().and_then(PodName::parse) {
                linked.insert(name.uid, entry.path());
            }
        }
        Ok(Self {
            containers: containers.to_owned(),
            pods: pods.to_owned(),
            linked,
            other: HashSet::new(),
            new: HashMap::new(),
            changes: inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok(),
            unlisted: Throttle::new(REMIND_EVERY),
        })
    }

    /// Until something may have changed.
    fn wait(&self) {
        let is_new = self.new.values().any(|tries| *tries < NEW_TRIES);
        let timeout = if is_new { PERIOD_OF_NEW } else { PERIOD };
        let Some(changes) = &self.changes else { return thread::sleep(timeout) };
        let timeout = Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: timeout.subsec_nanos().into() };
        if poll(&mut [PollFd::new(changes, PollFlags::IN)], Some(&timeout)).is_err() {
            return thread::sleep(PERIOD_OF_NEW);
        }
        let mut events = [0; 4096];
        while rustix::io::read(changes, &mut events).is_ok_and(|len| len > 0) {}
    }

    /// Links what is new, and removes the links of what is gone.
    fn update(&mut self) {
        match self.update_once() {
            Ok(()) if self.unlisted.is_over() => {
                tracing::info!(folder = %self.containers.display(), "Docker's folder can be read again")
            }
            Ok(()) => {}
            Err(error) => {
                if self.unlisted.permit().is_some() {
                    tracing::warn!(folder = %self.containers.display(), %error,
                        "cannot list Docker's containers (paths.docker); run as root, and in a container mount the folder at the \
                         same place, read-only");
                }
            }
        }
    }

    fn update_once(&mut self) -> io::Result<()> {
        if let Some(changes) = &self.changes {
            // Watched before it is listed; again each time, as it may be another folder by now.
            let what = WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::MOVE | WatchFlags::ONLYDIR;
            // Where watches are used up the timeout has to do; a folder that is not there is an error when it is listed.
            let _ = inotify::add_watch(changes, &self.containers, what);
        }
        let mut ids = HashSet::new();
        for entry in fs::read_dir(&self.containers)? {
            ids.extend(entry?.file_name().to_str().filter(|name| is_id(name)).map(str::to_owned));
        }
        self.forget_all_but(&ids);
        for id in ids {
            if !self.linked.contains_key(&id) && !self.other.contains(&id) {
                self.meet(id);
            }
        }
        Ok(())
    }

    /// Removes the links of all other containers. Who reads a log has it open.
    fn forget_all_but(&mut self, ids: &HashSet<String>) {
        self.other.retain(|id| ids.contains(id));
        self.new.retain(|id, _| ids.contains(id));
        self.linked.retain(|id, folder| {
            let stays = ids.contains(id);
            if !stays && let Err(error) = fs::remove_dir_all(&*folder) {
                tracing::warn!(folder = %folder.display(), %error, "cannot remove the link to a removed container's log");
            }
            stays
        });
    }

    /// Links the log of a container that was not linked before.
    fn meet(&mut self, id: String) {
        let Ok((description, host)) = self.describe(&id) else {
            *self.new.entry(id).or_default() += 1;
            return;
        };
        let (container, driver) = (description.name.trim_start_matches('/'), host.log_config.driver.as_str());
        if driver != "json-file" {
            tracing::warn!(
                container,
                driver,
                "passing over a container: its log driver is not json-file, Docker's default, so its lines are in no file that can \
                 be followed"
            );
            self.new.remove(&id);
            self.other.insert(id);
            return;
        }
        let (pod, service) = description.names(&id);
        let folder = self.pods.join(pod.folder_name());
        let log = self.containers.join(&id).join(format!("{id}-json.log"));
        match self.link(&log, &folder, &service) {
            Ok(()) => {
                self.new.remove(&id);
                self.linked.insert(id, folder);
            }
            Err(error) => {
                let tries = self.new.entry(id).or_default();
                *tries += 1;
                if *tries == 1 {
                    tracing::warn!(folder = %folder.display(), %error,
                        "cannot link a container's log, which is not collected; trying again");
                }
            }
        }
    }

    /// An error where Docker has not written both yet.
    fn describe(&self, id: &str) -> io::Result<(Description, Host)> {
        let folder = self.containers.join(id);
        Ok((read(&folder.join("config.v2.json"))?, read(&folder.join("hostconfig.json"))?))
    }

    /// The pod's folder appears with its link in it.
    fn link(&self, log: &Path, pod: &Path, container: &str) -> io::Result<()> {
        let unfinished = self.pods.with_extension("new");
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished)?;
        }
        fs::create_dir_all(unfinished.join(container))?;
        symlink(log, unfinished.join(container).join("0.log"))?;
        fs::rename(unfinished, pod)
    }
}

/// 64 hexadecimal digits.
fn is_id(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn read<T: for<'a> Deserialize<'a>>(path: &Path) -> io::Result<T> {
    Ok(serde_json::from_slice(&read_named_file(path)?)?)
}

/// `config.v2.json`, as far as it is needed.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Description {
    name: String,
    config: ContainerConfig,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ContainerConfig {
    #[serde(default)]
    labels: Option<HashMap<String, String>>,
}

/// `hostconfig.json`, as far as it is needed.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Host {
    log_config: LogConfig,
}

#[derive(Deserialize)]
struct LogConfig {
    #[serde(rename = "Type")]
    driver: String,
}

impl Description {
    /// Project, container and ID as if it were a pod's name; and the service, by Compose's labels or Swarm's.
    fn names(&self, id: &str) -> (PodName, String) {
        let label = |names: [&str; 2]| {
            let labels = self.config.labels.as_ref()?;
            names.iter().find_map(|name| labels.get(*name)).map(String::as_str).filter(|value| !value.is_empty())
        };
        let name = self.name.trim_start_matches('/');
        let project = label(["com.docker.compose.project", "com.docker.stack.namespace"]).unwrap_or(NO_PROJECT);
        let service = label(["com.docker.compose.service", "com.docker.swarm.service.name"]).unwrap_or(name);
        let pod = PodName {
            namespace: plain(project, PROJECT_BYTES_MAX),
            pod: plain(name, NAME_BYTES_MAX),
            uid: id.to_owned(),
        };
        (pod, plain(service, NAME_BYTES_MAX))
    }
}

/// Letters, digits, `-` and `.` as in names of Kubernetes; everything else becomes `-`, also `_`, which joins the names of a
/// pod's folder.
fn plain(name: &str, bytes_max: usize) -> String {
    let plain: String =
        name.chars().take(bytes_max).map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect();
    // No `.` and `..`, and no hidden folder.
    if plain.is_empty() || plain.starts_with('.') { format!("-{plain}") } else { plain }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "772c0ff15196eff58cf5fa8fa3015deba2ed33afc261c3015597ecb4bb4f19d8";
    const COMPOSE: &str =
        r#"{"com.docker.compose.project": "my_shop", "com.docker.compose.service": "web", "x": "../../etc"}"#;

    struct Node {
        folder: tempfile::TempDir,
        links: DockerLinks,
    }

    impl Node {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            fs::create_dir(folder.path().join("containers")).unwrap();
            let links =
                DockerLinks::open(&folder.path().join("containers"), &folder.path().join("state/docker")).unwrap();
            Self { folder, links }
        }

        fn again(&mut self) {
            self.links = DockerLinks::open(&self.links.containers, &self.links.pods).unwrap();
        }

        /// As Docker makes it.
        fn container(&self, id: &str, name: &str, labels: &str, driver: &str) -> PathBuf {
            let folder = self.links.containers.join(id);
            fs::create_dir_all(&folder).unwrap();
            let host = format!(r#"{{"Binds": null, "LogConfig": {{"Type": "{driver}", "Config": {{}}}}}}"#);
            fs::write(folder.join("hostconfig.json"), host).unwrap();
            let config =
                format!(r#"{{"ID": "{id}", "Name": "{name}", "Config": {{"Labels": {labels}}}, "LogPath": ""}}"#);
            fs::write(folder.join("config.v2.json"), config).unwrap();
            folder.join(format!("{id}-json.log"))
        }

        /// Below the folder of links, without the ID.
        fn links(&mut self) -> Vec<(String, PathBuf)> {
            self.links.update();
            let mut found = Vec::new();
            for pod in fs::read_dir(&self.links.pods).unwrap() {
                let pod = pod.unwrap();
                for container in fs::read_dir(pod.path()).unwrap() {
                    let container = container.unwrap();
                    let name = format!("{}/{}", pod.file_name().display(), container.file_name().display());
                    found.push((name, fs::read_link(container.path().join("0.log")).unwrap()));
                }
            }
            found
        }
    }

    #[test]
    fn a_container_is_linked_under_its_project_its_name_and_its_service() {
        let mut node = Node::new();
        assert_eq!(node.links(), []);
        let log = node.container(ID, "/web_1", COMPOSE, "json-file");
        assert_eq!(node.links(), [(format!("my-shop_web-1_{ID}/web"), log)]);
    }

    #[test]
    fn without_labels_the_project_is_docker_and_the_service_is_the_container() {
        let mut node = Node::new();
        let log = node.container(ID, "/web", "null", "json-file");
        assert_eq!(node.links(), [(format!("docker_web_{ID}/web"), log)]);
    }

    #[test]
    fn labels_cannot_lead_out_of_the_folder() {
        let mut node = Node::new();
        let labels = r#"{"com.docker.compose.project": "../..", "com.docker.compose.service": ".."}"#;
        let log = node.container(ID, "/..", labels, "json-file");
        assert_eq!(node.links(), [(format!("-..-.._-.._{ID}/-.."), log)]);
        let long = "x".repeat(300);
        let other = ID.replace('7', "8");
        let labels = format!(r#"{{"com.docker.compose.project": "{long}", "com.docker.compose.service": "{long}"}}"#);
        node.container(&other, &format!("/{long}"), &labels, "json-file");
        assert_eq!(node.links().len(), 2);
    }

    #[test]
    fn a_removed_containers_link_goes_also_where_nothing_ran_meanwhile() {
        let mut node = Node::new();
        node.container(ID, "/web", "{}", "json-file");
        let other = ID.replace('7', "8");
        node.container(&other, "/db", "{}", "json-file");
        assert_eq!(node.links().len(), 2);
        fs::remove_dir_all(node.links.containers.join(ID)).unwrap();
        assert_eq!(node.links().len(), 1);
        fs::remove_dir_all(node.links.containers.join(&other)).unwrap();
        node.again();
        assert_eq!(node.links(), []);
    }

    #[test]
    fn a_container_keeps_its_names_when_it_is_renamed() {
        let mut node = Node::new();
        let log = node.container(ID, "/web", "{}", "json-file");
        let expected = [(format!("docker_web_{ID}/web"), log)];
        assert_eq!(node.links(), expected);
        node.container(ID, "/shop", "{}", "json-file");
        node.again();
        assert_eq!(node.links(), expected);
    }

    #[test]
    fn a_container_that_is_being_made_is_linked_when_its_description_is_whole() {
        let mut node = Node::new();
        let log = node.container(ID, "/web", "{}", "json-file");
        let description = log.with_file_name("config.v2.json");
        let text = fs::read(&description).unwrap();
        fs::write(&description, &text[..9]).unwrap();
        assert_eq!(node.links(), []);
        fs::write(&description, text).unwrap();
        assert_eq!(node.links().len(), 1);
    }

    #[test]
    fn containers_are_linked_also_where_dockers_folder_cannot_be_watched() {
        let mut node = Node::new();
        // Any call of inotify fails with it, as with a watch too many.
        node.links.changes = Some(fs::File::open("/dev/null").unwrap().into());
        node.container(ID, "/web", "{}", "json-file");
        assert_eq!(node.links().len(), 1);
    }

    #[test]
    fn other_log_drivers_and_other_folders_are_passed_over() {
        let mut node = Node::new();
        node.container(ID, "/web", "{}", "journald");
        fs::create_dir(node.links.containers.join("lost+found")).unwrap();
        assert_eq!(node.links(), []);
        assert_eq!(node.links.other.len(), 1);
    }

    #[test]
    fn links_stay_while_dockers_folder_cannot_be_listed() {
        let mut node = Node::new();
        node.container(ID, "/web", "{}", "json-file");
        assert_eq!(node.links().len(), 1);
        let away = node.folder.path().join("away");
        fs::rename(&node.links.containers, &away).unwrap();
        assert_eq!(node.links().len(), 1);
        fs::rename(away, &node.links.containers).unwrap();
        assert_eq!(node.links().len(), 1);
    }
}
