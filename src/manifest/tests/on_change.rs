//! What a changed content of a file does.

use super::{Fake, manifest, messages, service_of, set_of};

#[test]
fn a_file_can_have_its_process_told() {
    let file = |on_change: &str, more: &str| {
        let files = format!(
            "  files: [{{ target: /a, content: a, onChange: {on_change} }}, {{ target: /b, content: b, onChange: {{ signal: hup }} }}]"
        );
        manifest("web", &format!("{files}\n{more}"))
    };
    let service = service_of(&set_of(&file("Restart", ""), &Fake::default()), "web");
    let signals: Vec<_> = service.spec.container.files.iter().map(|f| f.signal.as_deref()).collect();
    assert_eq!(signals, [None, Some("SIGHUP")]);
    for (on_change, more, expected) in [
        ("{ signal: SIGUSR1 }", "", "the files of a service have one signal, and these have SIGUSR1 and SIGHUP"),
        ("{ signal: KILL }", "", "no program can read its files again at SIGKILL"),
        ("{ signal: SIGHOP }", "", "unknown signal `SIGHOP`, did you mean `SIGHUP`?"),
        ("{}", "", "`onChange` without `signal`"),
        ("Reload", "", "unknown word `Reload`"),
        ("Restart", "  pidMode: host", "the first process is not the container's own"),
        ("Restart", "  security: { readOnlyRootFilesystem: true }", "under a read-only root no file can be changed"),
    ] {
        let found = messages(&set_of(&file(on_change, more), &Fake::default())).join("\n");
        assert!(found.contains(expected), "{on_change} {more}: {found}");
    }
}
