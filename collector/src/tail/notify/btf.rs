//! The types of the running kernel, from /sys/kernel/btf/vmlinux.
//!
//! In: BTF, the kernel's compact debug information (Documentation/bpf/btf.rst in its sources). Out: where a structure's
//! member lies, and what a function's arguments point to. Members of anonymous structures and unions count as the outer
//! structure's. aya's own reader offers neither.

use std::{fmt, fs, io};

/// Where the kernel shows its types.
pub const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";

const MAGIC: u16 = 0xeb9f;
/// Bytes of `struct btf_header`.
const HEADER_BYTES: u32 = 24;
/// Bytes of `struct btf_type` without what follows it.
const TYPE_BYTES: usize = 12;
/// Bytes of `struct btf_member`.
const MEMBER_BYTES: usize = 12;
/// Bytes of `struct btf_param`.
const PARAMETER_BYTES: usize = 8;

const PTR: u32 = 2;
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const FWD: u32 = 7;
const TYPEDEF: u32 = 8;
const VOLATILE: u32 = 9;
const CONST: u32 = 10;
const RESTRICT: u32 = 11;
const FUNC: u32 = 12;
const FUNC_PROTO: u32 = 13;
const TYPE_TAG: u32 = 18;

/// All types of a kernel, a table of positions over the file's bytes.
pub struct KernelTypes {
    bytes: Vec<u8>,
    /// Of each type its position in `bytes`; type IDs begin at 1, so that of type 1 comes first.
    positions: Vec<u32>,
    /// The position of the string section.
    strings: usize,
}

/// Why types are not available.
#[derive(Debug)]
pub enum BtfError {
    /// The kernel does not show its types: it was built without `CONFIG_DEBUG_INFO_BTF`.
    Missing,
    /// They cannot be read.
    Unreadable(io::Error),
    /// They are not of the format that this module knows.
    Malformed(&'static str),
}

impl fmt::Display for BtfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => write!(f, "this kernel has no BTF ({KERNEL_BTF} is missing)"),
            Self::Unreadable(error) => write!(f, "cannot read {KERNEL_BTF}: {error}"),
            Self::Malformed(what) => write!(f, "{KERNEL_BTF} is not understood: {what}"),
        }
    }
}

impl std::error::Error for BtfError {}

/// One type: its position in the bytes and its first words.
#[derive(Clone, Copy)]
struct Type {
    at: usize,
    name: u32,
    info: u32,
    /// Bytes of a structure, or the ID of the type that a pointer points to, a function has or a typedef names.
    size_or_type: u32,
}

impl Type {
    fn kind(self) -> u32 {
        self.info >> 24 & 0x1f
    }

    fn entries(self) -> usize {
        (self.info & 0xffff) as usize
    }

    /// Whether the members' offsets also hold the widths of bit fields.
    fn has_bit_fields(self) -> bool {
        self.info >> 31 == 1
    }

    /// The position behind it; none for an unknown kind.
    fn end(self) -> Option<usize> {
        let rest = match self.kind() {
            PTR | FWD | TYPEDEF | VOLATILE | CONST | RESTRICT | FUNC | 16 | TYPE_TAG => 0,
            // Integers, variables and declaration tags have a word more.
            1 | 14 | 17 => 4,
            // Arrays.
            3 => 12,
            // Enumerators and parameters.
            6 | FUNC_PROTO => 8 * self.entries(),
            // Members, variables of a section and 64-bit enumerators.
            STRUCT | UNION | 15 | 19 => 12 * self.entries(),
            _ => return None,
        };
        Some(self.at + TYPE_BYTES + rest)
    }
}

