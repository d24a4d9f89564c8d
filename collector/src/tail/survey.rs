//! Whether the folders of logs are what they should be: readable, pods' folders, and not all of them excluded.
//!
//! In: what scans found. Out: one verdict for /ready and the log, which says when it changes; [`names`] is for `doctor`, too.

use std::{
    collections::{BTreeSet, HashSet},
    fs, io,
    path::Path,
    time::{Duration, Instant},
};

use super::{State, Unit, folders::Folder, passed_over::PassedOver};
use crate::{model::PodName, status::Folders};

/// What to do where the permissions are missing.
pub const PERMISSIONS: &str = "run as root, or give CAP_DAC_READ_SEARCH (in Kubernetes: securityContext.runAsUser: 0)";

/// What to do where the folder of pods cannot be listed.
#[must_use]
pub fn fix_of_unlisted(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => {
            "is this a Kubernetes node? In a container, mount the host's /var/log there; for Docker without Kubernetes set paths.docker"
        }
        io::ErrorKind::NotADirectory => "it is no folder; set paths.pods to the node's /var/log/pods",
        io::ErrorKind::PermissionDenied => PERMISSIONS,
        _ => "set paths.pods to the node's /var/log/pods",
    }
}

/// What to do about a folder that is a link.
pub const LINKED: &str = "mount the folder itself there (mount --bind), or have paths.pods lead to where it lies";

/// A verdict that comes and goes is logged no more often.
const SAY_AGAIN_AFTER: Duration = Duration::from_secs(60);

const EMPTY: &str = "it is empty: no pod has logged here yet, or it is not the node's /var/log/pods";

/// What was found since the start.
#[derive(Debug, Default)]
pub struct Survey {
    /// Folders that may not be read, or that have files which may not.
    forbidden: HashSet<Folder>,
    pub(super) passed_over: PassedOver,
    /// What is wrong with all names in the folder of pods together.
    pods: Option<&'static str>,
    said: Folders,
    /// What was said within [`SAY_AGAIN_AFTER`].
    lately: Vec<(Folders, Instant)>,
    /// Logs could be collected at some time.
    was_good: bool,
    /// How many containers were found is said once.
    said_found: bool,
    /// The folder of pods could not be listed.
    unlisted: bool,
}

impl Survey {
    /// Notes whether a folder, or a file in it, may not be read.
    pub fn note(&mut self, folder: &Folder, error: Option<&io::Error>) {
        match error {
            Some(error) if error.kind() == io::ErrorKind::PermissionDenied => self.forbidden.insert(folder.clone()),
            _ => self.forbidden.remove(folder),
        };
    }

    /// Notes whether the folder of pods could be listed; returns whether it could not before.
    pub fn note_listed(&mut self, listed: bool) -> bool {
        std::mem::replace(&mut self.unlisted, !listed) && listed
    }

    /// Whether the last listing of the folder of pods was that of a node: it holds pods. An empty one may be mounted over later.
    pub fn knows_pods(&self) -> bool {
        !self.unlisted && self.pods.is_none()
    }

    /// Whether a verdict is logged now. One that is not is tried again at the next scan.
    fn may_say(&mut self, found: &Folders, now: Instant) -> bool {
        self.lately.retain(|(_, at)| now.saturating_duration_since(*at) < SAY_AGAIN_AFTER);
        let is_news = self.lately.iter().all(|(said, _)| said != found);
        if is_news {
            self.lately.push((found.clone(), now));
        }
        is_news
    }

    /// Notes what the folder of pods holds; `wrong`: the verdict of [`names`].
    pub fn note_names(&mut self, names: &[String], wrong: Option<&'static str>) {
        self.pods = wrong;
        self.forbidden.retain(|folder| !matches!(folder, Folder::Pod(name) if !names.contains(name)));
    }
}

/// What is wrong with a folder of pods that holds these folders; `None`: some are pods'. Looks into those that are none.
pub fn names(folder: &Path, names: &[String]) -> Option<&'static str> {
    if names.iter().any(|name| PodName::parse(name).is_some()) {
        return None;
    }
    if names.is_empty() {
        return Some(EMPTY);
    }
    let is_dockers = |folder: &Path, id: &str| folder.join(id).join(format!("{id}-json.log")).exists();
    let below = |name: &str, is_such: &dyn Fn(&Path, &str) -> bool| {
        let folder = folder.join(name);
        let mut entries = fs::read_dir(&folder).into_iter().flatten().flatten();
        names.iter().any(|known| known == name)
            && entries.any(|entry| entry.file_name().to_str().is_some_and(|name| is_such(&folder, name)))
    };
    Some(if names.iter().any(|id| is_dockers(folder, id)) {
        "it holds Docker's containers, not pods: for Kubernetes it is /var/log/pods, whose links lead to Docker's logs; for Docker \
         without Kubernetes set paths.docker to it"
    } else if below("containers", &is_dockers) {
        "it is Docker's root, not the folder of pods: for Kubernetes that is /var/log/pods; for Docker without Kubernetes set \
         paths.docker to the folder containers in it"
    } else if below("pods", &|_, name| PodName::parse(name).is_some()) {
        "the log folders of pods are in its folder pods: that is the one"
    } else {
        "nothing in it is the log folder of a pod (NAMESPACE_POD_UID): it should be the node's /var/log/pods"
    })
}

