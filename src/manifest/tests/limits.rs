use super::*;

fn only_finding(text: &str) -> String {
    let set = set_of(text, &Fake::default());
    assert_eq!(set.findings.len(), 1, "{:?}", messages(&set));
    assert!(render(&set.findings, false).len() < 2000, "a finding is short whatever the input");
    set.findings[0].message.clone()
}

#[test]
fn p16_a_billion_laughs_are_refused() {
    let mut bomb =
        "apiVersion: env-manager.dev/v1\nkind: Service\nmetadata: { name: web }\na: &a [x,x,x,x,x,x,x,x,x]\n"
            .to_owned();
    for (from, to) in ["ab", "bc", "cd", "de", "ef", "fg", "gh", "hi"].iter().map(|p| p.split_at(1)) {
        bomb += &format!("{to}: &{to} [*{from},*{from},*{from},*{from},*{from},*{from},*{from},*{from},*{from}]\n");
    }
    bomb += "spec: { command: *i }\n";
    let message = only_finding(&bomb);
    assert!(message.contains("unknown field") || message.contains("too large"), "{message}");

    let mut text = manifest("web", "  env:\n    A: &a [x,x,x,x,x,x,x,x,x,x]\n");
    for (from, to) in ["ab", "bc", "cd", "de", "ef"].iter().map(|p| p.split_at(1)) {
        text += &format!(
            "    {to}: &{to} [*{from},*{from},*{from},*{from},*{from},*{from},*{from},*{from},*{from},*{from}]\n"
        );
    }
    only_finding(&text);

    // Without a kind nothing tells the parser to stop early: every node is walked over.
    let laughs = bomb.replace("kind: Service\n", "");
    assert!(only_finding(&laughs).contains("too large"), "{}", only_finding(&laughs));
}

#[test]
fn p16_a_hundred_thousand_brackets_are_refused() {
    for open in ["[", "{a: ", "- "] {
        let deep = open.repeat(100_000);
        only_finding(&manifest("web", &format!("  command: {deep}\n")));
        // In a place that no field describes, and in a document that may be a stranger's.
        only_finding(&format!("apiVersion: env-manager.dev/v1\nkind: Service\nx: {deep}\n"));
        only_finding(&format!("x: {deep}\n"));
    }
}

#[test]
fn p16_many_documents_many_aliases_and_long_lines_end_in_findings() {
    assert!(only_finding(&"---\n[\n".repeat(20_000)).contains("20000 documents"));

    let uses: Vec<String> = (0..5_000).map(|i| format!("V{i}: *a")).collect();
    let aliases = format!("  env: {{ A: &a x, {} }}\n", uses.join(", "));
    assert!(only_finding(&manifest("web", &aliases)).contains("too many aliases"));

    let line = "x".repeat(3 << 20);
    only_finding(&manifest("web", &format!("  user: ''\n  imagge: {line}\n")));
}

#[test]
fn p16_of_countless_errors_the_first_thousand_are_told_and_how_many_there_are() {
    let document = |i: usize| {
        let needs: Vec<_> = (0..40).map(|n| format!("{{ service: db, condition: {n} }}")).collect();
        let spec = format!("spec: {{ image: a, dependsOn: [{}] }}\n", needs.join(", "));
        format!("---\napiVersion: env-manager.dev/v1\nkind: Service\nmetadata: {{ name: web-{i} }}\n{spec}")
    };
    let set = set_of(&(0..100).map(document).collect::<String>(), &Fake::default());
    assert_eq!(set.findings.len(), 1_001);
    let last = set.findings.last().unwrap();
    assert!(last.is_error() && last.place.is_some(), "{last:?}");
    let told: usize = last.message.split(' ').next().unwrap().parse().unwrap();
    assert!(told >= 3_000 && last.message.contains("more errors"), "{}", last.message);
    assert_eq!(set.invalid.len(), 100, "all are known to be broken");
}

#[test]
fn p16_a_key_that_is_itself_a_mapping_is_an_error() {
    for key in ["{a: b}", "[a]"] {
        let set = set_of(&manifest("web", &format!("  env: {{ {key} : 1 }}\n")), &Fake::default());
        assert!(set.has_errors(), "{key}");
    }
}

#[test]
fn a_broken_document_names_its_service_if_it_can() {
    for (text, key) in [
        ("kind: Service\nmetadata:\n  labels: {}\n  name: kafka # the broker\nspec: [", Some("kafka")),
        ("kind: Service\nmetadata: {labels: {}, name: \"kafka\"}\nspec: [", Some("kafka")),
        ("kind: Network\nmetadata:\n  name: back\nspec: [", Some("network back")),
        ("kind: Servcie\nmetadata:\n  name: kafka\nspec: [", Some("kafka")),
        ("kind: Service\nspec:\n  name: kafka\n  x: [", None),
        ("kind: Service\nmetadata:\n  name: [kafka\n", None),
        ("kind: Stack\nmetadata:\n  name: all\nspec: [", None),
    ] {
        let set = set_of(&format!("apiVersion: env-manager.dev/v1\n{text}"), &Fake::default());
        let keys: Vec<String> = set.invalid.keys().map(ToString::to_string).collect();
        assert_eq!(keys.first().map(String::as_str), key, "{text}");
        assert!(set.has_errors());
    }
}

