//! Which locals are live at each site: a backward data-flow analysis on structured code.
//!
//! Works on a short list of [`Event`]s instead of instructions. Loops are iterated until nothing changes, which takes
//! one pass more than the deepest nesting of loops at most (Aho et al., *Compilers*, section 9.2.5).

/// The block that a branch goes to: its end, or its header if it is a loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Label(pub u32);

/// What matters to liveness, in the order of the code, without what cannot be reached.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Get(u32),
    Set(u32),
    /// A site, right after the call that it is for.
    Site(u32),
    If {
        block: u32,
    },
    Else {
        block: u32,
    },
    Loop {
        block: u32,
    },
    Try {
        block: u32,
        targets: Vec<Label>,
    },
    /// The end of any block.
    End {
        block: u32,
        without_else: bool,
    },
    /// Control goes to one of these and nowhere else; to none of them: it leaves the function.
    Br(Vec<Label>),
    BrIf(Label),
    Throw,
}

/// A set of locals.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct LocalSet(Vec<u64>);

impl LocalSet {
    fn with_room_for(locals: usize) -> LocalSet {
        LocalSet(vec![0; locals.div_ceil(64)])
    }

    pub fn insert(&mut self, local: u32) {
        self.0[local as usize / 64] |= 1 << (local % 64);
    }

    fn remove(&mut self, local: u32) {
        self.0[local as usize / 64] &= !(1 << (local % 64));
    }

    fn clear(&mut self) {
        self.0.fill(0);
    }

    fn add(&mut self, other: &LocalSet) {
        for (word, other) in self.0.iter_mut().zip(&other.0) {
            *word |= other;
        }
    }

    /// Ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().enumerate().flat_map(|(index, &word)| {
            std::iter::successors((word != 0).then_some(word), |word| {
                let rest = word & (word - 1);
                (rest != 0).then_some(rest)
            })
            .map(move |word| index as u32 * 64 + word.trailing_zeros())
        })
    }
}

/// Live locals at the sites of a function.
pub(crate) struct Liveness {
    sites: Vec<(u32, LocalSet)>,
}

struct Pass<'a> {
    events: &'a [Event],
    locals: usize,
    /// What is live where a branch to the block arrives.
    at_label: Vec<LocalSet>,
    at_else: Vec<LocalSet>,
    is_loop: Vec<bool>,
    sites: Vec<(u32, LocalSet)>,
}

impl Liveness {
    pub fn of(events: &[Event], locals: usize, blocks: usize) -> Liveness {
        let mut is_loop = vec![false; blocks];
        for event in events {
            if let Event::Loop { block } = event {
                is_loop[*block as usize] = true;
            }
        }
        let none = LocalSet::with_room_for(locals);
        let mut pass = Pass {
            events,
            locals,
            at_label: vec![none.clone(); blocks],
            at_else: vec![none; blocks],
            is_loop,
            sites: Vec::new(),
        };
        while pass.run() {}
        pass.sites.reverse();
        Liveness { sites: pass.sites }
    }

    /// What is live at a site.
    pub fn at(&self, site: u32) -> LocalSet {
        let (number, set) = &self.sites[site as usize];
        debug_assert_eq!(*number, site);
        set.clone()
    }
}

impl Pass<'_> {
    /// One pass from the end to the start. Whether a loop's header has become live for more.
    fn run(&mut self) -> bool {
        let mut changed = false;
        self.sites.clear();
        let mut live = LocalSet::with_room_for(self.locals);
        // Handlers around the current place, as sets; innermost last. A pass goes backwards, so a `try_table` is
        // entered at its end, where its targets are not known yet: they are found in a first step.
        let mut handlers: Vec<LocalSet> = Vec::new();
        let targets = try_targets(self.events, self.at_label.len());
        for event in self.events.iter().rev() {
            match event {
                Event::Get(local) => live.insert(*local),
                Event::Set(local) => live.remove(*local),
                Event::Site(site) => {
                    if let Some(handlers) = handlers.last() {
                        live.add(handlers);
                    }
                    self.sites.push((*site, live.clone()));
                }
                Event::End { block, without_else } => {
                    let index = *block as usize;
                    if !self.is_loop[index] {
                        self.at_label[index] = live.clone();
                    }
                    if *without_else {
                        self.at_else[index] = live.clone();
                    }
                    if let Some(Some(targets)) = targets.get(index) {
                        let mut caught = handlers
                            .last()
                            .cloned()
                            .unwrap_or(LocalSet::with_room_for(self.locals));
                        for target in *targets {
                            caught.add(&self.at_label[target.0 as usize]);
                        }
                        handlers.push(caught);
                    }
                }
                Event::Else { block } => {
                    self.at_else[*block as usize] =
                        std::mem::replace(&mut live, self.at_label[*block as usize].clone());
                }
                Event::If { block } => live.add(&self.at_else[*block as usize]),
                Event::Try { .. } => {
                    handlers.pop();
                }
                Event::Loop { block } => {
                    let header = &mut self.at_label[*block as usize];
                    if *header != live {
                        live.add(header);
                        if *header != live {
                            header.clone_from(&live);
                            changed = true;
                        }
                    }
                }
                Event::Br(targets) => {
                    live.clear();
                    for target in targets {
                        live.add(&self.at_label[target.0 as usize]);
                    }
                }
                Event::BrIf(target) => live.add(&self.at_label[target.0 as usize]),
                Event::Throw => {
                    live.clear();
                    if let Some(handlers) = handlers.last() {
                        live.add(handlers);
                    }
                }
            }
        }
        changed
    }
}

