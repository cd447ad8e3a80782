//! How long going back and forking take, and what forks need: the figures of BENCHMARKS.md.
//!
//! ```text
//! cargo run --release -p wrr --example rollbacks
//! cargo run --release -p wrr --example rollbacks -- MODULE MOMENT DIR::GUEST…   forks of that program
//! ```

use std::time::{Duration, Instant};
use wrr::{Engine, Job, LiveConfig, Moment, Output, Preopen, Session, Stdin, Until};

type Failed = Box<dyn std::error::Error>;

/// A reactor of so many wasm pages whose export writes into `pages` pages, `stride` bytes apart, and returns.
fn reactor(wasm_pages: usize, pages: usize, stride: usize) -> String {
    format!(
        r#"(module
            (memory (export "memory") {wasm_pages})
            (global $n (mut i32) (i32.const 0))
            (func (export "_initialize")
              (memory.fill (i32.const 0) (i32.const 1) (i32.const {bytes})))
            (func (export "run") (result i32) (local $i i32)
              (global.set $n (i32.add (global.get $n) (i32.const 1)))
              (loop $next
                (i32.store (i32.mul (local.get $i) (i32.const {stride})) (i32.const 77))
                (br_if $next
                  (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const {pages}))))
              (global.get $n)))"#,
        bytes = wasm_pages << 16,
    )
}

fn job(text: String, engine: &Engine) -> Job<'static> {
    let job = Job::new(text.into_bytes(), "reactor.wat");
    Job { invoke: Some("run".to_owned()), engine: Some(engine.clone()), ..job }
}

/// A session behind `_initialize`.
fn initialized(text: String, engine: &Engine) -> Result<Session, Failed> {
    let mut session = Session::start(job(text, engine))?;
    session.run_until(Until::Entry)?;
    Ok(session)
}

fn percentile(times: &mut [Duration], of_100: usize) -> f64 {
    times.sort_unstable();
    times[(times.len() - 1) * of_100 / 100].as_secs_f64() * 1e6
}

fn rollbacks(name: &str, wasm_pages: usize, pages: usize, stride: usize) -> Result<(), Failed> {
    let mut session = initialized(reactor(wasm_pages, pages, stride), &Engine::new())?;
    let here = session.checkpoint()?;
    let (mut back, mut round) = (Vec::new(), Vec::new());
    for _ in 0..3000 {
        let started = Instant::now();
        session.run_until(Until::End)?;
        let ended = Instant::now();
        session.rollback(here)?;
        back.push(ended.elapsed());
        round.push(started.elapsed());
    }
    let per_second = round.len() as f64 / round.iter().sum::<Duration>().as_secs_f64();
    println!(
        "{name}: rollback p50 {:.1} us, p99 {:.1} us; run and rollback p50 {:.1} us, {per_second:.0} a second",
        percentile(&mut back, 50),
        percentile(&mut back, 99),
        percentile(&mut round, 50),
    );
    Ok(())
}

/// What this process has in memory, its share of what it shares, in bytes.
fn resident_bytes() -> u64 {
    let rollup = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
    let pss = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
    let kib = pss.and_then(|rest| rest.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

fn forks() -> Result<(), Failed> {
    let before = resident_bytes();
    let mut session = initialized(reactor(1024, 256, 4096), &Engine::new())?;
    let here = session.checkpoint()?;
    let mut times = Vec::new();
    let mut forks = Vec::new();
    for _ in 0..100 {
        let started = Instant::now();
        let mut fork = session.fork(here)?;
        times.push(started.elapsed());
        fork.run_until(Until::End)?;
        forks.push(fork);
    }
    let mib = (resident_bytes() - before) as f64 / f64::from(1 << 20);
    println!(
        "100 forks of 64 MiB that write 1 MiB each: {mib:.0} MiB in all; a fork p50 {:.0} us",
        percentile(&mut times, 50)
    );
    Ok(())
}

/// Forks of a real program at a moment of its recording.
fn forks_of(args: &[String]) -> Result<(), Failed> {
    let trace = std::sync::Arc::new(wrr::Trace::open(args[0].as_ref())?);
    let preopens = args[2..].iter().filter_map(|dir| dir.split_once("::"));
    let preopens: Vec<Preopen> = preopens
        .map(|(host, guest)| Preopen { host: host.into(), guest: guest.to_owned() })
        .collect();
    let quiet = || Output::Writer(Box::new(std::io::sink()));
    let live = || LiveConfig {
        preopens: preopens.clone(),
        stdin: Stdin::Bytes(vec![b'\n'; 1 << 20]),
        stdout: quiet(),
        stderr: quiet(),
        ..LiveConfig::default()
    };
    let mut session = Session::replay_at(trace, &args[1].parse::<Moment>()?)?;
    session.go_live(live())?;
    let started = Instant::now();
    let here = session.checkpoint()?;
    println!("checkpoint: {:.2} ms", started.elapsed().as_secs_f64() * 1e3);
    let tick = session.position()?.tick.0;
    let (mut forked, mut first) = (Vec::new(), Vec::new());
    for _ in 0..50 {
        let started = Instant::now();
        let mut fork = session.fork(here)?;
        forked.push(started.elapsed());
        fork.run_until(Until::Tick(wrr::format::Tick(tick + 1)))?;
        first.push(started.elapsed());
    }
    println!(
        "fork p50 {:.0} us, to its first instructions p50 {:.0} us, p99 {:.0} us",
        percentile(&mut forked, 50),
        percentile(&mut first, 50),
        percentile(&mut first, 99),
    );
    let mut times = Vec::new();
    for _ in 0..200 {
        session.run_until(Until::Tick(wrr::format::Tick(tick + 100_000)))?;
        let started = Instant::now();
        session.rollback(here)?;
        times.push(started.elapsed());
    }
    println!("rollback after 100,000 ticks p50 {:.0} us", percentile(&mut times, 50));
    Ok(())
}

fn main() -> Result<(), Failed> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if !args.is_empty() {
        return forks_of(&args);
    }
    rollbacks("16 MiB, 100 dirty pages in a row", 256, 100, 4096)?;
    rollbacks("16 MiB, 100 dirty pages far apart", 256, 100, 160 << 10)?;
    rollbacks("128 KiB reactor, 10 dirty pages", 2, 10, 4096)?;
    rollbacks("1 MiB reactor, 10 dirty pages", 16, 10, 64 << 10)?;
    forks()
}
