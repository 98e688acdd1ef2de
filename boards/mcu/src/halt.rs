//! What can't go on says why on the serial line, and stands still: it decides nothing any more.

use crate::uart::Text;
use core::fmt::Write;
use core::panic::PanicInfo;
use cortex_m_rt::{ExceptionFrame, exception};

fn halt() -> ! {
    loop {
        cortex_m::asm::wfi();
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    cortex_m::interrupt::disable();
    // Behind whatever was being written, a line of its own; text that is not all written is better than none.
    let _ = write!(Text, "\nhalted: {}", info.message());
    if let Some(place) = info.location() {
        let _ = write!(Text, ", at {place}");
    }
    let _ = writeln!(Text);
    halt()
}

#[exception]
unsafe fn HardFault(frame: &ExceptionFrame) -> ! {
    cortex_m::interrupt::disable();
    let _ = writeln!(Text, "\nhalted: fault at {:#010x}", frame.pc());
    halt()
}
