//! What each command does.

use crate::args::{Command, OnTraceError, ProgramArgs, RecordArgs, RecordingArgs, WorldArgs};
use crate::branch;
use crate::debug;
use crate::files;
use crate::json;
use crate::moments;
use crate::progress::{Progress, Spinner};
use crate::report::{self, FINDING, plain, say};
use crate::saved::Saved;
use crate::signals;
use anyhow::{Context as _, bail};
use etcetera::BaseStrategy as _;
use indicatif::HumanBytes;
use std::collections::BTreeMap;
use std::io::{Read as _, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;
use wrr::format::{EventIndex, Function, Tail, TraceReader};
use wrr::{CodeCache, Ending, Job, LiveConfig, Preopen, RecordOptions, Replayed, Stdin, Trace};

/// Carries out a command and gives the exit code.
pub fn carry_out(command: Command) -> anyhow::Result<i32> {
    match command {
        Command::Run(program) => run(program),
        Command::Record(arguments) => record(arguments),
        #[cfg(feature = "python")]
        Command::Py(arguments) => crate::py::py(arguments),
        Command::Debug(arguments) => debug::debug(&arguments),
        Command::Replay(arguments) => moments::replay(&arguments),
        Command::Index { file, max_seek, tracker } => moments::index(&file, max_seek, tracker),
        Command::Resume(arguments) => moments::resume(arguments),
        Command::Branch(arguments) => branch::branch(&arguments),
        Command::Fuzz(arguments) => crate::fuzz::fuzz(&arguments),
        Command::Repro(arguments) => crate::fuzz::repro(&arguments),
        Command::Minimize(arguments) => crate::fuzz::minimize(&arguments),
        Command::Fs(command) => files::fs(command),
        Command::Info { file, json } => info(&file, json),
        Command::Events { file, from, to, json } => events(&file, from, to, json),
        Command::Verify { file } => verify(&file),
        Command::Diff { first, second } => diff(&first, &second),
    }
}

/// The folder for compiled modules: the user's choice, or the usual place.
pub fn cache() -> Option<CodeCache> {
    let dir = match std::env::var_os("WRR_CACHE") {
        Some(dir) if dir == "off" || dir.is_empty() => return None,
        Some(dir) => PathBuf::from(dir),
        None => etcetera::choose_base_strategy().ok()?.cache_dir().join("wrr"),
    };
    Some(CodeCache::in_dir(&dir))
}

fn run(program: ProgramArgs) -> anyhow::Result<i32> {
    let progress = Progress::default();
    let wrr::Recorded { end, files, .. } = wrr::run(job(&program, false, &progress)?)?;
    print_results(&end.ending)?;
    Ok(files::tell(&files, None, report::ended(&end)))
}

fn record(arguments: RecordArgs) -> anyhow::Result<i32> {
    let RecordArgs { recording, program } = arguments;
    let path = match &recording.output {
        Some(path) => path.clone(),
        None => trace_of(&program.command[0])?,
    };
    let progress = Progress::default();
    record_job(&recording, &program.world, &path, || {
        job(&program, recording.deterministic, &progress)
    })
}

/// The trace that a program's recording is written to if nobody says: in this folder.
pub fn trace_of(program: &str) -> anyhow::Result<PathBuf> {
    let stem = Path::new(program).file_stem();
    // Not `with_extension`: `tool-1.2.wasm` becomes `tool-1.2.wrr`.
    let mut name = stem.with_context(|| format!("{program} has no name"))?.to_owned();
    name.push(".wrr");
    Ok(PathBuf::from(name))
}

/// Records a program, once or until it fails.
pub fn record_job<'a>(
    recording: &RecordingArgs,
    world: &WorldArgs,
    path: &Path,
    mut job: impl FnMut() -> anyhow::Result<Job<'a>>,
) -> anyhow::Result<i32> {
    let RecordingArgs { deterministic, on_trace_error, checkpoints, until_failure, .. } = recording;
    let WorldArgs { dirs, files, stdin, tcplisten, .. } = world;
    let saved = Saved::new(path, dirs, stdin.as_deref(), tcplisten, files.commit_fs);
    if *deterministic && until_failure.is_some() {
        bail!("--until-failure cannot be used with --deterministic: every run would be the same");
    }
    let runs = until_failure.unwrap_or(1);
    let mut run = 0;
    let signals = signals::Signals::default();
    loop {
        run += 1;
        let mut on_start = |interrupt| signals.finish(interrupt, saved.clone());
        let options = RecordOptions {
            on_trace_error: (*on_trace_error).into(),
            checkpoints: moments::checkpoints(checkpoints, *deterministic)?,
            on_start: Some(&mut on_start),
            finding: None,
        };
        let recorded = wrr::record(job()?, path, options)?;
        let code = recorded_code(recorded, *on_trace_error, Some(&saved))?;
        match (until_failure, code) {
            (None, _) => return Ok(code),
            (Some(_), 0) if run < runs => {}
            (Some(_), 0) => {
                say(&format!("no run of {runs} failed; the last one is in {}", path.display()));
                return Ok(0);
            }
            (Some(_), _) => {
                let what = format!("run {run} of at most {runs} failed, with exit code {code}");
                say(&format!("{what}; it is in {}", path.display()));
                return Ok(code);
            }
        }
    }
}

