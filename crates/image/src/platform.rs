//! Platforms: for which machines an image is.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Operating system, architecture and variant, spelled as containerd normalises them, so that `linux/aarch64`,
/// `linux/arm64` and `linux/arm64/v8` are the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Platform {
    os: String,
    architecture: String,
    variant: Option<String>,
}

/// Why a text is no platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a platform looks like linux/amd64 or linux/arm/v7")]
pub struct PlatformError;

impl Platform {
    /// From its parts, as images and engines say them.
    ///
    /// # Errors
    /// [`PlatformError`] if a part is empty or has characters that no platform's name has.
    pub fn new(os: &str, architecture: &str, variant: Option<&str>) -> Result<Self, PlatformError> {
        let variant = variant.filter(|variant| !variant.is_empty());
        let is_word = |word: &str| {
            !word.is_empty()
                && word.len() <= 32
                && word
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
        };
        if ![os, architecture].into_iter().chain(variant).all(is_word) {
            return Err(PlatformError);
        }
        let os = os.to_ascii_lowercase();
        let os = if os == "macos" { "darwin".to_owned() } else { os };
        let variant = variant.map(str::to_ascii_lowercase);
        let (architecture, variant) = normalised(&architecture.to_ascii_lowercase(), variant.as_deref());
        Ok(Self {
            os,
            architecture,
            variant,
        })
    }

    /// `linux`, `windows`, …
    #[must_use]
    pub fn os(&self) -> &str {
        &self.os
    }

    /// `amd64`, `arm64`, …
    #[must_use]
    pub fn architecture(&self) -> &str {
        &self.architecture
    }

    /// `v7`, …; none where the architecture says all.
    #[must_use]
    pub fn variant(&self) -> Option<&str> {
        self.variant.as_deref()
    }

    /// How well an image of another platform suits a machine of this one: 0 is exactly it, larger is an older variant
    /// that still runs, `None` does not run.
    #[must_use]
    pub fn distance(&self, image: &Self) -> Option<u32> {
        if (&self.os, &self.architecture) != (&image.os, &image.architecture) {
            return None;
        }
        let base = match self.architecture.as_str() {
            "amd64" => 1,
            "arm64" => 8,
            _ => 0,
        };
        match (level(self.variant(), base), level(image.variant(), base)) {
            _ if self.variant == image.variant => Some(0),
            (Some(machine), Some(image)) => machine.checked_sub(image),
            // Words that are no levels are only ever themselves.
            _ => None,
        }
    }
}

/// As containerd's `platforms.Normalize` does it.
fn normalised(architecture: &str, variant: Option<&str>) -> (String, Option<String>) {
    let (architecture, variant) = match (architecture, variant) {
        ("i386" | "i486" | "i586" | "i686" | "x86", _) => ("386", None),
        ("x86_64" | "x86-64" | "amd64", variant) => ("amd64", variant.filter(|variant| *variant != "v1")),
        ("aarch64" | "arm64", variant) => (
            "arm64",
            variant.filter(|variant| !matches!(*variant, "8" | "v8" | "v8.0")),
        ),
        ("armhf", _) => ("arm", Some("v7")),
        ("armel", _) => ("arm", Some("v6")),
        ("arm", None | Some("7")) => ("arm", Some("v7")),
        ("arm", Some("5")) => ("arm", Some("v5")),
        ("arm", Some("6")) => ("arm", Some("v6")),
        ("arm", Some("8")) => ("arm", Some("v8")),
        other => other,
    };
    (architecture.to_owned(), variant.map(str::to_owned))
}

/// The number in `v7`, `v8.2` (which counts as 8); `base` without a variant.
fn level(variant: Option<&str>, base: u32) -> Option<u32> {
    let Some(variant) = variant else {
        return (0 < base).then_some(base);
    };
    let digits = variant.strip_prefix('v')?;
    digits.split('.').next()?.parse().ok()
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let mut parts = text.splitn(3, '/');
        let os = parts.next().ok_or(PlatformError)?;
        let architecture = parts.next().ok_or(PlatformError)?;
        Self::new(os, architecture, parts.next())
    }
}

impl TryFrom<String> for Platform {
    type Error = PlatformError;

    fn try_from(text: String) -> Result<Self, PlatformError> {
        text.parse()
    }
}

impl From<Platform> for String {
    fn from(platform: Platform) -> Self {
        platform.to_string()
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(formatter, "/{variant}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(text: &str) -> Platform {
        text.parse().unwrap()
    }

    #[test]
    fn spellings_of_one_platform_are_equal() {
        for (given, expected) in [
            ("linux/amd64", "linux/amd64"),
            ("Linux/x86_64", "linux/amd64"),
            ("linux/amd64/v1", "linux/amd64"),
            ("linux/amd64/v3", "linux/amd64/v3"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm64/", "linux/arm64"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/armel", "linux/arm/v6"),
            ("linux/i686", "linux/386"),
            ("linux/riscv64", "linux/riscv64"),
        ] {
            assert_eq!(of(given).to_string(), expected, "{given}");
        }
        for bad in ["", "linux", "linux/", "/amd64", "linux/am d64", "linux/arm/v7/x"] {
            assert_eq!(bad.parse::<Platform>(), Err(PlatformError), "{bad}");
        }
    }

    #[test]
    fn an_older_variant_runs_and_a_newer_one_does_not() {
        let machine = of("linux/arm/v7");
        assert_eq!(machine.distance(&of("linux/arm/v7")), Some(0));
        assert_eq!(machine.distance(&of("linux/arm/v6")), Some(1));
        assert_eq!(machine.distance(&of("linux/arm/v8")), None);
        assert_eq!(machine.distance(&of("linux/arm64")), None);
        assert_eq!(of("linux/amd64").distance(&of("linux/amd64/v3")), None);
        assert_eq!(of("linux/amd64/v3").distance(&of("linux/amd64")), Some(2));
        assert_eq!(of("linux/arm64/v9").distance(&of("linux/arm64")), Some(1));
        assert_eq!(
            of("linux/mips64/softfloat").distance(&of("linux/mips64/softfloat")),
            Some(0)
        );
        assert_eq!(of("linux/mips64/softfloat").distance(&of("linux/mips64")), None);
        assert_eq!(of("linux/amd64").distance(&of("windows/amd64")), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_as_the_same(text in "[a-zA-Z0-9_./-]{0,30}") {
            if let Ok(platform) = text.parse::<Platform>() {
                let again: Platform = platform.to_string().parse().unwrap();
                prop_assert_eq!(again, platform);
            }
        }
    }
}
