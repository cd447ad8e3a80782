//! Going back in the real world: what was open is open again, where it was.

use crate::guest::{APPEND, CREAT, DIRECTORY, Guest, INPUT, READ, SET, WRITE, config};
use std::fs;
use wrr_trace::{Errno, Function, Reply};
use wrr_wasi::{Injected, LiveConfig, LiveState, Stdin, Stop};

fn folder() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("a"), b"0123456789").unwrap();
    fs::create_dir(root.path().join("d")).unwrap();
    fs::write(root.path().join("d/b"), b"abcdefghij").unwrap();
    root
}

fn save(guest: &mut Guest) -> LiveState {
    guest.host.live().unwrap().save()
}

#[test]
fn positions_and_flags_are_those_of_then() {
    let root = folder();
    let mut guest = Guest::live(config(root.path()));
    let read = guest.opened("a", 0, READ, 0);
    let append = guest.opened("d/b", 0, WRITE | READ, 0);
    guest.read(read, 3);
    guest.read(0, 5);
    let then = save(&mut guest);
    let state = guest.state();
    for _ in 0..2 {
        assert_eq!(guest.read(read, 3).data, b"345");
        assert_eq!(guest.read(0, 5).data, &INPUT[5..10]);
        guest.seek(append, 4, SET);
        guest.call(Function::FdFdstatSetFlags, &[append.into(), APPEND]);
        let fd = guest.opened("new", CREAT, WRITE, 0);
        guest.write(fd, b"x");
        let report = guest.back_to(&then);
        assert_eq!(report.files, ["/data/new"]);
        assert!(report.descriptors.is_empty());
        assert_eq!(guest.state(), state);
        assert_eq!(guest.tell(append).reply, Reply::Wide(0));
        assert_eq!(guest.fdstat(fd).errno, Errno::badf);
    }
}

#[test]
fn what_was_closed_replaced_or_unlinked_meanwhile_is_there_again() {
    let root = folder();
    let mut guest = Guest::live(config(root.path()));
    let a = guest.opened("a", 0, READ, 0);
    let b = guest.opened("d/b", 0, READ, 0);
    let dir = guest.opened("d", DIRECTORY, READ, 0);
    guest.read(a, 4);
    let then = save(&mut guest);
    guest.on_path(Function::PathUnlinkFile, 3, "a");
    guest.close(a);
    guest.renumber(b, dir);
    guest.close(3);
    guest.close(0);
    guest.close(1);
    let report = guest.back_to(&then);
    assert_eq!((report.files, report.descriptors), (vec!["/data/a".to_owned()], vec![]));
    assert_eq!(guest.read(a, 9).data, b"456789", "its name is gone, the file is not");
    assert_eq!(guest.read(b, 2).data, b"ab");
    assert!(matches!(guest.open(dir, "b", 0, READ, 0).reply, Reply::Number(_)));
    assert!(matches!(guest.open(3, "d/b", 0, READ, 0).reply, Reply::Number(_)));
    assert_eq!(guest.read(0, 4).data, &INPUT[..4]);
    assert_eq!(guest.write(1, b"x").errno, Errno::success);
    // And once more, from descriptors that were put back.
    guest.close(dir);
    guest.close(b);
    assert!(guest.back_to(&then).descriptors.is_empty());
    assert_eq!(guest.read(b, 2).data, b"ab");
}

#[test]
fn a_directory_in_whose_place_a_stream_was_put_is_there_again() {
    let root = folder();
    let mut guest = Guest::live(config(root.path()));
    let then = save(&mut guest);
    guest.renumber(1, 3);
    assert!(guest.back_to(&then).descriptors.is_empty());
    assert!(matches!(guest.open(3, "a", 0, READ, 0).reply, Reply::Number(_)));
    assert_eq!(guest.write(1, b"x").errno, Errno::success);
}

#[test]
fn a_listing_goes_on_as_it_was_begun() {
    let root = folder();
    let mut guest = Guest::live(config(root.path()));
    let whole = guest.readdir(3, 0).data;
    let then = save(&mut guest);
    fs::write(root.path().join("more"), b"").unwrap();
    assert_ne!(guest.readdir(3, 0).data, whole);
    guest.back_to(&then);
    assert_eq!(guest.readdir(3, 1).data, whole[24 + 1..], "behind the entry of \".\"");
}

