//! Marks and numbered objects, as they are kept beside a trace.

use crate::debugger::Debugger;
use crate::objects::Object;
use wrr::Position;
use wrr::format::{EventIndex, NamedMoment, Notes, NumberedObject, Tick};

impl Debugger<'_> {
    /// What is to be kept for other sessions.
    #[must_use]
    pub fn notes(&self) -> Notes {
        let moments = self.marks().iter().map(|(name, at)| NamedMoment {
            name: name.clone(),
            tick: at.tick.0,
            event: at.event.0,
            in_call: at.in_call,
        });
        let objects = self.objects().iter().map(|(number, object)| NumberedObject {
            number: *number as u32,
            address: object.address,
            identity: object.identity,
            type_name: object.type_name.clone(),
            lives: (object.lives.0.0, object.lives.1.0),
            before: object.before.map(|tick| tick.0),
            after: object.after.map(|tick| tick.0),
        });
        Notes { moments: moments.collect(), objects: objects.collect() }
    }

    /// Takes over what was kept.
    pub fn take_notes(&mut self, notes: Notes) {
        for NamedMoment { name, tick, event, in_call } in notes.moments {
            let at = Position { tick: Tick(tick), event: EventIndex(event), in_call };
            self.marks_mut().insert(name, at);
        }
        for noted in notes.objects {
            let object = Object {
                address: noted.address,
                identity: noted.identity,
                type_name: noted.type_name,
                lives: (Tick(noted.lives.0), Tick(noted.lives.1)),
                before: noted.before.map(Tick),
                after: noted.after.map(Tick),
            };
            self.objects_mut().insert(noted.number as usize, object);
        }
    }
}
