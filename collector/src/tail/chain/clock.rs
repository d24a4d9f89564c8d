//! What records without a time get theirs from.

use std::os::fd::AsFd;

use rustix::fs::{AtFlags, StatxFlags, statx};

use crate::{
    decode::{Clock, first_timestamp_ns},
    tail::apart::read_range,
};

/// So far back a record with a time is looked for.
const WINDOW_BYTES: u64 = 64 << 10;

/// The clock for a file that is read from `offset` on: the last record before it that has a time, else when the file was made,
/// or where the file system does not know that, last written to. The same whenever the same file is read from there.
pub fn clock_before(file: impl AsFd, offset: u64) -> Clock {
    let file = file.as_fd();
    let start = offset.saturating_sub(WINDOW_BYTES);
    let before = match offset {
        0 => Vec::new(),
        _ => read_range(file, start, (offset - start) as usize).unwrap_or_default(),
    };
    clock_in(start, &before).unwrap_or_else(|| Clock { timestamp_ns: made_ns(file), offset: 0 })
}

/// The last record with a time in `bytes`, which begin at `start` of a file; `None` where none has one.
pub fn clock_in(start: u64, bytes: &[u8]) -> Option<Clock> {
    let mut end = bytes.len();
    while end > 0 {
        let begin = memchr::memrchr(b'\n', &bytes[..end - 1]).map_or(0, |newline| newline + 1);
        if begin == 0 && start > 0 {
            break;
        }
        if let Some(timestamp_ns) = first_timestamp_ns(&bytes[begin..end]) {
            return Some(Clock { timestamp_ns, offset: start + begin as u64 });
        }
        end = begin;
    }
    None
}

fn made_ns(file: impl AsFd) -> i64 {
    // What is in memory, as a server may not answer; it was asked when the file was opened.
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    let Ok(stat) = statx(file, c"", flags, StatxFlags::BTIME | StatxFlags::MTIME) else { return 0 };
    let is_known = StatxFlags::from_bits_retain(stat.stx_mask).contains(StatxFlags::BTIME);
    let time = if is_known { stat.stx_btime } else { stat.stx_mtime };
    time.tv_sec.saturating_mul(1_000_000_000).saturating_add(i64::from(time.tv_nsec))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::*;

    #[test]
    fn a_record_without_a_time_has_that_of_the_last_one_before_it_that_has_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0.log");
        let timed = "2026-01-02T03:04:05Z stdout F a\n";
        fs::write(&path, format!("raw\n{timed}raw\nraw\n")).unwrap();
        let file = File::open(&path).unwrap();
        let clock = clock_before(&file, (4 + timed.len() + 4) as u64);
        assert_eq!((clock.timestamp_ns, clock.offset), (1_767_323_045_000_000_000, 4));
        let unknown = clock_before(&file, 4);
        assert_eq!((unknown.timestamp_ns, unknown.offset), (made_ns(&file), 0));
        assert!(unknown.timestamp_ns > clock.timestamp_ns);
    }
}
