//! States that no recording leads to: an error, never a panic.

use crate::guest::{config, manifest};
use proptest::prelude::*;
use wrr_trace::{
    Call, Errno, Function, HostState, Input, Iovec, OpenDescriptor, OpenedFile, Outcome,
    PARAMS_MAX, Place, PollEvent, Reply, Shape, Target, WorldState,
};
use wrr_wasi::{Descriptors, Live};

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0_u64..6, any::<u64>(), Just(u64::MAX)]
}

fn path() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["", "a", "../a", "a/..", "/", "a//b", "a\0b", "a/b", "d", "é"])
        .prop_map(str::to_owned)
}

fn target() -> impl Strategy<Value = Target> {
    let opened = (path(), number(), number(), number(), any::<(bool, bool)>(), 0_u8..12);
    prop_oneof![
        Just(Target::Stdin),
        Just(Target::Stdout),
        number().prop_map(|n| Target::Socket(n as u32)),
        number().prop_map(|n| Target::Preopen(n as u32)),
        Just(Target::Connection),
        opened.prop_map(|(path, a, b, c, (unlinked, follow), shape)| {
            Target::Opened(OpenedFile {
                place: Place { preopen: a as u32, path },
                unlinked,
                oflags: b as u16,
                open_fdflags: c as u16,
                rights: a,
                inheriting: b,
                follow,
                shape: [Shape::Unknown, Shape::NotDirectory, Shape::Told(shape)][(a % 3) as usize],
                position: (b % 2 == 0).then_some(c),
                size: b,
            })
        }),
    ]
}

fn state() -> impl Strategy<Value = HostState> {
    let flags = prop::option::of(number().prop_map(|n| n as u16));
    let descriptor = (number(), target(), flags, prop::option::of(number())).prop_map(
        |(fd, target, fdflags, inode)| OpenDescriptor { fd: fd as u32, target, fdflags, inode },
    );
    let world =
        (number(), number(), number()).prop_map(|(elapsed_ns, random_bytes, inode_last)| {
            WorldState { elapsed_ns, random_bytes, inode_last }
        });
    let descriptors = prop::collection::vec(descriptor, 0..5).prop_map(|mut all| {
        all.sort_by_key(|d| d.fd);
        all
    });
    (descriptors, number(), number(), prop::option::of(world)).prop_map(
        |(descriptors, next_fd, stdin_bytes, world)| HostState {
            descriptors,
            next_fd: next_fd as u32,
            stdin_bytes,
            world,
            overflowed: false,
        },
    )
}

fn event() -> impl Strategy<Value = (Call, Outcome)> {
    let args = prop::array::uniform9(number());
    let bytes = || prop::collection::vec(any::<u8>(), 0..120);
    (prop::sample::select(Function::ALL), args, bytes(), bytes(), path(), 0..6).prop_map(
        |(function, args, data, more, path, pick): (Function, [u64; PARAMS_MAX], _, _, _, _)| {
            let input = match pick {
                0 => Input::None,
                1 | 2 => Input::Path(path.into_bytes()),
                3 => Input::TwoPaths(path.into_bytes(), more),
                4 => Input::Subscriptions(more),
                _ => Input::Buffers(vec![Iovec { addr: 0, len: u32::MAX }]),
            };
            let reply = match args[0] % 5 {
                0 => Reply::Nothing,
                1 => Reply::Wide(args[1]),
                2 => Reply::Polled(vec![PollEvent {
                    userdata: 0,
                    errno: Errno::success,
                    kind: 0,
                    nbytes: 0,
                    flags: 0,
                }]),
                _ => Reply::Number(args[2] as u32),
            };
            (Call { function, args, input }, Outcome { errno: Errno::success, reply, data })
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_state_and_no_event_makes_anything_panic(
        state in state(),
        events in prop::collection::vec(event(), 0..40),
    ) {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("a"), b"a").unwrap();
        let config = config(root.path());
        let mut manifest = manifest(&config);
        manifest.deterministic = state.world.is_some();
        // Whether it goes on or not is up to the state.
        let _ = Live::resume(config, &manifest, &state);
        if let Ok(mut descriptors) = Descriptors::from_state(&state) {
            for (call, outcome) in &events {
                descriptors.observe(call, outcome);
            }
            // Events that no guest can cause may lead to a state that is refused.
            let state = descriptors.state();
            if let Ok(again) = Descriptors::from_state(&state) {
                prop_assert_eq!(again.state(), state);
            }
        }
    }
}
