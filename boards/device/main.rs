//! The `semrx` program for a device.

fn main() -> std::process::ExitCode {
    semrx_device_verbs::main()
}
