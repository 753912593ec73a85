//! Pickles byte by byte: what they are read into, what is refused, and that nothing panics.

#![allow(clippy::unwrap_used)]

use mr2_pickle::{Name, Pickle, Value};
use proptest::prelude::*;

const NAMES: &[Name] = &[
    Name {
        module: "collections",
        name: "OrderedDict",
    },
    Name {
        module: "__builtin__",
        name: "set",
    },
];

fn root(program: &[u8]) -> Value {
    let pickle = Pickle::read(program, NAMES).unwrap();
    pickle.get(pickle.root()).clone()
}

#[test]
fn numbers_are_read_in_every_form() {
    for (program, value) in [
        (&b"K\xff."[..], Value::Int(255)),
        (b"M\xff\xff.", Value::Int(65535)),
        (b"J\xfe\xff\xff\xff.", Value::Int(-2)),
        (b"\x8a\x00.", Value::Int(0)),
        (b"\x8a\x01\xff.", Value::Int(-1)),
        (b"\x8a\x08\0\0\0\0\0\0\0\x80.", Value::Int(i64::MIN)),
        (b"\x8b\x02\0\0\0\x00\x01.", Value::Int(256)),
        (b"\x8a\x09\0\0\0\0\0\0\0\0\x01.", Value::BigInt(2..11)),
        (b"I-12\n.", Value::Int(-12)),
        (b"I01\n.", Value::Bool(true)),
        (b"\x89.", Value::Bool(false)),
        (b"G\x3f\xf8\0\0\0\0\0\0.", Value::Float(1.5)),
        (b"N.", Value::None),
    ] {
        assert_eq!(root(program), value, "{program:?}");
    }
}

#[test]
fn containers_take_what_is_above_the_mark() {
    assert_eq!(root(b"(K\x01K\x02t."), Value::Tuple(vec![0, 1]));
    assert_eq!(root(b"K\x01K\x02\x86."), Value::Tuple(vec![0, 1]));
    assert_eq!(root(b"](K\x01K\x02e."), Value::List(vec![1, 2]));
    assert_eq!(root(b"}(K\x01K\x02u."), Value::Dict(vec![(1, 2)]));
    assert_eq!(root(b"\x8f(K\x01K\x02\x90."), Value::Set(vec![1, 2]));
    assert_eq!(root(b"(K\x01\x91."), Value::Set(vec![0]));
    // Something that contains itself.
    assert_eq!(root(b"]q\x00h\x00a."), Value::List(vec![0]));
}

#[test]
fn calls_and_references_are_recorded_with_what_comes_after() {
    let program = b"\x80\x02ccollections\nOrderedDict\n)R(K\x07\x8c\x01xQu}b.";
    let pickle = Pickle::read(program, NAMES).unwrap();
    let Value::Call(call) = pickle.get(pickle.root()) else {
        panic!("a call")
    };
    assert_eq!(pickle.get(call.callee), &Value::Name(NAMES[0]));
    assert_eq!(pickle.tuple(call.arguments), Some(&[][..]));
    let [(key, item)] = call.items[..] else {
        panic!("one item")
    };
    assert_eq!(pickle.get(key), &Value::Int(7));
    let &Value::Persistent(reference) = pickle.get(item) else {
        panic!("a reference")
    };
    assert_eq!(pickle.text(reference), Some("x"));
    assert_eq!(
        call.state.map(|id| pickle.get(id)),
        Some(&Value::Dict(vec![]))
    );
    assert_eq!(program[call.offset - 1], b'R');
}

#[test]
fn several_pickles_are_read_one_after_the_other() {
    let bytes = b"K\x01.K\x02.";
    let (first, len) = Pickle::read_prefix(bytes, NAMES).unwrap();
    assert_eq!((first.get(first.root()), len), (&Value::Int(1), 3));
    let fault = Pickle::read(bytes, NAMES).unwrap_err();
    assert_eq!(fault.to_string(), "bytes after the end (at byte 3)");
}

#[test]
fn what_is_not_read_is_refused_by_name_and_place() {
    for (program, message) in [
        (
            &b"cos\nsystem\n."[..],
            "it asks for `os.system`, which is not on the list (at byte 11)",
        ),
        (
            b"\x8c\x08builtins\x8c\x04eval\x93.",
            "it asks for `builtins.eval`, which is not on the list (at byte 17)",
        ),
        (
            b"(i__main__\nX\n.",
            "opcode 0x69 is not one that is read (at byte 2)",
        ),
        (b"\x80\x06N.", "protocol 6, expected at most 5 (at byte 2)"),
        (b"", "it ends too early (at byte 0)"),
        (b"X\xff\xff\xff\xffabc.", "it ends too early (at byte 5)"),
        (b".", "a value is missing on the stack (at byte 1)"),
        (b"K\x01(0.", "a value is missing on the stack (at byte 4)"),
        (
            b"K\x01K\x02a.",
            "items for something that is no list (at byte 5)",
        ),
        (b"}(K\x07u.", "a key without a value (at byte 5)"),
        (b"h\x05.", "nothing is remembered as 5 (at byte 2)"),
        (
            b"K\x01)R.",
            "a call of something that is no name (at byte 4)",
        ),
        (
            b"}}b.",
            "state for something that is no new object (at byte 3)",
        ),
    ] {
        let fault = Pickle::read(program, NAMES).unwrap_err();
        assert_eq!(fault.to_string(), message, "{program:?}");
    }
    let deep = [b"(".repeat(20_000), b".".to_vec()].concat();
    let fault = Pickle::read(&deep, NAMES).unwrap_err();
    assert_eq!(fault.reason, "more than 10000 containers in each other");
    let many = [b"N0".repeat(1 << 22), b"N.".to_vec()].concat();
    let fault = Pickle::read(&many, NAMES).unwrap_err();
    assert_eq!(fault.reason, "more than 4194304 values");
}

/// An opcode with a plausible argument.
fn opcode() -> impl Strategy<Value = Vec<u8>> {
    let simple = prop::sample::select(
        b"N\x88\x89]})(0ltaedsuRbQ\x81\x85\x86\x87\x8f\x90\x91\x93\x94".to_vec(),
    );
    let memo = (prop::sample::select(b"qhK".to_vec()), 0..4u8);
    let fixed = prop::sample::select(vec![
        b"\x80\x02".to_vec(),
        b"\x8c\x01a".to_vec(),
        b"\x8a\x0a0123456789".to_vec(),
        b"ccollections\nOrderedDict\n".to_vec(),
        b"G01234567".to_vec(),
        b"\x8e\xff\xff\xff\xff\xff\xff\xff\xff".to_vec(),
    ]);
    prop_oneof![
        6 => simple.prop_map(|opcode| vec![opcode]),
        2 => memo.prop_map(|(opcode, n)| vec![opcode, n]),
        3 => fixed,
    ]
}

proptest! {
    #[test]
    fn no_program_panics(program in prop::collection::vec(opcode(), 0..40)) {
        let program = [program.concat(), b".".to_vec()].concat();
        if let Ok(pickle) = Pickle::read(&program, NAMES) {
            pickle.keys();
            pickle.key("a");
            for id in 0..pickle.values().len() + 1 {
                pickle.bytes(id);
                pickle.text(id);
            }
        }
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let _ = Pickle::read(&bytes, NAMES);
    }
}
