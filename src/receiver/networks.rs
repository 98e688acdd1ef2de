//! The networks that a receiver asks, and what a frame takes of them: for budgets, before anything runs.

use super::condition::BITS;
use super::{Generates, Receiver};
use crate::budget::{Frame, Held, Instructions, MacCount, Network, Unit};
use crate::engine::{Planned, Session};
use std::path::Path;

/// The plan that is a part of the mode under this name.
type Part<'a> = (&'static str, &'a Planned);

impl Receiver {
    /// The networks of its mode, as they would be with the kernels that `instructions` has. None that run through tract.
    pub fn networks(&self, instructions: Instructions) -> Vec<Network> {
        let network = |(role, planned): Part<'_>| {
            let macs = planned.macs();
            Network::of(role, planned.plan(), MacCount { int8: macs.int8, float: macs.float }, instructions)
        };
        self.parts().into_iter().map(network).collect()
    }

    /// What their plans would hold with these kernels.
    pub fn held(&self, instructions: Instructions) -> Held {
        self.parts().into_iter().map(|(_, planned)| Held::of(planned.plan(), instructions)).sum()
    }

    /// Bytes of weights that each model's file has with these kernels. Receivers with the same one share them.
    pub fn weights(&self, instructions: Instructions) -> impl Iterator<Item = (&Path, u64)> {
        let held = move |planned: &Planned| Held::of(planned.plan(), instructions).weights;
        self.parts().into_iter().map(move |(_, planned)| (planned.path(), held(planned)))
    }

    /// What their plans hold here.
    pub fn held_here(&self) -> Held {
        self.parts().into_iter().map(|(_, planned)| Held::here(planned.plan())).sum()
    }

    fn parts(&self) -> Vec<Part<'_>> {
        let mut parts = vec![("head", self.head.session().planned())];
        match &self.generator {
            Generates::Nothing => {}
            Generates::Refined(refiner) => {
                let [restore, shallow] = refiner.sessions();
                parts.push(("restore", restore.and_then(Session::planned)));
                parts.push(("restore_shallow", shallow.and_then(Session::planned)));
            }
            Generates::Latent(latent) => {
                let [coarse, head] = latent.sessions();
                parts.extend([("restore", coarse.planned()), ("latent", head.planned())]);
            }
            Generates::View(view) => {
                let [view, perceiver] = view.plans();
                parts.extend([("view", view), ("perceive", perceiver)]);
            }
        }
        parts.into_iter().filter_map(|(role, planned)| Some((role, planned?))).collect()
    }

    /// What a frame takes that is generated for, with all the steps that are configured. Caches save some of it.
    pub fn frame(&self, networks: &[Network]) -> Frame {
        let cells = self.bundle.grid().cells() as u64;
        let values = cells * self.bundle.labels().len() as u64;
        let of = |role: &str| networks.iter().find(|network| network.role == role);
        let mut frame = Frame::default();
        frame.provisional.work.add(Unit::FrameCell, cells as usize);
        frame.provisional.take(of("head"), 1, 1);
        frame.whole = frame.provisional.clone();
        let steps = self.steps();
        match &self.generator {
            Generates::Nothing => {}
            Generates::Refined(_) => {
                frame.whole.take(of("restore"), 1, steps);
                frame.whole.take(of("head"), 1, 1);
                frame.whole.work.add(Unit::StepValue, (steps * values) as usize);
                frame.whole.work.add(Unit::NoiseValue, (steps * cells) as usize * BITS);
            }
            Generates::Latent(_) => {
                frame.whole.take(of("restore"), 1, 1);
                frame.whole.take(of("latent"), 1, 1);
                frame.whole.work.add(Unit::NoiseValue, cells as usize * BITS);
            }
            Generates::View(_) => {
                frame.whole.take(of("view"), 1, steps);
                frame.whole.take(of("perceive"), 1, 1);
                frame.whole.take(of("head"), 1, 1);
                frame.whole.work.add(Unit::StepValue, values as usize);
            }
        }
        frame
    }

    /// Steps of what the mode generates.
    pub fn steps(&self) -> u64 {
        match &self.generator {
            Generates::Nothing => 0,
            Generates::Refined(_) => self.config.steps.unwrap_or(self.bundle.steps).max(1).into(),
            Generates::Latent(_) => 1,
            Generates::View(view) => view.steps().into(),
        }
    }
}
