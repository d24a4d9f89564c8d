//! What the kernel says about a process and its children: CPU time, memory, wake-ups.

use std::{collections::HashMap, fs, io, time::Duration};

use serde::Serialize;

/// A running process and its descendants, the process first.
pub fn tree(pid: u32) -> Vec<u32> {
    let mut all = vec![pid];
    let mut seen = 0;
    while let Some(pid) = all.get(seen).copied() {
        seen += 1;
        let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { continue };
        for thread in threads.flatten() {
            let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            all.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
    }
    all
}

/// CPU time, all threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Cpu {
    /// In the program itself, seconds.
    pub user_s: f64,
    /// In the kernel for it, seconds.
    pub system_s: f64,
}

impl Cpu {
    /// Of a running process since its start, ended threads included; exact to two ticks (20 ms).
    ///
    /// # Errors
    /// Where the process is gone.
    pub fn of(pid: u32) -> io::Result<Self> {
        let own = Self::of_one(pid)?;
        // A child may end in between.
        let children = tree(pid).into_iter().skip(1).filter_map(|child| Self::of_one(child).ok());
        Ok(children.fold(own, |sum, child| Self {
            user_s: sum.user_s + child.user_s,
            system_s: sum.system_s + child.system_s,
        }))
    }

    fn of_one(pid: u32) -> io::Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        Self::parse(&stat, rustix::param::clock_ticks_per_second() as f64).ok_or_else(|| unreadable("stat"))
    }

    fn parse(stat: &str, ticks_per_second: f64) -> Option<Self> {
        // The command's name, in parentheses, may hold anything; utime and stime are the 12th and 13th field after it.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
        let mut seconds = || Some(fields.next()?.parse::<f64>().ok()? / ticks_per_second);
        Some(Self { user_s: seconds()?, system_s: seconds()? })
    }

    /// User and system together, seconds.
    pub fn total_s(&self) -> f64 {
        self.user_s + self.system_s
    }

    /// What was used since `before`.
    pub fn since(&self, before: &Self) -> Self {
        Self { user_s: self.user_s - before.user_s, system_s: self.system_s - before.system_s }
    }
}

/// Memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Memory {
    /// The most that was ever resident; of several processes the sum, whenever each had its most.
    pub peak_bytes: u64,
    /// Resident now.
    pub resident_bytes: u64,
    /// Of that, what belongs to no file: heap and stacks.
    pub anonymous_bytes: u64,
}

impl Memory {
    /// Of a running process.
    ///
    /// # Errors
    /// Where the process is gone.
    pub fn of(pid: u32) -> io::Result<Self> {
        let own = Self::of_one(pid)?;
        let children = tree(pid).into_iter().skip(1).filter_map(|child| Self::of_one(child).ok());
        Ok(children.fold(own, |sum, child| Self {
            peak_bytes: sum.peak_bytes + child.peak_bytes,
            resident_bytes: sum.resident_bytes + child.resident_bytes,
            anonymous_bytes: sum.anonymous_bytes + child.anonymous_bytes,
        }))
    }

    fn of_one(pid: u32) -> io::Result<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        Self::parse(&status).ok_or_else(|| unreadable("status"))
    }

    fn parse(status: &str) -> Option<Self> {
        let bytes = |key| value(status, key).map(|kib| kib * 1024);
        Some(Self {
            peak_bytes: bytes("VmHWM:")?,
            resident_bytes: bytes("VmRSS:")?,
            anonymous_bytes: bytes("RssAnon:")?,
        })
    }
}

/// A process's threads at one moment: their CPU time to the nanosecond, which [`Cpu`] has not, and their wake-ups.
#[derive(Clone, Debug, Default)]
pub struct Threads(HashMap<String, Thread>);

#[derive(Clone, Copy, Debug, Default)]
struct Thread {
    cpu: Duration,
    /// Voluntary context switches: it waited, and was woken.
    waits: u64,
}

impl Threads {
    /// Of a running process.
    ///
    /// # Errors
    /// Where the process is gone.
    pub fn of(pid: u32) -> io::Result<Self> {
        let mut threads = HashMap::new();
        let folders = tree(pid).into_iter().filter_map(|pid| fs::read_dir(format!("/proc/{pid}/task")).ok()).flatten();
        for entry in folders {
            let folder = entry?.path();
            // A thread may end in between.
            let (Ok(run), Ok(status)) =
                (fs::read_to_string(folder.join("schedstat")), fs::read_to_string(folder.join("status")))
            else {
                continue;
            };
            let cpu_ns = run.split_whitespace().next().and_then(|field| field.parse().ok());
            let cpu = Duration::from_nanos(cpu_ns.ok_or_else(|| unreadable("schedstat"))?);
            let waits = value(&status, "voluntary_ctxt_switches:").ok_or_else(|| unreadable("status"))?;
            threads
                .insert(folder.file_name().unwrap_or_default().to_string_lossy().into_owned(), Thread { cpu, waits });
        }
        Ok(Self(threads))
    }

    /// CPU time and wake-ups since `before`, but for threads that ended since then.
    pub fn since(&self, before: &Self) -> (Duration, u64) {
        let differences = self.0.iter().map(|(id, now)| {
            let then = before.0.get(id).copied().unwrap_or_default();
            (now.cpu.saturating_sub(then.cpu), now.waits.saturating_sub(then.waits))
        });
        differences.fold((Duration::ZERO, 0), |sum, thread| (sum.0 + thread.0, sum.1 + thread.1))
    }
}

/// The number behind `key` in a file of `key: number unit` lines.
fn value(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key))?.split_whitespace().next()?.parse().ok()
}

fn unreadable(file: &str) -> io::Error {
    io::Error::other(format!("cannot make sense of /proc's {file}"))
}

#[cfg(test)]
mod tests {
    use std::process;

    use super::*;

    #[test]
    fn cpu_time_is_read_whatever_the_command_is_called() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194304 100 0 0 0 150 50 0 0 20 0 3 0 100 1000000 500";
        assert_eq!(Cpu::parse(stat, 100.0), Some(Cpu { user_s: 1.5, system_s: 0.5 }));
    }

    #[test]
    fn memory_is_read_in_bytes() {
        let status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\nRssAnon:\t 512 kB\n";
        let expected = Memory { peak_bytes: 2 << 20, resident_bytes: 1 << 20, anonymous_bytes: 512 << 10 };
        assert_eq!(Memory::parse(status), Some(expected));
    }

    #[test]
    fn children_belong_to_their_parent() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let tree = tree(process::id());
        // Other tests may make this process's own peak higher at any moment.
        let (own, all) = (Memory::of_one(process::id()).unwrap(), Memory::of(process::id()).unwrap());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(tree[0] == process::id() && tree.contains(&child.id()), "{tree:?}");
        assert!(all.peak_bytes > own.peak_bytes);
    }

    #[test]
    fn this_process_waits_and_works() {
        let before = Threads::of(process::id()).unwrap();
        let thread = std::thread::spawn(|| {
            std::thread::sleep(Duration::from_millis(1));
            Threads::of(process::id()).unwrap()
        });
        let (cpu, waits) = thread.join().unwrap().since(&before);
        assert!(cpu > Duration::ZERO && waits > 0);
        assert!(Memory::of(process::id()).unwrap().anonymous_bytes > 0);
        assert!(Cpu::of(process::id()).unwrap().total_s() >= 0.0);
    }
}
