//! Going to moments of a recording: `replay`, `index`, `resume`.

use crate::args::{CheckpointArgs, Every, OnTraceError, ReplayArgs, ResumeArgs};
use crate::commands::{cache, preopen, print_results, recorded_code};
use crate::json;
use crate::progress::{Progress, Spinner};
use crate::report::{self, plain, say};
use crate::saved::Saved;
use crate::signals;
use anyhow::{Context as _, bail};
use indicatif::HumanBytes;
use serde_json::json;
use std::io::{IsTerminal as _, Write};
use std::path::Path;
use std::time::Duration;
use wrr::format::{EventIndex, Tick};
use wrr::{
    Checkpoints, Ending, LiveConfig, Moment, Playback, Played, Position, RecordOptions,
    ReplayOutput, Replayed, ResumeOptions, ResumeTo, SeekOptions, Spacing, Stdin, Trace,
    TrackerKind,
};

/// How many frames of a stack are shown to people.
const FRAMES_SHOWN: usize = 100;
/// How many ticks a deterministic recording takes for a second.
const TICKS_PER_SECOND: f64 = 1e8;
/// The usual distance of checkpoints.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);

impl From<OnTraceError> for wrr::OnTraceError {
    fn from(choice: OnTraceError) -> wrr::OnTraceError {
        match choice {
            OnTraceError::Stop => wrr::OnTraceError::Stop,
            OnTraceError::Continue => wrr::OnTraceError::Continue,
        }
    }
}

/// What the options say about checkpoints.
pub fn checkpoints(
    arguments: &CheckpointArgs,
    deterministic: bool,
) -> anyhow::Result<Option<Checkpoints>> {
    let by_time = |time: Duration| match deterministic {
        true => Spacing::Ticks((time.as_secs_f64() * TICKS_PER_SECOND) as u64),
        false => Spacing::Every(time),
    };
    let spacing = match arguments.checkpoint_every {
        Some(Every::Off) => return Ok(None),
        Some(Every::Ticks(ticks)) => Spacing::Ticks(ticks),
        Some(Every::Time(time)) => by_time(time),
        None => by_time(CHECKPOINT_EVERY),
    };
    if let Some(kind) = arguments.tracker {
        kind.probe()?;
    }
    Ok(Some(Checkpoints { spacing, tracker: arguments.tracker }))
}

pub fn replay(arguments: &ReplayArgs) -> anyhow::Result<i32> {
    let progress = Progress::default();
    let trace = Trace::open(&arguments.file)?;
    let options = SeekOptions { checkpoints: !arguments.no_checkpoints };
    if let Some(moment) = &arguments.goto {
        // It has a line of progress of its own.
        return goto(&trace.with(cache(), &()), moment, options, arguments);
    }
    let trace = trace.with(cache(), &progress);
    let until = arguments.until.as_ref().map(|moment| trace.target(moment)).transpose()?;
    if let Some(from) = &arguments.from {
        let mut session = trace.seek_roughly(from, options)?;
        return match session.play(ReplayOutput::inherit(), until)? {
            Played::Stopped | Played::Passed => Ok(0),
            Played::Ended(end) => replayed(&trace, Some(end)),
            Played::CutOff => replayed(&trace, None),
        };
    }
    let Replayed { end, .. } = match until {
        Some(target) => match trace.replay_until(target, ReplayOutput::inherit())? {
            Replayed { end: None, .. } => return Ok(0),
            ended => ended,
        },
        None => trace.replay(ReplayOutput::inherit())?,
    };
    replayed(&trace, end)
}

/// Tells how a replay ended, and gives the guest's exit code.
fn replayed(trace: &Trace<'_>, end: Option<wrr::End>) -> anyhow::Result<i32> {
    let events = trace.reader().event_before_tick(Tick(u64::MAX))?.0;
    let Some(end) = end else {
        say(&format!(
            "wrr: the recording is incomplete: it ends after {events} events, all of which were replayed"
        ));
        return Ok(0);
    };
    print_results(&end.ending)?;
    if let (Ending::Interrupted, Some(finding)) = (&end.ending, trace.reader().finding()) {
        say(&format!("wrr: {}", wrr_fuzz::where_it_failed(&finding.failure)));
    } else if end.ending == Ending::Interrupted {
        say(&format!("wrr: the recording was interrupted here, after {events} events"));
    }
    Ok(report::ended(&end))
}

