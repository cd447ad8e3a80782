//! The private layer that a program writes to instead of its directories: in a session, and in a trace.

use crate::{Error, Moment, Session, Target, Trace};
use wrr_trace::{EventIndex, Tick};
use wrr_wasi::{
    Change, CommitError, Committed, Fault, FileSystem, LayerOutline, LiveConfig, Overlay,
    OverlayOptions, OverlaySnapshot, Preopen, Problem, ResumeError,
};

/// A file that differs from the directories below a layer. Paths are the guest's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedFile {
    /// Where it is now.
    pub path: String,
    /// Where it was, if it was renamed.
    pub from: Option<String>,
    /// What happened to it.
    pub change: Change,
}

impl Session {
    fn layer(&mut self) -> Result<Overlay, Error> {
        let overlay = self.guest()?.host().live().and_then(|live| live.overlay().cloned());
        overlay.ok_or(Error::NoOverlay)
    }

    /// All of a file as the program sees it. `path` is as the program would write it.
    ///
    /// # Errors
    /// [`Error::NoOverlay`]: only a live session with a layer has files of its own. [`Error::File`] with the errno that the
    /// program would get.
    pub fn read_file(&mut self, path: &str) -> Result<Vec<u8>, Error> {
        self.layer()?.read_file(path).map_err(|fault| of_file(path, fault))
    }

    /// The names in a directory as the program sees it, sorted.
    ///
    /// # Errors
    /// As [`Session::read_file`].
    pub fn list_directory(&mut self, path: &str) -> Result<Vec<String>, Error> {
        self.layer()?.list_directory(path).map_err(|fault| of_file(path, fault))
    }

    /// Gives a file contents, and makes it if it is not there, in the layer. A recording has it.
    ///
    /// ```
    /// use wrr::{FileSystem, Job, LiveConfig, OverlayOptions, Preopen, Session, Until};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// // Deletes /data/a.
    /// let module = r#"(module
    ///     (import "wasi_snapshot_preview1" "path_unlink_file" (func $unlink (param i32 i32 i32) (result i32)))
    ///     (memory (export "memory") 1)
    ///     (data (i32.const 0) "a")
    ///     (func (export "_start") (drop (call $unlink (i32.const 3) (i32.const 0) (i32.const 1)))))"#;
    /// let live = LiveConfig {
    ///     preopens: vec![Preopen { host: folder.path().to_owned(), guest: "/data".to_owned() }],
    ///     fs: FileSystem::Overlay(OverlayOptions::default()),
    ///     ..LiveConfig::default()
    /// };
    /// let mut session = Session::start(Job { live, ..Job::new(module.into(), "delete.wat") })?;
    /// session.write_file("/data/a", b"nowhere but here")?;
    /// session.run_until(Until::Entry)?;
    /// let here = session.checkpoint()?;
    /// session.run_until(Until::End)?;
    /// assert!(session.read_file("/data/a").is_err());
    /// session.rollback(here)?;
    /// assert_eq!(session.read_file("/data/a")?, b"nowhere but here");
    /// assert_eq!(session.changed_files()?[0].path, "/data/a");
    /// assert!(!folder.path().join("a").exists());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`Session::read_file`]; there is no room for it, and the file has the beginning.
    pub fn write_file(&mut self, path: &str, bytes: &[u8]) -> Result<(), Error> {
        let written = self.layer()?.write_file(path, bytes);
        self.guest()?.host().layer_changed()?;
        written.map_err(|fault| of_file(path, fault))
    }

    /// Takes a file away, in the layer. A recording has it.
    ///
    /// # Errors
    /// As [`Session::read_file`].
    pub fn remove_file(&mut self, path: &str) -> Result<(), Error> {
        let removed = self.layer()?.remove_file(path);
        self.guest()?.host().layer_changed()?;
        removed.map_err(|fault| of_file(path, fault))
    }

    /// What differs from the directories, sorted by place.
    ///
    /// # Errors
    /// [`Error::NoOverlay`].
    pub fn changed_files(&mut self) -> Result<Vec<ChangedFile>, Error> {
        let layer = self.layer()?;
        let changes = layer.changes();
        Ok(changes.into_iter().map(|change| shown(change, |place| layer.shown(place))).collect())
    }

