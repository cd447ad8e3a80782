//! `wrr branch`: many runs from one moment, and a table of what came of them.

use crate::args::{BranchArgs, DataTo};
use crate::commands::{cache, preopen};
use crate::report::{ERROR, FINDING, plain, say};
use anyhow::{Context as _, bail};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use std::io::{Read as _, Write};
use std::path::Path;
use std::time::Duration;
use wrr::{Branch, Branching, Captured, End, Ending, Trace};

/// The longest datum that is shown whole in the table.
const DATA_SHOWN: usize = 40;

pub fn branch(arguments: &BranchArgs) -> anyhow::Result<i32> {
    let trace = Trace::open(&arguments.file)?.with(cache(), &());
    let data = match &arguments.each {
        Some(list) => lines_of(list)?,
        None => arguments.with.iter().map(|datum| datum.clone().into_bytes()).collect(),
    };
    if data.is_empty() {
        bail!("there is nothing to run it with: the list is empty");
    }
    let bar = progress(data.len() as u64);
    let processors = || std::thread::available_parallelism().map_or(1, usize::from);
    let options = Branching {
        at: arguments.at.clone(),
        data,
        to: arguments.to.map(|to| match to {
            DataTo::Branch => wrr::DataTo::Branch,
            DataTo::Stdin => wrr::DataTo::Stdin,
        }),
        preopens: arguments.dirs.iter().map(|dir| preopen(dir)).collect(),
        fs: arguments.fs.file_system(),
        jobs: arguments.jobs.map_or_else(processors, usize::from),
        record_dir: arguments.record_dir.clone(),
        on_end: &|_| bar.inc(1),
    };
    let branches = wrr::branch(trace, &options);
    bar.finish_and_clear();
    let branches = branches?;
    let mut out = std::io::stdout().lock();
    if arguments.json {
        for branch in &branches {
            writeln!(out, "{}", as_json(branch))?;
        }
    } else {
        table(&mut out, &branches)?;
    }
    out.flush()?;
    // What kept a run from running is not what it came to.
    let unable =
        branches.iter().filter_map(|branch| branch.end.as_ref().err().map(|e| (branch, e)));
    let mut code = if branches.iter().all(|b| b.exit_code() == Some(0)) { 0 } else { FINDING };
    for (branch, error) in unable {
        say(&format!("error: run {}: {error}", branch.number + 1));
        code = ERROR;
    }
    Ok(code)
}

fn lines_of(list: &Path) -> anyhow::Result<Vec<Vec<u8>>> {
    let mut bytes = Vec::new();
    if list == Path::new("-") {
        std::io::stdin().lock().read_to_end(&mut bytes).context("cannot read the list")?;
    } else {
        bytes = std::fs::read(list).with_context(|| format!("cannot read {}", list.display()))?;
    }
    let lines = bytes.split(|&byte| byte == b'\n');
    let lines = lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    Ok(lines.filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect())
}

/// A bar that appears on a terminal only.
fn progress(runs: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {pos} of {len} runs, {elapsed}");
    let bar = ProgressBar::new(runs);
    bar.set_style(style.expect("the template is a constant"));
    bar.enable_steady_tick(Duration::from_millis(500));
    bar
}

/// How a run ended, in a word or two.
fn ending(branch: &Branch) -> String {
    match &branch.end {
        Err(_) => "not run".to_owned(),
        Ok(End { ending: Ending::Exited { code }, .. }) => format!("exit {}", *code as i32),
        Ok(End { ending, .. }) => ending.to_string(),
    }
}

fn shown(data: &[u8]) -> String {
    let text = plain(&String::from_utf8_lossy(data));
    match text.char_indices().nth(DATA_SHOWN) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text,
    }
}

fn table(out: &mut impl Write, branches: &[Branch]) -> std::io::Result<()> {
    let rows: Vec<[String; 5]> = branches
        .iter()
        .map(|branch| {
            [
                (branch.number + 1).to_string(),
                shown(&branch.data),
                ending(branch),
                format!("{:.1} ms", branch.elapsed.as_secs_f64() * 1e3),
                last_line(branch),
            ]
        })
        .collect();
    let head = ["run", "data", "end", "time", "last line of output"].map(str::to_owned);
    let width = |column: usize| {
        let cells = rows.iter().chain([&head]).map(|row| row[column].chars().count());
        cells.max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..4).map(width).collect();
    for row in [&head].into_iter().chain(&rows) {
        let [number, data, end, time, line] = row;
        let text = format!(
            "{number:>w0$}  {data:w1$}  {end:w2$}  {time:>w3$}  {line}",
            w0 = widths[0],
            w1 = widths[1],
            w2 = widths[2],
            w3 = widths[3]
        );
        writeln!(out, "{}", text.trim_end())?;
    }
    for branch in branches.iter().filter(|branch| branch.exit_code() != Some(0)) {
        for (name, captured) in [("output", &branch.stdout), ("errors", &branch.stderr)] {
            if captured.bytes.is_empty() {
                continue;
            }
            writeln!(out, "\n{name} of run {} ({}):", branch.number + 1, shown(&branch.data))?;
            for line in String::from_utf8_lossy(&captured.bytes).lines() {
                writeln!(out, "  {}", plain(line))?;
            }
            if captured.dropped_bytes > 0 {
                writeln!(out, "  … and {} more bytes", captured.dropped_bytes)?;
            }
        }
    }
    let failed = branches.iter().filter(|branch| branch.exit_code() != Some(0)).count();
    writeln!(out, "\n{} runs, {failed} of them with another exit code than 0", branches.len())
}

fn last_line(branch: &Branch) -> String {
    let text = String::from_utf8_lossy(&branch.stdout.bytes);
    shown(text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default().as_bytes())
}

fn as_json(branch: &Branch) -> Value {
    let output = |captured: &Captured| String::from_utf8_lossy(&captured.bytes).into_owned();
    json!({
        "run": branch.number + 1,
        "data": String::from_utf8_lossy(&branch.data),
        "end": ending(branch),
        "exit_code": branch.exit_code(),
        "error": branch.end.as_ref().err().map(ToString::to_string),
        "seconds": branch.elapsed.as_secs_f64(),
        "stdout": output(&branch.stdout),
        "stderr": output(&branch.stderr),
        "dropped_bytes": branch.stdout.dropped_bytes + branch.stderr.dropped_bytes,
        "recording": branch.recording,
    })
}
