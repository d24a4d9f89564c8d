//! As much of an HTTP server as pushing collectors need: kept connections, bodies with a length or in chunks.

use std::io::{self, BufRead, BufReader, Read, Write};

/// More than any request of a collector.
const BODY_BYTES_MAX: usize = 256 << 20;

/// A request that has come in whole.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// `POST`
    pub method: String,
    /// `application/json`, lower case; empty where it was not said.
    pub content_type: String,
    /// `gzip`, lower case; empty where it was not said.
    pub content_encoding: String,
    /// Not decoded.
    pub body: Vec<u8>,
}

/// The next request of a connection; nothing when the client has closed it. `interim` takes what is to be answered before
/// the body comes.
pub fn read(input: &mut BufReader<impl Read>, interim: &mut impl Write) -> io::Result<Option<Request>> {
    let mut request = Request::default();
    let (mut length, mut chunked, mut line) = (0, false, String::new());
    if input.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    request.method = line.split(' ').next().unwrap_or_default().to_owned();
    loop {
        line.clear();
        if input.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let Some((name, value)) = line.split_once(':') else { break };
        let value = value.trim().to_ascii_lowercase();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().map_err(io::Error::other)?,
            "transfer-encoding" => chunked = value == "chunked",
            "content-type" => request.content_type = value,
            "content-encoding" => request.content_encoding = value,
            "expect" => interim.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?,
            _ => {}
        }
    }
    if !chunked {
        append(input, length, &mut request.body)?;
        return Ok(Some(request));
    }
    loop {
        line.clear();
        input.read_line(&mut line)?;
        let digits = line.trim().split(';').next().unwrap_or_default();
        let bytes = usize::from_str_radix(digits, 16).map_err(io::Error::other)?;
        append(input, bytes, &mut request.body)?;
        line.clear();
        input.read_line(&mut line)?;
        if bytes == 0 {
            return Ok(Some(request));
        }
    }
}

fn append(input: &mut impl Read, bytes: usize, body: &mut Vec<u8>) -> io::Result<()> {
    let filled = body.len();
    if filled.saturating_add(bytes) > BODY_BYTES_MAX {
        return Err(io::Error::other("a body that is too long"));
    }
    body.resize(filled + bytes, 0);
    input.read_exact(&mut body[filled..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_follow_each_other_on_a_connection() {
        let wire = "POST /loki/api/v1/push HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 3\r\n\r\nabc\
                    POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Encoding: gzip\r\nExpect: 100-continue\r\n\r\n\
                    2\r\nde\r\n1;x=y\r\nf\r\n0\r\n\r\nGET /ready HTTP/1.1\r\n\r\n";
        let (mut input, mut interim) = (BufReader::new(wire.as_bytes()), Vec::new());
        let mut next = || read(&mut input, &mut interim).unwrap();
        let first = next().unwrap();
        assert_eq!((first.body.as_slice(), first.content_type.as_str()), (&b"abc"[..], "application/json"));
        let second = next().unwrap();
        assert_eq!((second.body.as_slice(), second.content_encoding.as_str()), (&b"def"[..], "gzip"));
        assert_eq!(next().unwrap().method, "GET");
        assert_eq!(next(), None);
        assert!(interim.starts_with(b"HTTP/1.1 100"));
    }

    #[test]
    fn a_request_that_breaks_off_is_an_error() {
        let wire = "POST / HTTP/1.1\r\nContent-Length: 30\r\n\r\nabc";
        assert!(read(&mut BufReader::new(wire.as_bytes()), &mut Vec::new()).is_err());
    }
}
