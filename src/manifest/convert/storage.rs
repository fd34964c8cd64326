//! What is mounted into a container or put there: volumes, tmpfs, files, devices.

use std::collections::BTreeMap;

use super::Convert;
use super::network::engine_name;
use super::process::MAX_SMALL_FILE;
use crate::manifest::finding::Finding;
use crate::manifest::form::container::{DeviceForm, DeviceRequestForm, FileForm, SecretFileForm, VolumeMountForm};
use crate::manifest::outside::Content;
use crate::manifest::scalar::{Mode, MountWord, PropagationWord, Scalar, ScalarType, SelinuxWord};
use crate::manifest::span::{Span, Spanned};
use crate::manifest::union::ShortOr;
use crate::resource::secret::Secret;
use crate::resource::spec::{Device, DeviceRequest, FileOrigin, FileSpec, Mount, MountSource};
use crate::resource::units::Bytes;

/// All files of a service together; the archive is built in memory.
const MAX_FILES_TOTAL: usize = 16 << 20;
/// What tmpfs has by itself.
const TMPFS_MODE: u32 = 0o1777;

/// A mount whose parts are read but not yet checked.
struct RawMount {
    kind: Option<MountWord>,
    source: Option<String>,
    target: String,
    read_only: bool,
    selinux: Option<SelinuxWord>,
    propagation: Option<PropagationWord>,
    subpath: Option<String>,
    size: Option<Bytes>,
    mode: Option<u32>,
}

