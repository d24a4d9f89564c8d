//! The eBPF backend: a probe on the kernel's write path marks the tracked files.
//!
//! In: the embedded object, the running kernel. Out: a [`Signal`] that costs one wake-up per drain, however much is
//! written, or the reasons why not. The probe's side is in the package collector-ebpf. `memory` has all unsafe code.

mod attach;
mod calibration;
mod filter;
mod loader;
mod memory;
mod plan;

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
    sync::atomic::{AtomicU64, Ordering, fence},
    time::{Duration, Instant},
};

use aya::{
    Ebpf, EbpfLoader,
    maps::{HashMap, Map, MapData, RingBuf},
};
use collector_ebpf::{CLEAN, Control, Event, FileKey, SLOTS, map};
use rustix::fs::fstat;
use tokio::time::timeout;

use super::{
    KindReport, Refusal, Signal, Slot,
    mounts::{FileSystem, MountTable},
    proof::{self, LogFileSystem, Proof},
    readiness::Readiness,
};
use attach::{Attached, Kernel};
use filter::Filter;
use memory::{Mapping, RingPositions};
use plan::{Coverage, PLANS, Plan};

/// The probe, an ELF file for bpfel: `cargo xtask build-ebpf` makes it.
const OBJECT: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("CARGO_MANIFEST_DIR"), "/../collector-ebpf/prebuilt/pilcrow-probe.o"));

/// How long a written file is waited for whose size is not yet what the probe announced. A writer may lose the processor
/// just there; a file that is truncated meanwhile never gets there.
const SETTLE_LIMIT: Duration = Duration::from_secs(5);

/// The first time between two looks at such files; it doubles up to [`SETTLE_INTERVAL_MAX`].
const SETTLE_INTERVAL: Duration = Duration::from_millis(1);

/// The longest time between two looks.
const SETTLE_INTERVAL_MAX: Duration = Duration::from_millis(100);

/// The eBPF backend. Detaches the probe when dropped.
pub struct EbpfSignal {
    /// Keeps the programs attached.
    _programs: Ebpf,
    tracked: HashMap<MapData, [u64; 2], u64>,
    events: RingBuf<MapData>,
    positions: RingPositions,
    dirty: Mapping<AtomicU64>,
    control: Mapping<Control>,
    files: Vec<Option<Tracked>>,
    filter: Filter,
    mounts: MountTable,
    /// The type of file system that the probe sees writes on; none if it is every one.
    only_file_system: Option<String>,
    /// Whether marks come before the file's new size.
    early: bool,
    unsettled: Vec<Unsettled>,
    settle_interval: Duration,
    readiness: Readiness,
}

/// A tracked file.
struct Tracked {
    key: FileKey,
    /// Its size tells when an early mark has come true. Only there for such.
    file: Option<OwnedFd>,
}

/// A file that was written and whose new size was not yet visible.
struct Unsettled {
    slot: Slot,
    /// The size that it will have, in bytes.
    end: u64,
    give_up: Instant,
}

/// Attaches the first plan that proves itself on the file system of the logs. Also returns its name, as in
/// `tp_btf ext4_da_write_end`.
///
/// # Errors
/// If none does: what spoke against each.
pub fn open(logs: &LogFileSystem) -> Result<(EbpfSignal, String), Refusal> {
    let kernel = Kernel::read(logs)?;
    let mut loader = kernel.loader();
    let mut refusals = Vec::new();
    for plan in PLANS {
        match attach_and_prove(&kernel, &mut loader, plan, logs) {
            Ok((signal, hooks, proof)) => {
                if !proof.missed.is_empty() {
                    tracing::info!("the eBPF probe {proof}; the sweep finds what is written so");
                }
                return Ok((signal, format!("{} {hooks}", plan.kind.name())));
            }
            Err(refusal) => refusals.push((plan.name(), refusal)),
        }
    }
    Err(Refusal::of_all(refusals))
}

/// Attaches the plan of this name only.
pub fn open_plan(name: &str, logs: &LogFileSystem) -> Result<EbpfSignal, Refusal> {
    let plan = PLANS.iter().find(|plan| plan.name() == name);
    let plan =
        plan.ok_or_else(|| Refusal::new(format!("there is no plan {name}"), "use one that `pilcrow doctor` names"))?;
    let kernel = Kernel::read(logs)?;
    attach_and_prove(&kernel, &mut kernel.loader(), plan, logs).map(|(signal, ..)| signal)
}

