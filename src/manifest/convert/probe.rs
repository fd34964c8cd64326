//! Probes, with their timing filled in.

use std::time::Duration;

use super::Convert;
use crate::manifest::form::probe::{
    DockerHealthForm, ExecForm, GrpcForm, HttpForm, LineForm, PortForm, ProbeForm, ProbesForm,
};
use crate::manifest::scalar::{PortNumber, Scalar};
use crate::manifest::span::{Span, Spanned};
use crate::resource::probe::{Check, DeadlineText, Probe, ProbeRole, Probes};

impl Convert<'_> {
    pub fn probes(&mut self, form: Option<&ProbesForm>) -> Probes {
        let Some(ProbesForm { startup, readiness, liveness, docker }) = form else { return Probes::default() };
        if let Some(Spanned { value: DockerHealthForm { disable }, span }) = docker
            && !self.get(disable.as_ref()).unwrap_or(false)
        {
            let help = "the image's HEALTHCHECK is off unless a probe asks for it; write `readiness: {docker: {}}`";
            self.error_help(*span, "`probes.docker` can only say `{disable: true}`", help);
        }
        Probes {
            startup: startup.as_ref().and_then(|p| self.probe(p, ProbeRole::Startup)),
            readiness: readiness.as_ref().and_then(|p| self.probe(p, ProbeRole::Readiness)),
            liveness: liveness.as_ref().and_then(|p| self.probe(p, ProbeRole::Liveness)),
        }
    }

    fn probe(&mut self, form: &Spanned<ProbeForm>, role: ProbeRole) -> Option<Probe> {
        let ProbeForm {
            http,
            tcp,
            exec,
            grpc,
            redis,
            line,
            docker,
            interval,
            timeout,
            deadline,
            failure_threshold,
            success_threshold,
        } = &form.value;
        let span = form.span;
        let mut checks = Vec::new();
        checks.extend(http.as_ref().map(|h| self.http(h, span)));
        checks.extend(
            tcp.as_ref().map(|PortForm { port }| self.port(port.as_ref(), span).map(|port| Check::Tcp { port })),
        );
        checks.extend(exec.as_ref().map(|e| self.exec(e, span)));
        checks.extend(grpc.as_ref().map(|g| self.grpc(g, span)));
        checks.extend(
            redis.as_ref().map(|PortForm { port }| self.port(port.as_ref(), span).map(|port| Check::Redis { port })),
        );
        checks.extend(line.as_ref().map(|l| self.line(l, span)));
        checks.extend(docker.as_ref().map(|DockerHealthForm { disable }| {
            if self.get(disable.as_ref()).unwrap_or(false) {
                self.error_help(span, "a probe that is disabled", "leave the probe out");
            }
            Some(Check::Docker)
        }));
        if checks.len() > 1 {
            self.error_help(
                span,
                format!("the {role} probe asks {} things at once", checks.len()),
                "keep one of them; `exec` can combine several",
            );
            return None;
        }
        let Some(check) = checks.pop() else {
            self.error_help(
                span,
                format!("the {role} probe asks nothing"),
                "give it one of `http`, `tcp`, `exec`, `grpc`, `redis`, `line` and `docker`",
            );
            return None;
        };
        let check = check?;

        let is_exec = matches!(check, Check::Exec { .. });
        let startup = role == ProbeRole::Startup;
        let (default, least) = match (startup, is_exec) {
            (true, false) => (Probe::STARTUP_INTERVAL, Duration::from_millis(10)),
            (true, true) => (Probe::EXEC_STARTUP_INTERVAL, Probe::EXEC_STARTUP_INTERVAL),
            (false, false) => (Probe::DEFAULT_INTERVAL, Duration::from_millis(50)),
            (false, true) => (Probe::DEFAULT_INTERVAL, Probe::EXEC_INTERVAL),
        };
        let mut spacing = self.get(interval.as_ref()).unwrap_or(default);
        if spacing < least {
            let at = interval.as_ref().map_or(span, |s| s.span);
            let least = humantime::format_duration(least);
            self.warning(at, format!("asked every {least} at most"), format!("write `interval: {least}`"));
            spacing = spacing.max(humantime::parse_duration(&least.to_string()).unwrap_or(spacing));
        }
        let limit = self.get(timeout.as_ref()).unwrap_or(Probe::DEFAULT_TIMEOUT);
        if limit.is_zero() {
            self.error(timeout.as_ref().map_or(span, |s| s.span), "a try needs some time");
        }
        let deadline_value = self.get(deadline.as_ref());
        if let Some(deadline) = deadline.as_ref().filter(|_| !startup) {
            self.error_help(
                deadline.span,
                format!("`deadline` means nothing for the {role} probe"),
                "it belongs to `startup`",
            );
        }
        Some(Probe {
            check,
            interval: spacing,
            timeout: limit,
            deadline: startup.then(|| DeadlineText(deadline_value.unwrap_or(self.shared.defaults.startup_deadline))),
            failure_threshold: self.threshold(failure_threshold.as_ref(), Probe::DEFAULT_FAILURE_THRESHOLD),
            success_threshold: self.threshold(success_threshold.as_ref(), 1),
        })
    }

    fn threshold(&mut self, scalar: Option<&Scalar<u32>>, default: u32) -> u32 {
        let value = self.get(scalar).unwrap_or(default);
        if let Some(scalar) = scalar.filter(|_| value == 0) {
            self.error(scalar.span, "a threshold is at least 1");
        }
        value
    }

    fn port(&mut self, port: Option<&Scalar<PortNumber>>, span: Span) -> Option<u16> {
        if port.is_none() {
            self.error_help(span, "a probe without `port`", "it is the container's port, not the host's");
        }
        self.get(port).map(|p| p.0)
    }

    fn http(&mut self, form: &HttpForm, span: Span) -> Option<Check> {
        let HttpForm { port, path, status, headers } = form;
        let path_text = self.filled(path.as_ref()).unwrap_or_else(|| "/".to_owned());
        if !path_text.starts_with('/') || path_text.contains(|c: char| c.is_whitespace() || c.is_control()) {
            let at = path.as_ref().map_or(span, |p| p.span);
            self.error_help(
                at,
                format!("`{}` is not a path", path_text.escape_debug()),
                "it begins with `/` and has no blanks",
            );
        }
        let headers_map = self.map(headers.as_ref());
        for (name, value) in headers.iter().flat_map(|h| &h.0) {
            let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
            if name.text.is_empty() || !name.text.bytes().all(is_token) {
                self.error(name.span, format!("`{}` is not a name of a header", name.text.escape_debug()));
            }
            if value.text.contains(['\r', '\n', '\0']) {
                self.error(value.span, "a header's value is one line");
            }
        }
        Some(Check::Http {
            port: self.port(port.as_ref(), span)?,
            path: path_text,
            status: self.get(status.as_ref()).unwrap_or_default(),
            headers: headers_map,
        })
    }

    fn exec(&mut self, form: &ExecForm, span: Span) -> Option<Check> {
        let ExecForm { command } = form;
        let words = command.as_ref().and_then(|c| self.shell_command(c));
        if words.is_none() {
            self.error(command.as_ref().map_or(span, |c| c.span), "an `exec` probe without a command");
        }
        words.map(|command| Check::Exec { command })
    }

    fn grpc(&mut self, form: &GrpcForm, span: Span) -> Option<Check> {
        let GrpcForm { port, service } = form;
        let service = self.get(service.as_ref()).unwrap_or_default();
        Some(Check::Grpc { port: self.port(port.as_ref(), span)?, service })
    }

    fn line(&mut self, form: &LineForm, span: Span) -> Option<Check> {
        let LineForm { port, send, expect } = form;
        let send = self.get(send.as_ref()).unwrap_or_default();
        let expect_text = self.filled(expect.as_ref());
        if expect.is_none() {
            self.error(span, "a `line` probe without `expect`");
        }
        Some(Check::Line { port: self.port(port.as_ref(), span)?, send, expect: expect_text? })
    }
}
