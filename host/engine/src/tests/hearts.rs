//! Being asked now and then does not change what a guest does, and happens at the ticks that were asked for.

use super::run::{Run, load};
use crate::{Beat, Heart, Until};
use std::sync::{Arc, Mutex};
use wasmtime::Val;
use wrr_trace::Tick;
use wrr_transform::Variant;
use wrr_wasi::Host;

const TEXT: &str = r#"(module
    (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
    (func $inner (param $n i32) (result i32) (local $sum i32)
      loop $outer
        loop $l
          (local.set $sum (i32.add (local.get $sum) (local.get $n)))
          (br_if $l (i32.and (local.tee $n (i32.sub (local.get $n) (i32.const 1))) (i32.const 3)))
        end
        (br_if $outer (i32.gt_s (local.get $n) (i32.const 0)))
      end
      (local.get $sum))
    (func (export "f") (param $n i32) (result i32) (local $sum i32)
      loop $l
        (drop (call $yield))
        (local.set $sum (i32.add (local.get $sum) (call $inner (local.get $n))))
        (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1))))
      end
      (local.get $sum)))"#;

struct Every {
    ticks: u64,
    stop: bool,
    beats: Arc<Mutex<Vec<u64>>>,
}

impl Heart for Every {
    fn beat(&mut self, _host: &mut Host, tick: Tick) -> Beat {
        self.beats.lock().unwrap().push(tick.0);
        if self.stop { Beat::Stop } else { Beat::After(self.ticks) }
    }
}

#[test]
fn a_heart_beats_when_it_wants_to_and_changes_nothing() {
    let program = load(TEXT.as_bytes(), 1 << 20).unwrap();
    let calls = [("f".to_owned(), vec![Val::I32(9)]), ("f".to_owned(), vec![Val::I32(4)])];
    program
        .on_guest_stack(|| {
            let whole = Run::new(&program, Variant::Run, &calls).finish();
            for (ticks, variant) in [1, 2, 3, 7, 50]
                .into_iter()
                .flat_map(|n| [(n, Variant::Run), (n, Variant::Inspect)])
            {
                let beats = Arc::default();
                let heart = Every { ticks, stop: false, beats: Arc::clone(&beats) };
                let mut run = Run::new(&program, variant, &calls);
                run.guest.set_heart(Some(Box::new(heart)));
                assert_eq!(run.finish(), whole, "every {ticks} ticks, {variant:?}");
                let beats = beats.lock().unwrap().clone();
                assert!(beats.windows(2).all(|pair| pair[1] - pair[0] >= ticks), "{beats:?}");
                if variant == Variant::Inspect {
                    let expected: Vec<u64> = (1..=whole.tick).step_by(ticks as usize).collect();
                    assert_eq!(beats, expected);
                }
            }
        })
        .unwrap();
}

#[test]
fn a_heart_can_stop_the_guest_each_time() {
    let program = load(TEXT.as_bytes(), 1 << 20).unwrap();
    let calls = [("f".to_owned(), vec![Val::I32(5)])];
    program
        .on_guest_stack(|| {
            let whole = Run::new(&program, Variant::Run, &calls).finish();
            for variant in [Variant::Run, Variant::Inspect] {
                let beats = Arc::default();
                let heart = Every { ticks: 0, stop: true, beats: Arc::clone(&beats) };
                let mut run = Run::new(&program, variant, &calls);
                run.guest.set_heart(Some(Box::new(heart)));
                let mut stops = Vec::new();
                while run.go(Until::End) {
                    stops.push(run.guest.tick().0);
                }
                assert_eq!(stops, *beats.lock().unwrap(), "{variant:?}");
                assert_eq!(run.outcomes(), whole, "{variant:?}");
                assert!(stops.len() > 5);
            }
        })
        .unwrap();
}
