//! `wrr fuzz`, `wrr repro`, `wrr minimize`.

mod status;

use crate::args::{FuzzArgs, MinimizeArgs, ReproArgs, RuleArgs};
use crate::commands::{cache, environment, preopen};
use crate::progress::Progress;
use crate::report::{FINDING, plain, say};
use anyhow::{Context as _, bail};
use indicatif::{ProgressBar, ProgressStyle};
use status::Status;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use wrr::format::{INPUT_BYTES_MAX, Limits};
use wrr::{Preopen, Trace, Variant};
use wrr_fuzz::{
    Against, Campaign, CampaignOptions, Found, MinimizedCorpus, Runner, Target, TargetOptions,
    Verdict, minimize_corpus, parse_dictionary,
};

/// The longest input, unless the corpus has longer ones.
const INPUT_BYTES_DEFAULT: u32 = 4096;

/// Between two looks at whether a campaign is over.
const WAIT: Duration = Duration::from_millis(50);

pub fn fuzz(arguments: &FuzzArgs) -> anyhow::Result<i32> {
    let stop = Arc::new(AtomicBool::new(false));
    on_interrupt(&stop);
    std::fs::create_dir_all(&arguments.corpus)
        .with_context(|| format!("cannot create {}", arguments.corpus.display()))?;
    let longest = longest_input(&arguments.corpus)?;
    let progress = Progress::default();
    let target = target(&arguments.target, &arguments.args, &arguments.rules, longest)?;
    if arguments.minimize_corpus {
        return shrink_corpus(arguments, &target, &progress);
    }
    let mut tokens = Vec::new();
    for path in &arguments.dict {
        let text =
            std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let read = parse_dictionary(&text)
            .map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?;
        tokens.extend(read);
    }
    let Some(crashes) = arguments.crashes.clone() else {
        bail!("--crashes DIR is needed: it says where findings go");
    };
    let campaign = Campaign::new(target.clone());
    let status = Status::start(arguments, &target, campaign.figures());
    let options = CampaignOptions {
        corpus: arguments.corpus.clone(),
        crashes: crashes.clone(),
        runs: arguments.runs,
        jobs: arguments.jobs.map_or(1, usize::from),
        seed: arguments.seed.unwrap_or_else(|| std::process::id().into()),
        tokens,
        stop: Arc::clone(&stop),
        on_found: &|found: &Found| status.found(found),
        observer: &progress,
    };
    let over = AtomicBool::new(false);
    let ended = std::thread::scope(|scope| {
        scope.spawn(|| watch(&status, &stop, &over, arguments.time));
        let ended = campaign.run(&options);
        over.store(true, Ordering::Relaxed);
        ended
    });
    let interrupted =
        stop.load(Ordering::Relaxed) && arguments.time.is_none_or(|time| status.elapsed() < time);
    let ended = match ended {
        Ok(ended) => ended,
        Err(wrr_fuzz::FuzzError::Interrupted) => {
            status.clear();
            say("interrupted before the program had come to its input");
            return Ok(130);
        }
        Err(error) => {
            status.clear();
            return Err(error.into());
        }
    };
    status.end(&ended, interrupted)?;
    Ok(if ended.found.is_empty() { 0 } else { FINDING })
}

/// The first Ctrl-C ends what takes long, the second one wrr.
#[cfg(unix)]
fn on_interrupt(stop: &Arc<AtomicBool>) {
    use signal_hook::consts::{SIGINT, SIGTERM};
    for signal in [SIGINT, SIGTERM] {
        let registered = signal_hook::flag::register_conditional_shutdown(
            signal,
            128 + signal,
            Arc::clone(stop),
        )
        .and_then(|_| signal_hook::flag::register(signal, Arc::clone(stop)));
        if let Err(why) = registered {
            tracing::debug!("signal {signal} ends wrr at once: {why}");
        }
    }
}

#[cfg(windows)]
fn on_interrupt(stop: &Arc<AtomicBool>) {
    let stop = Arc::clone(stop);
    let handler = move || {
        if stop.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    };
    if let Err(why) = ctrlc::set_handler(handler) {
        tracing::debug!("Ctrl-C ends wrr at once: {why}");
    }
}

/// Shows the figures now and then, and ends the campaign when its time is over.
fn watch(status: &Status, stop: &AtomicBool, over: &AtomicBool, time: Option<Duration>) {
    while !over.load(Ordering::Relaxed) {
        status.show();
        if time.is_some_and(|time| status.elapsed() >= time) {
            stop.store(true, Ordering::Relaxed);
        }
        std::thread::sleep(WAIT);
    }
}

/// The length of the longest input of a folder, in bytes.
fn longest_input(dir: &Path) -> anyhow::Result<(u64, PathBuf)> {
    let mut longest = (0, PathBuf::new());
    for entry in std::fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let path = entry.with_context(|| format!("cannot read {}", dir.display()))?.path();
        // What cannot be read is told of when it is read.
        if let Ok(metadata) = std::fs::metadata(&path)
            && metadata.is_file()
            && metadata.len() > longest.0
        {
            longest = (metadata.len(), path);
        }
    }
    Ok(longest)
}

