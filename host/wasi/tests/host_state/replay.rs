//! Replays that start in the middle, follow a recording while it is made, or change their output.

use crate::guest::{CREAT, Guest, READ, SET, TRUNC, WRITE, config};
use std::io::Write;
use std::sync::{Arc, Mutex, mpsc};
use wrr_trace::{Ending, Event, EventIndex, HostState, Tick};
use wrr_wasi::{Divergence, Feed, LookAhead, Replay, ReplayOutput, Stop};

/// A few calls of every kind; the state before each event, and at the end.
fn run(guest: &mut Guest) -> Vec<HostState> {
    let mut states = vec![guest.state()];
    let mut note = |guest: &Guest| states.push(guest.state());
    steps(guest, &mut note);
    states
}

fn steps(guest: &mut Guest, note: &mut impl FnMut(&Guest)) {
    let fd = guest.opened("a", CREAT | TRUNC, READ | WRITE, 0);
    note(guest);
    guest.write(fd, b"hello");
    note(guest);
    guest.write(1, b"shown ");
    note(guest);
    guest.seek(fd, 1, SET);
    note(guest);
    guest.read(fd, 2);
    note(guest);
    guest.write(1, b"later");
    note(guest);
    guest.renumber(fd, 2);
    note(guest);
    guest.read(2, 2);
    note(guest);
}

fn recorded() -> (Guest, Vec<Event>, Vec<HostState>) {
    let root = tempfile::tempdir().unwrap();
    let mut guest = Guest::live(config(root.path()));
    let states = run(&mut guest);
    let events = guest.events();
    assert_eq!(states.len(), events.len() + 1);
    (guest, events, states)
}

fn feed(events: Vec<Event>, state: HostState, ending: Option<Ending>) -> Feed {
    Feed {
        next: events.first().map_or(EventIndex(0), |event| event.index),
        events: Box::new(events.into_iter().map(Ok)),
        state,
        ending,
        ending_tick: Some(Tick(1000)),
        goes_on: false,
        look_ahead: LookAhead::Yes,
    }
}

fn replaying(feed: Feed, guest: &Guest, output: ReplayOutput) -> Guest {
    let state = feed.state.clone();
    Guest::over(Replay::at(feed, output).unwrap(), &state, guest.manifest.clone())
}

const EXITED: Ending = Ending::Exited { code: 0 };

fn diverged<T>(result: Result<T, Stop>) -> Divergence {
    match result {
        Err(Stop::Diverged(divergence)) => *divergence,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("no divergence"),
    }
}

#[test]
fn a_replay_knows_at_every_event_what_the_recording_knew() {
    let (guest, events, states) = recorded();
    let feed = feed(events, states[0].clone(), Some(EXITED));
    let mut replay = replaying(feed, &guest, ReplayOutput::discard());
    assert_eq!(run(&mut replay), states);
    replay.host.finish(&EXITED, Tick(1000)).unwrap();
}

#[test]
fn a_replay_can_start_at_any_event() {
    let (guest, events, states) = recorded();
    for (start, state) in states.iter().enumerate() {
        let rest = events[start..].to_vec();
        let feed = feed(rest.clone(), state.clone(), Some(EXITED));
        let mut replay = replaying(feed, &guest, ReplayOutput::discard());
        // The calls are made by hand, as a guest that was restored would go on with them.
        let mut memory = vec![0; 1 << 16];
        memory[..1].copy_from_slice(b"a");
        for event in &rest {
            restore(&mut memory, event);
            let (function, args) = (event.call.function, event.call.args());
            replay.host.call(function, args, &mut memory, event.tick).unwrap();
        }
        assert_eq!(Some(&replay.state()), states.last());
    }
}

/// Puts into memory what the call reads from there.
fn restore(memory: &mut [u8], event: &Event) {
    use wrr_trace::{Function, Input};
    match &event.call.input {
        Input::Data { iovs, .. } => {
            let text: &[u8] = match (event.call.args[0], iovs[0].len) {
                (1, 6) => b"shown ",
                (1, _) => b"later",
                _ => b"hello",
            };
            let list = [iovs[0].addr.to_le_bytes(), iovs[0].len.to_le_bytes()].concat();
            memory[event.call.args[1] as usize..][..8].copy_from_slice(&list);
            memory[iovs[0].addr as usize..][..text.len()].copy_from_slice(text);
        }
        Input::Buffers(iovs) => {
            assert_eq!(event.call.function, Function::FdRead);
            let list = [iovs[0].addr.to_le_bytes(), iovs[0].len.to_le_bytes()].concat();
            memory[event.call.args[1] as usize..][..8].copy_from_slice(&list);
        }
        _ => {}
    }
}

