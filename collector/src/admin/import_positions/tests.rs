//! The command on folders as the kubelet, dockerd and Promtail leave them.

use std::{fs::File, io::Write, os::unix::fs::symlink, time::Duration};

use super::*;
use crate::model::{FileKey, SavedFile};

/// When the positions were saved: 2026-01-02T01:00:00Z.
const SAVED_AT: u64 = 1_767_315_600;

/// A pods folder with one container, a state folder and a positions file.
struct Place {
    dir: tempfile::TempDir,
    config: Config,
    /// Lines of the positions file.
    positions: String,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.paths.pods = dir.path().join("pods");
        config.paths.state = dir.path().join("state");
        let place = Self { dir, config, positions: String::new() };
        fs::create_dir_all(place.container()).unwrap();
        place
    }

    fn container(&self) -> PathBuf {
        self.config.paths.pods.join("default_web-0_6a/web")
    }

    /// Writes a log of the container that begins this many seconds after 2026-01-02T00:00:00Z, of whole lines.
    fn log(&self, name: &str, seconds: u64, lines: u64) -> PathBuf {
        let path = self.container().join(name);
        fs::write(&path, text(seconds, lines)).unwrap();
        path
    }

    fn position(mut self, path: &Path, position: impl std::fmt::Display) -> Self {
        self.positions += &format!("  {}: \"{position}\"\n", path.display());
        self
    }

    fn request(&self) -> Request {
        let file = self.dir.path().join("positions.yaml");
        fs::write(&file, format!("positions:\n{}", self.positions)).unwrap();
        let saved_at = SystemTime::UNIX_EPOCH + Duration::from_secs(SAVED_AT);
        File::options().write(true).open(&file).unwrap().set_modified(saved_at).unwrap();
        Request { file, dry_run: false, force: false, once: false }
    }

    fn import(&self, request: &Request) -> anyhow::Result<String> {
        let mut out = Vec::new();
        run(&self.config, request, &mut out)?;
        Ok(String::from_utf8(out).unwrap().replace(&self.dir.path().display().to_string(), ""))
    }

    fn store(&self) -> Store {
        Store::open(&self.config.paths.state).unwrap()
    }

    /// What is saved of the container: which file, offset and whether it is finished.
    fn saved(&self) -> Vec<(FileKey, u64, bool)> {
        let (snapshot, errors) = self.store().load();
        assert!(errors.is_empty());
        let web = snapshot.containers.into_iter().find(|container| container.name == "default_web-0_6a/web");
        let key = |file: SavedFile| (file.key, file.offset, file.finished);
        web.map(|container| container.files.into_iter().map(key).collect()).unwrap_or_default()
    }
}

fn record(second: u64, stream: &str, tag: &str, text: &str) -> String {
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!("2026-01-02T{hour:02}:{minute:02}:{:02}.5Z {stream} {tag} {text}\n", second % 60)
}

fn text(seconds: u64, lines: u64) -> String {
    (seconds..seconds + lines).map(|second| record(second, "stdout", "F", "a line")).collect()
}

fn key(path: &Path) -> FileKey {
    FileKey::of(&rustix::fs::stat(path).unwrap())
}

/// Of a record that `text` makes.
const RECORD: u64 = 39;

#[test]
fn a_position_at_a_lines_beginning_is_taken_as_it_is() {
    let place = Place::new();
    let log = place.log("0.log", 0, 10);
    let place = place.position(&log, 3 * RECORD);
    let said = place.import(&place.request()).unwrap();
    assert_eq!(
        said,
        "imported /pods/default_web-0_6a/web/0.log at 117\n1 positions imported into /state, 0 skipped.\n"
    );
    assert_eq!(place.saved(), [(key(&log), 117, false)]);
}

#[test]
fn a_position_within_a_line_goes_back_to_where_the_line_begins() {
    let place = Place::new();
    let log = place.log("0.log", 0, 10);
    let place = place.position(&log, 3 * RECORD + 5);
    let said = place.import(&place.request()).unwrap();
    assert!(said.contains("at 117, 5 bytes before the position, where a line begins\n"), "{said}");
    assert_eq!(place.saved(), [(key(&log), 117, false)]);
}

#[test]
fn a_position_between_the_pieces_of_a_line_goes_back_to_the_first() {
    let place = Place::new();
    let log = place.container().join("0.log");
    let before = text(0, 2);
    let pieces =
        record(3, "stderr", "P", "one") + &record(3, "stdout", "F", "other") + &record(3, "stderr", "P", "two");
    fs::write(&log, before.clone() + &pieces + &record(3, "stderr", "F", "three")).unwrap();
    let place = place.position(&log, before.len() + pieces.len());
    place.import(&place.request()).unwrap();
    assert_eq!(place.saved(), [(key(&log), before.len() as u64, false)]);
}

#[test]
fn older_files_of_the_same_restart_are_done_and_others_are_not_touched() {
    let mut place = Place::new();
    let older = place.log("1.log.20260102-000100", 30, 5);
    let (dead, live) = (place.log("0.log", 0, 4), place.log("1.log", 70, 5));
    place = place.position(&live, 2 * RECORD).position(&dead, 4 * RECORD);
    place.import(&place.request()).unwrap();
    let expected = [(key(&dead), 4 * RECORD, false), (key(&older), 5 * RECORD, true), (key(&live), 2 * RECORD, false)];
    assert_eq!(place.saved(), expected);
}

