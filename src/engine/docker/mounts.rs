//! Mounts, each way.
//!
//! Everything goes as `Mounts`, where a missing bind source is an error; only a bind with an SELinux
//! label has to go as `Binds`, which has a letter for it, and makes a missing source a folder of root.

use std::collections::BTreeMap;

use bollard::models::{self, MountType};

use super::version::Api;
use crate::engine::ErrorKind;
use crate::resource::spec::{Mount, MountSource};
use crate::resource::units::Bytes;

/// Why the engine cannot do what the spec asks for.
pub(in crate::engine) type Refusal = (ErrorKind, String);

/// What goes into `HostConfig.Mounts` and `HostConfig.Binds`.
#[derive(Debug, Default)]
pub(super) struct ApiMounts {
    pub mounts: Vec<models::Mount>,
    pub binds: Vec<String>,
}

/// `inherited`: the volumes of a replaced container, by target. `file_binds`: files of ours that are
/// bound read-only, by target.
pub(super) fn to_api(
    mounts: &[Mount],
    inherited: &BTreeMap<String, String>,
    file_binds: &BTreeMap<String, String>,
    api: Api,
) -> Result<ApiMounts, Refusal> {
    let mut out = ApiMounts::default();
    for Mount { target, source, read_only } in mounts {
        let mut mount =
            models::Mount { target: Some(target.clone()), read_only: Some(*read_only), ..models::Mount::default() };
        match source {
            MountSource::Volume { name, subpath } => {
                mount.typ = Some(MountType::VOLUME);
                mount.source = Some(name.clone());
                if let Some(subpath) = subpath {
                    require(api, Api::VOLUME_SUBPATH, "volumes.subpath")?;
                    mount.volume_options = Some(models::MountVolumeOptions {
                        subpath: Some(subpath.clone()),
                        ..models::MountVolumeOptions::default()
                    });
                }
            }
            MountSource::Anonymous => {
                mount.typ = Some(MountType::VOLUME);
                mount.source = inherited.get(target).cloned();
            }
            MountSource::Bind { path, propagation, selinux: Some(label) } => {
                let options = [
                    Some(if *read_only { "ro" } else { "rw" }.to_owned()),
                    Some(label.to_string()),
                    propagation.clone(),
                ];
                let options = options.into_iter().flatten().collect::<Vec<_>>().join(",");
                out.binds.push(format!("{path}:{target}:{options}"));
                continue;
            }
            MountSource::Bind { path, propagation, selinux: None } => {
                mount.typ = Some(MountType::BIND);
                mount.source = Some(path.clone());
                if let Some(word) = propagation {
                    let propagation = word
                        .parse()
                        .map_err(|_| (ErrorKind::Refused, format!("volumes.propagation: there is no `{word}`")))?;
                    mount.bind_options = Some(models::MountBindOptions {
                        propagation: Some(propagation),
                        ..models::MountBindOptions::default()
                    });
                }
            }
            MountSource::Tmpfs { size, mode } => {
                mount.typ = Some(MountType::TMPFS);
                mount.tmpfs_options = Some(models::MountTmpfsOptions {
                    size_bytes: size.map(Bytes::as_i64),
                    mode: mode.map(i64::from),
                    options: None,
                });
            }
        }
        out.mounts.push(mount);
    }
    // Volumes that the image declares and no manifest mounts: same data, same place.
    let mounted = |target: &str| mounts.iter().any(|m| m.target == target);
    for (target, name) in inherited.iter().filter(|(target, _)| !mounted(target)) {
        out.mounts.push(models::Mount {
            target: Some(target.clone()),
            source: Some(name.clone()),
            typ: Some(MountType::VOLUME),
            ..models::Mount::default()
        });
    }
    for (target, path) in file_binds {
        out.mounts.push(models::Mount {
            target: Some(target.clone()),
            source: Some(path.clone()),
            typ: Some(MountType::BIND),
            read_only: Some(true),
            ..models::Mount::default()
        });
    }
    Ok(out)
}

/// Fails, naming the field and the version, where the engine's API does not know a field yet.
fn require(api: Api, needed: Api, field: &str) -> Result<(), Refusal> {
    if api >= needed {
        return Ok(());
    }
    Err((ErrorKind::Unsupported, format!("{field} needs API {needed} or newer, and the engine speaks {api}")))
}

