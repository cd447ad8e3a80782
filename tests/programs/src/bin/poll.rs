//# dir: /work
//# stdout: poll: ok\n
//! `poll_oneoff`: timers, readiness of files and of standard output, several at once, and what it refuses.

use wrr_test_programs::open;

const TIMER: u64 = 0x1111_2222_3333_4444;
const LATE_TIMER: u64 = 2;
const READ: u64 = 3;
const WRITE: u64 = 4;
const MILLISECOND_NS: u64 = 1_000_000;
const LATE_NS: u64 = 30_000 * MILLISECOND_NS;

fn main() {
    let before_ns = now_ns();
    let events = poll(&[timer(TIMER, 2 * MILLISECOND_NS, 0)]).expect("can sleep");
    assert_eq!(events.len(), 1);
    assert_eq!((events[0].userdata, events[0].error), (TIMER, wasi::ERRNO_SUCCESS));
    assert_eq!(events[0].type_, wasi::EVENTTYPE_CLOCK);
    assert!(now_ns() >= before_ns + 2 * MILLISECOND_NS);

    let deadline_ns = now_ns() + 2 * MILLISECOND_NS;
    let absolute = wasi::SUBCLOCKFLAGS_SUBSCRIPTION_CLOCK_ABSTIME;
    let events = poll(&[timer(TIMER, deadline_ns, absolute)]).expect("can sleep until");
    assert_eq!((events.len(), events[0].userdata), (1, TIMER));
    assert!(now_ns() >= deadline_ns);
    let events = poll(&[timer(TIMER, 1, absolute)]).expect("a deadline in the past is met");
    assert_eq!((events.len(), events[0].userdata), (1, TIMER));

    let events =
        poll(&[timer(LATE_TIMER, LATE_NS, 0), timer(TIMER, MILLISECOND_NS, 0)]).expect("can poll");
    assert_eq!(events.len(), 1, "only the earlier timer is due");
    assert_eq!((events[0].userdata, events[0].error), (TIMER, wasi::ERRNO_SUCCESS));

    let events = poll(&[ready(WRITE, wasi::EVENTTYPE_FD_WRITE, 1), timer(LATE_TIMER, LATE_NS, 0)]);
    let events = events.expect("can poll");
    assert_eq!(events.len(), 1, "stdout is ready at once");
    assert_eq!((events[0].userdata, events[0].type_), (WRITE, wasi::EVENTTYPE_FD_WRITE));
    assert_eq!(events[0].error, wasi::ERRNO_SUCCESS);

    let fd = open("hello.txt", 0, 0).expect("can open");
    let read_and_write = [
        ready(READ, wasi::EVENTTYPE_FD_READ, fd),
        ready(WRITE, wasi::EVENTTYPE_FD_WRITE, fd),
        timer(LATE_TIMER, LATE_NS, 0),
    ];
    let mut events = poll(&read_and_write).expect("can poll");
    events.sort_by_key(|event| event.userdata);
    assert_eq!(events.len(), 2, "a regular file is always ready");
    assert_eq!((events[0].userdata, events[1].userdata), (READ, WRITE));
    assert_eq!(
        (events[0].type_, events[1].type_),
        (wasi::EVENTTYPE_FD_READ, wasi::EVENTTYPE_FD_WRITE)
    );
    assert!(events[0].fd_readwrite.nbytes > 0);

    assert_eq!(poll(&[]).err(), Some(wasi::ERRNO_INVAL), "nothing to wait for");
    match poll(&[ready(READ, wasi::EVENTTYPE_FD_READ, 99)]) {
        Ok(events) => assert_eq!(events[0].error, wasi::ERRNO_BADF),
        Err(errno) => assert_eq!(errno, wasi::ERRNO_BADF),
    }
    for _ in 0..3 {
        // SAFETY: no pointers are involved.
        unsafe { wasi::sched_yield() }.expect("can yield");
    }
    println!("poll: ok");
}

fn poll(subscriptions: &[wasi::Subscription]) -> Result<Vec<wasi::Event>, wasi::Errno> {
    let mut events = Vec::with_capacity(subscriptions.len().max(1));
    // SAFETY: there is room for one event per subscription; the host says how many it wrote.
    unsafe {
        let count =
            wasi::poll_oneoff(subscriptions.as_ptr(), events.as_mut_ptr(), subscriptions.len())?;
        assert!(count <= subscriptions.len());
        events.set_len(count);
    }
    Ok(events)
}

fn timer(userdata: u64, timeout: u64, flags: wasi::Subclockflags) -> wasi::Subscription {
    let clock =
        wasi::SubscriptionClock { id: wasi::CLOCKID_MONOTONIC, timeout, precision: 0, flags };
    let u =
        wasi::SubscriptionU { tag: wasi::EVENTTYPE_CLOCK.raw(), u: wasi::SubscriptionUU { clock } };
    wasi::Subscription { userdata, u }
}

fn ready(
    userdata: u64,
    eventtype: wasi::Eventtype,
    file_descriptor: wasi::Fd,
) -> wasi::Subscription {
    let fd_read = wasi::SubscriptionFdReadwrite { file_descriptor };
    let u = wasi::SubscriptionU { tag: eventtype.raw(), u: wasi::SubscriptionUU { fd_read } };
    wasi::Subscription { userdata, u }
}

fn now_ns() -> u64 {
    // SAFETY: the crate passes pointers to live values only.
    unsafe { wasi::clock_time_get(wasi::CLOCKID_MONOTONIC, 1) }.expect("a time")
}
