//! The files that a policy comes from.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{PolicyError, Problem};
use crate::limits::{MODEL_FILE_BYTES_MAX, POLICY_FILE_BYTES_MAX};
use crate::model::Model;
use crate::policy::Policy;

/// Where a policy is kept: its rules, and perhaps a model of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicySource {
    /// The model; the default model where there is none.
    pub model_file: Option<PathBuf>,
    /// The rules.
    pub policy_file: PathBuf,
}

/// What the files held when they were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Contents {
    model: Option<String>,
    policy: String,
}

impl PolicySource {
    /// Reads and compiles the policy.
    ///
    /// # Errors
    ///
    /// A file cannot be read, or the first line that is wrong.
    pub fn load(&self) -> Result<Policy, PolicyError> {
        self.compile(&self.read()?)
    }

    /// Reads the files, and nothing more. They are small: to read them is the surest way to see whether they have changed,
    /// whatever clocks, links and editors did.
    pub(crate) fn read(&self) -> Result<Contents, PolicyError> {
        let model = self.model_file.as_deref().map(|path| read(path, MODEL_FILE_BYTES_MAX)).transpose()?;
        Ok(Contents { model, policy: read(&self.policy_file, POLICY_FILE_BYTES_MAX)? })
    }

    pub(crate) fn compile(&self, contents: &Contents) -> Result<Policy, PolicyError> {
        let model = match (&self.model_file, &contents.model) {
            (Some(path), Some(text)) => Model::parse(&path.display().to_string(), text)?,
            _ => Model::default(),
        };
        Policy::parse(model, &self.policy_file.display().to_string(), &contents.policy)
    }
}

fn read(path: &Path, bytes_max: u64) -> Result<String, PolicyError> {
    let file: Arc<str> = path.display().to_string().into();
    let failed = |problem| PolicyError::new(&file, None, problem);
    let mut bytes = Vec::new();
    let opened = File::open(path).map_err(|error| failed(Problem::Read(error)))?;
    opened.take(bytes_max + 1).read_to_end(&mut bytes).map_err(|error| failed(Problem::Read(error)))?;
    if bytes.len() as u64 > bytes_max {
        return Err(failed(Problem::FileTooLarge { bytes_max }));
    }
    String::from_utf8(bytes).map_err(|_| failed(Problem::NotText))
}