/// Tells how a recording ended, and gives its exit code.
pub fn recorded_code(
    recorded: wrr::Recorded,
    on_trace_error: OnTraceError,
    saved: Option<&Saved>,
) -> anyhow::Result<i32> {
    print_results(&recorded.end.ending)?;
    let code = match recorded.end.ending {
        // A live run is interrupted in this way only by a closed terminal: others end with their signal.
        Ending::Interrupted => report::HANGUP,
        _ => report::ended(&recorded.end),
    };
    let code = files::tell(&recorded.files, saved, code);
    let Some((written, error)) = recorded.not_saved else {
        if let (Ending::Interrupted, Some(saved)) = (&recorded.end.ending, saved) {
            saved.tell();
        }
        return Ok(code);
    };
    let replayable = match written.events {
        0 => "nothing that could be replayed was saved".to_owned(),
        some => format!(
            "saved are the first {some} of {} events, which can be replayed",
            recorded.events
        ),
    };
    say(&format!("error: {error}; {replayable}"));
    // Who lets the program go on wants its exit code; others must not take this for a recording.
    Ok(match on_trace_error {
        OnTraceError::Stop => report::ERROR,
        OnTraceError::Continue => code,
    })
}

/// The results of an invoked export, a line each.
pub fn print_results(ending: &Ending) -> std::io::Result<()> {
    if let Ending::Returned { values } = ending {
        let mut out = std::io::stdout().lock();
        values.iter().try_for_each(|value| writeln!(out, "{value}"))?;
    }
    Ok(())
}

fn verify(file: &Path) -> anyhow::Result<i32> {
    let progress = Progress::default();
    let trace = Trace::open(file)?.with(cache(), &progress);
    let spinner = Spinner::start(format!("verifying {}", file.display()));
    let verified = trace.verify();
    if let Some(spinner) = spinner {
        spinner.stop();
    }
    let Replayed { end, events } = verified?;
    let mut out = std::io::stdout().lock();
    match end {
        Some(_) if *trace.reader().tail() != Tail::Complete => {
            writeln!(
                out,
                "{}: cut off: all {events} events and the ending are there and replay, but not the index behind them",
                file.display()
            )?;
            Ok(FINDING)
        }
        Some(end) => {
            let ending = plain(&end.ending.to_string());
            writeln!(out, "{}: good: {events} events replayed, {ending}", file.display())?;
            Ok(0)
        }
        None => {
            writeln!(
                out,
                "{}: incomplete: {events} events are there and replay; the recorder was killed, or the file cut off",
                file.display()
            )?;
            Ok(FINDING)
        }
    }
}

