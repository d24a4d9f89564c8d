//! Starting, watching and ending the real program.

use std::{
    cell::RefCell,
    fs,
    io::Write,
    net::{SocketAddr, TcpListener},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use rig::receiver::{Counts, Options, Receiver};

/// Long enough for a slow machine; reaching it is a failure, never a measurement.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// A pods folder, a state folder and a configuration, in a folder of their own.
pub struct Node {
    folder: tempfile::TempDir,
    pub receiver: Receiver,
    /// Lines to be added to the configuration file.
    pub extra_config: String,
    /// Keys to be added to the section `loki`, each on a line of its own and indented by two blanks.
    pub extra_loki: String,
    /// `loki.url`, if it is not the receiver's.
    pub url: Option<String>,
    /// `loki.backoff`.
    pub backoff: &'static str,
    /// `loki.batch`.
    pub batch: &'static str,
    /// What the configuration file says of Kubernetes.
    pub kubernetes: String,
    /// A shell command that is run before the program and takes from it what it then lacks, such as `ulimit -n 1024`.
    pub before: String,
    /// How often positions are saved.
    pub checkpoint_interval: &'static str,
    /// The address that the status server listens on.
    pub listen: &'static str,
    /// Keys to be added to the section `http`, each after a comma.
    pub extra_http: &'static str,
    /// Docker's containers are collected from, not pods.
    has_docker: bool,
}

impl Node {
    /// With an empty pods folder and a receiver that answers everything.
    pub fn new() -> Self {
        Self::with_receiver(Options::default())
    }

    pub fn with_receiver(options: Options) -> Self {
        // Not /tmp: some machines have a tmpfs there, which real log folders are not on.
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        fs::create_dir(folder.path().join("pods")).unwrap();
        Self {
            folder,
            receiver: Receiver::start(options).unwrap(),
            extra_config: String::new(),
            extra_loki: String::new(),
            url: None,
            backoff: "{min: 10ms, max: 100ms}",
            batch: "{age: 50ms}",
            kubernetes: "{enabled: false}".into(),
            before: "true".into(),
            checkpoint_interval: "100ms",
            listen: "127.0.0.1",
            extra_http: "",
            has_docker: false,
        }
    }

    /// Without pods, and with an empty folder of Docker's.
    pub fn with_docker() -> Self {
        let node = Self { has_docker: true, ..Self::new() };
        fs::create_dir(node.containers()).unwrap();
        node
    }

    /// In which the pods folder lies.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn pods(&self) -> PathBuf {
        self.folder.path().join(if self.has_docker { "state/docker" } else { "pods" })
    }

    /// Docker's folder.
    pub fn containers(&self) -> PathBuf {
        self.folder.path().join("containers")
    }

    pub fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// The folder of a container of the namespace `default`, made where it is not there.
    pub fn container(&self, pod: &str, container: &str) -> PathBuf {
        let folder = self.pods().join(format!("default_{pod}_uid-of-{pod}")).join(container);
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    /// Starts `pilcrow run`.
    pub fn start(&self) -> Program {
        let (config, http) = self.write_config();
        let log = self.folder.path().join("pilcrow.log");
        let stderr = fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let program = pilcrow("run", &config);
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("{} && exec \"$0\" \"$@\"", self.before)]).arg(program.get_program());
        shell.args(program.get_args()).env_remove("KUBERNETES_SERVICE_HOST").env_remove("NODE_NAME");
        let child = shell.stderr(stderr).stdout(Stdio::null()).spawn().unwrap();
        Program { child: RefCell::new(child), log, http: format!("http://{http}") }
    }

    /// Runs another command to its end, and returns its exit code and what it printed.
    pub fn run(&self, command: &str, arguments: &[&str]) -> (Option<i32>, String) {
        let output = pilcrow(command, &self.write_config().0).args(arguments).output().unwrap();
        (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    }

    /// The configuration's path, and where the status server will listen.
    fn write_config(&self) -> (PathBuf, SocketAddr) {
        let http = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let config = format!(
            "loki:\n  url: {}\n  batch: {}\n  backoff: {}\n{}\n\
             labels: {{cluster: test}}\npaths: {{{}: {}, state: {}}}\nkubernetes: {}\n\
             checkpoint: {{interval: {}}}\nsweep: {{interval: 500ms}}\nhttp: {{listen: \"{}:{}\"{}}}\n{}\n",
            self.url.clone().unwrap_or_else(|| self.receiver.url()),
            self.batch,
            self.backoff,
            self.extra_loki,
            if self.has_docker { "docker" } else { "pods" },
            if self.has_docker { self.containers() } else { self.pods() }.display(),
            self.state().display(),
            self.kubernetes,
            self.checkpoint_interval,
            self.listen,
            http.port(),
            self.extra_http,
            self.extra_config,
        );
        let path = self.folder.path().join("pilcrow.yaml");
        fs::write(&path, config).unwrap();
        (path, http)
    }

    /// Waits for the receiver; says what came and what the program logged where it does not come about.
    pub fn wait_until(&self, program: &Program, what: &str, enough: impl Fn(&Counts) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !self.receiver.wait_until(Duration::from_millis(100), &enough) {
            let ended = program.child.borrow_mut().try_wait().unwrap();
            if ended.is_some() || Instant::now() >= deadline {
                let came = self.receiver.counts();
                panic!("{what} did not come (ended: {ended:?}); came: {came:?}\n{}", program.log());
            }
        }
    }

    /// Panics where a push was not as it must be.
    pub fn assert_no_violations(&self) {
        assert_eq!(self.receiver.violations(), Vec::<String>::new());
    }
}