/// The program that the command line names.
fn target(
    path: &Path,
    args: &[String],
    rules: &RuleArgs,
    (longest, of): (u64, PathBuf),
) -> anyhow::Result<Target> {
    let module = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let most = INPUT_BYTES_MAX as u64;
    let input_bytes_max = match rules.max_len {
        Some(most) => most,
        None if longest > most => bail!(
            "{} has {longest} bytes, the most is {most}; take it out, or give --max-len, which leaves longer ones out",
            of.display()
        ),
        None => INPUT_BYTES_DEFAULT.max(longest as u32),
    };
    let options = TargetOptions {
        args: args.to_vec(),
        env: environment(&rules.env)?,
        preopens: folders(&rules.dirs),
        limits: Limits { memory_bytes_max: rules.memory_limit, ..Limits::default() },
        input_bytes_max,
        timeout_ticks: rules.timeout_ticks,
        crash_exits: rules.crash_exits.iter().map(|code| *code as u32).collect(),
    };
    let name =
        path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    Ok(Target::new(module, &name, options, cache())?)
}

fn shrink_corpus(
    arguments: &FuzzArgs,
    target: &Target,
    progress: &Progress,
) -> anyhow::Result<i32> {
    let mut runner = Runner::start(target, Variant::Covered, progress)?;
    let mut aside = arguments.corpus.as_os_str().to_owned();
    aside.push(".redundant");
    let aside = PathBuf::from(aside);
    let bar = bar("inputs");
    let shrunk = minimize_corpus(&mut runner, &arguments.corpus, &aside, &mut || bar.inc(1));
    bar.finish_and_clear();
    let MinimizedCorpus { before, kept, features, failing } = shrunk?;
    let gone = before - kept;
    let mut out = std::io::stdout().lock();
    writeln!(out, "kept {kept} of {before} inputs, which show all {features} features")?;
    if gone > 0 {
        let failing = match failing {
            0 => String::new(),
            some => format!(" ({some} of them fail)"),
        };
        writeln!(out, "the other {gone}{failing} are in {}", aside.display())?;
    }
    Ok(0)
}

fn folders(dirs: &[String]) -> Vec<Preopen> {
    dirs.iter().map(|dir| preopen(dir)).collect()
}

fn bar(what: &str) -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    let template = format!("{{spinner}} {{pos}} {what}, {{elapsed}} {{msg}}");
    bar.set_style(ProgressStyle::with_template(&template).expect("the template is a constant"));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

pub fn repro(arguments: &ReproArgs) -> anyhow::Result<i32> {
    let progress = Progress::default();
    let mut out = std::io::stdout().lock();
    if let Some(module) = &arguments.target {
        let input = std::fs::read(&arguments.file)
            .with_context(|| format!("cannot read {}", arguments.file.display()))?;
        if input.starts_with(&wrr::format::chunk::MAGIC) {
            bail!(
                "{} is a recording, not an input; --against PROGRAM gives the input of a finding to another build",
                arguments.file.display()
            );
        }
        let target = target(
            module,
            &arguments.args,
            &arguments.rules,
            (input.len() as u64, arguments.file.clone()),
        )?;
        let (verdict, code) = match wrr_fuzz::run_input(&target, &input, &progress)? {
            Ok(failure) => (format!("fails: {}", wrr_fuzz::where_it_failed(&failure)), 0),
            Err(ending) => (format!("does not fail: {ending}"), FINDING),
        };
        writeln!(out, "{}", plain(&verdict))?;
        return Ok(code);
    }
    let trace = match Trace::open(&arguments.file) {
        Err(wrr::Error::Trace(error @ wrr::TraceError::NotATrace { .. })) => {
            bail!("{error}; an input is given to a program with --target PROGRAM")
        }
        trace => trace?.with(cache(), &progress),
    };
    let (verdict, same) = match &arguments.against {
        None => {
            let verdict = wrr_fuzz::repro(&trace)?;
            (verdict.to_string(), matches!(verdict, Verdict::Same(_)))
        }
        Some(path) => {
            let module =
                std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
            let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
            let against = wrr_fuzz::against(
                &trace,
                (module, &name),
                folders(&arguments.rules.dirs),
                cache(),
                &progress,
            )?;
            (against.to_string(), matches!(against, Against::Same(_)))
        }
    };
    writeln!(out, "{}", plain(&verdict))?;
    Ok(if same { 0 } else { FINDING })
}

pub fn minimize(arguments: &MinimizeArgs) -> anyhow::Result<i32> {
    let stop = Arc::new(AtomicBool::new(false));
    on_interrupt(&stop);
    let progress = Progress::default();
    let trace = Trace::open(&arguments.file)?.with(None, &progress);
    let bar = bar("tries");
    let mut shown = Instant::now();
    let minimized = wrr_fuzz::minimize(
        &trace,
        folders(&arguments.dirs),
        cache(),
        &progress,
        &stop,
        &mut |len| {
            bar.inc(1);
            if shown.elapsed() > Duration::from_millis(200) {
                bar.set_message(format!("with {len} bytes"));
                shown = Instant::now();
            }
        },
    );
    bar.finish_and_clear();
    let minimized = minimized?;
    let mut out = std::io::stdout().lock();
    let (before, after) = (minimized.before_bytes, minimized.after_bytes);
    match &minimized.written {
        None if minimized.interrupted => {
            say("wrr: interrupted before it had become smaller");
            return Ok(130);
        }
        None => {
            writeln!(out, "{before} bytes: it cannot be made smaller ({} tries)", minimized.runs)?
        }
        Some(written) => {
            writeln!(
                out,
                "{before} bytes to {after}, in {} tries: {}\n{}",
                minimized.runs,
                plain(&wrr_fuzz::where_it_failed(&written.failure)),
                written.trace.display()
            )?;
        }
    }
    if minimized.interrupted {
        say("wrr: interrupted: it may become smaller still; minimize the new file to go on");
        return Ok(130);
    }
    Ok(0)
}