/// Whether a verdict of [`names`] is that of an empty folder.
pub fn is_empty(wrong: &str) -> bool {
    wrong == EMPTY
}

impl State {
    /// Tells what is found, where that has changed.
    pub(super) fn report_folders(&mut self) {
        if self.first_scan {
            return;
        }
        self.report_found();
        let units = &self.units;
        self.survey.forbidden.retain(|folder| match folder {
            Folder::Container(id) => units.get(*id).is_some(),
            Folder::Pods | Folder::Pod(_) => true,
        });
        // That the folder cannot be listed was reported where it was tried: nothing is known of what is in it.
        if self.survey.unlisted && !self.survey.forbidden.contains(&Folder::Pods) {
            self.survey.said = Folders::Good;
            self.health.folders(Folders::Good);
            return;
        }
        let found = self.verdict();
        let was_good = self.survey.was_good;
        self.survey.was_good |= found == Folders::Good;
        self.health.folders(found.clone());
        if found == self.survey.said || !self.survey.may_say(&found, Instant::now()) {
            return;
        }
        match &found {
            Folders::Good if was_good => {
                tracing::info!("the folders of logs can be read again and hold logs to be collected");
            }
            Folders::Good => tracing::info!("the folders of logs can be read and hold logs to be collected"),
            Folders::Doubtful(why) | Folders::Useless(why) => tracing::warn!("{why}"),
        }
        self.survey.said = found;
    }

    /// Says once how many containers there are: when it is decided which of them are collected.
    fn report_found(&mut self) {
        if self.survey.said_found {
            return;
        }
        let (all, excluded) =
            (self.units.iter().count(), self.units.iter().filter(|unit| unit.exclusion().is_some()).count());
        if all == 0 || self.selecting.metadata.wait_ends().is_some() {
            return;
        }
        self.survey.said_found = true;
        let (word, waiting) = (
            if all == 1 { "container" } else { "containers" },
            self.units.iter().filter(|unit| unit.is_undecided()).count(),
        );
        let waiting = if waiting > 0 { format!(", {waiting} wait for their pods' metadata") } else { String::new() };
        tracing::info!("found {all} {word} ({excluded} excluded{waiting}) in {}", self.config.paths.pods.display());
    }

    fn name_of(&self, folder: &Folder) -> String {
        match folder {
            Folder::Pods => self.config.paths.pods.display().to_string(),
            Folder::Pod(name) => name.clone(),
            Folder::Container(id) => self
                .units
                .get(*id)
                .map_or_else(String::new, |unit| format!("{}/{}/{}", unit.pod.namespace, unit.pod.pod, unit.name)),
        }
    }

    fn verdict(&self) -> Folders {
        let pods = self.config.paths.pods.display();
        let (forbidden, units) = (&self.survey.forbidden, &self.units);
        if forbidden.contains(&Folder::Pods) {
            return Folders::Useless(format!(
                "no log can be collected: {pods} (paths.pods) may not be read; {PERMISSIONS}"
            ));
        }
        if let Some(docker) = self.config.paths.docker()
            && self.survey.pods.is_some_and(is_empty)
        {
            return Folders::Doubtful(format!(
                "there are no containers to collect from in {} (paths.docker): none was made yet, or none has the log driver json-file",
                docker.display()
            ));
        }
        if let Some(wrong) = self.survey.pods {
            let why = format!("there are no logs in {pods} (paths.pods): {wrong}");
            return if is_empty(wrong) { Folders::Doubtful(why) } else { Folders::Useless(why) };
        }
        if !forbidden.is_empty() {
            let is_read = |unit: &Unit| !forbidden.contains(&Folder::Container(unit.id)) && unit.chain.is_at_hand();
            return if units.iter().any(is_read) {
                let more = forbidden.len() - 1;
                let more = if more > 0 { format!(" and of {more} more") } else { String::new() };
                let first = forbidden.iter().map(|folder| self.name_of(folder)).min().unwrap_or_default();
                Folders::Doubtful(format!("the logs of {first}{more} in {pods} may not be read; {PERMISSIONS}"))
            } else {
                Folders::Useless(format!("no log can be collected: those in {pods} may not be read; {PERMISSIONS}"))
            };
        }
        let mut all = units.iter().peekable();
        if all.peek().is_none() {
            return Folders::Doubtful(format!(
                "there are no containers in {pods} (paths.pods): its pods have not logged yet, or the folders in it are not \
                 those of this node's kubelet"
            ));
        }
        if all.all(|unit| unit.exclusion().is_some()) {
            let rules: BTreeSet<_> = units.iter().filter_map(Unit::exclusion).map(|why| self.setting(why)).collect();
            let rules = rules.into_iter().collect::<Vec<_>>().join("; ");
            return Folders::Doubtful(format!(
                "nothing is collected: every container of this node is excluded by {rules}"
            ));
        }
        Folders::Good
    }
}

