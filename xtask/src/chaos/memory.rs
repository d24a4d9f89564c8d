//! How much memory the collectors took, phase by phase.
//!
//! In: looks at the running process, and which phase it is in: a kind of weather, the drain after SIGTERM, or the end. Out: the largest
//! resident size (VmHWM) of each phase, which is the kernel's own and so misses no peak between two looks; it is reset where a
//! phase begins (`clear_refs`). A phase's last milliseconds may be missed where the process ends.

use std::{collections::BTreeMap, fs};

use anyhow::ensure;
use rig::{metrics::Usage, program::Collector};

/// The end of a collector that was asked to end.
const DRAIN: &str = "Drain";
/// All lines are written, and no faults are injected any more.
pub const SETTLING: &str = "Settling";

#[derive(Clone, Debug, Default)]
pub struct Memory {
    phase: String,
    peaks: BTreeMap<String, u64>,
}

impl Memory {
    /// Before the first kind of weather.
    pub fn at_the_start() -> Self {
        Self { phase: "Start".into(), ..Self::default() }
    }

    /// Another phase begins; `pid` is the running collector, if there is one.
    pub fn enter(&mut self, phase: impl Into<String>, pid: Option<u32>) {
        if let Some(pid) = pid {
            self.look(pid);
            // Where that is not permitted the peak of the phase before counts for this one too, which hides nothing.
            let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
        }
        self.phase = phase.into();
    }

    /// SIGTERM, and waits for the end; then it is the phase before again.
    pub fn drain(&mut self, mut collector: Collector) -> anyhow::Result<()> {
        let before = self.phase.clone();
        self.enter(DRAIN, Some(collector.pid()));
        collector.terminate_watching(|pid| self.look(pid))?;
        self.phase = before;
        Ok(())
    }

    /// Takes what the kernel reports now.
    pub fn look(&mut self, pid: u32) {
        // A process that is ending reports no memory any more.
        let Ok(usage) = Usage::of(pid) else { return };
        let peak = self.peaks.entry(self.phase.clone()).or_default();
        *peak = usage.peak_bytes.max(*peak);
    }

    /// The largest of each phase, in bytes.
    pub fn peaks(&self) -> &BTreeMap<String, u64> {
        &self.peaks
    }
}

/// An error where a phase took more.
pub fn judge(peaks: &BTreeMap<String, u64>, bound_mib: u64) -> anyhow::Result<()> {
    let above: Vec<_> = peaks
        .iter()
        .filter(|(_, bytes)| **bytes > bound_mib << 20)
        .map(|(phase, bytes)| format!("{phase} {} MiB", bytes >> 20))
        .collect();
    ensure!(above.is_empty(), "more memory than {bound_mib} MiB: {}", above.join(", "));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_phase_has_the_largest_size_that_was_seen_in_it() {
        let mut memory = Memory::default();
        memory.enter("Fair", None);
        memory.look(std::process::id());
        memory.enter(DRAIN, Some(std::process::id()));
        memory.look(std::process::id());
        assert_eq!(memory.peaks().keys().collect::<Vec<_>>(), [DRAIN, "Fair"]);
        assert!(memory.peaks().values().all(|bytes| *bytes > 0));
    }

    #[test]
    fn a_phase_above_the_bound_is_named() {
        let peaks = BTreeMap::from([("Fair".to_owned(), 10 << 20), (DRAIN.to_owned(), 65 << 20)]);
        assert!(judge(&peaks, 65).is_ok());
        assert_eq!(judge(&peaks, 64).unwrap_err().to_string(), "more memory than 64 MiB: Drain 65 MiB");
    }
}