/// What `wrr info` counts.
#[derive(Default)]
pub struct Totals {
    pub events: u64,
    pub calls: BTreeMap<Function, u64>,
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// How long the recording took, if the trace says.
    pub seconds: Option<f64>,
    /// The first thing that is wrong with the file.
    pub damage: Option<String>,
}

fn totals(reader: &TraceReader) -> anyhow::Result<Totals> {
    let mut totals = Totals::default();
    for event in reader.events()? {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                totals.damage = Some(error.to_string());
                break;
            }
        };
        totals.events += 1;
        *totals.calls.entry(event.call.function).or_default() += 1;
        totals.bytes_in += event.outcome.data.len() as u64;
        totals.bytes_out += event.bytes_out();
    }
    let stamps = reader.time_stamps().unwrap_or_else(|error| {
        totals.damage.get_or_insert(error.to_string());
        Vec::new()
    });
    if let Err(error @ wrr::TraceError::Damaged { .. }) = reader.module() {
        totals.damage.get_or_insert(error.to_string());
    }
    if let Tail::Damaged { offset, what } = reader.tail() {
        totals.damage.get_or_insert(format!("damaged at byte {offset}: {what}"));
    }
    totals.seconds = stamps.last().map(|stamp| stamp.elapsed_ns as f64 / 1e9);
    Ok(totals)
}

fn info(file: &Path, as_json: bool) -> anyhow::Result<i32> {
    let reader = TraceReader::open_damaged(file)?;
    let totals = totals(&reader)?;
    let mut out = std::io::stdout().lock();
    if as_json {
        writeln!(out, "{}", serde_json::to_string_pretty(&json::info(&reader, &totals))?)?;
        return Ok(if totals.damage.is_some() { FINDING } else { 0 });
    }
    let manifest = reader.manifest();
    let mut line = |name: &str, text: String| writeln!(out, "{name:<12} {}", plain(&text));
    line(
        "trace",
        format!(
            "{}, {}, format {}, recorded by wrr {}",
            file.display(),
            HumanBytes(reader.file_bytes()),
            reader.version(),
            manifest.recorder
        ),
    )?;
    if let Some(note) = reader.host_note() {
        line("recorded on", format!("{} {}", note.os, note.arch))?;
    }
    let size = HumanBytes(manifest.module_bytes);
    line("program", format!("{} ({size}, BLAKE3 {})", manifest.name, manifest.module))?;
    line("arguments", format!("{:?}", manifest.args.get(1..).unwrap_or_default()))?;
    for (key, value) in &manifest.env {
        line("variable", format!("{key}={value}"))?;
    }
    for dir in &manifest.preopens {
        line("directory", dir.clone())?;
    }
    if manifest.sockets > 0 {
        line("sockets", manifest.sockets.to_string())?;
    }
    if let Some(export) = &manifest.invoke {
        line("export", export.clone())?;
    }
    let mode = if manifest.deterministic { "deterministic" } else { "live" };
    line("mode", mode.to_owned())?;
    if let Some(finding) = reader.finding() {
        let input = finding.input.len();
        let failed = wrr_fuzz::where_it_failed(&finding.failure);
        line("finding", format!("{failed}, with an input of {input} bytes"))?;
    }
    line(
        "ended",
        match (reader.ending(), reader.tail()) {
            (Some(Ending::Interrupted), _) if reader.finding().is_some() => {
                "interrupted by the fuzzer".to_owned()
            }
            (Some(ending), _) => ending.to_string(),
            (None, Tail::CutOff { ignored_bytes }) => format!(
                "incomplete: the recorder was killed, or the file cut off ({ignored_bytes} bytes after \
                 the last complete chunk are passed over)"
            ),
            (None, _) => "incomplete".to_owned(),
        },
    )?;
    if let Some(seconds) = totals.seconds {
        line("time", format!("{seconds:.3} s"))?;
    }
    line(
        "events",
        format!(
            "{}, {} in, {} out",
            totals.events,
            HumanBytes(totals.bytes_in),
            HumanBytes(totals.bytes_out)
        ),
    )?;
    let mut calls: Vec<_> = totals.calls.iter().collect();
    calls.sort_by_key(|&(function, count)| (std::cmp::Reverse(*count), *function));
    for (function, count) in calls {
        line("", format!("{count:>10} {}", function.name()))?;
    }
    if let Some(origin) = &manifest.origin {
        let (tick, event) = (origin.tick.0, origin.event.0);
        line("resumed", format!("from {} at tick {tick}, behind {event} events", origin.trace))?;
    }
    if let Some(plan) = reader.checkpoint_plan() {
        line("spacing", spacing_line(plan, reader.checkpoint_gap_ns_max().ok().flatten()))?;
    }
    for (place, checkpoint) in reader.checkpoints().iter().enumerate() {
        let name = if place == 0 { "checkpoints" } else { "" };
        line(name, checkpoint_line(checkpoint))?;
    }
    for (kind, count, stored, raw) in reader.chunk_totals() {
        let (stored, raw) = (HumanBytes(stored), HumanBytes(raw));
        line("chunks", format!("{count:>10} {kind}, {stored} ({raw} before compression)"))?;
    }
    if let Some(damage) = totals.damage {
        line("DAMAGED", damage)?;
        return Ok(FINDING);
    }
    Ok(0)
}