#[cfg(test)]
mod tests {
    use std::{
        ffi::OsStr,
        io::Write,
        os::unix::ffi::OsStrExt,
        sync::{Arc, Mutex},
    };

    use super::*;
    use crate::{
        checkpoint::Unclaimed,
        compiled::Compiled,
        status::Reason,
        tail::{Tailer, read::PreadReader, rig},
    };

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(line)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Scans all folders, and returns what is logged.
    fn scan(tailer: &mut Tailer<PreadReader>) -> String {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(subscriber, || {
            tailer.state.due.rescan = Instant::now();
            tailer.follow_folders();
        });
        String::from_utf8(log.0.lock().unwrap().clone()).unwrap()
    }

    fn tailer(pods: &Path) -> Tailer<PreadReader> {
        let mut config = Compiled::parse("", &|_| None).unwrap().config;
        config.paths.pods = pods.into();
        rig::tailer(Compiled::new(config).unwrap(), Unclaimed::default(), PreadReader::new()).0
    }

    #[tokio::test]
    async fn a_folder_of_pods_that_is_missing_is_one_warning_and_nothing_is_said_of_what_is_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let pods = folder.path().join("pods");
        let mut tailer = tailer(&pods);
        let log = scan(&mut tailer);
        assert_eq!(log.matches("WARN").count(), 1, "{log}");
        assert!(log.contains("cannot list the folder of pod logs") && tailer.state.health.notes().is_empty(), "{log}");
        fs::create_dir_all(pods.join("shop_web-1_uid/web")).unwrap();
        fs::write(pods.join("shop_web-1_uid/web/0.log"), "").unwrap();
        let log = scan(&mut tailer);
        assert!(log.contains("can be listed now") && !log.contains("again") && !log.contains("WARN"), "{log}");
    }

    #[tokio::test]
    async fn a_verdict_that_comes_and_goes_is_logged_once_a_minute() {
        let folder = tempfile::tempdir().unwrap();
        let mut tailer = tailer(folder.path());
        let pod = folder.path().join("shop_web-1_uid");
        let mut log = String::new();
        for _ in 0..20 {
            log += &scan(&mut tailer);
            fs::create_dir_all(pod.join("web")).unwrap();
            log += &scan(&mut tailer);
            fs::remove_dir_all(&pod).unwrap();
        }
        assert!(
            log.matches("it is empty").count() == 1 && log.matches("hold logs to be collected").count() <= 2,
            "{log}"
        );
        let survey = &mut tailer.state.survey;
        let (again, now) = (Folders::Doubtful("x".into()), Instant::now());
        assert!(survey.may_say(&again, now) && !survey.may_say(&again, now + SAY_AGAIN_AFTER / 2));
        assert!(survey.may_say(&again, now + SAY_AGAIN_AFTER));
    }

    #[test]
    fn a_folder_that_is_not_that_of_pods_is_told_with_the_one_that_is() {
        let root = tempfile::tempdir().unwrap();
        let verdict = |given: &str| {
            let folder = root.path().join(given);
            let of_folders = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
            let found: Vec<_> = fs::read_dir(&folder).unwrap().flatten().map(of_folders).collect();
            names(&folder, &found).unwrap_or_default()
        };
        for path in ["docker/containers/abc", "docker/overlay2", "log/pods/shop_web-1_uid", "other/x", "none"] {
            fs::create_dir_all(root.path().join(path)).unwrap();
        }
        fs::write(root.path().join("docker/containers/abc/abc-json.log"), "").unwrap();
        for (given, told) in [
            ("docker/containers", "set paths.docker to it"),
            ("docker", "set paths.docker to the folder containers in it"),
            ("log", "in its folder pods"),
            ("log/pods", ""),
            ("other", "nothing in it is the log folder of a pod"),
            ("none", "it is empty"),
        ] {
            assert!(
                verdict(given).contains(told) && verdict(given).is_empty() == told.is_empty(),
                "{given}: {}",
                verdict(given)
            );
        }
    }

    #[tokio::test]
    async fn logs_that_may_not_be_read_are_named() {
        let folder = tempfile::tempdir().unwrap();
        for pod in ["shop_web-1_uid", "shop_web-2_uid", "shop_web-3_uid"] {
            fs::create_dir_all(folder.path().join(pod).join("nginx")).unwrap();
            fs::write(folder.path().join(pod).join("nginx/0.log"), "").unwrap();
        }
        let mut tailer = tailer(folder.path());
        scan(&mut tailer);
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        let id = |pod: &str| tailer.state.units.iter().find(|unit| unit.pod.pod == pod).unwrap().id;
        let (second, third) = (id("web-2"), id("web-3"));
        tailer.state.survey.note(&Folder::Container(third), Some(&denied));
        let named = "the logs of shop/web-3/nginx in ";
        assert!(matches!(tailer.state.verdict(), Folders::Doubtful(why) if why.starts_with(named)));
        tailer.state.survey.note(&Folder::Container(second), Some(&denied));
        let named = "the logs of shop/web-2/nginx and of 1 more in ";
        assert!(matches!(tailer.state.verdict(), Folders::Doubtful(why) if why.starts_with(named)));
    }

    #[tokio::test]
    async fn logs_are_read_again_only_where_they_were_before() {
        let folder = tempfile::tempdir().unwrap();
        let mut tailer = tailer(folder.path());
        assert!(scan(&mut tailer).contains("it is empty"));
        let pod = folder.path().join("shop_web-1_uid/web");
        fs::create_dir_all(&pod).unwrap();
        assert!(scan(&mut tailer).contains("the folders of logs can be read and hold logs to be collected"));
        fs::remove_dir_all(pod.parent().unwrap()).unwrap();
        tailer.state.survey.lately.clear();
        // Found gone by one scan, forgotten by the same or the next.
        let log = scan(&mut tailer) + &scan(&mut tailer);
        assert!(log.contains("WARN"), "{log}");
        fs::create_dir_all(&pod).unwrap();
        assert!(scan(&mut tailer).contains("can be read again"));
    }

    #[tokio::test]
    async fn a_folder_whose_name_is_no_text_is_reported_once_and_counted() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join(OsStr::from_bytes(b"shop_web-\xff_uid"))).unwrap();
        let mut tailer = tailer(folder.path());
        let log = scan(&mut tailer);
        assert!(log.contains("not valid UTF-8") && log.contains(r"shop_web-\xFF_uid"), "{log}");
        assert!(!scan(&mut tailer).contains("UTF-8"));
        let reason = Reason { reason: "invalid_name" };
        assert_eq!(tailer.state.metrics.skipped_files.get_or_create(&reason).get(), 1);
    }

    #[tokio::test]
    async fn a_link_that_comes_and_goes_in_the_place_of_a_log_is_reported_and_counted_once() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("shop_web-1_uid/web/0.log");
        fs::create_dir_all(log.parent().unwrap()).unwrap();
        let mut tailer = tailer(folder.path());
        let mut logged = String::new();
        for _ in 0..3 {
            std::os::unix::fs::symlink("/etc/hostname", &log).unwrap();
            logged += &scan(&mut tailer);
            fs::remove_file(&log).unwrap();
            logged += &scan(&mut tailer);
        }
        assert_eq!(logged.matches("leads elsewhere").count(), 1, "{logged}");
        let reason = Reason { reason: "outside_roots" };
        assert_eq!(tailer.state.metrics.skipped_files.get_or_create(&reason).get(), 1);
    }

    #[test]
    fn a_folder_without_pods_is_told_from_dockers_and_from_an_empty_one() {
        let folder = tempfile::tempdir().unwrap();
        let wrong = |list: &[&str]| names(folder.path(), &list.iter().map(|&name| name.into()).collect::<Vec<_>>());
        assert!(wrong(&[]).is_some_and(is_empty));
        assert_eq!(wrong(&["lost+found", "default_web_1"]), None);
        assert!(wrong(&["a", "b"]).unwrap().starts_with("nothing in it"));
        std::fs::create_dir(folder.path().join("ab12")).unwrap();
        std::fs::write(folder.path().join("ab12/ab12-json.log"), "").unwrap();
        assert!(wrong(&["ab12"]).unwrap().starts_with("it holds Docker's"));
    }
}
