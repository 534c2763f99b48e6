//! What this server lets a controller do: a file of its own administrator, which no command can write.
//!
//! Everything is denied unless an `[[allow]]` says otherwise, verb by verb and parameter by parameter. The file is read
//! anew for each command, so an edit counts at once. It counts only if it and all folders above it belong to root, nobody
//! else may write to them, and no symbolic link leads to it; else nothing is allowed, and every refusal says why.

mod edit;
mod image;
mod load;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use muster_model::{CommandRefusal, ResourceKey, Verb};
use serde::Deserialize;

use super::refused::Refused;

pub use edit::{EditError, Rule, allow};
pub use image::{Container, repository};
pub use load::{DEFAULT_PATH, Loaded, load};

/// Most rules of a policy.
const RULES_MAX: usize = 1_000;
/// Verbs that change nothing.
const READING: [&str; 1] = ["container.logs"];

/// The policy of this server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    frozen: bool,
    keys: Vec<[u8; 32]>,
    rules: Vec<RawAllow>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawPolicy {
    frozen: bool,
    command_keys: Vec<String>,
    allow: Vec<RawAllow>,
}

/// One `[[allow]]`. A list that is not there stands for all, but for `repositories`, which adds to a container's own, and
/// `units`, without which no unit is restarted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAllow {
    verb: String,
    containers: Option<Vec<String>>,
    runtimes: Option<Vec<String>>,
    pools: Option<Vec<String>>,
    #[serde(default)]
    repositories: Vec<String>,
    #[serde(default)]
    units: Vec<String>,
    #[serde(default)]
    allow_privileged: bool,
    #[serde(default)]
    allow_force: bool,
    #[serde(default)]
    allow_all_images: bool,
}

/// What of an update is to be looked at before it is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed {
    rules: Vec<RawAllow>,
}

impl Policy {
    /// Reads a policy.
    ///
    /// # Errors
    /// What is wrong with it, for people; a policy with one mistake allows nothing.
    pub fn parse(text: &str) -> Result<Self, String> {
        let raw: RawPolicy = toml::from_str(text).map_err(|error| error.to_string())?;
        if RULES_MAX < raw.allow.len() {
            return Err(format!("it has more than {RULES_MAX} rules"));
        }
        for rule in &raw.allow {
            rule.check()?;
        }
        let keys = raw.command_keys.iter().map(|text| {
            let bytes = BASE64.decode(text).ok();
            let key = bytes.and_then(|bytes| bytes.try_into().ok());
            key.ok_or_else(|| format!("{text} in command_keys is not a key of 32 bytes in base64"))
        });
        Ok(Self {
            frozen: raw.frozen,
            keys: keys.collect::<Result<_, _>>()?,
            rules: raw.allow,
        })
    }

    /// Keys that sign commands, if the policy names any: then no others count.
    #[must_use]
    pub fn keys(&self) -> &[[u8; 32]] {
        &self.keys
    }

    /// Whether a command may be done, as far as it says itself; what it finds is judged by [`Allowed::judge`].
    ///
    /// # Errors
    /// [`Refused`].
    pub fn judge(&self, verb: &Verb) -> Result<Allowed, Refused> {
        let name = verb.name();
        if matches!(verb, Verb::Cancel { .. }) {
            // It ends what was allowed, and can do nothing else.
            return Ok(Allowed { rules: Vec::new() });
        }
        if self.frozen && !READING.contains(&name) {
            let message = "this server is frozen by its policy: nothing that changes anything is done";
            return Err(Refused::new(CommandRefusal::Frozen, message));
        }
        let rules: Vec<RawAllow> = self
            .rules
            .iter()
            .filter(|rule| rule.matches(verb))
            .cloned()
            .collect();
        if rules.is_empty() {
            let message = match self.rules.iter().any(|rule| rule.verb == name) {
                true => format!("the policy of this server allows {name}, but not with these parameters"),
                false => format!("the policy of this server does not allow {name}"),
            };
            return Err(Refused::new(CommandRefusal::NotAllowed, message));
        }
        Ok(Allowed { rules })
    }

    /// What is allowed, for people, a line a rule.
    #[must_use]
    pub fn describe(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if self.frozen {
            lines.push("frozen: nothing that changes anything is done".to_owned());
        }
        if !self.keys.is_empty() {
            lines.push(format!(
                "commands signed by {} keys of its own count",
                self.keys.len()
            ));
        }
        lines.extend(self.rules.iter().map(RawAllow::describe));
        lines
    }
}

