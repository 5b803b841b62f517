//! What was given for each key, and where: flags over environment over file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::{ConfigError, KEYS, LIST_SEPARATOR, Place, environment, key, yaml};

/// The keys given as flags, for clap: the flags and their help come from [`KEYS`].
#[derive(Debug, Default, Clone)]
pub(crate) struct ServerFlags(BTreeMap<&'static str, String>);

/// A value as given, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) value: String,
    pub(crate) place: Place,
}

/// All that was given, each key from the highest layer that has it.
#[derive(Debug, Default)]
pub(crate) struct Layers(BTreeMap<&'static str, Given>);

impl Layers {
    /// Collects the layers.
    ///
    /// # Errors
    /// If the file cannot be read, or a key is unknown in any layer, also one that a higher layer overrides.
    pub(crate) fn collect(
        flags: &ServerFlags,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut layers = Self::default();
        for variable in environment::pick(variables)? {
            layers.set(variable.key, variable.value, variable.place);
        }
        for (name, value) in &flags.0 {
            layers.set(name, value.clone(), Place::Flag(name));
        }
        if let Some(file) = layers.0.get(key::CONFIG_FILE) {
            layers.add_file(&PathBuf::from(&file.value))?;
        }
        Ok(layers)
    }

    /// What was given for a key.
    pub(crate) fn get(&self, name: &'static str) -> Option<&Given> {
        self.0.get(name)
    }

    /// Every key that has a value, given or by default.
    pub(crate) fn in_force(&self) -> Vec<(&'static str, String)> {
        let value = |key: &key::Key| {
            let given = self.get(key.name).map(|given| given.value.clone());
            let default = Some(key.default.to_owned()).filter(|default| !default.is_empty());
            Some((key.name, given.or(default)?))
        };
        KEYS.iter().filter_map(value).collect()
    }

    fn set(&mut self, name: &'static str, value: String, place: Place) {
        self.0.insert(name, Given { value, place });
    }

    /// Fills in what the layers above the file have not given.
    fn add_file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| ConfigError::File { path: path.into(), problem: error.to_string() })?;
        for pair in yaml::parse(path, &text)? {
            let Some(key) = key::find(&pair.key).filter(|key| key.name != key::CONFIG_FILE) else {
                let nearest = key::nearest(&pair.key).filter(|name| *name != key::CONFIG_FILE);
                return Err(ConfigError::Unknown { place: pair.place, name: pair.key, nearest });
            };
            self.0.entry(key.name).or_insert(Given { value: pair.value, place: pair.place });
        }
        Ok(())
    }
}

impl clap::FromArgMatches for ServerFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Self::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for key in KEYS {
            if let Some(values) = matches.get_many::<String>(key.name) {
                let values: Vec<&str> = values.map(String::as_str).collect();
                self.0.insert(key.name, values.join(LIST_SEPARATOR));
            }
        }
        Ok(())
    }
}

impl clap::Args for ServerFlags {
    fn augment_args(command: Command) -> Command {
        KEYS.iter().fold(command, |command, key| command.arg(arg(key)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

fn arg(key: &'static key::Key) -> Arg {
    let help = match key.default {
        "" => key.help.to_owned(),
        default => format!("{} [default: {default}]", key.help),
    };
    let arg = Arg::new(key.name).long(key.name).help(help);
    match key.value {
        "" => arg.num_args(0..=1).require_equals(true).default_missing_value("true").value_name("true|false"),
        value if key.list => arg.value_name(value).action(ArgAction::Append),
        value => arg.value_name(value),
    }
}

#[cfg(test)]
impl ServerFlags {
    /// Flags for tests.
    pub(crate) fn of(flags: &[(&'static str, &str)]) -> Self {
        Self(flags.iter().map(|(name, value)| (*name, (*value).to_owned())).collect())
    }
}
