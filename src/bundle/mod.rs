//! A model bundle: a folder, or a plan file that was compiled of one, with `bundle.json`, ONNX files by role, and what they promise. Checked whole when it is opened.

#[cfg(feature = "onnx")]
mod compile;
mod contract;
mod error;
mod generative;
mod listed;
mod manifest;
mod plan_file;
mod scheduler;
mod store;

#[cfg(feature = "onnx")]
pub use compile::{Keeps, compile};
pub use contract::{Contract, Kind, Layout, MAX_CONDITIONS};
pub use error::BundleError;
pub use generative::Generative;
pub use listed::BundleFile;
pub use manifest::{
    CacheBound, CalibratedGate, FileEntry, FusionWeights, GateBin, GateChannel, GateThresholds, HeldScene,
    LogOddsWeights, Manifest, PerceiveEntry, RestoreEntry, SCHEMA,
};

pub use plan_file::{Entry, Kind as EntryKind, PlanFile, sha256};
pub use store::Content;

use crate::engine::{Engine, Interface, Session};
use crate::files;
use crate::sampler::{CmStochasticIterativeScheduler, Learned, MAX_STEPS, Profile, Turns};
use crate::scene::LabelSet;
use crate::wire::Grid;
use std::path::Path;
use store::Store;

/// Name of the manifest inside the folder.
pub const MANIFEST: &str = "bundle.json";

/// Most pixels on a side of a perceiver's image.
const MAX_IMAGE_SIDE: u16 = 4096;

/// A bundle whose files are all there and have the hashes that the manifest gives.
#[derive(Debug, Clone)]
pub struct Bundle {
    store: Store,
    name: String,
    labels: &'static LabelSet,
    grid: Grid,
    files: Vec<BundleFile>,
    pub held: HeldScene,
    pub gate: GateThresholds,
    /// None: the gate promises nothing.
    pub calibrated_gate: Option<CalibratedGate>,
    pub fusion: FusionWeights,
    pub restore: RestoreEntry,
    /// Sampler steps when nobody asks for a number.
    pub steps: u16,
    /// Threshold of the restore network's [`Cache::Bounded`](crate::sampler::Cache::Bounded).
    pub cache_threshold: Option<f32>,
    pub learned: Learned,
    /// Channels, height and width of the deep feature, for bundles with a role `restore_shallow` or `latent`.
    deep: Option<[usize; 3]>,
    /// Width and height of the perceiver's image.
    perceive: Option<[u16; 2]>,
    scheduler: CmStochasticIterativeScheduler,
}

