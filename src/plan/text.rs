//! The one text form of a plan: what `plan` prints, what is logged, what tests compare with.

use std::fmt;

use super::types::{Action, ClosedBy, FieldChange, Gate, Op, Plan, Stage, Step};

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "nothing to do",
            Self::Create => "create",
            Self::Start => "start",
            Self::Replace => "replace",
            Self::RollBack => "roll back",
            Self::Update => "change in place",
            Self::Restart => "restart",
            Self::Stop => "stop",
            Self::Remove => "remove",
        })
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateContainer(create) => {
                write!(f, "create container {} from image {}", create.name, create.service.spec.container.image)
            }
            Self::Connect { target, endpoint } => {
                write!(f, "connect container {} to network {}", target.name(), endpoint.attachment.network)
            }
            Self::Disconnect { target, network, .. } => {
                write!(f, "disconnect container {} from network {network}", target.name())
            }
            Self::Upload { target, service, .. } => {
                let files: Vec<_> = service.spec.container.files.iter().map(|x| x.target.as_str()).collect();
                write!(f, "upload {} into container {}", files.join(", "), target.name())
            }
            Self::Reload { target, signal, .. } => {
                write!(f, "send {signal} to the process of container {}", target.name())
            }
            Self::SetRestartPolicy { target, policy } => {
                write!(f, "set restart policy of container {} to {policy}", target.name())
            }
            Self::UpdateLimits { target, limits } => {
                write!(f, "set limits of container {} to {limits}", target.name())
            }
            Self::Start(target) => write!(f, "start container {}", target.name()),
            Self::Stop { target, grace } => {
                write!(f, "stop container {} (grace {})", target.name(), humantime::format_duration(*grace))
            }
            Self::Rename { target, to } => write!(f, "rename container {} to {to}", target.name()),
            Self::Drain(time) => write!(f, "wait {}", humantime::format_duration(*time)),
            Self::RemoveContainer(target) => write!(f, "remove container {}", target.name()),
            Self::CreateNetwork { spec, .. } => write!(f, "create network {}", spec.name),
            Self::RemoveNetwork { name, id } => write!(f, "remove network {name} ({id})"),
            Self::CreateVolume { spec, .. } => write!(f, "create volume {}", spec.name),
            Self::RemoveVolume { name } => write!(f, "remove volume {name} and the data in it"),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (cause: {})", self.op, self.cause)
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image(image) => write!(f, "once image {image} is there"),
            Self::Deps(deps) => {
                let names: Vec<_> = deps.iter().map(|(key, condition)| format!("{key} is {condition}")).collect();
                write!(f, "once {}", names.join(" and "))
            }
            Self::Ready(name) => write!(f, "once container {name} is Ready"),
            Self::Backoff(at) => write!(f, "not before {at}"),
            Self::Dependents(keys) => {
                let names: Vec<_> = keys.iter().map(ToString::to_string).collect();
                write!(f, "once {} is gone", names.join(" and "))
            }
            Self::Conflict(what) => write!(f, "once {what} makes way"),
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(gate) = &self.gate {
            writeln!(f, "  {gate}:")?;
        }
        for step in &self.steps {
            writeln!(f, "  - {step}")?;
        }
        Ok(())
    }
}

impl fmt::Display for FieldChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = |value: &Option<String>| value.clone().unwrap_or_else(|| "(unset)".to_owned());
        write!(f, "{}  {} → {}", self.field, side(&self.old), side(&self.new))?;
        if self.closed_by == ClosedBy::InPlace {
            f.write_str("  in place")?;
        }
        write!(f, "  (cause: {})", self.cause)
    }
}

/// Head line, fields, stages. An empty plan is its head line alone.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.key, self.action)?;
        for change in &self.changes {
            writeln!(f, "  {change}")?;
        }
        self.stages.iter().try_for_each(|stage| stage.fmt(f))
    }
}