/// The targets of each block that is a `try_table`.
fn try_targets(events: &[Event], blocks: usize) -> Vec<Option<&[Label]>> {
    let mut targets = vec![None; blocks];
    for event in events {
        if let Event::Try { block, targets: labels } = event {
            targets[*block as usize] = Some(&labels[..]);
        }
    }
    targets
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(events: &[Event], blocks: usize) -> Vec<Vec<u32>> {
        let liveness = Liveness::of(events, 70, blocks);
        let sites = events.iter().filter(|event| matches!(event, Event::Site(_))).count();
        (0..sites as u32).map(|site| liveness.at(site).iter().collect()).collect()
    }

    #[test]
    fn what_is_read_before_it_is_set_is_live() {
        let events = [
            Event::Site(0),
            Event::Get(3),
            Event::Set(65),
            Event::Site(1),
            Event::Get(65),
            Event::Get(1),
            Event::End { block: 0, without_else: false },
        ];
        assert_eq!(live(&events, 1), [vec![1, 3], vec![1, 65]]);
    }

    #[test]
    fn what_the_next_iteration_reads_is_live_at_the_end_of_this_one() {
        let events = [
            Event::Loop { block: 1 },
            Event::Site(0),
            Event::Get(2),
            Event::Loop { block: 2 },
            Event::Site(1),
            Event::BrIf(Label(2)),
            Event::BrIf(Label(1)),
            Event::Site(2),
            Event::Get(7),
            Event::Set(2),
            Event::Br(vec![Label(2)]),
            Event::End { block: 2, without_else: false },
            Event::End { block: 1, without_else: false },
            Event::End { block: 0, without_else: false },
        ];
        // Local 2 is read by the outer loop, which the inner one can go on with.
        assert_eq!(live(&events, 3), [vec![2, 7], vec![2, 7], vec![7]]);
    }

    #[test]
    fn the_arms_of_an_if_are_alternatives() {
        let events = [
            Event::Site(0),
            Event::If { block: 1 },
            Event::Site(1),
            Event::Set(1),
            Event::Else { block: 1 },
            Event::Site(2),
            Event::Get(2),
            Event::End { block: 1, without_else: false },
            Event::Site(3),
            Event::Get(1),
            Event::Get(3),
            Event::End { block: 0, without_else: false },
        ];
        assert_eq!(live(&events, 2), [vec![1, 2, 3], vec![3], vec![1, 2, 3], vec![1, 3]]);
    }

    #[test]
    fn handlers_keep_what_they_read_live_in_all_that_they_protect() {
        let events = [
            Event::Site(0),
            Event::Try { block: 2, targets: vec![Label(1)] },
            Event::Site(1),
            Event::Set(5),
            Event::Throw,
            Event::End { block: 2, without_else: false },
            Event::Br(vec![Label(0)]),
            Event::End { block: 1, without_else: false },
            Event::Get(5),
            Event::End { block: 0, without_else: false },
        ];
        // The call of site 1 may throw what is caught before local 5 is set.
        assert_eq!(live(&events, 3), [vec![5], vec![5]]);
    }

    #[test]
    fn nothing_is_live_where_control_leaves_the_function() {
        let events = [
            Event::Site(0),
            Event::Br(Vec::new()),
            Event::End { block: 1, without_else: false },
            Event::Get(4),
            Event::End { block: 0, without_else: false },
        ];
        assert_eq!(live(&events, 2), [Vec::<u32>::new()]);
    }
}
