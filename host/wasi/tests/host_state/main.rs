//! What a host knows of its guest: followed from events, gone on from in a replay and in the real world.

mod back;
mod guest;
mod hostile;
#[cfg(unix)]
mod random;
mod replay;
mod resume;
#[cfg(windows)]
mod windows;