#[test]
fn a_position_from_before_a_rotation_is_of_the_file_that_was_rotated_also_when_it_is_compressed() {
    for gzip in [false, true] {
        let place = Place::new();
        let oldest = place.log("0.log.20260102-000100", 0, 5);
        let mut meant = place.log("0.log.20260102-010001", 70, 5);
        place.log("0.log.20260102-010500", 3700, 5);
        let live = place.log("0.log", 4000, 5);
        if gzip {
            let compressed = meant.with_file_name("0.log.20260102-010001.gz");
            let file = File::create(&compressed).unwrap();
            let mut encoder = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
            encoder.write_all(&fs::read(&meant).unwrap()).unwrap();
            encoder.finish().unwrap();
            fs::remove_file(&meant).unwrap();
            meant = compressed;
        }
        let place = place.position(&live, 2 * RECORD + 1);
        let said = place.import(&place.request()).unwrap();
        assert!(said.contains("rotated since; what came after is read from its beginning"), "{said}");
        assert_eq!(place.saved(), [(key(&oldest), 5 * RECORD, true), (key(&meant), 2 * RECORD, false)]);
    }
}

#[test]
fn a_position_of_a_file_that_is_gone_by_rotation_leaves_everything_to_be_read() {
    let place = Place::new();
    let live = place.log("0.log", 4000, 5);
    let mut place = place.position(&live, RECORD);
    place.config.start_at = crate::config::StartAt::End;
    let said = place.import(&place.request()).unwrap();
    assert!(said.contains("skipped") && said.contains("it is read from its beginning"), "{said}");
    let (snapshot, _) = place.store().load();
    assert_eq!(snapshot.containers.len(), 1, "known, so that start_at does not skip it");
    assert!(place.saved().is_empty());
}

#[test]
fn a_position_behind_the_end_is_not_believed() {
    let place = Place::new();
    let log = place.log("0.log", 0, 3);
    let place = place.position(&log, 1000);
    let said = place.import(&place.request()).unwrap();
    assert!(said.contains("it ends before the position, 1000"), "{said}");
    assert!(place.saved().is_empty());
}

#[test]
fn links_lead_to_the_file_as_promtails_paths_do() {
    let place = Place::new();
    let docker = place.dir.path().join("docker/ab12");
    fs::create_dir_all(&docker).unwrap();
    let json = docker.join("ab12-json.log");
    fs::write(&json, "{\"log\":\"a\\n\",\"stream\":\"stdout\",\"time\":\"2026-01-02T00:00:00Z\"}\n".repeat(3)).unwrap();
    symlink(&json, place.container().join("0.log")).unwrap();
    let link = place.dir.path().join("web-0_default_web-ab12.log");
    symlink(place.container().join("0.log"), &link).unwrap();
    let line = fs::metadata(&json).unwrap().len() / 3;
    let place = place.position(&link, line);
    place.import(&place.request()).unwrap();
    assert_eq!(place.saved(), [(key(&json), line, false)]);
}

#[test]
fn alloys_positions_of_one_file_by_several_sources_are_those_of_the_slowest() {
    let mut place = Place::new();
    let log = place.log("0.log", 0, 10);
    for (labels, records) in [("a", 5), ("b", 2), ("c", 7)] {
        let (path, offset) = (log.display(), records * RECORD);
        place.positions += &format!("  ? path: {path}\n    labels: '{{job=\"{labels}\"}}'\n  : \"{offset}\"\n");
    }
    place.import(&place.request()).unwrap();
    assert_eq!(place.saved(), [(key(&log), 2 * RECORD, false)]);
}

#[test]
fn what_is_no_position_in_a_containers_file_is_skipped_with_its_reason() {
    let place = Place::new();
    let elsewhere = place.dir.path().join("syslog");
    fs::write(&elsewhere, "a\n").unwrap();
    let gone = place.container().join("7.log");
    let place = place
        .position(Path::new("cursor-systemd"), "s=1")
        .position(Path::new("/var/log/a.gz"), 5)
        .position(&elsewhere, 2)
        .position(&gone, 2)
        .position(Path::new("/odd"), "many");
    let said = place.import(&place.request()).unwrap();
    for reason in [
        "skipped cursor-systemd: it is a place in the journal",
        "skipped /var/log/a.gz: positions in compressed files count lines\n",
        "skipped /syslog: it is not a container's log in /pods\n",
        "skipped /pods/default_web-0_6a/web/7.log: the file is gone\n",
        "skipped /odd: \"many\" is not an offset in bytes\n",
        "0 positions imported into /state, 5 skipped.\n",
    ] {
        assert!(said.contains(reason), "{reason}\n{said}");
    }
}

