//! Findings as people read them: the line, a caret, and what would be right.

use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use super::finding::{Finding, Place, Severity};

/// All findings, one after another with an empty line between. With `color`, ANSI escapes.
pub fn render(findings: &[Finding], color: bool) -> String {
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    findings.iter().map(|f| render_one(&renderer, f)).collect::<Vec<_>>().join("\n\n")
}

fn render_one(renderer: &Renderer, finding: &Finding) -> String {
    let level = match finding.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut group = Group::with_title(level.primary_title(finding.message.as_str()));
    if let Some(place) = &finding.place {
        let (same, other): (Vec<_>, Vec<_>) =
            finding.related.iter().partition(|r| r.place.file == place.file && r.place.line == place.line);
        let extra = same.into_iter().map(|r| mark(AnnotationKind::Context, &r.place).label(r.label.as_str()));
        let caret = mark(AnnotationKind::Primary, place);
        if place.is_cut() {
            // The renderer counts columns in what it shows.
            group = group.element(Origin::path(&*place.file).line(place.line).char_column(place.column));
            let snippet = Snippet::source(place.text.as_str()).line_start(place.line);
            group = group.element(snippet.annotation(caret).annotations(extra));
        } else {
            group = group.element(snippet(place, caret, extra));
        }
        for related in other {
            let caret = mark(AnnotationKind::Context, &related.place).label(related.label.as_str());
            group = group.element(snippet(&related.place, caret, std::iter::empty()));
        }
    } else if let Some(path) = &finding.path {
        group = group.element(Origin::path(&**path));
    }
    if let Some(help) = &finding.help {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    renderer.render(&[group])
}

fn mark(kind: AnnotationKind, place: &Place) -> Annotation<'static> {
    let end = place.text[place.text_offset..]
        .char_indices()
        .nth(place.length)
        .map_or(place.text.len(), |(i, _)| place.text_offset + i);
    kind.span(place.text_offset..end)
}

fn snippet<'a>(
    place: &'a Place,
    mark: Annotation<'a>,
    extra: impl Iterator<Item = Annotation<'a>>,
) -> Snippet<'a, Annotation<'a>> {
    Snippet::source(place.text.as_str()).line_start(place.line).path(&*place.file).annotation(mark).annotations(extra)
}
