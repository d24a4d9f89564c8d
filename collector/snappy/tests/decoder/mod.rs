//! Snappy's block format read byte by byte, after its format_description.txt and nothing else: slow, and clear enough to be right.

/// What a block holds. `None`: it is none.
pub fn decode(block: &[u8]) -> Option<Vec<u8>> {
    let mut rest = block.iter().copied();
    let expected = length(&mut rest)?;
    let mut out: Vec<u8> = Vec::new();
    while let Some(tag) = rest.next() {
        let upper = usize::from(tag >> 2);
        let (len, distance) = match tag & 3 {
            0 => {
                let len = if upper < 60 { upper } else { little_endian(&mut rest, upper - 59)? };
                for _ in 0..=len {
                    out.push(rest.next()?);
                }
                continue;
            }
            1 => (4 + (upper & 7), (upper >> 3) << 8 | little_endian(&mut rest, 1)?),
            2 => (1 + upper, little_endian(&mut rest, 2)?),
            _ => (1 + upper, little_endian(&mut rest, 4)?),
        };
        for _ in 0..len {
            let from = out.len().checked_sub(distance).filter(|_| distance > 0)?;
            out.push(out[from]);
        }
    }
    (out.len() == expected).then_some(out)
}

fn length(rest: &mut impl Iterator<Item = u8>) -> Option<usize> {
    let mut len = 0;
    for shift in (0..35).step_by(7) {
        let byte = rest.next()?;
        len |= usize::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(len);
        }
    }
    None
}

fn little_endian(rest: &mut impl Iterator<Item = u8>, bytes: usize) -> Option<usize> {
    (0..bytes).try_fold(0, |value, index| Some(value | usize::from(rest.next()?) << (8 * index)))
}