/// Tries every plan, for `pilcrow doctor`.
pub fn survey(logs: &LogFileSystem) -> Result<Vec<KindReport>, Refusal> {
    let kernel = Kernel::read(logs)?;
    let mut loader = kernel.loader();
    let report = |plan: &Plan| KindReport {
        name: plan.name(),
        outcome: attach_and_prove(&kernel, &mut loader, plan, logs).map(|(_, _, proof)| proof),
    };
    Ok(PLANS.iter().map(report).collect())
}

/// Attaches a plan and has it see writes of this process. Some kinds load and attach and never run, and some run on other
/// file systems only.
fn attach_and_prove(
    kernel: &Kernel,
    loader: &mut EbpfLoader<'_>,
    plan: &Plan,
    logs: &LogFileSystem,
) -> Result<(EbpfSignal, String, Proof), Refusal> {
    let place = match plan.coverage {
        Coverage::Everywhere => logs.any_place(),
        Coverage::ProvenFileSystem => logs.place_of_same_type(),
    }?;
    let attached = kernel.attach(loader, plan)?;
    let hooks = attached.targets.join(", ");
    let only_file_system = (plan.coverage == Coverage::ProvenFileSystem).then(|| place.file_system.name.clone());
    let mut signal = EbpfSignal::new(attached, only_file_system, plan.early)
        .map_err(|error| Refusal::new(format!("cannot use the probe's maps: {error}"), "please report it"))?;
    let proof = proof::prove(&mut signal, &place)?;
    Ok((signal, hooks, proof))
}

impl EbpfSignal {
    fn new(attached: Attached, only_file_system: Option<String>, early: bool) -> io::Result<Self> {
        let Attached { mut ebpf, .. } = attached;
        let mut take = |name| ebpf.take_map(name).ok_or_else(|| io::Error::other(format!("no map {name}")));
        let (dirty, control, events) = (take(map::DIRTY)?, take(map::CONTROL)?, take(map::EVENTS)?);
        let tracked = HashMap::try_from(take(map::TRACKED)?).map_err(io::Error::other)?;
        let positions = RingPositions::of_ring(fd_of(&events)?)?;
        Ok(Self {
            tracked,
            positions,
            dirty: Mapping::of_array(fd_of(&dirty)?, SLOTS as usize)?,
            control: Mapping::of_array(fd_of(&control)?, 1)?,
            events: RingBuf::try_from(events).map_err(io::Error::other)?,
            files: Vec::new(),
            filter: Filter::default(),
            mounts: MountTable::default(),
            only_file_system,
            early,
            unsettled: Vec::new(),
            settle_interval: SETTLE_INTERVAL,
            readiness: Readiness::default(),
            _programs: ebpf,
        })
    }

    fn control(&self) -> &Control {
        &self.control.values()[0]
    }

    /// Whether a drain may find something.
    fn is_pending(&self) -> bool {
        self.positions.differ() || self.control().dropped.load(Ordering::SeqCst) != 0
    }

    /// The key of a file on a file system that the probe sees.
    fn key_of(&mut self, file: BorrowedFd<'_>) -> io::Result<FileKey> {
        let FileSystem { device, name } = self.mounts.file_system(file)?;
        if let Some(only) = &self.only_file_system
            && only != name
        {
            let message = format!("the eBPF probe sees writes on {only} only, the file is on {name}");
            return Err(io::Error::new(io::ErrorKind::Unsupported, message));
        }
        Ok(FileKey { inode: fstat(file)?.st_ino, device: *device })
    }

    /// Clears the marks of the slots in `dirty[first..]` and removes those that had none.
    fn clear_marks(&mut self, dirty: &mut Vec<Slot>, first: usize) {
        let now = Instant::now();
        let mut kept = first;
        for index in first..dirty.len() {
            let slot = dirty[index];
            let end = self.dirty.values()[slot.0 as usize].swap(CLEAN, Ordering::SeqCst);
            if end == CLEAN || self.file(slot).is_none() {
                continue;
            }
            if self.early {
                self.unsettled.push(Unsettled { slot, end, give_up: now + SETTLE_LIMIT });
            }
            dirty[kept] = slot;
            kept += 1;
        }
        dirty.truncate(kept);
        // The caller reads the files next. The swaps must be visible before: then a write that the reading does not see
        // finds the mark cleared, and sets it.
        fence(Ordering::SeqCst);
    }

    fn file(&self, slot: Slot) -> Option<&Tracked> {
        self.files.get(slot.0 as usize)?.as_ref()
    }

