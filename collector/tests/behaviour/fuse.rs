//! A file system with one file, `0.log`, whose server can stop answering: the kernel's side of it is FUSE, this is the other.
//!
//! The protocol is that of include/uapi/linux/fuse.h, version 7.31.

use std::{
    fs::{self, File},
    io::{Read, Write},
    os::fd::{AsFd, AsRawFd},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags},
    io::FdFlags,
};

/// How the server behaves.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Every request is answered.
    Serve,
    /// Every request but those to read, which are answered when the mode changes.
    HoldReads,
    /// No request is taken from the kernel.
    Silent,
}

/// The mounted file system; unmounted when it is dropped.
pub struct Fuse {
    shared: Arc<Shared>,
    server: Option<JoinHandle<()>>,
    folder: PathBuf,
}

struct Shared {
    mode: Mutex<Mode>,
    content: Mutex<Vec<u8>>,
    ends: AtomicBool,
}

impl Fuse {
    /// `None` where that cannot be done; prints why.
    pub fn mount(folder: &Path) -> Option<Self> {
        let Ok(device) = fs::OpenOptions::new().read(true).write(true).open("/dev/fuse") else {
            println!("SKIPPED: there is no /dev/fuse, or it cannot be opened");
            return None;
        };
        // For mount(8), which hands it to the kernel.
        rustix::io::fcntl_setfd(&device, FdFlags::empty()).unwrap();
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", device.as_raw_fd());
        let mount = Command::new("mount").args(["-i", "-t", "fuse", "-o", &options, "test"]).arg(folder).output();
        rustix::io::fcntl_setfd(&device, FdFlags::CLOEXEC).unwrap();
        if !mount.is_ok_and(|mount| mount.status.success()) {
            println!("SKIPPED: cannot mount");
            return None;
        }
        let shared =
            Arc::new(Shared { mode: Mutex::new(Mode::Serve), content: Mutex::default(), ends: AtomicBool::new(false) });
        let server = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || Server { device, shared, held: Vec::new() }.serve()
        });
        Some(Self { shared, server: Some(server), folder: folder.into() })
    }

    pub fn append(&self, bytes: &[u8]) {
        self.shared.content.lock().unwrap().extend_from_slice(bytes);
    }

    pub fn set(&self, mode: Mode) {
        *self.shared.mode.lock().unwrap() = mode;
    }
}

impl Drop for Fuse {
    fn drop(&mut self) {
        // Closing the device ends every request.
        self.shared.ends.store(true, Ordering::Release);
        self.server.take().unwrap().join().unwrap();
        let _ = Command::new("umount").arg("--lazy").arg(&self.folder).status();
    }
}

const ROOT: u64 = 1;
const LOG: u64 = 2;
const NAME: &[u8] = b"0.log";
const HEADER_BYTES: usize = 40;

struct Server {
    device: File,
    shared: Arc<Shared>,
    /// Reads that are not answered yet, as they came.
    held: Vec<Vec<u8>>,
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

impl Server {
    fn serve(mut self) {
        let mut buffer = vec![0; 1 << 18];
        while !self.shared.ends.load(Ordering::Acquire) {
            let mode = *self.shared.mode.lock().unwrap();
            if mode == Mode::Silent {
                std::thread::sleep(Duration::from_millis(5));
                continue;
            }
            if mode == Mode::Serve {
                for request in std::mem::take(&mut self.held) {
                    self.answer(&request);
                }
            }
            let timeout = rustix::time::Timespec { tv_sec: 0, tv_nsec: 5_000_000 };
            let mut ready = [PollFd::from_borrowed_fd(self.device.as_fd(), PollFlags::IN)];
            if rustix::event::poll(&mut ready, Some(&timeout)).is_ok_and(|count| count > 0) {
                let Ok(len) = self.device.read(&mut buffer) else { continue };
                let request = buffer[..len].to_vec();
                match u32_at(&request, 4) {
                    15 if mode == Mode::HoldReads => self.held.push(request),
                    // An interrupt: who waits for a read is killed.
                    36 => {
                        let of = u64_at(&request, HEADER_BYTES);
                        if let Some(index) = self.held.iter().position(|held| u64_at(held, 8) == of) {
                            self.held.remove(index);
                            self.reply(of, -4, &[]);
                        }
                    }
                    _ => self.answer(&request),
                }
            }
        }
    }

    fn reply(&mut self, unique: u64, error: i32, body: &[u8]) {
        let mut reply = Vec::new();
        reply.extend(((16 + body.len()) as u32).to_le_bytes());
        reply.extend(error.to_le_bytes());
        reply.extend(unique.to_le_bytes());
        reply.extend(body);
        // It may have been interrupted meanwhile.
        let _ = self.device.write(&reply);
    }

    fn answer(&mut self, request: &[u8]) {
        let (opcode, unique, node) = (u32_at(request, 4), u64_at(request, 8), u64_at(request, 16));
        let arguments = &request[HEADER_BYTES..];
        let body = match opcode {
            // FORGET, BATCH_FORGET: no answer.
            2 | 42 => return,
            // LOOKUP
            1 if node == ROOT && arguments.starts_with(NAME) && arguments.len() == NAME.len() + 1 => {
                [&LOG.to_le_bytes()[..], &[0; 32], &self.attributes(LOG)].concat()
            }
            1 => return self.reply(unique, -2, &[]),
            // GETATTR
            3 => [&[0; 16][..], &self.attributes(node)].concat(),
            // OPEN, OPENDIR
            14 | 27 => vec![0; 16],
            // READ
            15 => {
                let content = self.shared.content.lock().unwrap();
                let start = (u64_at(arguments, 8) as usize).min(content.len());
                let end = (start + u32_at(arguments, 16) as usize).min(content.len());
                content[start..end].to_vec()
            }
            // STATFS
            17 => vec![0; 80],
            // RELEASE, RELEASEDIR. Not FLUSH, as no process that has to wait for the answer to one can end.
            18 | 29 => Vec::new(),
            // INIT
            26 => {
                let mut body = vec![0; 64];
                body[0] = 7;
                body[4] = 31;
                body[8..12].copy_from_slice(&(128_u32 << 10).to_le_bytes());
                body[16] = 16;
                body[18] = 12;
                body[20..24].copy_from_slice(&(64_u32 << 10).to_le_bytes());
                body
            }
            // READDIR
            28 if u64_at(arguments, 8) == 0 => {
                let mut entry = [LOG.to_le_bytes(), 1_u64.to_le_bytes()].concat();
                entry.extend((NAME.len() as u32).to_le_bytes());
                entry.extend(8_u32.to_le_bytes());
                entry.extend(NAME);
                entry.resize(entry.len().next_multiple_of(8), 0);
                entry
            }
            28 => Vec::new(),
            _ => return self.reply(unique, -38, &[]),
        };
        self.reply(unique, 0, &body);
    }

    /// `struct fuse_attr`.
    fn attributes(&self, node: u64) -> Vec<u8> {
        let size = if node == LOG { self.shared.content.lock().unwrap().len() as u64 } else { 0 };
        let mode: u32 = if node == LOG { 0o100_644 } else { 0o40_755 };
        // As if it was last written to long ago.
        let mut attributes = [node, size, size.div_ceil(512), 1_767_000_000, 1_767_000_000, 1_767_000_000]
            .map(u64::to_le_bytes)
            .concat();
        attributes.extend([0, 0, 0, mode, 1, 0, 0, 0, 4096, 0].map(u32::to_le_bytes).concat());
        attributes
    }
}
