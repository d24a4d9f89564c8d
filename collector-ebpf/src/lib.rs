//! The types that the probe and the collector share.
#![no_std]