    /// BLAKE3 of what differs from the directories, with the files that are open; `None` if the program writes to them.
    ///
    /// # Errors
    /// What was spilled cannot be read.
    pub fn files_hash(&mut self) -> Result<Option<[u8; 32]>, Error> {
        let Some(live) = self.guest()?.host().live() else { return Ok(None) };
        live.files_hash()
            .map_err(|error| Error::Host(format!("the overlay cannot be read: {error}")))
    }

    /// Applies the layer of a program that has ended to the directories.
    ///
    /// # Errors
    /// [`Error::NoOverlay`]; [`Error::Commit`]; [`Error::Running`] before its end.
    pub fn commit_files(&mut self) -> Result<Committed, Error> {
        if !self.has_come_to_its_end() {
            return Err(Error::Running);
        }
        Ok(self.layer()?.commit()?)
    }

    /// What becomes of the layer at the end of a run.
    pub(crate) fn end_files(&mut self, is_clean: bool) -> Result<crate::Files, Error> {
        let layer = match self.layer() {
            Ok(layer) => layer,
            Err(_) => return Ok(crate::Files::Host),
        };
        if !layer.options().commit || !is_clean {
            let (changes, wanted) = (layer.changes().len(), layer.options().commit);
            return Ok(crate::Files::Kept { changes, wanted });
        }
        Ok(match layer.commit() {
            Ok(committed) => crate::Files::Committed(committed),
            Err(error) => crate::Files::NotCommitted(error),
        })
    }
}

/// What a layer of a trace cannot be made for.
struct Lacking {
    /// A directory that was not given.
    not_given: Option<String>,
    /// Files that are not what they were.
    changed: Vec<String>,
    error: std::io::Error,
}

fn cannot_put_back(error: &std::io::Error) -> Error {
    Error::Host(format!("what the program had written cannot be put back: {error}"))
}

fn of_file(path: &str, fault: Fault) -> Error {
    Error::File { path: path.to_owned(), fault }
}

fn shown(change: Change, path: impl Fn(&wrr_trace::Place) -> String) -> ChangedFile {
    let from = match &change.what {
        wrr_wasi::ChangeKind::Renamed { from, .. } => Some(path(from)),
        _ => None,
    };
    ChangedFile { path: path(&change.place), from, change }
}