#[test]
fn strangers_are_noted_and_leave_the_others_alone() {
    let text = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: x }}\n---\nservices:\n  web: {{ image: x }}\n---\n{}",
        manifest("web", "")
    );
    let set = set_of(&text, &Fake::default());
    service_of(&set, "web");
    assert_eq!(
        set.notes,
        [
            "a.yaml:1: skipped, not a manifest of env-manager.dev/v1",
            "a.yaml:4: skipped, not a manifest of env-manager.dev/v1"
        ]
    );
}

#[test]
fn p05_errors_freeze_only_what_they_are_about() {
    let text = format!("{}---\n{}", manifest("broken", "  imagge: x\n"), manifest("good", "  dependsOn: [broken]\n"));
    let set = set_of(&text, &Fake::default());
    assert_eq!(messages(&set), ["unknown field `imagge`, did you mean `image`?"]);
    assert!(set.resources.contains_key(&ResourceKey::service("good")));
    assert_eq!(
        set.invalid[&ResourceKey::service("broken")],
        "a.yaml:6:3: unknown field `imagge`, did you mean `image`?"
    );
}

#[test]
fn p16_a_short_text_makes_no_long_list_and_fifty_thousand_errors_are_not_all_told() {
    let many = |item: &str| (0..20_000).map(|n| item.replace('#', &n.to_string())).collect::<Vec<_>>().join(", ");
    // Each stands for a thousand ports.
    let ports = (0..250).map(|n| format!("\"127.0.0.{n}:1-1000:1-1000\"")).collect::<Vec<_>>().join(", ");
    let set = set_of(&manifest("web", &format!("  ports: [{ports}]\n")), &Fake::default());
    assert_eq!(messages(&set), ["more than 1000 ports"]);

    for wrong in [format!("ports: [{}]", many("x#")), format!("dependsOn: [{}]", many("web-#"))] {
        let set = set_of(&manifest("web", &format!("  {wrong}\n")), &Fake::default());
        assert!((100..=102).contains(&set.findings.len()), "{}", set.findings.len());
        assert!(set.invalid.contains_key(&ResourceKey::service("web")), "what is not told counts too");
    }
    // A hundred warnings hide no error.
    let text = manifest("web", &format!("  env: {{ {} }}\n  ports: [x]\n", many("\"A #\": x")));
    assert!(set_of(&text, &Fake::default()).has_errors());
}

#[test]
fn p16_what_is_said_of_a_manifest_does_nothing_to_a_terminal() {
    let escape = "\\e]0;title\\a\\e[2J\\u202e";
    for spec in [
        format!("  ports: [\"{escape}\"]\n"),
        format!("  env: {{ \"{escape}\": x }}\n"),
        format!("  \"{escape}\": x\n"),
    ] {
        let set = set_of(&manifest("web", &spec), &Fake::default());
        assert!(set.has_errors());
        let said = format!("{}{:?}", render(&set.findings, false), set.invalid);
        assert!(said.chars().all(|c| c == '\n' || crate::resource::printable::is_printable(c)), "{said:?}");
    }
    // In the file as it is, in its name, and in a name that nothing can have.
    let file = SourceFile::from_bytes("\u{1b}[2J.yaml", Path::new("/m"), b"kind: \x1b[2J\napiVersion: x: y\n".to_vec());
    let set = build(&[file], "default", &Defaults::default(), &[], &Fake::default());
    let said = format!("{}{}", render(&set.findings, false), set.findings[0]);
    assert!(set.has_errors() && !said.contains('\u{1b}'), "{said:?}");
    let broken = "apiVersion: env-manager.dev/v1\nkind: Service\nmetadata: { name: \"\\e[2J\" }\nspec: { x: 1 }\n";
    assert_eq!(set_of(broken, &Fake::default()).invalid.len(), 0);
}

#[test]
fn a_place_is_right_however_long_the_line_is() {
    let before = "é, ".repeat(30_000);
    let text = manifest("web", &format!("  networkAliases: [{before}]\n  labels: {{ a: {before} }}\n"));
    let file = SourceFile::new("a.yaml", "/m", text.clone());
    for at in [text.find("networkAliases").unwrap(), text.rfind("é, ").unwrap(), text.find("é, é").unwrap() + 3] {
        let line = text[..at].matches('\n').count() + 1;
        let start = text[..at].rfind('\n').map_or(0, |i| i + 1);
        let place = file.place(at, 3);
        assert_eq!((place.line, place.column), (line, text[start..at].chars().count() + 1));
        assert!(place.text[place.text_offset..].chars().next() == text[at..].chars().next());
    }
}

#[test]
fn p16_of_countless_cycles_twenty_are_told_shortly_and_all_in_them_are_frozen() {
    const SERVICES: usize = 40;
    let names: Vec<String> = (0..SERVICES).map(|n| format!("web-{n}")).collect();
    let all = names.join(", ");
    let documents: Vec<_> = names.iter().map(|n| manifest(n, &format!("  dependsOn: [{all}]\n"))).collect();
    let set = set_of(&documents.join("---\n"), &Fake::default());
    assert_eq!(set.findings.len(), 21, "{:?}", messages(&set));
    let more = set.findings.iter().filter(|f| f.message.starts_with("there are more cycles")).count();
    assert_eq!(more, 1);
    assert_eq!((set.invalid.len(), set.resources.len()), (SERVICES, 0), "{:?}", set.invalid);
    for finding in &set.findings {
        assert!(finding.place.is_some() && finding.related.len() < 8, "{finding:?}");
        assert!(render(std::slice::from_ref(finding), false).len() < 8_000, "{finding}");
    }
}
