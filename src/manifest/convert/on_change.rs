//! What a changed content of a file does.

use super::Convert;
use crate::manifest::finding::suggestion;
use crate::manifest::form::container::{FileForm, OnChangeForm};
use crate::manifest::span::Spanned;
use crate::manifest::union::ShortOr;
use crate::resource::spec::{FileSpec, NamespaceMode};

impl Convert<'_> {
    /// The signal, where there is one.
    pub(super) fn on_change(&mut self, form: Option<&Spanned<ShortOr<OnChangeForm>>>) -> Option<String> {
        let form = form?;
        match &form.value {
            ShortOr::Short(word) if word == "Restart" => None,
            ShortOr::Short(word) => {
                let suggestion = suggestion(word, ["Restart"]);
                let help = "it is `Restart`, or `{ signal: SIGHUP }`";
                self.error_help(form.span, format!("unknown word `{word}`{suggestion}"), help);
                None
            }
            ShortOr::Long(long) => {
                let Some(scalar) = &long.signal else {
                    self.error_help(
                        form.span,
                        "`onChange` without `signal`",
                        "it is `Restart`, or `{ signal: SIGHUP }`",
                    );
                    return None;
                };
                let signal = self.signal(Some(scalar))?;
                if matches!(signal.as_str(), "SIGKILL" | "9" | "SIGSTOP" | "19") {
                    self.error(scalar.span, format!("no program can read its files again at {signal}"));
                }
                Some(signal)
            }
        }
    }

    /// What a signal for changed files cannot be sent to, or would not help.
    pub(super) fn check_signals(
        &mut self,
        forms: Option<&Vec<Spanned<FileForm>>>,
        files: &[FileSpec],
        read_only_root: bool,
        pid_mode: Option<&NamespaceMode>,
    ) {
        let Some(first) = files.iter().find_map(|f| f.signal.as_deref()) else { return };
        let mut places = forms.into_iter().flatten().filter_map(|f| f.value.on_change.as_ref());
        let long = places.rfind(|o| matches!(o.value, ShortOr::Long(_)));
        let span = long.map(|o| o.span).unwrap_or_default();
        if let Some(other) = files.iter().filter_map(|f| f.signal.as_deref()).find(|s| *s != first) {
            let message = format!("the files of a service have one signal, and these have {first} and {other}");
            self.error(span, message);
        }
        if read_only_root {
            let help = "write `onChange: Restart`, or drop `security.readOnlyRootFilesystem`";
            self.error_help(span, "under a read-only root no file can be changed in place", help);
        }
        if pid_mode.is_some() {
            // It could be the host's init.
            self.error(span, "with `pidMode` the first process is not the container's own: no signal is sent to it");
        }
    }
}