#[test]
fn saved_positions_are_replaced_only_when_asked_for_and_those_of_others_never() {
    let place = Place::new();
    let log = place.log("0.log", 0, 10);
    let others = SavedContainer { name: "a_b_c/d".into(), seen_at: 7, files: Vec::new() };
    let ours = SavedContainer { name: "default_web-0_6a/web".into(), ..others.clone() };
    place.store().save(&Snapshot { containers: vec![others.clone(), ours] }).unwrap();
    let place = place.position(&log, RECORD);
    let refusal = place.import(&place.request()).unwrap_err().to_string();
    assert!(refusal.contains("default_web-0_6a/web") && refusal.contains("--force"), "{refusal}");
    assert!(place.saved().is_empty());
    let said = place.import(&Request { once: true, ..place.request() }).unwrap();
    assert_eq!(said, "/state holds positions already: nothing is imported.\n");
    place.import(&Request { force: true, ..place.request() }).unwrap();
    assert_eq!(place.saved(), [(key(&log), RECORD, false)]);
    assert!(place.store().load().0.containers.contains(&others));
}

#[test]
fn nothing_is_imported_while_pilcrow_runs() {
    let place = Place::new();
    let log = place.log("0.log", 0, 10);
    let place = place.position(&log, RECORD);
    let store = place.store();
    let _lock = store.lock().unwrap();
    let refusal = place.import(&place.request()).unwrap_err().to_string();
    assert!(refusal.contains("stop it first"), "{refusal}");
    assert!(place.saved().is_empty());
    // The pod that an update starts while the one before still runs.
    let said = place.import(&Request { once: true, ..place.request() }).unwrap();
    assert_eq!(said, "Pilcrow runs with the state folder /state: nothing is imported.\n");
}

#[test]
fn of_a_folder_every_positions_file_below_is_imported_each_by_its_own_time_and_other_files_are_skipped() {
    let place = Place::new();
    let [log, other] = [place.log("0.log", 0, 10), place.log("1.log", 5000, 10)];
    let storage = place.dir.path().join("storage");
    let write = |name: &str, text: String, saved_at: u64| {
        let file = storage.join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, text).unwrap();
        let saved_at = SystemTime::UNIX_EPOCH + Duration::from_secs(saved_at);
        File::options().write(true).open(&file).unwrap().set_modified(saved_at).unwrap();
    };
    let entry = |log: &Path, offset: u64| format!("positions:\n  {}: \"{offset}\"\n", log.display());
    write("loki.source.file.pods/positions.yml", entry(&log, 5 * RECORD), SAVED_AT);
    write("pod_logs.feature/loki.source.file.more/positions.yml", entry(&other, 2 * RECORD), SAVED_AT + 10_000);
    write("loki.source.file.broken/positions.yml", "clients: []\n".into(), SAVED_AT);
    write("loki.write.default/wal", "positions: {}\n".into(), SAVED_AT);
    std::os::unix::fs::symlink(&storage, storage.join("again")).unwrap();
    let request = Request { file: storage, once: true, dry_run: false, force: false };
    let said = place.import(&request).unwrap();
    assert!(
        said.contains("skipped /storage/loki.source.file.broken/positions.yml: it is not a positions file"),
        "{said}"
    );
    assert!(said.ends_with("2 positions imported into /state, 1 skipped.\n"), "{said}");
    assert_eq!(place.saved(), [(key(&log), 5 * RECORD, false), (key(&other), 2 * RECORD, false)]);
    let said = place.import(&request).unwrap();
    assert_eq!(said, "/state holds positions already: nothing is imported.\n");
}

#[test]
fn a_folder_without_positions_is_an_error_and_nothing_at_all_for_an_init_container() {
    let place = Place::new();
    let request = Request { file: place.dir.path().to_owned(), once: false, dry_run: false, force: false };
    let refusal = place.import(&request).unwrap_err().to_string();
    assert!(refusal.contains("There is no positions.yml or positions.yaml below "), "{refusal}");
    let said = place.import(&Request { once: true, ..request }).unwrap();
    assert!(said.ends_with(": nothing to import.\n"), "{said}");
    assert!(!place.config.paths.state.exists());
}

#[test]
fn a_dry_run_writes_nothing() {
    let place = Place::new();
    let log = place.log("0.log", 0, 10);
    let place = place.position(&log, RECORD);
    let said = place.import(&Request { dry_run: true, ..place.request() }).unwrap();
    assert!(said.ends_with("1 positions would be imported, 0 skipped; nothing is written (--dry-run).\n"), "{said}");
    assert!(!place.config.paths.state.exists());
}

#[test]
fn a_file_that_is_missing_or_something_else_is_an_error_and_once_forgives_only_the_first() {
    let place = Place::new();
    let missing = Request { file: place.dir.path().join("nowhere"), ..place.request() };
    assert!(place.import(&missing).unwrap_err().to_string().starts_with("There is no /"));
    let said = place.import(&Request { once: true, ..missing }).unwrap();
    assert!(said.contains("nothing to import"), "{said}");
    let request = place.request();
    fs::write(&request.file, "clients: []\n").unwrap();
    let error = format!("{:#}", place.import(&Request { once: true, ..request }).unwrap_err());
    assert!(error.contains("is not a positions file: line 1: expected the key positions"), "{error}");
}