fn pilcrow(command: &str, config: &Path) -> Command {
    let mut pilcrow = Command::new(env!("CARGO_BIN_EXE_pilcrow"));
    // The tests' own machine may be a pod.
    pilcrow.env_remove("KUBERNETES_SERVICE_HOST").env_remove("NODE_NAME");
    pilcrow.args([command, "--config"]).arg(config);
    pilcrow
}

/// A running `pilcrow run`; killed when it is dropped.
pub struct Program {
    child: RefCell<Child>,
    log: PathBuf,
    http: String,
}

impl Program {
    /// What it logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Its anonymous memory in MiB: what does not lie in the binary, which is large where it is made for debugging.
    pub fn anonymous_mib(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.borrow().id())).unwrap();
        // A process that has just ended has no memory.
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap_or("0 kB");
        line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
    }

    /// The most anonymous memory in MiB that was seen until `done` says so or the program has ended; looked at every few milliseconds.
    pub fn peak_anonymous_mib_until(&self, what: &str, mut done: impl FnMut() -> bool) -> f64 {
        let mut peak = 0.0_f64;
        wait_for(what, || {
            let ended = self.child.borrow_mut().try_wait().unwrap().is_some();
            if !ended {
                peak = peak.max(self.anonymous_mib());
            }
            (ended || done()).then_some(())
        });
        peak
    }

    /// What its descriptors lead to, as /proc shows it.
    pub fn open_files(&self) -> Vec<String> {
        let folder = format!("/proc/{}/fd", self.child.borrow().id());
        let links = fs::read_dir(folder).unwrap().flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
        links.map(|link| link.display().to_string()).collect()
    }

    /// Where its status server is reached from this machine: `http://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.http
    }

    /// SIGKILL.
    pub fn kill(self) {
        let mut child = self.child.borrow_mut();
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9));
    }

    /// SIGSTOP or SIGCONT, or any other signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child.borrow()), signal).unwrap();
    }

    /// SIGTERM, and waits for its end.
    pub fn terminate(self) -> ExitStatus {
        self.signal(rustix::process::Signal::TERM);
        self.end()
    }

    /// Waits for its end.
    pub fn end(&self) -> ExitStatus {
        wait_for("the end", || self.child.borrow_mut().try_wait().unwrap())
    }

    /// GET from its status server; `None` while it does not answer.
    pub fn get(&self, path: &str) -> Option<(u16, String)> {
        let (status, body) = rig::http::get(&format!("{}{path}", self.http), Duration::from_secs(5)).ok()?;
        Some((status, String::from_utf8(body).unwrap()))
    }

    /// The sum of a metric over its series that have all these labels.
    pub fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let (_, text) = self.get("/metrics").expect("the status server answers");
        text.lines()
            .filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])))
            .filter(|line| labels.iter().all(|label| line.contains(label)))
            .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
            .sum()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let child = self.child.get_mut();
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// Asks again and again until there is an answer.
pub fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether it comes about soon enough; for what need not come about.
pub fn settles(within: Duration, mut ask: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + within;
    while !ask() {
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    true
}

/// Text that does not compress well, another one for each seed.
pub fn noise(seed: u64, bytes: usize) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut letter = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(LETTERS[(state >> 40) as usize % LETTERS.len()])
    };
    (0..bytes).map(|_| letter()).collect()
}

/// Waits until the positions that are known now are saved: writes that began before count for nothing. Appends to the file, as
/// nothing is saved without news, and gives the number of the records it added.
pub fn wait_for_a_save_of_now(program: &Program, live: &Path) -> u64 {
    let writes = || program.metric("pilcrow_checkpoint_writes_total", &[]);
    let (before, mut added) = (writes(), 0);
    wait_for("two saves", || {
        append(live, record(80_000 + added, &format!("news {added}")));
        added += 1;
        settles(Duration::from_millis(250), || writes() >= before + 2.0).then_some(())
    });
    added
}

/// One CRI record of a whole line, its timestamp made of `second`.
pub fn record(second: u64, text: &str) -> String {
    format!("2026-01-02T{:02}:{:02}:{:02}.5Z stdout F {text}\n", second / 3600, second / 60 % 60, second % 60)
}

/// Appends to a file, which is made where it is not there.
pub fn append(path: &Path, bytes: impl AsRef<[u8]>) {
    fs::OpenOptions::new().create(true).append(true).open(path).unwrap().write_all(bytes.as_ref()).unwrap();
}

/// As the kubelet compresses a rotated file.
pub fn compress(from: &Path) {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&fs::read(from).unwrap()).unwrap();
    let unfinished = from.with_extension("tmp");
    fs::write(&unfinished, encoder.finish().unwrap()).unwrap();
    fs::rename(&unfinished, format!("{}.gz", from.display())).unwrap();
    fs::remove_file(from).unwrap();
}

/// The receiver's texts of one container, in the order of their first arrival.
pub fn texts(node: &Node, container: &str) -> Vec<String> {
    node.receiver.texts(&[("container", container)])
}