impl RawAllow {
    fn check(&self) -> Result<(), String> {
        let name = self.verb.as_str();
        if !Verb::NAMES.contains(&name) || name == "cancel" {
            return Err(format!("{name} is no verb that can be allowed"));
        }
        let wrong = |what: &str| Err(format!("{what} says nothing about {name}"));
        let is_container = name.starts_with("container.");
        if self.containers.is_some() && !is_container {
            return wrong("containers");
        }
        if self.pools.is_some() && name != "pool.scrub" {
            return wrong("pools");
        }
        if self.runtimes.is_some() && name == "pool.scrub" {
            return wrong("runtimes");
        }
        if !self.repositories.is_empty() && name != "container.update" {
            return wrong("repositories");
        }
        let replaces = matches!(name, "container.update" | "container.rollback");
        if !self.units.is_empty() && !replaces {
            return wrong("units");
        }
        if self.allow_privileged && !replaces {
            return wrong("allow_privileged");
        }
        if self.allow_force && name != "container.remove" {
            return wrong("allow_force");
        }
        if self.allow_all_images && name != "image.prune" {
            return wrong("allow_all_images");
        }
        Ok(())
    }

    fn matches(&self, verb: &Verb) -> bool {
        let is_of = |patterns: &Option<Vec<String>>, text: &str| {
            patterns
                .as_ref()
                .is_none_or(|patterns| patterns.iter().any(|pattern| is_match(pattern, text)))
        };
        let runtime = |key: &ResourceKey| is_of(&self.runtimes, key.as_str());
        if self.verb != verb.name() {
            return false;
        }
        let is_target = verb
            .container()
            .is_none_or(|target| is_of(&self.containers, &target.name) && runtime(&target.runtime));
        is_target
            && match verb {
                Verb::ContainerRemove { force, .. } => !force || self.allow_force,
                Verb::ImagePrune { runtime: key, filter } => {
                    runtime(key) && (!filter.all || self.allow_all_images)
                }
                Verb::PoolScrub { pool } => is_of(&self.pools, pool.as_str()),
                _ => true,
            }
    }

    fn describe(&self) -> String {
        let mut line = self.verb.clone();
        for (word, patterns) in [
            ("containers", &self.containers),
            ("runtimes", &self.runtimes),
            ("pools", &self.pools),
        ] {
            if let Some(patterns) = patterns {
                line.push_str(&format!(", {word} {}", patterns.join(" ")));
            }
        }
        if !self.repositories.is_empty() {
            line.push_str(&format!(", also from {}", self.repositories.join(" ")));
        }
        if !self.units.is_empty() {
            line.push_str(&format!(", restarting the units {}", self.units.join(" ")));
        }
        for (word, is_set) in [
            ("privileged ones too", self.allow_privileged),
            ("while they run too", self.allow_force),
            ("images with a tag too", self.allow_all_images),
        ] {
            if is_set {
                line.push_str(&format!(", {word}"));
            }
        }
        line
    }
}

impl Allowed {
    /// Whether an update or its way back may be done to this container. `image` is the new image's reference.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn judge(&self, container: &Container, image: Option<&str>) -> Result<(), Refused> {
        let privileged = container.privileged();
        let mut rules: Vec<&RawAllow> = self
            .rules
            .iter()
            .filter(|rule| privileged.is_none() || rule.allow_privileged)
            .collect();
        if let Some(why) = privileged.filter(|_| rules.is_empty()) {
            let message = format!("the container {why}, and the policy does not allow that to be changed");
            return Err(Refused::new(CommandRefusal::PrivilegedContainer, message));
        }
        if let Some(unit) = container.unit() {
            rules.retain(|rule| rule.units.iter().any(|pattern| is_match(pattern, &unit)));
            if rules.is_empty() {
                let message = format!(
                    "the container is made by {unit}, and the policy does not allow that to be restarted (units)"
                );
                return Err(Refused::new(CommandRefusal::NotAllowed, message));
            }
        }
        let Some(image) = image else { return Ok(()) };
        let Some(wanted) = repository(image) else {
            let message = format!("{image} names no repository");
            return Err(Refused::new(CommandRefusal::OtherRepository, message));
        };
        if container.repository().as_deref() == Some(wanted.as_str()) {
            return Ok(());
        }
        let is_listed = |rule: &RawAllow| rule.repositories.iter().any(|pattern| is_match(pattern, &wanted));
        if rules.into_iter().any(is_listed) {
            return Ok(());
        }
        let own = container.repository();
        let own = own.as_deref().unwrap_or("of no known repository");
        let message = format!("the container's image is {own}, and {wanted} is not listed in the policy");
        Err(Refused::new(CommandRefusal::OtherRepository, message))
    }
}

/// Whether `text` is of `pattern`, in which `*` stands for any text and `?` for one character.
fn is_match(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut at, mut of) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while at < text.len() {
        match pattern.get(of) {
            Some('*') => {
                star = Some((of, at));
                of += 1;
            }
            Some(&c) if c == '?' || c == text[at] => {
                of += 1;
                at += 1;
            }
            _ => {
                let Some((begin, taken)) = star else { return false };
                star = Some((begin, taken + 1));
                (of, at) = (begin + 1, taken + 1);
            }
        }
    }
    pattern[of..].iter().all(|&c| c == '*')
}

#[cfg(test)]
mod tests;
