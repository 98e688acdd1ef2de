//! The `semrx` program: one file per verb, thin.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
