//! `wrr py`: the Python that is inside of wrr.

use crate::args::PyArgs;
use crate::commands::{job_of, record_job, trace_of};
use crate::progress::Progress;
use anyhow::{Context as _, bail};
use std::path::{Path, PathBuf};

/// The trace of what has no script.
const TRACE: &str = "python.wrr";

pub fn py(arguments: PyArgs) -> anyhow::Result<i32> {
    let PyArgs { recording, code, module, mut world, command } = arguments;
    // The interpreter's own name, then what an ordinary Python would be given.
    let mut args = vec!["python".to_owned()];
    let mut path = PathBuf::from(TRACE);
    match (code, module, command.first()) {
        (Some(code), ..) => args.extend(["-c".to_owned(), code]),
        (None, Some(module), _) => {
            path = PathBuf::from(format!("{module}.wrr"));
            world.dirs.insert(0, ".".to_owned());
            args.extend(["-m".to_owned(), module]);
        }
        (None, None, Some(script)) => {
            if script.starts_with('-') {
                bail!("{script} is no option of wrr py; options of the script stand behind it");
            }
            path = trace_of(script)?;
            let script = Path::new(script);
            // Better to know now than to read it in Python's words.
            std::fs::File::open(script)
                .with_context(|| format!("cannot read the script {}", script.display()))?;
            let folder = script.parent().filter(|folder| *folder != Path::new(""));
            let folder = folder.unwrap_or(Path::new("."));
            let folder =
                folder.to_str().context("the script's folder has a name that is not UTF-8")?;
            if !world.dirs.iter().any(|dir| dir == folder) {
                world.dirs.insert(0, folder.to_owned());
            }
        }
        (None, None, None) => {}
    }
    match command.split_first() {
        // The program's folders stand in its root, and its paths begin there.
        Some((script, rest)) if args.len() == 1 => {
            let script = script.trim_start_matches("./");
            args.push(format!("/{}", script.trim_start_matches('/')));
            args.extend_from_slice(rest);
        }
        _ => args.extend(command),
    }
    let path = recording.output.clone().unwrap_or(path);
    let module = wrr_python::module().context("the Python inside of wrr cannot be unpacked")?;
    let progress = Progress::default();
    record_job(&recording, &world, &path, || {
        let program = (wrr_python::NAME.to_owned(), module.clone());
        job_of(program, args.clone(), &world, recording.deterministic, &progress)
    })
}
