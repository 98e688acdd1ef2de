//! Whether a configuration fits its board: asked before anything runs.

use super::Done;
use super::exit::Failure;
use super::measured::{self, Key};
use super::memory;
use semrx::board::{Found, Profile};
use semrx::budget::{Instructions, Resident};
use semrx::bundle::Bundle;
use semrx::engine::kernel::Isa;
use semrx::receiver::{Mode, Pace, Receiver};
use std::path::Path;

/// The kernels of this machine, as budgets call them.
pub fn instructions() -> Instructions {
    match Isa::best().name() {
        "neon" => Instructions::Neon,
        "neon-dot" => Instructions::NeonDot,
        "scalar" => Instructions::Scalar,
        _ => Instructions::X86,
    }
}

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

/// What a receiver with its program takes at worst on a board.
pub fn resident(receiver: &Receiver, bundle: &Bundle, board: &Profile) -> Resident {
    let [there, here] = [board.instructions, instructions()].map(|of| receiver.networks(of));
    let largest = bundle.files().iter().filter_map(|file| Some(std::fs::metadata(&file.path).ok()?.len())).max();
    Resident::new(&there, &here, receiver.memory_bytes(), largest.unwrap_or(0), memory::program_bytes())
}

/// What `run` asks of its board.
pub struct Question<'a> {
    pub bundle: &'a Bundle,
    pub mode: Mode,
    pub steps: u16,
    pub threads: usize,
    /// `None` is this machine, with nothing said of what its models take.
    pub board: Option<&'a str>,
    pub deadline_us: Option<u64>,
    /// What doesn't fit is warned of, and not refused.
    pub over_budget: bool,
}

/// Refuses a configuration whose memory doesn't fit its board, or whose time doesn't fit the deadline; tells the receiver how fast its models are.
///
/// # Errors
/// Exit code 4 says what doesn't fit, and what would.
pub fn check(receiver: &mut Receiver, question: &Question<'_>) -> Done {
    let refuse = |reason: String| match question.over_budget {
        true => {
            log::warn!("over budget: {reason}");
            Ok(())
        }
        false => Err(Failure::over_budget(format!("{reason}; --over-budget runs it all the same"))),
    };
    let board = board(question.board.unwrap_or("auto"))?;
    let needed = resident(receiver, question.bundle, &board).total();
    if needed > board.receiver_bytes {
        refuse(format!(
            "mode {} of bundle {} takes up to {needed} bytes, a receiver may take {} on {}: `semrx budget` says of what, and what takes less",
            measured::name(question.mode),
            question.bundle.name(),
            board.receiver_bytes,
            board.name
        ))?;
    }
    let Some(pace) = pace(receiver, question, &board)? else { return Ok(()) };
    receiver.set_pace(pace);
    let Some(deadline_us) = question.deadline_us else { return Ok(()) };
    let on = question.board.filter(|name| *name != "auto").unwrap_or("this machine");
    let ms = |us: u64| us as f64 / 1000.0;
    if pace.head_us > deadline_us {
        return refuse(format!(
            "the head of bundle {} takes {:.1} ms on {on}, more than the deadline of {} ms: give a longer deadline or a smaller bundle",
            question.bundle.name(),
            ms(pace.head_us),
            ms(deadline_us)
        ));
    }
    // The gate leaves steps out that don't fit; what is asked for by name has to.
    let steps = match question.mode {
        Mode::Auto | Mode::SemanticFirst => 0,
        Mode::Hybrid => u64::from(question.steps.max(1)),
        Mode::Latent | Mode::View => 1,
    };
    let whole = 2 * pace.head_us + steps * pace.step_us;
    if steps > 0 && whole > deadline_us {
        return refuse(format!(
            "mode {} takes {:.1} ms on {on} with what it generates, more than the deadline of {} ms: `semrx budget` says what fits",
            measured::name(question.mode),
            ms(whole),
            ms(deadline_us)
        ));
    }
    Ok(())
}

/// How fast the models are: on a board that is told by name, as predicted at worst; here, as they were measured, or are now if a deadline asks for it.
fn pace(receiver: &mut Receiver, question: &Question<'_>, board: &Profile) -> Result<Option<Pace>, Failure> {
    if question.board.is_some_and(|name| name != "auto") {
        return Ok(predicted(receiver, board));
    }
    let key = Key::new(question.bundle, question.mode, question.threads, instructions().name());
    if let Some(pace) = key.and_then(|key| key.read()) {
        return Ok(Some(pace));
    }
    match question.deadline_us {
        Some(_) => Ok(Some(receiver.measure_pace()?)),
        None => Ok(None),
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
