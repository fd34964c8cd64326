//! The process: command, environment, secrets.

use std::collections::BTreeMap;

use super::Convert;
use crate::manifest::expand::{is_variable_name, split_words};
use crate::manifest::form::container::{EnvFileForm, SecretForm};
use crate::manifest::outside::{Content, ReadError};
use crate::manifest::scalar::Scalar;
use crate::manifest::span::{Span, Spanned};
use crate::manifest::union::{CommandForm, Entries};
use crate::resource::secret::Secret;
use crate::resource::spec::SecretSource;

/// Environment files and secrets may have this many bytes.
pub(super) const MAX_SMALL_FILE: u64 = 1 << 20;

impl Convert<'_> {
    /// A command line; one text is split into words. An empty list is the same as none.
    pub fn command(&mut self, form: Option<&Spanned<CommandForm>>) -> Option<Vec<String>> {
        let form = form?;
        let words = match &form.value {
            CommandForm::Words(words) => {
                let texts: Vec<_> = words.iter().filter_map(|w| self.scalar(w)).collect();
                (texts.len() == words.len()).then_some(texts)?
            }
            CommandForm::Text(text) => {
                let text = self.expand(text, form.span)?;
                match split_words(&text) {
                    Ok(words) => words,
                    Err(why) => {
                        self.error_help(form.span, why, "or write the command as a list of words");
                        return None;
                    }
                }
            }
        };
        (!words.is_empty()).then_some(words)
    }

    /// As [`Self::command`], but one text is a shell's.
    pub(super) fn shell_command(&mut self, form: &Spanned<CommandForm>) -> Option<Vec<String>> {
        match &form.value {
            CommandForm::Text(text) => {
                let text = self.expand(text, form.span)?.into_owned();
                (!text.trim().is_empty()).then(|| vec!["/bin/sh".to_owned(), "-c".to_owned(), text])
            }
            CommandForm::Words(_) => self.command(Some(form)),
        }
    }

    /// `envFrom`, then `env` over it.
    pub(super) fn env(
        &mut self,
        files: Option<&Vec<EnvFileForm>>,
        env: Option<&Entries<Option<Scalar<String>>>>,
    ) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        for form in files.into_iter().flatten() {
            let EnvFileForm { file, optional } = form;
            let optional = self.get(optional.as_ref()).unwrap_or(false);
            match file {
                Some(file) => all.extend(self.env_file(file, optional)),
                None => self.error(Span::default(), "an entry of `envFrom` names no `file`"),
            }
        }
        for (name, _) in env.into_iter().flat_map(|e| &e.0) {
            self.env_name(name);
        }
        all.extend(self.map_with_gaps(env));
        all
    }

    fn env_name(&mut self, name: &Scalar<String>) {
        if name.text.is_empty() || name.text.contains(|c: char| c == '=' || c.is_whitespace() || c.is_control()) {
            self.error(name.span, format!("`{}` is not a name of an environment variable", name.text.escape_debug()));
        }
    }

    /// Lines of `NAME=value`, as `docker run --env-file` reads them: no quotes, no variables.
    pub(super) fn env_file(&mut self, file: &Scalar<String>, optional: bool) -> BTreeMap<String, String> {
        let mut env = BTreeMap::new();
        let Some(path) = self.filled(Some(file)) else { return env };
        let bytes = if optional {
            match self.read(&path, file.span, MAX_SMALL_FILE, Content::Public) {
                Ok(bytes) => bytes,
                Err(ReadError::Missing | ReadError::Reported) => return env,
                Err(_) => self.must_read(&path, file.span, MAX_SMALL_FILE, Content::Public).unwrap_or_default(),
            }
        } else {
            self.must_read(&path, file.span, MAX_SMALL_FILE, Content::Public).unwrap_or_default()
        };
        let Ok(text) = String::from_utf8(bytes) else {
            self.error(file.span, format!("`{path}` is not UTF-8"));
            return env;
        };
        for (number, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            let line = line.trim_start();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match line.split_once('=') {
                Some((name, value)) if !name.is_empty() && !name.contains(char::is_whitespace) => {
                    env.insert(name.to_owned(), value.to_owned());
                }
                // The line itself may hold a secret.
                _ => self.error(file.span, format!("line {} of `{path}` is not `NAME=value`", number + 1)),
            }
        }
        env
    }

    /// Where secrets come from, and their values.
    pub(super) fn secret_env(
        &mut self,
        entries: Option<&Entries<Spanned<SecretForm>>>,
    ) -> (BTreeMap<String, SecretSource>, BTreeMap<String, Secret>) {
        let mut sources = BTreeMap::new();
        let mut values = BTreeMap::new();
        for (name, form) in entries.into_iter().flat_map(|e| &e.0) {
            self.env_name(name);
            let SecretForm { from_file, from_env, from_secret, optional } = &form.value;
            let optional = self.get(optional.as_ref()).unwrap_or(false);
            if let Some(secret) = from_secret {
                self.not_yet(secret.span, "fromSecret");
                continue;
            }
            let Some((source, span)) = self.secret_source(from_file.as_ref(), from_env.as_ref(), name.span) else {
                continue;
            };
            if let Some(value) = self.secret_value(&source, span, optional, true) {
                sources.insert(name.text.clone(), source);
                values.insert(name.text.clone(), value);
            }
        }
        (sources, values)
    }

    /// Exactly one of the two.
    pub(super) fn secret_source(
        &mut self,
        from_file: Option<&Scalar<String>>,
        from_env: Option<&Scalar<String>>,
        span: Span,
    ) -> Option<(SecretSource, Span)> {
        match (from_file, from_env) {
            (Some(file), None) => self.filled(Some(file)).map(|path| (SecretSource::FromFile(path), file.span)),
            (None, Some(env)) => {
                let name = self.filled(Some(env))?;
                if !is_variable_name(&name) {
                    self.error(env.span, format!("`{name}` is not a name of an environment variable"));
                    return None;
                }
                Some((SecretSource::FromEnv(name), env.span))
            }
            (None, None) => {
                self.error_help(span, "a secret without a source", "write `{fromEnv: NAME}` or `{fromFile: path}`");
                None
            }
            (Some(file), Some(_)) => {
                self.error(file.span, "a secret with two sources; keep one of them");
                None
            }
        }
    }

    /// `None` where it is missing: reported, unless it is optional.
    pub(super) fn secret_value(
        &mut self,
        source: &SecretSource,
        span: Span,
        optional: bool,
        is_text: bool,
    ) -> Option<Secret> {
        match source {
            SecretSource::FromEnv(name) => {
                let value = self.shared.outside.variable(name);
                if value.is_none() && !optional {
                    let message = format!("variable `{name}` is not set in env-manager's environment");
                    self.error_help(
                        span,
                        message,
                        "set it, or write `optional: true` to leave it unset in the container",
                    );
                }
                value.map(|v| Secret::new(v.into_bytes()))
            }
            SecretSource::FromFile(path) => {
                let mut bytes = match self.read(path, span, MAX_SMALL_FILE, Content::Secret) {
                    Err(ReadError::Missing) if optional => return None,
                    Ok(bytes) => bytes,
                    Err(_) => self.must_read(path, span, MAX_SMALL_FILE, Content::Secret)?,
                };
                if is_text {
                    if bytes.ends_with(b"\n") {
                        bytes.pop();
                    }
                    if bytes.ends_with(b"\r") {
                        bytes.pop();
                    }
                    if bytes.contains(&0) {
                        self.error(span, format!("`{path}` holds a zero byte, which no environment variable can"));
                        return None;
                    }
                }
                Some(Secret::new(bytes))
            }
        }
    }
}