fn spacing_line(plan: &wrr::format::CheckpointPlan, gap_ns_max: Option<u64>) -> String {
    let every = Duration::from_nanos(plan.every_ns);
    let longest = gap_ns_max.map_or_else(String::new, |gap| {
        format!(", at most {:.1} s without one", Duration::from_nanos(gap).as_secs_f64())
    });
    format!("a checkpoint every {every:?}{longest}; written pages found by {}", plan.tracker)
}

fn checkpoint_line(checkpoint: &wrr::format::CheckpointEntry) -> String {
    let pages = HumanBytes(checkpoint.page_bytes_stored);
    let own = HumanBytes(checkpoint.stored_bytes);
    let name = checkpoint.name.as_ref().map_or_else(String::new, |name| format!(" @{name}"));
    let (tick, event) = (checkpoint.tick.0, checkpoint.event.0);
    format!("{tick:>14} after {event} events, {pages} of new pages, {own} of its own{name}")
}

fn events(file: &Path, from: u64, to: Option<u64>, as_json: bool) -> anyhow::Result<i32> {
    let reader = TraceReader::open_damaged(file)?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for event in reader.events_from(EventIndex(from))? {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                out.flush()?;
                return Err(error.into());
            }
        };
        if to.is_some_and(|to| event.index.0 > to) {
            break;
        }
        if as_json {
            writeln!(out, "{}", json::event(&event))?;
        } else {
            writeln!(out, "{event}")?;
        }
    }
    out.flush()?;
    if let Tail::Damaged { offset, what } = reader.tail() {
        bail!("{}: damaged at byte {offset}: {what}; what can be read is listed", file.display());
    }
    Ok(0)
}

fn diff(first: &Path, second: &Path) -> anyhow::Result<i32> {
    let (a, b) = (TraceReader::open(first)?, TraceReader::open(second)?);
    let differences = wrr::diff(&a, &b)?;
    let mut out = std::io::stdout().lock();
    if differences.is_empty() {
        writeln!(out, "the traces are of the same run")?;
        return Ok(0);
    }
    let width = first.display().to_string().len().max(second.display().to_string().len());
    for difference in differences {
        writeln!(out, "{}:", difference.what)?;
        writeln!(out, "  {:<width$}  {}", first.display().to_string(), difference.first)?;
        writeln!(out, "  {:<width$}  {}", second.display().to_string(), difference.second)?;
    }
    Ok(FINDING)
}

/// From the command line to a job. Opens nothing but the program and the sockets.
fn job<'a>(
    arguments: &ProgramArgs,
    deterministic: bool,
    progress: &'a Progress,
) -> anyhow::Result<Job<'a>> {
    let (program, args) = arguments.command.split_first().context("no program is given")?;
    let program = PathBuf::from(program);
    let module = read_module(&program)
        .with_context(|| format!("cannot read the program {}", program.display()))?;
    let name = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned();
    let args = std::iter::once(name.clone()).chain(args.iter().cloned()).collect();
    let mut job = job_of((name, module), args, &arguments.world, deterministic, progress)?;
    job.invoke.clone_from(&arguments.invoke);
    Ok(job)
}

