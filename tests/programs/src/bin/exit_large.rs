//# exit: 200
//# stdout:
//! `proc_exit` with a code above 127, called directly.

fn main() {
    // SAFETY: no pointers are involved.
    unsafe { wasi::proc_exit(200) };
    unreachable!("proc_exit returned");
}
