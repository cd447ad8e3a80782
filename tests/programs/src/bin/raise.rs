//# stdout: raise: refused\n
//! `proc_raise` is refused with an error number; the program goes on.

fn main() {
    // SAFETY: no pointers are involved.
    let raised = unsafe { wasi::proc_raise(wasi::SIGNAL_USR1) };
    assert!(raised.is_err());
    println!("raise: refused");
}
