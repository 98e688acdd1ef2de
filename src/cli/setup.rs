//! What `run` is to do, of the command line and of the configuration: what the command line says goes first.

use super::config::{Settings, StreamSettings};
use super::engine::EngineOptions;
use super::exit::Failure;
use super::run::{DepthName, ModeName, Options, SamplerName};
use super::{Done, bundles, fits};
use semrx::board::{Limits, Profile, Watch};
use semrx::bundle::Bundle;
use semrx::engine::Engine;
use semrx::link::Address;
use semrx::receiver::{Config, Depth, Pace, Receiver};
use semrx::sampler::Cache;
use std::path::PathBuf;
use std::time::Duration;

/// So far below the temperature from which on a board slows itself down, steps are taken away.
const HEADROOM_MILLICELSIUS: i32 = 2_000;

/// What is to be run, checked as far as that goes without models.
pub struct Setup {
    pub fixed: Fixed,
    bundle: PathBuf,
    board: Option<String>,
    over_budget: bool,
    /// `None`: nothing was said of it.
    watch: Option<Limits>,
    streams: Vec<Stream>,
}

/// What stays as long as the program runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fixed {
    /// Where each stream comes from, and its id.
    pub streams: Vec<(Address, Option<u16>)>,
    pub engine: EngineOptions,
    pub record: Option<PathBuf>,
    /// Records follow those of the runs before: the file of a service that was started again.
    pub appends: bool,
    pub pins: Option<PathBuf>,
    pub idle: Option<Duration>,
    pub stays: Option<Duration>,
}

/// How one stream is decided.
struct Stream {
    priority: u8,
    head: Option<String>,
    mode: ModeName,
    steps: Option<u16>,
    sampler: SamplerName,
    cache: Option<String>,
    depth: DepthName,
    deadline_ms: Option<u64>,
    seed: u64,
}

/// What a [`Setup`] needs to run, loaded and checked.
pub struct Loaded {
    /// With their priorities, in the order of the streams.
    pub lanes: Vec<(u8, Receiver)>,
    pub watch: Watch,
}

impl Fixed {
    /// The links, each once.
    pub fn links(&self) -> Vec<&Address> {
        let mut links = Vec::new();
        for (from, _) in &self.streams {
            if !links.contains(&from) {
                links.push(from);
            }
        }
        links
    }

    /// Packets come by themselves on every link: nothing is a capture.
    pub fn is_live(&self) -> bool {
        self.streams.iter().all(|(from, _)| from.is_live())
    }
}

impl Setup {
    /// Reads the configuration, where there is one.
    ///
    /// # Errors
    /// What [`Settings::read`] says, and what doesn't go together.
    pub fn of(options: &Options) -> Result<Self, Failure> {
        let settings = options.config.as_deref().map(Settings::read).transpose()?.unwrap_or_default();
        let one = |from: &Address| {
            let from = from.clone();
            vec![StreamSettings {
                from,
                stream: None,
                priority: 0,
                deadline_ms: None,
                head: None,
                mode: None,
                steps: None,
            }]
        };
        let streams = options.from.as_ref().map_or(settings.streams, one);
        if streams.is_empty() {
            return Err(Failure::usage(
                "nothing to receive from: give --from LINK, or \"streams\" in the file of --config",
            ));
        }
        let milliseconds = |ms: Option<u64>| ms.map(Duration::from_millis);
        let fixed = Fixed {
            streams: streams.iter().map(|stream| (stream.from.clone(), stream.stream)).collect(),
            engine: options.engine.or(settings.engine, settings.threads),
            appends: options.record.is_none(),
            record: options.record.clone().or(settings.record),
            pins: options.pins.clone().or(settings.pins),
            idle: milliseconds(options.idle_ms.or(settings.idle_ms)),
            stays: milliseconds(options.stay_ms.or(settings.stay_ms)),
        };
        let merged = |stream: StreamSettings| Stream {
            priority: stream.priority,
            head: options.head.clone().or(stream.head).or_else(|| settings.head.clone()),
            mode: options.mode.or(stream.mode).or(settings.mode).unwrap_or(ModeName::Auto),
            steps: options.steps.or(stream.steps).or(settings.steps),
            sampler: options.sampler.or(settings.sampler).unwrap_or(SamplerName::Consistency),
            cache: options.cache.clone().or_else(|| settings.cache.clone()),
            depth: options.depth.or(settings.depth).unwrap_or(DepthName::Fixed),
            deadline_ms: options.deadline_ms.or(stream.deadline_ms).or(settings.deadline_ms),
            seed: options.seed.or(settings.seed).unwrap_or(0),
        };
        let streams: Vec<_> = streams.into_iter().map(merged).collect();
        streams.iter().try_for_each(Stream::check)?;
        Ok(Setup {
            fixed,
            bundle: options.bundle.clone().or(settings.bundle).unwrap_or_else(|| "street".into()),
            board: options.board.clone().or(settings.board),
            over_budget: options.over_budget || settings.over_budget,
            watch: settings.watch,
            streams,
        })
    }

