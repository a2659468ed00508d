//! Release levels: the steps in which a cluster goes up and down.

use std::fmt;
use std::str::FromStr;

/// A release level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Release {
    /// The lowest there is: storage without a version of its own.
    V3_5,
    /// Storage versions, lease time that survives a change of leader, downgrades in `Status`.
    V3_6,
    /// `RangeStream`, the proposer in each entry's header, the hash at the newest compaction.
    #[default]
    V3_7,
}

impl Release {
    /// From the lowest to the highest.
    pub const ALL: [Release; 3] = [Release::V3_5, Release::V3_6, Release::V3_7];

    /// What this program is when it is not told otherwise.
    pub const NEWEST: Release = Release::V3_7;

    /// As on the command line: `3.7`.
    pub const fn minor(self) -> &'static str {
        match self {
            Release::V3_5 => "3.5",
            Release::V3_6 => "3.6",
            Release::V3_7 => "3.7",
        }
    }

    /// As cluster and storage versions are written: `3.7.0`.
    pub const fn cluster(self) -> &'static str {
        match self {
            Release::V3_5 => "3.5.0",
            Release::V3_6 => "3.6.0",
            Release::V3_7 => "3.7.0",
        }
    }

    /// The version reported to clients, who decide by it what they may ask for.
    pub const fn server(self) -> &'static str {
        match self {
            Release::V3_5 => "3.5.21",
            Release::V3_6 => "3.6.16",
            Release::V3_7 => "3.7.3",
        }
    }

    /// The level below: where a downgrade may go.
    pub fn below(self) -> Option<Release> {
        Release::ALL.into_iter().rev().find(|level| *level < self)
    }

    /// The level that a version turns on: the highest that is not above it, and the lowest for versions from before
    /// there were levels, or when none is decided.
    pub fn turned_on_by(version: Option<Version>) -> Release {
        let reached = |level: &Release| version.is_some_and(|version| level.version() <= version);
        Release::ALL.into_iter().rev().find(reached).unwrap_or(Release::V3_5)
    }

    /// Its number, without the patch.
    pub const fn version(self) -> Version {
        let minor = match self {
            Release::V3_5 => 5,
            Release::V3_6 => 6,
            Release::V3_7 => 7,
        };
        Version { major: 3, minor }
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.minor())
    }
}

/// Exactly a level, as `3.7` or with a patch that does not matter.
impl FromStr for Release {
    type Err = NotAVersion;

    fn from_str(text: &str) -> Result<Release, NotAVersion> {
        let version = text.parse()?;
        Release::ALL.into_iter().find(|level| level.version() == version).ok_or(NotAVersion)
    }
}

/// Text that is not a version, or not one of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAVersion;

impl fmt::Display for NotAVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let levels = Release::ALL.map(Release::minor).join(", ");
        write!(f, "it must be one of {levels}")
    }
}

/// A version as clusters agree on it: the patch does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// 3, until further notice.
    pub major: u32,
    /// What releases differ in.
    pub minor: u32,
}

impl Version {
    /// The lowest that a cluster may agree on: when not everybody has said what they are.
    pub const LOWEST: Version = Version { major: 3, minor: 0 };
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.0", self.major, self.minor)
    }
}

/// `MAJOR.MINOR` or a semantic version, as etcd takes them.
impl FromStr for Version {
    type Err = NotAVersion;

    fn from_str(text: &str) -> Result<Version, NotAVersion> {
        let release = text.split_once('+').map_or(text, |(release, _)| release);
        let release = release.split_once('-').map_or(release, |(release, _)| release);
        let number = |part: &str| {
            let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            part.parse().ok().filter(|_| digits).ok_or(NotAVersion)
        };
        let parts: Vec<u32> = release.split('.').map(number).collect::<Result<_, _>>()?;
        match parts[..] {
            [major, minor] | [major, minor, _] => Ok(Version { major, minor }),
            _ => Err(NotAVersion),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_read_as_they_are_printed() {
        for level in Release::ALL {
            for text in [level.minor(), level.cluster(), level.server()] {
                assert_eq!(text.parse(), Ok(level), "{text}");
            }
            assert_eq!(level.version().to_string(), level.cluster());
        }
        for text in ["", "3", "3.", "3.8", "4.6", "v3.6", "3.6.0.0", "3.+6", "3.6.x", " 3.6"] {
            assert_eq!(text.parse::<Release>(), Err(NotAVersion), "{text:?}");
        }
    }

    #[test]
    fn versions_are_what_etcd_takes_for_them() {
        for (text, minor) in [("3.6", 6), ("3.6.0", 6), ("3.6.5", 6), ("3.8.0-alpha.0", 8), ("3.7.0+git", 7)] {
            assert_eq!(text.parse(), Ok(Version { major: 3, minor }), "{text}");
        }
    }

    #[test]
    fn a_version_turns_on_the_highest_level_not_above_it() {
        let on = |text: &str| Release::turned_on_by(text.parse().ok());
        let all = [("3.0.0", "3.5"), ("3.5.0", "3.5"), ("3.6.0", "3.6"), ("3.7.0", "3.7"), ("3.8.0", "3.7")];
        for (version, level) in all {
            assert_eq!(on(version).minor(), level, "{version}");
        }
        assert_eq!(Release::turned_on_by(None), Release::V3_5);
    }

    #[test]
    fn a_downgrade_goes_one_level_down() {
        assert_eq!(Release::ALL.map(Release::below), [None, Some(Release::V3_5), Some(Release::V3_6)]);
    }
}