    /// Appends the slots of files that an earlier drain reported before their size was visible, the first `before` of the
    /// unsettled ones, unless `dirty[first..]` has them; then drops all that have settled. In this order: what settles
    /// before the caller reads is read.
    fn report_unsettled(&mut self, dirty: &mut Vec<Slot>, first: usize, before: usize) {
        if self.unsettled.is_empty() {
            return;
        }
        dirty[first..].sort_unstable();
        let end = dirty.len();
        for waiting in &self.unsettled[..before] {
            if dirty[first..end].binary_search(&waiting.slot).is_err() {
                dirty.push(waiting.slot);
            }
        }
        let mut unsettled = std::mem::take(&mut self.unsettled);
        let now = Instant::now();
        unsettled.retain(|waiting| {
            let found = self.file(waiting.slot).and_then(|tracked| fstat(tracked.file.as_ref()?).ok());
            found.is_some_and(|found| (found.st_size as u64) < waiting.end) && now < waiting.give_up
        });
        self.unsettled = unsettled;
        if self.unsettled.is_empty() {
            self.settle_interval = SETTLE_INTERVAL;
        }
    }
}

fn fd_of(map: &Map) -> io::Result<BorrowedFd<'_>> {
    match map {
        Map::Array(data) | Map::RingBuf(data) => Ok(data.fd().as_fd()),
        _ => Err(io::Error::other("a map of the probe is of another type than expected")),
    }
}

impl Signal for EbpfSignal {
    fn track(&mut self, slot: Slot, file: BorrowedFd<'_>, _path: &Path) -> io::Result<()> {
        if slot.0 >= SLOTS {
            return Err(io::Error::other(format!(
                "the eBPF probe tracks {SLOTS} files at most; lower the limit of open files to about that, so that idle ones \
                 are closed"
            )));
        }
        self.untrack(slot);
        let key = self.key_of(file)?;
        let file = if self.early { Some(file.try_clone_to_owned()?) } else { None };
        // Before the look-up can find it.
        self.filter.add(key, &self.control.values()[0]);
        self.dirty.values()[slot.0 as usize].store(CLEAN, Ordering::SeqCst);
        if let Err(error) = self.tracked.insert(key.words(), u64::from(slot.0), 0) {
            self.filter.remove(key, &self.control.values()[0]);
            return Err(io::Error::other(error));
        }
        let index = slot.0 as usize;
        if self.files.len() <= index {
            self.files.resize_with(index + 1, || None);
        }
        self.files[index] = Some(Tracked { key, file });
        Ok(())
    }

    fn untrack(&mut self, slot: Slot) {
        let Some(Tracked { key, .. }) = self.files.get_mut(slot.0 as usize).and_then(Option::take) else {
            return;
        };
        // The key may meanwhile be that of another slot's file, as inode numbers are used again.
        if self.tracked.get(&key.words(), 0).is_ok_and(|found| found == u64::from(slot.0)) {
            // It can only fail if the key is not there.
            let _ = self.tracked.remove(&key.words());
        }
        self.filter.remove(key, &self.control.values()[0]);
        self.unsettled.retain(|waiting| waiting.slot != slot);
    }

    fn descriptors_per_file(&self) -> usize {
        usize::from(self.early)
    }

    async fn wait(&mut self) -> io::Result<()> {
        loop {
            self.control().armed.store(1, Ordering::SeqCst);
            // The probe first makes an event visible and then looks whether the collector is armed; here it is the other
            // way round, so that one of the two sees the other.
            fence(Ordering::SeqCst);
            if self.is_pending() {
                return Ok(());
            }
            let woken = self.readiness.next(self.events.as_fd());
            if self.unsettled.is_empty() {
                woken.await?;
            } else {
                return match timeout(self.settle_interval, woken).await {
                    Ok(woken) => woken,
                    Err(_) => {
                        self.settle_interval = (self.settle_interval * 2).min(SETTLE_INTERVAL_MAX);
                        Ok(())
                    }
                };
            }
        }
    }

    fn drain(&mut self, dirty: &mut Vec<Slot>) -> io::Result<()> {
        self.control().armed.store(0, Ordering::SeqCst);
        let first = dirty.len();
        let unsettled_before = self.unsettled.len();
        // All events before any mark is cleared: as a slot has but one event until then, this ends.
        while let Some(event) = self.events.next() {
            let slot = u64::from_ne_bytes(event[..size_of::<Event>()].try_into().map_err(io::Error::other)?);
            if slot < u64::from(SLOTS) {
                dirty.push(Slot(slot as u32));
            }
        }
        if self.control().dropped.swap(0, Ordering::SeqCst) != 0 {
            dirty.truncate(first);
            dirty.extend((0..self.files.len() as u32).map(Slot));
        }
        self.clear_marks(dirty, first);
        self.report_unsettled(dirty, first, unsettled_before);
        Ok(())
    }
}