fn goto(
    trace: &Trace<'_>,
    moment: &Moment,
    options: SeekOptions,
    arguments: &ReplayArgs,
) -> anyhow::Result<i32> {
    let spinner = Spinner::start(format!("seeking in {}", arguments.file.display()));
    let sought = trace.seek(moment, options);
    if let Some(spinner) = spinner {
        spinner.stop();
    }
    let mut session = sought?;
    let memory = session.memory(0).unwrap_or_default();
    if let Some(path) = &arguments.dump_memory {
        std::fs::write(path, memory)
            .with_context(|| format!("cannot write the memory to {}", path.display()))?;
    }
    let read = arguments.read.as_deref().map(|read| piece(memory, read)).transpose()?;
    let mut out = std::io::stdout().lock();
    if arguments.json {
        let object = state_json(trace, &mut session, read.as_deref())?;
        writeln!(out, "{}", serde_json::to_string_pretty(&object)?)?;
        return Ok(0);
    }
    for (name, text) in state_lines(trace, &mut session)? {
        writeln!(out, "{name:<12} {}", plain(&text))?;
    }
    if let (Some(bytes), Some([address, _])) = (read, arguments.read.as_deref()) {
        hex_dump(&mut out, *address, &bytes)?;
    }
    Ok(0)
}

/// The bytes that `--read ADDR LEN` names.
fn piece(memory: &[u8], read: &[u64]) -> anyhow::Result<Vec<u8>> {
    let &[address, len] = read else { bail!("--read takes an address and a length") };
    let range = usize::try_from(address).ok().zip(usize::try_from(len).ok());
    let bytes = range.and_then(|(from, len)| memory.get(from..from.checked_add(len)?));
    bytes.map(<[u8]>::to_vec).with_context(|| {
        format!(
            "{len} bytes from {address:#x} on are not all in memory, which has {} bytes at that moment",
            memory.len()
        )
    })
}

fn wall_seconds(trace: &Trace<'_>, tick: Tick) -> anyhow::Result<Option<f64>> {
    Ok(trace.reader().elapsed_ns_at_tick(tick)?.map(|ns| ns as f64 / 1e9))
}

fn state_json(
    trace: &Trace<'_>,
    session: &mut Playback<'_>,
    read: Option<&[u8]>,
) -> anyhow::Result<serde_json::Value> {
    let Position { tick, event, in_call } = session.position();
    let stack = session.stack()?;
    let hash = session.state_hash()?;
    let seek = session.seek();
    let ms = |time: Duration| (time.as_secs_f64() * 1e6).round() / 1e3;
    let mut object = json!({
        "tick": tick.0,
        "event": event.0,
        "in_call": in_call,
        "offset": stack.first().map(|frame| frame.offset),
        "wall_seconds": wall_seconds(trace, tick)?,
        "memory_bytes": session.memory_bytes(),
        "state_hash": hash.iter().map(|b| format!("{b:02x}")).collect::<String>(),
        "frames": stack.iter().map(json::frame).collect::<serde_json::Value>(),
        "seek": {
            "checkpoint_tick": seek.checkpoint_tick.map(|tick| tick.0),
            "replayed_ticks": seek.replayed_ticks,
            "restore_ms": ms(seek.restore),
            "total_ms": ms(seek.total),
        },
    });
    if let Some(bytes) = read {
        object["read"] = json!(bytes.iter().map(|b| format!("{b:02x}")).collect::<String>());
    }
    Ok(object)
}

fn state_lines(
    trace: &Trace<'_>,
    session: &mut Playback<'_>,
) -> anyhow::Result<Vec<(&'static str, String)>> {
    let Position { tick, event, in_call } = session.position();
    let mut lines = Vec::new();
    let share = match trace.reader().end_tick() {
        Some(end) if end.0 > 0 => format!(" of {} ({:.1} %)", end.0, share(tick, end)),
        _ => String::new(),
    };
    lines.push(("tick", format!("{}{share}", tick.0)));
    lines.push((
        "events",
        match in_call {
            true => {
                let call = trace.reader().events_from(EventIndex(event.0))?.next().transpose()?;
                let call = call.map_or_else(String::new, |e| format!(": {}", e.call));
                format!("in the call of #{}{call}", event.0)
            }
            false => format!("{} before", event.0),
        },
    ));
    if let Some(seconds) = wall_seconds(trace, tick)? {
        lines.push(("time", format!("{seconds:.3} s")));
    }
    lines.push(("memory", HumanBytes(session.memory_bytes()).to_string()));
    let hash: String = session.state_hash()?.iter().map(|b| format!("{b:02x}")).collect();
    lines.push(("state", format!("BLAKE3 {hash}")));
    let stack = session.stack()?;
    if stack.is_empty() {
        lines.push(("stack", "empty: nothing has run yet".to_owned()));
    }
    for (i, frame) in stack.iter().take(FRAMES_SHOWN).enumerate() {
        let name = match &frame.name {
            Some(name) => format!("{:#}", rustc_demangle::demangle(name)),
            None => format!("function {}", frame.function),
        };
        let text = format!("{i:>3}: {:#10x}  {name}", frame.offset);
        lines.push((if i == 0 { "stack" } else { "" }, text));
    }
    if stack.len() > FRAMES_SHOWN {
        lines.push((
            "",
            format!("… and {} more frames (--json shows all)", stack.len() - FRAMES_SHOWN),
        ));
    }
    let seek = session.seek();
    let from = match seek.checkpoint_tick {
        Some(tick) => format!("from the checkpoint at tick {}", tick.0),
        None => "from the start".to_owned(),
    };
    lines.push((
        "seek",
        format!(
            "{from}, {} ticks replayed, restored in {:.1} ms, {:.1} ms in all",
            seek.replayed_ticks,
            seek.restore.as_secs_f64() * 1e3,
            seek.total.as_secs_f64() * 1e3
        ),
    ));
    Ok(lines)
}

