//! What can be wrong with a trace, each with where it is and what to do.

use std::path::PathBuf;

/// An error of reading or writing a trace.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TraceError {
    /// The operating system refused.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// The trace file.
        path: PathBuf,
        /// What was being done, as an infinitive.
        action: &'static str,
        /// The reason.
        source: std::io::Error,
    },
    /// The file does not start like a trace.
    #[error("{}: not a wrr trace: {found}; give a file that `wrr record` wrote", path.display())]
    NotATrace {
        /// The file.
        path: PathBuf,
        /// What stands at its beginning.
        found: String,
    },
    /// A trace of another format version.
    #[error("{}: trace format {found}, this wrr reads those up to {supported}; use the wrr version that recorded it, or a newer one", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// The version in the file.
        found: u32,
        /// The version that this crate reads.
        supported: u32,
    },
    /// Bytes that no recorder wrote: a flipped bit, an overwritten block, a hostile file.
    #[error("{}: damaged at byte {offset}: {what}; restore the file from a copy (`wrr events` shows what can still be read)", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the damaged structure starts, in bytes from the beginning of the file.
        offset: u64,
        /// What was found and what was expected.
        what: String,
    },
    /// The notes beside a trace cannot be used.
    #[error("{}: damaged: {what}; the names and numbers in it are lost, remove the file", path.display())]
    Notes {
        /// The file.
        path: PathBuf,
        /// What was found.
        what: String,
    },
    /// The recording was cut off before it held anything that could be replayed.
    #[error("{}: the recording ends after {len_bytes} bytes, before {missing}; there is nothing to replay, record it again", path.display())]
    NothingRecorded {
        /// The file.
        path: PathBuf,
        /// The file's length in bytes.
        len_bytes: u64,
        /// The part that is missing.
        missing: &'static str,
    },
    /// Arguments and environment take too much room.
    #[error(
        "arguments and environment take {len_bytes} bytes, a trace can hold 8 MiB; pass large inputs as files"
    )]
    ManifestTooLong {
        /// Their length with the rest of the manifest.
        len_bytes: usize,
    },
    /// Another process is writing to the file.
    #[error("{}: being written by another wrr, a recording or `wrr index`; try again when it has finished, or choose another file with -o", path.display())]
    BeingWritten {
        /// The file.
        path: PathBuf,
    },
    /// A checkpoint that a trace cannot hold.
    #[error("{}: a checkpoint cannot be stored: {what}; the recording can be replayed without it", path.display())]
    BadCheckpoint {
        /// The trace file.
        path: PathBuf,
        /// What about it.
        what: String,
    },
    /// The recording is over, so nothing more goes into it.
    #[error("{}: the recording has ended; add checkpoints with `wrr index`", path.display())]
    RecordingEnded {
        /// The trace file.
        path: PathBuf,
    },
    /// The file at the place where a trace shall be written is something else.
    #[error("{}: exists and is not a wrr trace, so it is not overwritten; choose another file with -o", path.display())]
    WouldOverwrite {
        /// The file.
        path: PathBuf,
    },
}

impl TraceError {
    /// The same error once more, for a second place that has to know it.
    pub(crate) fn again(&self) -> TraceError {
        match self {
            TraceError::Io { path, action, source } => TraceError::Io {
                path: path.clone(),
                action,
                source: match source.raw_os_error() {
                    Some(code) => std::io::Error::from_raw_os_error(code),
                    None => std::io::Error::new(source.kind(), source.to_string()),
                },
            },
            other => unreachable!("a writer fails only with what the system refuses: {other}"),
        }
    }

    pub(crate) fn io(
        path: &std::path::Path,
        action: &'static str,
    ) -> impl FnOnce(std::io::Error) -> TraceError {
        let path = path.to_owned();
        move |source| TraceError::Io { path, action, source }
    }
}