#[test]
fn time_chance_and_the_numbers_of_files_go_back() {
    let root = folder();
    let config = LiveConfig { deterministic: true, ..config(root.path()) };
    let mut guest = Guest::live(config);
    guest.now_and_random();
    let then = save(&mut guest);
    let first = (guest.now_and_random(), guest.opened("d/b", 0, READ, 0));
    let stat = guest.filestat(first.1);
    guest.back_to(&then);
    assert_eq!((guest.now_and_random(), guest.opened("d/b", 0, READ, 0)), first);
    assert_eq!(guest.filestat(first.1), stat);
}

#[test]
fn input_that_is_put_in_bit_by_bit_is_waited_for_and_comes_again() {
    let root = folder();
    let injected = Injected::new();
    let stdin = Stdin::Injected(injected.clone());
    let mut guest = Guest::live(LiveConfig { stdin, ..config(root.path()) });
    let list = guest.prepared_list(8);
    let read = |guest: &mut Guest| guest.try_call(Function::FdRead, &[0, list, 1, 2048]);
    assert!(matches!(read(&mut guest), Err(Stop::WaitsForInput)));
    injected.push(b"one");
    assert_eq!(read(&mut guest).unwrap().data, b"one");
    let then = save(&mut guest);
    injected.push(b" two");
    assert_eq!(read(&mut guest).unwrap().data, b" two");
    guest.back_to(&then);
    assert_eq!(read(&mut guest).unwrap().data, b" two");
    assert!(matches!(read(&mut guest), Err(Stop::WaitsForInput)));
    injected.close();
    injected.push(b"too late");
    assert_eq!(read(&mut guest).unwrap().data, b"");
}

#[test]
fn a_connection_that_is_gone_was_reset() {
    use std::io::{Read as _, Write as _};
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let root = folder();
    let mut guest = Guest::live(LiveConfig { sockets: vec![socket], ..config(root.path()) });
    let mut client = std::net::TcpStream::connect(address).unwrap();
    let Reply::Number(fd) = guest.call(Function::SockAccept, &[3, 0, 2048]).reply else { panic!() };
    let then = save(&mut guest);
    client.write_all(b"hello").unwrap();
    let list = guest.prepared_list(8);
    let receive = [fd.into(), list, 1, 0, 2048, 2056];
    assert_eq!(guest.call(Function::SockRecv, &receive).data, b"hello");
    guest.back_to(&then);
    client.write_all(b"again").unwrap();
    assert_eq!(guest.call(Function::SockRecv, &receive).data, b"again", "it is still there");
    guest.close(fd);
    assert_eq!(client.read(&mut [0; 8]).unwrap(), 0, "the other side saw its end");
    guest.back_to(&then);
    assert_eq!(guest.call(Function::SockRecv, &receive).errno, Errno::connreset);
}

#[cfg(unix)]
mod random {
    use super::*;
    use crate::random::{step, take};
    use proptest::prelude::*;

    /// What the guest can find out without reading files, whose contents do not go back.
    fn view(guest: &mut Guest) -> Vec<String> {
        (0..18_u32)
            .map(|fd| {
                let ino = match guest.filestat(fd).reply {
                    Reply::Filestat(stat) => stat.ino,
                    _ => 0,
                };
                format!("{fd} {:?} {:?} {ino}", guest.fdstat(fd), guest.tell(fd))
            })
            .collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn after_any_calls_a_guest_can_go_back_to_any_moment(
            parts in prop::collection::vec((prop::collection::vec(step(), 0..20), any::<prop::sample::Index>()), 1..6),
            deterministic in any::<bool>(),
        ) {
            let root = folder();
            let mut guest = Guest::live(LiveConfig { deterministic, ..config(root.path()) });
            let mut moments = Vec::new();
            for (steps, back) in parts {
                for step in &steps {
                    take(&mut guest, step);
                }
                // Looking comes first: it tells the guest things, which are part of what is known.
                let seen = view(&mut guest);
                let state = guest.state();
                moments.push((save(&mut guest), state, seen));
                let (then, state, seen) = back.get(&moments);
                let report = guest.back_to(then);
                prop_assert!(report.descriptors.is_empty(), "{report:?}");
                prop_assert_eq!(&guest.state(), state);
                for (then, now) in seen.iter().zip(&view(&mut guest)) {
                    prop_assert_eq!(then, now);
                }
            }
        }
    }
}