impl Convert<'_> {
    /// Volumes and tmpfs, by target, since their order means nothing.
    pub(super) fn mounts(
        &mut self,
        volumes: Option<&Vec<Spanned<ShortOr<VolumeMountForm>>>>,
        tmpfs: Option<&Vec<Scalar<String>>>,
    ) -> Vec<Mount> {
        let mut all: BTreeMap<String, (Mount, Span)> = BTreeMap::new();
        let mut found = Vec::new();
        for form in volumes.into_iter().flatten() {
            let raw = match &form.value {
                ShortOr::Short(text) => self.short_mount(text, form.span),
                ShortOr::Long(long) => self.long_mount(long, form.span),
            };
            found.extend(raw.and_then(|raw| self.mount(raw, form.span)).map(|m| (m, form.span)));
        }
        for text in tmpfs.into_iter().flatten() {
            found.extend(self.tmpfs(text).map(|m| (m, text.span)));
        }
        for (mount, span) in found {
            if let Some((_, first)) = all.get(&mount.target) {
                let finding = Finding::error(format!("two mounts at `{}`", mount.target));
                let finding = match self.place(*first) {
                    Some(place) => finding.related(place, "the first one"),
                    None => finding,
                };
                self.report(finding, span);
            } else {
                all.insert(mount.target.clone(), (mount, span));
            }
        }
        all.into_values().map(|(mount, _)| mount).collect()
    }

    /// `SOURCE:TARGET[:OPTIONS]`, or a target alone for a volume without a name.
    fn short_mount(&mut self, text: &str, span: Span) -> Option<RawMount> {
        let text = self.expand(text, span)?.into_owned();
        let mut parts = text.split(':');
        let (source, target, options) = match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(target), None, None, None) => (None, target, ""),
            (Some(source), Some(target), options, None) => (Some(source.to_owned()), target, options.unwrap_or("")),
            _ => {
                self.error_help(
                    span,
                    format!("`{text}` is not a volume"),
                    "volumes are written `SOURCE:TARGET` or `SOURCE:TARGET:ro`",
                );
                return None;
            }
        };
        let mut raw = RawMount {
            kind: None,
            source,
            target: target.to_owned(),
            read_only: false,
            selinux: None,
            propagation: None,
            subpath: None,
            size: None,
            mode: None,
        };
        for option in options.split(',').filter(|o| !o.is_empty()) {
            match option {
                "ro" => raw.read_only = true,
                "rw" => raw.read_only = false,
                "z" => raw.selinux = Some(SelinuxWord::Shared),
                "Z" => raw.selinux = Some(SelinuxWord::Private),
                _ => {
                    raw.propagation = PropagationWord::parse(option).ok();
                    if raw.propagation.is_none() {
                        let help = "options are `ro`, `rw`, `z`, `Z` and the kinds of propagation";
                        self.error_help(span, format!("unknown volume option `{option}`"), help);
                    }
                }
            }
        }
        Some(raw)
    }

    fn long_mount(&mut self, form: &VolumeMountForm, span: Span) -> Option<RawMount> {
        let VolumeMountForm { kind, source, target, read_only, selinux, propagation, subpath, size, mode } = form;
        let Some(target) = target else {
            self.error(span, "a volume without `target`");
            return None;
        };
        Some(RawMount {
            kind: self.get(kind.as_ref()),
            source: self.filled(source.as_ref()),
            target: self.filled(Some(target))?,
            read_only: self.get(read_only.as_ref()).unwrap_or(false),
            selinux: self.get(selinux.as_ref()),
            propagation: self.get(propagation.as_ref()),
            subpath: self.filled(subpath.as_ref()),
            size: self.get(size.as_ref()),
            mode: self.get(mode.as_ref()).map(|m| m.0),
        })
    }

    fn mount(&mut self, raw: RawMount, span: Span) -> Option<Mount> {
        let RawMount { kind, source, target, read_only, selinux, propagation, subpath, size, mode } = raw;
        let target = self.target(&target, span)?;
        let is_path = source.as_ref().is_some_and(|s| s.starts_with(['/', '.', '~']));
        let kind = kind.unwrap_or(if is_path { MountWord::Bind } else { MountWord::Volume });
        let misplaced = [
            ("propagation", propagation.is_some(), kind == MountWord::Bind),
            ("subpath", subpath.is_some(), kind == MountWord::Volume && source.is_some()),
            ("size", size.is_some(), kind == MountWord::Tmpfs),
            ("mode", mode.is_some(), kind == MountWord::Tmpfs),
            ("source", source.is_some(), kind != MountWord::Tmpfs),
        ];
        for (field, is_set, fits) in misplaced {
            if is_set && !fits {
                self.error(span, format!("`{field}` means nothing for this kind of volume"));
            }
        }
        if selinux.is_some() && kind != MountWord::Bind {
            let help = "the engine labels its own volumes already; leave it out";
            self.warning(span, "`selinux` (`z`, `Z`) means something for host paths only", help);
        }
        let source = match kind {
            MountWord::Tmpfs => MountSource::Tmpfs { size, mode: mode.filter(|m| *m != TMPFS_MODE) },
            MountWord::Bind => {
                let Some(path) = source else {
                    self.error(span, "a host path is missing; give it in `source`");
                    return None;
                };
                let path = self.host_path(&path, span)?.to_string_lossy().into_owned();
                let propagation = propagation.map(|p| p.as_str().to_owned()).filter(|p| p != "rprivate");
                let selinux = selinux.map(|s| if s == SelinuxWord::Shared { 'z' } else { 'Z' });
                MountSource::Bind { path, propagation, selinux }
            }
            MountWord::Volume => match source {
                None => MountSource::Anonymous,
                Some(name) => {
                    if let Err(why) = engine_name(&name) {
                        self.error_help(
                            span,
                            format!("`{name}` is not a name of a volume: {why}"),
                            "a host path begins with `/` or `./`",
                        );
                        return None;
                    }
                    MountSource::Volume { name: self.volume(&name), subpath }
                }
            },
        };
        Some(Mount { target, source, read_only })
    }

    /// `/run`, `/run:size=64m,mode=1777`.
    fn tmpfs(&mut self, scalar: &Scalar<String>) -> Option<Mount> {
        let text = self.filled(Some(scalar))?;
        let (target, options) = text.split_once(':').unwrap_or((&text, ""));
        let target = self.target(target, scalar.span)?;
        let (mut size, mut mode, mut read_only) = (None, None, false);
        for option in options.split(',').filter(|o| !o.is_empty()) {
            let result = match option.split_once('=') {
                Some(("size", value)) => Bytes::parse(value).map(|b| size = Some(b)),
                Some(("mode", value)) => Mode::parse(value).map(|m| mode = Some(m.0)),
                None if option == "ro" => {
                    read_only = true;
                    Ok(())
                }
                None if option == "rw" => Ok(()),
                _ => Err(format!("unknown tmpfs option `{option}`; there are `size=`, `mode=`, `ro` and `rw`")),
            };
            if let Err(why) = result {
                self.error(scalar.span, why);
            }
        }
        Some(Mount { target, source: MountSource::Tmpfs { size, mode: mode.filter(|m| *m != TMPFS_MODE) }, read_only })
    }

    /// An absolute path in the container, in its plainest form.
    fn target(&mut self, target: &str, span: Span) -> Option<String> {
        let clean = super::clean(std::path::Path::new(target)).to_string_lossy().into_owned();
        if !target.starts_with('/') || clean == "/" {
            self.error_help(
                span,
                format!("`{target}` is not a place in a container"),
                "it is an absolute path other than `/`",
            );
            return None;
        }
        Some(clean)
    }

    /// `files` and `secretFiles`, by target, with their contents.
    pub(super) fn files(
        &mut self,
        files: Option<&Vec<Spanned<FileForm>>>,
        secrets: Option<&Vec<Spanned<SecretFileForm>>>,
        mounts: &[Mount],
    ) -> (Vec<FileSpec>, BTreeMap<String, Secret>) {
        let mut all: BTreeMap<String, (FileSpec, Secret)> = BTreeMap::new();
        let mut found = Vec::new();
        for form in files.into_iter().flatten() {
            found.extend(self.file(form).map(|f| (f, form.value.target.as_ref().map_or(form.span, |t| t.span))));
        }
        for form in secrets.into_iter().flatten() {
            found.extend(self.secret_file(form).map(|f| (f, form.value.target.as_ref().map_or(form.span, |t| t.span))));
        }
        for ((spec, content), span) in found {
            if let Some(mount) = mounts.iter().find(|m| is_below(&spec.target, &m.target)) {
                let message = format!("`{}` lies below the volume at `{}`", spec.target, mount.target);
                self.error_help(span, message, "an upload would be shadowed or would change the volume; mount a host path instead, or choose another target");
            } else if all.contains_key(&spec.target) {
                self.error(span, format!("two files at `{}`", spec.target));
            } else {
                all.insert(spec.target.clone(), (spec, content));
            }
        }
        let total: usize = all.values().map(|(_, content)| content.reveal().len()).sum();
        if total > MAX_FILES_TOTAL {
            self.error(
                Span::default(),
                format!("the files of this service have more than {} together", Bytes(MAX_FILES_TOTAL as u64)),
            );
        }
        all.into_iter().map(|(target, (spec, content))| (spec, (target, content))).unzip()
    }

    fn file(&mut self, form: &Spanned<FileForm>) -> Option<(FileSpec, Secret)> {
        let FileForm { target, source, content, mode, uid, gid, on_change } = &form.value;
        let mode = self.get(mode.as_ref()).map_or(0o644, |m| m.0);
        let (uid, gid) = (self.get(uid.as_ref()).unwrap_or(0), self.get(gid.as_ref()).unwrap_or(0));
        let signal = self.on_change(on_change.as_ref());
        let Some(target) = target else {
            self.error(form.span, "a file without `target`");
            return None;
        };
        let target_text = self.filled(Some(target))?;
        let target_path = self.target(&target_text, target.span)?;
        if target_text.ends_with('/') {
            self.error(target.span, "a file's `target` is a file, not a folder");
        }
        let (origin, content) = match (source, content) {
            (Some(source), None) => {
                let path = self.filled(Some(source))?;
                let bytes = self.must_read(&path, source.span, MAX_SMALL_FILE, Content::Public)?;
                (FileOrigin::Source(path), bytes)
            }
            (None, Some(content)) => (FileOrigin::Inline, self.scalar(content)?.into_bytes()),
            (None, None) => {
                self.error(target.span, "a file with neither `source` nor `content`");
                return None;
            }
            (Some(_), Some(content)) => {
                self.error(content.span, "a file with both `source` and `content`; keep one of them");
                return None;
            }
        };
        Some((FileSpec { target: target_path, origin, mode, uid, gid, signal }, Secret::new(content)))
    }

    fn secret_file(&mut self, form: &Spanned<SecretFileForm>) -> Option<(FileSpec, Secret)> {
        let SecretFileForm { target, from_file, from_env, from_secret, mode, uid, gid } = &form.value;
        let mode = self.get(mode.as_ref()).map_or(0o400, |m| m.0);
        let (uid, gid) = (self.get(uid.as_ref()).unwrap_or(0), self.get(gid.as_ref()).unwrap_or(0));
        if let Some(secret) = from_secret {
            self.not_yet(secret.span, "fromSecret");
            return None;
        }
        let Some(target) = target else {
            self.error(form.span, "a secret file without `target`");
            return None;
        };
        let target_text = self.filled(Some(target))?;
        let target_path = self.target(&target_text, target.span)?;
        let (source, span) = self.secret_source(from_file.as_ref(), from_env.as_ref(), target.span)?;
        let content = self.secret_value(&source, span, false, false)?;
        let origin = FileOrigin::Secret(source);
        Some((FileSpec { target: target_path, origin, mode, uid, gid, signal: None }, content))
    }

    /// By host path, since their order means nothing.
    pub(super) fn devices(&mut self, forms: Option<&Vec<Spanned<ShortOr<DeviceForm>>>>) -> Vec<Device> {
        let mut all = Vec::new();
        for form in forms.into_iter().flatten() {
            let (host, container, permissions) = match &form.value {
                ShortOr::Short(text) => {
                    let Some(text) = self.expand(text, form.span) else { continue };
                    let mut parts = text.splitn(3, ':').map(str::to_owned);
                    (parts.next(), parts.next(), parts.next())
                }
                ShortOr::Long(long) => {
                    let DeviceForm { host, container, permissions } = &**long;
                    (self.filled(host.as_ref()), self.filled(container.as_ref()), self.filled(permissions.as_ref()))
                }
            };
            let Some(host) = host.filter(|h| h.starts_with('/')) else {
                self.error(form.span, "a device is an absolute path of the host");
                continue;
            };
            let container = container.unwrap_or_else(|| host.clone());
            let permissions = permissions.unwrap_or_else(|| "rwm".to_owned());
            if permissions.is_empty() || !permissions.chars().all(|c| "rwm".contains(c)) {
                self.error(form.span, format!("`{permissions}` are not rights to a device; they are `r`, `w` and `m`"));
            }
            all.push(Device { host, container, permissions });
        }
        all.sort();
        all
    }

    pub(super) fn device_requests(&mut self, forms: Option<&Vec<DeviceRequestForm>>) -> Vec<DeviceRequest> {
        let mut all = Vec::new();
        for form in forms.into_iter().flatten() {
            let DeviceRequestForm { driver, count, ids, capabilities } = form;
            let request = DeviceRequest {
                driver: self.filled(driver.as_ref()),
                count: self.get(count.as_ref()).map(|c| c.0),
                ids: self.list(ids.as_ref()),
                capabilities: self.list(capabilities.as_ref()),
            };
            if let Some(count) = count.as_ref().filter(|_| !request.ids.is_empty()) {
                self.error(count.span, "a device request has either `count` or `ids`");
            }
            all.push(request);
        }
        all
    }
}

fn is_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
