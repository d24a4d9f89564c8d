//! A node at work: containers that log at a given rate, while their logs are rotated and they are restarted, and pods
//! that come and go.
//!
//! Writer threads play the programs and the runtime, one more thread plays the kubelet; it renames and compresses while
//! the writers go on.

use std::{
    fs, io,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{Container, ContainerOptions, Format, Node, Pod, Stream, WriteCall, rotation};
use crate::{ledger::Ledger, mark::Shape, random::Random};

const WRITER_TICK: Duration = Duration::from_millis(2);
const KUBELET_TICK: Duration = Duration::from_millis(20);
/// From the end of a pod to the removal of its folder.
const REMOVAL_DELAY: Duration = Duration::from_secs(2);
const WRITERS: usize = 2;
/// A writer that was held up catches up by no more than this, so as not to write a burst of seconds.
const CATCH_UP_MAX: Duration = Duration::from_millis(500);

/// What happens on the node.
#[derive(Clone, Copy, Debug)]
pub struct LiveOptions {
    /// Containers at any time; two share a pod.
    pub containers: usize,
    /// Lines in a second, over all containers.
    pub lines_per_second: u32,
    /// Time between two rotations of one log, on average; zero: none.
    pub rotate_every: Duration,
    /// Time between two restarts of one container, on average; zero: none.
    pub restart_every: Duration,
    /// Time after which one pod goes and another comes; zero: never.
    pub replace_pod_every: Duration,
    /// One container in so many writes docker's format; zero: none.
    pub docker_one_in: usize,
    /// One line in so many is longer than a record (16 to 48 KiB); zero: none.
    pub long_one_in: usize,
    /// One line in so many is written in two halves, so that a rotation may split it; zero: none.
    pub halved_one_in: usize,
    /// Files that rotation keeps of one log, the current one included.
    pub keep: usize,
    /// Decides on all that is random.
    pub seed: u64,
}

impl Default for LiveOptions {
    fn default() -> Self {
        Self {
            containers: 12,
            lines_per_second: 5000,
            rotate_every: Duration::from_secs(4),
            restart_every: Duration::from_secs(15),
            replace_pod_every: Duration::from_secs(5),
            docker_one_in: 6,
            long_one_in: 1000,
            halved_one_in: 50,
            keep: 5,
            seed: 1,
        }
    }
}

/// A node at work; dropping it stops it.
#[derive(Debug)]
pub struct Live {
    shared: Arc<Shared>,
    pods: PathBuf,
    threads: Vec<JoinHandle<io::Result<()>>>,
}

#[derive(Debug)]
struct Shared {
    stop: AtomicBool,
    running: Mutex<Vec<Arc<Mutex<Container>>>>,
    ledger: Arc<Ledger>,
    options: LiveOptions,
}

impl Live {
    /// Makes the containers on `node` and begins to write.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn start(mut node: Node, options: LiveOptions) -> io::Result<Self> {
        let pods = node.pods();
        let ledger = Arc::clone(node.ledger());
        let mut kubelet = Kubelet::new(options);
        let mut running = Vec::new();
        while running.len() < options.containers {
            let new = kubelet.start_pod(&mut node, (options.containers - running.len()).min(2))?;
            running.extend(new);
        }
        let shared = Arc::new(Shared { stop: AtomicBool::new(false), running: Mutex::new(running), ledger, options });
        let mut threads = Vec::new();
        for writer in 0..WRITERS {
            let shared = Arc::clone(&shared);
            threads.push(thread::Builder::new().name("log-writer".into()).spawn(move || write(&shared, writer))?);
        }
        let with_kubelet = Arc::clone(&shared);
        let kubelet = move || kubelet.run(&mut node, &with_kubelet);
        threads.push(thread::Builder::new().name("kubelet".into()).spawn(kubelet)?);
        Ok(Self { shared, pods, threads })
    }

    /// What was written so far.
    pub fn ledger(&self) -> &Arc<Ledger> {
        &self.shared.ledger
    }

    /// The folder that is /var/log/pods on a node.
    pub fn pods(&self) -> &PathBuf {
        &self.pods
    }

    /// Ends all threads; no line stays half-written. The logs stay.
    ///
    /// # Errors
    /// The first error that a thread ended with: then not all happened that should have.
    pub fn stop(mut self) -> io::Result<()> {
        self.end()
    }

    fn end(&mut self) -> io::Result<()> {
        self.shared.stop.store(true, Relaxed);
        let mut result = Ok(());
        for thread in self.threads.drain(..) {
            let ended = thread.join().unwrap_or_else(|_| Err(io::Error::other("a writer thread panicked")));
            result = result.and(ended);
        }
        for container in lock(&self.shared.running).iter() {
            result = result.and(lock(container).finish_lines());
        }
        result
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A writer thread: every so many milliseconds the lines that are due, to random containers.
fn write(shared: &Shared, writer: usize) -> io::Result<()> {
    let options = &shared.options;
    let mut random = Random::new(options.seed ^ (writer as u64 + 1) << 32);
    let per_second = f64::from(options.lines_per_second) / WRITERS as f64;
    let mut last = Instant::now();
    let mut due = 0.0;
    while !shared.stop.load(Relaxed) {
        thread::sleep(WRITER_TICK);
        let now = Instant::now();
        due += (now - last).min(CATCH_UP_MAX).as_secs_f64() * per_second;
        last = now;
        let running = lock(&shared.running).clone();
        while due >= 1.0 && !running.is_empty() {
            let container = &running[random.below(running.len())];
            // Programs write in small bursts.
            let burst = (1 + random.below(4)).min(due as usize);
            let mut container = lock(container);
            for _ in 0..burst {
                write_one(&mut container, options, &mut random)?;
            }
            due -= burst as f64;
        }
    }
    Ok(())
}

fn write_one(container: &mut Container, options: &LiveOptions, random: &mut Random) -> io::Result<()> {
    let stream = if random.one_in(4) { Stream::Stderr } else { Stream::Stdout };
    let shape = [Shape::Json, Shape::Json, Shape::Text, Shape::Text, Shape::Unicode][random.below(5)];
    let mut once_in = |n: usize| n > 0 && random.one_in(n);
    let (long, halved) = (once_in(options.long_one_in), once_in(options.halved_one_in));
    let len = if long { 16_000 + random.below(32_000) } else { 110 + random.below(190) };
    if halved {
        container.begin_line(stream, shape, len, 1 + random.below(len))
    } else {
        container.write_line(stream, shape, len)
    }
}

/// The kubelet's thread.
struct Kubelet {
    options: LiveOptions,
    random: Random,
    pods_started: usize,
    containers_started: usize,
    plans: Vec<Plan>,
    leaving: Vec<(Instant, Pod)>,
}

/// What the kubelet has in mind for a container.
struct Plan {
    container: Arc<Mutex<Container>>,
    rotate_at: Option<Instant>,
    restart_at: Option<Instant>,
}

impl Kubelet {
    fn new(options: LiveOptions) -> Self {
        let random = Random::new(options.seed);
        Self { options, random, pods_started: 0, containers_started: 0, plans: Vec::new(), leaving: Vec::new() }
    }

    fn run(mut self, node: &mut Node, shared: &Shared) -> io::Result<()> {
        let mut replace_at = due_after(self.options.replace_pod_every);
        while !shared.stop.load(Relaxed) {
            thread::sleep(KUBELET_TICK);
            self.rotate_and_restart()?;
            if replace_at.is_some_and(|at| at <= Instant::now()) {
                replace_at = due_after(self.options.replace_pod_every);
                self.replace_pod(node, shared)?;
            }
            self.remove_left_pods(node)?;
        }
        Ok(())
    }

    /// A new pod with containers, with a plan for each.
    fn start_pod(&mut self, node: &mut Node, containers: usize) -> io::Result<Vec<Arc<Mutex<Container>>>> {
        const NAMESPACES: [&str; 3] = ["default", "shop", "kube-system"];
        const APPS: [&str; 6] = ["nginx", "orders-api", "cart", "etcd", "billing", "frontend"];
        let app = APPS[self.pods_started % APPS.len()];
        let namespace = NAMESPACES[self.pods_started % NAMESPACES.len()];
        let pod = node.pod(namespace, &format!("{app}-6d9c6b5f4-{:05}", self.pods_started));
        self.pods_started += 1;
        let mut started = Vec::new();
        for name in [app, "sidecar"].into_iter().take(containers) {
            let container = Arc::new(Mutex::new(node.start(&pod, name, self.container_options())?));
            let (rotate_at, restart_at) =
                (self.some_time(self.options.rotate_every), self.some_time(self.options.restart_every));
            self.plans.push(Plan { container: Arc::clone(&container), rotate_at, restart_at });
            started.push(container);
        }
        Ok(started)
    }

    /// Every second CRI container is written with writev, as CRI-O does.
    fn container_options(&mut self) -> ContainerOptions {
        self.containers_started += 1;
        let is_nth = |n: usize| n > 0 && self.containers_started.is_multiple_of(n);
        ContainerOptions {
            format: if is_nth(self.options.docker_one_in) { Format::DockerJson } else { Format::Cri },
            call: if is_nth(2) { WriteCall::Writev } else { WriteCall::Write },
            keep: self.options.keep,
            ..ContainerOptions::default()
        }
    }

    fn rotate_and_restart(&mut self) -> io::Result<()> {
        let now = Instant::now();
        for at in 0..self.plans.len() {
            if self.plans[at].rotate_at.is_some_and(|due| due <= now) {
                self.plans[at].rotate_at = self.some_time(self.options.rotate_every);
                rotate(&self.plans[at].container)?;
            }
            if self.plans[at].restart_at.is_some_and(|due| due <= now) {
                self.plans[at].restart_at = self.some_time(self.options.restart_every);
                restart(&self.plans[at].container)?;
            }
        }
        Ok(())
    }

    /// The oldest pod goes, another one comes.
    fn replace_pod(&mut self, node: &mut Node, shared: &Shared) -> io::Result<()> {
        let Some(oldest) = self.plans.first() else { return Ok(()) };
        let pod = lock(&oldest.container).pod().clone();
        let (going, staying): (Vec<Plan>, Vec<Plan>) =
            self.plans.drain(..).partition(|plan| *lock(&plan.container).pod() == pod);
        self.plans = staying;
        let new = self.start_pod(node, going.len())?;
        {
            let mut running = lock(&shared.running);
            running.retain(|container| !going.iter().any(|plan| Arc::ptr_eq(&plan.container, container)));
            running.extend(new);
        }
        // A writer may hold a list of before; its lock on the container is what counts.
        for plan in going {
            self.wait_for_writers(plan)?;
        }
        self.leaving.push((Instant::now() + REMOVAL_DELAY, pod));
        Ok(())
    }

    /// Until no writer has the container in hand any more.
    fn wait_for_writers(&self, plan: Plan) -> io::Result<()> {
        while Arc::strong_count(&plan.container) > 1 {
            thread::sleep(WRITER_TICK);
        }
        let mut container = lock(&plan.container);
        container.finish_lines()?;
        container.exit()
    }

    fn remove_left_pods(&mut self, node: &Node) -> io::Result<()> {
        let now = Instant::now();
        for (_, pod) in self.leaving.extract_if(.., |(at, _)| *at <= now) {
            node.remove(&pod)?;
        }
        Ok(())
    }

    /// A moment from half to one and a half times `average` from now.
    fn some_time(&mut self, average: Duration) -> Option<Instant> {
        let part = 0.5 + self.random.below(1000) as f64 / 1000.0;
        due_after(average.mul_f64(part))
    }
}

fn due_after(pause: Duration) -> Option<Instant> {
    (!pause.is_zero()).then(|| Instant::now() + pause)
}

/// Rotates by name while the container goes on writing, then has it reopen its log. dockerd does all of it itself, while
/// nothing is written.
fn rotate(container: &Mutex<Container>) -> io::Result<()> {
    let (log, format, keep) = {
        let container = lock(container);
        (container.log().to_owned(), container.options().format, container.options().keep)
    };
    if fs::metadata(&log)?.len() == 0 {
        return Ok(());
    }
    match format {
        Format::Cri => {
            let local_s = super::Clock::system().now_ns() / 1_000_000_000;
            rotation::rotate_kubelet(&log, keep, local_s)?;
            lock(container).reopen()
        }
        Format::DockerJson => lock(container).rotate(),
    }
}

/// Restarts a container and removes the logs of the attempt before the last.
fn restart(container: &Mutex<Container>) -> io::Result<()> {
    let mut container = lock(container);
    container.finish_lines()?;
    container.restart()?;
    container.remove_attempts_before(container.attempt().saturating_sub(1))
}
