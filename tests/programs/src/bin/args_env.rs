//# args: one two=2 --three
//# env: COLOUR=blue
//# env: EMPTY=
//# env: PAIR=a=b
//# stdout: one\ntwo=2\n--three\nCOLOUR=blue\nEMPTY=\nPAIR=a=b\n
//! Arguments and environment arrive complete and in order.

fn main() {
    for arg in std::env::args().skip(1) {
        println!("{arg}");
    }
    for (key, value) in std::env::vars() {
        println!("{key}={value}");
    }
    // SAFETY: no pointers are passed in.
    let (argc, argv_bytes) = unsafe { wasi::args_sizes_get() }.expect("arguments have a size");
    assert_eq!(argc, 4);
    assert!(argv_bytes >= "one\0two=2\0--three\0".len());
    // SAFETY: no pointers are passed in.
    let sizes = unsafe { wasi::environ_sizes_get() }.expect("the environment has a size");
    assert_eq!(sizes, (3, "COLOUR=blue\0EMPTY=\0PAIR=a=b\0".len()));
}