/// A program with its arguments, its own name first.
pub fn job_of<'a>(
    (name, module): (String, Vec<u8>),
    args: Vec<String>,
    world: &WorldArgs,
    deterministic: bool,
    progress: &'a Progress,
) -> anyhow::Result<Job<'a>> {
    let WorldArgs { dirs, files, env, stdin, tcplisten } = world;
    let fs = files.file_system(false)?;
    let mut sockets = Vec::new();
    for address in tcplisten {
        if deterministic {
            bail!(
                "--tcplisten cannot be used with --deterministic: what a peer sends is up to chance"
            );
        }
        let socket = std::net::TcpListener::bind(address);
        sockets.push(socket.with_context(|| format!("cannot listen on {address}"))?);
    }
    Ok(Job {
        module,
        invoke: None,
        variant: None,
        live: LiveConfig {
            args,
            env: env.iter().map(|v| variable(v, deterministic)).collect::<Result<_, _>>()?,
            preopens: dirs.iter().map(|dir| preopen(dir)).collect(),
            fs,
            sockets,
            stdin: stdin.clone().map_or(Stdin::Inherit, Stdin::File),
            deterministic,
            ..LiveConfig::default()
        },
        cache: cache(),
        engine: None,
        observer: progress,
        limits: wrr::format::Limits::default(),
        name,
    })
}

/// Reads a module, but not without end: `/dev/zero` is a file, too.
fn read_module(path: &Path) -> anyhow::Result<Vec<u8>> {
    const MODULE_BYTES_MAX: u64 = 1 << 30;
    const TEXT_BYTES_MAX: u64 = 64 << 20;
    let mut file = std::fs::File::open(path)?;
    let mut module = Vec::new();
    (&mut file).take(4).read_to_end(&mut module)?;
    let most = if module == b"\0asm" { MODULE_BYTES_MAX } else { TEXT_BYTES_MAX };
    file.take(most).read_to_end(&mut module)?;
    if module.len() as u64 > most {
        bail!("it is longer than {}, the most for a module", HumanBytes(most));
    }
    Ok(module)
}

/// The variables of `--env`, for a program whose world is virtual.
pub fn environment(env: &[String]) -> anyhow::Result<Vec<(String, String)>> {
    env.iter().map(|text| variable(text, true)).collect()
}

/// A folder of `--dir`.
pub fn preopen(text: &str) -> Preopen {
    let (host, guest) = match text.split_once("::") {
        Some((host, guest)) => (host, guest.to_owned()),
        // To a guest `/` separates names everywhere.
        None if cfg!(windows) => (text, text.replace('\\', "/")),
        None => (text, text.to_owned()),
    };
    Preopen { host: PathBuf::from(host), guest }
}

fn variable(text: &str, deterministic: bool) -> anyhow::Result<(String, String)> {
    if let Some((key, value)) = text.split_once('=') {
        return Ok((key.to_owned(), value.to_owned()));
    }
    if deterministic {
        bail!(
            "--env {text} would take its value from this machine; with --deterministic give --env {text}=VALUE"
        );
    }
    let value = std::env::var(text)
        .with_context(|| format!("cannot take the variable {text} from the environment"))?;
    Ok((text.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_may_be_on_a_drive() {
        let parts = |text| {
            let Preopen { host, guest } = preopen(text);
            (host.to_str().unwrap().to_owned(), guest)
        };
        let both = |host: &str, guest: &str| (host.to_owned(), guest.to_owned());
        assert_eq!(parts("C:\\dir::/work"), both("C:\\dir", "/work"));
        assert_eq!(parts("."), both(".", "."));
        let own = if cfg!(windows) { "C:/a/b" } else { "C:\\a\\b" };
        assert_eq!(parts("C:\\a\\b"), both("C:\\a\\b", own));
    }
}
