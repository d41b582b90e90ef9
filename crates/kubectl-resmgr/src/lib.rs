//! `kubectl resmgr`: "is it done, on which nodes, and if not, why?", without logging in to a node.
//!
//! The pure part makes rows and sentences of what was read ([`rows`], [`status`], [`explain`], [`node`], [`events`]); around it is what asks the API server
//! within [`limits`] ([`shoot`], [`watch`], [`gather`]). What others have written reaches a terminal or a file by way of [`text`] only. Nothing is written
//! into the cluster.

mod advice;
mod archive;
mod cli;
mod commands;
mod duration;
mod events;
mod exit;
mod explain;
mod facts;
mod failure;
mod gather;
mod in_use;
pub mod limits;
mod node;
mod rows;
mod seed;
mod shoot;
mod status;
mod style;
mod table;
mod text;
mod watch;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;

pub use cli::Cli;
pub use exit::Exit;

/// What the program does: reads its command line and carries it out. The first call in a process.
#[must_use]
pub fn program() -> ExitCode {
    Cli::parse().run().into()
}

impl Cli {
    /// Carries out the command, and says on standard error why it could not.
    #[must_use]
    pub fn run(self) -> Exit {
        // Only the first call in a process can fail, and then there is one already.
        drop(rustls::crypto::ring::default_provider().install_default());
        let ended = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(anyhow::Error::from)
            .and_then(|runtime| runtime.block_on(commands::run(self)));
        match ended {
            Ok(exit) => exit,
            Err(error) if is_broken_pipe(&error) => Exit::Done,
            Err(error) => {
                let why = text::clean(&failure::why(&error), limits::PARAGRAPH);
                // That it cannot be written is nobody's concern.
                drop(writeln!(std::io::stderr(), "error: {why}"));
                Exit::Failed
            }
        }
    }
}

/// Nobody reads the answer any more.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<std::io::Error>();
    io.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}
