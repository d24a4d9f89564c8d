//! Memory that nobody needs any more goes back to the kernel.
//!
//! In: that a thread has nothing to do. Out: fewer resident pages. The program's allocator is mimalloc (`main.rs`); with another
//! one, as in tests, this has no effect. Knows nothing of what the memory was for.

/// Has mimalloc return freed pages at once, and not at some later call, which on an idle node may never come: reading the
/// kernel's types (BTF) at start alone would leave 25 MB. This costs nothing per line, as the hot path does not allocate.
pub fn give_back_at_once() {
    /// `mi_option_purge_delay` in mimalloc.h; the bindings leave it out.
    const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;
    // SAFETY: sets an integer that mimalloc reads; any value is allowed.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, 0) };
}

/// Gives back what this thread freed and mimalloc keeps for its next allocations: the last page of each size, and what other
/// threads freed of its own. To be called when a thread becomes idle, as it looks at every page of the thread.
pub fn give_back() {
    // SAFETY: no block that is in use is touched.
    unsafe { libmimalloc_sys::mi_collect(true) };
}