impl Bundle {
    /// Opens the bundle at `path`, a folder or a plan file, and hashes every file that the manifest lists, or the whole plan file.
    ///
    /// # Errors
    /// [`BundleError`] names the file, the field and the reason.
    pub fn open(path: &Path) -> Result<Self, BundleError> {
        let store = Store::open(path)?;
        let (path, text) = (store.name_of(MANIFEST), store.manifest()?);
        let manifest: Manifest =
            manifest::whole(&text).map_err(|reason| BundleError::Manifest { file: path.clone(), reason })?;
        let field = |field, reason: String| BundleError::Field { file: path.clone(), field, reason };
        if manifest.schema != SCHEMA {
            return Err(field("schema", format!("is {}, this semrx reads {SCHEMA}", manifest.schema)));
        }
        let labels = LabelSet::by_name(manifest.label_set)
            .ok_or_else(|| field("label_set", format!("{:?} is not one that semrx knows", manifest.label_set)))?;
        let grid = Grid::new(manifest.grid[0], manifest.grid[1]);
        if !grid.is_valid() {
            return Err(field("grid", format!("{grid} is out of range")));
        }
        if !(1..=MAX_STEPS as u16).contains(&manifest.steps) {
            return Err(field("steps", format!("{} is not 1 to {MAX_STEPS}", manifest.steps)));
        }
        let fusion = manifest.fusion;
        if fusion.unknown_permille.max(fusion.noise_permille) > 1000 {
            return Err(field("fusion", "a weight is above 1000".into()));
        }
        if let Some(LogOddsWeights { unknown_permille, noise_permille }) = fusion.calibrated
            && unknown_permille.iter().chain(&noise_permille).any(|&weight| weight > 4000)
        {
            return Err(field("fusion", "a calibrated weight is above 4000".into()));
        }
        if let Some(gate) = &manifest.gate.calibrated {
            let shares = [gate.alpha_permille, gate.delta_permille];
            if shares.iter().any(|share| !(1..1000).contains(share)) {
                return Err(field("gate", "alpha_permille and delta_permille are 1 to 999".into()));
            }
            if gate.bins.is_empty() || gate.bins.iter().any(|bin| bin.from >= bin.below) {
                return Err(field("gate", "a calibrated gate has 1 to 3 bins, each `from` below its `below`".into()));
            }
        }
        let restore = manifest.restore;
        if !(0.1..=10.0).contains(&restore.lost_temperature) {
            return Err(field("restore", "lost_temperature is not 0.1 to 10".into()));
        }
        let mut learned = Learned::default();
        let deep = manifest.cache.as_ref().and_then(|cache| cache.deep);
        if let Some(cache) = &manifest.cache {
            if !(cache.threshold > 0.0 && cache.threshold.is_finite()) {
                return Err(field("cache", "threshold is not a number above 0".into()));
            }
            if !cache.profile.is_empty() {
                let wrong = "profile is not a list of at least two [sigma, sum], sigma falling and above 0, the sum not falling";
                learned.profile = Some(Profile::new(&cache.profile).ok_or_else(|| field("cache", wrong.into()))?);
            }
            if !cache.turns.is_empty() {
                let wrong =
                    format!("turns are not W, S or - for each of at most {MAX_STEPS} steps, the first of them W");
                learned.turns = Some(Turns::parse(cache.turns).ok_or_else(|| field("cache", wrong))?);
            }
            if !cache.weights.is_empty() {
                let wrong = "weights are not one list for each S and - of turns, of 1 to 3 numbers, and no more than steps before it can serve";
                let turns = learned.turns.take().and_then(|turns| turns.weighed(&cache.weights));
                learned.turns = Some(turns.ok_or_else(|| field("cache", wrong.into()))?);
            }
            if cache.deep.is_some_and(|sizes| sizes.contains(&0)) {
                return Err(field("cache", "a size of deep is 0".into()));
            }
        }
        let files = listed::files(&store, &manifest.files)?;
        let has = |role: &str| files.iter().any(|file| file.role == role);
        let has_shallow = has("restore_shallow");
        if (has_shallow || has("latent")) != deep.is_some() {
            let reason = "deep comes with a file of the role restore_shallow or latent, and they with it";
            return Err(field("cache", reason.into()));
        }
        if has("perceive") != manifest.perceive.is_some() {
            return Err(field("perceive", "the key comes with a file of that role, and it with the key".into()));
        }
        if let Some(PerceiveEntry { image }) = manifest.perceive
            && image.iter().any(|side| !(1..=MAX_IMAGE_SIDE).contains(side))
        {
            return Err(field("perceive", format!("image is not [width, height] of 1 to {MAX_IMAGE_SIDE}")));
        }
        if !has_shallow && learned.turns.as_ref().is_some_and(Turns::has_shallow) {
            return Err(field("cache", "turns have an S, and no file has the role restore_shallow".into()));
        }
        let mut bundle = Bundle {
            store,
            name: manifest.name.into(),
            labels,
            grid,
            files,
            held: manifest.held,
            gate: GateThresholds {
                unknown_permille: manifest.gate.unknown_permille,
                snr_cdb: manifest.gate.snr_cdb,
                confidence_permille: manifest.gate.confidence_permille,
            },
            calibrated_gate: manifest.gate.calibrated.map(|gate| CalibratedGate {
                alpha_permille: gate.alpha_permille,
                delta_permille: gate.delta_permille,
                data: gate.data.into(),
                bins: gate.bins,
            }),
            fusion,
            restore,
            steps: manifest.steps,
            cache_threshold: manifest.cache.as_ref().map(|cache| cache.threshold),
            learned,
            deep: deep.map(|sizes| sizes.map(usize::from)),
            perceive: manifest.perceive.map(|perceive| perceive.image),
            scheduler: CmStochasticIterativeScheduler::default(),
        };
        if let Some(listed) = bundle.file("scheduler") {
            let file = listed.path.clone();
            let text = bundle.read(listed, files::MAX_JSON)?;
            bundle.scheduler =
                scheduler::parse(&text, &file).map_err(|reason| BundleError::Manifest { file, reason })?;
        }
        // The baseline is evaluated by the whole program alone.
        #[cfg(feature = "onnx")]
        if bundle.file("prior").is_some() {
            bundle.prior()?;
        }
        Ok(bundle)
    }