    /// Whose pins and memory these are: a profile; `None`: this machine.
    pub fn board(&self) -> Option<&str> {
        self.board.as_deref()
    }

    /// Loads the models, and checks that they keep the deadlines and that the board has room for them.
    ///
    /// # Errors
    /// What is missing, damaged or over budget.
    pub fn load(&self, engine: &Engine) -> Result<Loaded, Failure> {
        let bundle = bundles::open(&self.bundle)?;
        let budget = fits::Budget::new(&bundle, self.fixed.engine.threads(), self.board(), self.over_budget)?;
        let (mut lanes, mut most) = (Vec::new(), 0);
        for stream in &self.streams {
            let config = stream.config(&bundle)?;
            let head = stream.head.as_deref();
            let mut receiver = Receiver::open_with_head(&bundle, head, config, Pace::default(), engine)?;
            most = most.max(match stream.mode {
                ModeName::SemanticFirst => 0,
                ModeName::Latent | ModeName::View => 1,
                ModeName::Auto | ModeName::Hybrid => config.steps.unwrap_or(bundle.steps),
            });
            budget.check_time(&mut receiver, &config)?;
            lanes.push((stream.priority, receiver));
        }
        budget.check_memory(lanes.iter().map(|(_, receiver)| receiver))?;
        Ok(Loaded { lanes, watch: self.watch(most, budget.board())? })
    }

    /// The watch over refinements of `most` steps.
    fn watch(&self, most: u16, board: &Profile) -> Result<Watch, Failure> {
        // A capture is decided as it is, however long that takes.
        if self.watch.is_none() && !self.fixed.streams.iter().any(|(from, _)| from.is_live()) {
            return Ok(Watch::off());
        }
        let mut limits = self.watch.clone().unwrap_or_default();
        if limits.thermal_zone.is_none()
            && let Some(zone) = board.thermal_zone.as_ref().map(PathBuf::from)
        {
            // Who plans for another board than this one has not its file, and many a machine has none.
            match zone.exists() {
                true => limits.thermal_zone = Some(zone),
                false => log::info!("{} of {} isn't there: heat is not watched", zone.display(), board.name),
            }
        }
        // Steps go before the board slows itself down.
        limits.hot_millicelsius =
            limits.hot_millicelsius.or(Some(board.hot_millicelsius.saturating_sub(HEADROOM_MILLICELSIUS)));
        limits.rss_bytes = limits.rss_bytes.or(Some(board.receiver_bytes));
        Watch::new(limits, most).map_err(|error| Failure::refused(format!("watch: {error}")))
    }
}

impl Stream {
    /// Refuses what the mode has no use for.
    fn check(&self) -> Done {
        if self.head.is_some() && self.mode == ModeName::Latent {
            return Err(Failure::usage("--mode latent has a head of its own: leave --head away"));
        }
        let refined = self.cache.is_some() || self.sampler == SamplerName::Ddim || self.depth == DepthName::Adaptive;
        let (has_steps, name) = match self.mode {
            ModeName::Auto | ModeName::Hybrid => return Ok(()),
            ModeName::SemanticFirst => (self.steps.is_some(), "semantic-first"),
            ModeName::Latent => (self.steps.is_some_and(|steps| steps != 1), "latent"),
            ModeName::View => (false, "view"),
        };
        if !refined && !has_steps {
            return Ok(());
        }
        let away = if has_steps { "--steps, --sampler, --cache and --depth" } else { "--sampler, --cache and --depth" };
        Err(Failure::usage(format!("--mode {name} refines nothing: leave {away} away")))
    }

    fn config(&self, bundle: &Bundle) -> Result<Config, Failure> {
        Ok(Config {
            mode: self.mode.into(),
            steps: self.steps,
            sampler: self.sampler.into(),
            cache: self.cache(self.steps.unwrap_or(bundle.steps), bundle)?,
            depth: match self.depth {
                DepthName::Fixed => Depth::Fixed,
                DepthName::Adaptive => Depth::Adaptive,
            },
            deadline_us: self.deadline_ms.map(|ms| ms * 1000),
            seed: self.seed,
        })
    }

    /// The cache that was asked for, with the bundle's threshold where none is given.
    fn cache(&self, steps: u16, bundle: &Bundle) -> Result<Option<Cache>, Failure> {
        let parse = |text| Cache::parse(text, bundle.cache_threshold);
        let cache = self.cache.as_deref().map(parse).transpose().map_err(|error| Failure::usage(error.to_string()))?;
        match (cache, &bundle.learned.turns) {
            (Some(Cache::Difference { .. }), _) => Err(Failure::usage(
                "--cache difference is for `semrx sample`: nothing is guided here; take deep, taylor, bounded or turns",
            )),
            (Some(Cache::Turns), Some(turns)) if turns.steps() != steps as usize => {
                Err(Failure::usage(format!("the bundle's turns are for {0} steps: add --steps {0}", turns.steps())))
            }
            _ => Ok(cache),
        }
    }
}