impl KernelTypes {
    /// Those of the running kernel; reads about 5 MB.
    pub fn of_running_kernel() -> Result<Self, BtfError> {
        let bytes = fs::read(KERNEL_BTF).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => BtfError::Missing,
            _ => BtfError::Unreadable(error),
        })?;
        Self::parse(bytes)
    }

    /// Those of a file in the format, of this machine's byte order.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, BtfError> {
        let mut types = Self { bytes, positions: Vec::new(), strings: 0 };
        // struct btf_header: magic, version, flags, length; offset and length of the types, and of the strings.
        let header = |index: usize| types.word(4 * index).map(|word| word as usize);
        let header = || Some((header(0)?, header(1)?, header(2)?, header(3)?, header(4)?));
        let (magic, header_bytes, types_at, types_bytes, strings_at) =
            header().ok_or(BtfError::Malformed("no header"))?;
        if magic & 0xffff != usize::from(MAGIC) {
            return Err(BtfError::Malformed("wrong magic number"));
        }
        types.strings = header_bytes + strings_at;
        let mut at = header_bytes + types_at;
        let end = at + types_bytes;
        while at < end {
            let found = types.type_at(at).ok_or(BtfError::Malformed("a type is cut off"))?;
            types.positions.push(u32::try_from(at).map_err(|_| BtfError::Malformed("too large"))?);
            at = found.end().ok_or(BtfError::Malformed("a type is of an unknown kind"))?;
        }
        Ok(types)
    }

    /// Bytes from a structure's beginning to a member, if both exist and the member is no bit field.
    #[must_use]
    pub fn member_offset(&self, structure: &str, member: &str) -> Option<u64> {
        let bits = self.member_bits(self.find(STRUCT, structure)?, member)?;
        (bits % 8 == 0).then_some(u64::from(bits / 8))
    }

    /// The name of the structure that a function's argument points to; none if the kernel has no such function, or has
    /// inlined it everywhere.
    #[must_use]
    pub fn function_argument(&self, function: &str, index: usize) -> Option<&str> {
        self.argument(self.find(FUNC, function)?.size_or_type, index)
    }

    /// The same for a tracepoint of the kernel itself; those of modules are not in this file.
    #[must_use]
    pub fn tracepoint_argument(&self, tracepoint: &str, index: usize) -> Option<&str> {
        let pointer = self.unqualified(self.find(TYPEDEF, &format!("btf_trace_{tracepoint}"))?.size_or_type)?;
        // The first argument is the tracepoint's own.
        self.argument(pointer.size_or_type, index + 1)
    }

    /// A BTF file in which the functions and typedefs of these names have the same type IDs as here, and every other type
    /// is an empty declaration: what a reader needs that only looks up IDs, in a tenth of the memory.
    #[must_use]
    pub fn skeleton(&self, names: &[String]) -> Vec<u8> {
        let mut strings = vec![0];
        let mut types = Vec::with_capacity(self.positions.len() * TYPE_BYTES);
        for at in &self.positions {
            let found = self.type_at(*at as usize).filter(|found| matches!(found.kind(), FUNC | TYPEDEF));
            let name = found.and_then(|found| names.iter().find(|name| self.is_string(found.name, name)));
            let words = match (found, name) {
                (Some(found), Some(name)) => {
                    let offset = strings.len() as u32;
                    strings.extend(name.as_bytes());
                    strings.push(0);
                    [offset, found.info, found.size_or_type]
                }
                _ => [0, FWD << 24, 0],
            };
            types.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
        }
        let (types_bytes, strings_bytes) = (types.len() as u32, strings.len() as u32);
        let header = [u32::from(MAGIC) | 1 << 16, HEADER_BYTES, 0, types_bytes, types_bytes, strings_bytes];
        let mut file: Vec<u8> = header.iter().flat_map(|word| word.to_ne_bytes()).collect();
        file.extend(types);
        file.extend(strings);
        file
    }

    fn argument(&self, prototype: u32, index: usize) -> Option<&str> {
        let prototype = self.type_by_id(prototype)?;
        if prototype.kind() != FUNC_PROTO || index >= prototype.entries() {
            return None;
        }
        let argument = self.word(prototype.at + TYPE_BYTES + PARAMETER_BYTES * index + 4)?;
        let pointer = self.unqualified(argument)?;
        if pointer.kind() != PTR {
            return None;
        }
        let target = self.unqualified(pointer.size_or_type)?;
        (target.kind() == STRUCT).then(|| self.string(target.name))?
    }

    fn member_bits(&self, structure: Type, member: &str) -> Option<u32> {
        (0..structure.entries()).find_map(|index| {
            let at = structure.at + TYPE_BYTES + MEMBER_BYTES * index;
            let (name, id, offset) = (self.word(at)?, self.word(at + 4)?, self.word(at + 8)?);
            let (bits, width) =
                if structure.has_bit_fields() { (offset & 0x00ff_ffff, offset >> 24) } else { (offset, 0) };
            match self.string(name)? {
                "" => {
                    let inner = self.unqualified(id)?;
                    let is_record = matches!(inner.kind(), STRUCT | UNION);
                    is_record.then(|| self.member_bits(inner, member))?.map(|inner_bits| bits + inner_bits)
                }
                found => (found == member && width == 0).then_some(bits),
            }
        })
    }

    /// The type itself, behind typedefs and qualifiers.
    fn unqualified(&self, mut id: u32) -> Option<Type> {
        loop {
            let found = self.type_by_id(id)?;
            match found.kind() {
                TYPEDEF | VOLATILE | CONST | RESTRICT | TYPE_TAG => id = found.size_or_type,
                _ => return Some(found),
            }
        }
    }

    fn find(&self, kind: u32, name: &str) -> Option<Type> {
        self.positions
            .iter()
            .filter_map(|at| self.type_at(*at as usize))
            .find(|found| found.kind() == kind && self.is_string(found.name, name))
    }

    fn type_by_id(&self, id: u32) -> Option<Type> {
        let index = usize::try_from(id).ok()?.checked_sub(1)?;
        self.type_at(*self.positions.get(index)? as usize)
    }

    fn type_at(&self, at: usize) -> Option<Type> {
        Some(Type { at, name: self.word(at)?, info: self.word(at + 4)?, size_or_type: self.word(at + 8)? })
    }

    fn word(&self, at: usize) -> Option<u32> {
        let bytes = self.bytes.get(at..at + 4)?;
        Some(u32::from_ne_bytes(bytes.try_into().ok()?))
    }

    /// Whether the string at this offset is `text`, of which it looks at no more than differs: there are 100,000 to compare with.
    fn is_string(&self, offset: u32, text: &str) -> bool {
        let rest = self.bytes.get(self.strings + offset as usize..).unwrap_or_default();
        rest.strip_prefix(text.as_bytes()).is_some_and(|behind| behind.first() == Some(&0))
    }

    fn string(&self, offset: u32) -> Option<&str> {
        let rest = self.bytes.get(self.strings + offset as usize..)?;
        let length = memchr::memchr(0, rest)?;
        std::str::from_utf8(&rest[..length]).ok()
    }
}

#[cfg(test)]
mod tests;
