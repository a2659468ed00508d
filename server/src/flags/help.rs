//! `--help` and `--version`.

use super::table::{Effect, FLAGS};
use crate::version::{self, Release};

const USAGE: &str = "\
Usage:

  evenkeel [flags]
    Start a server.

  evenkeel --version
    Show the version.

  evenkeel --help
    Show this text.

  evenkeel --config-file PATH
    Start a server from a configuration file; other flags and the environment are then ignored.

Every flag can also be set by an environment variable: --data-dir is ETCD_DATA_DIR.
";

pub(super) fn help() -> String {
    let mut text = USAGE.to_owned();
    for (section, flags) in FLAGS {
        text += &format!("\n{section}:\n");
        for flag in *flags {
            text += &format!("  --{} '{}'\n", flag.name, flag.default);
            let note = match flag.effect {
                Effect::Used => "",
                Effect::Tolerated => " (accepted, no effect)",
                Effect::Later | Effect::Unsafe => " (not supported yet)",
            };
            let line = format!("{}{note}", flag.help);
            text += &format!("    {}\n", line.trim_start());
        }
    }
    text
}

/// etcd's four lines, which tools read, and our own.
pub(super) fn version(release: Release) -> String {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    format!(
        "etcd Version: {}\nGit SHA: evenkeel-{own}\nGo Version: none\nGo OS/Arch: {}/{architecture}\n\
         Evenkeel Version: {own}\n",
        release.server(),
        std::env::consts::OS,
        own = version::EVENKEEL,
    )
}