    /// The folder, or the plan file.
    pub fn path(&self) -> &Path {
        self.store.path()
    }

    /// The plan file, if it is one.
    pub fn plan_file(&self) -> Option<&PlanFile> {
        match &self.store {
            Store::Folder(_) => None,
            Store::Plan(plan) => Some(plan),
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn labels(&self) -> &'static LabelSet {
        self.labels
    }

    pub fn grid(&self) -> Grid {
        self.grid
    }

    /// Channels, height and width of the restore network's deep feature, where something takes it.
    pub fn deep(&self) -> Option<[usize; 3]> {
        self.deep
    }

    /// The scheduler of the restore network: diffusers' defaults where the bundle has none.
    pub fn scheduler(&self) -> &CmStochasticIterativeScheduler {
        &self.scheduler
    }

    /// Width and height of the image that the perceiver takes, where the bundle has one.
    pub fn perceive(&self) -> Option<[u16; 2]> {
        self.perceive
    }

    /// In the manifest's order.
    pub fn files(&self) -> &[BundleFile] {
        &self.files
    }

    /// The file of a role, if the bundle has one, and a plan file doesn't leave it out; of heads the one without a name.
    pub fn file(&self, role: &str) -> Option<&BundleFile> {
        self.listed(role).filter(|file| file.content != Content::LeftOut)
    }

    fn listed(&self, role: &str) -> Option<&BundleFile> {
        self.files.iter().find(|file| file.role == role && file.name.is_empty())
    }

    /// A file that is there whole.
    fn read(&self, file: &BundleFile, limit: u64) -> Result<Vec<u8>, BundleError> {
        self.store.read(&file.file_name(), limit)
    }

    /// The head with a name; without one, that which decides where none is asked for.
    ///
    /// # Errors
    /// [`BundleError::Head`] says which there are.
    pub fn head(&self, name: Option<&str>) -> Result<&BundleFile, BundleError> {
        let name = name.unwrap_or_default();
        let heads = || self.files.iter().filter(|file| file.role == "head");
        heads().find(|file| file.name == name).ok_or_else(|| match name {
            "" => BundleError::Role { dir: self.path().to_owned(), role: "head" },
            _ => BundleError::Head {
                dir: self.path().to_owned(),
                name: name.to_owned(),
                has: heads().filter(|file| !file.name.is_empty()).map(|file| file.name.clone()).collect(),
            },
        })
    }

    /// The view network, with what says how to sample it.
    ///
    /// # Errors
    /// [`BundleError`] names the file, the field and the reason.
    pub fn view(&self) -> Result<Generative, BundleError> {
        Generative::of(self.path(), &self.store.manifest()?, &generative::VIEW, &self.files)
    }

    /// Loads the model of `role`, with these inputs and outputs.
    ///
    /// # Errors
    /// [`BundleError::Role`] when the bundle has none, [`BundleError::Engine`] when it can't be loaded or has others.
    pub fn session(
        &self,
        role: &'static str,
        engine: &Engine,
        interface: &Interface<'_>,
    ) -> Result<Session, BundleError> {
        let file = self.listed(role).ok_or(BundleError::Role { dir: self.path().to_owned(), role })?;
        Session::load(&file.source()?, engine, interface).map_err(BundleError::Engine)
    }

    /// The most common class of each cell in the training maps: the baseline `prior`.
    ///
    /// # Errors
    /// [`BundleError::Role`], or [`BundleError::Picture`] when it is not an index PNG of the bundle's grid and labels.
    #[cfg(feature = "onnx")]
    pub fn prior(&self) -> Result<crate::scene::ClassMap, BundleError> {
        let file = self.file("prior").ok_or(BundleError::Role { dir: self.path().to_owned(), role: "prior" })?;
        let png = std::io::Cursor::new(self.read(file, crate::maps::MAX_PNG)?);
        let map = crate::maps::decode(&file.path, png, self.labels).map_err(BundleError::Picture)?;
        if map.grid != self.grid {
            let reason = format!("is {}, the bundle's grid is {}", map.grid, self.grid);
            return Err(BundleError::Field { file: file.path.clone(), field: "size", reason });
        }
        Ok(map)
    }
}