#[test]
fn a_follower_delivers_each_event_before_the_next_one_exists() {
    let (guest, events, states) = recorded();
    let (sender, receiver) = mpsc::channel::<Event>();
    let feed = Feed {
        events: Box::new(receiver.into_iter().map(Ok)),
        goes_on: false,
        look_ahead: LookAhead::No,
        ..feed(Vec::new(), states[0].clone(), None)
    };
    let mut follower = replaying(feed, &guest, ReplayOutput::discard());
    let mut left = events.into_iter();
    let mut sender = Some(sender);
    let mut send = move || match left.next() {
        Some(event) => drop(sender.as_ref().unwrap().send(event)),
        None => sender = None,
    };
    send();
    let mut at = 1;
    // Would wait for ever if a call needed more than its own event.
    steps(&mut follower, &mut |follower| {
        assert_eq!(follower.state(), states[at]);
        at += 1;
        send();
    });
    assert!(matches!(follower.host.finish(&EXITED, Tick(0)), Err(Stop::EndOfTrace)));
}

#[test]
fn a_recording_without_an_end_is_replayed_to_its_last_event_and_not_further() {
    let (guest, mut events, states) = recorded();
    events.truncate(1);
    let feed = feed(events, states[0].clone(), None);
    let mut replay = replaying(feed, &guest, ReplayOutput::discard());
    let path = replay.memory.first_mut().unwrap();
    *path = b'a';
    let args = [3, 1, 0, 1, CREAT | TRUNC, READ | WRITE, 0, 0, 2048];
    let stop = replay.try_call(wrr_trace::Function::PathOpen, &args);
    assert!(matches!(stop, Err(Stop::EndOfTrace)));
}

#[test]
fn the_same_call_at_another_tick_is_a_divergence() {
    let (guest, mut events, states) = recorded();
    events[0].tick = Tick(7);
    let feed = feed(events, states[0].clone(), Some(EXITED));
    let mut replay = replaying(feed, &guest, ReplayOutput::discard());
    replay.memory[0] = b'a';
    let args = [3, 1, 0, 1, CREAT | TRUNC, READ | WRITE, 0, 0, 2048];
    let divergence = diverged(replay.try_call(wrr_trace::Function::PathOpen, &args));
    assert!(divergence.to_string().contains("tick: recorded 7, replayed 0"), "{divergence}");
}

#[test]
fn an_ending_at_another_tick_is_a_divergence() {
    let (guest, events, states) = recorded();
    let feed = feed(events, states[0].clone(), Some(EXITED));
    let mut replay = replaying(feed, &guest, ReplayOutput::discard());
    run(&mut replay);
    let divergence = diverged(replay.host.finish(&EXITED, Tick(1001)));
    assert!(divergence.to_string().contains("tick: recorded 1000, replayed 1001"), "{divergence}");
}

#[derive(Clone, Default)]
struct Shown(Arc<Mutex<Vec<u8>>>);

impl Write for Shown {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn output_can_be_switched_on_in_the_middle_and_is_checked_before_and_after() {
    let (guest, events, states) = recorded();
    let shown = Shown::default();
    let feed = feed(events, states[0].clone(), Some(EXITED));
    let mut replay = replaying(feed, &guest, ReplayOutput::discard());
    let mut calls = 0;
    steps(&mut replay, &mut |_| calls += 1);
    assert!(calls > 5 && shown.0.lock().unwrap().is_empty());

    for (switch_at, expected) in [(0, "shown later"), (4, "later"), (8, "")] {
        let (guest, events, states) = recorded();
        let shown = Shown::default();
        let feed = self::feed(events, states[0].clone(), Some(EXITED));
        let mut replay = replaying(feed, &guest, ReplayOutput::discard());
        let on = || ReplayOutput { stdout: Box::new(shown.clone()), stderr: Box::new(Vec::new()) };
        if switch_at == 0 {
            replay.host.set_output(on());
        }
        let fd = replay.opened("a", CREAT | TRUNC, READ | WRITE, 0);
        replay.write(fd, b"hello");
        replay.write(1, b"shown ");
        replay.seek(fd, 1, SET);
        if switch_at == 4 {
            replay.host.set_output(on());
        }
        replay.read(fd, 2);
        replay.write(1, b"later");
        assert_eq!(String::from_utf8_lossy(&shown.0.lock().unwrap()), expected);
    }

    // Silence does not mean that nobody compares.
    let (guest, events, states) = recorded();
    let feed = self::feed(events[2..].to_vec(), states[2].clone(), Some(EXITED));
    let mut replay = replaying(feed, &guest, ReplayOutput::discard());
    replay.memory[2000..2008]
        .copy_from_slice(&[4096_u32.to_le_bytes(), 6_u32.to_le_bytes()].concat());
    replay.memory[4096..4102].copy_from_slice(b"others");
    let (function, args) = (events[2].call.function, events[2].call.args());
    let tick = events[2].tick;
    let stop = replay.host.call(function, args, &mut replay.memory, tick);
    assert!(diverged(stop).replayed.contains("fd_write"));
}

#[test]
fn an_impossible_state_is_refused_at_once() {
    let (_, events, mut states) = recorded();
    let twice = states[0].descriptors[0].clone();
    states[0].descriptors.push(twice);
    let feed = feed(events, states[0].clone(), None);
    let error = Replay::at(feed, ReplayOutput::discard()).err().unwrap();
    assert!(error.to_string().contains("descriptors are damaged"), "{error}");
}
