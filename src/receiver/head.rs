//! A task head: the rule's decision, and tasks of its own, from what is known of a scene.

use super::belief::Belief;
use super::condition;
use crate::bundle::{Bundle, BundleError};
use crate::engine::{Engine, EngineError, Interface, Session};
use crate::scene::rule::{COLUMNS, PAIRS};

/// Loaded, with what it takes beyond the scene.
#[derive(Debug)]
pub(super) struct Head {
    session: Session,
    /// Its input `vector`: the feature vector that came with the scene, zeros without one. Empty where it takes none.
    vector: Vec<f32>,
    tasks: Vec<String>,
}

impl Head {
    /// Loads the bundle's head of this name; without one, that which decides where none is asked for.
    ///
    /// # Errors
    /// [`BundleError`].
    pub fn open(bundle: &Bundle, name: Option<&str>, engine: &Engine) -> Result<Self, BundleError> {
        let file = bundle.head(name)?;
        let ports = condition::ports(bundle.grid(), bundle.labels().len());
        let mut inputs: Vec<(&str, &[usize])> = ports.iter().map(|(name, shape)| (*name, shape.as_slice())).collect();
        let mut outputs = vec![("free", &[1, COLUMNS][..]), ("hazard", &[1, PAIRS])];
        let (vector, tasks) = ([1, file.vector], [1, file.tasks.len()]);
        if file.vector > 0 {
            inputs.push(("vector", &vector));
        }
        if !file.tasks.is_empty() {
            outputs.push(("task", &tasks));
        }
        let interface = Interface { inputs: &inputs, lasting: inputs.len(), timestep: None, outputs: &outputs };
        let session = Session::load(&file.source()?, engine, &interface).map_err(BundleError::Engine)?;
        Ok(Head { session, vector: vec![0.0; file.vector], tasks: file.tasks.clone() })
    }

    /// What the values of [`Belief::task`] are called.
    pub fn tasks(&self) -> &[String] {
        &self.tasks
    }

    pub fn session(&self) -> &Session {
        &self.session
    }

    pub fn macs(&self) -> u64 {
        self.session.macs().total()
    }

    pub fn memory_bytes(&self) -> u64 {
        self.session.memory_bytes() + size_of_val(&self.vector[..]) as u64
    }

    /// Takes the feature vector of a scene: as many of its values as the head has room for, zeros for the rest.
    pub fn take_vector(&mut self, values: &[f32]) {
        self.vector.fill(0.0);
        self.vector.iter_mut().zip(values).for_each(|(kept, value)| *kept = *value);
    }

    /// Fills `belief` from the inputs that [`condition::NAMES`] names, in that order.
    ///
    /// # Errors
    /// What the model's run says.
    pub fn run(&mut self, scene: [&[f32]; 5], belief: &mut Belief) -> Result<(), EngineError> {
        let [cond, mask, held, age, present] = scene;
        let Belief { free, hazard, task } = belief;
        let inputs = [cond, mask, held, age, present, &self.vector];
        self.session.run(&inputs, &mut [free, hazard, &mut task[..self.tasks.len()]])
    }
}
