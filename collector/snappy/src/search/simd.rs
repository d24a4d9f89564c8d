//! Bytes compared several at once: SSE2 and NEON, which every x86_64 and every aarch64 has, and byte by byte for
//! others, and to test the vectors against.
//!
//! In: arrays. Out: a bit for each byte, the first byte's lowest. Unsafe is only that the processor has the instructions.

#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64::{equal_16, equal_32};

#[cfg(target_arch = "aarch64")]
pub(crate) use aarch64::{equal_16, equal_32};

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(crate) use scalar::{equal_16, equal_32};

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use std::arch::x86_64::{__m128i, _mm_cmpeq_epi8, _mm_loadu_si128, _mm_movemask_epi8};

    #[inline(always)]
    fn vector(bytes: &[u8; 16]) -> __m128i {
        // SAFETY: 16 bytes are borrowed, and need no alignment. SSE2 belongs to every x86_64, here and below.
        unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
    }

    /// Which bytes are the same.
    #[inline(always)]
    pub(crate) fn equal_16(a: &[u8; 16], b: &[u8; 16]) -> u32 {
        // SAFETY: SSE2.
        unsafe { _mm_movemask_epi8(_mm_cmpeq_epi8(vector(a), vector(b))) as u32 }
    }

    /// Which bytes are the same.
    #[inline(always)]
    pub(crate) fn equal_32(a: &[u8; 32], b: &[u8; 32]) -> u32 {
        let [low, high] = [0, 1].map(|index| equal_16(&a.as_chunks().0[index], &b.as_chunks().0[index]));
        low | high << 16
    }
}

#[cfg(target_arch = "aarch64")]
mod aarch64 {
    use std::arch::aarch64::{
        uint8x16_t, vandq_u8, vceqq_u8, vgetq_lane_u32, vld1q_u8, vpaddq_u8, vreinterpretq_u32_u8,
    };

    /// Of each byte of eight its bit.
    const WEIGHTS: [u8; 16] = [1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128];

    #[inline(always)]
    fn vector(bytes: &[u8; 16]) -> uint8x16_t {
        // SAFETY: 16 bytes are borrowed, and need no alignment. NEON belongs to every aarch64 that Rust compiles for, here and below.
        unsafe { vld1q_u8(bytes.as_ptr()) }
    }

    /// Adds neighbours: of eight bytes that have a bit each, after three times, one that has all of them.
    #[inline(always)]
    fn sums(a: uint8x16_t, b: uint8x16_t) -> uint8x16_t {
        // SAFETY: NEON.
        unsafe { vpaddq_u8(a, b) }
    }

    #[inline(always)]
    fn equal_bits(a: &[u8; 16], b: &[u8; 16]) -> uint8x16_t {
        // SAFETY: NEON.
        unsafe { vandq_u8(vceqq_u8(vector(a), vector(b)), vector(&WEIGHTS)) }
    }

    #[inline(always)]
    fn lowest_32(bits: uint8x16_t) -> u32 {
        // SAFETY: NEON.
        unsafe { vgetq_lane_u32::<0>(vreinterpretq_u32_u8(bits)) }
    }

    /// Which bytes are the same.
    #[inline(always)]
    pub(crate) fn equal_16(a: &[u8; 16], b: &[u8; 16]) -> u32 {
        let bits = equal_bits(a, b);
        let pairs = sums(bits, bits);
        let fours = sums(pairs, pairs);
        lowest_32(sums(fours, fours)) & 0xffff
    }

    /// Which bytes are the same.
    #[inline(always)]
    pub(crate) fn equal_32(a: &[u8; 32], b: &[u8; 32]) -> u32 {
        let [low, high] = [0, 1].map(|index| equal_bits(&a.as_chunks().0[index], &b.as_chunks().0[index]));
        let pairs = sums(low, high);
        let fours = sums(pairs, pairs);
        lowest_32(sums(fours, fours))
    }
}

#[cfg(any(test, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
#[cfg_attr(any(target_arch = "x86_64", target_arch = "aarch64"), allow(dead_code))]
mod scalar {
    fn bits(is: impl Iterator<Item = bool>) -> u64 {
        is.enumerate().fold(0, |bits, (at, is)| bits | u64::from(is) << at)
    }

    /// Which bytes are the same.
    pub(crate) fn equal_16(a: &[u8; 16], b: &[u8; 16]) -> u32 {
        bits(a.iter().zip(b).map(|(a, b)| a == b)) as u32
    }

    /// Which bytes are the same.
    pub(crate) fn equal_32(a: &[u8; 32], b: &[u8; 32]) -> u32 {
        bits(a.iter().zip(b).map(|(a, b)| a == b)) as u32
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert_eq, proptest};

    use super::scalar;

    proptest! {
        #[test]
        fn vectors_compare_bytes_as_a_loop_does(bytes: [[u8; 32]; 2], equal: u32) {
            let [a, mut b] = bytes;
            for at in (0..32).filter(|at| equal >> at & 1 == 1) {
                b[at] = a[at];
            }
            prop_assert_eq!(super::equal_32(&a, &b), scalar::equal_32(&a, &b));
            let (a_16, b_16) = (a.first_chunk().unwrap(), b.first_chunk().unwrap());
            prop_assert_eq!(super::equal_16(a_16, b_16), scalar::equal_16(a_16, b_16));
        }
    }
}