/// What is mounted, in a spec's words, sorted by target.
#[derive(Debug, Default)]
pub(super) struct SpecMounts {
    pub mounts: Vec<Mount>,
    /// Names of anonymous volumes by target: those of the manifest and those that the image declares.
    pub anonymous: BTreeMap<String, String>,
}

/// `host` says what was asked for, `points` what came of it.
pub(super) fn from_api(host: &models::HostConfig, points: &[models::MountPoint]) -> SpecMounts {
    let mut out = SpecMounts::default();
    for mount in host.mounts.iter().flatten() {
        out.mounts.extend(from_mount(mount));
    }
    out.mounts.extend(host.binds.iter().flatten().filter_map(|bind| from_bind(bind)));
    // `docker run --tmpfs`; none of ours, so that it shows as drift.
    out.mounts.extend(host.tmpfs.iter().flatten().map(|(target, _)| Mount {
        target: target.clone(),
        source: MountSource::Tmpfs { size: None, mode: None },
        read_only: false,
    }));
    for point in points {
        let (Some(target), Some(name)) = (&point.destination, &point.name) else { continue };
        if point.typ.as_deref() == Some("volume") && is_anonymous(name) {
            out.anonymous.insert(target.clone(), name.clone());
        }
    }
    // A volume that the image declares is in no list of what was asked for, until it is handed on to
    // a replacement. It is reported either way, so that the two look alike.
    for target in out.anonymous.keys() {
        if !out.mounts.iter().any(|m| m.target == *target) {
            let source = MountSource::Anonymous;
            out.mounts.push(Mount { target: target.clone(), source, read_only: false });
        }
    }
    out.mounts.sort();
    out
}

fn from_mount(mount: &models::Mount) -> Option<Mount> {
    let path = || mount.source.clone().unwrap_or_default();
    let source = match mount.typ? {
        MountType::VOLUME => match mount.source.as_deref().unwrap_or_default() {
            // Inherited from a replaced container by its name.
            name if name.is_empty() || is_anonymous(name) => MountSource::Anonymous,
            name => MountSource::Volume {
                name: name.to_owned(),
                subpath: mount.volume_options.as_ref().and_then(|o| o.subpath.clone()).filter(|s| !s.is_empty()),
            },
        },
        MountType::TMPFS => {
            let options = mount.tmpfs_options.clone().unwrap_or_default();
            MountSource::Tmpfs {
                size: options.size_bytes.and_then(|b| u64::try_from(b).ok()).filter(|b| *b > 0).map(Bytes),
                mode: options.mode.and_then(|m| u32::try_from(m).ok()).filter(|m| *m > 0),
            }
        }
        MountType::BIND => MountSource::Bind {
            path: path(),
            propagation: mount
                .bind_options
                .as_ref()
                .and_then(|o| o.propagation)
                .map(|p| p.to_string())
                .filter(|p| !p.is_empty()),
            selinux: None,
        },
        // Not ours, and nothing that a spec could ask for.
        MountType::CLUSTER | MountType::IMAGE | MountType::NPIPE => {
            MountSource::Bind { path: path(), propagation: None, selinux: None }
        }
    };
    Some(Mount {
        target: mount.target.clone().unwrap_or_default(),
        source,
        read_only: mount.read_only.unwrap_or_default(),
    })
}

/// `SOURCE:TARGET[:OPTIONS]`
fn from_bind(bind: &str) -> Option<Mount> {
    let mut parts = bind.splitn(3, ':');
    let (source, target) = (parts.next()?, parts.next()?);
    let options: Vec<_> = parts.next().unwrap_or_default().split(',').collect();
    let source = if source.starts_with('/') {
        MountSource::Bind {
            path: source.to_owned(),
            propagation: options
                .iter()
                .find(|o| !o.is_empty() && o.parse::<models::MountBindOptionsPropagationEnum>().is_ok())
                .map(|o| (*o).to_owned()),
            selinux: options.iter().find_map(|o| match *o {
                "z" => Some('z'),
                "Z" => Some('Z'),
                _ => None,
            }),
        }
    } else {
        MountSource::Volume { name: source.to_owned(), subpath: None }
    };
    Some(Mount { target: target.to_owned(), source, read_only: options.contains(&"ro") })
}

/// Docker names an anonymous volume by 64 hexadecimal digits.
pub(super) fn is_anonymous(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}
