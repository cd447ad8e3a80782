//! Which descriptors are standard streams at the moment: the guest may close and renumber them.

use wrr_trace::{Call, Errno, Function, Outcome, Reply};

/// A standard stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard input.
    In,
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// The descriptors that are standard streams. Follows the calls that change that.
#[derive(Debug)]
pub struct Streams(Vec<(u32, Stream)>);

impl Streams {
    /// 0, 1 and 2, as every guest starts.
    pub fn new() -> Streams {
        Streams(vec![(0, Stream::In), (1, Stream::Out), (2, Stream::Err)])
    }

    /// The stream that this descriptor is.
    pub fn get(&self, fd: u32) -> Option<Stream> {
        self.0.iter().find(|(f, _)| *f == fd).map(|(_, s)| *s)
    }

    /// Notes what a call did.
    pub fn observe(&mut self, call: &Call, outcome: &Outcome) {
        if outcome.errno != Errno::success {
            return;
        }
        let fd = call.args[0] as u32;
        match (call.function, &outcome.reply) {
            (Function::FdClose, _) => self.0.retain(|(f, _)| *f != fd),
            (Function::FdRenumber, _) => {
                let to = call.args[1] as u32;
                if to != fd {
                    self.0.retain(|(f, _)| *f != to);
                    for (f, _) in &mut self.0 {
                        if *f == fd {
                            *f = to;
                        }
                    }
                }
            }
            (Function::PathOpen | Function::SockAccept, Reply::Number(new)) => {
                self.0.retain(|(f, _)| f != new);
            }
            _ => {}
        }
    }
}
