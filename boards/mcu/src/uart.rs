//! UART 0 of mps2-an386, a CMSDK APB UART (Arm DDI 0479): 8 bits, no parity. An interrupt takes what comes; what goes is waited for.

use core::cell::RefCell;
use core::fmt;
use core::ptr::{read_volatile, write_volatile};
use cortex_m::interrupt::{self, InterruptNumber, Mutex};
use cortex_m::peripheral::NVIC;
use cortex_m_rt::exception;
use heapless::Deque;

const CLOCK_HZ: u32 = 25_000_000;
const BAUD: u32 = 921_600;

/// Registers of 32 bits.
const DATA: *mut u32 = 0x4000_4000 as _;
const STATE: *mut u32 = 0x4000_4004 as _;
const CONTROL: *mut u32 = 0x4000_4008 as _;
const INTERRUPTS: *mut u32 = 0x4000_400c as _;
const DIVISOR: *mut u32 = 0x4000_4010 as _;

const SEND_IS_FULL: u32 = 1;
const RECEIVED: u32 = 1 << 1;
const OVERRUN: u32 = 1 << 3;
const SENDS: u32 = 1;
const RECEIVES: u32 = 1 << 1;
const RECEIVE_INTERRUPTS: u32 = 1 << 3;
/// In INTERRUPTS.
const RECEIVE: u32 = 1 << 1;

/// Number 0: UART 0 has received.
#[derive(Clone, Copy)]
struct Receives;

// Safety: the number is that of a line of the interrupt controller, and always the same.
unsafe impl InterruptNumber for Receives {
    fn number(self) -> u16 {
        0
    }
}

/// What came and was not read yet: 44 ms of a busy line.
static CAME: Mutex<RefCell<Came>> = Mutex::new(RefCell::new(Came { bytes: Deque::new(), overruns: 0 }));

struct Came {
    bytes: Deque<u8, 4096>,
    overruns: u32,
}

fn get(register: *mut u32) -> u32 {
    // Safety: the registers above are the UART's, which is nobody else's.
    unsafe { read_volatile(register) }
}

fn set(register: *mut u32, value: u32) {
    // Safety: as above.
    unsafe { write_volatile(register, value) }
}

pub fn start() {
    set(DIVISOR, CLOCK_HZ / BAUD);
    set(CONTROL, SENDS | RECEIVES | RECEIVE_INTERRUPTS);
    // Safety: nothing leans on the interrupt's being masked.
    unsafe { NVIC::unmask(Receives) }
}

/// The next byte that came.
pub fn read() -> Option<u8> {
    interrupt::free(|token| {
        let came = &mut *CAME.borrow(token).borrow_mut();
        if came.bytes.is_empty() {
            came.receive();
        }
        came.bytes.pop_front()
    })
}

/// Bytes that were lost since the start.
pub fn overruns() -> u32 {
    interrupt::free(|token| CAME.borrow(token).borrow().overruns)
}

impl Came {
    /// Takes what the UART holds. Without room for more it is left there, where the line can be told to wait or the next byte is lost and counted; reading begins
    /// anew once all was read.
    fn receive(&mut self) {
        set(INTERRUPTS, RECEIVE);
        while get(STATE) & RECEIVED != 0 {
            if self.bytes.is_full() {
                return set(CONTROL, SENDS | RECEIVES);
            }
            // Never full: see above.
            let _ = self.bytes.push_back(get(DATA) as u8);
        }
        if get(STATE) & OVERRUN != 0 {
            set(STATE, OVERRUN);
            self.overruns += 1;
        }
        set(CONTROL, SENDS | RECEIVES | RECEIVE_INTERRUPTS);
    }
}

/// Interrupts: the UART's is the only one.
#[exception]
unsafe fn DefaultHandler(_number: i16) {
    interrupt::free(|token| CAME.borrow(token).borrow_mut().receive());
}

pub fn write(bytes: &[u8]) {
    for &byte in bytes {
        while get(STATE) & SEND_IS_FULL != 0 {}
        set(DATA, byte.into());
    }
}

/// The line, as a place for text.
pub struct Text;

impl fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        write(text.as_bytes());
        Ok(())
    }
}
