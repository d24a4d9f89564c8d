use super::*;

/// Writes BTF: types by hand, strings as they are first used.
#[derive(Default)]
struct Writer {
    types: Vec<u8>,
    strings: Vec<u8>,
}

impl Writer {
    fn new() -> Self {
        Self { types: Vec::new(), strings: vec![0] }
    }

    fn name(&mut self, name: &str) -> u32 {
        if name.is_empty() {
            return 0;
        }
        let offset = self.strings.len() as u32;
        self.strings.extend(name.as_bytes());
        self.strings.push(0);
        offset
    }

    fn words(&mut self, words: &[u32]) {
        self.types.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
    }

    fn add(&mut self, kind: u32, name: &str, entries: usize, size_or_type: u32) {
        let name = self.name(name);
        self.words(&[name, kind << 24 | entries as u32, size_or_type]);
    }

    fn int(&mut self) {
        self.add(1, "int", 0, 4);
        self.words(&[32]);
    }

    fn record(&mut self, kind: u32, name: &str, members: &[(&str, u32, u32)]) {
        self.add(kind, name, members.len(), 0);
        for (name, id, bits) in members {
            let name = self.name(name);
            self.words(&[name, *id, *bits]);
        }
    }

    fn finish(self) -> Vec<u8> {
        let (types, strings) = (self.types.len() as u32, self.strings.len() as u32);
        let mut bytes = Vec::new();
        for word in [u32::from(MAGIC) | 1 << 16, 24, 0, types, types, strings] {
            bytes.extend(word.to_ne_bytes());
        }
        bytes.extend(self.types);
        bytes.extend(self.strings);
        bytes
    }
}

/// `struct file { int mode; union { struct { int a; int inode; }; int b; }; }`, `typedef`ed and `const`, and
/// `int vfs_write(const file_t *, int)`, and a tracepoint `write` with one argument, `const file_t *`.
fn kernel() -> Vec<u8> {
    let mut writer = Writer::new();
    writer.int(); // 1
    writer.record(STRUCT, "", &[("a", 1, 0), ("inode", 1, 32)]); // 2
    writer.record(UNION, "", &[("", 2, 0), ("b", 1, 0)]); // 3
    writer.record(STRUCT, "file", &[("mode", 1, 0), ("", 3, 64)]); // 4
    writer.add(TYPEDEF, "file_t", 0, 4); // 5
    writer.add(CONST, "", 0, 5); // 6
    writer.add(PTR, "", 0, 6); // 7
    writer.add(FUNC_PROTO, "", 2, 1); // 8
    writer.words(&[0, 7, 0, 1]);
    writer.add(FUNC, "vfs_write", 0, 8); // 9
    writer.add(FUNC_PROTO, "", 2, 0); // 10
    writer.words(&[0, 7, 0, 7]);
    writer.add(PTR, "", 0, 10); // 11
    writer.add(TYPEDEF, "btf_trace_write", 0, 11); // 12
    writer.finish()
}

#[test]
fn a_member_is_found_at_its_offset() -> Result<(), BtfError> {
    let types = KernelTypes::parse(kernel())?;
    assert_eq!(types.member_offset("file", "mode"), Some(0));
    assert_eq!(types.member_offset("file", "b"), Some(8));
    Ok(())
}

#[test]
fn a_member_of_nested_anonymous_records_is_found_from_the_outer_beginning() -> Result<(), BtfError> {
    assert_eq!(KernelTypes::parse(kernel())?.member_offset("file", "inode"), Some(12));
    Ok(())
}

#[test]
fn what_is_not_there_is_not_found() -> Result<(), BtfError> {
    let types = KernelTypes::parse(kernel())?;
    assert_eq!(types.member_offset("file", "nothing"), None);
    assert_eq!(types.member_offset("vfs_write", "mode"), None);
    assert_eq!(types.function_argument("file", 0), None);
    Ok(())
}

#[test]
fn an_argument_names_its_structure_behind_typedefs_and_qualifiers() -> Result<(), BtfError> {
    let types = KernelTypes::parse(kernel())?;
    assert_eq!(types.function_argument("vfs_write", 0), Some("file"));
    assert_eq!(types.function_argument("vfs_write", 1), None, "an int is no structure");
    assert_eq!(types.function_argument("vfs_write", 2), None, "there are two arguments");
    Ok(())
}

#[test]
fn a_tracepoints_arguments_begin_behind_its_own() -> Result<(), BtfError> {
    let types = KernelTypes::parse(kernel())?;
    assert_eq!(types.tracepoint_argument("write", 0), Some("file"));
    assert_eq!(types.tracepoint_argument("write", 1), None);
    assert_eq!(types.tracepoint_argument("read", 0), None);
    Ok(())
}

#[test]
fn a_skeleton_keeps_the_ids_of_what_it_is_asked_for_and_nothing_else() -> Result<(), BtfError> {
    let whole = KernelTypes::parse(kernel())?;
    let skeleton = KernelTypes::parse(whole.skeleton(&["vfs_write".into(), "btf_trace_write".into()]))?;
    assert_eq!(skeleton.positions.len(), whole.positions.len());
    let names: Vec<_> =
        (1..=12).map(|id| skeleton.type_by_id(id).and_then(|found| skeleton.string(found.name))).collect();
    let none = Some("");
    assert_eq!(names[..8], [none; 8]);
    assert_eq!(names[8..], [Some("vfs_write"), none, none, Some("btf_trace_write")]);
    Ok(())
}

#[test]
fn bit_fields_have_no_offset() -> Result<(), BtfError> {
    let mut writer = Writer::new();
    writer.int();
    writer.add(STRUCT, "flags", 2, 4);
    let info = writer.types.len() - 8;
    writer.types[info..info + 4].copy_from_slice(&(1 << 31 | STRUCT << 24 | 2).to_ne_bytes());
    for (name, bits) in [("narrow", 3 << 24), ("whole", 32)] {
        let name = writer.name(name);
        writer.words(&[name, 1, bits]);
    }
    let types = KernelTypes::parse(writer.finish())?;
    assert_eq!(types.member_offset("flags", "narrow"), None);
    assert_eq!(types.member_offset("flags", "whole"), Some(4));
    Ok(())
}

#[test]
fn a_file_that_is_cut_off_anywhere_is_an_error_and_no_panic() {
    let whole = kernel();
    let types_end = whole.len() - 40;
    for length in 0..types_end {
        if let Ok(types) = KernelTypes::parse(whole[..length].to_vec()) {
            let _ = types.member_offset("file", "inode");
        }
    }
    assert!(matches!(KernelTypes::parse(vec![0; 24]), Err(BtfError::Malformed(_))));
}

#[test]
fn the_running_kernel_has_the_members_that_the_probe_needs() {
    let types = match KernelTypes::of_running_kernel() {
        Ok(types) => types,
        Err(error) => return println!("SKIPPED: {error}"),
    };
    assert!(types.member_offset("file", "f_inode").is_some());
    assert!(types.member_offset("inode", "i_sb").is_some());
    assert_eq!(types.function_argument("vfs_write", 0), Some("file"));
}
