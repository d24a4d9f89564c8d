//! Lines: any way of cutting a log into chunks gives the same ones, and a restart anywhere repeats some and loses none.

use collector::{config::Oversize, model::Stream};

use crate::parser::{Fed, Owned};

/// The header of an input: limit, mode, stop, and the lengths of the chunks.
const HEADER: usize = 8;

/// Bytes of a log behind the header.
pub fn check(input: &[u8]) {
    let Some((&[limit, mode, stop, ref lens @ ..], log)) = input.split_first_chunk::<HEADER>() else { return };
    let max = usize::from(limit);
    let oversize = if mode.is_multiple_of(2) { Oversize::Split } else { Oversize::Cut };

    let (mut whole, mut chunked) = (Fed::new(max, oversize), Fed::new(max, oversize));
    feed_in_chunks(&mut whole, log, &[usize::MAX]);
    feed_in_chunks(&mut chunked, log, &lens.map(|len| 1 + usize::from(len)));
    assert_eq!(whole.resume(log.len()), chunked.resume(log.len()));
    whole.flush();
    chunked.flush();
    assert_eq!(whole.lines, chunked.lines);
    assert_eq!(whole.counts, chunked.counts);
    assert!(whole.lines.iter().all(|line| line.text.len() <= max.max(4)), "longer than {max}");

    // A line that seems endless may be resumed in its middle, see decode/partial.rs.
    if log.len() <= 16 * max {
        restart(log, log.len() * usize::from(stop) / 255, max, oversize, &whole.lines);
    }
}

/// A run up to `stop`, and another from where it says: of all lines of a stream, the second has exactly those that the first had
/// not given out when it was there.
fn restart(log: &[u8], stop: usize, max: usize, oversize: Oversize, all: &[Owned]) {
    let mut first = Fed::new(max, oversize);
    // How many lines of each stream were out at the end of each record.
    let mut given_out = vec![(0, [0, 0])];
    let mut done = 0;
    for record in log[..stop].split_inclusive(|byte| *byte == b'\n') {
        done += first.feed(record, done);
        given_out.push((done, Stream::ALL.map(|stream| of_stream(&first.lines, stream).len())));
    }
    let resume = first.resume(done);
    let begin = resume[0].min(resume[1]);
    let mut second = Fed::new(max, oversize);
    second.pass_over(resume);
    let consumed = second.feed(&log[begin..], begin);
    second.feed_unterminated(&log[begin + consumed..], begin + consumed);
    second.flush();
    for stream in Stream::ALL {
        let resume = resume[stream as usize];
        let before = given_out.iter().rev().find(|(at, _)| *at == resume).expect("a record begins there").1;
        let expected = &of_stream(all, stream)[before[stream as usize]..];
        assert_eq!(expected, of_stream(&second.lines, stream), "resumed at {resume}");
    }
}

/// The texts of a stream's lines.
fn of_stream(lines: &[Owned], stream: Stream) -> Vec<&str> {
    lines.iter().filter(|line| line.stream == stream).map(|line| &*line.text).collect()
}

/// Feeds `log` as a reader would: what was not consumed comes again in front.
fn feed_in_chunks(fed: &mut Fed, log: &[u8], lens: &[usize]) {
    let (mut begin, mut end) = (0, 0);
    for len in lens.iter().cycle() {
        if end == log.len() {
            break;
        }
        end = end.saturating_add(*len).min(log.len());
        begin += fed.feed(&log[begin..end], begin);
    }
    fed.feed_unterminated(&log[begin..], begin);
}
