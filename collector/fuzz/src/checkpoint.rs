//! The checkpoint file: no bytes panic, what is read is written as it was, and a torn file is never taken for a whole one.

use collector::checkpoint::{decode, encode};

/// A checkpoint file, or the body of one.
pub fn check(input: &[u8]) {
    check_file(input);
    // The checksum would stop nearly every input here.
    let mut crc = flate2::Crc::new();
    crc.update(input);
    let file = [format!("pilcrow-checkpoint 1 {:08x}\n", crc.sum()).as_bytes(), input].concat();
    check_file(&file);
}

fn check_file(file: &[u8]) {
    let Ok(snapshot) = decode(file) else { return };
    let encoded = encode(&snapshot);
    let again = decode(&encoded);
    assert_eq!(again.as_ref(), Ok(&snapshot));
    assert_eq!(again.map(|snapshot| encode(&snapshot)), Ok(encoded.clone()));
    let torn_at = file.len() * 7 % encoded.len();
    assert!(decode(&encoded[..torn_at]).is_err(), "torn after {torn_at} bytes");
}
