//! CRI records: read as the kubelet reads them (`parseCRILog` in kubernetes/cri-client/pkg/logs/logs.go), and what is none
//! is shipped as it is.

use collector::model::Stream;

use crate::{parser::only_line, timestamps::slowly};

/// One record: what stands before the first newline.
pub fn check(input: &[u8]) {
    let record = input.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if record.first() == Some(&b'{') {
        return;
    }
    let (line, counts) = only_line(record);
    match reference(record) {
        Some((timestamp_ns, stream, content)) => {
            assert_eq!((counts.cri_records, counts.raw_records), (1, 0));
            assert_eq!((line.timestamp_ns, line.stream), (timestamp_ns, stream));
            assert_eq!(line.text, String::from_utf8_lossy(content));
        }
        None => {
            assert_eq!((counts.cri_records, counts.raw_records), (0, 1));
            assert_eq!((line.stream, line.text), (Stream::Stdout, String::from_utf8_lossy(record).into_owned()));
        }
    }
}

fn reference(record: &[u8]) -> Option<(i64, Stream, &[u8])> {
    let mut fields = record.splitn(4, |byte| *byte == b' ');
    let time = fields.next()?;
    let (timestamp_ns, len) = slowly(time)?;
    let stream = match fields.next()? {
        b"stdout" => Stream::Stdout,
        b"stderr" => Stream::Stderr,
        _ => return None,
    };
    let first_tag = fields.next()?.split(|byte| *byte == b':').next()?;
    let content = fields.next().unwrap_or_default();
    (len == time.len() && matches!(first_tag, b"P" | b"F")).then_some((timestamp_ns, stream, content))
}