fn share(tick: Tick, end: Tick) -> f64 {
    tick.0 as f64 * 100.0 / end.0 as f64
}

fn hex_dump(out: &mut impl Write, address: u64, bytes: &[u8]) -> std::io::Result<()> {
    for (line, chunk) in bytes.chunks(16).enumerate() {
        let hex: String = chunk.iter().map(|b| format!("{b:02x} ")).collect();
        let shown = |b: &u8| if (0x20..0x7f).contains(b) { char::from(*b) } else { '.' };
        let text: String = chunk.iter().map(shown).collect();
        writeln!(out, "{:#010x}  {hex:<48} {text}", address + line as u64 * 16)?;
    }
    Ok(())
}

pub fn index(file: &Path, max_seek: Duration, tracker: Option<TrackerKind>) -> anyhow::Result<i32> {
    if let Some(kind) = tracker {
        kind.probe()?;
    }
    let progress = Progress::default();
    let trace = Trace::open(file)?.with(cache(), &progress);
    let indexed = trace.index(max_seek, tracker);
    progress.stop();
    let indexed = indexed?;
    let (before, after) = indexed.file_bytes;
    writeln!(
        std::io::stdout(),
        "{}: {} checkpoints added, {} now; the file grew by {} to {}",
        file.display(),
        indexed.added,
        indexed.checkpoints,
        HumanBytes(after.saturating_sub(before)),
        HumanBytes(after)
    )?;
    Ok(0)
}

pub fn resume(arguments: ResumeArgs) -> anyhow::Result<i32> {
    let progress = Progress::default();
    let trace = Trace::open(&arguments.file)?.with(cache(), &progress);
    let deterministic = trace.reader().manifest().deterministic;
    if let Some(output) = &arguments.output
        && same_file(output, &arguments.file)
    {
        bail!("the new trace would overwrite {}; choose another file with -o", output.display());
    }
    let mut sockets = Vec::new();
    for address in &arguments.tcplisten {
        let socket = std::net::TcpListener::bind(address);
        sockets.push(socket.with_context(|| format!("cannot listen on {address}"))?);
    }
    let live = LiveConfig {
        preopens: arguments.dirs.iter().map(|dir| preopen(dir)).collect(),
        fs: arguments.files.file_system(trace.has_overlay())?,
        sockets,
        stdin: arguments.stdin.clone().map_or(Stdin::Inherit, Stdin::File),
        ..LiveConfig::default()
    };
    let saved = arguments.output.as_deref().map(|output| {
        let (stdin, sockets) = (arguments.stdin.as_deref(), &arguments.tcplisten);
        Saved::new(output, &arguments.dirs, stdin, sockets, arguments.files.commit_fs)
    });
    let mut on_start = |interrupt| {
        if let Some(saved) = &saved {
            signals::Signals::default().finish(interrupt, saved.clone());
        }
    };
    let to = match &arguments.output {
        None => None,
        Some(path) => Some(ResumeTo {
            path,
            options: RecordOptions {
                on_trace_error: arguments.on_trace_error.into(),
                checkpoints: checkpoints(&arguments.checkpoints, deterministic)?,
                on_start: Some(&mut on_start),
                finding: None,
            },
        }),
    };
    let mut show = |line: &[u8]| show_again(line);
    let options = ResumeOptions { to, on_start: Some(&mut show) };
    let recorded = trace.resume(arguments.at.as_ref(), live, options)?;
    recorded_code(recorded, arguments.on_trace_error, saved.as_ref())
}

/// Shows the line in which the program was to a user at a terminal. Elsewhere it would be in the output twice.
fn show_again(line: &[u8]) {
    let (mut stdout, mut stderr) = (std::io::stdout(), std::io::stderr());
    // If it cannot be written, nor can what the program writes: that tells it.
    let _ = match (stdout.is_terminal(), stderr.is_terminal()) {
        (true, _) => stdout.write_all(line).and_then(|()| stdout.flush()),
        (false, true) => stderr.write_all(line),
        (false, false) => Ok(()),
    };
}

fn same_file(a: &Path, b: &Path) -> bool {
    match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}
