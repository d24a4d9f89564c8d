//! QEMU's log of a program in user mode, where every instruction is a block of its own: counted while it is written, as it is
//! gigabytes long.
//!
//! In: what `-d in_asm,exec,nochain` makes QEMU write: each instruction once as it stands in memory, and then a line for each
//! time that it is executed. Out: how many there were. Of arm64's it is told which calculate with vectors: a search that takes
//! its scalar path instead of NEON shows itself so, and no symbols are needed for it.

use std::{
    collections::HashMap,
    io::{self, BufRead},
};

use super::counter::Count;

/// For QEMU's `-d`.
pub const LOGGED: &str = "in_asm,exec,nochain";

/// Counts the instructions of a log to its end.
///
/// # Errors
/// Those of reading.
pub fn count(mut log: impl BufRead, processor: &str) -> io::Result<Count> {
    let (mut instructions, mut vector) = (0, 0);
    let mut is_vector = HashMap::new();
    let mut line = Vec::new();
    while log.read_until(b'\n', &mut line)? > 0 {
        if let Some((address, word)) = instruction(&line) {
            is_vector.insert(address, calculates_with_vectors(word));
        } else if line.starts_with(b"Trace ") {
            instructions += 1;
            let known = executed(&line).and_then(|address| is_vector.get(&address));
            vector += u64::from(known.copied().unwrap_or(false));
        }
        line.clear();
    }
    Ok(Count { instructions, vector: (processor == "aarch64").then_some(vector) })
}

/// Address and encoding from `0x004c3c80:  4e20e420  cmeq v0.16b, ...`.
fn instruction(line: &[u8]) -> Option<(u64, u32)> {
    let (address, rest) = std::str::from_utf8(line.strip_prefix(b"0x")?).ok()?.split_once(':')?;
    let word = rest.split_ascii_whitespace().next()?;
    Some((u64::from_str_radix(address, 16).ok()?, u32::from_str_radix(word, 16).ok()?))
}

/// Address from `Trace 0: 0x7f8944000800 [0000000001009331/00000000011cc25c/00000001/00000201]`: the second of the numbers.
fn executed(line: &[u8]) -> Option<u64> {
    let numbers = std::str::from_utf8(line).ok()?.split_once('[')?.1;
    u64::from_str_radix(numbers.split('/').nth(1)?, 16).ok()
}

/// Whether an arm64 instruction is a vector's arithmetic: "Advanced SIMD" in the tables of the Arm Architecture Reference
/// Manual (C4.1, data processing). Without its scalar forms and its constants, and without loads and stores: compilers clear
/// and copy memory by these, whatever the program does.
fn calculates_with_vectors(word: u32) -> bool {
    let advanced_simd = word >> 31 == 0 && word >> 25 & 0xf == 0b0111;
    let constant = word >> 19 & 0x3ff == 0b01_1110_0000;
    advanced_simd && !constant
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_execution_counts_and_vectors_count_apart() {
        let log = "----------------\nIN: \n0x004000f0:  6e208c20  cmeq v0.16b, v1.16b, v0.16b\n\n\
                   Trace 0: 0x7f89 [0000000001009331/00000000004000f0/00000001/00000201] \n\
                   ----------------\nIN: \n0x004000f4:  aa0003e2  mov      x2, x0\n\nunimplemented\n\
                   Trace 0: 0x7f8a [0000000001009331/00000000004000f4/00000001/00000201] \n\
                   Trace 0: 0x7f89 [0000000001009331/00000000004000f0/00000001/00000201] \n";
        assert_eq!(count(log.as_bytes(), "aarch64").unwrap(), Count { instructions: 3, vector: Some(2) });
        assert_eq!(count(log.as_bytes(), "riscv64").unwrap(), Count { instructions: 3, vector: None });
    }

    #[test]
    fn arithmetic_of_vectors_is_told_from_copies_and_scalars() {
        // cmeq v0.16b; shrn v0.8b, v0.8h, #4; tbl v0.16b; umaxv b0, v0.16b; uminp v0.16b; dup v0.16b, w1
        for word in [0x6e20_8c20, 0x0f0c_8400, 0x4e02_0020, 0x6e30_a800, 0x6e20_ac00, 0x4e01_0c20] {
            assert!(calculates_with_vectors(word), "{word:08x}");
        }
        // movi v0.16b, #10; ldr q0, [x0]; ldp q0, q1, [x0]; str q0, [x0]; ld1 {v0.16b}, [x0]
        for word in [0x4f00_e540, 0x3dc0_0000, 0xad40_0400, 0x3d80_0000, 0x4c40_7000] {
            assert!(!calculates_with_vectors(word), "{word:08x}");
        }
        // fmov x0, d0; fadd d0, d0, d0; add x0, x0, x1; ret
        for word in [0x9e66_0000, 0x1e60_2800, 0x8b01_0000, 0xd65f_03c0] {
            assert!(!calculates_with_vectors(word), "{word:08x}");
        }
    }
}
