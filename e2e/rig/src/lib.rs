//! What Pilcrow is tested with.
