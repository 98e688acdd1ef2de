//! Whether a configuration fits its board: asked before anything runs.

use super::Done;
use super::exit::Failure;
use super::measured::{self, Key};
use super::memory;
use semrx::board::{Found, Header, Profile};
use semrx::budget::{Instructions, Resident};
use semrx::bundle::{Bundle, BundleFile};
use semrx::receiver::{Config, Mode, Pace, Receiver};
use std::collections::BTreeMap;
use std::path::Path;

/// The board of this name; `auto` is this machine.
pub fn board(name: &str) -> Result<Profile, Failure> {
    if name != "auto" {
        return Ok(Profile::find(name)?);
    }
    let found = Found::below(Path::new("/")).ok_or_else(|| {
        Failure::refused("--board auto: nothing is known of this architecture; give the path of a profile")
    })?;
    Ok(found.profile)
}

/// What is on the pins of a board, `auto` if `None`.
///
/// # Errors
/// Why nobody knows, and what to do.
pub fn header(name: Option<&str>) -> Result<Header, String> {
    let board = board(name.unwrap_or("auto")).map_err(|failure| failure.message().to_owned())?;
    board.header.ok_or_else(|| {
        format!("nothing is known of the header of {}: give `line`, or the board's name with --board", board.name)
    })
}

/// What a receiver with its program takes at worst on a board.
pub fn resident(receiver: &Receiver, bundle: &Bundle, board: &Profile) -> Resident {
    let largest = bundle.files().iter().filter_map(BundleFile::bytes).max();
    let (there, here) = (receiver.held(board.instructions), receiver.held_here());
    Resident::new(there, here, receiver.memory_bytes(), largest.unwrap_or(0), memory::program_bytes())
}

/// What `run` is held to.
pub struct Budget<'a> {
    bundle: &'a Bundle,
    threads: usize,
    board: Profile,
    /// The board was told by name: it isn't this machine.
    is_elsewhere: bool,
    /// What doesn't fit is warned of, and not refused.
    is_over: bool,
}

impl<'a> Budget<'a> {
    /// `board`: this machine, if `None` or `auto`.
    ///
    /// # Errors
    /// There is no such profile.
    pub fn new(bundle: &'a Bundle, threads: usize, name: Option<&str>, is_over: bool) -> Result<Self, Failure> {
        let name = name.unwrap_or("auto");
        Ok(Budget { bundle, threads, board: board(name)?, is_elsewhere: name != "auto", is_over })
    }

    pub fn board(&self) -> &Profile {
        &self.board
    }

    fn refuse(&self, reason: &str) -> Done {
        match self.is_over {
            true => {
                log::warn!("over budget: {reason}");
                Ok(())
            }
            false => Err(Failure::over_budget(format!("{reason}; --over-budget runs it all the same"))),
        }
    }

    /// Refuses receivers whose memory doesn't fit the board, the program among it. What they share is counted once.
    ///
    /// # Errors
    /// Exit code 4.
    pub fn check_memory<'b>(&self, receivers: impl Iterator<Item = &'b Receiver>) -> Done {
        let (mut own, mut once) = (0, 0);
        let mut weights = BTreeMap::new();
        for receiver in receivers {
            let resident = resident(receiver, self.bundle, &self.board);
            own += resident.own();
            once = resident.loading + resident.program;
            for (model, bytes) in receiver.weights(self.board.instructions) {
                let most: &mut u64 = weights.entry(model.to_owned()).or_default();
                *most = bytes.max(*most);
            }
        }
        let needed = own + once + weights.values().sum::<u64>();
        if needed <= self.board.receiver_bytes {
            return Ok(());
        }
        self.refuse(&format!(
            "bundle {} takes up to {needed} bytes, a receiver may take {} on {}: `semrx budget` says of what, and what takes less",
            self.bundle.name(),
            self.board.receiver_bytes,
            self.board.name
        ))
    }

    /// Tells the receiver how fast its models are, and refuses what doesn't fit its deadline.
    ///
    /// # Errors
    /// Exit code 4 says what takes too long; and what a model's run says.
    pub fn check_time(&self, receiver: &mut Receiver, config: &Config) -> Done {
        let Some(pace) = self.pace(receiver, config)? else { return Ok(()) };
        receiver.set_pace(pace);
        let Some(deadline_us) = config.deadline_us else { return Ok(()) };
        let on = if self.is_elsewhere { &self.board.name } else { "this machine" };
        let ms = |us: u64| us as f64 / 1000.0;
        if pace.head_us > deadline_us {
            return self.refuse(&format!(
                "the head of bundle {} takes {:.1} ms on {on}, more than the deadline of {} ms: give a longer deadline or a smaller bundle",
                self.bundle.name(),
                ms(pace.head_us),
                ms(deadline_us)
            ));
        }
        // The gate leaves steps out that don't fit; what is asked for by name has to.
        let steps = match config.mode {
            Mode::Auto | Mode::SemanticFirst => return Ok(()),
            Mode::Hybrid => receiver.steps(),
            Mode::Latent | Mode::View => 1,
        };
        let whole = 2 * pace.head_us + steps * pace.step_us;
        if whole <= deadline_us {
            return Ok(());
        }
        self.refuse(&format!(
            "mode {} takes {:.1} ms on {on} with what it generates, more than the deadline of {} ms: `semrx budget` says what fits",
            measured::name(config.mode),
            ms(whole),
            ms(deadline_us)
        ))
    }

    /// How fast the models are: on a board that was told by name, as predicted at worst; here, as they were measured, or are now if a deadline asks
    /// for it.
    fn pace(&self, receiver: &mut Receiver, config: &Config) -> Result<Option<Pace>, Failure> {
        if self.is_elsewhere {
            return Ok(predicted(receiver, &self.board));
        }
        let key = Key::new(self.bundle, config.mode, self.threads, Instructions::here().name());
        if let Some(pace) = key.and_then(|key| key.read()) {
            return Ok(Some(pace));
        }
        match config.deadline_us {
            Some(_) => Ok(Some(receiver.measure_pace()?)),
            None => Ok(None),
        }
    }
}

/// The slow end of what the board's cost model gives; `None` where there is none.
pub fn predicted(receiver: &Receiver, board: &Profile) -> Option<Pace> {
    let networks = receiver.networks(board.instructions);
    let most_us = |work| Some(board.pace?.time(board.instructions.predict(work)?).most_us);
    let frame = receiver.frame(&networks);
    let head = networks.iter().find(|network| network.role == "head")?;
    let head_us = most_us(&head.first)?;
    let steps = receiver.steps().max(1);
    let generated_us = most_us(&frame.whole.work)?.saturating_sub(most_us(&frame.provisional.work)?);
    Some(Pace { head_us, step_us: generated_us.saturating_sub(head_us) / steps })
}
