//! `narrows completions` and `narrows man`: what shells and manuals need, from the commands
//! themselves.

use super::config::print;
use super::{complain, ended};
use anyhow::Context;
use clap::{Args, Command};
use clap_complete::Shell;
use std::process::ExitCode;

/// What `narrows completions` is told.
#[derive(Args, Debug)]
pub(super) struct CompletionsArgs {
    /// bash, zsh or fish, among others
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn completions(args: CompletionsArgs, mut command: Command) -> ExitCode {
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, name, &mut script);
    match String::from_utf8(script) {
        Ok(script) => print(&script),
        Err(error) => ended(Err(error.into())),
    }
}

/// The page of `narrows` with its commands, then one of each command.
pub(super) fn page(command: Command) -> ExitCode {
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let mut pages = vec![command.clone()];
    pages.extend(
        command
            .get_subcommands()
            .filter(|one| !one.is_hide_set())
            .cloned(),
    );
    let mut text = Vec::new();
    for page in pages {
        let rendered = clap_mangen::Man::new(page).render(&mut text);
        if let Err(error) = rendered.context("the manual page can't be made") {
            complain(&format!("narrows: {error:#}\n"));
            return ExitCode::FAILURE;
        }
    }
    match String::from_utf8(text) {
        Ok(text) => print(&text),
        Err(error) => ended(Err(error.into())),
    }
}
