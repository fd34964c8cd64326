//! Runtime, arguments, exit code; the rest is the library.

use std::process::ExitCode;

use env_manager::cli::{self, Exit};

fn main() -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => {
            eprintln!("error: cannot start the runtime: {e}");
            return Exit::Error.into();
        }
    };
    let exit = runtime.block_on(cli::run(std::env::args_os()));
    // A blocked read in the background must not keep the process.
    runtime.shutdown_background();
    exit.into()
}
