//! Ships the log files that it is given to HOST:PORT in the cheapest way there is ([`benches::floor`]), prints how many
//! records that were, and stays until its input ends, so that its CPU time can be read.

use std::{env, io, path::PathBuf};

fn main() -> io::Result<()> {
    let mut arguments = env::args_os().skip(1);
    let address = arguments.next().and_then(|address| address.into_string().ok());
    let files: Vec<PathBuf> = arguments.map(PathBuf::from).collect();
    let Some(address) = address else { return Err(io::Error::other("usage: floor HOST:PORT FILE...")) };
    println!("{}", benches::floor::ship(&files, &address)?);
    io::copy(&mut io::stdin().lock(), &mut io::sink())?;
    Ok(())
}
