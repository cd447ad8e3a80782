//! `--fs`, `wrr fs`: a program's changes to files that are in a private layer.

use crate::args::{FilesArgs, Fs, FsArg, FsCommand};
use crate::commands::{cache, preopen};
use crate::report::{ERROR, plain, say};
use crate::saved::Saved;
use anyhow::bail;
use indicatif::HumanCount;
use serde_json::json;
use std::io::Write as _;
use std::path::Path;
use wrr::{
    ChangeKind, ChangedFile, Committed, FileSystem, Files, Moment, OverlayOptions, Preopen, Trace,
};

/// The number of the file type `directory`.
const DIRECTORY: u8 = 3;

impl FsArg {
    pub fn file_system(&self) -> FileSystem {
        match self.fs {
            None => FileSystem::AsBefore,
            Some(Fs::Host) => FileSystem::Host,
            Some(Fs::Overlay) => FileSystem::Overlay(OverlayOptions::default()),
        }
    }
}

impl FilesArgs {
    /// Where changes go. `is_overlay`: that is where they went before.
    pub fn file_system(&self, is_overlay: bool) -> anyhow::Result<FileSystem> {
        if !self.commit_fs {
            return Ok(self.fs.file_system());
        }
        match self.fs.fs {
            Some(Fs::Overlay) => {}
            None if is_overlay => {}
            _ => bail!("--commit-fs applies what is in an overlay; give --fs overlay as well"),
        }
        Ok(FileSystem::Overlay(OverlayOptions { commit: true, ..OverlayOptions::default() }))
    }
}

/// Tells what became of a program's changes to files. `saved` is the recording that has them. Gives the exit code, which is `code`
/// unless they should have been applied and could not be.
pub fn tell(files: &Files, saved: Option<&Saved>, code: i32) -> i32 {
    match files {
        Files::Host | Files::Kept { changes: 0, .. } => code,
        Files::Kept { changes, wanted } => {
            let them = counted(*changes as u64, "change to a file", "changes to files");
            match saved {
                Some(saved) => say(&format!(
                    "wrr: {them} kept in the trace, not in the folders\n  to see:   {}\n  to apply: {}",
                    saved.fs_command("diff", false),
                    saved.fs_command("commit", true)
                )),
                None if *wanted => {
                    say(&format!(
                        "wrr: {them} dropped, as the program did not end with exit code 0"
                    ));
                }
                None => say(&format!("wrr: {them} dropped (--commit-fs applies them)")),
            }
            code
        }
        Files::Committed(committed) => {
            if *committed != Committed::default() {
                say(&format!("wrr: applied to the folders: {}", listed(*committed)));
            }
            code
        }
        Files::NotCommitted(error) => {
            let kept = match saved {
                Some(saved) => {
                    format!("\n  the trace has it: {}", saved.fs_command("commit", true))
                }
                None => String::new(),
            };
            say(&format!("error: {error}{kept}"));
            ERROR
        }
    }
}

fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

fn listed(committed: Committed) -> String {
    let Committed { files, made, moved, removed } = committed;
    let parts = [(files, "written"), (made, "made"), (moved, "moved"), (removed, "removed")];
    let parts = parts.into_iter().filter(|(count, _)| *count > 0);
    parts.map(|(count, what)| format!("{count} {what}")).collect::<Vec<_>>().join(", ")
}

pub fn fs(command: FsCommand) -> anyhow::Result<i32> {
    match command {
        FsCommand::Diff { file, at, json } => diff(&file, at.as_ref(), json),
        FsCommand::Commit { file, at, dirs } => {
            let preopens: Vec<Preopen> = dirs.iter().map(|dir| preopen(dir)).collect();
            let trace = Trace::open(&file)?.with(cache(), &());
            let committed = trace.commit_files(at.as_ref(), &preopens)?;
            let mut out = std::io::stdout().lock();
            match committed == Committed::default() {
                true => writeln!(out, "nothing to apply")?,
                false => writeln!(out, "applied: {}", listed(committed))?,
            }
            Ok(0)
        }
    }
}

fn diff(file: &Path, at: Option<&Moment>, json: bool) -> anyhow::Result<i32> {
    let trace = Trace::open(file)?.with(cache(), &());
    let changes = trace.changed_files(at)?;
    let mut out = std::io::stdout().lock();
    for changed in &changes {
        match json {
            true => writeln!(out, "{}", as_json(changed))?,
            false => writeln!(out, "{}", line(changed))?,
        }
    }
    out.flush()?;
    Ok(0)
}

fn letter(changed: &ChangedFile) -> &'static str {
    match &changed.change.what {
        ChangeKind::Added => "A",
        ChangeKind::Modified { .. } => "M",
        ChangeKind::Touched => "T",
        ChangeKind::Renamed { .. } => "R",
        ChangeKind::Removed => "D",
    }
}

fn line(changed: &ChangedFile) -> String {
    let slash = if changed.change.filetype == DIRECTORY { "/" } else { "" };
    let path = format!("{}{slash}", plain(&changed.path));
    let bytes = |bytes| format!("{} B", HumanCount(bytes));
    let size = bytes(changed.change.size);
    let is_file = slash.is_empty();
    let rest = match (&changed.change.what, &changed.from) {
        (ChangeKind::Renamed { modified, .. }, Some(from)) => {
            let modified = if *modified { ", modified" } else { "" };
            format!("  from {}{slash}{modified}", plain(from))
        }
        (ChangeKind::Modified { old_size }, _) if is_file => {
            format!("  {} -> {size}", bytes(*old_size))
        }
        (ChangeKind::Added | ChangeKind::Removed, _) if is_file => format!("  {size}"),
        _ => String::new(),
    };
    format!("{} {path}{rest}", letter(changed))
}

fn as_json(changed: &ChangedFile) -> serde_json::Value {
    let (old_size, modified) = match &changed.change.what {
        ChangeKind::Modified { old_size } => (Some(*old_size), true),
        ChangeKind::Renamed { modified, .. } => (None, *modified),
        _ => (None, false),
    };
    json!({
        "change": letter(changed),
        "path": changed.path,
        "from": changed.from,
        "type": changed.change.filetype_name(),
        "size": changed.change.size,
        "old_size": old_size,
        "modified": modified,
    })
}
