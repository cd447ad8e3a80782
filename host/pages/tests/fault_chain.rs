//! Faults that are not the `mprotect` tracker's go on to the handler that was there before.
//!
//! One test function, because signal handlers belong to the whole process.
#![cfg(unix)]

use std::ffi::{c_int, c_void};
use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use wrr_pages::{DirtyTracker, Mapping, TrackerError, TrackerKind};

static CALLS: AtomicUsize = AtomicUsize::new(0);
static ADDRESS: AtomicUsize = AtomicUsize::new(0);

/// A handler as an engine's: makes the fault go away if it is its own.
unsafe extern "C" fn recover(_: c_int, info: *mut libc::siginfo_t, _: *mut c_void) {
    CALLS.fetch_add(1, SeqCst);
    // SAFETY: the system passes a valid `info`; the test faults only at the start of its own page.
    unsafe {
        // From `kill` (0x10001 on Apple's systems).
        if (*info).si_code <= 0 || (*info).si_code == 0x10001 {
            return;
        }
        let address = (*info).si_addr();
        ADDRESS.store(address as usize, SeqCst);
        if libc::mprotect(address, 4096, libc::PROT_READ | libc::PROT_WRITE) != 0 {
            libc::_exit(99);
        }
    }
}

fn set_handler(handler: usize) -> usize {
    // SAFETY: a zeroed action with handler and flags filled in is valid; `recover` has the type
    // that SA_SIGINFO asks for, and SIG_DFL is understood with any flags.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        let mut old: libc::sigaction = std::mem::zeroed();
        for signal in [libc::SIGBUS, libc::SIGSEGV] {
            assert_eq!(libc::sigaction(signal, &action, &mut old), 0);
        }
        old.sa_sigaction
    }
}

fn current_handler() -> usize {
    // SAFETY: only asks.
    unsafe {
        let mut old: libc::sigaction = std::mem::zeroed();
        libc::sigaction(libc::SIGSEGV, std::ptr::null(), &mut old);
        old.sa_sigaction
    }
}

fn write(address: *mut u8) {
    // SAFETY: the address is mapped; where it is not writable, a handler makes it so or the process,
    // a child of the test, ends as it should.
    unsafe { address.write_volatile(1) };
}

fn attached(memory: &Mapping) -> Result<Box<dyn DirtyTracker>, TrackerError> {
    let mut tracker = TrackerKind::Mprotect.create()?;
    // SAFETY: callers keep the mapping until the tracker is dropped, and use one thread.
    unsafe { tracker.attach(memory.region()?)? };
    Ok(tracker)
}

/// What a child of the test does, and whether the kernel must kill it.
fn child(scenario: &str) {
    let memory = Mapping::reserve(1 << 16, 1 << 16, 1 << 16).unwrap();
    let guard = memory.base().wrapping_add(1 << 16);
    if scenario == "default" {
        set_handler(libc::SIG_DFL);
    }
    let mut tracker = attached(&memory).unwrap();
    write(memory.base());
    assert_eq!(tracker.take().unwrap().count(), 1);
    if scenario == "sent" {
        // SAFETY: sends a signal to this process.
        unsafe { libc::raise(libc::SIGSEGV) };
    }
    write(guard);
}

#[test]
fn foreign_faults_reach_the_handler_that_was_there_before() {
    if let Ok(scenario) = std::env::var("WRR_FAULT_CHAIN_CHILD") {
        child(&scenario);
        std::process::exit(98);
    }
    if !TrackerKind::available().contains(&TrackerKind::Mprotect) {
        println!("mprotect: skipped");
        return;
    }
    for scenario in ["default", "std", "sent"] {
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .env("WRR_FAULT_CHAIN_CHILD", scenario)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .status()
            .unwrap();
        let signal = status.signal();
        assert!(
            signal == Some(libc::SIGSEGV) || signal == Some(libc::SIGBUS),
            "{scenario}: {status}"
        );
    }

    let recover = recover as *const () as usize;
    let before = set_handler(recover);
    let memory = Mapping::reserve(1 << 16, 1 << 16, 1 << 16).unwrap();
    let guard = memory.base().wrapping_add(1 << 16);
    for round in 1..4 {
        let mut tracker = attached(&memory).unwrap();
        write(memory.base());
        assert!(tracker.take().unwrap().iter().eq([0]));
        assert_eq!(
            CALLS.load(SeqCst),
            2 * (round - 1),
            "a tracked page is not the other handler's"
        );

        let page = guard.wrapping_add((round - 1) * 4096);
        write(page);
        assert_eq!((CALLS.load(SeqCst), ADDRESS.load(SeqCst)), (2 * round - 1, page as usize));
        // SAFETY: sends a signal to this process, which `recover` counts.
        unsafe { libc::kill(libc::getpid(), libc::SIGSEGV) };
        while CALLS.load(SeqCst) < 2 * round {
            std::thread::yield_now();
        }
        assert!(tracker.take().unwrap().is_empty());
        drop(tracker);
        assert_eq!(current_handler(), recover, "the last tracker takes its handler away");
        write(memory.base());
    }

    // Another handler over ours would get our faults: attaching says so.
    let tracker = attached(&memory).unwrap();
    let ours = set_handler(recover);
    assert!(matches!(attached(&memory), Err(TrackerError::HandlerReplaced { .. })));
    drop(tracker);
    assert!(matches!(attached(&memory), Err(TrackerError::HandlerReplaced { .. })));
    // With ours back in place it goes on.
    set_handler(ours);
    drop(attached(&memory).unwrap());
    assert_eq!(current_handler(), recover);
    set_handler(before);
}
