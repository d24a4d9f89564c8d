//! The kubelet's thread: rotations, restarts, pods that come and go, and what is removed after them.
//!
//! Files are removed by themselves, not as a part of a rotation, so that [`MayRemove`] can be asked first.

use std::{
    collections::VecDeque,
    fs, io, mem,
    path::PathBuf,
    sync::{Arc, atomic::Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use super::{LiveOptions, MayRemove, Removal, Running, Shared, WRITER_TICK, lock};
use crate::{
    kubelet::{Clock, Container, ContainerOptions, Format, Node, Pod, WriteCall, container, rotation},
    random::Random,
};

const KUBELET_TICK: Duration = Duration::from_millis(20);
/// From the end of a pod to the removal of its folder.
const REMOVAL_DELAY: Duration = Duration::from_secs(2);
/// From one question whether a pod's folder may go to the next.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(200);

/// For each source the number of its next line.
type Lines = Vec<(u32, u64)>;

/// The kubelet's thread.
pub(super) struct Kubelet {
    options: LiveOptions,
    random: Random,
    may_remove: MayRemove,
    pods_started: usize,
    containers_started: usize,
    plans: Vec<Plan>,
    leaving: Vec<Leaving>,
}

/// What the kubelet plans for a container.
struct Plan {
    running: Arc<Running>,
    rotate_at: Option<Instant>,
    restart_at: Option<Instant>,
    /// What had been begun when each of the rotated files was rotated, the oldest first.
    rotated: VecDeque<Lines>,
    /// The attempts whose logs are there but for the present one, and what had been begun at their end.
    ended: VecDeque<(u32, Lines)>,
}

/// A pod that has ended, and whose folder is still there.
struct Leaving {
    remove_at: Instant,
    pod: Pod,
    lines: Lines,
}

impl Kubelet {
    pub(super) fn new(options: LiveOptions, may_remove: MayRemove) -> Self {
        let random = Random::new(options.seed);
        let (pods_started, containers_started) = (0, 0);
        Self { options, random, may_remove, pods_started, containers_started, plans: Vec::new(), leaving: Vec::new() }
    }

    pub(super) fn run(mut self, node: &mut Node, shared: &Shared) -> io::Result<()> {
        let mut replace_at = due_after(self.options.replace_pod_every);
        while !shared.stop.load(Relaxed) {
            thread::sleep(KUBELET_TICK);
            self.rotate_and_restart(shared)?;
            if replace_at.is_some_and(|at| at <= Instant::now()) {
                replace_at = due_after(self.options.replace_pod_every);
                self.replace_pod(node, shared)?;
            }
            self.remove_left_pods(node, shared)?;
        }
        Ok(())
    }

    /// A new pod with containers, with a plan for each.
    pub(super) fn start_pod(&mut self, node: &mut Node, containers: usize) -> io::Result<Vec<Arc<Running>>> {
        const NAMESPACES: [&str; 3] = ["default", "shop", "kube-system"];
        const APPS: [&str; 6] = ["nginx", "orders-api", "cart", "etcd", "billing", "frontend"];
        let app = APPS[self.pods_started % APPS.len()];
        let namespace = NAMESPACES[self.pods_started % NAMESPACES.len()];
        let pod = node.pod(namespace, &format!("{app}-6d9c6b5f4-{:05}", self.pods_started));
        self.pods_started += 1;
        let mut started = Vec::new();
        for name in [app, "sidecar"].into_iter().take(containers) {
            let container = node.start(&pod, name, self.container_options())?;
            let running = Arc::new(Running { turn: Default::default(), container: container.into() });
            let plan = Plan {
                running: Arc::clone(&running),
                rotate_at: self.some_time(self.options.rotate_every),
                restart_at: self.some_time(self.options.restart_every),
                rotated: VecDeque::new(),
                ended: VecDeque::new(),
            };
            self.plans.push(plan);
            started.push(running);
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

    fn rotate_and_restart(&mut self, shared: &Shared) -> io::Result<()> {
        let now = Instant::now();
        for at in 0..self.plans.len() {
            if shared.stop.load(Relaxed) {
                break;
            }
            let running = Arc::clone(&self.plans[at].running);
            // One that is in use is handled later.
            let Ok(_turn) = running.turn.try_lock() else { continue };
            let is_due = |at: Option<Instant>| at.is_some_and(|due| due <= now);
            let (rotate, restart) = (is_due(self.plans[at].rotate_at), is_due(self.plans[at].restart_at));
            if rotate || restart {
                let removed = self.plans[at].remove_excess(self.options.keep, &mut self.may_remove)?;
                shared.counts.removed_files.fetch_add(removed as u64, Relaxed);
            }
            if rotate {
                self.plans[at].rotate_at = self.some_time(self.options.rotate_every);
                if self.plans[at].rotate()? {
                    shared.counts.rotations.fetch_add(1, Relaxed);
                }
            }
            if restart {
                self.plans[at].restart_at = self.some_time(self.options.restart_every);
                self.plans[at].restart()?;
                shared.counts.restarts.fetch_add(1, Relaxed);
            }
        }
        Ok(())
    }

    /// The oldest pod goes, another one comes.
    fn replace_pod(&mut self, node: &mut Node, shared: &Shared) -> io::Result<()> {
        let Some(oldest) = self.plans.first() else { return Ok(()) };
        let pod = lock(&oldest.running.container).pod().clone();
        let (going, staying): (Vec<Plan>, Vec<Plan>) =
            self.plans.drain(..).partition(|plan| *lock(&plan.running.container).pod() == pod);
        self.plans = staying;
        let new = self.start_pod(node, going.len())?;
        {
            let mut running = lock(&shared.running);
            running.retain(|running| !going.iter().any(|plan| Arc::ptr_eq(&plan.running, running)));
            running.extend(new);
        }
        let mut lines = Lines::new();
        for plan in going {
            lines.extend(end(&plan.running)?);
        }
        self.leaving.push(Leaving { remove_at: Instant::now() + REMOVAL_DELAY, pod, lines });
        shared.counts.replaced_pods.fetch_add(1, Relaxed);
        Ok(())
    }

    fn remove_left_pods(&mut self, node: &Node, shared: &Shared) -> io::Result<()> {
        let now = Instant::now();
        for mut left in mem::take(&mut self.leaving) {
            if left.remove_at <= now {
                let folder = node.pods().join(left.pod.folder());
                let removal = Removal { files: files_of_pod(folder)?, lines_before: left.lines.clone() };
                if (self.may_remove)(&removal) {
                    shared.counts.removed_files.fetch_add(removal.files.len() as u64, Relaxed);
                    node.remove(&left.pod)?;
                    continue;
                }
                left.remove_at = now + ASK_AGAIN_AFTER;
            }
            self.leaving.push(left);
        }
        Ok(())
    }

    /// A moment from half to one and a half times `average` from now.
    fn some_time(&mut self, average: Duration) -> Option<Instant> {
        let part = 0.5 + self.random.below(1000) as f64 / 1000.0;
        due_after(average.mul_f64(part))
    }
}

impl Plan {
    /// Rotates by name while the container goes on writing, then has it reopen its log. dockerd does all of it itself,
    /// while nothing is written. An empty log is left alone: false.
    fn rotate(&mut self) -> io::Result<bool> {
        let (log, format) = {
            let container = lock(&self.running.container);
            (container.log().to_owned(), container.options().format)
        };
        if fs::metadata(&log)?.len() == 0 {
            return Ok(false);
        }
        let lines = match format {
            Format::Cri => {
                let local_s = Clock::system().now_ns() / 1_000_000_000;
                rotation::rotate_kubelet(&log, usize::MAX, local_s)?;
                let mut container = lock(&self.running.container);
                container.reopen()?;
                container.next_lines()
            }
            Format::DockerJson => {
                let mut container = lock(&self.running.container);
                let keep = rotation::rotated_docker_files(&log)?.len() + 2;
                let rotated = rotation::rotate_docker(&log, keep, container.options().compress_docker)?;
                container.reopen()?;
                if let Some(rotated) = rotated
                    && container.options().compress_docker
                {
                    rotation::compress_docker(&rotated)?;
                }
                container.next_lines()
            }
        };
        self.rotated.push_back(lines.into());
        Ok(true)
    }

    fn restart(&mut self) -> io::Result<()> {
        let mut container = lock(&self.running.container);
        container.finish_lines()?;
        let ended = container.attempt();
        container.restart()?;
        self.ended.push_back((ended, container.next_lines().into()));
        self.rotated.clear();
        Ok(())
    }

    /// Removes rotated files so that with the next rotation `keep` files are left, and attempts but for the last that
    /// ended. Gives how many files.
    fn remove_excess(&mut self, keep: usize, may_remove: &mut MayRemove) -> io::Result<usize> {
        let mut removed = 0;
        let container = lock(&self.running.container);
        while self.ended.len() > 1
            && let Some((attempt, lines)) = self.ended.front()
        {
            let removal = Removal { files: container.files_of_attempt(*attempt)?, lines_before: lines.clone() };
            if !may_remove(&removal) {
                return Ok(removed);
            }
            container.remove_attempt(*attempt)?;
            removed += removal.files.len();
            self.ended.pop_front();
        }
        for file in excess(&container, keep)? {
            let Some(lines) = self.rotated.front() else { break };
            let removal = Removal { files: vec![file], lines_before: lines.clone() };
            if !may_remove(&removal) {
                break;
            }
            removal.files.iter().try_for_each(fs::remove_file)?;
            removed += 1;
            self.rotated.pop_front();
        }
        Ok(removed)
    }
}

/// The rotated files, the oldest first, that have to go before the next rotation.
fn excess(container: &Container, keep: usize) -> io::Result<Vec<PathBuf>> {
    let mut rotated = match container.options().format {
        Format::Cri => rotation::rotated_files(container.log())?,
        Format::DockerJson => rotation::rotated_docker_files(container.log())?,
    };
    rotated.truncate(rotated.len().saturating_sub(keep.max(2) - 2));
    Ok(rotated)
}

/// Ends a container that no writer finds any more. Gives what it had begun.
fn end(running: &Arc<Running>) -> io::Result<Lines> {
    // A writer, or a caller of [`Running::alone`], may still hold an earlier list.
    while Arc::strong_count(running) > 1 {
        thread::sleep(WRITER_TICK);
    }
    let mut container = lock(&running.container);
    container.finish_lines()?;
    container.exit()?;
    Ok(container.next_lines().into())
}

fn files_of_pod(folder: PathBuf) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for container in fs::read_dir(folder)? {
        files.extend(container::files_behind(container::logs_of(&container?.path(), None)?)?);
    }
    Ok(files)
}

fn due_after(pause: Duration) -> Option<Instant> {
    (!pause.is_zero()).then(|| Instant::now() + pause)
}
