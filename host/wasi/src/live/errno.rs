//! From `wasi-common`'s errors to errnos.
//!
//! Upstream turns operating system errors that it does not know into traps. Every one of them has an
//! errno in preview1, and a read-only file system is no reason to kill a guest.

use wasi_common::snapshots::preview_1::types;
use wrr_trace::Errno;

/// The errno of an error.
///
/// # Errors
/// A sentence, if the error is neither an errno nor an error of the operating system.
pub fn of(error: types::Error) -> Result<Errno, String> {
    let trap = match error.downcast() {
        Ok(errno) => return Ok(Errno::from_number(errno as u16).unwrap_or(Errno::io)),
        Err(trap) => trap,
    };
    match trap.downcast_ref::<std::io::Error>() {
        Some(error) => Ok(of_io(error)),
        None => Err(format!("{trap:#}")),
    }
}

fn of_io(error: &std::io::Error) -> Errno {
    use std::io::ErrorKind as Kind;
    if cfg!(windows)
        && let Some(errno) = error.raw_os_error().and_then(of_windows)
    {
        return errno;
    }
    match error.kind() {
        Kind::ReadOnlyFilesystem => Errno::rofs,
        Kind::CrossesDevices => Errno::xdev,
        Kind::ExecutableFileBusy => Errno::txtbsy,
        Kind::NetworkUnreachable => Errno::netunreach,
        Kind::HostUnreachable => Errno::hostunreach,
        Kind::NetworkDown => Errno::netdown,
        Kind::NotConnected => Errno::notconn,
        Kind::ConnectionReset => Errno::connreset,
        Kind::ConnectionAborted => Errno::connaborted,
        Kind::ConnectionRefused => Errno::connrefused,
        Kind::AddrInUse => Errno::addrinuse,
        Kind::AddrNotAvailable => Errno::addrnotavail,
        Kind::BrokenPipe => Errno::pipe,
        Kind::NotADirectory => Errno::notdir,
        Kind::IsADirectory => Errno::isdir,
        Kind::DirectoryNotEmpty => Errno::notempty,
        Kind::StorageFull | Kind::WriteZero => Errno::nospc,
        Kind::QuotaExceeded => Errno::dquot,
        Kind::FileTooLarge => Errno::fbig,
        Kind::ResourceBusy => Errno::busy,
        Kind::Deadlock => Errno::deadlk,
        Kind::TooManyLinks => Errno::mlink,
        Kind::InvalidFilename => Errno::nametoolong,
        Kind::ArgumentListTooLong => Errno::toobig,
        Kind::NotSeekable => Errno::spipe,
        Kind::StaleNetworkFileHandle => Errno::stale,
        Kind::TimedOut => Errno::timedout,
        Kind::Interrupted => Errno::intr,
        Kind::Unsupported => Errno::notsup,
        Kind::OutOfMemory => Errno::nomem,
        Kind::InvalidData | Kind::InvalidInput => Errno::inval,
        _ => Errno::io,
    }
}

/// Errors of Windows that neither upstream nor the standard library has a kind for.
fn of_windows(code: i32) -> Option<Errno> {
    Some(match code {
        // ERROR_INVALID_FUNCTION: a device that cannot do this.
        1 => Errno::notsup,
        // ERROR_CURRENT_DIRECTORY, ERROR_LOCK_VIOLATION, ERROR_DELETE_PENDING, ERROR_USER_MAPPED_FILE
        16 | 33 | 303 | 1224 => Errno::busy,
        // ERROR_BAD_NETPATH, ERROR_BAD_NET_NAME, ERROR_BAD_PATHNAME
        53 | 67 | 161 => Errno::noent,
        // ERROR_META_EXPANSION_TOO_LONG
        208 => Errno::nametoolong,
        // ERROR_CANT_RESOLVE_FILENAME
        1921 => Errno::loop_,
        // ERROR_PIPE_NOT_CONNECTED
        233 => Errno::pipe,
        // ERROR_NO_UNICODE_TRANSLATION
        1113 => Errno::ilseq,
        // ERROR_NO_SYSTEM_RESOURCES, ERROR_COMMITMENT_LIMIT
        1450 | 1455 => Errno::nomem,
        // ERROR_INVALID_REPARSE_DATA, ERROR_REPARSE_TAG_INVALID
        4392 | 4393 => Errno::inval,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(windows)]
    #[test]
    fn errors_of_windows_get_their_errno() {
        // ACCESS_DENIED, NOT_SAME_DEVICE, WRITE_PROTECT, SHARING_VIOLATION, DISK_FULL, NO_DATA (a closed pipe),
        // FILENAME_EXCED_RANGE, PRIVILEGE_NOT_HELD, CANT_RESOLVE_FILENAME, DELETE_PENDING, and one without a name.
        for (code, errno) in [
            (5, Errno::acces),
            (17, Errno::xdev),
            (19, Errno::rofs),
            (32, Errno::acces),
            (112, Errno::nospc),
            (232, Errno::pipe),
            (206, Errno::nametoolong),
            (1314, Errno::perm),
            (1921, Errno::loop_),
            (303, Errno::busy),
            (1117, Errno::io),
        ] {
            let error = types::Error::from(std::io::Error::from_raw_os_error(code));
            assert_eq!(of(error), Ok(errno), "error {code}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn errors_that_upstream_does_not_know_get_their_errno() {
        // EROFS, EXDEV, ETXTBSY, and EUCLEAN, which preview1 has no name for.
        for (code, errno) in
            [(30, Errno::rofs), (18, Errno::xdev), (26, Errno::txtbsy), (117, Errno::io)]
        {
            let error = types::Error::from(std::io::Error::from_raw_os_error(code));
            assert_eq!(of(error), Ok(errno), "os error {code}");
        }
    }
}