impl Trace<'_> {
    /// Whether the program wrote to a private layer instead of its directories.
    #[must_use]
    pub fn has_overlay(&self) -> bool {
        self.reader().has_layer()
    }

    /// How many events there were at a moment; all of them, if there is none.
    fn events_at(&self, moment: Option<&Moment>) -> Result<EventIndex, Error> {
        let Some(moment) = moment.filter(|moment| **moment != Moment::End) else {
            return Ok(EventIndex(u64::MAX));
        };
        Ok(match self.target(moment)? {
            Target::Event(event) => event,
            Target::Tick(Tick(tick)) => match tick.checked_sub(1) {
                Some(before) => self.reader().event_before_tick(Tick(before))?,
                None => EventIndex(0),
            },
        })
    }

    /// What differed from the directories at a moment, sorted by place; at the end, if none is given. Needs no directory.
    ///
    /// # Errors
    /// [`Error::NoOverlay`]; [`Error::Moment`]; [`Error::Trace`].
    pub fn changed_files(&self, moment: Option<&Moment>) -> Result<Vec<ChangedFile>, Error> {
        let until = self.events_at(moment)?;
        if !self.has_overlay() {
            return Err(Error::NoOverlay);
        }
        let names = &self.reader().manifest().preopens;
        let mut outline = LayerOutline::new(u32::try_from(names.len()).unwrap_or(u32::MAX));
        for edit in self.reader().layer_edits(until) {
            outline.apply(&edit?.1).map_err(|fault| self.impossible(&fault))?;
        }
        let path = |place: &wrr_trace::Place| wrr_wasi::guest_path(names, place);
        Ok(outline.changes().into_iter().map(|change| shown(change, path)).collect())
    }

    /// Applies what differed from the directories at a moment to them; at the end, if none is given.
    ///
    /// # Errors
    /// As [`Trace::changed_files`]; [`Error::Live`] if a directory cannot be opened; [`Error::Commit`].
    pub fn commit_files(
        &self,
        moment: Option<&Moment>,
        preopens: &[Preopen],
    ) -> Result<Committed, Error> {
        let until = self.events_at(moment)?;
        if !self.has_overlay() {
            return Err(Error::NoOverlay);
        }
        let names = &self.reader().manifest().preopens;
        if let Some(name) = Overlay::not_given(names, preopens)
            && let changed = self.changed_files(moment)?
            && changed.iter().any(|file| names[file.change.place.preopen as usize] == name)
        {
            return Err(CommitError::NotGiven { name }.into());
        }
        match self.layer(until, preopens, OverlayOptions::default())? {
            (layer, None) => Ok(layer.commit()?),
            (_, Some(Lacking { changed: paths, .. })) if !paths.is_empty() => {
                Err(CommitError::Conflict { paths }.into())
            }
            (_, Some(Lacking { error, .. })) => Err(cannot_put_back(&error)),
        }
    }

    fn impossible(&self, fault: &Fault) -> Error {
        Error::Host(format!("{}: {fault}", self.reader().path().display()))
    }

    /// The layer as it was behind so many events; or as far as it can be made, and what it lacks.
    fn layer(
        &self,
        until: EventIndex,
        preopens: &[Preopen],
        options: OverlayOptions,
    ) -> Result<(Overlay, Option<Lacking>), Error> {
        let manifest = self.reader().manifest();
        let layer = Overlay::above(&manifest.preopens, preopens, manifest.deterministic, options)?;
        for edit in self.reader().layer_edits(until) {
            match layer.apply(&edit?.1) {
                Ok(()) => {}
                Err(Fault::Io(error)) => {
                    let not_given = Overlay::not_given(&manifest.preopens, preopens);
                    let changed = layer.changed_below();
                    return Ok((layer, Some(Lacking { not_given, changed, error })));
                }
                Err(fault) => return Err(self.impossible(&fault)),
            }
        }
        Ok((layer, None))
    }

    /// The layer that the program had behind so many events, if it had one, or is to have from there on.
    pub(crate) fn layer_at(
        &self,
        until: EventIndex,
        preopens: &[Preopen],
        fs: &FileSystem,
    ) -> Result<Option<(Overlay, OverlaySnapshot)>, Error> {
        let options = match (fs, self.has_overlay()) {
            (FileSystem::Layer(layer), _) => {
                return Ok(Some((layer.clone(), layer.snapshot())));
            }
            (FileSystem::Host, true) => {
                let problems = vec![Problem::NeedsOverlay];
                return Err(ResumeError::World { problems }.into());
            }
            (FileSystem::Overlay(options), _) => options.clone(),
            (FileSystem::AsBefore, true) => OverlayOptions::default(),
            (FileSystem::AsBefore | FileSystem::Host, false) => return Ok(None),
        };
        let (layer, lacking) = self.layer(until, preopens, options)?;
        match lacking {
            None => {}
            Some(Lacking { not_given: Some(guest), .. }) => {
                let problems = vec![Problem::DirectoryNotGiven { guest }];
                return Err(ResumeError::World { problems }.into());
            }
            Some(Lacking { changed, .. }) if !changed.is_empty() => {
                let changed = changed.into_iter();
                let problems = changed.map(|path| Problem::ChangedBelow { path }).collect();
                return Err(ResumeError::World { problems }.into());
            }
            Some(Lacking { error, .. }) => return Err(cannot_put_back(&error)),
        }
        let then = layer.snapshot();
        Ok(Some((layer, then)))
    }

    /// As [`Trace::layer_at`], for somebody who goes on from there.
    pub(crate) fn put_layer(&self, live: &mut LiveConfig, until: EventIndex) -> Result<(), Error> {
        let layer = self.layer_at(until, &live.preopens, &live.fs)?;
        live.fs = layer.map_or(FileSystem::Host, |(layer, _)| FileSystem::Layer(layer));
        Ok(())
    }
}
