//! Nothing on a line's way needs memory of its own once buffers have grown. A test program apart, as its allocator counts.

mod batch;
mod levels;
mod parse;
mod read;
mod stages;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

thread_local! {
    /// Allocations of this thread: the test harness's other threads do not disturb.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

fn count() {
    // `try_with`: the allocator is still called while a thread ends.
    let _ = ALLOCATIONS.try_with(|n| n.set(n.get() + 1));
}

// SAFETY: every call goes to the system allocator unchanged; counting touches a thread's own integer and allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as our caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count();
        // SAFETY: as our caller promised.
        unsafe { System.realloc(ptr, layout, new_size) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: as our caller promised.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// What this thread has allocated so far.
fn allocated() -> u64 {
    ALLOCATIONS.get()
}

/// Runs the same twice: buffers grow in the first round, and in the second nothing is allocated.
fn only_the_first_round_allocates(what: &str, mut round: impl FnMut()) {
    let mut allocations = || {
        let before = allocated();
        round();
        allocated() - before
    };
    assert!(allocations() > 0, "the counter counts");
    assert_eq!(allocations(), 0, "{what}");
}
