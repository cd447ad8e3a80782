//! Names of functions for people.

use std::collections::HashMap;
use wasmparser::{KnownCustom, Name, Parser, Payload};

/// The function names in a module's name section, as far as they can be read.
#[must_use]
pub fn function_names(module: &[u8]) -> HashMap<u32, String> {
    let mut names = HashMap::new();
    for payload in Parser::new(0).parse_all(module) {
        let Ok(payload) = payload else { break };
        let Payload::CustomSection(section) = payload else { continue };
        let KnownCustom::Name(subsections) = section.as_known() else { continue };
        for subsection in subsections {
            if let Ok(Name::Function(map)) = subsection {
                names.extend(map.into_iter().flatten().map(|n| (n.index, n.name.to_owned())));
            }
        }
    }
    names
}
